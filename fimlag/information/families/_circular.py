"""Families on the circle."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i0e, i1e
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._family import HALF_PLANE, AbstractFamily, as_real, first, pair

LARGE = 30.0
"""Concentration from which the asymptotic series of the Bessel ratio has all digits."""


class VonMises(AbstractFamily):
    r"""The von Mises distribution on the circle, $\theta = (\mu, \kappa)$: mean direction (radian), concentration.

    $$\ell = \kappa \cos(x - \mu) - \log 2\pi I_0(\kappa), \qquad
    I = \begin{pmatrix} \kappa A & 0 \\ 0 & A' \end{pmatrix}, \qquad A(\kappa) = \frac{I_1(\kappa)}{I_0(\kappa)}, \quad
    A' = 1 - A^2 - \frac A\kappa$$

    with Bessel's $I_0, I_1$. An outcome is an angle, any turn of it; expectations take those in $[-\pi, \pi]$. Domain:
    $\kappa \geq 0$. Large concentrations keep their digits: $A' \approx 1 / (2 \kappa^2)$.

    **Reference:** Mardia & Jupp (2000), section 5.3.1; DLMF 10.40.1.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        direction, concentration = _legal(theta)
        half = 0.5 * (as_real(x, direction.dtype) - direction)
        return -2.0 * concentration * jnp.sin(half) ** 2 - _log_i0e(concentration) - math.log(2.0 * math.pi)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(-math.pi, math.pi, location=first, scale=_scale, periodic=True)

    @property
    def chart(self) -> AbstractChart:
        return HALF_PLANE

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        return jnp.diag(self._diagonal(theta))

    def fisher_root(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        # At concentration 0 the direction is not identified, and a Cholesky factor would be NaN.
        return jnp.diag(jnp.sqrt(self._diagonal(theta)))

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        return jnp.sum(self._diagonal(theta) * pair(v) ** 2)

    def _diagonal(self, theta):
        concentration = _legal(theta)[1]
        ratio, slope = jax.value_and_grad(mean_length)(concentration)
        return jnp.stack([concentration * ratio, slope])


def mean_length(concentration: Float[Array, ""]) -> Float[Array, ""]:
    """The ratio of Bessel functions $A = I_1 / I_0$, differentiable with all digits."""
    return jnp.where(concentration < LARGE, _small_ratio(concentration), 1.0 - _shortfall(concentration))


@jax.custom_jvp
def _log_i0e(concentration):
    r"""$\log(e^{-\kappa} I_0(\kappa))$, whose derivative is $A - 1$: taken by itself it would cancel."""
    return jnp.log(i0e(concentration))


@_log_i0e.defjvp
def _log_i0e_jvp(primals, tangents):
    (concentration,), (tangent,) = primals, tangents
    below = _small_ratio(concentration) - 1.0
    return _log_i0e(concentration), jnp.where(concentration < LARGE, below, -_shortfall(concentration)) * tangent


def _small_ratio(concentration):
    few = jnp.where(concentration < LARGE, concentration, LARGE)
    return i1e(few) / i0e(few)


def _shortfall(concentration):
    """The series of $1 - A$ in $1 / \\kappa$, for large concentrations."""
    w = 1.0 / jnp.where(concentration < LARGE, LARGE, concentration)
    total = jnp.zeros_like(w)
    for coefficient in reversed(_coefficients(20)):
        total = w * (total + coefficient)
    return total


def _coefficients(number: int) -> list[float]:
    """Those of $D = 1 - A = \\sum_k d_k \\kappa^{-k}$, from the equation $D' = D^2 - 2 D + (1 - D) / \\kappa$."""
    d = np.zeros(number + 1)
    for k in range(1, number + 1):
        square = d[1:k] @ d[1:k][::-1]
        d[k] = 0.5 * (square + (k == 1) + (k - 2.0) * d[k - 1])
    return [float(value) for value in d[1:]]


def _legal(theta):
    """Direction and concentration, which may be 0."""
    direction, concentration = pair(theta)
    return direction, jnp.where(concentration >= 0.0, concentration, jnp.nan)


def _scale(theta):
    return 1.0 / jnp.sqrt(1.0 + theta[1])
