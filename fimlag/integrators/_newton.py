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
    floor, terms = lax.stop_gradient((floor, terms))

    def update(x):
        """A full step, and its size against the round-off of the sums that make it, component by component."""
        value, linear = jax.linearize(equations, x)
        jacobian = _matrix(linear, x)
        inverse = solve(jacobian, jnp.eye(x.size, dtype=x.dtype))
        step = inverse @ value
        scale = floor + jnp.abs(x) + jnp.abs(inverse) @ (terms + jnp.abs(jacobian) @ jnp.abs(x))
        return step, jnp.max(jnp.where(step == 0, 0, jnp.abs(step) / scale))

    return settled_root(equations, update, guess, max_iterations)


def settled_root(
    equations: Callable, update: Callable, guess: Float[Array, " n"], max_iterations: int
) -> Float[Array, " n"]:
    """What an iteration settles at, as a root of equations differentiable implicitly; NaN unless it settled.

    **Arguments:** `equations`: from the unknowns to their residual; `update`: from the unknowns to what a step
    subtracts and the size of that in units of what round-off may leave; `guess`; `max_iterations`.
    """

    def tangent_solve(linear, y):
        return solve(_matrix(linear, y), y)

    def root(_, x):
        return _settle(update, x, max_iterations)

    return lax.custom_root(equations, lax.stop_gradient(guess), root, tangent_solve)


def _settle(update, guess, max_iterations):
    """Steps until they are at round-off, shrink no more there, or the next would be round-off at this rate."""
    eps = jnp.finfo(guess.dtype).eps

    def advance(state):
        x, previous, count, _ = state
        step, size = update(x)
        slowed = (size >= previous) | (size * size <= eps * previous)
        settled = (size <= eps) | ((count > 0) & (size <= eps ** (2 / 3)) & slowed)
        return x - step, size, count + 1, settled

    def unfinished(state):
        x, _, count, settled = state
        return ~settled & (count < max_iterations) & jnp.all(jnp.isfinite(x))

    begin = (guess, jnp.asarray(jnp.inf, guess.dtype), 0, jnp.array(False))
    x, _, _, settled = lax.while_loop(unfinished, advance, begin)
    return jnp.where(settled, x, jnp.nan)


def _matrix(linear, x):
    return jax.vmap(linear, out_axes=1)(jnp.eye(x.size, dtype=x.dtype))
