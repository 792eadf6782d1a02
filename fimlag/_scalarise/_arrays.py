"""Operations on small arrays of nodes, entry by entry, and those that move entries about."""

from collections.abc import Callable

import numpy as np

# fmt: off
ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "cbrt", "ceil", "clamp", "complex", "conj", "convert_element_type", "cos", "cosh", "digamma", "div",
    "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igamma_grad_a", "igammac",
    "imag", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne",
    "neg", "nextafter", "not", "or", "polygamma", "population_count", "pow", "real", "reduce_precision",
    "regularized_incomplete_beta", "rem", "round", "rsqrt", "select_n", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan",
    "tanh", "xor", "zeta",
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


MOVES: dict[str, Callable] = {
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
}


def constants(graph, array: np.ndarray) -> np.ndarray:
    """The nodes of an array of known numbers."""
    result = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        result[place] = graph.constant(array[place])
    return result
