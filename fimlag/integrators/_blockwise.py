"""Functions of one trajectory, of many computed block after block of lanes."""

from collections.abc import Callable

import jax
from jax import lax
from jax.custom_batching import custom_vmap

from fimlag.integrators._lanes import blocks, filled, lanes_in_cache


def in_lanes(function: Callable) -> Callable:
    """A function of arrays that under `vmap` is computed for one block of lanes after the other.

    It is not differentiable: it computes the values inside of a rule for derivatives.
    """

    @custom_vmap
    def evaluate(*args):
        return function(*args)

    @evaluate.def_vmap
    def _(lanes, batched, *args):
        own = [arg for arg, is_batched in zip(args, batched, strict=True) if is_batched]

        def together(*own):
            rest = iter(own)
            given = [next(rest) if is_batched else arg for arg, is_batched in zip(args, batched, strict=True)]
            return function(*given)

        outputs = _block_by_block(jax.vmap(together), own, lanes)
        return outputs, jax.tree.map(lambda _: True, outputs)

    return evaluate


def _block_by_block(function, arrays, lanes):
    count, size = blocks(lanes, lanes_in_cache(arrays))
    if (count, size) == (1, lanes):
        return function(*arrays)
    split = [filled(array, count * size).reshape(count, size, *array.shape[1:]) for array in arrays]
    outputs = lax.map(lambda block: function(*block), split)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:lanes], outputs)
