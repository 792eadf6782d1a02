"""Families on the half-line."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._distances import half_plane_distance, log_ratio
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import EXPONENTIAL_FORM
from fimlag.information.families._family import (
    HALF_LINE,
    HALF_PLANE,
    QUADRANT,
    AbstractFamily,
    absolute,
    as_real,
    first,
    pair,
    positive,
    positives,
    scalar,
)
from fimlag.information.families._location_scale import Normal

# Type checkers take the abstract fields for arguments.
NORMAL = Normal()


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

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(1.0 / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = |\log(\lambda_1 / \lambda_0)|$, accurate for near and far pairs."""
        rate0, rate1 = positive(scalar(theta0)), positive(scalar(theta1))
        return absolute(log_ratio(rate0, rate1))

    def natural(self, theta) -> Float[Array, ""]:
        r"""The natural parameter $-\lambda$, of the statistic x."""
        return -positive(scalar(theta))

    def of_natural(self, natural) -> Float[Array, ""]:
        """The rate of a natural parameter, NaN where that is not negative."""
        return positive(-scalar(natural))

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return EXPONENTIAL_FORM


class LogNormal(AbstractFamily):
    r"""The log-normal distribution, $\theta = (\mu, \sigma)$, those of $\log x$.

    $$\ell = -\tfrac12 \Big(\frac{\log x - \mu}{\sigma}\Big)^2 - \log (\sigma x) - \tfrac12\log 2\pi, \qquad
    I = \frac{1}{\sigma^2} \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}$$

    Domain: $\sigma > 0$.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        x = as_real(x, pair(theta).dtype)
        inside = x > 0.0
        logarithm = jnp.log(jnp.where(inside, x, 1.0))
        density = NORMAL.log_likelihood(theta, logarithm) - logarithm
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=_median_of_log_normal, scale=_scale_of_log_normal)

    @property
    def chart(self) -> AbstractChart:
        return HALF_PLANE

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        return NORMAL.fisher(theta)

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        return NORMAL.quadratic(theta, v)

    def distance(self, theta0: Float[Array, "2"], theta1: Float[Array, "2"]) -> Float[Array, ""]:
        """The Fisher-Rao distance, that of the normal distributions of $\\log x$."""
        return NORMAL.distance(theta0, theta1)


class InverseGaussian(AbstractFamily):
    r"""The inverse Gaussian distribution, $\theta = (\mu, \lambda)$: mean and shape.

    $$\ell = \tfrac12 \log\frac{\lambda}{2 \pi x^3} - \frac{\lambda (x - \mu)^2}{2 \mu^2 x}, \qquad
    I = \begin{pmatrix} \lambda / \mu^3 & 0 \\ 0 & 1 / (2 \lambda^2) \end{pmatrix}$$

    Domain: $\mu, \lambda > 0$.

    **Reference:** Chhikara & Folks (1989), section 2.2; Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        mean, shape = positives(theta)
        x = as_real(x, mean.dtype)
        inside = x > 0.0
        safe = jnp.where(inside, x, 1.0)
        # (x - mean)^2 / x by way of sqrt(x): its square would overflow far out in single precision.
        deviation = (jnp.sqrt(safe) - mean / jnp.sqrt(safe)) / mean
        density = 0.5 * (jnp.log(shape) - math.log(2.0 * math.pi) - 3.0 * jnp.log(safe) - shape * deviation**2)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        # Between two far ends that fall off double exponentially more nodes are needed.
        return Quadrature(0.0, math.inf, nodes=400, location=first, scale=_scale_of_inverse_gaussian)

    @property
    def chart(self) -> AbstractChart:
        return QUADRANT

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        mean, shape = positives(theta)
        return jnp.diag(jnp.stack([shape / mean**3, 0.5 / shape**2]))

    def distance(self, theta0: Float[Array, "2"], theta1: Float[Array, "2"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance: that of normals of mean $2/\sqrt\mu$ and deviation $1/\sqrt\lambda$.

        $$d = 2\sqrt2 \operatorname{arsinh} \sqrt{\frac{\sqrt{\lambda_0 \lambda_1}}{4}
        \Big(2 (\mu_1^{-1/2} - \mu_0^{-1/2})^2 + (\lambda_1^{-1/2} - \lambda_0^{-1/2})^2\Big)}$$
        """
        (mean0, shape0), (mean1, shape1) = (positives(theta) for theta in (theta0, theta1))
        return half_plane_distance(
            2.0 * _root_gap(mean0, mean1), _root_gap(shape0, shape1), shape0**-0.5, shape1**-0.5, 1.0, 2.0
        )


def _root_gap(start, end):
    """The difference of the inverse roots, without cancellation."""
    before, after = jnp.sqrt(start), jnp.sqrt(end)
    return (start - end) / (before * after * (before + after))


def _mean_of_exponential(theta):
    return 1.0 / scalar(theta)


def _median_of_log_normal(theta):
    return jnp.exp(theta[0])


def _scale_of_log_normal(theta):
    return theta[1] * jnp.exp(theta[0])


def _scale_of_inverse_gaussian(theta):
    # The width of log x of the log-normal distribution of the same mean and variance.
    return theta[0] * jnp.sqrt(jnp.log1p(theta[0] / theta[1]))
