"""Newton's method for curves of least geometric action."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths._geometric_action import Expansion, GeometricAction

_LENGTHS = (1.0, 0.5, 0.25, 0.0625)
"""Shares of a step, tried together."""
_LEAST = 1e-2
"""The least damping that is not zero, relative to the action."""
_ROUND_OFF = 64
"""Changes of the action below this many units of round-off are noise."""


class GeometricState(eqx.Module):
    """One iterate: the unknowns, the damping, and how the iteration stands."""

    x: Float[Array, " unknowns"]
    damping: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def minimise(problem: GeometricAction, x: Float[Array, " unknowns"], max_iterations: int) -> GeometricState:
    """Newton's method to a minimum, damped in a norm of relative changes of the velocity.

    A step is taken only under a positive definite model and a decrease of the value; the undamped step that declares
    convergence is still taken.
    """

    def unfinished(state):
        return ~(state.converged | state.failed) & (state.iterations < max_iterations)

    no = jnp.zeros((), bool)
    start = GeometricState(x, jnp.zeros_like(x[0]), jnp.zeros((), int), no, no)
    return lax.while_loop(unfinished, lambda state: _advanced(problem, state), start)


def _advanced(problem: GeometricAction, state: GeometricState) -> GeometricState:
    """The iterate after one step."""
    expansion = problem.expand(state.x)
    gradient, value = problem.tested(expansion.slopes), problem.integral(expansion.values)
    factor = problem.factor(expansion.hessians + state.damping * expansion.norms)
    step = -factor.solve(gradient)
    convex = factor.negative_directions() == 0
    slope, noise = gradient @ step, round_off(problem, expansion)
    converged = convex & (state.damping == 0) & (-0.5 * slope <= noise)
    lengths = jnp.asarray(_LENGTHS, step.dtype)
    trials = lax.map(lambda length: problem.value(state.x + length * step), lengths)
    enough = jnp.isfinite(trials) & (trials <= value + 1e-4 * lengths * slope + noise) & convex
    # An undamped full step that suffices is not bettered: it is the one that converges quadratically.
    newton = converged | (enough[0] & (state.damping == 0))
    best = jnp.where(newton, 0, jnp.argmin(jnp.where(enough, trials, jnp.inf)))
    accepted = converged | jnp.any(enough)
    good = enough[0] & (best == 0)
    damping = jnp.where(accepted, _relaxed(state.damping, good), jnp.maximum(5 * state.damping, _LEAST))
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    moved = state.x + jnp.where(accepted, lengths[best], 0.0) * jnp.where(accepted, step, 0.0)
    stuck = ~finite | (damping > 1e12)
    return GeometricState(moved, damping, state.iterations + 1, converged, stuck)


def round_off(problem: GeometricAction, expansion: Expansion) -> Float[Array, ""]:
    """What the rounding of the integrand may change the action by."""
    scale = problem.integral(jnp.abs(expansion.values)) + problem.weight
    return _ROUND_OFF * jnp.finfo(scale.dtype).eps * scale


def _relaxed(damping, good):
    """The damping after a step: less where the full step was good, a little more where it was not."""
    lower = jnp.where(damping <= _LEAST, 0.0, damping / 4)
    return jnp.where(good, lower, jnp.maximum(2 * damping, _LEAST))
