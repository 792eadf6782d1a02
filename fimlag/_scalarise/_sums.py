"""Operations that combine the entries of small arrays: sums and the like along axes, and contractions."""

import itertools
from collections.abc import Callable
from functools import reduce

import numpy as np


def _reduction(name: str) -> Callable:
    def rule(graph, equation, array):
        aval, axes = equation.outvars[0].aval, equation.params["axes"]
        kept = [axis for axis in range(array.ndim) if axis not in axes]
        rows = array.transpose([*kept, *axes]).reshape((*aval.shape, -1))
        result = np.empty(aval.shape, object)
        for place in np.ndindex(aval.shape):
            result[place] = _accumulated(graph, name, rows[place], aval.dtype)
        return [result]

    return rule


def _accumulated(graph, name, entries, dtype):
    return reduce(lambda total, entry: graph.arithmetic(name, (total, entry), dtype), entries)


def _cumulation(name: str) -> Callable:
    def rule(graph, equation, array):
        axis, back, dtype = equation.params["axis"], equation.params["reverse"], equation.outvars[0].aval.dtype
        rows = np.moveaxis(np.flip(array, axis) if back else array, axis, -1)
        result = np.empty(rows.shape, object)
        for place in np.ndindex(rows.shape[:-1]):
            totals = itertools.accumulate(rows[place], lambda *pair: graph.arithmetic(name, pair, dtype))
            result[place] = list(totals)
        result = np.moveaxis(result, -1, axis)
        return [np.flip(result, axis) if back else result]

    return rule


def _contracted(graph, equation, left, right):
    """dot_general, its sums taken in the order of the entries."""
    (over_left, over_right), (batch_left, batch_right) = equation.params["dimension_numbers"]
    aval = equation.outvars[0].aval
    left, right = _rows(left, batch_left, over_left), _rows(right, batch_right, over_right)
    result = np.empty((left.shape[0], left.shape[1], right.shape[1]), object)
    for batch, i, j in np.ndindex(result.shape):
        pairs = zip(left[batch, i], right[batch, j], strict=True)
        terms = [graph.arithmetic("mul", pair, aval.dtype) for pair in pairs]
        result[batch, i, j] = _accumulated(graph, "add", terms, aval.dtype)
    return [result.reshape(aval.shape)]


def _rows(array, batch, over):
    """An array as (batch, rows, contracted)."""
    free = [axis for axis in range(array.ndim) if axis not in batch and axis not in over]
    sizes = [int(np.prod([array.shape[axis] for axis in axes])) for axes in (batch, free, over)]
    return array.transpose([*batch, *free, *over]).reshape(sizes)


COMBINATIONS: dict[str, Callable] = {
    "reduce_sum": _reduction("add"),
    "reduce_prod": _reduction("mul"),
    "reduce_max": _reduction("max"),
    "reduce_min": _reduction("min"),
    "reduce_and": _reduction("and"),
    "reduce_or": _reduction("or"),
    "cumsum": _cumulation("add"),
    "cumprod": _cumulation("mul"),
    "cummax": _cumulation("max"),
    "cummin": _cumulation("min"),
    "dot_general": _contracted,
}
