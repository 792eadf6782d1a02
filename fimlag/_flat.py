"""User pytrees at the door, flat vectors inside."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from fimlag._types import Coordinates


class Structure(eqx.Module):
    """The shape of the caller's coordinates, remembered so that vectors return in it.

    Unlike the function that `jax.flatten_util.ravel_pytree` returns, two equal structures compare
    equal, so compiled code is reused between calls.
    """

    treedef: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of coordinates d."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def flatten(self, tree: Coordinates, name: str = "argument") -> Inexact[Array, " d"]:
        """`tree` as one vector in `ravel_pytree` order; a `ValueError` where its structure differs."""
        vector, structure = flatten(tree, name)
        if structure != self:
            raise ValueError(
                f"{name} has structure {structure.describe()}, but {self.describe()} was expected: points, "
                "velocities and parameters of one problem share one structure."
            )
        return vector

    def unflatten(self, vector: Inexact[Array, " d"]):
        """The vector in the caller's structure."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = jnp.split(vector, ends) if ends.size else [vector]
        leaves = [jnp.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree_util.tree_unflatten(self.treedef, leaves)

    def describe(self) -> str:
        """Tree and shapes in words, for messages."""
        return str(jax.tree_util.tree_unflatten(self.treedef, [f"array{shape}" for shape in self.shapes]))


def flatten(tree: Coordinates, name: str = "argument") -> tuple[Inexact[Array, " d"], Structure]:
    """`(vector, structure)` of coordinates; integers become floating-point numbers.

    **Raises:** `ValueError` for a tree without coordinates, `TypeError` for leaves that are not real numbers.
    """
    leaves, treedef = jax.tree_util.tree_flatten(tree)
    if not leaves or sum(np.size(leaf) for leaf in leaves) == 0:
        raise ValueError(f"{name} holds no coordinates.")
    for leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), np.number) or jnp.issubdtype(
            jnp.result_type(leaf), jnp.complexfloating
        ):
            raise TypeError(f"{name} must hold real numbers, but came with a leaf {leaf!r}.")
    dtype = jnp.result_type(*leaves)
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = jnp.result_type(float)
    parts = [jnp.ravel(jnp.asarray(leaf, dtype)) for leaf in leaves]
    shapes = tuple(tuple(np.shape(leaf)) for leaf in leaves)
    return jnp.concatenate(parts), Structure(treedef, shapes)
