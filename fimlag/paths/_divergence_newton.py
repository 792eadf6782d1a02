"""Newton's method for paths of least divergence: damped in the norm of path space, tested for decrease."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths._divergence_problem import DivergencePath, PairExpansion, at_unknowns, factorised, solved

_ROUND_OFF = 64
"""Changes of the action below this many units of round-off are noise."""
_LARGEST_DAMPING = 1e12


class NewtonIterate(eqx.Module):
    """Where the iteration stands: the point, the step that leads on from it, and what is known of both."""

    w: Float[Array, "unknowns d"]
    expansion: PairExpansion
    step: Float[Array, "unknowns d"]
    convex: Bool[Array, ""]
    damping: Float[Array, ""]
    iterations: Int[Array, ""]
    closing: Bool[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def solve_divergence_path(
    problem: DivergencePath, w: Float[Array, "unknowns d"], stationary: bool, max_iterations: int
) -> NewtonIterate:
    """Newton's method to a minimum, or without damping to the nearest stationary path.

    The model's matrix is `(1 - th) H + (th + lam) K`, with H the second variation and K the stiffness, the metric
    between the points of each step; one number mu gives `th = min(mu, 1)`, `lam = max(mu - 1, 0)`. As K measures paths
    and not single points, the number of iterations does not grow with that of steps. A step is taken only under a
    positive definite model and a decrease of the action; convergence is declared on the decrement of the undamped step
    alone, which is then taken unseen.
    """
    shapes = jax.eval_shape(problem.expand, w)
    unknown = jax.tree_util.tree_map(lambda x: jnp.full(x.shape, jnp.inf, x.dtype), shapes)
    no, yes = jnp.asarray(False), jnp.asarray(True)
    start = NewtonIterate(w, unknown, jnp.zeros_like(w), yes, jnp.zeros((), w.dtype), jnp.asarray(0), no, no, no)

    def advance(state: NewtonIterate) -> NewtonIterate:
        trial = state.w + state.step
        found = problem.expand(trial)
        first = state.iterations == 0
        agreement, decreased = _judged(state, found)
        accepted = first | state.closing | stationary | (state.convex & decreased)
        w, expansion = _where(accepted, (trial, found), (state.w, state.expansion))
        damping = jnp.where(accepted, _relaxed(state.damping, agreement), jnp.maximum(3 * state.damping, 0.125))
        damping = jnp.where(first | state.closing | stationary, 0.0, damping)

        gradient, finite = at_unknowns(expansion.slopes), _finite(expansion)
        factor = factorised(_damped(expansion.hessians, damping))
        step = -solved(factor, gradient)
        convex = jnp.all(factor.pivots > 0)
        small = 0.5 * jnp.abs(_inner(gradient, step)) <= _round_off(expansion)
        step = jnp.where((convex | stationary) & finite, step, 0.0)
        return NewtonIterate(
            w=w,
            expansion=expansion,
            step=step,
            convex=convex,
            damping=damping,
            iterations=state.iterations + 1,
            closing=small & (damping == 0.0) & (convex | stationary) & finite,
            converged=state.closing,
            failed=~finite | (damping > _LARGEST_DAMPING),
        )

    def unfinished(state: NewtonIterate):
        return ~state.converged & ~state.failed & (state.iterations <= max_iterations)

    return lax.while_loop(unfinished, advance, start)


def stiffness(hessians: Float[Array, "steps two d two d"]) -> Float[Array, "steps two d two d"]:
    """What the metric between the two points of each step would make of the second derivatives."""
    mixed = -hessians[:, 0, :, 1]
    values, frame = jnp.linalg.eigh(0.5 * (mixed + mixed.swapaxes(1, 2)))
    block = (frame * jnp.abs(values)[:, None, :]) @ frame.swapaxes(1, 2)
    signs = jnp.asarray([[1.0, -1.0], [-1.0, 1.0]], block.dtype)
    return signs[None, :, None, :, None] * block[:, None, :, None, :]


def _damped(hessians, damping):
    """`(1 - th) H + (th + lam) K`."""
    share = jnp.minimum(damping, 1.0)

    def blended(hessians):
        return (1.0 - share) * hessians + damping * stiffness(hessians)

    return lax.cond(damping > 0, blended, lambda hessians: hessians, hessians)


def _judged(state: NewtonIterate, found: PairExpansion):
    """The decrease of the action over the decrease foreseen, and whether it is one.

    Where the values have no digits left to tell, the slopes at both ends of the step do.
    """
    before, step = state.expansion, jnp.pad(state.step, ((1, 1), (0, 0)))
    pairs = jnp.stack([step[:-1], step[1:]], axis=1)
    slope, slope_after = (jnp.sum(expansion.slopes * pairs) for expansion in (before, found))
    predicted = slope + 0.5 * jnp.einsum("kai,kaibj,kbj->", pairs, before.hessians, pairs)
    noise = _round_off(before)
    change = jnp.sum(found.values) - jnp.sum(before.values)
    by_slopes = 0.5 * (slope + slope_after)
    eps = float(jnp.finfo(change.dtype).eps)
    close = jnp.abs(predicted) <= eps**0.5 * jnp.sum(jnp.abs(before.values))
    decreased = (change <= 1e-4 * slope + noise) | (close & (by_slopes <= 1e-4 * slope))
    agreement = jnp.where(close, by_slopes, change - noise) / jnp.where(close, predicted, predicted - noise)
    return agreement, decreased & _finite(found)


def _relaxed(damping, agreement):
    """The damping after a step: less where the model was good, more where it was poor."""
    lower = jnp.where(damping <= 0.1, 0.0, damping / 3)
    return jnp.where(agreement > 0.5, lower, jnp.where(agreement < 0.1, jnp.maximum(2 * damping, 0.0625), damping))


def _round_off(expansion: PairExpansion):
    """What the rounding of the divergence may change the action by."""
    scale = jnp.sum(jnp.abs(expansion.values))
    return _ROUND_OFF * float(jnp.finfo(scale.dtype).eps) * scale


def _finite(expansion: PairExpansion):
    leaves = jax.tree_util.tree_leaves(expansion)
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _where(chosen, new, old):
    return jax.tree_util.tree_map(lambda new, old: jnp.where(chosen, new, old), new, old)


def _inner(a, b):
    return jnp.sum(a * b)
