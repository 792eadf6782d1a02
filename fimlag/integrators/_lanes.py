"""Many trajectories side by side in lanes, in blocks that a CPU's caches hold."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

_FIRST = 2**14  # bytes of all arrays in a block: with what lies between two turns, they stay in the first cache
_SECOND = 2**18  # bytes of all arrays in a block of so few lanes that loops over them are written out as numbers
_FEW = 64  # lanes
_WHOLE = 16  # lanes that vectors are whole for
_EVEN = 256  # lanes: arrays at distances of powers of two share few places in a cache


def in_blocks(function: Callable, own: Sequence[bool], *args: Array, block: int | None = None) -> PyTree[Array]:
    """`jax.vmap` of a function, computed for one block of lanes after the other.

    **Arguments:** `function`: of arrays; `own`: which of its arguments have the lanes as leading axis, the others are
    shared; `args`; `block`: the most lanes of a block, None for as many as suit a CPU's caches.

    **Returns:** what the function does, with the lanes as leading axis.
    """
    mapped = jax.vmap(function, axes(own))
    arrays = [arg for arg, has_lanes in zip(args, own, strict=True) if has_lanes]
    lanes = arrays[0].shape[0]
    count, size = blocks_in_cache(arrays) if block is None else blocks(lanes, block)
    if (count, size) == (1, lanes):
        return mapped(*args)

    def one_block(arrays):
        rest = iter(arrays)
        return mapped(*(next(rest) if has_lanes else arg for arg, has_lanes in zip(args, own, strict=True)))

    split = [filled(array, count * size).reshape(count, size, *array.shape[1:]) for array in arrays]
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:lanes], lax.map(one_block, split))


def axes(own: Sequence[bool]) -> tuple[int | None, ...]:
    """The axes of lanes as `jax.vmap` takes them."""
    return tuple(0 if has_lanes else None for has_lanes in own)


def blocks_in_cache(arrays: Sequence[Array]) -> tuple[int, int]:
    """`(count, size)` of the blocks that suit a CPU's caches."""
    return blocks(arrays[0].shape[0], lanes_in_cache(arrays), _WHOLE)


def lanes_in_cache(arrays: PyTree[Array]) -> int:
    """How many lanes of some arrays suit a CPU's caches."""
    size = sum(leaf.dtype.itemsize * math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(arrays))
    return max(1, _FIRST // max(1, size), min(_FEW, _SECOND // max(1, size)))


def blocks(lanes: int, block: int, whole: int = 1) -> tuple[int, int]:
    """`(count, size)` of the fewest blocks, as equal as can be; many are of `whole` times some lanes, not an even
    number of them."""
    size = math.ceil(lanes / max(1, math.ceil(lanes / block)))
    if whole > 1 and whole <= size < lanes:
        size = math.ceil(size / whole) * whole
        size += 0 if size % _EVEN else whole
    return math.ceil(lanes / max(1, size)), size


def filled(array: Array, lanes: int) -> Array:
    """So many lanes, the last one repeated: no number made up is sure to be harmless."""
    filling = jnp.broadcast_to(array[-1:], (lanes - array.shape[0], *array.shape[1:]))
    return jnp.concatenate([array, filling])
