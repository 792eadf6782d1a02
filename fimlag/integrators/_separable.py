"""Separable Lagrangians as their two flows, drift and kick."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag._types import LagrangianFn
from fimlag.geometry import EuclideanMetric
from fimlag.integrators._choice import refuse_constraints, refuse_forces, refuse_unless_second_order
from fimlag.mechanics import NaturalLagrangian
from fimlag.mechanics._lagrangian import FlatLagrangian, Separable
from fimlag.mechanics._separation import Separation, separation


class SeparableEquations(eqx.Module):
    r"""A Lagrangian $\tfrac12 v^\top M v + b \cdot v - V(t, q)$ as its two flows: drift $\dot q = M^{-1}(p -
    b)$ and kick $\dot p = -\partial V / \partial q$.

    Mass and inverse are vectors where the matrix is known to be diagonal, numbers of the host where these are known,
    and the offset b is None where it is known to be zero. `shown`: whether the type or the formulas show that the
    Lagrangian is separable, so that nobody's word is relied on.
    """

    lagrangian: FlatLagrangian
    start: Float[Array, ""]
    mass: Float[Array | np.ndarray, "*shape"]
    inverse: Float[Array | np.ndarray, "*shape"]
    offset: Float[Array, " d"] | None
    shown: bool = eqx.field(static=True)

    def __init__(
        self,
        lagrangian: FlatLagrangian,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        v: Float[Array, " d"],
    ):
        known = _known_mass(lagrangian.lagrangian, q)
        shown = separation(lagrangian, q) if known is None else None
        self.lagrangian, self.start, self.shown = lagrangian, t, known is not None or shown is not None
        self.mass, self.offset = self._begin(shown, t, q, v) if known is None else (known, None)
        self.inverse = 1 / self.mass if self.mass.ndim == 1 else _inverse(self.mass)

    def _begin(self, shown: Separation | None, t, q, v):
        """`(M, b)` at the start, in the form that the formulas allow."""
        mass, offset = self.inertia(t, q, v)
        if shown is None:
            return mass, offset
        mass = mass if shown.mass is None else shown.mass
        return mass.diagonal() if shown.diagonal else mass, None if shown.resting else offset

    def inertia(self, t, q, v):
        """`(M, b)` at a state: the mass matrix, and the momentum at rest."""
        gradient = jax.grad(self.lagrangian, argnums=2)
        mass = jax.jacfwd(gradient, argnums=2)(t, q, v)
        return (mass + mass.T) / 2, gradient(t, q, v) - mass @ v

    def velocity(self, p):
        """The drift at a momentum."""
        kinetic = p if self.offset is None else p - self.offset
        return self.inverse * kinetic if self.inverse.ndim == 1 else self.inverse @ kinetic

    def drift(self, duration, p):
        """How far a momentum takes in a time."""
        return duration * self.velocity(p)

    def kick(self, duration, force):
        """How much momentum a force gives in a time."""
        return duration * force

    def kinetic(self, p):
        """The kinetic energy at a momentum."""
        return (p if self.offset is None else p - self.offset) @ self.velocity(p) / 2

    def force(self, t, q):
        """The kick at a point."""
        return jax.grad(self.lagrangian, argnums=1)(t, q, jnp.zeros_like(q))

    def differ(self, t, q, v):
        """Whether mass or offset at a state is not that of the start, or the force depends on the velocity,
        beyond the root of round-off."""
        if self.shown or self.offset is None:
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


def separable_equations(lagrangian: FlatLagrangian, t, q, v, method: str) -> SeparableEquations:
    """The flows of a system for an explicit method; a `ValueError` where nothing tells that it is separable."""
    for refuse in (refuse_constraints, refuse_forces, refuse_unless_second_order):
        refuse(lagrangian.lagrangian, method)
    equations = SeparableEquations(lagrangian, t, q, v)
    if equations.shown or isinstance(lagrangian.lagrangian, Separable):
        return equations
    natural = isinstance(lagrangian.lagrangian, NaturalLagrangian)
    cause = "is not separable" if natural else "is not known to be separable"
    raise ValueError(
        f"{method} is explicit and needs a separable Lagrangian, but this one {cause}. Use ImplicitMidpoint() "
        "or GaussLegendre(stages), or, where the mass matrix is constant and the rest a potential, say so "
        "with Separable(L)."
    )


def _inverse(mass):
    """The inverse of a matrix, on the host where its numbers are known; NaN for a singular one."""
    if isinstance(mass, np.ndarray):
        scale = np.sqrt(np.abs(mass).max(axis=1))
        scaled = mass / np.outer(scale, scale)
        singular = not np.linalg.cond(scaled) < 1 / np.finfo(mass.dtype).eps
        return np.full_like(mass, np.nan) if singular else np.linalg.inv(mass)
    return solve(mass, jnp.eye(len(mass), dtype=mass.dtype))


def _beyond_round_off(difference, scale):
    return jnp.any(jnp.abs(difference) > jnp.sqrt(jnp.finfo(scale.dtype).eps) * scale)


def _known_mass(lagrangian: LagrangianFn, q):
    if not (isinstance(lagrangian, NaturalLagrangian) and isinstance(lagrangian.metric, EuclideanMetric)):
        return None
    mass = lagrangian.metric.mass.astype(q.dtype)
    return jnp.broadcast_to(mass, q.shape) if mass.ndim < 2 else (mass + mass.T) / 2
