"""Pytrees of arrays whose last axis numbers the lanes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree


def along(lanes: Array, like: Array) -> Array:
    """A number of each lane, in a shape that broadcasts against an array."""
    return jnp.reshape(lanes, (1,) * (like.ndim - 1) + lanes.shape)


def where(condition: Bool[Array, " lanes"], new: PyTree, old: PyTree) -> PyTree:
    """The new arrays in the lanes that meet the condition, the old ones in the others."""
    return jax.tree_util.tree_map(lambda new, old: jnp.where(along(condition, old), new, old), new, old)


def zeros_of(shapes: PyTree) -> PyTree:
    """Arrays of zeros of shapes that `jax.eval_shape` found."""
    return jax.tree_util.tree_map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
