"""A traced function, its unknown constants among its inputs."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jax.extend.core.primitives import convert_element_type_p

from fimlag._scalarise._bodies import as_it_is, evaluated, weight, with_whole_loops
from fimlag._scalarise._graph import Graph, Node, TooLargeError, live
from fimlag._scalarise._reader import Reader
from fimlag._scalarise._values import UnreadableError, Value, constant, is_known, packed

_LARGEST = 2048  # entries of an array that comes with a program and is known while it is read and compiled


class Program:
    """A traced program whose inputs are the constants that are not known, then its arguments."""

    def __init__(self, traced: ClosedJaxpr, limit: int):
        self.jaxpr, self.consts, self.limit = traced.jaxpr, list(traced.consts), limit
        self.places = [
            place for place, const in enumerate(self.consts) if not is_known(const) or np.size(const) > _LARGEST
        ]

    @property
    def unknown(self) -> list:
        """The constants that are inputs."""
        return [self.consts[place] for place in self.places]

    def as_written(self, *inputs) -> list:
        """The program itself."""
        consts = self.consts.copy()
        for place, value in zip(self.places, inputs, strict=False):
            consts[place] = value
        return jaxpr_as_fun(ClosedJaxpr(self.jaxpr, consts))(*inputs[len(self.places) :])

    def read(self, graph: Graph, inputs: Sequence[Node]) -> list[Value]:
        """The outputs of the program on nodes of a graph."""
        given = dict(zip(self.places, inputs, strict=False))
        consts = [given.get(place) or constant(graph, const) for place, const in enumerate(self.consts)]
        return Reader(graph).read(self.jaxpr, inputs[len(self.places) :], consts)

    def as_scalars(self, *inputs, differentiable: bool = False) -> list:
        """The program by scalar code, as it is written where that is not possible."""
        graph = Graph(self.limit, differentiable)
        try:
            entries, operations, nodes = self._taken_apart(graph, inputs)
        except (TooLargeError, UnreadableError):
            return self.as_written(*inputs)
        known = {entry.order: value for entry, value in zip(entries, inputs, strict=True)}
        # Reverse mode takes functions apart, and no door for ensembles keeps their lanes few.
        values = evaluated(operations, nodes, known, as_it_is if differentiable else with_whole_loops)
        return [_of_kind(value, variable.aval) for value, variable in zip(values, self.jaxpr.outvars, strict=True)]

    def is_plain(self, operations: int, *inputs) -> bool:
        """Whether it takes apart wholly, with no large array or routine of a library left, into so few operations."""
        try:
            _, found, _ = self._taken_apart(Graph(self.limit), inputs)
        except (TooLargeError, UnreadableError):
            return False
        return sum(weight(node.operation) for node in found) <= operations

    def _taken_apart(self, graph: Graph, inputs) -> tuple[list[Node], list[Node], list[Node]]:
        """The nodes of the inputs, of the operations in their order, and of the outputs."""
        entries = [graph.input(jnp.shape(value), jnp.result_type(value), 0) for value in inputs]
        nodes = [packed(graph, output) for output in self.read(graph, entries)]
        inside, _ = live(nodes, -1)
        return entries, [node for node in inside if node.operation is not None], nodes


def brings_cotangents(program: Jaxpr | ClosedJaxpr) -> bool:
    """Whether a part of a program, however deep, has a rule for derivatives in reverse alone."""
    for equation in getattr(program, "jaxpr", program).eqns:
        values = equation.params.values()
        parts = [part for value in values for part in (value if isinstance(value, tuple) else [value])]
        inside = [part for part in parts if isinstance(part, Jaxpr | ClosedJaxpr)]
        if equation.primitive.name == "custom_vjp_call" or any(map(brings_cotangents, inside)):
            return True
    return False


def _of_kind(value, aval):
    """A value as an array, of a weak type where the program gives it one."""
    value = jnp.asarray(value)
    if not getattr(aval, "weak_type", False) or value.weak_type:
        return value
    return convert_element_type_p.bind(value, new_dtype=aval.dtype, weak_type=True, sharding=None)
