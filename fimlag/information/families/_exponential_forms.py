r"""Families as exponential ones: log-partition functions of their natural parameters, statistics and base measures.

$$\ell = \eta \cdot T(x) - A(\eta) + h(x)$$

**Reference:** Nielsen & Garcia (2009); Amari & Nagaoka (2000), section 2.3.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import CoordinatewiseChart
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._family import as_real, count
from fimlag.information.families._polygamma import log_gamma
from fimlag.information.families._vectors import outcome_vector

EVERYTHING = (-math.inf, math.inf)
POSITIVE = (0.0, math.inf)
NEGATIVE = (-math.inf, 0.0)


def _box(*sides: tuple[float, float]) -> CoordinatewiseChart:
    lower, upper = zip(*sides, strict=True)
    return CoordinatewiseChart(lower, upper)


def _in_support(inside, density):
    return jnp.where(inside, density, -jnp.inf)


def _normal_log_partition(natural):
    linear, quadratic = natural
    return -(linear**2) / (4.0 * quadratic) - 0.5 * jnp.log(-2.0 * quadratic) + 0.5 * math.log(2.0 * math.pi)


def _powers(x):
    x = as_real(x)
    return jnp.stack([x, x**2])


NORMAL_FORM = ExponentialFamily(_normal_log_partition, _powers, chart=_box(EVERYTHING, NEGATIVE))
r"""$T = (x, x^2)$ with $A = -\eta_0^2 / 4 \eta_1 - \tfrac12 \log(-2 \eta_1) + \tfrac12 \log 2\pi$."""


def _exponential_log_partition(natural):
    return -jnp.log(-jnp.reshape(natural, ()))


def _identity(x):
    return as_real(x)


def _of_half_line(x):
    return _in_support(as_real(x) >= 0.0, 0.0)


EXPONENTIAL_FORM = ExponentialFamily(_exponential_log_partition, _identity, _of_half_line, chart=_box(NEGATIVE))
r"""$T = x$ with $A = -\log(-\eta)$."""


def _gamma_log_partition(natural):
    shape, fall = natural
    return log_gamma(shape) - shape * jnp.log(-fall)


def _logarithm_and_number(x):
    x = as_real(x)
    return jnp.stack([jnp.log(jnp.where(x > 0.0, x, 1.0)), x])


def _inverse_number(x):
    x = as_real(x)
    return _in_support(x > 0.0, -jnp.log(jnp.where(x > 0.0, x, 1.0)))


GAMMA_FORM = ExponentialFamily(
    _gamma_log_partition, _logarithm_and_number, _inverse_number, chart=_box(POSITIVE, NEGATIVE)
)
r"""$T = (\log x, x)$ with $A = \log\Gamma(\eta_0) - \eta_0 \log(-\eta_1)$, and $h = -\log x$: small shapes keep their
digits."""


def _poisson_log_partition(natural):
    return jnp.exp(jnp.reshape(natural, ()))


def _orderings(x):
    legal, x = count(x, as_real(x).dtype)
    return _in_support(legal, -gammaln(x + 1.0))


POISSON_FORM = ExponentialFamily(_poisson_log_partition, _identity, _orderings)
r"""$T = x$ with $A = e^\eta$ and $h = -\log x!$."""


def _shares_log_partition(natural):
    legal = jnp.all(natural > 0.0)
    return jnp.where(legal, jnp.sum(log_gamma(natural)) - log_gamma(jnp.sum(natural)), jnp.nan)


class _Shares(eqx.Module):
    """The logarithms of k shares of sum 1, or of a number and what it lacks of 1; minus their sum, in the support."""

    k: int = eqx.field(static=True)

    def logarithms(self, x) -> Float[Array, " k"]:
        return jnp.log(jnp.where(self.inside(x), self.shares(x), 1.0))

    def base(self, x) -> Float[Array, ""]:
        return _in_support(self.inside(x), -jnp.sum(self.logarithms(x)))

    def inside(self, x):
        shares = self.shares(x)
        return jnp.all(shares > 0.0) & (jnp.abs(jnp.sum(shares) - 1.0) < float(jnp.finfo(shares.dtype).eps) ** 0.5)

    def shares(self, x):
        if isinstance(x, tuple):
            return jnp.stack([as_real(part) for part in x])
        x = as_real(x)
        return jnp.stack([x, 1.0 - x]) if x.ndim == 0 else outcome_vector(x, self.k, x.dtype)


def shares_form(k: int) -> ExponentialFamily:
    r"""$T = \log x$ with $A = \sum_i \log\Gamma(\eta_i) - \log\Gamma(\sum_i \eta_i)$ and $h = -\sum_i \log x_i$."""
    shares = _Shares(k)
    return ExponentialFamily(_shares_log_partition, shares.logarithms, shares.base, chart=_box(*[POSITIVE] * k))


class _Trials(eqx.Module):
    """The counts of all but the last of k categories in n trials."""

    n: int = eqx.field(static=True)
    k: int = eqx.field(static=True)

    def log_partition(self, natural) -> Float[Array, ""]:
        return self.n * jax.nn.logsumexp(jnp.append(natural, 0.0))

    def counts(self, x) -> Float[Array, " d"]:
        return outcome_vector(x, self.k, as_real(x).dtype)[:-1]

    def orderings(self, x) -> Float[Array, ""]:
        legal, x = count(x, as_real(x).dtype)
        density = math.lgamma(self.n + 1.0) - jnp.sum(gammaln(x + 1.0))
        return _in_support(jnp.all(legal) & (jnp.sum(x) == self.n), density)

    def chosen(self, x) -> Float[Array, " d"]:
        x = as_real(x)
        return (jnp.arange(self.k - 1, dtype=x.dtype) == x).astype(x.dtype)

    def listed(self, x) -> Float[Array, ""]:
        x = as_real(x)
        return _in_support(jnp.any(jnp.arange(self.k, dtype=x.dtype) == x), 0.0)


def multinomial_form(n: int, k: int) -> ExponentialFamily:
    r"""$T = (x_0, \dots, x_{k-2})$ with $A = n \log(1 + \sum_i e^{\eta_i})$ and $h = \log n! - \sum_i \log x_i!$."""
    trials = _Trials(n, k)
    return ExponentialFamily(trials.log_partition, trials.counts, trials.orderings)


def categorical_form(k: int) -> ExponentialFamily:
    r"""$T_i = 1$ where $x = i < k - 1$, else 0, with $A = \log(1 + \sum_i e^{\eta_i})$."""
    trials = _Trials(1, k)
    return ExponentialFamily(trials.log_partition, trials.chosen, trials.listed)
