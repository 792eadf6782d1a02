"""The pendulum that swings on a sphere."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.geometry import EuclideanMetric
from fimlag.mechanics import Constrained, NaturalLagrangian


class SphericalPendulum(eqx.Module):
    r"""A mass on a rod of fixed length, free to swing every way: in space with a constraint, or by two angles.

    $$L = \tfrac m2\, v \cdot v - m g\, q_3, \qquad \tfrac12 (q \cdot q - l^2) = 0$$

    **Arguments:** `mass` m; `length` l; `gravity` g.

    **Reference:** Landau & Lifshitz (1976), section 14, problem 1; Lawden (1989), section 5.4.
    """

    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    length: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    gravity: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    @property
    def lagrangian(self) -> Constrained:
        """The system on vectors of shape (3,), the third one up, with its constraint."""
        metric = EuclideanMetric(self.mass)  # pyright: ignore[reportArgumentType]
        free = NaturalLagrangian(metric, _Weight(self.mass * self.gravity))
        return Constrained(free, _Sphere(self.length))

    def in_angles(self, t: RealScalarLike, q: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        r"""The Lagrangian by the angle from the downward vertical and the azimuth, singular at the poles.

        $$L = \tfrac m2 l^2 (v_1^2 + v_2^2 \sin^2 q_1) + m g l \cos q_1$$
        """
        kinetic = self.mass * self.length**2 / 2 * (v[0] ** 2 + (v[1] * jnp.sin(q[0])) ** 2)
        return kinetic + self.mass * self.gravity * self.length * jnp.cos(q[0])

    def point(self, angles: Float[Array, "2"]) -> Float[Array, "3"]:
        """The point in space at two angles."""
        sine = jnp.sin(angles[0])
        return self.length * jnp.stack([sine * jnp.cos(angles[1]), sine * jnp.sin(angles[1]), -jnp.cos(angles[0])])

    def tension(self, q: Float[Array, "3"], v: Float[Array, "3"]) -> Float[Array, ""]:
        r"""The pull of the rod, $\tfrac ml (v \cdot v - g q_3)$; l times it, negative, is the multiplier."""
        return self.mass / self.length * (v @ v - self.gravity * q[2])

    def height(
        self, t: RealScalarLike, lowest: RealScalarLike, highest: RealScalarLike
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        r"""The height $q_3$ a time `t` after the lowest point, on the motion between two heights, and its rate.

        $$z = z_1 + (z_2 - z_1)\, \mathrm{sn}^2\Big(t \sqrt{\tfrac{g (z_3 - z_1)}{2 l^2}},\ k\Big), \quad
        k^2 = \frac{z_2 - z_1}{z_3 - z_1}, \quad z_3 = -\frac{l^2 + z_1 z_2}{z_1 + z_2}$$
        """
        z1, z2, z3 = self._roots(lowest, highest)
        pace = jnp.sqrt(self.gravity * (z3 - z1) / 2) / self.length
        sn, cn, dn = jacobi_functions(pace * t, (z2 - z1) / (z3 - z1))
        return z1 + (z2 - z1) * sn**2, 2 * (z2 - z1) * pace * sn * cn * dn

    def solution(self, t: RealScalarLike, lowest: RealScalarLike, highest: RealScalarLike) -> Float[Array, "3"]:
        r"""The point a time `t` after the start at the lowest height.

        The azimuth is $\int_0^t h / (l^2 - z^2)\, dt$ with the angular momentum h of a unit mass, by Gauss
        quadrature on 16 equal parts, for durations of a few swings.
        """
        q0, v0 = self.start(lowest, highest)
        nodes, weights = np.polynomial.legendre.leggauss(16)
        nodes, weights = (np.arange(16)[:, None] + (1 + nodes) / 2).ravel() / 16, np.tile(weights / 16, 16)
        times = t * jnp.asarray(nodes, q0.dtype)
        heights, _ = jax.vmap(lambda time: self.height(time, lowest, highest))(jnp.append(times, t))
        radii = jnp.sqrt(self.length**2 - heights**2)
        turned = t * jnp.asarray(weights / 2, q0.dtype) @ (q0[0] * v0[1] / radii[:-1] ** 2)
        return jnp.stack([radii[-1] * jnp.cos(turned), radii[-1] * jnp.sin(turned), heights[-1]])

    def start(self, lowest: RealScalarLike, highest: RealScalarLike) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """Point and velocity at the lowest point of the motion between two heights, of a negative sum."""
        z1, _, z3 = self._roots(lowest, highest)
        radius = jnp.sqrt(self.length**2 - z1**2)
        # Twice the energy over m is 2 g (z1 + z2 + z3), the sum of the roots.
        speed = jnp.sqrt(2 * self.gravity * (jnp.asarray(highest) + z3))
        zero = jnp.zeros_like(radius)
        return jnp.stack([radius, zero, z1]), jnp.stack([zero, speed, zero])

    def _roots(self, lowest, highest):
        z1, z2 = jnp.asarray(lowest), jnp.asarray(highest)
        return z1, z2, -(self.length**2 + z1 * z2) / (z1 + z2)


def jacobi_functions(
    u: Float[Array, ""], parameter: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    r"""Jacobi's elliptic functions sn, cn and dn by the arithmetic-geometric mean.

    **Arguments:** `u`; `parameter` $m = k^2$, between 0 and 1.

    **Reference:** Abramowitz & Stegun (1972), section 16.4.
    """
    a, b, c = jnp.ones_like(parameter), jnp.sqrt(1 - parameter), jnp.sqrt(parameter)
    ratios = []
    for _ in range(8):
        a, b, c = (a + b) / 2, jnp.sqrt(a * b), (a - b) / 2
        ratios.append(c / a)
    phase = 2 ** len(ratios) * a * u
    for ratio in reversed(ratios):
        phase = (phase + jnp.arcsin(ratio * jnp.sin(phase))) / 2
    sn, cn = jnp.sin(phase), jnp.cos(phase)
    return sn, cn, jnp.sqrt(1 - parameter * sn**2)


class _Weight(eqx.Module):
    weight: Float[Array, ""]

    def __call__(self, q):
        return self.weight * q[2]


class _Sphere(eqx.Module):
    length: Float[Array, ""]

    def __call__(self, q):
        return (q @ q - self.length**2) / 2
