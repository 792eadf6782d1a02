"""Normal distributions of which only the mean, or only the deviation, is unknown."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._distances import log_ratio
from fimlag.information.families._family import HALF_LINE, LINE, AbstractFamily, absolute, positive, scalar
from fimlag.information.families._location_scale import Normal

# Type checkers take the abstract fields for arguments.
NORMAL = Normal()


class NormalMean(AbstractFamily):
    r"""The normal distribution of KNOWN deviation, $\theta = \mu$, a number or a vector of length 1.

    $$\ell = -\tfrac12 \Big(\frac{x - \mu}{\sigma}\Big)^2 - \log\sigma - \tfrac12\log 2\pi, \qquad
    I = \frac{1}{\sigma^2}$$

    Domain: every number.

    **Arguments:** `scale`: the deviation $\sigma$, a positive number.

    **Raises:** `ValueError` where it is not positive and finite.

    **Reference:** Atkinson & Mitchell (1981), section 4.
    """

    scale: float = eqx.field(static=True)

    def __init__(self, scale: float = 1.0):
        if not 0.0 < scale < math.inf:
            raise ValueError(f"scale must be positive and finite, but is {scale}.")
        self.scale = float(scale)

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        mean = scalar(theta)
        return NORMAL.log_likelihood(jnp.stack([mean, jnp.full_like(mean, self.scale)]), x)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(-math.inf, math.inf, location=scalar, scale=self.scale)

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.full((1, 1), self.scale**-2, scalar(theta).dtype)

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = |\mu_1 - \mu_0| / \sigma$."""
        return absolute(scalar(theta1) - scalar(theta0)) / self.scale


class NormalScale(AbstractFamily):
    r"""The normal distribution of KNOWN mean, $\theta = \sigma$, a number or a vector of length 1.

    $$\ell = -\tfrac12 \Big(\frac{x - \mu}{\sigma}\Big)^2 - \log\sigma - \tfrac12\log 2\pi, \qquad
    I = \frac{2}{\sigma^2}$$

    Domain: $\sigma > 0$.

    **Arguments:** `mean`: $\mu$, a number.

    **Raises:** `ValueError` where it is not finite.

    **Reference:** Atkinson & Mitchell (1981), section 4.
    """

    mean: float = eqx.field(static=True)

    def __init__(self, mean: float = 0.0):
        if not math.isfinite(mean):
            raise ValueError(f"mean must be finite, but is {mean}.")
        self.mean = float(mean)

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        deviation = scalar(theta)
        return NORMAL.log_likelihood(jnp.stack([jnp.full_like(deviation, self.mean), deviation]), x)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(-math.inf, math.inf, location=self.mean, scale=scalar)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(2.0 / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = \sqrt2\, |\log(\sigma_1 / \sigma_0)|$."""
        return math.sqrt(2.0) * absolute(log_ratio(positive(scalar(theta0)), positive(scalar(theta1))))
