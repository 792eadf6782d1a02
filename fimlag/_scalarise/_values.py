"""Values of a program: small arrays taken apart into nodes, large ones whole."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from fimlag._scalarise._graph import Graph, Node

LARGEST = 64  # entries of an array that is taken apart

Value = np.ndarray | Node  # an array of nodes, or one node for an array kept whole


class UnreadableError(Exception):
    """A program does something that cannot be taken apart."""


class Held:
    """A value that comes with a program, but is no known number: a random key, or one that is traced outside."""

    def __init__(self, value):
        self.value = value

    def __call__(self):
        return self.value


class Packed(NamedTuple):
    """Numbers put into one array."""

    shape: tuple[int, ...]

    def __call__(self, *values):
        return lax.reshape(lax.concatenate([lax.reshape(jnp.asarray(value), (1,)) for value in values], 0), self.shape)


class Entry(NamedTuple):
    """One number of an array."""

    place: tuple[int, ...]

    def __call__(self, array):
        ends = [index + 1 for index in self.place]
        return lax.reshape(lax.slice(array, self.place, ends), ())


def small(value) -> bool:
    """Whether a value is taken apart: its size decides, and whether it holds numbers."""
    apart = isinstance(value, np.ndarray)
    return apart or (0 < int(np.prod(value.shape)) <= LARGEST and isinstance(value.dtype, np.dtype))


def is_known(value) -> bool:
    """Whether a value that comes with a program is known when the program is read."""
    return not isinstance(value, Tracer) and isinstance(jnp.result_type(value), np.dtype)


def constant(graph: Graph, array) -> Value:
    """An array that comes with a program."""
    if not is_known(array):
        return graph.call(Held(array), (), array.shape, array.dtype)
    whole = graph.constant(np.asarray(array))
    return loose(graph, whole) if small(whole) else whole


def loose(graph: Graph, value: Value) -> np.ndarray:
    """A value as an array of nodes."""
    if isinstance(value, np.ndarray):
        return value
    result = np.empty(value.shape, object)
    for number, place in enumerate(np.ndindex(value.shape)):
        if value.value is not None:
            result[place] = graph.constant(value.value[place])
        elif value.shape == ():
            result[place] = value
        elif isinstance(value.operation, Packed):
            result[place] = value.args[number]
        else:
            result[place] = graph.call(Entry(place), (value,), (), value.dtype)
    return result


def packed(graph: Graph, value: Value) -> Node:
    """A value as one node."""
    if isinstance(value, Node):
        return value
    entries = list(value.flat)
    if value.shape == ():
        return entries[0]
    if all(entry.value is not None for entry in entries):
        return graph.constant(np.asarray([entry.value for entry in entries]).reshape(value.shape))
    return graph.call(Packed(value.shape), entries, value.shape, entries[0].dtype)


def opened(graph: Graph, values: Sequence[Value]) -> list[Node]:
    """Values as a list of nodes: the entries of small ones, and whole large ones."""
    nodes: list[Node] = []
    for value in values:
        nodes += [value] if isinstance(value, Node) and not small(value) else loose(graph, value).flat
    return nodes


def closed(nodes: Sequence[Node], avals: Sequence) -> list[Value]:
    """The values of given shapes whose nodes `opened` lists."""
    rest: Iterator[Node] = iter(nodes)
    values: list[Value] = []
    for aval in avals:
        if not small(aval):
            values.append(next(rest))
            continue
        value = np.empty(aval.shape, object)
        for place in np.ndindex(aval.shape):
            value[place] = next(rest)
        values.append(value)
    return values
