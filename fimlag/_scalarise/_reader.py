"""The reading of a traced function into a graph of scalar operations."""

from collections.abc import Sequence

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from fimlag._scalarise._algebra import IDENTITIES
from fimlag._scalarise._arrays import ELEMENTWISE, MOVES, elementwise
from fimlag._scalarise._branches import read_checkpoint, read_cond
from fimlag._scalarise._graph import Graph, Node
from fimlag._scalarise._loops import read_scan, read_while
from fimlag._scalarise._places import PLACED
from fimlag._scalarise._solve import read_solve
from fimlag._scalarise._sums import COMBINATIONS
from fimlag._scalarise._values import UnreadableError, Value, constant, loose, opened, packed, small
from fimlag._scalarise._whole import Whole

_RULED = {"custom_jvp_call", "custom_vjp_call"}  # calls that bring rules for derivatives
_CALLED = {  # the parameter that holds the program an equation calls with its own arguments
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
RULES = {**dict.fromkeys(ELEMENTWISE, elementwise), **MOVES, **COMBINATIONS}
_STRUCTURED = {
    "scan": read_scan,
    "while": read_while,
    "cond": read_cond,
    "remat2": read_checkpoint,
    "checkpoint": read_checkpoint,
    "custom_linear_solve": read_solve,
}


class Reader:
    """Reads traced programs at one level of loops.

    What may not run at all, as the body of a loop until a condition fails, or a branch, keeps its loops and its
    operations on whole arrays: taken out of it, they would run in any case, and might not end. `floor` is the level
    of the innermost such part.
    """

    def __init__(self, graph: Graph, level: int = 0, floor: int = 0):
        self.graph, self.level, self.floor = graph, level, floor

    def inner(self, surely: bool) -> "Reader":
        """The reader of a part inside, which surely runs once or may not."""
        return Reader(self.graph, self.level + 1, self.floor if surely else self.level + 1)

    def read(
        self, program: Jaxpr | ClosedJaxpr, args: Sequence[Value], consts: Sequence[Value] | None = None
    ) -> list[Value]:
        """The outputs of a program on given inputs; its constants are those that it brings where none are given."""
        jaxpr = getattr(program, "jaxpr", program)
        if jaxpr.effects:
            raise UnreadableError
        if consts is None:
            consts = [constant(self.graph, const) for const in getattr(program, "consts", ())]
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

        def value(atom):
            return constant(self.graph, atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            known.update(zip(equation.outvars, self._made(equation, [*map(value, equation.invars)]), strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def outputs(self, operation, operands: Sequence[Node], like: Sequence) -> list[Node]:
        """The values that an operation makes of operands and of what it takes from outside, of given shapes and types.

        It stays where it may not run at all.
        """
        node = self.graph.call(operation, [*operation.outside, *operands], (), None, self.floor)
        return self.graph.outputs(node, like)

    def _made(self, equation, args) -> Sequence[Value]:
        name = equation.primitive.name
        if name in _CALLED and not (name in _RULED and self.graph.differentiable):
            return self.read(equation.params[_CALLED[name]], args)
        if name in IDENTITIES:
            return args
        if name == "call_hi_primitive" and not self.graph.differentiable:
            return self.read(_expanded(equation), args)
        made = self._by_entries(equation, args)
        return self._once(equation, args) if made is None else made

    def _by_entries(self, equation, args) -> Sequence[Value] | None:
        """The outputs of an equation taken apart, None where it has no rule or is too large."""
        name, avals = equation.primitive.name, [variable.aval for variable in equation.outvars]
        rule, places = PLACED.get(name, (RULES.get(name), slice(0)))
        if rule is None or not all(map(small, [*args, *avals])):
            return None
        arrays = [loose(self.graph, arg) for arg in args]
        unknown = any(node.value is None for array in arrays[places] for node in array.flat)
        return None if unknown or _changes_type(equation, arrays) else rule(self.graph, equation, *arrays)

    def _once(self, equation, args) -> Sequence[Value]:
        """The outputs of a loop, a branch, or an equation on whole arrays, read once for the same arguments."""
        orders = tuple(tuple(node.order for node in opened(self.graph, [arg])) for arg in args)
        key = id(equation), self.floor, orders
        if key not in self.graph.read:
            structured = _STRUCTURED.get(equation.primitive.name)
            made = structured(self, equation, args) if structured else None
            # The equation is kept too: while it is there, none has its name.
            self.graph.read[key] = equation, self.whole(equation, args) if made is None else made
        return self.graph.read[key][1]

    def whole(self, equation, args) -> Sequence[Value]:
        """The outputs of an equation on whole arrays."""
        avals = [variable.aval for variable in equation.outvars]
        return self.outputs(Whole(equation), [packed(self.graph, arg) for arg in args], avals)


def _expanded(equation) -> ClosedJaxpr:
    """The program of a root with rules of its own, which newer jax keeps as an operation."""
    operation = equation.params["_prim"]

    def expanded(*leaves):
        return operation.expand(*jax.tree.unflatten(operation.in_tree, leaves))

    inputs = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in equation.invars]
    return jax.make_jaxpr(expanded)(*inputs)


def _changes_type(equation, arrays) -> bool:
    """Whether a contraction or a sum gives another type than that of its terms."""
    if not equation.primitive.name.startswith(("dot", "reduce_sum", "reduce_prod", "cum")):
        return False
    return any(node.dtype != equation.outvars[0].aval.dtype for array in arrays for node in array.flat)
