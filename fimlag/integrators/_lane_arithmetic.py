"""The arithmetic of numbers in lanes, where a kernel for a GPU has another of its own."""

from typing import NoReturn

import jax.numpy as jnp
from jax import lax

ELEMENTWISE = frozenset(
    [
        "abs",
        "acos",
        "acosh",
        "add",
        "add_any",
        "and",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "cbrt",
        "ceil",
        "convert_element_type",
        "cos",
        "cosh",
        "div",
        "eq",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "integer_pow",
        "is_finite",
        "le",
        "log",
        "log1p",
        "logistic",
        "lt",
        "mul",
        "ne",
        "nextafter",
        "not",
        "or",
        "pow",
        "rsqrt",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "square",
        "sub",
        "tan",
        "tanh",
        "xor",
    ]
)
"""Primitives that the Triton lowering of Pallas computes as jax does elsewhere."""


def _max(values, block):
    """The greater number, or NaN where either is: a GPU's own instruction drops it."""
    x, y = alike(values, block)
    if x.dtype == bool:
        return [x | y]
    return [jnp.where(x != x, x, jnp.where(y != y, y, lax.max(x, y)))]


def _min(values, block):
    """The smaller number, or NaN where either is."""
    x, y = alike(values, block)
    if x.dtype == bool:
        return [x & y]
    return [jnp.where(x != x, x, jnp.where(y != y, y, lax.min(x, y)))]


def _clamp(values, block):
    low, x, high = values
    return _min([*_max([low, x], block), high], block)


def _neg(values, block):
    """The negative, of zero too: a kernel's own subtracts from zero."""
    return [-1 * values[0]]


def select_n(values, block):
    """The case that each lane chooses: a kernel's own chooses between two."""
    which, *cases = alike(values, block)
    chosen = cases[0]
    for place, case in enumerate(cases[1:], 1):
        chosen = jnp.where(which if which.dtype == bool else which >= place, case, chosen)
    return [chosen]


def _round(values, block, rounding_method):
    """The nearest whole number, halves to the even one or away from zero."""
    (x,) = values
    size = jnp.abs(x)
    below = jnp.floor(size)
    rest = size - below
    odd = below * 0.5 != jnp.floor(below * 0.5)
    halves_up = odd if rounding_method == lax.RoundingMethod.TO_NEAREST_EVEN else jnp.full_like(odd, True)
    nearest = jnp.where((rest > 0.5) | ((rest == 0.5) & halves_up), below + 1, below)
    return [jnp.where(x < 0, -nearest, nearest)]


def _rem(values, block):
    x, y = alike(values, block)
    return [lax.rem(x, y)] if jnp.issubdtype(x.dtype, jnp.integer) else refuse("rem of floats")


ARITHMETIC = {
    "clamp": _clamp,
    "max": _max,
    "min": _min,
    "neg": _neg,
    "rem": _rem,
    "round": _round,
    "select_n": select_n,
}
"""Primitives that are computed by others: functions of their values, the lanes of a block and the parameters."""


def alike(values, block):
    """The values in one shape: that of all lanes where one has it."""
    return [spread(value, block) for value in values] if any(jnp.ndim(value) for value in values) else values


def spread(value, block: int):
    """A value as lanes, where they share it."""
    return value if jnp.ndim(value) else lax.full((block,), value, value.dtype)


def refuse(what: str) -> NoReturn:
    """Raise a `NotImplementedError` for what a kernel cannot compute."""
    raise NotImplementedError(f"A kernel has no {what}.")
