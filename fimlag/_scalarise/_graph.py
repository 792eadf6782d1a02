"""Programs as graphs of shared nodes, each a number or an array, simplified as they are made."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jax import lax
from jax.extend.core import Primitive

from fimlag._scalarise._algebra import COMMUTATIVE, rewritten
from fimlag._scalarise._folding import folded

_FUNCTIONS = {
    "add": lax.add,
    "sub": lax.sub,
    "mul": lax.mul,
    "div": lax.div,
    "neg": lax.neg,
    "abs": lax.abs,
    "sqrt": lax.sqrt,
    "max": lax.max,
    "min": lax.min,
    "and": lax.bitwise_and,
    "or": lax.bitwise_or,
    "gt": lax.gt,
    "select_n": lax.select_n,
}


class TooLargeError(Exception):
    """A program has too many operations to be worth writing out."""


class Node:
    """One value of a program: a number, or an array kept whole.

    **Attributes:** `operation`: what makes it of the values of `args`, None for an input or a constant; `shape`,
    `dtype`; `value`: of a constant, None for others; `level`: the loops that it is inside of; `order`: a node is made
    after its arguments.
    """

    __slots__ = ("args", "dtype", "level", "operation", "order", "shape", "value")

    def __init__(self, order, operation, args, shape, dtype, level, value=None):
        self.order, self.operation, self.args = order, operation, args
        self.shape, self.dtype, self.level, self.value = shape, dtype, level, value


class Apply(NamedTuple):
    """A primitive applied to numbers."""

    primitive: Primitive
    params: tuple

    def __call__(self, *values):
        return self.primitive.bind(*values, **dict(self.params))


class Arithmetic(NamedTuple):
    """An operation of arithmetic or logic, by the name of its primitive."""

    name: str

    def __call__(self, *values):
        return _FUNCTIONS[self.name](*values)


class Output(NamedTuple):
    """One of the values of a node that makes several."""

    place: int

    def __call__(self, values):
        return values[self.place]


class Graph:
    """The nodes of one program; equal operations on the same nodes are one node.

    **Attributes:** `limit`: of their number; `differentiable`: whether what is made of them has the derivatives of the
    program, custom rules and all; `read`: what loops, branches and operations on whole arrays have become.
    """

    def __init__(self, limit: int, differentiable: bool = False):
        self.limit, self.differentiable = limit, differentiable
        self.read: dict[Hashable, tuple] = {}
        self._nodes: dict[Hashable, Node] = {}
        self._count = 0

    def constant(self, value) -> Node:
        """The node of a known number or array."""
        value = np.asarray(value)
        key = "constant", value.dtype, value.shape, value.tobytes()
        return self._shared(key, None, (), value.shape, value.dtype, value)

    def input(self, shape, dtype, level: int) -> Node:
        """A node whose value is given when the program runs, at a level of loops."""
        return self._made(None, (), shape, dtype, level)

    def apply(self, primitive: Primitive, params: dict, args: Sequence[Node], dtype) -> Node:
        """A primitive of numbers, as simple as it can be had."""
        if primitive.name in _FUNCTIONS and all(value is None for value in params.values()):
            return self.arithmetic(primitive.name, args, dtype)
        known = folded(primitive.name, params, [arg.value for arg in args], dtype)
        if known is not None:
            return self.constant(known)
        simpler = rewritten(self, primitive.name, params, args, dtype)
        return (
            self.call(Apply(primitive, tuple(sorted(params.items()))), args, (), dtype) if simpler is None else simpler
        )

    def arithmetic(self, name: str, args: Sequence[Node], dtype) -> Node:
        """An operation of arithmetic or logic, as simple as it can be had."""
        known = folded(name, {}, [arg.value for arg in args], dtype)
        if known is not None:
            return self.constant(known)
        simpler = rewritten(self, name, {}, args, dtype)
        return self.plain(name, args, dtype) if simpler is None else simpler

    def plain(self, name: str, args: Sequence[Node], dtype) -> Node:
        """An operation of arithmetic or logic as it is."""
        args = sorted(args, key=lambda arg: arg.order) if name in COMMUTATIVE else args
        return self.call(Arithmetic(name), args, (), dtype)

    def call(self, operation: Callable, args: Sequence[Node], shape, dtype, level: int = 0) -> Node:
        """Any operation on nodes, at a level or above it."""
        args = tuple(args)
        key = operation, tuple(arg.order for arg in args)
        return self._shared(key, operation, args, tuple(shape), dtype, level=level)

    def outputs(self, node: Node, avals: Iterable) -> list[Node]:
        """The values of a node that makes several, of given shapes and types."""
        return [self.call(Output(place), (node,), aval.shape, aval.dtype) for place, aval in enumerate(avals)]

    def _shared(self, key, operation, args, shape, dtype, value=None, level=0) -> Node:
        node = self._nodes.get(key)
        if node is None:
            level = max((level, *(arg.level for arg in args)))
            node = self._nodes[key] = self._made(operation, args, shape, dtype, level, value)
        return node

    def _made(self, operation, args, shape, dtype, level, value=None) -> Node:
        self._count += 1
        if self._count > self.limit:
            raise TooLargeError
        return Node(self._count, operation, args, shape, dtype, level, value)


def live(outputs: Iterable[Node], level: int) -> tuple[list[Node], list[Node]]:
    """`(inside, frontier)`: the nodes that outputs need above a level, in order, and what these need from below it.

    Constants are on neither list.
    """
    seen: dict[int, Node] = {}
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node.order not in seen and node.value is None:
            seen[node.order] = node
            stack.extend(node.args if node.level > level else ())
    nodes = [seen[order] for order in sorted(seen)]
    return [node for node in nodes if node.level > level], [node for node in nodes if node.level <= level]
