"""What an operation on numbers simplifies to: structural zeros and ones, signs and powers of two.

A product with a structural zero, a quotient of one, and a difference of equal terms are zero, infinity and NaN
included. A product of reciprocals is one, and what is divided by a reciprocal is multiplied: fewer roundings, and
overflow elsewhere. Everything else gives the number that the operation as written gives, but for the sign of zero, for
numbers within a factor of 2^16 of overflow or underflow, where powers of two have moved past each other, and for powers
with half-integer exponents, which are products of square roots.
"""

import math
from collections.abc import Sequence

import numpy as np

from fimlag._scalarise._powers import HalfPower

COMMUTATIVE = {"add", "mul", "max", "min", "and", "or", "xor", "eq", "ne"}
IDENTITIES = {"copy", "copy_p", "name"}

_HIGHEST = 16  # the highest power written as products
_EXPONENT = 8  # of the largest power of two that moves out of products: several together overflow no type of 32 bits


def rewritten(graph, name: str, params: dict, args: Sequence, dtype):
    """The node of an operation in simpler form, None where the operation is simple as it is."""
    real = np.issubdtype(dtype, np.floating) and dtype.itemsize >= 4
    special = _REAL if real else _LOGICAL if dtype.kind == "b" else {}
    rule = special.get(name) or _ANY.get(name)
    return None if rule is None else rule(graph, params, dtype, *args)


def _product(graph, params, dtype, a, b):
    if _is(a, 0) or _is(b, 0):
        return graph.constant(np.zeros((), dtype))
    (by, a), (and_by, b) = _parted(a), _parted(b)
    if a is None or b is None:
        return _scaled(graph, by * and_by, a if b is None else b, dtype)
    if _is_reciprocal(a) and _is_reciprocal(b):
        below = graph.arithmetic("mul", (a.args[1], b.args[1]), dtype)
        return _scaled(graph, by * and_by, graph.arithmetic("div", (a.args[0], below), dtype), dtype)
    if a.value is not None:
        a, b = b, a
    if b.value is not None:
        known = _times(by * and_by, b.value)
        return None if known is None else graph.plain("mul", (a, graph.constant(known)), dtype)
    return _scaled(graph, by * and_by, graph.plain("mul", (a, b), dtype), dtype)


def _quotient(graph, params, dtype, a, b):
    if _is(a, 0):
        return a
    (by, a), (through, b) = _parted(a), _parted(b)
    if b is None:
        return _scaled(graph, by / through, a, dtype)
    if _is_reciprocal(b):
        above = b.args[1] if a is None else graph.arithmetic("mul", (a, b.args[1]), dtype)
        return _scaled(graph, by / through, above, dtype)
    a = graph.constant(np.ones((), dtype)) if a is None else a
    return _scaled(graph, by / through, graph.plain("div", (a, b), dtype), dtype)


def _sum(graph, params, dtype, a, b):
    return _combined(graph, dtype, a, 1.0, b)


def _difference(graph, params, dtype, a, b):
    return _combined(graph, dtype, a, -1.0, b)


def _combined(graph, dtype, a, sign, b):
    """a + sign b."""
    if _is(b, 0):
        return a
    if _is(a, 0):
        return _scaled(graph, sign, b, dtype)
    (by, a), (and_by, b) = _signed(a), _signed(b)
    and_by = sign * and_by
    if a is b:
        total = by + and_by
        zero = graph.constant(np.zeros((), dtype))
        return zero if total == 0 else graph.arithmetic("mul", (graph.constant(np.asarray(total, dtype)), a), dtype)
    if abs(by) != abs(and_by):
        a, b = _scaled(graph, abs(by), a, dtype), _scaled(graph, abs(and_by), b, dtype)
        by, and_by = math.copysign(1.0, by), math.copysign(1.0, and_by)
    if by == and_by:
        return _scaled(graph, by, graph.plain("add", (a, b), dtype), dtype)
    first, second = (a, b) if by > 0 else (b, a)
    return _scaled(graph, abs(by), graph.plain("sub", (first, second), dtype), dtype)


def _negative(graph, params, dtype, a):
    by, a = _signed(a)
    if a.operation == ("sub",):
        return _scaled(graph, by, graph.plain("sub", a.args[::-1], dtype), dtype)
    return _scaled(graph, -by, a, dtype)


