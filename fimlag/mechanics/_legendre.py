"""The point where a gradient has a given value: in closed form where the function is quadratic, else by Newton."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag.mechanics._degree import polynomial_degree

_HALVINGS = 40
_ITERATIONS = 100
_REACH = 60  # binary orders of magnitude, up and down, in which a regular start is sought

FIRST_ORDER = (
    "The Lagrangian is linear in the velocity: its mass matrix is zero, its momentum does not tell the velocity, and "
    "it prescribes no acceleration but equations of first order. Give it as PhaseSpaceLagrangian(one_form, "
    "hamiltonian), whose velocity and motion follow from these."
)


def conjugate_point(
    function: Callable, slope: Float[Array, " d"], guess: Float[Array, " d"], refusal: str = FIRST_ORDER
) -> Float[Array, " d"]:
    """The point where the gradient of a function equals `slope`, differentiable implicitly; NaN where none was found.

    Where the traced function shows that it is quadratic the point is one linear solve; else it is sought from `guess`.

    **Raises:** `ValueError`, with the text of `refusal`, for a function that is linear: its gradient tells nothing.
    """
    gradient = jax.grad(function)
    degree = polynomial_degree(function, guess)
    if degree == 1:
        raise ValueError(refusal)
    if degree == 2:
        origin = jnp.zeros_like(guess)
        return solve(jax.jacfwd(gradient)(origin), slope - gradient(origin))
    return gradient_root(gradient, slope, guess)


def gradient_root(gradient: Callable, slope: Float[Array, " d"], guess: Float[Array, " d"]) -> Float[Array, " d"]:
    """A root of `gradient(x) - slope` by Newton's method, differentiable implicitly; NaN unless it converged."""

    def tangent_solve(linear, y):
        return solve(jax.vmap(linear, out_axes=1)(jnp.eye(y.size, dtype=y.dtype)), y)

    def root(_, start):
        return _newton(gradient, slope, start)

    return lax.custom_root(lambda x: gradient(x) - slope, guess, root, tangent_solve)


def _newton(gradient, slope, guess):
    """Newton's method, each step the longest of its halvings that makes the residual finite and smaller."""
    eps = float(jnp.finfo(slope.dtype).eps)
    tolerance = eps ** (2 / 3)
    identity = jnp.eye(slope.size, dtype=slope.dtype)
    lengths = 0.5 ** jnp.arange(_HALVINGS, dtype=slope.dtype)
    first = gradient(guess)
    weights = jnp.abs(slope) + jnp.where(jnp.isfinite(first), jnp.abs(first), 0)
    weights = jnp.where(weights > 0, weights, 1)

    def size(value):
        return jnp.max(jnp.abs(slope - value) / weights)

    def advance(state):
        x, value, count, _, _ = state
        slopes = jax.jacfwd(gradient)(x)
        inverse = solve(slopes, identity)
        defect, sizes = slope - value, jnp.abs(slope) + jnp.abs(value)
        step = inverse @ defect
        # The round-off of each component is that of the sum which makes it, not that of its value.
        settled = jnp.abs(step) <= tolerance * (jnp.abs(x) + jnp.abs(inverse) @ sizes)
        # Near a pole of the gradient a small step changes it much: there round-off in x decides.
        met = jnp.abs(defect) <= tolerance * sizes + 4 * eps * jnp.abs(slopes) @ jnp.abs(x)
        final = jnp.all(settled & met)
        trials = x[None] + lengths[:, None] * step[None]
        values = jax.vmap(gradient)(trials)
        enough = jax.vmap(size)(values) <= (1 - 1e-4 * lengths) * size(value)
        chosen = jnp.where(final, 0, jnp.argmax(enough))
        moves = (final | jnp.any(enough)) & jnp.all(jnp.isfinite(values[chosen]))
        x, value = jnp.where(moves, trials[chosen], x), jnp.where(moves, values[chosen], value)
        return x, value, count + 1, final, moves

    def unfinished(state):
        _, _, count, done, moves = state
        return ~done & moves & (count < _ITERATIONS)

    start = _regular_start(gradient, slope, guess, size)
    begin = (start, gradient(start), 0, jnp.all(first == slope), jnp.array(True))
    x, _, _, converged, _ = lax.while_loop(unfinished, advance, begin)
    return jnp.where(converged, x, jnp.nan)


def _regular_start(gradient, slope, guess, size):
    """The guess; where the derivative is singular there or not defined, the best of many points in the direction of
    the residual, or of the slope sought."""
    first = gradient(guess)
    residual = jnp.where(jnp.all(jnp.isfinite(first)), slope - first, slope)
    largest = jnp.max(jnp.abs(residual))
    direction = residual / jnp.where(largest > 0, largest, 1)
    reaches = 2.0 ** jnp.arange(-_REACH, _REACH, dtype=slope.dtype)
    trials = guess[None] + reaches[:, None] * direction[None]
    sizes = jax.vmap(lambda x: size(gradient(x)))(trials)
    best = trials[jnp.argmin(jnp.where(jnp.isfinite(sizes), sizes, jnp.inf))]
    inverse = solve(jax.jacfwd(gradient)(guess), jnp.eye(slope.size, dtype=slope.dtype))
    return jnp.where(jnp.all(jnp.isfinite(inverse)) | (largest == 0), guess, best)
