"""The reading of a traced function into a graph of scalar operations."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from fimlag._scalarise._algebra import IDENTITIES
from fimlag._scalarise._arrays import ELEMENTWISE, PLACES, RULES, elementwise
from fimlag._scalarise._graph import Graph
from fimlag._scalarise._loops import read_checkpoint, read_cond, read_scan, read_while
from fimlag._scalarise._solve import read_solve
from fimlag._scalarise._values import UnreadableError, Value, constant, loose, packed, small

_CALLED = {  # the parameter that holds the program an equation calls with its own arguments
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
}
_STRUCTURED = {
    "scan": read_scan,
    "while": read_while,
    "cond": read_cond,
    "remat2": read_checkpoint,
    "checkpoint": read_checkpoint,
    "custom_linear_solve": read_solve,
}


class Whole:
    """An equation on whole arrays, left as it is."""

    def __init__(self, equation):
        self.equation = equation

    def __call__(self, *values):
        primitive, params = self.equation.primitive, self.equation.params
        made = primitive.bind(*map(jnp.asarray, values), **primitive.get_bind_params(params))
        return made if primitive.multiple_results else [made]


class Reader:
    """Reads traced programs at one level of loops."""

    def __init__(self, graph: Graph, level: int):
        self.graph, self.level = graph, level

    def inner(self) -> "Reader":
        """The reader of a loop's body."""
        return Reader(self.graph, self.level + 1)

    def read(self, jaxpr: Jaxpr, consts: Sequence[Value], args: Sequence[Value]) -> list[Value]:
        """The outputs of a program on given inputs."""
        if jaxpr.effects:
            raise UnreadableError
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def value(atom):
            return constant(self.graph, atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            known.update(zip(equation.outvars, self._made(equation, [*map(value, equation.invars)]), strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def read_closed(self, jaxpr: ClosedJaxpr, args: Sequence[Value]) -> list[Value]:
        """The outputs of a program that brings its constants."""
        return self.read(jaxpr.jaxpr, [constant(self.graph, const) for const in jaxpr.consts], args)

    def _made(self, equation, args) -> Sequence[Value]:
        name = equation.primitive.name
        if name in _CALLED:
            called = equation.params[_CALLED[name]]
            jaxpr, consts = getattr(called, "jaxpr", called), getattr(called, "consts", ())
            return self.read(jaxpr, [constant(self.graph, const) for const in consts], args)
        if name in IDENTITIES:
            return args
        structured = _STRUCTURED.get(name)
        made = structured(self, equation, args) if structured else self._by_entries(equation, args)
        return self._whole(equation, args) if made is None else made

    def _by_entries(self, equation, args) -> Sequence[Value] | None:
        """The outputs of an equation taken apart, None where it has no rule or is too large."""
        name, avals = equation.primitive.name, [variable.aval for variable in equation.outvars]
        rule = elementwise if name in ELEMENTWISE else RULES.get(name)
        if rule is None or not all(map(small, [*args, *avals])):
            return None
        arrays = [loose(self.graph, arg) for arg in args]
        places = [node for array in arrays[PLACES[name]] for node in array.flat] if name in PLACES else []
        if any(node.value is None for node in places) or _changes_type(equation, arrays):
            return None
        return rule(self.graph, equation, *arrays)

    def _whole(self, equation, args) -> Sequence[Value]:
        node = self.graph.call(Whole(equation), [packed(self.graph, arg) for arg in args], (), None)
        return self.graph.outputs(node, [variable.aval for variable in equation.outvars])


def _changes_type(equation, arrays) -> bool:
    """Whether a contraction or a sum gives another type than that of its terms."""
    if not equation.primitive.name.startswith(("dot", "reduce_sum", "reduce_prod", "cum")):
        return False
    return any(node.dtype != equation.outvars[0].aval.dtype for array in arrays for node in array.flat)