def _power(graph, params, dtype, a, exponent: int | None = None):
    exponent = params["y"] if exponent is None else exponent
    if abs(exponent) > _HIGHEST:
        return None
    one = graph.constant(np.ones((), dtype))
    result, square, left = one, a, abs(exponent)
    while left:
        if left % 2:
            result = graph.arithmetic("mul", (result, square), dtype)
        left //= 2
        square = graph.arithmetic("mul", (square, square), dtype) if left else square
    return result if exponent >= 0 else graph.arithmetic("div", (one, result), dtype)


def _real_power(graph, params, dtype, a, exponent):
    if exponent.value is None or abs(exponent.value) > _HIGHEST / 2 or 2 * exponent.value % 1 != 0:
        return None
    whole, half = divmod(abs(float(exponent.value)), 1)
    if half and graph.differentiable:
        return graph.call(HalfPower(int(2 * exponent.value)), (a,), (), dtype)
    result = _power(graph, params, dtype, a, int(whole))
    if half:
        root = graph.arithmetic("sqrt", (a,), dtype)
        result = graph.arithmetic("mul", (result, root), dtype)
    one = graph.constant(np.ones((), dtype))
    return result if exponent.value >= 0 else graph.arithmetic("div", (one, result), dtype)


def _square(graph, params, dtype, a):
    return graph.arithmetic("mul", (a, a), dtype)


def _select(graph, params, dtype, which, *cases):
    if which.value is not None:
        return cases[int(which.value)]
    return cases[0] if all(case is cases[0] for case in cases) else None


def _converted(graph, params, dtype, a):
    return a if a.dtype == dtype else None


def _held(graph, params, dtype, a):
    return a if a.value is not None or not graph.differentiable else None


def _neutral(neutral, absorbing=None):
    """The rule of an operation with a neutral element, and perhaps one that decides alone."""

    def rule(graph, params, dtype, a, b):
        for known, other in ((a, b), (b, a)):
            if _is(known, neutral):
                return other
            if absorbing is not None and _is(known, absorbing):
                return known
        return None

    return rule


def _larger_or_smaller(graph, params, dtype, a, b):
    return a if a is b else None


_REAL = {
    "mul": _product,
    "div": _quotient,
    "add": _sum,
    "add_any": _sum,
    "sub": _difference,
    "neg": _negative,
    "integer_pow": _power,
    "square": _square,
    "pow": _real_power,
}
_LOGICAL = {
    "and": _neutral(True, False),
    "or": _neutral(False, True),
}
_ANY = {
    "mul": _neutral(1, 0),
    "add": _neutral(0),
    "max": _larger_or_smaller,
    "min": _larger_or_smaller,
    "select_n": _select,
    "convert_element_type": _converted,
    "stop_gradient": _held,
}


def _is_reciprocal(node) -> bool:
    return node.operation == ("div",) and _is(node.args[0], 1)


def _is(node, number) -> bool:
    return node.value is not None and bool(node.value == number)


def _parted(node):
    """`(factor, core)` of a product: the factor a power of two with its sign, the core None for the number one."""
    if node.value is not None and _is_power_of_two(node.value):
        return float(node.value), None
    return _signed(node)


def _signed(node):
    """`(factor, core)` with the factor a power of two with its sign, and the core what it multiplies."""
    if node.operation == ("neg",):
        return -1.0, node.args[0]
    if node.operation == ("mul",):
        for known, other in (node.args, node.args[::-1]):
            if known.value is not None and _is_power_of_two(known.value):
                return float(known.value), other
    return 1.0, node


def _times(factor: float, value):
    """A power of two times a known number, None where the type does not hold it."""
    with np.errstate(all="ignore"):
        scaled = np.asarray(factor * value, value.dtype)
        return scaled if scaled / factor == value else None


def _is_power_of_two(value) -> bool:
    mantissa, exponent = math.frexp(float(value))
    return abs(mantissa) == 0.5 and abs(exponent) <= _EXPONENT


def _scaled(graph, factor: float, core, dtype):
    """A power of two, with its sign, times a node; None for the number one."""
    if core is None:
        return graph.constant(np.asarray(factor, dtype))
    if core.value is not None:
        return graph.constant(np.asarray(factor * core.value, dtype))
    by, core = _signed(core)
    factor = by * factor
    if factor == -1:
        return graph.plain("neg", (core,), dtype)
    return core if factor == 1 else graph.plain("mul", (core, graph.constant(np.asarray(factor, dtype))), dtype)
