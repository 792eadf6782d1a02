"""Small convex programs by a primal-dual interior-point method, differentiable at their solution."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._implicit import frozen, implicit_root

_HALVINGS = 20
_REFINEMENTS = 2  # each makes up for the digits that the barrier costs a factor: four or so in double precision


class AbstractConvexProgram(eqx.Module):
    r"""Minimise f(v) subject to $g(v) \le 0$, f and every g convex."""

    @abc.abstractmethod
    def objective(self, v: Float[Array, " k"]) -> Float[Array, ""]:
        """The function f."""

    @abc.abstractmethod
    def constraints(self, v: Float[Array, " k"]) -> Float[Array, " m"]:
        """The functions g, -1 where one is not wanted."""


class ProgramSolution(eqx.Module):
    """The minimiser, and the multipliers $y \\ge 0$ of the constraints.

    `lagrangian`: $f + y g$ there, whose derivatives are those of the minimum: no error of the point enters.
    """

    point: Float[Array, " k"]
    multipliers: Float[Array, " m"]
    lagrangian: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


class _State(eqx.Module):
    v: Float[Array, " k"]
    y: Float[Array, " m"]
    barrier: Float[Array, ""]
    decrement: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def solve_program(
    problem: AbstractConvexProgram, start: Float[Array, " k"], barrier: float, max_iterations: int
) -> ProgramSolution:
    r"""The minimum, by Newton's steps on $\nabla f + G^\top y = 0$, $-g\, y = \mu$, with $\mu$ lowered to `barrier`.

    The start must keep every constraint strictly. Of m constraints the gap is $m \mu$. The solution differentiates
    implicitly in all that the problem holds.

    **Reference:** Boyd & Vandenberghe (2004), section 11.7.
    """
    fixed = frozen(problem)
    start = lax.stop_gradient(start)
    first = jnp.asarray(0.1, start.dtype)
    no = jnp.asarray(False)
    state = _State(start, first / -fixed.constraints(start), first, first, jnp.asarray(0), no, no)
    last = jnp.asarray(barrier, start.dtype)

    def unfinished(state):
        return ~state.converged & ~state.failed & (state.iterations < max_iterations)

    state = lax.while_loop(unfinished, lambda state: _advanced(fixed, last, state), state)
    conditions = _Conditions(problem, last)
    v, y = implicit_root((state.v, state.y), conditions, gradient=_Conditions.residual, factor=_Conditions.solver)
    lagrangian = problem.objective(v) + y @ problem.constraints(v)
    return ProgramSolution(v, y, lagrangian, state.iterations, state.converged)


def with_derivatives_of(value, other):
    """The value, with the derivatives of the other."""
    return lax.stop_gradient(value) + (other - lax.stop_gradient(other))


class _Conditions(eqx.Module):
    """The conditions of optimality on the central path, whose Jacobian is symmetric."""

    problem: AbstractConvexProgram
    barrier: Float[Array, ""]

    def residual(self, at):
        v, y = at
        slope, pull = jax.vjp(self.problem.constraints, v)
        return jax.grad(self.problem.objective)(v) + pull(y)[0], slope + self.barrier / y

    def solver(self, at):
        v, y = at
        hessian, jacobian = _curvature(self.problem, v, y)
        stiffness = y**2 / self.barrier
        solve = _definite_solver(hessian + jacobian.T @ (stiffness[:, None] * jacobian))

        def roughly(of_point, of_slack):
            change = solve(of_point + jacobian.T @ (stiffness * of_slack))
            return change, stiffness * (jacobian @ change - of_slack)

        def apply(right):
            change, y_change = roughly(*right)
            for _ in range(_REFINEMENTS):
                left = right[0] - hessian @ change - jacobian.T @ y_change
                missed = right[1] - jacobian @ change + y_change / stiffness
                better = roughly(left, missed)
                change, y_change = change + better[0], y_change + better[1]
            return change, y_change

        return apply


def _curvature(problem, v, y):
    """The Hessian of the Lagrangian function and the Jacobian of the constraints."""
    hessian = jax.hessian(lambda v: problem.objective(v) + y @ problem.constraints(v))(v)
    return hessian, jax.jacrev(problem.constraints)(v)


def _definite_solver(matrix):
    """A solver by Cholesky's factor, in units in which the diagonal is one.

    Constraints that hold with equality weigh as the inverse of the barrier, and what is lost in the sum is the
    curvature along them, where they allow no step.
    """
    scale = 1.0 / jnp.sqrt(jnp.diagonal(matrix))
    ridge = 4.0 * matrix.shape[0] * float(jnp.finfo(matrix.dtype).eps)
    unit = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    factor = jnp.linalg.cholesky(scale[:, None] * matrix * scale[None] + ridge * unit)
    return lambda right: scale * jax.scipy.linalg.cho_solve((factor, True), scale * right)


def _advanced(problem, last, state: _State) -> _State:
    v, y, barrier = state.v, state.y, state.barrier
    slack = -problem.constraints(v)
    hessian, jacobian = _curvature(problem, v, y)
    slope = jax.grad(problem.objective)(v) + jacobian.T @ (barrier / slack)
    change = _definite_solver(hessian + jacobian.T @ ((y / slack)[:, None] * jacobian))(-slope)
    y_change = (barrier - y * slack + y * (jacobian @ change)) / slack
    decrement = -(slope @ change) / barrier
    length, found = _search(problem, state, change, slope @ change)
    accepted = found & jnp.all(jnp.isfinite(change))
    moved = jnp.where(accepted, v + length * change, v)
    reach = 0.995 / jnp.maximum(0.995, jnp.max(-y_change / y))
    centre = barrier / -problem.constraints(moved)
    y = jnp.where(accepted, jnp.clip(y + reach * y_change, 1e-6 * centre, 1e6 * centre), y)
    central = accepted & (decrement < 0.3)
    settled = (decrement < 1e-6) | (decrement > 0.5 * state.decrement)
    converged = central & settled & (barrier <= last)
    lowered = jnp.where(central, jnp.maximum(last, 0.1 * barrier), barrier)
    return _State(moved, y, lowered, decrement, state.iterations + 1, converged, ~accepted)


def _search(problem, state, change, descent):
    """The first of ever shorter lengths that stays inside and lowers the objective, and whether there is one."""

    def value(v):
        slack = -problem.constraints(v)
        inside = jnp.all(slack > 0)
        wall = jnp.sum(jnp.log(jnp.where(slack > 0, slack, 1.0)))
        return jnp.where(inside, problem.objective(v) - state.barrier * wall, jnp.inf)

    eps = float(jnp.finfo(state.v.dtype).eps)
    lengths = 0.5 ** jnp.arange(_HALVINGS, dtype=state.v.dtype)
    trials = lax.map(lambda length: value(state.v + length * change), lengths)
    here = value(state.v)
    enough = trials <= here + 1e-4 * lengths * descent + 8.0 * eps * (jnp.abs(here) + 1.0)
    return lengths[jnp.argmax(enough)], jnp.any(enough)
