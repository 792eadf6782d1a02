"""Many trajectories side by side: a step of scalars, applied to blocks of lanes."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Int, PyTree

ScalarStep = Callable[[Int[Array, ""], Any, Any], Any]
"""`step(number, carry, constants) -> carry`: one step of one trajectory, all of its arrays of shape ()."""

_LEAF = 8000  # bytes of a leaf of the carry in a block: the price of a loop's turn is spread over enough lanes
_CARRY = 2**18  # bytes of a whole carry: with the next one and what lies between, it stays in a core's own cache
_EVEN, _ODD = 256, 8  # lanes: leaves at distances of powers of two share few places in a cache


def lane_loop(
    body: ScalarStep,
    first: int | Int[Array, ""],
    carry: PyTree[Array],
    constants: PyTree[ArrayLike],
    steps: int | Int[Array, ""],
    block: int | None = None,
) -> PyTree[Array]:
    """The carries of many trajectories after some steps, block after block of lanes.

    A block makes all its steps before the next one begins, so that its carry stays in the cache.

    **Arguments:** `body`: one step of one trajectory; `first`: the number of the first step; `carry`: arrays with
    the lanes as leading axis; `constants`: what no step changes, numbers of shape () that all lanes share or arrays
    with the lanes as leading axis; `steps`: how many; `block`: the most lanes of a block, None for as many as suit
    a CPU's caches.

    **Returns:** the carry after the steps.
    """
    lanes = jax.tree.leaves(carry)[0].shape[0]
    count, size = blocks(lanes, lanes_in_cache(carry), _ODD) if block is None else blocks(lanes, block)
    march = _march(body, jnp.asarray(first, jnp.int32), jnp.asarray(steps, jnp.int32))
    if (count, size) == (1, lanes):
        return march(carry, constants)
    own, shared = eqx.partition(constants, jnp.ndim)
    begin = jax.tree.map(lambda leaf: filled(leaf, count * size).reshape(count, size, *leaf.shape[1:]), (carry, own))
    end = lax.map(lambda state: march(state[0], eqx.combine(state[1], shared)), begin)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:lanes], end)


def lanes_in_cache(carry: PyTree[Array]) -> int:
    """How many lanes of a carry suit a CPU's caches."""
    sizes = [leaf.dtype.itemsize * math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(carry)]
    return max(1, min(_LEAF // max(sizes), _CARRY // sum(sizes)))


def blocks(lanes: int, block: int, odd: int = 0) -> tuple[int, int]:
    """`(count, size)` of the fewest blocks, as equal as can be; `odd` lanes more where the size is an even one."""
    size = math.ceil(lanes / max(1, math.ceil(lanes / block)))
    size += odd if lanes and size % _EVEN == 0 else 0
    return math.ceil(lanes / max(1, size)), size


def _march(body, first, steps):
    def march(carry, constants):
        axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, constants)
        step = jax.vmap(body, (None, 0, axes))
        return lax.fori_loop(first, first + steps, lambda number, carry: step(number, carry, constants), carry)

    return march


def filled(leaf: Array, lanes: int) -> Array:
    """So many lanes, the last one repeated: no number made up is sure to be harmless."""
    filling = jnp.broadcast_to(leaf[-1:], (lanes - leaf.shape[0], *leaf.shape[1:]))
    return jnp.concatenate([leaf, filling])
