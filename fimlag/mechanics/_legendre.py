"""The point where a gradient has a given value: in closed form where the function is quadratic, else by Newton."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag.mechanics._degree import polynomial_degree

_ITERATIONS = 100
_LENGTHS = 64  # of steps tried together: halvings of Newton's, or powers of four up and down from one

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

    def advance(state):
        x, value, count, _, _ = state
        step, sizes, regular, final = _step(gradient, slope, x, value)
        chosen = _chosen(gradient, slope, x, value, step, sizes, regular, final)
        there = gradient(chosen)
        moves = jnp.all(jnp.isfinite(there)) & jnp.any(chosen != x)
        x, value = jnp.where(moves, chosen, x), jnp.where(moves, there, value)
        return x, value, count + 1, final, moves

    def unfinished(state):
        _, _, count, done, moves = state
        return ~done & moves & (count < _ITERATIONS)

    first = gradient(guess)
    begin = (guess, first, 0, jnp.all(first == slope), jnp.array(True))
    x, _, _, converged, _ = lax.while_loop(unfinished, advance, begin)
    return jnp.where(converged, x, jnp.nan)


def _step(gradient, slope, x, value):
    """Newton's step, the sizes of the slopes in play, whether the derivative is regular, and whether the step is the
    last.

    Where the derivative is singular or not defined, as it may be at rest, the residual itself, or the slope sought, is
    the direction.
    """
    eps = float(jnp.finfo(slope.dtype).eps)
    tolerance = eps ** (2 / 3)
    known = jnp.all(jnp.isfinite(value))
    defect = jnp.where(known, slope - value, slope)
    sizes = jnp.abs(slope) + jnp.where(known, jnp.abs(value), 0)
    slopes = jax.jacfwd(gradient)(x)
    inverse = solve(slopes, jnp.eye(slope.size, dtype=slope.dtype))
    regular = jnp.all(jnp.isfinite(inverse))
    step = jnp.where(regular, inverse @ defect, defect / jnp.max(jnp.abs(defect)))
    # The round-off of each component is that of the sum which makes it, not that of its value.
    settled = jnp.abs(step) <= tolerance * (jnp.abs(x) + jnp.abs(inverse) @ sizes)
    # Near a pole of the gradient a small step changes it much: there round-off in x decides.
    met = jnp.abs(defect) <= tolerance * sizes + 4 * eps * jnp.abs(slopes) @ jnp.abs(x)
    return step, sizes, regular, jnp.all(settled & met)


def _chosen(gradient, slope, x, value, step, sizes, regular, final):
    """The point to go on from: x itself where no length of the step serves.

    A last step is taken whole. A direction that is no Newton step is followed as far as best removes the residual's
    component along it.
    """
    numbers = jnp.arange(_LENGTHS, dtype=slope.dtype)
    halvings, reaches = 0.5**numbers, 4.0 ** (numbers - _LENGTHS // 2)

    def left(value):
        defect = jnp.abs(slope - value)
        share = jnp.max(defect / jnp.where(sizes > 0, sizes, 1))
        size = jnp.where(regular, share, jnp.abs((slope - value) @ step))
        return jnp.where(jnp.isfinite(size), size, jnp.inf)

    points = x[None] + jnp.where(regular, halvings, reaches)[:, None] * step[None]
    sizes_left = jax.vmap(lambda point: left(gradient(point)))(points)
    enough = sizes_left <= (1 - 1e-4 * halvings) * left(value)
    number = jnp.where(final, 0, jnp.where(regular, jnp.argmax(enough), jnp.argmin(sizes_left)))
    return jnp.where(final | enough[number] & jnp.isfinite(sizes_left[number]), points[number], x)
