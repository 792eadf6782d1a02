"""What the formulas of a function tell of its outputs, whatever its arguments are."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fimlag._scalarise._graph import Graph, Node, TooLargeError
from fimlag._scalarise._program import Program
from fimlag._scalarise._values import UnreadableError, loose, small


class Entry(NamedTuple):
    """One number of an output.

    **Attributes:** `value`: where the formulas fold to a known number, else None; `arguments`: the numbers of the
    arguments that it may depend on.
    """

    value: np.ndarray | None
    arguments: frozenset[int]


def entries_of(function: Callable, *arguments, limit: int = 20_000) -> list[np.ndarray] | None:
    """The outputs of a function as arrays of `Entry`, None where nothing can be told.

    **Arguments:** `function`: of arrays, one leaf each; `arguments`: examples of them, of which only shapes and types
    count; `limit`: of the operations read.
    """
    program, graph = Program(jax.make_jaxpr(function)(*arguments), limit), Graph(limit)
    places: dict[int, int] = {}
    inputs = []
    for number, argument in enumerate(arguments):
        value = graph.input(np.shape(argument), jnp.result_type(argument), 0)
        places[value.order] = number
        inputs.append(value)
    parameters = [graph.input(np.shape(const), jnp.result_type(const), 0) for const in program.unknown]
    try:
        outputs = program.read(graph, [*parameters, *inputs])
    except (TooLargeError, UnreadableError):
        return None
    if not all(map(small, outputs)):
        return None
    reached = _Reached(places)
    return [_each(loose(graph, output), lambda node: Entry(node.value, reached.by(node))) for output in outputs]


class _Reached:
    """The arguments that nodes depend on."""

    def __init__(self, places: dict[int, int]):
        self.places = places

    def by(self, node: Node) -> frozenset[int]:
        seen, stack, found = set(), [node], set()
        while stack:
            each = stack.pop()
            if each.order in seen:
                continue
            seen.add(each.order)
            stack.extend(each.args)
            if each.order in self.places:
                found.add(self.places[each.order])
        return frozenset(found)


def _each(array: np.ndarray, function: Callable) -> np.ndarray:
    result = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        result[place] = function(array[place])
    return result
