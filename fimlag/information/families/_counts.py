"""Families of counts without a largest one."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information._expectation import ExactSum
from fimlag.information._nodes import half_line
from fimlag.information.families._family import (
    UNIT_INTERVAL,
    AbstractFamily,
    absolute,
    at_least,
    count,
    log_rest,
    pair,
    positive,
    positives,
    scalar,
)


class Geometric(AbstractFamily):
    r"""The number of failures before the first success, $\theta = p$, a number or a vector of length 1.

    $$\ell = \log p + x \log(1 - p), \qquad I = \frac{1}{p^2 (1 - p)}$$

    Domain: $0 < p < 1$. Expectations are sums over $0, \dots, \mathtt{truncation}$.

    **Arguments:** `truncation`: the largest count summed; $40 / p$ suffices for all digits.

    **Raises:** `ValueError` where it is negative.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 3.3.
    """

    truncation: int = eqx.field(static=True)

    def __init__(self, truncation: int = 1000):
        self.truncation = at_least(0, truncation, "truncation")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        p = scalar(theta)
        success, failure = jnp.log(positive(p)), log_rest(p)
        legal, x = count(x, p.dtype)
        return jnp.where(legal, success + x * failure, -jnp.inf + 0.0 * (success + failure))

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.truncation + 1))

    @property
    def chart(self) -> AbstractChart:
        return UNIT_INTERVAL

    def fisher(self, theta) -> Float[Array, "1 1"]:
        p = positive(scalar(theta))
        return jnp.reshape(1.0 / (p**2 * positive(1.0 - p)), (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = 2 \big| \operatorname{artanh}\sqrt{1 - p_1} - \operatorname{artanh}\sqrt{1 - p_0} \big|
        = 2 \operatorname{arsinh} \frac{|\sqrt{1 - p_1} - \sqrt{1 - p_0}|}{\sqrt{p_0 p_1}}$$
        """
        p0, p1 = positive(scalar(theta0)), positive(scalar(theta1))
        gap = absolute(p1 - p0) / (jnp.sqrt(positive(1.0 - p0)) + jnp.sqrt(positive(1.0 - p1)))
        return 2.0 * jnp.arcsinh(gap / (jnp.sqrt(p0) * jnp.sqrt(p1)))


class NegativeBinomial(AbstractFamily):
    r"""The number of failures before the r-th success, $\theta = (r, p)$, with real r.

    $$\ell = \log\frac{\Gamma(x + r)}{\Gamma(r)\, x!} + r \log p + x \log(1 - p), \qquad I = \begin{pmatrix}
    \psi'(r) - \mathrm{E}\,\psi'(r + x) & -1/p \\ -1/p & r / (p^2 (1 - p)) \end{pmatrix}$$

    The corner has no closed form. It is the integral of a positive function, taken by the trapezoid rule in $\log t$
    with round-off accuracy, whatever r and p:

    $$I_{rr} = \int_0^\infty \frac{t\, e^{-r t}}{1 - e^{-t}}
    \Big(1 - \Big(1 + \tfrac{1 - p}{p} (1 - e^{-t})\Big)^{-r}\Big)\, dt$$

    Domain: $r > 0$, $0 < p < 1$. Expectations are sums over $0, \dots, \mathtt{truncation}$.

    **Arguments:** `truncation`: the largest count summed; $(r + 40) / p$ suffices for all digits.

    **Raises:** `ValueError` where it is negative.

    **Reference:** Fisher (1941); the integral from that of the trigamma function, Abramowitz & Stegun (1964), 6.4.1.
    """

    truncation: int = eqx.field(static=True)

    def __init__(self, truncation: int = 1000):
        self.truncation = at_least(0, truncation, "truncation")

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        r, p = pair(theta)
        r, success, failure = positive(r), jnp.log(positive(p)), log_rest(p)
        legal, x = count(x, r.dtype)
        density = gammaln(x + r) - gammaln(r) - gammaln(x + 1.0) + r * success + x * failure
        return jnp.where(legal, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.truncation + 1))

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((0.0, 0.0), (math.inf, 1.0))

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        r, p = positives(theta)
        q = positive(1.0 - p)
        t, weights = half_line(200, 1.0 / r, jnp.ones_like(r), r.dtype)
        share = -jnp.expm1(-t)
        integrand = t / share * jnp.exp(-r * t) * -jnp.expm1(-r * jnp.log1p(q / p * share))
        rows = [[weights @ integrand, -1.0 / p], [-1.0 / p, r / (p**2 * q)]]
        return jnp.stack([jnp.stack(row) for row in rows])


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
