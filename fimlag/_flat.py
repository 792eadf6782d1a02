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

    A complex leaf counts as its real parts followed by its imaginary parts. Unlike the function that
    `jax.flatten_util.ravel_pytree` returns, two equal structures compare equal, so compiled code is reused
    between calls.
    """

    treedef: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    complex_leaves: tuple[int, ...] = eqx.field(static=True, default=())

    @property
    def size(self) -> int:
        """Number of real coordinates d."""
        return sum(self._lengths)

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
        ends = np.cumsum(self._lengths)[:-1]
        parts = jnp.split(vector, ends) if ends.size else [vector]
        for i in self.complex_leaves:
            parts[i] = jax.lax.complex(*jnp.split(parts[i], 2))
        leaves = [jnp.reshape(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree_util.tree_unflatten(self.treedef, leaves)

    def describe(self) -> str:
        """Tree and shapes in words, for messages."""
        kinds = ["complex array" if i in self.complex_leaves else "array" for i in range(len(self.shapes))]
        words = [f"{kind}{shape}" for kind, shape in zip(kinds, self.shapes, strict=True)]
        return str(jax.tree_util.tree_unflatten(self.treedef, words))

    @property
    def _lengths(self) -> list[int]:
        doubled = self.complex_leaves
        return [int(np.prod(shape)) * (2 if i in doubled else 1) for i, shape in enumerate(self.shapes)]


def flatten(tree: Coordinates, name: str = "argument") -> tuple[Inexact[Array, " d"], Structure]:
    """`(vector, structure)` of coordinates; integers become floating-point numbers, complex ones real pairs.

    **Raises:** `ValueError` for a tree without coordinates, `TypeError` for leaves that are not numbers.
    """
    leaves, treedef = jax.tree_util.tree_flatten(tree)
    if not leaves or sum(np.size(leaf) for leaf in leaves) == 0:
        raise ValueError(f"{name} holds no coordinates.")
    for leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), np.number):
            raise TypeError(f"{name} must hold numbers, but came with a leaf {leaf!r}.")
    complex_leaves = tuple(i for i, leaf in enumerate(leaves) if jnp.iscomplexobj(leaf))
    dtype = jnp.result_type(*(leaf.real if i in complex_leaves else leaf for i, leaf in enumerate(leaves)))
    if not jnp.issubdtype(dtype, jnp.inexact):
        dtype = jnp.result_type(float)
    parts = [jnp.ravel(jnp.asarray(leaf.real if i in complex_leaves else leaf, dtype)) for i, leaf in enumerate(leaves)]
    for i in complex_leaves:
        parts[i] = jnp.concatenate([parts[i], jnp.ravel(jnp.asarray(leaves[i].imag, dtype))])
    shapes = tuple(tuple(np.shape(leaf)) for leaf in leaves)
    return jnp.concatenate(parts), Structure(treedef, shapes, complex_leaves)
