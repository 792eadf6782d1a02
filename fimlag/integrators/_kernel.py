"""One loop of numbers as a kernel, with a trajectory in each thread of a GPU."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from fimlag.integrators._lane_arithmetic import spread
from fimlag.integrators._lanes import filled
from fimlag.integrators._lanewise import Table, loop_of_lanes

_WARP = 32  # threads that a GPU moves together


class Launch(NamedTuple):
    """How a kernel runs.

    **Attributes:** `block`: lanes that wait for each other, a power of two from 32 on; `interpret`: compute on any
    device what the kernel would.
    """

    block: int
    interpret: bool = False


WIDE = Launch(2 * _WARP)
"""The smallest blocks of which the 32 that a multiprocessor takes give it all the threads that it can hold."""


class _Place(NamedTuple):
    """An input as a kernel gets it: the form it is stored in, the part that a block sees, and how it is read."""

    stored: Array
    part: Any
    read: Callable[[Any], Any]


def launched(eqn: JaxprEqn, batched: Sequence[bool], lanes: int, launch: Launch, *values: Array) -> list[Array]:
    """The results of a scan or a while loop in many lanes, all its turns made in one launch.

    **Arguments:** `values`: its operands, those that are `batched` with the lanes as only axis.

    **Returns:** its results, with the lanes as leading axis.

    **Raises:** `NotImplementedError` for a loop that a kernel cannot compute.
    """
    from jax.experimental import pallas
    from jax.experimental.pallas import triton

    block = launch.block
    grid = (math.ceil(lanes / block),)
    inputs = [
        _own(value, grid[0], block) if own else _shared(value) for value, own in zip(values, batched, strict=True)
    ]
    shapes, parts, dtypes = zip(*(_output(var.aval, grid[0], block) for var in eqn.outvars), strict=True)
    carried = _carried(eqn)

    def kernel(*refs):
        results = refs[len(inputs) :]
        read = [place.read(ref) for place, ref in zip(inputs, refs, strict=False)]
        ends = loop_of_lanes(eqn, read, block, results[carried:])
        for ref, end in zip(results, ends, strict=False):
            ref[...] = spread(end, block).astype(ref.dtype)

    stored = pallas.pallas_call(
        kernel,
        grid=grid,
        in_specs=[place.part for place in inputs],
        out_specs=parts,
        out_shape=shapes,
        compiler_params=triton.CompilerParams(num_warps=block // _WARP, num_stages=1),
        interpret=launch.interpret,
    )(*(place.stored for place in inputs))
    ends = [jnp.moveaxis(end, -1, 0)[:lanes] for end in stored]
    return [end.astype(dtype) for end, dtype in zip(ends, dtypes, strict=True)]


def _carried(eqn):
    """How many of the results of a loop it carries; a scan stacks the others."""
    inner = (eqn.params["jaxpr"] if eqn.primitive.name == "scan" else eqn.params["body_jaxpr"]).out_avals
    if any(aval.shape for aval in inner):
        raise NotImplementedError("A kernel has no loop of arrays.")
    return sum(not var.aval.shape for var in eqn.outvars)


def _shared(value) -> _Place:
    """A number or a table that all lanes read."""
    from jax.experimental.pallas import BlockSpec

    if value.ndim > 1 or (value.ndim and value.dtype == bool):
        raise NotImplementedError(f"A kernel has no table of shape {value.shape} and type {value.dtype}.")
    stored = jnp.atleast_1d(_storable(value))
    read = Table if value.ndim else lambda ref: _restored(ref[0], value.dtype)
    return _Place(stored, BlockSpec(stored.shape, lambda number: (0,)), read)


def _own(value, blocks, block) -> _Place:
    """A number in each lane."""
    from jax.experimental.pallas import BlockSpec

    if value.ndim != 1:
        raise NotImplementedError(f"A kernel has no lanes of arrays, of shape {value.shape[1:]}.")
    stored = filled(_storable(value), blocks * block)
    part = BlockSpec((block,), lambda number: (number,))
    return _Place(stored, part, lambda ref: _restored(ref[...], value.dtype))


def _output(aval, blocks, block):
    """The form, the part in a block and the type of a result; its lanes last, for threads to write side by side."""
    from jax.experimental.pallas import BlockSpec

    dtype = jnp.int32 if aval.dtype == bool else aval.dtype
    part = BlockSpec((*aval.shape, block), lambda number: (*(0 for _ in aval.shape), number))
    return jax.ShapeDtypeStruct((*aval.shape, blocks * block), dtype), part, aval.dtype


def _storable(value):
    """Truth values as whole numbers, whose size in memory is beyond doubt."""
    return value.astype(jnp.int32) if value.dtype == bool else value


def _restored(value, dtype):
    return value != 0 if jnp.issubdtype(dtype, bool) else value
