"""Student's t distribution, its degrees of freedom among the parameters or known."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._family import (
    AbstractFamily,
    as_real,
    first,
    log_one_plus_square,
    parameters,
    positive,
    second,
)
from fimlag.information.families._location_scale import AbstractLocationScale

LARGE = 30.0
"""Degrees of freedom from which the asymptotic series has all digits."""


class StudentT(AbstractFamily):
    r"""Student's t distribution, $\theta = (\mu, \sigma, \nu)$: location, scale, degrees of freedom.

    $$\ell = \log\frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac\nu2) \sqrt{\pi\nu}} - \log\sigma
    - \frac{\nu + 1}{2} \log\Big(1 + \frac{z^2}{\nu}\Big), \qquad z = \frac{x - \mu}{\sigma}$$

    $$I_{\mu\mu} = \frac{\nu + 1}{(\nu + 3) \sigma^2}, \quad I_{\sigma\sigma} = \frac{2 \nu}{(\nu + 3) \sigma^2}, \quad
    I_{\sigma\nu} = \frac{-2}{(\nu + 1)(\nu + 3) \sigma}, \quad I_{\nu\nu} =
    \frac{\psi'(\frac\nu2) - \psi'(\frac{\nu + 1}{2})}{4} - \frac{\nu + 5}{2\nu(\nu + 1)(\nu + 3)}$$

    Domain: $\sigma, \nu > 0$. For large $\nu$ the last entry is $7 / (2 \nu^4)$, and kept to all digits.

    **Reference:** Lange, Little & Taylor (1989), appendix B.
    """

    def log_likelihood(self, theta: Float[Array, "3"], x) -> Float[Array, ""]:
        location, scale, dof = _legal(theta)
        z = (as_real(x, location.dtype) - location) / (scale * jnp.sqrt(dof))
        normaliser = _remainder(dof) - 0.25 / dof - 0.5 * math.log(2.0 * math.pi) - jnp.log(scale)
        return normaliser - 0.5 * (dof + 1.0) * log_one_plus_square(z)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(-math.inf, math.inf, location=first, scale=second)

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((-math.inf, 0.0, 0.0))

    def fisher(self, theta: Float[Array, "3"]) -> Float[Array, "3 3"]:
        _, scale, dof = _legal(theta)
        zero = jnp.zeros_like(dof)
        location = (dof + 1.0) / ((dof + 3.0) * scale**2)
        spread = 2.0 * dof / ((dof + 3.0) * scale**2)
        cross = -2.0 / ((dof + 1.0) * (dof + 3.0) * scale)
        rows = [[location, zero, zero], [zero, spread, cross], [zero, cross, _tail(dof)]]
        return jnp.stack([jnp.stack(row) for row in rows])

    def quadratic(self, theta: Float[Array, "3"], v: Float[Array, "3"]) -> Float[Array, ""]:
        v = parameters(v, 3)
        return v @ self.fisher(theta) @ v


# Type checkers take the abstract fields for arguments.
STUDENT_T = StudentT()


class StudentTLocationScale(AbstractLocationScale):
    r"""Student's t distribution of KNOWN degrees of freedom $\nu$, $\theta = (\mu, \sigma)$: location and scale.

    $$\ell = \log\frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac\nu2) \sqrt{\pi\nu}} - \log\sigma
    - \frac{\nu + 1}{2} \log\Big(1 + \frac{z^2}{\nu}\Big), \qquad I = \frac{1}{(\nu + 3) \sigma^2}
    \begin{pmatrix} \nu + 1 & 0 \\ 0 & 2 \nu \end{pmatrix}$$

    Domain: $\sigma > 0$.

    **Arguments:** `dof`: the degrees of freedom, a positive number.

    **Raises:** `ValueError` where it is not positive and finite.

    **Reference:** Mitchell (1988), section 3; Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    dof: float = eqx.field(static=True)

    def __init__(self, dof: float | int):
        if not 0.0 < dof < math.inf:
            raise ValueError(f"dof must be positive and finite, but is {dof}.")
        self.dof = float(dof)

    def standard(self, z):
        return STUDENT_T.log_likelihood(jnp.stack([jnp.zeros_like(z), jnp.ones_like(z), jnp.full_like(z, self.dof)]), z)

    @property
    def entries(self):
        return (self.dof + 1.0) / (self.dof + 3.0), 0.0, 2.0 * self.dof / (self.dof + 3.0)

    @property
    def kinked(self):
        return False


def _legal(theta):
    location, scale, dof = parameters(theta, 3)
    return location, positive(scale), positive(dof)


def _tail(dof):
    r"""The last entry of the Fisher matrix, free of cancellation: its recurrence leads up to where a series holds.

    $$I_{\nu\nu}(\nu) - I_{\nu\nu}(\nu + 2)
    = \frac{2 (14 \nu^2 + 33 \nu + 15)}{\nu^2 (\nu + 1)^2 (\nu + 2)(\nu + 3)(\nu + 5)}$$
    """
    n = dof + jnp.arange(0.0, 16.0, 2.0, dtype=dof.dtype)
    steps = 2.0 * ((14.0 * n + 33.0) * n + 15.0) / (n * (n + 1.0)) ** 2 / ((n + 2.0) * (n + 3.0) * (n + 5.0))
    y = dof + 16.0
    # The leading terms of both parts cancel: they are taken together as one fraction.
    leading = (7.0 * y + 3.0) / (2.0 * y**3 * (y + 1.0) * (y + 3.0))
    return jnp.sum(steps) + leading - jax.grad(jax.grad(_series))(y)


def _remainder(dof: Float[Array, ""]) -> Float[Array, ""]:
    r"""What the series of the ratio of gamma functions has beyond its first term, $O(\nu^{-3})$.

    $$r(\nu) = \log\frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac\nu2)} - \frac12 \log\frac\nu2 + \frac{1}{4\nu}$$

    Gamma functions would lose it to round-off where $\nu$ is large. Where it is small the recurrence of $\Gamma$
    leads up to the series.
    """
    few, many = jnp.where(dof < LARGE, dof, LARGE), jnp.where(dof < LARGE, LARGE, dof)
    shifted = few + LARGE
    steps = few + jnp.arange(1.0, LARGE, 2.0, dtype=dof.dtype)
    climbed = jnp.sum(jnp.log1p(-1.0 / steps)) + 0.5 * jnp.log(shifted / few) - 0.25 / shifted + 0.25 / few
    return jnp.where(dof < LARGE, climbed + _series(shifted), _series(many))


def _series(dof):
    """The asymptotic series of the remainder in 1/dof, from Bernoulli's numbers 4 to 16."""
    bernoulli = (-1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
    x = 0.5 * dof
    coefficients = [(4.0**-k - 1.0) * b / (k * (2 * k - 1)) for k, b in enumerate(bernoulli, start=2)]
    total = jnp.zeros_like(dof)
    for coefficient in reversed(coefficients):
        total = total / x**2 + coefficient
    return total / x**3
