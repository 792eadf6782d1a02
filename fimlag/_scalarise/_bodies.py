"""Loops and branches of scalar code, as they run."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fimlag._one_function import in_one_function
from fimlag._scalarise._graph import Node, live

_HEAVIEST = 3000  # the most operations in one function: beyond, compiling takes longer than it saves


class Body:
    """A part of a program inside a loop, as a function of its inputs and of nodes from outside."""

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node], level: int):
        self.inputs, self.outputs = inputs, outputs
        inside, self.outside = live(outputs, level - 1)
        self.inside = [node for node in inside if node.operation is not None]

    def __call__(self, outside: dict, *values) -> list:
        known = dict(outside)
        known.update((node.order, value) for node, value in zip(self.inputs, values, strict=True))
        return evaluated(self.inside, self.outputs, known)


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

    def __call__(self, *values):
        outside, carry = _split(self.outside, values)
        return lax.while_loop(
            lambda carry: self.condition(outside, *carry)[0], lambda carry: self.body(outside, *carry), carry
        )


class Scan:
    """A loop over rows of numbers."""

    def __init__(self, body: Body, carried: int, length: int, reverse: bool):
        self.body, self.carried, self.length, self.reverse = body, carried, length, reverse
        self.bodies, self.outside = (body,), body.outside

    def __call__(self, *values):
        outside, rest = _split(self.outside, values)

        def step(carry, row):
            results = self.body(outside, *carry, *row)
            return results[: self.carried], results[self.carried :]

        carry, rows = rest[: self.carried], rest[self.carried :]
        carry, rows = lax.scan(step, carry, rows, length=self.length, reverse=self.reverse)
        return [*carry, *rows]


class Switch:
    """One of several branches, chosen by a number, or by the platform where they are each for some."""

    def __init__(self, branches: Sequence[Body], platforms: Sequence[Sequence[str] | None] | None):
        self.branches, self.bodies, self.platforms = branches, branches, platforms
        self.outside = _joined(*branches)

    def __call__(self, *values):
        outside, (which, *operands) = _split(self.outside, values)
        branches = [lambda *values, branch=branch: branch(outside, *values) for branch in self.branches]
        if self.platforms is None:
            return lax.switch(which, branches, *operands)
        pairs = zip(self.platforms, branches, strict=True)
        named = {name: branch for names, branch in pairs for name in names or ["default"]}
        return lax.platform_dependent(*operands, **named)


class Recomputed:
    """A part whose values are computed anew, not stored, where it is differentiated in reverse."""

    def __init__(self, body: Body, params: dict):
        self.body, self.bodies, self.params, self.outside = body, (body,), params, body.outside

    def __call__(self, *values):
        outside, given = _split(self.outside, values)
        kept = {name: self.params[name] for name in ("prevent_cse", "policy")}
        return jax.checkpoint(lambda outside, *given: self.body(outside, *given), **kept)(outside, *given)


def weight(operation) -> float:
    """The number of operations inside one; infinite where it may call the routines of a library, which lie outside of
    any function of the compiler."""
    if not isinstance(operation, While | Scan | Switch | Recomputed):
        return 1.0 if getattr(operation, "written", True) else math.inf
    return 1.0 + sum(weight(node.operation) for body in operation.bodies for node in body.inside)


def evaluated(nodes: Sequence[Node], outputs: Sequence[Node], known: dict, wholly: bool = False) -> list:
    """The values of outputs, after computing nodes in order from what is known of inputs and of earlier nodes.

    Loops that are not too heavy are compiled `wholly`, each as one function, where this is asked for.
    """

    def value(node):
        return node.value if node.value is not None else known[node.order]

    for node in nodes:
        values = map(value, node.args)
        loops = isinstance(node.operation, While | Scan)
        whole = wholly and loops and weight(node.operation) <= _HEAVIEST
        known[node.order] = in_one_function(node.operation, *values) if whole else node.operation(*values)
    return [value(node) for node in outputs]


def _joined(*bodies: Body) -> list[Node]:
    nodes = {node.order: node for body in bodies for node in body.outside}
    return [nodes[order] for order in sorted(nodes)]


def _split(outside: Sequence[Node], values) -> tuple[dict, list]:
    known = {node.order: value for node, value in zip(outside, values, strict=False)}
    return known, list(values[len(outside) :])
