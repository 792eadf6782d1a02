"""Operations on small arrays of nodes: what moves entries about, and what combines them."""

import itertools
from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

# fmt: off
ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "cbrt", "ceil", "clamp", "complex", "conj", "convert_element_type", "cos", "cosh", "digamma", "div",
    "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igamma_grad_a", "igammac",
    "imag", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne",
    "neg", "nextafter", "not", "or", "polygamma", "population_count", "pow", "real", "reduce_precision",
    "regularized_incomplete_beta", "rem", "round", "rsqrt", "select_n", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor", "zeta",
}
# fmt: on


def elementwise(graph, equation, *arrays) -> list[np.ndarray]:
    """A primitive entry by entry; scalars go with every entry."""
    aval = equation.outvars[0].aval
    result = np.empty(aval.shape, object)
    arrays = [np.broadcast_to(array, aval.shape) for array in arrays]
    for place in np.ndindex(aval.shape):
        entries = [array[place] for array in arrays]
        result[place] = graph.apply(equation.primitive, equation.params, entries, aval.dtype)
    return [result]


def _reshaped(graph, equation, array, *_):
    return [array.reshape(equation.outvars[0].aval.shape)]


def _broadcast(graph, equation, array, *_):
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    aligned = [1] * len(shape)
    for place, size in zip(places, array.shape, strict=True):
        aligned[place] = size
    return [np.broadcast_to(array.reshape(aligned), shape)]


def _transposed(graph, equation, array):
    return [array.transpose(equation.params["permutation"])]


def _reversed(graph, equation, array):
    return [np.flip(array, equation.params["dimensions"])]


def _concatenated(graph, equation, *arrays):
    return [np.concatenate(arrays, equation.params["dimension"])]


def _stacked(graph, equation, *arrays):
    return [np.stack(arrays, equation.params["axis"])]


def _sliced(graph, equation, array):
    starts, limits = equation.params["start_indices"], equation.params["limit_indices"]
    strides = equation.params["strides"] or [1] * array.ndim
    return [array[tuple(map(slice, starts, limits, strides))]]


def _split(graph, equation, array):
    places = np.cumsum(equation.params["sizes"])[:-1]
    return np.split(array, places, equation.params["axis"])


def _unstacked(graph, equation, array):
    return [array.take(place, equation.params["axis"]) for place in range(array.shape[equation.params["axis"]])]


def _tiled(graph, equation, array):
    return [np.tile(array, equation.params["reps"])]


def _padded(graph, equation, array, filling):
    """With edges of either sign, and a filling between entries."""
    result = np.full(equation.outvars[0].aval.shape, filling[()], object)
    for place in np.ndindex(array.shape):
        config = zip(place, equation.params["padding_config"], strict=True)
        target = tuple(low + index * (1 + between) for index, (low, _, between) in config)
        if all(0 <= index < size for index, size in zip(target, result.shape, strict=True)):
            result[target] = array[place]
    return [result]


def _counted(graph, equation):
    aval, axis = equation.outvars[0].aval, equation.params["dimension"]
    numbers = np.arange(aval.shape[axis]).astype(aval.dtype)
    along = [1] * len(aval.shape)
    along[axis] = -1
    return [constants(graph, np.broadcast_to(numbers.reshape(along), aval.shape))]


def _gathered(graph, equation, array, places):
    numbers = np.arange(array.size, dtype=np.int32).reshape(array.shape)
    taken = _evaluated(equation, numbers, _known(equation, places))
    missing = graph.constant(np.asarray(np.nan if np.issubdtype(_dtype(array), np.inexact) else 0, _dtype(array)))
    return [np.append(array.ravel(), [missing])[np.where(taken < 0, array.size, taken)]]


def _scattered(graph, equation, array, places, updates):
    """An array with entries replaced, or added to where no entry is met twice."""
    numbers = np.arange(array.size + updates.size, dtype=np.int32)
    kept, given = numbers[: array.size].reshape(array.shape), numbers[array.size :].reshape(updates.shape)
    if equation.primitive.name == "scatter":
        entries = np.append(array.ravel(), updates.ravel())
        return [entries[_evaluated(equation, kept, _known(equation, places), given)]]
    zeros, ones = np.zeros(array.shape, _dtype(array)), np.ones(updates.shape, _dtype(array))
    hits = _evaluated(equation, zeros, _known(equation, places), ones)
    which = _evaluated(equation, zeros, _known(equation, places), given.astype(zeros.dtype))
    if np.any(hits > 1):
        return None
    result = array.copy()
    for place in zip(*np.nonzero(hits), strict=True):
        update = updates.flat[int(which[place]) - array.size]
        result[place] = graph.arithmetic("add", (array[place], update), update.dtype)
    return [result]


