"""Separable Lagrangians as their two flows, drift and kick."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag._types import LagrangianFn
from fimlag.geometry import EuclideanMetric
from fimlag.mechanics import NaturalLagrangian
from fimlag.mechanics._lagrangian import FlatLagrangian


class SeparableEquations(eqx.Module):
    r"""A Lagrangian $\tfrac12 v^\top M v + b \cdot v - V(t, q)$ as its two flows: drift $\dot q = M^{-1}(p -
    b)$ and kick $\dot p = -\partial V / \partial q$.

    Mass and inverse are vectors where the matrix is known to be diagonal, and the offset b is None where it
    is known to be zero.
    """

    lagrangian: FlatLagrangian
    start: Float[Array, ""]
    mass: Float[Array, "*shape"]
    inverse: Float[Array, "*shape"]
    offset: Float[Array, " d"] | None

    def __init__(
        self,
        lagrangian: FlatLagrangian,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        v: Float[Array, " d"],
    ):
        self.lagrangian, self.start = lagrangian, t
        mass = _known_mass(lagrangian.lagrangian, q)
        self.mass, self.offset = self.inertia(t, q, v) if mass is None else (mass, None)
        if self.mass.ndim == 1:
            self.inverse = 1 / self.mass
        else:
            self.inverse = solve(self.mass, jnp.eye(q.size, dtype=q.dtype))

    def inertia(self, t, q, v):
        """`(M, b)` at a state: the mass matrix, and the momentum at rest."""
        gradient = jax.grad(self.lagrangian, argnums=2)
        mass = jax.jacfwd(gradient, argnums=2)(t, q, v)
        return (mass + mass.T) / 2, gradient(t, q, v) - mass @ v

    def velocity(self, p):
        """The drift at a momentum."""
        kinetic = p if self.offset is None else p - self.offset
        return self.inverse * kinetic if self.inverse.ndim == 1 else self.inverse @ kinetic

    def kinetic(self, p):
        """The kinetic energy at a momentum."""
        return (p if self.offset is None else p - self.offset) @ self.velocity(p) / 2

    def force(self, t, q):
        """The kick at a point."""
        return jax.grad(self.lagrangian, argnums=1)(t, q, jnp.zeros_like(q))

    def differ(self, t, q, v):
        """Whether mass or offset at a state is not that of the start, or the force depends on the velocity,
        beyond the root of round-off."""
        if self.offset is None:
            return jnp.array(False)
        mass, offset = self.inertia(t, q, v)
        moving = jax.grad(self.lagrangian, argnums=1)(t, q, v)
        resting = self.force(t, q)
        diagonal = jnp.sqrt(jnp.abs(jnp.diagonal(self.mass)))
        mass_scale = jnp.outer(diagonal, diagonal) + jnp.abs(self.mass)
        momentum_scale = jnp.abs(self.mass) @ jnp.abs(v) + jnp.abs(self.offset)
        force_scale = jnp.abs(moving) + jnp.abs(resting) + momentum_scale / jnp.abs(t - self.start)
        return (
            _beyond_round_off(mass - self.mass, mass_scale)
            | _beyond_round_off(offset - self.offset, momentum_scale)
            | _beyond_round_off(moving - resting, force_scale)
        )


def _beyond_round_off(difference, scale):
    return jnp.any(jnp.abs(difference) > jnp.sqrt(jnp.finfo(scale.dtype).eps) * scale)


def _known_mass(lagrangian: LagrangianFn, q):
    if not (isinstance(lagrangian, NaturalLagrangian) and isinstance(lagrangian.metric, EuclideanMetric)):
        return None
    mass = lagrangian.metric.mass.astype(q.dtype)
    return jnp.broadcast_to(mass, q.shape) if mass.ndim < 2 else (mass + mass.T) / 2
