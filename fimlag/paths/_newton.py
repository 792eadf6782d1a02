"""Newton's method for stationary paths of discrete actions, in all lanes at once."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths import _lanes as lanes
from fimlag.paths._block_tridiagonal import invert_symmetric, multiply
from fimlag.paths._bordered import SecondVariation
from fimlag.paths._discrete_action import DiscreteAction, Expansion, Unknowns
from fimlag.paths._merit import Merit

_LENGTHS = (1.0, 2.0, 0.5, 0.25, 0.0625)
"""Shares of a step, tried in this order: an undamped one that suffices is not bettered."""
_SIGN_ITERATIONS = 6
"""Newton-Schulz steps: eigenvalues above 3 % of the largest then count to more than half of their size."""
_SLIGHT = 1e-9
"""The least damping."""
_ROUND_OFF = 64
"""Changes of the action below this many units of round-off are noise."""


class NewtonState(eqx.Module):
    """One iterate of every lane: the unknowns, the damping, and how the iteration stands.

    `expansion` is that of the last iterate where `finished`: an iteration that has `converged`, or may go no further,
    expands once more and stops. `refusals` counts undamped steps of a convex model that raised the action when it was
    known to eps^0.4 already; `morse_index` is that of the last undamped matrix.
    """

    y: Unknowns
    expansion: Expansion
    damping: Float[Array, " lanes"]
    refusals: Int[Array, " lanes"]
    morse_index: Int[Array, " lanes"]
    iterations: Int[Array, " lanes"]
    converged: Bool[Array, " lanes"]
    failed: Bool[Array, " lanes"]
    finished: Bool[Array, " lanes"]


class Advance(eqx.Module):
    """What one iteration makes of a state."""

    y: Unknowns
    damping: Float[Array, " lanes"]
    refusals: Int[Array, " lanes"]
    morse_index: Int[Array, " lanes"]
    converged: Bool[Array, " lanes"]
    failed: Bool[Array, " lanes"]


def minimise(problem: DiscreteAction, y: Unknowns, max_iterations: int) -> NewtonState:
    """Newton's method to a minimum, damped towards a convex model in the norm of path space.

    The model's matrix is `(1 - th) H + th C + lam K`, where C makes the second derivatives of L in (q, v) positive
    semidefinite at each Gauss point (`convexified`), K is the stiffness L_vv, and a single number mu gives
    `th = min(mu, 1)`, `lam = max(mu - 1, 0)`. A step is taken only under a model that is positive definite along
    the constraints, and a decrease of the merit; convergence is declared on the decrement of the undamped step alone:
    at round-off, or where such steps were refused at eps^0.6 of the action, which its error estimate then tells.
    """

    def advance(state: NewtonState, expansion: Expansion) -> Advance:
        gradient = problem.tested(state.y, expansion)
        matrices = _damped_matrices(problem, state, expansion)
        model = SecondVariation(problem, state.y, expansion, matrices, state.damping)
        step = _scaled(model.solve(gradient), -1.0)
        negative = model.negative_directions()
        convex = negative == 0
        noise = _round_off(problem, state.y, expansion)
        merit = Merit(problem, state.y, expansion, gradient, step)
        converged = convex & (state.damping == 0) & merit.stationary(noise)

        def search(tried):
            number, lowest, best, _ = tried
            trial, enough = merit.after(lengths[number], noise)
            better = enough & convex & (trial < lowest)
            lowest, best = jnp.where(better, trial, lowest), jnp.where(better, lengths[number], best)
            settled = state.converged | converged | ~convex | (jnp.isfinite(lowest) & (state.damping == 0))
            return number + 1, lowest, best, settled

        lengths = jnp.asarray(_LENGTHS, noise.dtype)
        untried = jnp.full_like(noise, jnp.inf)
        start = (0, untried, jnp.ones_like(noise), state.converged | converged | ~convex)
        _, lowest, length, _ = lax.while_loop(lambda t: (t[0] < len(_LENGTHS)) & ~jnp.all(t[3]), search, start)
        accepted = jnp.isfinite(lowest) | converged
        curvature = lax.cond(jnp.any(state.damping > 0), lambda: merit.curvature(model.columns), lambda: -merit.descent)
        predicted = merit.slope * length + 0.5 * length**2 * curvature
        agreement = (lowest - merit.start - noise) / (predicted - noise)
        refused = convex & (state.damping == 0) & ~(accepted & (length >= 0.5))
        refusals = state.refusals + (refused & merit.stationary(_share(noise, 0.4))).astype(int)
        # Along a valley so flat that its bends stop the steps, the action is known long before the path is.
        flat = (refusals > 0) & (state.damping == 0) & convex & merit.stationary(_share(noise, 0.6))
        damping = _next_damping(state.damping, refusals, length, agreement, accepted, convex)
        return Advance(
            y=moved(state.y, step, jnp.where(accepted, length, 0.0)),
            damping=damping,
            refusals=refusals,
            morse_index=jnp.where(state.damping == 0, negative, state.morse_index),
            converged=converged | flat,
            failed=~(jnp.isfinite(merit.start) & _finite(gradient)) | (damping > 1e12),
        )

    return _iterate(problem, advance, y, max_iterations)


def make_stationary(problem: DiscreteAction, y: Unknowns, max_iterations: int) -> NewtonState:
    """Undamped Newton to the nearest stationary path, of any index."""

    def advance(state: NewtonState, expansion: Expansion) -> Advance:
        gradient = problem.tested(state.y, expansion)
        matrix = SecondVariation(problem, state.y, expansion)
        step = _scaled(matrix.solve(gradient), -1.0)
        noise = _round_off(problem, state.y, expansion)
        kinetic = jnp.abs(problem.quadratic(state.y, stiffness(expansion.hessians), step.nodes))
        merit = Merit(problem, state.y, expansion, gradient, step)
        return Advance(
            y=moved(state.y, step, jnp.ones_like(noise)),
            damping=state.damping,
            refusals=state.refusals,
            morse_index=matrix.negative_directions(),
            converged=merit.stationary(noise) & (0.5 * kinetic <= noise),
            failed=~_finite(step),
        )

    return _iterate(problem, advance, y, max_iterations)


def moved(y: Unknowns, step: Unknowns, length: Float[Array, " lanes"]) -> Unknowns:
    """The unknowns after a share of a step in every lane."""
    return jax.tree_util.tree_map(lambda y, s: y + lanes.along(length, s) * s, y, step)


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


def _iterate(problem, advance, y, max_iterations) -> NewtonState:
    """Iterate `advance(state, expansion)` until every lane is finished."""
    empty = lanes.zeros_of(jax.eval_shape(problem.expand, y))
    undamped, counted, no = (jnp.zeros(y.nodes.shape[2:], kind) for kind in (y.nodes.dtype, int, bool))
    start = NewtonState(y, empty, undamped, counted, counted - 1, counted, no, no, no)

    def step(state):
        expansion = problem.expand(state.y)
        done = state.finished | state.converged | state.failed | (state.iterations >= max_iterations)
        before = Advance(state.y, state.damping, state.refusals, state.morse_index, state.converged, state.failed)
        after = lanes.where(~done, lax.cond(jnp.all(done), lambda: before, lambda: advance(state, expansion)), before)
        return NewtonState(
            y=after.y,
            expansion=expansion,
            damping=after.damping,
            refusals=after.refusals,
            morse_index=after.morse_index,
            iterations=jnp.where(done, state.iterations, state.iterations + 1),
            converged=after.converged,
            failed=after.failed,
            finished=done,
        )

    return lax.while_loop(lambda state: ~jnp.all(state.finished), step, start)


def _scaled(y, factor):
    return jax.tree_util.tree_map(lambda x: factor * x, y)


def _finite(y):
    """Whether all entries of a lane are finite."""
    entries = [jnp.all(jnp.isfinite(x), axis=tuple(range(x.ndim - 1))) for x in jax.tree_util.tree_leaves(y)]
    return jnp.all(jnp.stack(entries), axis=0)


def _share(noise, power):
    """A power of eps of the action, where `noise` is its round-off."""
    return noise / _ROUND_OFF * jnp.finfo(noise.dtype).eps ** (power - 1)


def _round_off(problem, y, expansion):
    """What the rounding of the Lagrangian may change the action by."""
    scale = problem.integral(y, jnp.abs(expansion.values))
    return _ROUND_OFF * jnp.finfo(scale.dtype).eps * scale


def _next_damping(damping, refusals, length, agreement, accepted, convex):
    """The damping after a step: less where the model was good at full length, more where it was poor or no good.

    Where undamped steps of a convex model were refused, a direction of hardly any curvature is left, as that of a
    shift in time of a long path: then what damps it no more than needed is sought by powers of ten.
    """
    good = accepted & (length >= 1) & (agreement > 0.5)
    poor = ~accepted | (length < 0.5) | (agreement < 0.1)
    slack = refusals > 0
    lower = jnp.where(
        slack, jnp.where(damping <= _SLIGHT, 0.0, damping / 10), jnp.where(damping <= 0.1, 0.0, damping / 3)
    )
    least = jnp.where(slack, _SLIGHT, jnp.where(accepted, 0.0625, 0.125))
    higher = jnp.where(
        convex, jnp.maximum(jnp.where(accepted, 2.0, 3.0) * damping, least), jnp.maximum(3 * damping, 0.125)
    )
    begun = jnp.maximum(0.125 * 0.1 ** refusals.astype(damping.dtype), _SLIGHT)
    higher = jnp.where(convex & slack & (damping == 0), begun, higher)
    return jnp.where(good, lower, jnp.where(poor, higher, damping))


def _damped_matrices(problem, state, expansion):
    """Element matrices from `(1 - th) H + th C + lam K` at every Gauss point."""
    towards_convex, shift = jnp.minimum(state.damping, 1.0), jnp.maximum(state.damping - 1.0, 0.0)

    def blend(hessians):
        turned = lanes.along(towards_convex, hessians) * (convexified(hessians) - hessians)
        blended = hessians + jnp.where(lanes.along(state.damping, hessians) > 0, turned, 0.0)
        return problem.assemble(state.y, blended + lanes.along(shift, hessians) * stiffness(hessians))

    undamped = partial(problem.assemble, state.y)
    return lax.cond(jnp.any(state.damping > 0), blend, undamped, expansion.hessians)
