"""Roots in a bracket, found without derivatives in a bounded number of evaluations."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_TRUNCATION = 0.2


def bracketed_root(
    function: Callable, lower_value: Float[Array, ""], upper_value: Float[Array, ""]
) -> Float[Array, ""]:
    r"""A sign change of a function on [0, 1], to the precision of the numbers.

    The method interpolates, truncates towards the middle and projects onto it (ITP), so that it converges faster
    than linearly and never takes more than one evaluation beyond bisection.

    **Arguments:** `function`: of a number in (0, 1); `lower_value`, `upper_value`: its values at 0 and at 1, of
    different signs.

    **Returns:** the root, shape (): within a rounding error of a sign change.

    **Reference:** Oliveira & Takahashi (2021).
    """
    eps = float(jnp.finfo(lower_value.dtype).eps)
    most = int(np.ceil(np.log2(1 / (2 * eps)))) + 1
    rising = jnp.where(lower_value < 0, 1, -1).astype(lower_value.dtype)

    def shrink(state):
        low, high, below, above, count = state
        middle, half = (low + high) / 2, (high - low) / 2
        secant = low - below * (high - low) / (above - below)
        towards = jnp.sign(middle - secant)
        # At least a rounding error, so that the next point falls on the other side of a root well located.
        shift = jnp.maximum(_TRUNCATION * (high - low) ** 2, eps)
        truncated = jnp.where(shift <= jnp.abs(middle - secant), secant + towards * shift, middle)
        radius = jnp.maximum(eps * 2.0 ** (most - count).astype(low.dtype) - half, 0)
        x = jnp.where(jnp.abs(truncated - middle) <= radius, truncated, middle - towards * radius)
        value = rising * function(x)
        exact = value == 0
        left = exact | (value < 0)
        right = exact | (value > 0)
        return (
            jnp.where(left, x, low),
            jnp.where(right, x, high),
            jnp.where(left, value, below),
            jnp.where(right, value, above),
            count + 1,
        )

    def wide(state):
        low, high, below, above, count = state
        return (high - low > 2 * eps) & (count <= most) & (below < above)

    start = (jnp.zeros_like(lower_value), jnp.ones_like(lower_value), rising * lower_value, rising * upper_value, 0)
    low, high, below, above, _ = lax.while_loop(wide, shrink, start)
    return jnp.where(below < above, low - below * (high - low) / jnp.where(below < above, above - below, 1), low)
