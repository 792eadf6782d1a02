"""Entries of small arrays that are read or replaced at known places."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jax.lax import GatherScatterMode


class _Windows(NamedTuple):
    """Windows of an array, one for each row of a table of places.

    **Attributes:** `shape`: of the array; `counted`: its axes that the numbers of a row are along; `batched`: pairs of
    an axis of it and one of the table that run together; `free`: its axes that a window has an extent along; `across`:
    the axes of the gathered array, or of the updates, that run through a window; `sizes`: of a window.
    """

    shape: Sequence[int]
    table: np.ndarray
    counted: Sequence[int]
    batched: Sequence[tuple[int, int]]
    free: Sequence[int]
    across: Sequence[int]
    sizes: Sequence[int]
    mode: GatherScatterMode

    def each(self, shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...] | None]]:
        """The places of a gathered array, or of updates, each with its place in the array, None outside of it."""
        for place in np.ndindex(*shape):
            row = tuple(index for axis, index in enumerate(place) if axis not in self.across)
            first = self._first(row)
            if first is None:
                yield place, None
                continue
            for axis, step in zip(self.free, (place[axis] for axis in self.across), strict=True):
                first[axis] += step
            yield place, tuple(first)

    def _first(self, row) -> list[int] | None:
        """Where the window of a row starts, None where it does not fit into the array."""
        first = [0] * len(self.shape)
        for axis, index in zip(self.counted, self.table[row], strict=True):
            first[axis] = int(index)
        for axis, of_table in self.batched:
            first[axis] = row[of_table]
        last = [whole - size for whole, size in zip(self.shape, self.sizes, strict=True)]
        clamped = [min(max(index, 0), end) for index, end in zip(first, last, strict=True)]
        return clamped if self.mode == GatherScatterMode.CLIP or clamped == first else None


def _gathered(graph, equation, array, table):
    """Windows of an array; what lies outside is filled."""
    params, numbers, shape = equation.params, equation.params["dimension_numbers"], equation.outvars[0].aval.shape
    fills = params["mode"] == GatherScatterMode.FILL_OR_DROP
    if params["mode"] == GatherScatterMode.ONE_HOT:
        return None
    fixed = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    windows = _Windows(
        shape=array.shape,
        table=_known(table),
        counted=numbers.start_index_map,
        batched=[*zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)],
        free=[axis for axis in range(array.ndim) if axis not in fixed],
        across=numbers.offset_dims,
        sizes=params["slice_sizes"],
        mode=params["mode"] if fills else GatherScatterMode.CLIP,  # XLA clamps what is promised to lie inside
    )
    filling = graph.constant(np.asarray(params["fill_value"], array.flat[0].dtype)) if fills else None
    result = np.empty(shape, object)
    for place, source in windows.each(shape):
        result[place] = filling if source is None else array[source]
    return [result]


def _scattering(name: str | None) -> Callable:
    """The rule of an array with entries replaced, or combined with others by an operation."""

    def rule(graph, equation, array, table, updates):
        if name is None and equation.params["update_jaxpr"] is not None:
            return None
        result = array.copy()
        for place, target in _targets(equation.params, array, table, updates).each(updates.shape):
            if target is None:
                continue
            update = updates[place]
            if name is not None:
                update = graph.arithmetic(name, (result[target], update), update.dtype)
            result[target] = update
        return [result]

    return rule


def _targets(params, array, table, updates) -> _Windows:
    numbers = params["dimension_numbers"]
    fixed = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    free = [axis for axis in range(array.ndim) if axis not in fixed]
    sizes = [1] * array.ndim
    for axis, across in zip(free, numbers.update_window_dims, strict=True):
        sizes[axis] = updates.shape[across]
    return _Windows(
        shape=array.shape,
        table=_known(table),
        counted=numbers.scatter_dims_to_operand_dims,
        batched=[*zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)],
        free=free,
        across=numbers.update_window_dims,
        sizes=sizes,
        mode=params["mode"],
    )


def _window(graph, equation, array, *starts):
    """A slice whose start is known, clamped into the array."""
    return [array[_extent(array.shape, equation.params["slice_sizes"], starts)]]


def _updated(graph, equation, array, update, *starts):
    """An array with a slice replaced whose start is known, clamped into the array."""
    result = array.copy()
    result[_extent(array.shape, update.shape, starts)] = update
    return [result]


def _extent(shape, sizes, starts):
    firsts = [int(start[()].value) for start in starts]
    wrapped = zip(firsts, sizes, shape, strict=True)
    clamped = [min(max(first, 0), whole - size) for first, size, whole in wrapped]
    return tuple(slice(first, first + size) for first, size in zip(clamped, sizes, strict=True))


def _known(table) -> np.ndarray:
    """The numbers of a table of places."""
    return np.asarray([int(node.value) for node in table.flat]).reshape(table.shape)


# The rules, and which of the arguments must be known numbers.
PLACED: dict[str, tuple[Callable, slice]] = {
    "gather": (_gathered, slice(1, 2)),
    "scatter": (_scattering(None), slice(1, 2)),
    "scatter-add": (_scattering("add"), slice(1, 2)),
    "scatter-sub": (_scattering("sub"), slice(1, 2)),
    "scatter-mul": (_scattering("mul"), slice(1, 2)),
    "scatter-min": (_scattering("min"), slice(1, 2)),
    "scatter-max": (_scattering("max"), slice(1, 2)),
    "dynamic_slice": (_window, slice(1, None)),
    "dynamic_update_slice": (_updated, slice(2, None)),
}
