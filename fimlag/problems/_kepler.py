"""A planet on its ellipse."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.geometry import EuclideanMetric
from fimlag.mechanics import NaturalLagrangian


class Kepler(eqx.Module):
    r"""A body in the plane, drawn to a centre by gravity.

    $$L = \tfrac12\, v \cdot v + \mu / |q|$$

    **Arguments:** `gravity` $\mu$.

    **Reference:** Landau & Lifshitz (1976), section 15.
    """

    gravity: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    @property
    def lagrangian(self) -> NaturalLagrangian:
        """The Lagrangian on vectors of shape (2,)."""
        return NaturalLagrangian(EuclideanMetric(1.0), _Gravity(self.gravity))

    def start(self, eccentricity: RealScalarLike) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
        """Point and velocity at the perihelion of the ellipse of half major axis 1."""
        ratio = (1 + eccentricity) / (1 - eccentricity)
        distance, speed = jnp.asarray(1 - eccentricity), jnp.sqrt(self.gravity * ratio)
        return jnp.stack([distance, jnp.zeros_like(distance)]), jnp.stack([jnp.zeros_like(speed), speed])

    def solution(self, t: RealScalarLike, eccentricity: RealScalarLike) -> Float[Array, "2"]:
        r"""The point a time `t` after the perihelion of that ellipse, by Kepler's equation.

        $$q = (\cos E - e,\ \sqrt{1 - e^2} \sin E), \qquad E - e \sin E = \sqrt{\mu}\, t$$
        """
        anomaly, _ = self._anomaly(t, eccentricity)
        return jnp.stack([jnp.cos(anomaly) - eccentricity, jnp.sqrt(1 - eccentricity**2) * jnp.sin(anomaly)])

    @property
    def in_polar(self) -> NaturalLagrangian:
        r"""The Lagrangian by distance and angle, not separable: $\tfrac12 (v_1^2 + q_1^2 v_2^2) + \mu / q_1$."""
        return NaturalLagrangian(_polar_metric, _RadialGravity(self.gravity))

    def polar_start(self, eccentricity: RealScalarLike) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
        """Point and velocity at the perihelion by distance and angle."""
        q, v = self.start(eccentricity)
        return q, v / q[0]

    def polar_solution(self, t: RealScalarLike, eccentricity: RealScalarLike) -> Float[Array, "2"]:
        r"""Distance and angle a time `t` after the perihelion, the angle counted through all turns.

        $$r = 1 - e \cos E, \qquad \phi = E + 2 \arctan \frac{\beta \sin E}{1 - \beta \cos E}, \qquad
        \beta = \frac{e}{1 + \sqrt{1 - e^2}}$$
        """
        anomaly, whole = self._anomaly(t, eccentricity)
        beta = eccentricity / (1 + jnp.sqrt(1 - jnp.asarray(eccentricity) ** 2))
        lead = 2 * jnp.arctan(beta * jnp.sin(anomaly) / (1 - beta * jnp.cos(anomaly)))
        return jnp.stack([1 - eccentricity * jnp.cos(anomaly), whole + anomaly + lead])

    def _anomaly(self, t, eccentricity):
        """The eccentric anomaly less whole turns, and these."""
        mean = jnp.asarray(jnp.sqrt(self.gravity) * t)
        whole = 2 * jnp.pi * jnp.round(mean / (2 * jnp.pi))
        rest = mean - whole

        def newton(_, anomaly):
            defect = anomaly - eccentricity * jnp.sin(anomaly) - rest
            return anomaly - defect / (1 - eccentricity * jnp.cos(anomaly))

        # From this side of the root Newton's method descends to it for every eccentricity below 1.
        return lax.fori_loop(0, 20, newton, rest + jnp.sign(rest) * eccentricity), whole


class _Gravity(eqx.Module):
    gravity: Float[Array, ""]

    def __call__(self, q):
        return -self.gravity / jnp.sqrt(q @ q)


class _RadialGravity(eqx.Module):
    gravity: Float[Array, ""]

    def __call__(self, q):
        return -self.gravity / q[0]


def _polar_metric(q):
    return jnp.diag(jnp.stack([jnp.ones_like(q[0]), q[0] ** 2]))
