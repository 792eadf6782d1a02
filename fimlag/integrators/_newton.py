"""Newton's method for the equations of one implicit step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._linear import solve


def newton_root(
    equations: Callable,
    guess: Float[Array, " n"],
    floor: Float[Array, " n"],
    terms: Float[Array, " n"],
    max_iterations: int,
) -> Float[Array, " n"]:
    """A root of a small dense system, differentiable implicitly; NaN unless the iteration converged.

    **Arguments:** `equations`: from the unknowns to their residual; `guess`; `floor`: the sizes of the sums that the
    unknowns enter, of which they cannot resolve the round-off; `terms`: the sizes of the terms that the residual sums
    at the start; `max_iterations`.
    """
    guess, floor, terms = lax.stop_gradient((guess, floor, terms))

    def root(_, x):
        return _newton(equations, x, floor, terms, max_iterations)

    def tangent_solve(linear, y):
        return solve(_matrix(linear, y), y)

    return lax.custom_root(equations, guess, root, tangent_solve)


def _newton(equations, guess, floor, terms, max_iterations):
    """Full steps, until an update is round-off of the sums that make it, component by component."""
    eps = jnp.finfo(guess.dtype).eps
    tolerance = eps ** (2 / 3)

    def advance(state):
        x, previous, count, _ = state
        value, linear = jax.linearize(equations, x)
        jacobian = _matrix(linear, x)
        inverse = solve(jacobian, jnp.eye(x.size, dtype=x.dtype))
        update = inverse @ value
        scale = floor + jnp.abs(x) + jnp.abs(inverse) @ (terms + jnp.abs(jacobian) @ jnp.abs(x))
        size = jnp.max(jnp.where(update == 0, 0, jnp.abs(update) / scale))
        # Settled: at round-off, no longer shrinking, or the next update would be round-off at this rate.
        slowed = (size >= previous) | (size * size <= eps * previous)
        settled = (size <= eps) | ((count > 0) & (size <= tolerance) & slowed)
        return x - update, size, count + 1, settled

    def unfinished(state):
        x, _, count, settled = state
        return ~settled & (count < max_iterations) & jnp.all(jnp.isfinite(x))

    begin = (guess, jnp.asarray(jnp.inf, guess.dtype), 0, jnp.array(False))
    x, _, _, settled = lax.while_loop(unfinished, advance, begin)
    return jnp.where(settled, x, jnp.nan)


def _matrix(linear, x):
    return jax.vmap(linear, out_axes=1)(jnp.eye(x.size, dtype=x.dtype))
