"""One leapfrog step under constraints: for a constant mass matrix, and for any."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from fimlag._linear import solve
from fimlag.integrators._choice import carries
from fimlag.integrators._newton import newton_root
from fimlag.integrators._separable import SeparableEquations
from fimlag.integrators._stage_equations import MomentumEquations
from fimlag.mechanics import Constrained, Forced, Nonholonomic, is_separable
from fimlag.mechanics._constraints import AbstractConstraint, constraint_matrix, flat_constrained_acceleration
from fimlag.mechanics._forces import marks
from fimlag.mechanics._hamiltonian import flat_velocity
from fimlag.mechanics._lagrangian import FlatLagrangian


class ConstrainedStep(NamedTuple):
    """The increments of q and p, and the memory of the next step."""

    dq: Float[Array, " d"]
    dp: Float[Array, " d"]
    memory: PyTree


class AbstractConstraintEquations(eqx.Module):
    r"""The leapfrog of a system under constraints, with multipliers that keep them.

    $$p_{1/2} = p_0 + \tfrac h2 \big(F(q_0, p_{1/2}) + A(q_0)^\top \lambda\big), \quad
    q_1 = q_0 + \tfrac h2 \big(V(q_0, p_{1/2}) + V(q_1, p_{1/2})\big), \quad
    p_1 = p_{1/2} + \tfrac h2 \big(F(q_1, p_{1/2}) + A(q_1)^\top \mu\big)$$

    $\lambda$ is such that $c(q_1) = 0$ for holonomic constraints and $A(\tfrac{q_0 + q_1}2)(q_1 - q_0) = 0$ for the
    others, $\mu$ such that $A(q_1) V(q_1, p_1) = 0$.

    **Attributes:** `lagrangian`: the whole system, with its marks.
    """

    lagrangian: eqx.AbstractVar[FlatLagrangian]

    @abc.abstractmethod
    def memory(self, t, q, v) -> PyTree:
        """What passes from step to step, at a start."""

    @abc.abstractmethod
    def step(self, t, h, q, p, memory: PyTree, max_iterations: int) -> ConstrainedStep:
        """The step from `t` to `t + h`; NaN where its equations were not solved."""

    @abc.abstractmethod
    def velocity(self, t, q, p, memory: PyTree) -> Float[Array, " d"]:
        """The velocity of a momentum."""

    @abc.abstractmethod
    def differ(self, t, q, v) -> Bool[Array, ""]:
        """Whether a state shows another mass matrix than the one that the equations rely on."""

    def multipliers(self, t, q, v) -> Float[Array, " m"]:
        r"""$\lambda$ of the motion itself at a state, not of a step."""
        return flat_constrained_acceleration(self.lagrangian, t, q, v)[1]


class ExplicitEquations(AbstractConstraintEquations):
    """Constant mass and a potential: the multipliers alone are sought, and the memory is force and multipliers."""

    lagrangian: FlatLagrangian
    flows: SeparableEquations

    def memory(self, t, q, v):
        return self.flows.force(t, q), lax.stop_gradient(self.multipliers(t, q, v))

    def step(self, t, h, q, p, memory, max_iterations):
        force, guess = memory
        matrix = constraint_matrix(self.lagrangian, q)

        def half_step(multipliers):
            dp = h / 2 * (force + matrix.T @ multipliers)
            return h * self.flows.velocity(p + dp), dp

        def conditions(multipliers):
            return position_conditions(self.lagrangian, q, half_step(multipliers)[0])

        terms = condition_terms(self.lagrangian, q, half_step(guess)[0])
        multipliers = newton_root(conditions, guess, jnp.zeros_like(guess), terms, max_iterations)
        dq, dp = half_step(multipliers)
        force, matrix = self.flows.force(t + h, q + dq), constraint_matrix(self.lagrangian, q + dq)
        dp = dp + h / 2 * force
        impulse = -solve(matrix @ self._accelerations(matrix), matrix @ self.flows.velocity(p + dp))
        guess = lax.stop_gradient(impulse / (h / 2))
        return ConstrainedStep(dq, dp + matrix.T @ impulse, (force, guess))

    def velocity(self, t, q, p, memory):
        return self.flows.velocity(p)

    def differ(self, t, q, v):
        return self.flows.differ(t, q, v)

    def _accelerations(self, matrix):
        inverse = self.flows.inverse
        return inverse[:, None] * matrix.T if inverse.ndim == 1 else inverse @ matrix.T


class ImplicitEquations(AbstractConstraintEquations):
    """Any regular Lagrangian, forced or not: the velocities of the half step are sought with the multipliers.

    The memory is a guess of velocity and multipliers.
    """

    lagrangian: FlatLagrangian
    motion: MomentumEquations

    def memory(self, t, q, v):
        return lax.stop_gradient((v, self.multipliers(t, q, v)))

    def step(self, t, h, q, p, memory, max_iterations):
        guess, multipliers = memory
        matrix, size = constraint_matrix(self.lagrangian, q), q.size

        def half_step(x):
            u, w, multipliers = x[:size], x[size : 2 * size], x[2 * size :]
            momentum, pull = self.motion.sides(t, q, u)
            dq, dp = h / 2 * (u + w), h / 2 * (pull + matrix.T @ multipliers)
            return dq, dp, momentum, self.motion.sides(t + h, q + dq, w)

        def conditions(x):
            dq, dp, momentum, (there, _) = half_step(x)
            kept = position_conditions(self.lagrangian, q, dq)
            return jnp.concatenate([momentum - p - dp, there - momentum, kept])

        start = jnp.concatenate([guess, guess, multipliers])
        floor = jnp.concatenate([jnp.abs(q / h), jnp.abs(q / h), jnp.zeros_like(multipliers)])
        terms = jnp.concatenate([jnp.abs(p), jnp.abs(p), condition_terms(self.lagrangian, q, h * guess)])
        dq, dp, _, (_, pull) = half_step(newton_root(conditions, start, floor, terms, max_iterations))
        dp = dp + h / 2 * pull
        matrix = constraint_matrix(self.lagrangian, q + dq)

        def hidden(x):
            v, multipliers = x[:size], x[size:]
            momentum, _ = self.motion.sides(t + h, q + dq, v)
            return jnp.concatenate([momentum - (p + dp) - h / 2 * matrix.T @ multipliers, matrix @ v])

        terms = jnp.concatenate([jnp.abs(p), jnp.zeros_like(multipliers)])
        end = newton_root(hidden, start[size:], floor[size:], terms, max_iterations)
        dp = dp + h / 2 * matrix.T @ end[size:]
        return ConstrainedStep(dq, dp, lax.stop_gradient((end[:size], end[size:])))

    def velocity(self, t, q, p, memory):
        return flat_velocity(self.lagrangian, t, q, p, memory[0])

    def differ(self, t, q, v):
        return jnp.array(False)


def constraint_equations(lagrangian: FlatLagrangian, t, q, v) -> AbstractConstraintEquations:
    """The equations of a system, by its type."""
    system = next(each for each in marks(lagrangian.lagrangian) if not isinstance(each, AbstractConstraint))
    if is_separable(system, lagrangian.structure.unflatten(q)) and not carries(system, Forced):
        return ExplicitEquations(lagrangian, SeparableEquations(FlatLagrangian(system, lagrangian.structure), t, q, v))
    return ImplicitEquations(lagrangian, MomentumEquations(lagrangian))


def position_conditions(flat: FlatLagrangian, q, dq) -> Float[Array, " m"]:
    """What the constraints ask of the end of a step; zero where they are kept."""

    def condition(system):
        if isinstance(system, Constrained):
            return system.values(flat.structure, q + dq)
        return system.rates(flat.structure, q + dq / 2, dq)

    return jnp.concatenate([condition(system) for system in _constraints(flat)])


def condition_terms(flat: FlatLagrangian, q, dq) -> Float[Array, " m"]:
    """The sizes of the terms that the conditions sum."""

    def terms(system):
        matrix = jax.jacrev(lambda v: system.rates(flat.structure, q, v))(jnp.zeros_like(q))
        # A holonomic constraint sums constants beside the coordinates, whose size the numbers at the origin hide.
        return jnp.abs(matrix) @ (jnp.maximum(jnp.abs(q), 1) if isinstance(system, Constrained) else jnp.abs(dq))

    return jnp.concatenate([terms(system) for system in _constraints(flat)])


def _constraints(flat):
    return [system for system in marks(flat.lagrangian) if isinstance(system, Constrained | Nonholonomic)]
