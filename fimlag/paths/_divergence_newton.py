"""Newton's method for paths of least divergence: damped in the norm of path space, tested for decrease."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths._block_tridiagonal import BlockTridiagonal

_ROUND_OFF = 64
"""Changes of the action below this many units of round-off are noise."""
_LARGEST_DAMPING = 1e12


class PairExpansion(eqx.Module):
    """The discrete Lagrangian of every step to second order in its two points."""

    values: Float[Array, " steps"]
    slopes: Float[Array, "steps two d"]
    hessians: Float[Array, "steps two d two d"]


class DivergencePath(eqx.Module):
    r"""The sum of a discrete Lagrangian over N steps, a function of the displacement from the chord.

    $$S(w) = \sum_k L_d(t_k, h, u_k, u_{k+1}), \qquad u_k = u_0 + \tfrac kN c + w_k$$

    The unknowns w are the displacements of the points between the ends, shape (N - 1, d), in the free coordinates of a
    chart.
    """

    lagrangian: Callable
    start: Float[Array, " d"]
    chord: Float[Array, " d"]
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    steps: int = eqx.field(static=True)

    @property
    def times(self) -> Float[Array, " points"]:
        """The times of the points, shape (N + 1,)."""
        return self.t0 + (self.t1 - self.t0) * self._fractions

    def points(self, w: Float[Array, "unknowns d"]) -> Float[Array, "points d"]:
        """All points in free coordinates, shape (N + 1, d)."""
        return self.start[None] + self._fractions[:, None] * self.chord[None] + jnp.pad(w, ((1, 1), (0, 0)))

    def displacements(self, offsets: Float[Array, "points d"]) -> Float[Array, "unknowns d"]:
        """The unknowns of points given relative to the first."""
        return (offsets - self._fractions[:, None] * self.chord[None])[1:-1]

    def value(self, w: Float[Array, "unknowns d"]) -> Float[Array, ""]:
        """The action, shape ()."""
        return self.values(w, (1,))[0]

    def values(self, w: Float[Array, "unknowns d"], strides: tuple[int, ...]) -> Float[Array, " strides"]:
        """The actions of every point, or of every so many alone: all steps in one pass."""
        u, h = self.points(w), (self.t1 - self.t0) / self.steps
        starts = np.concatenate([np.arange(0, self.steps, stride) for stride in strides])
        strides_of = np.repeat(strides, [self.steps // stride for stride in strides])
        lengths = h * jnp.asarray(strides_of, h.dtype)
        pairs = jax.vmap(self.lagrangian)(self.times[starts], lengths, u[starts], u[starts + strides_of])
        ends = np.cumsum([self.steps // stride for stride in strides])[:-1].tolist()
        return jnp.stack([jnp.sum(part) for part in jnp.split(pairs, ends)])

    def gradient(self, w: Float[Array, "unknowns d"]) -> Float[Array, "unknowns d"]:
        """The derivative of the action in its unknowns."""
        return jax.grad(self.value)(w)

    def expand(self, w: Float[Array, "unknowns d"]) -> PairExpansion:
        """Value, slope and second derivatives at every step, in one pass."""
        h = (self.t1 - self.t0) / self.steps

        def at_pair(t, pair):
            def value_and_slope(pair):
                value, slope = jax.value_and_grad(lambda pair: self.lagrangian(t, h, pair[0], pair[1]))(pair)
                return slope, value

            slope, tangent_map, value = jax.linearize(value_and_slope, pair, has_aux=True)
            directions = jnp.eye(pair.size, dtype=pair.dtype).reshape(-1, *pair.shape)
            # One direction after the other: side by side, each would repeat the work that they share.
            return value, slope, lax.map(tangent_map, directions).reshape(*pair.shape, *pair.shape)

        u = self.points(w)
        return PairExpansion(*jax.vmap(at_pair)(self.times[:-1], jnp.stack([u[:-1], u[1:]], axis=1)))

    def factor(self, w: Float[Array, "unknowns d"]):
        """The solver of linear systems with the second variation."""
        factor = factorised(self.expand(w).hessians)
        return lambda right: solved(factor, right)

    @property
    def _fractions(self):
        return jnp.arange(self.steps + 1, dtype=self.start.dtype) / self.steps


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

        gradient, finite = _at_points(expansion.slopes), _finite(expansion)
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


def factorised(hessians: Float[Array, "steps two d two d"]) -> BlockTridiagonal:
    """The factor of the second variation over the points between the ends."""
    diagonal = hessians[:-1, 1, :, 1] + hessians[1:, 0, :, 0]
    return BlockTridiagonal(diagonal[..., None], hessians[1:-1, 0, :, 1][..., None])


def solved(factor: BlockTridiagonal, right: Float[Array, "unknowns d"]) -> Float[Array, "unknowns d"]:
    """The solution of a linear system."""
    return factor.solve(right[..., None])[..., 0]


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


def _at_points(slopes: Float[Array, "steps two d"]) -> Float[Array, "unknowns d"]:
    """The gradient at the points between the ends."""
    return slopes[:-1, 1] + slopes[1:, 0]


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
