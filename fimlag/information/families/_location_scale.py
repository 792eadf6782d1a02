"""Families of location and scale."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.information._quadrature import Quadrature
from fimlag.information.families._family import AbstractFamily, as_real, pair, positive, root


class Normal(AbstractFamily):
    r"""The normal distribution, $\theta = (\mu, \sigma)$.

    $$\ell = -\tfrac12 \Big(\frac{x - \mu}{\sigma}\Big)^2 - \log\sigma - \tfrac12\log 2\pi, \qquad
    I = \frac{1}{\sigma^2} \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}$$

    Domain: $\sigma > 0$.

    **Reference:** Atkinson & Mitchell (1981), section 4.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        mean, deviation = pair(theta)
        deviation = positive(deviation)
        z = (as_real(x, mean.dtype) - mean) / deviation
        return -0.5 * z**2 - jnp.log(deviation) - 0.5 * math.log(2.0 * math.pi)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(-math.inf, math.inf, location=_first, scale=_second)

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        deviation = positive(pair(theta)[1])
        return jnp.diag(jnp.stack([1.0 / deviation**2, 2.0 / deviation**2]))

    def distance(self, theta0: Float[Array, "2"], theta1: Float[Array, "2"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = 2\sqrt2 \operatorname{arsinh}
        \sqrt{\frac{(\mu_1 - \mu_0)^2 / 2 + (\sigma_1 - \sigma_0)^2}{4 \sigma_0 \sigma_1}}$$
        """
        (mean0, deviation0), (mean1, deviation1) = pair(theta0), pair(theta1)
        deviation0, deviation1 = positive(deviation0), positive(deviation1)
        scale = 2.0 * jnp.sqrt(deviation0) * jnp.sqrt(deviation1)
        across, along = (mean1 - mean0) / scale, (deviation1 - deviation0) / scale
        return 2.0 * math.sqrt(2.0) * jnp.arcsinh(root(0.5 * across**2 + along**2))


def _first(theta):
    return theta[0]


def _second(theta):
    return theta[1]
