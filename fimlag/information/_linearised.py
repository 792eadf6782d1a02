"""Square roots of the information made ready for products: linearised once where the memory allows."""

from collections.abc import Callable
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag.information._root import SquareRoot

KEPT = 2**28
"""Bytes of a linearisation that are kept for reuse."""


class LinearisedRoot(eqx.Module):
    """A square root J as its products; the rows are those of all blocks, shape (rows,).

    `tangent`: the linear maps of the blocks, their constants stacked along axis 0, so that products pay for no
    derivative; None where these would not fit, and then each block is linearised anew in each product.
    """

    root: SquareRoot
    tangent: Callable | None

    def times(self, vector: Float[Array, " d"]) -> Float[Array, " rows"]:
        """$J v$."""
        return jnp.ravel(self._map(lambda tangent: tangent(vector)))

    def transposed_times(self, rows: Float[Array, " rows"]) -> Float[Array, " d"]:
        """$J^\\top u$."""
        parts = jnp.reshape(rows, (self.root.blocks, -1))

        def part(tangent, number):
            pull = jax.linear_transpose(tangent, self.root.vector)
            outputs = jax.eval_shape(tangent, self.root.vector)
            return pull(jnp.reshape(parts[number], outputs.shape))[0]

        return self._sum(part)

    def gram_times(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """$J^\\top J v$, block by block."""

        def part(tangent, number):
            return jax.linear_transpose(tangent, self.root.vector)(tangent(vector))[0]

        return self._sum(part)

    def _map(self, function):
        if self.tangent is None:
            return self.root.map_blocks(lambda items: function(tangent_of(self.root, items)))
        if self.root.blocks == 1:
            return function(_block_of(self.tangent, 0))
        return jax.lax.map(function, self.tangent)

    def _sum(self, part):
        blocks = self.root.blocks
        if blocks == 1:
            return part(_block_of(self.tangent, 0), 0)

        def step(total, number):
            return total + rematerialised(number), None

        def of_block(number):
            kept = self.tangent is not None
            return part(
                _block_of(self.tangent, number) if kept else tangent_of(self.root, self.root.block(number)), number
            )

        rematerialised = jax.checkpoint(of_block, prevent_cse=False)  # pyright: ignore[reportPrivateImportUsage]
        return jax.lax.scan(step, jnp.zeros_like(self.root.vector), jnp.arange(blocks))[0]


@compiled
def linearised(root: SquareRoot) -> LinearisedRoot:
    """The root with its linear maps: kept where one block, or few bytes, make the whole."""

    def maps():
        return root.map_blocks(lambda items: tangent_of(root, items))

    if root.blocks > 1:
        kept = jax.tree_util.tree_leaves(jax.eval_shape(maps))
        if sum(leaf.size * leaf.dtype.itemsize for leaf in kept) > KEPT:
            return LinearisedRoot(root, None)
    return LinearisedRoot(root, maps())


@compiled
def gram_times(roots: tuple[LinearisedRoot, ...], vector: Float[Array, " d"]) -> Float[Array, " d"]:
    """The information times a vector."""
    return reduce(jnp.add, [root.gram_times(vector) for root in roots])


@compiled
def times(roots: tuple[LinearisedRoot, ...], vector: Float[Array, " d"]) -> Float[Array, " rows"]:
    """All rows times a vector."""
    return jnp.concatenate([root.times(vector) for root in roots])


@compiled
def transposed_times(roots: tuple[LinearisedRoot, ...], rows: Float[Array, " rows"]) -> Float[Array, " d"]:
    """The combination of all rows with the numbers given."""
    ends = [sum(root.root.rows for root in roots[:i]) for i in range(len(roots) + 1)]
    return reduce(jnp.add, [root.transposed_times(rows[ends[i] : ends[i + 1]]) for i, root in enumerate(roots)])


def tangent_of(root: SquareRoot, items) -> Callable:
    """The derivative of one block's outputs at the point, a linear map."""
    return jax.linearize(lambda vector: root.outputs(vector, items), root.vector)[1]


def _block_of(tangent, number):
    return jax.tree_util.tree_map(lambda leaf: leaf[number], tangent)
