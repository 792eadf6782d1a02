"""Families of counts without a largest one."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information._expectation import ExactSum
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import POISSON_FORM
from fimlag.information.families._family import (
    HALF_LINE,
    AbstractFamily,
    absolute,
    at_least,
    count,
    positive,
    positives,
    scalar,
)


class Poisson(AbstractFamily):
    r"""The Poisson distribution, $\theta = \lambda$ (the rate), a number or a vector of length 1.

    $$\ell = x \log\lambda - \lambda - \log x!, \qquad I = \frac{1}{\lambda}$$

    Domain: $\lambda > 0$. Expectations are sums over $0, \dots, \mathtt{truncation}$; what is missing shows
    in the certificate, `mass < 1`, and beyond the square root of round-off in the result.

    **Arguments:** `truncation`: the largest count summed; $\lambda + 10\sqrt\lambda + 20$ suffices for all
    digits.

    **Raises:** `ValueError` where it is negative.

    **Reference:** Atkinson & Mitchell (1981), section 5.
    """

    truncation: int = eqx.field(static=True)

    def __init__(self, truncation: int = 200):
        self.truncation = at_least(0, truncation, "truncation")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        rate = positive(scalar(theta))
        legal, x = count(x, rate.dtype)
        return jnp.where(legal, x * jnp.log(rate) - rate - gammaln(x + 1.0), -jnp.inf + 0.0 * rate)

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.truncation + 1))

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(1.0 / positive(scalar(theta)), (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = 2 |\sqrt{\lambda_1} - \sqrt{\lambda_0}|$."""
        rate0, rate1 = positive(scalar(theta0)), positive(scalar(theta1))
        return 2.0 * absolute(rate1 - rate0) / (jnp.sqrt(rate0) + jnp.sqrt(rate1))

    def natural(self, theta) -> Float[Array, ""]:
        r"""The natural parameter $\log\lambda$, of the statistic x."""
        return jnp.log(positive(scalar(theta)))

    def of_natural(self, natural) -> Float[Array, ""]:
        """The rate of a natural parameter."""
        return jnp.exp(scalar(natural))

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return POISSON_FORM


class ZeroInflatedPoisson(AbstractFamily):
    r"""A Poisson count, or 0 for another reason, $\theta = (\pi, \lambda)$: share of those zeros, and rate.

    $$P(0) = P_0 = \pi + (1 - \pi) e^{-\lambda}, \qquad P(x) = (1 - \pi) e^{-\lambda} \frac{\lambda^x}{x!}$$

    $$I_{\pi\pi} = \frac{1 - e^{-\lambda}}{(1 - \pi) P_0}, \quad I_{\pi\lambda} = -\frac{e^{-\lambda}}{P_0}, \quad
    I_{\lambda\lambda} = (1 - \pi) \Big(\frac1\lambda - \frac{\pi e^{-\lambda}}{P_0}\Big)$$

    Domain: $0 < \pi < 1$, $\lambda > 0$. Expectations are sums over $0, \dots, \mathtt{truncation}$.

    **Arguments:** `truncation`: the largest count summed, as for `Poisson`.

    **Raises:** `ValueError` where it is negative.

    **Reference:** Lambert (1992), section 2.
    """

    truncation: int = eqx.field(static=True)

    def __init__(self, truncation: int = 200):
        self.truncation = at_least(0, truncation, "truncation")

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        share, rate = positives(theta)
        rest = positive(1.0 - share)
        legal, x = count(x, rate.dtype)
        zero = jnp.log(share + rest * jnp.exp(-rate))
        more = jnp.log(rest) + x * jnp.log(rate) - rate - gammaln(x + 1.0)
        return jnp.where(legal, jnp.where(x == 0.0, zero, more), -jnp.inf + 0.0 * zero)

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.truncation + 1))

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((0.0, 0.0), (1.0, math.inf))

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        share, rate = positives(theta)
        rest, none = positive(1.0 - share), jnp.exp(-rate)
        zero = share + rest * none
        corner, cross = -jnp.expm1(-rate) / (rest * zero), -none / zero
        last = rest * (1.0 / rate - share * none / zero)
        return jnp.stack([jnp.stack([corner, cross]), jnp.stack([cross, last])])
