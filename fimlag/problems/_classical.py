"""Oscillators, and a chain of two pendulums."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.geometry import EuclideanMetric
from fimlag.mechanics import NaturalLagrangian


class HarmonicOscillator(eqx.Module):
    r"""The harmonic oscillator, in any number of dimensions.

    $$L = \tfrac m2\, v \cdot v - \tfrac m2 \omega^2\, q \cdot q$$

    **Arguments:** `mass` m; `frequency` $\omega$ (radians per unit of time).

    **Reference:** Landau & Lifshitz (1976), section 21; Feynman & Hibbs (1965), problem 2-2.
    """

    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    frequency: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    @property
    def lagrangian(self) -> NaturalLagrangian:
        """The Lagrangian on vectors."""
        metric = EuclideanMetric(self.mass)  # pyright: ignore[reportArgumentType]
        return NaturalLagrangian(metric, _Spring(self.mass, self.frequency))

    def solution(self, t: RealScalarLike, q0: Float[Array, " d"], v0: Float[Array, " d"]) -> Float[Array, " d"]:
        r"""The motion $q_0 \cos \omega t + (v_0 / \omega) \sin \omega t$ from a state at time 0."""
        phase = self.frequency * t
        return jnp.cos(phase) * q0 + jnp.sin(phase) / self.frequency * v0

    def action(self, q0: Float[Array, " d"], q1: Float[Array, " d"], duration: RealScalarLike) -> Float[Array, ""]:
        r"""The action of the motion between two points.

        $$S = \frac{m \omega}{2 \sin \omega T} \left((q_0^2 + q_1^2) \cos \omega T - 2 q_0 \cdot q_1\right)$$
        """
        phase = self.frequency * duration
        ends = (q0 @ q0 + q1 @ q1) * jnp.cos(phase) - 2 * q0 @ q1
        return self.mass * self.frequency / (2 * jnp.sin(phase)) * ends

    def morse_index(self, duration: RealScalarLike, dimension: int = 1):
        r"""The number of conjugate points passed, $d \lfloor \omega T / \pi \rfloor$."""
        return dimension * jnp.floor(self.frequency * duration / jnp.pi).astype(int)


class DoublePendulum(eqx.Module):
    r"""Two masses on two rods, by their angles from the vertical: a Lagrangian that is not separable.

    $$L = \tfrac{m_1 + m_2}{2} l_1^2 v_1^2 + \tfrac{m_2}{2} l_2^2 v_2^2 + m_2 l_1 l_2 v_1 v_2 \cos(q_1 - q_2)
    + (m_1 + m_2) g l_1 \cos q_1 + m_2 g l_2 \cos q_2$$

    The object is itself the Lagrangian, a callable `(t, q, v) -> scalar` on vectors of shape (2,).

    **Arguments:** `masses`, `lengths`, each of shape (2,); `gravity` g.

    **Reference:** Landau & Lifshitz (1976), section 5, problem 1.
    """

    masses: Float[Array, "2"] = eqx.field(default=(1.0, 1.0), converter=jnp.asarray)
    lengths: Float[Array, "2"] = eqx.field(default=(1.0, 1.0), converter=jnp.asarray)
    gravity: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def __call__(self, t: RealScalarLike, q: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        (m1, m2), (l1, l2) = self._rods(v)
        kinetic = (m1 + m2) / 2 * (l1 * v[0]) ** 2 + m2 / 2 * (l2 * v[1]) ** 2
        coupling = m2 * l1 * l2 * v[0] * v[1] * jnp.cos(q[0] - q[1])
        heights = (m1 + m2) * l1 * jnp.cos(q[0]) + m2 * l2 * jnp.cos(q[1])
        return kinetic + coupling + self.gravity * heights

    def _rods(self, v):
        return self.masses.astype(v.dtype), self.lengths.astype(v.dtype)

    def acceleration(self, q: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, "2"]:
        """The angular accelerations, solved by hand."""
        (m1, m2), (l1, l2), g = *self._rods(v), self.gravity
        difference = q[0] - q[1]
        sine, cosine = jnp.sin(difference), jnp.cos(difference)
        share = m1 + m2 * sine**2
        pull = m2 * sine * (l1 * v[0] ** 2 * cosine + l2 * v[1] ** 2)
        weight = g * ((m1 + m2) * jnp.sin(q[0]) - m2 * cosine * jnp.sin(q[1]))
        first = -(pull + weight) / (l1 * share)
        swing = (m1 + m2) * l1 * v[0] ** 2 * sine + m2 * l2 * v[1] ** 2 * sine * cosine
        lift = (m1 + m2) * g * (jnp.sin(q[0]) * cosine - jnp.sin(q[1]))
        return jnp.stack([first, (swing + lift) / (l2 * share)])


def henon_heiles() -> NaturalLagrangian:
    r"""The Hénon-Heiles system, chaotic at higher energies.

    $$L = \tfrac12\, v \cdot v - \tfrac12\, q \cdot q - q_1^2 q_2 + \tfrac13 q_2^3$$

    **Returns:** the Lagrangian on vectors of shape (2,).

    **Reference:** Hénon & Heiles (1964), eq. 11.
    """
    return NaturalLagrangian(EuclideanMetric(1.0), _henon_heiles_potential)


class _Spring(eqx.Module):
    mass: Float[Array, ""]
    frequency: Float[Array, ""]

    def __call__(self, q):
        return self.mass * self.frequency**2 * (q @ q) / 2


def _henon_heiles_potential(q):
    return (q @ q) / 2 + q[0] ** 2 * q[1] - q[1] ** 3 / 3
