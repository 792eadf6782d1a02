"""Loops and branches of scalar code, as they run."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fimlag._one_function import alone_in_one_function, in_one_function
from fimlag._scalarise._graph import Node, live
from fimlag._scalarise._whole import Whole

_HEAVIEST = 3000  # the most operations in one function: beyond, compiling takes longer than it saves
_LARGEST = 16384  # the most entries of an array there: with twice as many, the compiler lets threads share its copies


def as_it_is(operation: Callable) -> Callable:
    """The form of an operation that suits any place."""
    return operation


class Body:
    """A part of a program inside a loop, as a function of its inputs and of nodes from outside.

    Its operations are computed in a `form`: what this makes of each is called with the values.
    """

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node], level: int):
        self.inputs, self.outputs = inputs, outputs
        inside, self.outside = live(outputs, level - 1)
        self.inside = [node for node in inside if node.operation is not None]

    def __call__(self, outside: dict, *values, form: Callable = as_it_is) -> list:
        known = dict(outside)
        known.update((node.order, value) for node, value in zip(self.inputs, values, strict=True))
        return evaluated(self.inside, self.outputs, known, form)


class Column(NamedTuple):
    """The numbers at one place of the arrays on the first axis, or these whole."""

    place: tuple[int, ...]

    def __call__(self, array):
        ends = [index + 1 for index in self.place]
        return lax.reshape(lax.slice(array, (0, *self.place), (array.shape[0], *ends)), (array.shape[0],))


class Rows(NamedTuple):
    """Columns put together into an array with rows on the first axis."""

    shape: tuple[int, ...]

    def __call__(self, *columns):
        return lax.reshape(jnp.stack(columns, axis=1), self.shape)


class While:
    """A loop until a condition fails."""

    def __init__(self, condition: Body, body: Body):
        self.condition, self.body, self.bodies = condition, body, (condition, body)
        self.outside = _joined(condition, body)

    def __call__(self, *values, form: Callable = as_it_is):
        outside, carry = _split(self.outside, values)
        return lax.while_loop(
            lambda carry: self.condition(outside, *carry, form=form)[0],
            lambda carry: self.body(outside, *carry, form=form),
            carry,
        )


class Scan:
    """A loop over rows of numbers."""

    def __init__(self, body: Body, carried: int, length: int, reverse: bool):
        self.body, self.carried, self.length, self.reverse = body, carried, length, reverse
        self.bodies, self.outside = (body,), body.outside

    def __call__(self, *values, form: Callable = as_it_is):
        outside, rest = _split(self.outside, values)

        def step(carry, row):
            results = self.body(outside, *carry, *row, form=form)
            return results[: self.carried], results[self.carried :]

        carry, rows = rest[: self.carried], rest[self.carried :]
        carry, rows = lax.scan(step, carry, rows, length=self.length, reverse=self.reverse)
        return [*carry, *rows]


class Switch:
    """One of several branches, chosen by a number, or by the platform where they are each for some."""

    def __init__(self, branches: Sequence[Body], platforms: Sequence[Sequence[str] | None] | None):
        self.branches, self.bodies, self.platforms = branches, branches, platforms
        self.outside = _joined(*branches)

    def __call__(self, *values, form: Callable = as_it_is):
        outside, (which, *operands) = _split(self.outside, values)
        branches = [lambda *values, branch=branch: branch(outside, *values, form=form) for branch in self.branches]
        if self.platforms is None:
            return lax.switch(which, branches, *operands)
        pairs = zip(self.platforms, branches, strict=True)
        named = {name: branch for names, branch in pairs for name in names or ["default"]}
        return lax.platform_dependent(*operands, **named)


class Recomputed:
    """A part whose values are computed anew, not stored, where it is differentiated in reverse."""

    def __init__(self, body: Body, params: dict):
        self.body, self.bodies, self.params, self.outside = body, (body,), params, body.outside

    def __call__(self, *values, form: Callable = as_it_is):
        outside, given = _split(self.outside, values)
        kept = {name: self.params[name] for name in ("prevent_cse", "policy")}
        return jax.checkpoint(lambda outside, *given: self.body(outside, *given, form=form), **kept)(outside, *given)


_Structured = While | Scan | Switch | Recomputed


def weight(operation: Callable, of_arrays: float = math.inf) -> float:
    """The number of operations inside one, those on whole arrays that the compiler writes out weighted.

    It is infinite where the routines of a library may be called, or threads, which lie outside of any function of the
    compiler.
    """
    if isinstance(operation, Whole):
        return of_arrays if operation.written else math.inf
    if not isinstance(operation, _Structured):
        return 1.0
    values = [node for body in operation.bodies for node in (*body.inputs, *body.inside)]
    if any(math.prod(node.shape) > _LARGEST for node in values):
        return math.inf
    return 1.0 + sum(weight(node.operation, of_arrays) for body in operation.bodies for node in body.inside)


def with_whole_loops(operation: Callable) -> Callable:
    """The form of an operation outside of loops: a loop that is not too heavy is compiled as one function.

    Where it has arrays it is so outside of `vmap` alone, under which they would grow.
    """
    if not isinstance(operation, While | Scan):
        return operation
    if weight(operation) <= _HEAVIEST:
        return partial(in_one_function, operation)
    if weight(operation, of_arrays=1.0) <= _HEAVIEST:
        return partial(alone_in_one_function, _written(operation), operation)
    return operation


def evaluated(nodes: Sequence[Node], outputs: Sequence[Node], known: dict, form: Callable = as_it_is) -> list:
    """The values of outputs, after computing nodes in order from what is known of inputs and of earlier nodes."""

    def value(node):
        return node.value if node.value is not None else known[node.order]

    for node in nodes:
        known[node.order] = form(node.operation)(*map(value, node.args))
    return [value(node) for node in outputs]


def _written(operation: Callable) -> Callable:
    """The form of an operation inside one function, its arrays as the compiler writes them out."""
    if isinstance(operation, _Structured):
        return partial(operation, form=_written)
    return (operation.written or operation) if isinstance(operation, Whole) else operation


def _joined(*bodies: Body) -> list[Node]:
    nodes = {node.order: node for body in bodies for node in body.outside}
    return [nodes[order] for order in sorted(nodes)]


def _split(outside: Sequence[Node], values) -> tuple[dict, list]:
    known = {node.order: value for node, value in zip(outside, values, strict=False)}
    return known, list(values[len(outside) :])
