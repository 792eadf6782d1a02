"""Explicit symplectic methods for separable Lagrangians."""

import abc
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag._types import LagrangianFn
from fimlag.geometry import EuclideanMetric
from fimlag.integrators._method import AbstractMethod
from fimlag.mechanics import NaturalLagrangian, is_separable
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


class AbstractSplitting(AbstractMethod):
    """Methods made of drifts and kicks; their memory is the force at the state, or nothing."""

    explicit: ClassVar[bool] = True
    symplectic: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def starts_with_kick(self) -> bool:
        """Whether a step uses the force at its start, kept from the step before."""

    def begin(self, lagrangian, t, q, v):
        _refuse_unless_separable(lagrangian.lagrangian, type(self).__name__)
        equations = SeparableEquations(lagrangian, t, q, v)
        force = equations.force(t, q) if self.starts_with_kick else None
        return equations, force, jnp.all(jnp.isfinite(equations.inverse))

    def velocity_guess(self, memory):
        return None

    def velocity(self, equations, t, q, p, guess):
        return equations.velocity(p)

    def off_form(self, equations, t, q, v):
        return equations.differ(t, q, v)


class StormerVerlet(AbstractSplitting):
    r"""The Störmer-Verlet or leapfrog method, explicit, of order 2, one force a step.

    $$p_{1/2} = p_0 + \tfrac h2 F(q_0), \quad
    q_1 = q_0 + h M^{-1} p_{1/2}, \quad p_1 = p_{1/2} + \tfrac h2 F(q_1)$$

    **Arguments:** `variant`: `"kdk"`, kick-drift-kick as above, or `"dkd"`, drift-kick-drift.

    **Raises:** `ValueError` for any other variant.

    **Reference:** Hairer, Lubich & Wanner (2006), section I.1.4.
    """

    variant: Literal["kdk", "dkd"] = eqx.field(static=True, default="kdk")

    order: ClassVar[int] = 2
    reference: ClassVar[str] = "Hairer, Lubich & Wanner (2006), section I.1.4"

    def __check_init__(self):
        if self.variant not in ("kdk", "dkd"):
            raise ValueError(f'variant must be "kdk" or "dkd", but is {self.variant!r}.')

    @property
    def starts_with_kick(self) -> bool:
        return self.variant == "kdk"

    def step(self, equations, t, h, q, p, memory):
        if self.starts_with_kick:
            q, p, memory = _kick_drift_kick(equations, t, h, q, p, memory)
        else:
            q = q + h / 2 * equations.velocity(p)
            p = p + h * equations.force(t + h / 2, q)
            q = q + h / 2 * equations.velocity(p)
        return q, p, memory, jnp.array(True)


class Yoshida4(AbstractSplitting):
    r"""The triple jump: three leapfrog steps, the middle one backward, explicit, of order 4.

    $$\Phi_h = S_{w_1 h} \circ S_{w_0 h} \circ S_{w_1 h}, \qquad
    w_1 = \frac{1}{2 - 2^{1/3}}, \quad w_0 = 1 - 2 w_1$$

    **Reference:** Yoshida (1990), eq. 2.11; Hairer, Lubich & Wanner (2006), example II.4.2.
    """

    order: ClassVar[int] = 4
    reference: ClassVar[str] = "Yoshida (1990), eq. 2.11"
    starts_with_kick: ClassVar[bool] = True

    def step(self, equations, t, h, q, p, memory):
        outer = 1 / (2 - 2 ** (1 / 3))
        weights = jnp.asarray([outer, 1 - 2 * outer, outer], q.dtype)
        starts = jnp.asarray([0, outer, 1 - outer], q.dtype)

        def substep(state, share):
            weight, start = share
            return _kick_drift_kick(equations, t + start * h, weight * h, *state), None

        # Rolled: three copies of the force would outgrow the loops that XLA compiles as one function.
        (q, p, memory), _ = lax.scan(substep, (q, p, memory), (weights, starts))
        return q, p, memory, jnp.array(True)


def _kick_drift_kick(equations, t, h, q, p, force):
    middle = p + h / 2 * force
    q = q + h * equations.velocity(middle)
    force = equations.force(t + h, q)
    return q, middle + h / 2 * force, force


def _beyond_round_off(difference, scale):
    return jnp.any(jnp.abs(difference) > jnp.sqrt(jnp.finfo(scale.dtype).eps) * scale)


def _known_mass(lagrangian: LagrangianFn, q):
    if not (isinstance(lagrangian, NaturalLagrangian) and isinstance(lagrangian.metric, EuclideanMetric)):
        return None
    mass = lagrangian.metric.mass.astype(q.dtype)
    return jnp.broadcast_to(mass, q.shape) if mass.ndim < 2 else (mass + mass.T) / 2


def _refuse_unless_separable(lagrangian: LagrangianFn, name: str):
    separable = is_separable(lagrangian)
    if separable:
        return
    cause = "is not separable" if separable is False else "is not known to be separable"
    raise ValueError(
        f"{name} is explicit and needs a separable Lagrangian, but this one {cause}. Use ImplicitMidpoint() "
        "or GaussLegendre(stages), or, where the mass matrix is constant and the rest a potential, say so "
        "with Separable(L)."
    )
