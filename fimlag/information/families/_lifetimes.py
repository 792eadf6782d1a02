"""Families of lifetimes and sizes of one parameter."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._distances import log_ratio
from fimlag.information.families._family import (
    HALF_LINE,
    AbstractFamily,
    absolute,
    as_real,
    positive,
    scalar,
)


class Rayleigh(AbstractFamily):
    r"""The Rayleigh distribution, $\theta = \sigma$, a number or a vector of length 1.

    $$\ell = \log x - 2 \log\sigma - \frac{x^2}{2 \sigma^2}, \qquad I = \frac{4}{\sigma^2}$$

    Domain: $\sigma > 0$.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        scale = positive(scalar(theta))
        x = as_real(x, scale.dtype)
        inside = x > 0.0
        safe = jnp.where(inside, x, 1.0)
        density = jnp.log(safe) - 2.0 * jnp.log(scale) - 0.5 * (safe / scale) ** 2
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, math.inf, scale=scalar)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(4.0 / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = 2 |\log(\sigma_1 / \sigma_0)|$."""
        return 2.0 * absolute(log_ratio(positive(scalar(theta0)), positive(scalar(theta1))))


class Pareto(AbstractFamily):
    r"""The Pareto distribution above a known end, $\theta = \alpha$, a number or a vector of length 1.

    $$\ell = \log\alpha + \alpha \log x_0 - (\alpha + 1) \log x, \quad x \geq x_0, \qquad I = \frac{1}{\alpha^2}$$

    Domain: $\alpha > 0$. Were the end a parameter, the support would depend on it and have no Fisher information.

    **Arguments:** `lower`: the end $x_0$, a positive number.

    **Raises:** `ValueError` where it is not positive.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    lower: float = eqx.field(static=True)

    def __init__(self, lower: float = 1.0):
        if not 0.0 < lower < math.inf:
            raise ValueError(f"lower must be positive and finite, but is {lower}.")
        self.lower = float(lower)

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        index = positive(scalar(theta))
        x = as_real(x, index.dtype)
        inside = x >= self.lower
        logarithm = jnp.log(jnp.where(inside, x, self.lower) / self.lower)
        density = jnp.log(index) - math.log(self.lower) - (index + 1.0) * logarithm
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(self.lower, math.inf, location=self._location, scale=self._scale)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(1.0 / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = |\log(\alpha_1 / \alpha_0)|$."""
        return absolute(log_ratio(positive(scalar(theta0)), positive(scalar(theta1))))

    def _location(self, theta):
        # log x - log x_0 has mean 1 / index.
        return self.lower * (1.0 + 1.0 / scalar(theta))

    def _scale(self, theta):
        index = scalar(theta)
        return self.lower / index * (1.0 + 1.0 / index)


class PowerFunction(AbstractFamily):
    r"""The power function distribution below a known end, $\theta = \alpha$, a number or a vector of length 1.

    $$\ell = \log\alpha + (\alpha - 1) \log x - \alpha \log b, \quad 0 < x \leq b, \qquad I = \frac{1}{\alpha^2}$$

    That of 1 / x for x of a Pareto distribution. Domain: $\alpha > 0$.

    **Arguments:** `upper`: the end b, a positive number.

    **Raises:** `ValueError` where it is not positive.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    upper: float = eqx.field(static=True)

    def __init__(self, upper: float = 1.0):
        if not 0.0 < upper < math.inf:
            raise ValueError(f"upper must be positive and finite, but is {upper}.")
        self.upper = float(upper)

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        index = positive(scalar(theta))
        x = as_real(x, index.dtype)
        inside = (x > 0.0) & (x <= self.upper)
        logarithm = jnp.log(jnp.where(inside, x, self.upper) / self.upper)
        density = jnp.log(index) - math.log(self.upper) + (index - 1.0) * logarithm
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, self.upper, location=self._location, scale=self._scale)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return jnp.reshape(1.0 / positive(scalar(theta)) ** 2, (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, $d = |\log(\alpha_1 / \alpha_0)|$."""
        return absolute(log_ratio(positive(scalar(theta0)), positive(scalar(theta1))))

    def _location(self, theta):
        index = scalar(theta)
        return self.upper * (index + 0.5) / (index + 2.0)

    def _scale(self, theta):
        # The width of log(x / (b - x)), as of a beta distribution.
        index, share = scalar(theta), self._location(theta) / self.upper
        return self._location(theta) * (1.0 - share) * jnp.sqrt(1.0 / index + 0.2 / index**2 + 1.2)


class CensoredExponential(AbstractFamily):
    r"""Exponential lifetimes followed up to a fixed time, $\theta = \lambda$ (the rate), a number or of length 1.

    $$\ell = \log\lambda - \lambda x \quad (x < T), \qquad \ell = -\lambda T \quad (x = T), \qquad
    I = \frac{1 - e^{-\lambda T}}{\lambda^2}$$

    An outcome is the lifetime or, where it exceeds $T$, the number $T$ itself: an atom of probability
    $e^{-\lambda T}$. Domain: $\lambda > 0$.

    **Arguments:** `time`: the time of censoring $T$, a positive number.

    **Raises:** `ValueError` where it is not positive and finite.

    **Reference:** Cox & Oakes (1984), section 3.2.
    """

    time: float = eqx.field(static=True)

    def __init__(self, time: float):
        if not 0.0 < time < math.inf:
            raise ValueError(f"time must be positive and finite, but is {time}.")
        self.time = float(time)

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        rate = positive(scalar(theta))
        x = as_real(x, rate.dtype)
        inside = (x >= 0.0) & (x <= self.time)
        failed = x < jnp.asarray(self.time, rate.dtype)
        density = jnp.where(failed, jnp.log(rate), 0.0) - rate * x
        return jnp.where(inside, density, -jnp.inf + 0.0 * rate)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, self.time, location=self._location, scale=self._scale, atoms=self.time)

    @property
    def chart(self) -> AbstractChart:
        return HALF_LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        rate = positive(scalar(theta))
        return jnp.reshape(-jnp.expm1(-rate * self.time) / rate**2, (1, 1))

    def _location(self, theta):
        return 1.0 / (scalar(theta) + 2.0 / self.time)

    def _scale(self, theta):
        location = self._location(theta)
        return 2.0 * location * (self.time - location) / self.time
