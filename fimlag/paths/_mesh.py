"""Meshes: the elements of a time interval and the nodes on each of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from fimlag._types import RealScalarLike
from fimlag.mechanics._discrete import element_basis

_FEW = 33  # knots, up to which comparing a time with all of them is faster than bisection


def equal_knots(t0: RealScalarLike, t1: RealScalarLike, elements: int, dtype=None) -> Float[Array, " edges"]:
    """The ends of equal elements of [t0, t1], shape (elements + 1,), of the precision of t0 and t1 or that given.

    **Raises:** `ValueError` for no element.
    """
    if elements < 1:
        raise ValueError(f"elements must be at least 1, but is {elements}.")
    if dtype is None:
        dtype = jnp.result_type(t0, t1, 0.0)
    t0, t1 = (jnp.asarray(t, dtype) for t in (t0, t1))
    inner = t0 + (t1 - t0) * jnp.asarray(np.arange(elements) / elements, dtype)
    return jnp.append(inner, t1)


def given_knots(knots: Float[Array, " edges"], dtype) -> Float[Array, " edges"]:
    """Knots that a caller chose, in a precision; a `ValueError` where they can be looked at and are out of order."""
    if not isinstance(knots, Tracer):
        steps = np.diff(np.asarray(knots))
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError(f"knots must rise, or fall, from each to the next, but are {np.asarray(knots).tolist()}.")
    return jnp.asarray(knots, dtype)


def nodal_fractions(elements: int, degree: int) -> np.ndarray:
    """The nodes of E equal elements of degree p on [0, 1], shape (E p + 1,)."""
    if elements < 1 or degree < 1:
        raise ValueError(f"elements and degree must be at least 1, but are {elements} and {degree}.")
    inner = (np.arange(elements)[:, None] + element_basis(degree).nodes[None, :-1]) / elements
    return np.append(inner.ravel(), 1.0)


def nodal_times(knots: Float[Array, " edges"], degree: int) -> Float[Array, " nodes"]:
    """The times of the nodes of the elements between the knots, shape (E p + 1,)."""
    fractions = jnp.asarray(element_basis(degree).nodes[:-1], knots.dtype)
    inner = knots[:-1, None] + (knots[1:] - knots[:-1])[:, None] * fractions[None]
    return jnp.append(inner.ravel(), knots[-1])


def place_among(knots: Float[Array, " edges"], t: Float[Array, ""]) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """`(element, c)`: the number of the element that holds a time, and the share of it before; NaN outside the knots.

    The knots may fall as well as rise.
    """
    fixed = jax.lax.stop_gradient(knots)
    sign = jnp.where(fixed[-1] < fixed[0], -1, 1).astype(t.dtype)
    rising, time = sign * fixed, sign * jax.lax.stop_gradient(t)
    few = knots.shape[0] <= _FEW
    element = jnp.sum(time >= rising[1:-1]) if few else _bisected(rising, time)
    left, right = jax.lax.dynamic_slice_in_dim(knots, element, 2)
    slack = 8 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(fixed[0]), jnp.abs(fixed[-1]))
    inside = jnp.abs(t - 0.5 * (left + right)) <= 0.5 * jnp.abs(right - left) + slack
    return element, jnp.where(inside, (t - left) / (right - left), jnp.nan)


def _bisected(knots, t):
    """The element that holds a time, sought first where it lies among equal ones."""
    last = knots.shape[0] - 2
    guess = jnp.floor((t - knots[0]) / (knots[-1] - knots[0]) * (last + 1)).astype(int)
    guess = jnp.clip(guess, 0, last)
    moved = jnp.where(t >= knots[guess + 1], guess + 1, jnp.where(t < knots[guess], guess - 1, guess))
    guess = jnp.clip(moved, 0, last)
    found = ((guess == 0) | (t >= knots[guess])) & ((guess == last) | (t < knots[guess + 1]))

    def halved(bracket):
        middle = (bracket[0] + bracket[1]) // 2
        behind = t >= knots[middle]
        return jnp.where(behind, middle, bracket[0]), jnp.where(behind, bracket[1], middle)

    bracket = (jnp.where(found, guess, 0), jnp.where(found, guess + 1, last + 1))
    return jax.lax.while_loop(lambda bracket: bracket[1] - bracket[0] > 1, halved, bracket)[0]
