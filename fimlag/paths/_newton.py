"""Newton's method for stationary paths of a discrete action."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths._block_tridiagonal import CondensedElements
from fimlag.paths._discrete_action import DiscreteAction

_STEP_LENGTHS = (2.0, 1.0, 0.5, 0.25, 0.0625)
_FULL_STEP = 1
_ROUND_OFF = 64
"""Changes of the action below this many units of round-off are noise."""


class NewtonState(eqx.Module):
    """One iterate: the displacements, the damping, and how the iteration stands."""

    u: Float[Array, "unknowns d"]
    damping: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def minimise(problem: DiscreteAction, u: Float[Array, "unknowns d"], max_iterations: int) -> NewtonState:
    """Newton's method to a minimum, damped towards a convex model in the norm of path space.

    The model's matrix is `(1 - th) H + th |H| + lam K`, where |H| takes the absolute eigenvalues of the second
    derivatives of L in (q, v) at each Gauss point, K is the stiffness L_vv, and a single number mu gives
    `th = min(mu, 1)`, `lam = max(mu - 1, 0)`. A step is taken only under a positive definite model and a decrease of
    the action; convergence is declared on the decrement of the undamped step alone.
    """

    def advance(state: NewtonState) -> NewtonState:
        expansion = problem.expand(state.u)
        duration = problem.t1 - problem.t0
        factor = CondensedElements(problem.assemble(_damped(expansion.hessians, state.damping, duration)))
        step = -factor.solve(expansion.gradient)
        convex = factor.negative_directions() == 0
        slope = jnp.vdot(expansion.gradient, step)
        noise = _ROUND_OFF * jnp.finfo(step.dtype).eps * expansion.scale
        converged = convex & (state.damping == 0) & (-0.5 * slope <= noise)

        lengths = jnp.asarray(_STEP_LENGTHS, step.dtype)
        trials = lax.map(lambda length: problem.value(state.u + length * step), lengths)
        enough = jnp.isfinite(trials) & (trials <= expansion.value + 1e-4 * lengths * slope + noise) & convex
        accepted = jnp.any(enough) | converged
        best = jnp.argmin(jnp.where(enough, trials, jnp.inf))
        length = jnp.where(converged, 1.0, lengths[best]).astype(step.dtype)
        predicted = slope * length + 0.5 * length**2 * problem.quadratic(expansion.hessians, step)
        agreement = (trials[best] - expansion.value - noise) / (predicted - noise)
        damping = jnp.where(
            accepted,
            _relaxed(state.damping, best - _FULL_STEP, agreement),
            jnp.maximum(3 * state.damping, 0.125),
        )
        return NewtonState(
            jnp.where(accepted, state.u + length * step, state.u),
            damping,
            state.iterations + 1,
            converged,
            ~jnp.isfinite(expansion.value) | ~jnp.all(jnp.isfinite(expansion.gradient)) | (damping > 1e12),
        )

    return _iterate(advance, u, max_iterations)


def make_stationary(problem: DiscreteAction, u: Float[Array, "unknowns d"], max_iterations: int) -> NewtonState:
    """Undamped Newton to the nearest stationary path, of any index."""

    def advance(state: NewtonState) -> NewtonState:
        expansion = problem.expand(state.u)
        factor = CondensedElements(problem.assemble(expansion.hessians))
        step = -factor.solve(expansion.gradient)
        decrement = jnp.abs(jnp.vdot(expansion.gradient, step))
        kinetic = jnp.abs(problem.quadratic(stiffness(expansion.hessians), step))
        tolerance = _ROUND_OFF * jnp.finfo(step.dtype).eps * expansion.scale
        return NewtonState(
            state.u + step,
            state.damping,
            state.iterations + 1,
            0.5 * jnp.maximum(decrement, kinetic) <= tolerance,
            ~jnp.all(jnp.isfinite(step)),
        )

    return _iterate(advance, u, max_iterations)


def stiffness(hessians: Float[Array, "elements points two d two d"]):
    """The L_vv part of (q, v) matrices, the rest zero."""
    return jnp.zeros_like(hessians).at[:, :, 1, :, 1, :].set(hessians[:, :, 1, :, 1, :])


def _iterate(advance, u, max_iterations):
    start = NewtonState(u, jnp.zeros((), u.dtype), jnp.array(0), jnp.array(False), jnp.array(False))

    def unfinished(state):
        return ~state.converged & ~state.failed & (state.iterations < max_iterations)

    return lax.while_loop(unfinished, advance, start)


def _relaxed(damping, shortenings, agreement):
    """The damping after a step: less where the model was good at full length, more where it was poor."""
    good = (shortenings <= 0) & (agreement > 0.5)
    poor = (shortenings > 1) | (agreement < 0.1)
    lower = jnp.where(damping <= 0.1, 0.0, damping / 3)
    return jnp.where(good, lower, jnp.where(poor, jnp.maximum(2 * damping, 0.0625), damping))


def _damped(hessians, damping, duration):
    """`(1 - th) H + th |H| + lam K` at every Gauss point."""
    towards_convex, shift = jnp.minimum(damping, 1.0), jnp.maximum(damping - 1.0, 0.0)

    def blend(hessians):
        convex = jax.vmap(jax.vmap(lambda block: _convexified(block, duration)))(hessians)
        return (1 - towards_convex) * hessians + towards_convex * convex + shift * stiffness(hessians)

    return lax.cond(damping > 0, blend, lambda hessians: hessians, hessians)


def _convexified(block, duration):
    """A (q, v) matrix with the absolute values of its eigenvalues, a velocity counted per duration."""
    size = block.shape[1] * 2
    units = jnp.stack([jnp.ones((), block.dtype), 1 / duration])
    scaling = jnp.repeat(units, block.shape[1])
    scaling = jnp.outer(scaling, scaling)
    eigenvalues, vectors = jnp.linalg.eigh(block.reshape(size, size) * scaling)
    absolute = jnp.einsum("ij,j,kj->ik", vectors, jnp.abs(eigenvalues), vectors)
    return (absolute / scaling).reshape(block.shape)
