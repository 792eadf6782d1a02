"""The gamma family and its relatives."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, ShapeMeanChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._distances import log_ratio
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import GAMMA_FORM
from fimlag.information.families._family import (
    HALF_LINE,
    AbstractFamily,
    absolute,
    as_real,
    at_least,
    pair,
    positive,
    positives,
    scalar,
)
from fimlag.information.families._polygamma import trigamma, trigamma_excess


class Gamma(AbstractFamily):
    r"""The gamma distribution, $\theta = (a, b)$: shape and rate.

    $$\ell = a \log b + (a - 1) \log x - b x - \log\Gamma(a), \qquad
    I = \begin{pmatrix} \psi'(a) & -1/b \\ -1/b & a/b^2 \end{pmatrix}$$

    $$I(v, v) = \Big(\psi'(a) - \frac1a\Big) v_a^2 + a \Big(\frac{v_a}{a} - \frac{v_b}{b}\Big)^2$$

    Domain: $a, b > 0$. The squared length is a sum of squares, so that large shapes keep their digits.

    **Reference:** Lauritzen (1987), section 4.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        shape, rate = positives(theta)
        x = as_real(x, shape.dtype)
        inside = x > 0.0
        safe = jnp.where(inside, x, 1.0)
        density = shape * jnp.log(rate) + (shape - 1.0) * jnp.log(safe) - rate * safe - gammaln(shape)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=_location_of_gamma, scale=_scale_of_gamma)

    @property
    def chart(self) -> AbstractChart:
        return ShapeMeanChart()

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        shape, rate = positives(theta)
        cross = -1.0 / rate
        return jnp.stack([jnp.stack([trigamma(shape), cross]), jnp.stack([cross, shape / rate**2])])

    def fisher_root(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        shape, rate = positives(theta)
        rows = [[jnp.sqrt(trigamma_excess(shape)), shape**-0.5], [jnp.zeros_like(shape), -jnp.sqrt(shape) / rate]]
        return jnp.stack([jnp.stack(row) for row in rows])

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        shape, rate = positives(theta)
        v = pair(v)
        growth, speed = v / jnp.stack([shape, rate])
        return trigamma_excess(shape) * v[0] ** 2 + shape * (growth - speed) ** 2

    def natural(self, theta: Float[Array, "2"]) -> Float[Array, "2"]:
        r"""The natural parameters a and $-b$, of the statistics $\log x$ and x."""
        shape, rate = positives(theta)
        return jnp.stack([shape, -rate])

    def of_natural(self, natural: Float[Array, "2"]) -> Float[Array, "2"]:
        """The parameters of natural ones, NaN outside the domain."""
        shape, fall = pair(natural)
        return jnp.stack([positive(shape), positive(-fall)])

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return GAMMA_FORM


GAMMA = Gamma()


class ChiSquared(AbstractFamily):
    r"""The chi-squared distribution, $\theta = k$ (degrees of freedom), a number or a vector of length 1.

    $$\ell = \big(\tfrac k2 - 1\big) \log x - \tfrac x2 - \tfrac k2 \log 2 - \log\Gamma\big(\tfrac k2\big), \qquad
    I = \tfrac14 \psi'\big(\tfrac k2\big)$$

    Domain: $k > 0$.

    **Reference:** Johnson, Kotz & Balakrishnan (1994), chapter 18.
    """

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        dof = scalar(theta)
        return GAMMA.log_likelihood(jnp.stack([0.5 * dof, jnp.full_like(dof, 0.5)]), x)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=_location_of_chi_squared, scale=_scale_of_chi_squared)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(0.25 * trigamma(0.5 * positive(scalar(theta))), (1, 1))


class Erlang(AbstractFamily):
    r"""The Erlang distribution, the gamma distribution of known shape, $\theta = \lambda$ (the rate).

    $$\ell = n \log\lambda + (n - 1) \log x - \lambda x - \log (n - 1)!, \qquad I = \frac{n}{\lambda^2}$$

    Theta is a number or a vector of length 1. Domain: $\lambda > 0$.

    **Arguments:** `n`: the shape, a whole number, at least 1.

    **Raises:** `ValueError` where it is less.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    n: int = eqx.field(static=True)

    def __init__(self, n: int):
        self.n = at_least(1, n, "n")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        rate = scalar(theta)
        x = as_real(x, rate.dtype)
        # Of shape 1 the density is positive at 0.
        start = (x == 0.0) & (self.n == 1)
        density = GAMMA.log_likelihood(jnp.stack([jnp.full_like(rate, self.n), rate]), jnp.where(start, 1.0, x))
        return jnp.where(start, jnp.log(positive(rate)), density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=self._location, scale=self._scale)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(self.n / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = \sqrt n\, |\log(\lambda_1 / \lambda_0)|$."""
        return math.sqrt(self.n) * absolute(log_ratio(positive(scalar(theta0)), positive(scalar(theta1))))

    def _location(self, theta):
        return (self.n + 0.5) / scalar(theta)

    def _scale(self, theta):
        return self._location(theta) * math.sqrt(1.0 / self.n + 0.2 / self.n**2)


class InverseGamma(AbstractFamily):
    r"""The inverse gamma distribution, that of 1 / x for x of the gamma one, $\theta = (a, b)$: shape and scale.

    $$\ell = a \log b - (a + 1) \log x - \frac bx - \log\Gamma(a), \qquad
    I = \begin{pmatrix} \psi'(a) & -1/b \\ -1/b & a/b^2 \end{pmatrix}$$

    Domain: $a, b > 0$.

    **Reference:** Johnson, Kotz & Balakrishnan (1994), section 17.8; the metric is that of the gamma distribution.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        shape, scale = positives(theta)
        x = as_real(x, shape.dtype)
        inside = x > 0.0
        safe = jnp.where(inside, x, 1.0)
        density = shape * jnp.log(scale) - (shape + 1.0) * jnp.log(safe) - scale / safe - gammaln(shape)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=_location_of_inverse_gamma, scale=_scale_of_inverse_gamma)

    @property
    def chart(self) -> AbstractChart:
        return GAMMA.chart

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        return GAMMA.fisher(theta)

    def fisher_root(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        return GAMMA.fisher_root(theta)

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        return GAMMA.quadratic(theta, v)


def _location_of_gamma(theta):
    return (theta[0] + 0.5) / theta[1]


def _scale_of_gamma(theta):
    # The width of log x, which is 1/a where the density is singular at 0.
    return _location_of_gamma(theta) * jnp.sqrt(1.0 / theta[0] + 0.2 / theta[0] ** 2)


def _location_of_chi_squared(theta):
    return scalar(theta) + 1.0


def _scale_of_chi_squared(theta):
    half = 0.5 * scalar(theta)
    return _location_of_chi_squared(theta) * jnp.sqrt(1.0 / half + 0.2 / half**2)


def _location_of_inverse_gamma(theta):
    return 1.0 / _location_of_gamma(theta)


def _scale_of_inverse_gamma(theta):
    return _scale_of_gamma(theta) / _location_of_gamma(theta) ** 2
