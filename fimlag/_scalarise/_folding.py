"""The values of operations on known numbers, computed when a program is read."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_UFUNCS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "square": np.square,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "ceil": np.ceil,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "is_finite": np.isfinite,
}
_INEXACT = {"div": np.divide, "pow": np.power}


def folded(name: str, params: dict, values: list, dtype):
    """The value of an operation whose arguments are all known, None where they are not or the operation is not."""
    if any(value is None for value in values):
        return None
    with np.errstate(all="ignore"):
        if name in _UFUNCS:
            return _UFUNCS[name](*values).astype(dtype)
        if name in _INEXACT and np.issubdtype(dtype, np.inexact):
            return _INEXACT[name](*values).astype(dtype)
        if name == "integer_pow" and np.issubdtype(dtype, np.inexact):
            return np.float_power(values[0], params["y"]).astype(dtype)
        if name == "convert_element_type":
            return _converted(values[0], dtype)
    return None


def _converted(value, dtype):
    """A number in another type: outside of the range of whole numbers, where numpy is free, as XLA has it."""
    if value.dtype.kind == "c" and dtype.kind != "c":
        value = value.real
    if dtype.kind not in "iu" or value.dtype.kind in "iub":
        return value.astype(dtype)
    if np.iinfo(dtype).min <= float(value) <= np.iinfo(dtype).max:
        return value.astype(dtype)
    with jax.ensure_compile_time_eval():
        return np.asarray(lax.convert_element_type(jnp.asarray(value), dtype))
