"""Soft Bellman equations on finitely many states: their solution by Newton's steps, and its certificate."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._implicit import frozen
from fimlag._linear import solve
from fimlag.paths._implicit_solution import implicit_solution


def soft_minimum(
    costs: Float[Array, "... a"], weights: Float[Array, "... a"], temperature: Float[Array, ""]
) -> Float[Array, "..."]:
    r"""The free energy $-T \log \sum_a b_a e^{-Q_a / T}$ over the last axis, at T = 0 the least of the Q with b > 0."""
    excess, least = _excess(costs, weights)
    hot = temperature > 0
    safe = jnp.where(hot, temperature, 1.0)
    soft = -temperature * jnp.log(jnp.sum(weights * jnp.exp(-excess / safe), axis=-1))
    # The least cost is subtracted and added: its derivative is that of the sum.
    hard = jnp.sum(_best(excess, weights) * excess, axis=-1)
    return least + jnp.where(hot, soft, hard)


def soft_choice(
    costs: Float[Array, "... a"], weights: Float[Array, "... a"], temperature: Float[Array, ""]
) -> Float[Array, "... a"]:
    r"""The probabilities $\propto b_a e^{-Q_a / T}$ over the last axis, at T = 0 shared by the least costs."""
    excess, _ = _excess(costs, weights)
    hot = temperature > 0
    safe = jnp.where(hot, temperature, 1.0)
    shares = weights * jnp.exp(-excess / safe)
    soft = shares / jnp.sum(shares, axis=-1, keepdims=True)
    return jnp.where(hot, soft, _best(excess, weights))


def _excess(costs, weights):
    """The costs above the least one that may be chosen, and that one; what may not be chosen counts as it."""
    allowed = weights > 0
    least = lax.stop_gradient(jnp.min(jnp.where(allowed, costs, jnp.inf), axis=-1))
    return jnp.where(allowed, costs - least[..., None], 0.0), least


def _best(excess, weights):
    """The weights of the least costs, normalised."""
    shares = jnp.where(lax.stop_gradient(excess) <= 0, weights, 0.0)
    return lax.stop_gradient(shares / jnp.sum(shares, axis=-1, keepdims=True))


class AbstractBellman(eqx.Module):
    """A problem whose value solves V = backup(V), where the backup is concave and increasing in V."""

    @abc.abstractmethod
    def backup(self, value: Float[Array, " n"]) -> Float[Array, " n"]:
        """The value one step earlier."""

    @abc.abstractmethod
    def slope(self, value: Float[Array, " n"]) -> Float[Array, "n n"]:
        """The derivative of the backup: the discounted transitions under the policy that is best for a value."""

    @abc.abstractmethod
    def passive(self) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """The discounted transitions and the cost of a step under the policy that obeys no cost."""

    @abc.abstractmethod
    def contraction(self) -> Float[Array, ""]:
        """The largest sum of a row of any slope: the modulus of contraction where it is below one."""

    def residual(self, value):
        return value - self.backup(value)

    def jacobian(self, value):
        """The derivative of the residual."""
        slope = self.slope(value)
        return jnp.eye(slope.shape[0], dtype=slope.dtype) - slope


class BellmanRoot(eqx.Module):
    """What Newton's steps found: the value, the largest residual, the bound on the error, and how they ended."""

    value: Float[Array, " n"]
    residual: Float[Array, ""]
    bound: Float[Array, ""]
    ends: Bool[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


def solve_bellman(problem: AbstractBellman, max_iterations: int) -> BellmanRoot:
    r"""The stationary value by policy iteration, which is Newton's method on the Bellman equation.

    The backup is concave, so that from the value of any policy that ends the steps only go down, and at the end
    quadratically, whatever the discount. The error of the result is at most the residual times $1 / (1 - \gamma)$
    where $\gamma$ bounds the sums of the rows, and else, to first order, times the largest expected number of steps.
    """
    fixed = frozen(problem)
    value, iterations, converged = _policy_iteration(fixed, max_iterations)
    value = implicit_solution(
        value,
        problem,
        residual=lambda bellman, v: bellman.residual(v),
        solve=lambda bellman, v, right: solve(bellman.jacobian(v), right),
    )
    still = lax.stop_gradient(value)
    duration = solve(fixed.jacobian(still), jnp.ones_like(still))
    # A nonnegative matrix M has spectral radius below one exactly where (1 - M) N = 1 has a positive solution.
    longest = 0.1 / (still.shape[0] * float(jnp.finfo(still.dtype).eps))
    ends = (jnp.min(duration) >= 0.5) & (jnp.max(duration) < longest)
    residual = jnp.max(jnp.abs(fixed.residual(still)))
    modulus = fixed.contraction()
    # A residual below the round-off of its own terms is not known any better than that.
    grain = float(jnp.finfo(still.dtype).eps) * jnp.max(jnp.abs(still))
    factor = jnp.where(modulus < 1, 1 / (1 - modulus), jnp.max(duration))
    return BellmanRoot(value, residual, factor * jnp.maximum(residual, grain), ends, iterations, converged)


def _policy_iteration(problem: AbstractBellman, max_iterations: int):
    def advance(state):
        value, k, last, _ = state
        residual = problem.residual(value)
        step = solve(problem.jacobian(value), residual)
        drop, size = jnp.max(jnp.abs(step)), jnp.finfo(value.dtype).eps * jnp.max(jnp.abs(value))
        small = jnp.max(jnp.abs(residual)) <= 64 * value.shape[0] * size
        # Where the discount is near one the steps end as round-off much larger than that of the residual.
        settled = (drop <= 4 * size) | (small & (drop >= last))
        return value - step, k + 1, drop, settled

    def unfinished(state):
        value, k, _, settled = state
        return ~settled & (k < max_iterations) & jnp.all(jnp.isfinite(value))

    value = _first_value(problem)
    start = (value, jnp.zeros((), int), jnp.full((), jnp.inf, value.dtype), jnp.array(False))
    value, k, _, settled = lax.while_loop(unfinished, advance, start)
    return value, k, settled


def _first_value(problem: AbstractBellman):
    """The value of the passive policy, which can only fall; where that policy hardly ever ends, that of many sweeps."""
    chain, cost = problem.passive()
    n, ones = cost.shape[0], jnp.ones_like(cost)
    value, duration = jnp.linalg.solve(jnp.eye(n, dtype=cost.dtype) - chain, jnp.stack([cost, ones], axis=1)).T
    longest = 1e-3 / (n * float(jnp.finfo(cost.dtype).eps))
    sound = jnp.all(jnp.isfinite(value)) & (jnp.min(duration) >= 0.5) & (jnp.max(duration) < longest)

    def sweeps():
        return lax.fori_loop(0, 2 * n, lambda _, value: problem.backup(value), jnp.zeros_like(cost))

    return lax.cond(sound, lambda: value, sweeps)


def backward_induction(problem: AbstractBellman, terminal: Float[Array, " n"], horizon: int) -> Float[Array, "knots n"]:
    """The values before each of `horizon` steps, and the terminal one last."""

    def backward(later, _):
        earlier = problem.backup(later)
        return earlier, earlier

    _, values = lax.scan(backward, terminal, length=horizon, reverse=True)
    return jnp.concatenate([values, terminal[None]])