def _evaluated(equation, *arrays):
    """What an equation does to numbers, computed here and now."""
    with jax.ensure_compile_time_eval():
        return np.asarray(equation.primitive.bind(*map(jnp.asarray, arrays), **equation.params))


def _known(equation, places):
    """The places that a gather or scatter is given."""
    numbers = [node.value for node in places.flat]
    return np.asarray(numbers, equation.invars[1].aval.dtype).reshape(places.shape)


def _dtype(array):
    return array.flat[0].dtype


def _window(graph, equation, array, *starts):
    """A slice whose start is known, clamped into the array."""
    return [array[_place(array.shape, equation.params["slice_sizes"], starts)]]


def _updated(graph, equation, array, update, *starts):
    """An array with a slice replaced whose start is known, clamped into the array."""
    result = array.copy()
    result[_place(array.shape, update.shape, starts)] = update
    return [result]


def _place(shape, sizes, starts):
    firsts = [int(start[()].value) for start in starts]
    wrapped = zip(firsts, sizes, shape, strict=True)
    clamped = [min(max(first, 0), whole - size) for first, size, whole in wrapped]
    return tuple(slice(first, first + size) for first, size in zip(clamped, sizes, strict=True))


def _reduction(name: str, empty) -> Callable:
    def rule(graph, equation, array):
        aval, axes = equation.outvars[0].aval, equation.params["axes"]
        kept = [axis for axis in range(array.ndim) if axis not in axes]
        rows = array.transpose([*kept, *axes]).reshape((*aval.shape, -1))
        result = np.empty(aval.shape, object)
        for place in np.ndindex(aval.shape):
            result[place] = _accumulated(graph, name, rows[place], aval.dtype, empty)
        return [result]

    return rule


def _accumulated(graph, name, entries, dtype, empty):
    if len(entries) == 0:
        return graph.constant(np.asarray(empty, dtype))
    return reduce(lambda total, entry: graph.arithmetic(name, (total, entry), dtype), entries)


def _cumulation(name: str) -> Callable:
    def rule(graph, equation, array):
        axis, back = equation.params["axis"], equation.params["reverse"]
        rows = np.moveaxis(array[...], axis, -1)
        rows = rows[..., ::-1] if back else rows
        result = np.empty(rows.shape, object)
        for place in np.ndindex(rows.shape[:-1]):
            result[place] = list(
                itertools.accumulate(
                    rows[place], lambda total, entry: graph.arithmetic(name, (total, entry), array.flat[0].dtype)
                )
            )
        result = result[..., ::-1] if back else result
        return [np.moveaxis(result, -1, axis)]

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
        result[batch, i, j] = _accumulated(graph, "add", terms, aval.dtype, 0)
    return [result.reshape(aval.shape)]


def _rows(array, batch, over):
    """An array as (batch, rows, contracted)."""
    free = [axis for axis in range(array.ndim) if axis not in batch and axis not in over]
    sizes = [int(np.prod([array.shape[axis] for axis in axes])) for axes in (batch, free, over)]
    return array.transpose([*batch, *free, *over]).reshape(sizes)


RULES: dict[str, Callable] = {
    "reshape": _reshaped,
    "squeeze": _reshaped,
    "broadcast_in_dim": _broadcast,
    "transpose": _transposed,
    "rev": _reversed,
    "concatenate": _concatenated,
    "stack": _stacked,
    "slice": _sliced,
    "split": _split,
    "unstack": _unstacked,
    "tile": _tiled,
    "pad": _padded,
    "iota": _counted,
    "reduce_sum": _reduction("add", 0),
    "reduce_prod": _reduction("mul", 1),
    "reduce_max": _reduction("max", -np.inf),
    "reduce_min": _reduction("min", np.inf),
    "reduce_and": _reduction("and", True),
    "reduce_or": _reduction("or", False),
    "cumsum": _cumulation("add"),
    "cumprod": _cumulation("mul"),
    "cummax": _cumulation("max"),
    "cummin": _cumulation("min"),
    "dot_general": _contracted,
    "gather": _gathered,
    "scatter": _scattered,
    "scatter-add": _scattered,
    "dynamic_slice": _window,
    "dynamic_update_slice": _updated,
}


# Which arguments of a rule must be known numbers.
PLACES: dict[str, slice] = {
    "gather": slice(1, 2),
    "scatter": slice(1, 2),
    "scatter-add": slice(1, 2),
    "dynamic_slice": slice(1, None),
    "dynamic_update_slice": slice(2, None),
}


def constants(graph, array: np.ndarray) -> np.ndarray:
    """The nodes of an array of known numbers."""
    result = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        result[place] = graph.constant(array[place])
    return result
