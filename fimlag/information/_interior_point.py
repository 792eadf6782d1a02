"""The interior-point method that finds design weights."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.information._criteria import AbstractCriterion


class DesignProblem(eqx.Module):
    r"""Minimise $f(w) = -\log\phi(M(w)) + \sum_i w_i - \mu \sum_i \log w_i$ over $w > 0$.

    As $\phi$ has degree one, the minimum has the sum $1 + n\mu$ by itself: the simplex needs no multiplier.
    """

    contributions: Float[Array, "n d d"]
    criterion: AbstractCriterion
    barrier: Float[Array, ""]

    def information(self, weights):
        return jnp.einsum("n,nij->ij", weights, self.contributions)

    def objective(self, weights):
        loss = self.criterion.loss(self.information(weights), self.barrier)
        return loss + jnp.sum(weights) - self.barrier * jnp.sum(jnp.log(weights))

    def gains(self, weights):
        gradient = self.criterion.gradient(self.information(weights), self.barrier)
        return jnp.einsum("ij,nij->n", gradient, self.contributions)

    def slope(self, weights):
        return 1.0 - self.gains(weights) - self.barrier / weights

    def curvature_solver(self, weights, slack):
        """The solver of $(U U^\\top + s / w)\\, x = r$: the residual of a least-squares problem in U's columns.

        Its orthogonal factor serves, for the normal equations would square a condition that grows as $1 / \\mu$.
        """
        factor = self.criterion.curvature(self.information(weights), self.contributions, self.barrier)
        scaling = jnp.sqrt(weights / slack)
        unit = jnp.eye(factor.shape[1], dtype=factor.dtype)
        columns = jnp.concatenate([unit, scaling[:, None] * factor])
        basis = jnp.linalg.qr(columns)[0][factor.shape[1] :]

        def solve(right):
            right = scaling * right
            return scaling * (right - basis @ (basis.T @ right))

        return solve

    def hessian_solver(self, weights):
        return self.curvature_solver(weights, self.barrier / weights)


class InteriorPoint(eqx.Module):
    """`slack`: the multipliers of $w \\ge 0$, near $\\mu / w$."""

    weights: Float[Array, " n"]
    slack: Float[Array, " n"]
    barrier: Float[Array, ""]
    decrement: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    stalled: Bool[Array, ""]


def central_path(problem: DesignProblem, start, max_iterations: int) -> InteriorPoint:
    """The central path from the uniform design, the barrier lowered whenever a step is short, down to its end."""
    final = problem.barrier

    def advance(state: InteriorPoint) -> InteriorPoint:
        at = eqx.tree_at(lambda p: p.barrier, problem, state.barrier)
        weights, slack, decrement, accepted = _step(at, state.weights, state.slack)
        central = accepted & (decrement < 0.3)
        lower = jnp.maximum(final, 0.2 * state.barrier)
        settled = (decrement < 1e-6) | (decrement > 0.5 * state.decrement)
        converged = central & settled & (state.barrier <= final)
        barrier = jnp.where(central, lower, state.barrier)
        return InteriorPoint(weights, slack, barrier, decrement, state.iterations + 1, converged, ~accepted)

    no = jnp.array(False)
    first = jnp.asarray(0.1, start.dtype) / start.shape[0]
    state = InteriorPoint(start, first / start, first, first, jnp.array(0), no, no)
    state = lax.while_loop(lambda s: ~s.converged & ~s.stalled & (s.iterations < max_iterations), advance, state)
    return state


def _step(problem: DesignProblem, weights, slack):
    """One Newton step on $1 - g - s = 0$, $w s = \\mu$, shortened until it lowers the objective.

    Where round-off, which grows with the condition of the information, hides that it does, the slope at the end of the
    step tells: the objective is convex.

    Returns weights, multipliers, the largest relative change asked of a weight, and whether a length was found.

    **Reference:** Hager & Zhang (2005), sec. 2 (approximate Wolfe conditions).
    """
    barrier, eps = problem.barrier, float(jnp.finfo(weights.dtype).eps)
    slope = problem.slope(weights)
    change = problem.curvature_solver(weights, slack)(-slope)
    slack_change = (barrier - slack * (weights + change)) / weights
    reach = 0.995 / jnp.maximum(0.995, jnp.max(-change / weights))
    lengths = reach * 0.5 ** jnp.arange(12, dtype=weights.dtype)
    value, descent = problem.objective(weights), slope @ change

    def at(length):
        moved = weights + length * change
        return problem.objective(moved), problem.slope(moved) @ change

    values, slopes = lax.map(at, lengths)
    lowered = values <= value + 1e-4 * lengths * descent + 8.0 * eps * (jnp.abs(value) + 1.0)
    level = jnp.abs(values - value) <= eps**0.5 * (jnp.abs(value) + 1.0)
    enough = lowered | (level & (slopes <= -0.5 * descent))
    accepted, length = jnp.any(enough), lengths[jnp.argmax(enough)]
    moved = jnp.where(accepted, weights + length * change, weights)
    slack_reach = 0.995 / jnp.maximum(0.995, jnp.max(-slack_change / slack))
    centre = barrier / moved
    slack = jnp.clip(slack + slack_reach * slack_change, 1e-6 * centre, 1e6 * centre)
    return moved, slack, -descent / barrier, accepted
