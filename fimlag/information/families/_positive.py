"""Families on the half-line and the unit interval."""

import math

import jax.numpy as jnp
from jax.scipy.special import gammaln, polygamma
from jaxtyping import Array, Float

from fimlag.information._quadrature import Quadrature
from fimlag.information.families._family import AbstractFamily, absolute, as_real, pair, positive, scalar


class Exponential(AbstractFamily):
    r"""The exponential distribution, $\theta = \lambda$ (the rate), a number or a vector of length 1.

    $$\ell = \log\lambda - \lambda x, \qquad I = \frac{1}{\lambda^2}$$

    Domain: $\lambda > 0$.

    **Reference:** Atkinson & Mitchell (1981), section 3.
    """

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        rate = positive(scalar(theta))
        x = as_real(x, rate.dtype)
        return jnp.where(x >= 0.0, jnp.log(rate) - rate * x, -jnp.inf + 0.0 * rate)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, scale=_mean_of_exponential)

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(1.0 / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = |\log(\lambda_1 / \lambda_0)|$, accurate for near and far pairs."""
        rate0, rate1 = positive(scalar(theta0)), positive(scalar(theta1))
        half = (rate1 - rate0) / (2.0 * jnp.sqrt(rate0) * jnp.sqrt(rate1))
        return 2.0 * absolute(jnp.arcsinh(half))


class Gamma(AbstractFamily):
    r"""The gamma distribution, $\theta = (a, b)$: shape and rate.

    $$\ell = a \log b + (a - 1) \log x - b x - \log\Gamma(a), \qquad
    I = \begin{pmatrix} \psi'(a) & -1/b \\ -1/b & a/b^2 \end{pmatrix}$$

    Domain: $a, b > 0$.

    **Reference:** Lauritzen (1987), section 4.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        shape, rate = (positive(value) for value in pair(theta))
        x = as_real(x, shape.dtype)
        inside = x > 0.0
        safe = jnp.where(inside, x, 1.0)
        density = shape * jnp.log(rate) + (shape - 1.0) * jnp.log(safe) - rate * safe - gammaln(shape)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=_location_of_gamma, scale=_scale_of_gamma)

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        shape, rate = (positive(value) for value in pair(theta))
        cross = -1.0 / rate
        return jnp.stack([jnp.stack([polygamma(1, shape), cross]), jnp.stack([cross, shape / rate**2])])


def _mean_of_exponential(theta):
    return 1.0 / scalar(theta)


def _location_of_gamma(theta):
    return (theta[0] + 0.5) / theta[1]


def _scale_of_gamma(theta):
    # The width of log x, which is 1/a where the density is singular at 0.
    return _location_of_gamma(theta) * jnp.sqrt(1.0 / theta[0] + 0.2 / theta[0] ** 2)
