"""Families of failures before successes."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart, ShapeMeanChart
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

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 4.
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

    with $q = 1 - p$. The corner has no closed form. What of it mean and r do not share is the integral of a positive
    function, taken by the trapezoid rule in $\log t$: to round-off for $p > 10^{-4}$, to 1e-9 for $p > 10^{-12}$.

    $$I(v, v) = J v_r^2 + \frac{r}{p^2 q} \Big(v_p - \frac{p q}{r} v_r\Big)^2, \qquad
    J = I_{rr} - \frac qr = \int_0^\infty e^{-r t} \Big(\frac{-\log(1 - q s)}{s} - q\Big)\, dt, \quad s = 1 - e^{-t}$$

    Domain: $r > 0$, $0 < p < 1$. Expectations are sums over $0, \dots, \mathtt{truncation}$.

    **Arguments:** `truncation`: the largest count summed; $(r + 40) / p$ suffices for all digits.

    **Raises:** `ValueError` where it is negative.

    **Reference:** Fisher (1941); Cox & Reid (1987), section 3.1; the integral follows from that of the trigamma
    function, Abramowitz & Stegun (1964), 6.4.1.
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
        return ShapeMeanChart(CoordinatewiseChart((0.0, 0.0), (math.inf, 1.0)))

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        r, p = positives(theta)
        q = positive(1.0 - p)
        rows = [[_unshared(r, p, q) + q / r, -1.0 / p], [-1.0 / p, r / (p**2 * q)]]
        return jnp.stack([jnp.stack(row) for row in rows])

    def fisher_root(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        r, p = positives(theta)
        q = positive(1.0 - p)
        rows = [[jnp.sqrt(_unshared(r, p, q)), -jnp.sqrt(q / r)], [jnp.zeros_like(r), jnp.sqrt(r / q) / p]]
        return jnp.stack([jnp.stack(row) for row in rows])

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        r, p = positives(theta)
        q = positive(1.0 - p)
        v = pair(v)
        return _unshared(r, p, q) * v[0] ** 2 + (jnp.sqrt(r / q) / p * v[1] - jnp.sqrt(q / r) * v[0]) ** 2


GEOMETRIC, NEGATIVE_BINOMIAL = Geometric(), NegativeBinomial()


class Pascal(AbstractFamily):
    r"""The number of failures before the r-th success, the negative binomial distribution of KNOWN r, $\theta = p$.

    $$\ell = \log\frac{\Gamma(x + r)}{\Gamma(r)\, x!} + r \log p + x \log(1 - p), \qquad
    I = \frac{r}{p^2 (1 - p)}$$

    Theta is a number or a vector of length 1. Domain: $0 < p < 1$. Expectations are sums over
    $0, \dots, \mathtt{truncation}$.

    **Arguments:** `r`: a positive number, whole or not. `truncation`: the largest count summed; $(r + 40) / p$
    suffices for all digits.

    **Raises:** `ValueError` where either is out of range.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 4.
    """

    r: float = eqx.field(static=True)
    truncation: int = eqx.field(static=True)

    def __init__(self, r: float | int, truncation: int = 1000):
        if not 0.0 < r < math.inf:
            raise ValueError(f"r must be positive and finite, but is {r}.")
        self.r, self.truncation = float(r), at_least(0, truncation, "truncation")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        p = scalar(theta)
        return NEGATIVE_BINOMIAL.log_likelihood(jnp.stack([jnp.full_like(p, self.r), p]), x)

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.truncation + 1))

    @property
    def chart(self) -> AbstractChart:
        return UNIT_INTERVAL

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return self.r * GEOMETRIC.fisher(theta)

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        """The Fisher-Rao distance, $\\sqrt r$ times that of the first success."""
        return math.sqrt(self.r) * GEOMETRIC.distance(theta0, theta1)


def _unshared(r, p, q):
    """The integral J."""
    # The integrand falls off at 1 / r, and bends at log(q / p): nodes are densest between.
    t, weights = half_line(400, 1.0 / (r + 0.1 / (1.0 - jnp.log(p))), jnp.ones_like(r), r.dtype)
    decay = jnp.exp(-t)
    w, rest = q * -jnp.expm1(-t), p + q * decay
    return weights @ (jnp.exp(-r * t) * q * w * _log_remainder(w, rest))


def _log_remainder(w, rest):
    r"""$(-\log(1 - w) - w) / w^2$, given 1 - w too; by its series where the difference would cancel."""
    small = w < 0.1
    near, far = jnp.where(small, w, 0.0), jnp.where(small, 1.0, w)
    series = jnp.zeros_like(w)
    for k in range(17, 1, -1):
        series = series * near + 1.0 / k
    return jnp.where(small, series, -(jnp.log(jnp.where(small, 1.0, rest)) + far) / far**2)
