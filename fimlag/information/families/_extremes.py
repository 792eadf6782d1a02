"""Families of extreme values on the half-line."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._distances import half_plane_distance, log_ratio
from fimlag.information.families._family import QUADRANT, AbstractFamily, as_real, pair, positives, second
from fimlag.information.families._location_scale import EULER


class Weibull(AbstractFamily):
    r"""The Weibull distribution, $\theta = (k, \lambda)$: shape and scale.

    $$\ell = \log\frac k\lambda + (k - 1) \log\frac x\lambda - \Big(\frac x\lambda\Big)^k, \qquad
    I = \begin{pmatrix} (\pi^2/6 + (1 - \gamma)^2) / k^2 & (\gamma - 1) / \lambda \\
    (\gamma - 1) / \lambda & k^2 / \lambda^2 \end{pmatrix}$$

    with Euler's $\gamma$. Domain: $k, \lambda > 0$.

    **Reference:** Oller (1987), section 3.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        shape, scale = positives(theta)
        x = as_real(x, shape.dtype)
        inside = x > 0.0
        logarithm = jnp.log(jnp.where(inside, x, scale)) - jnp.log(scale)
        density = jnp.log(shape / scale) + (shape - 1.0) * logarithm - jnp.exp(shape * logarithm)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=second, scale=_width_of_weibull)

    @property
    def chart(self) -> AbstractChart:
        return QUADRANT

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        shape, scale = positives(theta)
        cross = (EULER - 1.0) / scale
        corner = (math.pi**2 / 6.0 + (1.0 - EULER) ** 2) / shape**2
        return jnp.stack([jnp.stack([corner, cross]), jnp.stack([cross, (shape / scale) ** 2])])

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        shape, scale = positives(theta)
        spread, location = pair(v) / jnp.stack([shape, scale])
        return (shape * location - (1.0 - EULER) * spread) ** 2 + (math.pi**2 / 6.0) * spread**2

    def distance(self, theta0: Float[Array, "2"], theta1: Float[Array, "2"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, that of the extreme-value distributions of $\log x$.

        $$d = \tfrac{2 \pi}{\sqrt6} \operatorname{arsinh} \sqrt{\frac{k_0 k_1}{4} \Big(\tfrac{6}{\pi^2}
        \big(\log\tfrac{\lambda_1}{\lambda_0} + (1 - \gamma) r\big)^2 + r^2\Big)}, \qquad
        r = \frac1{k_1} - \frac1{k_0}$$
        """
        (shape0, scale0), (shape1, scale1) = (positives(theta) for theta in (theta0, theta1))
        rise = (shape0 - shape1) / (shape0 * shape1)
        gap = log_ratio(scale0, scale1) + (1.0 - EULER) * rise
        return half_plane_distance(gap, rise, 1.0 / shape0, 1.0 / shape1, 1.0, math.pi**2 / 6.0)


class Frechet(AbstractFamily):
    r"""The Fréchet distribution, $\theta = (\alpha, s)$: shape and scale.

    $$\ell = \log\frac\alpha s - (\alpha + 1) \log\frac xs - \Big(\frac xs\Big)^{-\alpha}, \qquad
    I = \begin{pmatrix} (\pi^2/6 + (1 - \gamma)^2) / \alpha^2 & (1 - \gamma) / s \\
    (1 - \gamma) / s & \alpha^2 / s^2 \end{pmatrix}$$

    with Euler's $\gamma$: that of 1 / x for x of a Weibull distribution. Domain: $\alpha, s > 0$.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        shape, scale = positives(theta)
        x = as_real(x, shape.dtype)
        inside = x > 0.0
        logarithm = jnp.log(jnp.where(inside, x, scale)) - jnp.log(scale)
        density = jnp.log(shape / scale) - (shape + 1.0) * logarithm - jnp.exp(-shape * logarithm)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, location=second, scale=_width_of_weibull)

    @property
    def chart(self) -> AbstractChart:
        return QUADRANT

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        shape, scale = positives(theta)
        cross = (1.0 - EULER) / scale
        corner = (math.pi**2 / 6.0 + (1.0 - EULER) ** 2) / shape**2
        return jnp.stack([jnp.stack([corner, cross]), jnp.stack([cross, (shape / scale) ** 2])])

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        shape, scale = positives(theta)
        spread, location = pair(v) / jnp.stack([shape, scale])
        return (shape * location + (1.0 - EULER) * spread) ** 2 + (math.pi**2 / 6.0) * spread**2

    def distance(self, theta0: Float[Array, "2"], theta1: Float[Array, "2"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, that of the extreme-value distributions of $\log x$.

        $$d = \tfrac{2 \pi}{\sqrt6} \operatorname{arsinh} \sqrt{\frac{\alpha_0 \alpha_1}{4} \Big(\tfrac{6}{\pi^2}
        \big(\log\tfrac{s_1}{s_0} - (1 - \gamma) r\big)^2 + r^2\Big)}, \qquad
        r = \frac{1}{\alpha_1} - \frac{1}{\alpha_0}$$
        """
        (shape0, scale0), (shape1, scale1) = (positives(theta) for theta in (theta0, theta1))
        rise = (shape0 - shape1) / (shape0 * shape1)
        gap = log_ratio(scale0, scale1) - (1.0 - EULER) * rise
        return half_plane_distance(gap, rise, 1.0 / shape0, 1.0 / shape1, 1.0, math.pi**2 / 6.0)


def _width_of_weibull(theta):
    return theta[1] / theta[0]
