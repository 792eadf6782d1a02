"""Newton's method for stationary paths of discrete actions, in all lanes at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths._block_tridiagonal import CondensedElements, invert_symmetric, multiply
from fimlag.paths._discrete_action import DiscreteAction, Expansion

_LENGTHS = (1.0, 2.0, 0.5, 0.25, 0.0625)
"""Shares of a step, tried in this order: an undamped one that suffices is not bettered."""
_SIGN_ITERATIONS = 6
"""Newton-Schulz steps: eigenvalues above 3 % of the largest then count to more than half of their size."""
_ROUND_OFF = 64
"""Changes of the action below this many units of round-off are noise."""


class NewtonState(eqx.Module):
    """One iterate of every lane: the displacements, the damping, and how the iteration stands.

    `expansion` is that of the last iterate where `finished`: an iteration that has `converged`, or may go no further,
    expands once more and stops.
    """

    u: Float[Array, "unknowns d lanes"]
    expansion: Expansion
    damping: Float[Array, " lanes"]
    iterations: Int[Array, " lanes"]
    converged: Bool[Array, " lanes"]
    failed: Bool[Array, " lanes"]
    finished: Bool[Array, " lanes"]


def minimise(problem: DiscreteAction, u: Float[Array, "unknowns d lanes"], max_iterations: int) -> NewtonState:
    """Newton's method to a minimum, damped towards a convex model in the norm of path space.

    The model's matrix is `(1 - th) H + th C + lam K`, where C makes the second derivatives of L in (q, v) positive
    semidefinite at each Gauss point (`convexified`), K is the stiffness L_vv, and a single number mu gives
    `th = min(mu, 1)`, `lam = max(mu - 1, 0)`. A step is taken only under a positive definite model and a decrease of
    the action; convergence is declared on the decrement of the undamped step alone.
    """

    def advance(state: NewtonState, expansion: Expansion):
        gradient, value = problem.tested(expansion.slopes), problem.integral(expansion.values)
        factor = CondensedElements(problem.assemble(_damped(expansion.hessians, state.damping)), problem.d)
        step = -factor.solve(gradient)
        convex = factor.negative_directions() == 0
        slope = _inner(gradient, step)
        noise = _round_off(problem, expansion)
        converged = convex & (state.damping == 0) & (-0.5 * slope <= noise)

        def search(tried):
            number, lowest, best, _ = tried
            trial = problem.values(state.u + lengths[number] * step)
            enough = jnp.isfinite(trial) & (trial <= value + 1e-4 * lengths[number] * slope + noise) & convex
            better = enough & (trial < lowest)
            lowest, best = jnp.where(better, trial, lowest), jnp.where(better, lengths[number], best)
            settled = state.converged | converged | ~convex | (jnp.isfinite(lowest) & (state.damping == 0))
            return number + 1, lowest, best, settled

        lengths = jnp.asarray(_LENGTHS, step.dtype)
        untried = jnp.full_like(slope, jnp.inf)
        start = (0, untried, jnp.ones_like(slope), state.converged | converged | ~convex)
        _, lowest, length, _ = lax.while_loop(lambda t: (t[0] < len(_LENGTHS)) & ~jnp.all(t[3]), search, start)
        accepted = jnp.isfinite(lowest) | converged
        curvature = lax.cond(
            jnp.any(state.damping > 0), lambda: problem.quadratic(expansion.hessians, step), lambda: -slope
        )
        predicted = slope * length + 0.5 * length**2 * curvature
        agreement = (lowest - value - noise) / (predicted - noise)
        damping = jnp.where(
            accepted,
            _relaxed(state.damping, length, agreement),
            jnp.maximum(3 * state.damping, 0.125),
        )
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient), axis=(0, 1))
        moved = state.u + jnp.where(accepted, length, 0.0)[None, None] * step
        return moved, damping, converged, ~finite | (damping > 1e12)

    return _iterate(problem, advance, u, max_iterations)


def make_stationary(problem: DiscreteAction, u: Float[Array, "unknowns d lanes"], max_iterations: int) -> NewtonState:
    """Undamped Newton to the nearest stationary path, of any index."""

    def advance(state: NewtonState, expansion: Expansion):
        gradient = problem.tested(expansion.slopes)
        factor = CondensedElements(problem.assemble(expansion.hessians), problem.d)
        step = -factor.solve(gradient)
        decrement = jnp.abs(_inner(gradient, step))
        kinetic = jnp.abs(problem.quadratic(stiffness(expansion.hessians), step))
        converged = 0.5 * jnp.maximum(decrement, kinetic) <= _round_off(problem, expansion)
        return state.u + step, state.damping, converged, ~jnp.all(jnp.isfinite(step), axis=(0, 1))

    return _iterate(problem, advance, u, max_iterations)


def stiffness(hessians: Float[Array, "two d two d points elements lanes"]):
    """The L_vv part of (q, v) matrices, the rest zero."""
    return jnp.zeros_like(hessians).at[1, :, 1].set(hessians[1, :, 1])


def convexified(hessians: Float[Array, "two d two d points elements lanes"]):
    r"""(q, v) matrices with what makes them indefinite turned over, given a positive definite $L_{vv}$.

    $$\begin{pmatrix} |S| + B M^{-1} B^\top & B \\ B^\top & M \end{pmatrix}, \qquad M = L_{vv}, \quad B = L_{qv}, \quad
    S = L_{qq} - B M^{-1} B^\top$$

    The absolute value is $S\, \mathrm{sign}\, S$ by the Newton-Schulz iteration, stopped early: too small for the
    least eigenvalues, never negative.
    """
    mass, mixed = hessians[1, :, 1], hessians[0, :, 1]
    through_mass = multiply(mixed, multiply(invert_symmetric(mass)[0], mixed.swapaxes(0, 1)))
    schur = hessians[0, :, 0] - through_mass
    size = jnp.sqrt(jnp.sum(schur**2, axis=(0, 1)))
    sign = schur / jnp.where(size > 0, size, 1.0)[None, None]

    def towards_sign(_, x):
        return 1.5 * x - 0.5 * multiply(x, multiply(x, x))

    sign = lax.fori_loop(0, _SIGN_ITERATIONS, towards_sign, sign)
    absolute = multiply(schur, sign)
    return hessians.at[0, :, 0].set(through_mass + 0.5 * (absolute + absolute.swapaxes(0, 1)))


def _iterate(problem, advance, u, max_iterations) -> NewtonState:
    """Iterate `advance(state, expansion) -> (u, damping, converged, failed)` until every lane is finished."""
    lanes = u.shape[2:]
    empty = jax.tree_util.tree_map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(problem.expand, u))
    undamped, counted, no = (jnp.zeros(lanes, kind) for kind in (u.dtype, int, bool))
    start = NewtonState(u, empty, undamped, counted, no, no, no)

    def step(state):
        expansion = problem.expand(state.u)
        done = state.finished | state.converged | state.failed | (state.iterations >= max_iterations)
        before = (state.u, state.damping, state.converged, state.failed)
        after = lax.cond(jnp.all(done), lambda: before, lambda: advance(state, expansion))
        u, damping, converged, failed = _unless(done, after, before)
        return NewtonState(
            u=u,
            expansion=_unless(state.finished, expansion, state.expansion),
            damping=damping,
            iterations=jnp.where(done, state.iterations, state.iterations + 1),
            converged=converged,
            failed=failed,
            finished=done,
        )

    return lax.while_loop(lambda state: ~jnp.all(state.finished), step, start)


def _unless(fixed, new, old):
    """The new arrays but in the lanes that are fixed."""
    return jax.tree_util.tree_map(
        lambda new, old: jnp.where(jnp.reshape(fixed, (1,) * (old.ndim - 1) + fixed.shape), old, new), new, old
    )


def _round_off(problem, expansion):
    """What the rounding of the Lagrangian may change the action by."""
    scale = problem.integral(jnp.abs(expansion.values))
    return _ROUND_OFF * jnp.finfo(scale.dtype).eps * scale


def _inner(a, b):
    """The inner product of two displacements in every lane."""
    return jnp.sum(a * b, axis=(0, 1))


def _relaxed(damping, length, agreement):
    """The damping after a step: less where the model was good at full length, more where it was poor."""
    good = (length >= 1) & (agreement > 0.5)
    poor = (length < 0.5) | (agreement < 0.1)
    lower = jnp.where(damping <= 0.1, 0.0, damping / 3)
    return jnp.where(good, lower, jnp.where(poor, jnp.maximum(2 * damping, 0.0625), damping))


def _damped(hessians, damping):
    """`(1 - th) H + th C + lam K` at every Gauss point."""
    towards_convex, shift = jnp.minimum(damping, 1.0), jnp.maximum(damping - 1.0, 0.0)

    def blend(hessians):
        lanes = (None,) * (hessians.ndim - 1)
        turned = towards_convex[lanes] * (convexified(hessians) - hessians)
        blended = hessians + jnp.where(damping[lanes] > 0, turned, 0.0)
        return blended + shift[lanes] * stiffness(hessians)

    return lax.cond(jnp.any(damping > 0), blend, lambda hessians: hessians, hessians)
