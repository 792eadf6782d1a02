"""The door: a function with the same values and derivatives, evaluated by scalar code."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from fimlag._scalarise._graph import Graph, TooLargeError, live
from fimlag._scalarise._loops import evaluated
from fimlag._scalarise._reader import Reader
from fimlag._scalarise._values import LARGEST, UnreadableError, constant, packed

_OPERATIONS = 20_000  # the most made while a program is read
_OF_DERIVATIVES = 5_000  # the most for derivatives, which are compiled with what reverse mode adds


def scalarised(function: Callable, evaluation: Callable[[Callable], Callable] | None = None) -> Callable:
    """A function of arrays, evaluated entry by entry: same values, same derivatives, same batching.

    When it is traced, small arrays are taken apart into numbers, known numbers and structural zeros are folded, equal
    terms shared, loops carry numbers, and small symmetric systems are solved by arithmetic. What cannot be taken apart
    stays as it is, and a program too large is left alone. A structural zero times infinity is zero.

    Derivatives are those of the function as written, rules and all, and scalar code in turn.

    **Arguments:** `function`: of pytrees of arrays; what it closes over may be traced; `evaluation`: a transformation
    of a function of arrays, applied to the scalar code where nothing is differentiated.

    **Returns:** a function of the same arguments, its outputs equal up to round-off.
    """

    return _by_scalars(function, evaluation, _OPERATIONS)


def _by_scalars(function: Callable, evaluation: Callable | None, limit: int) -> Callable:
    def evaluate(*args):
        leaves, treedef = jax.tree.flatten(args)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        traced, shape = jax.make_jaxpr(lambda *leaves: function(*treedef.unflatten(leaves)), return_shape=True)(*leaves)
        program = _Program(traced, limit)
        outputs = _run(program, evaluation)(*program.unknown, *leaves)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return evaluate


class _Program:
    """A traced program whose inputs are the constants that are not known, then its arguments."""

    def __init__(self, traced: ClosedJaxpr, limit: int):
        self.jaxpr, self.consts, self.limit = traced.jaxpr, list(traced.consts), limit
        self.places = [place for place, const in enumerate(self.consts) if not _is_known(const)]

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

    def as_scalars(self, *inputs) -> list:
        """The program by scalar code, as it is written where that is not possible."""
        graph = Graph(self.limit)
        entries = [graph.input(jnp.shape(value), jnp.result_type(value), 0) for value in inputs]
        count = len(self.places)
        try:
            given = dict(zip(self.places, entries, strict=False))
            consts = [given.get(place) or constant(graph, const) for place, const in enumerate(self.consts)]
            outputs = Reader(graph, 0).read(self.jaxpr, consts, entries[count:])
            nodes = [packed(graph, output) for output in outputs]
        except (TooLargeError, UnreadableError):
            return self.as_written(*inputs)
        inside, _ = live(nodes, -1)
        known = {entry.order: value for entry, value in zip(entries, inputs, strict=True)}
        return evaluated([node for node in inside if node.operation is not None], nodes, known)


def _is_known(const) -> bool:
    return not isinstance(const, Tracer) and np.size(const) <= LARGEST


def _run(program: _Program, evaluation: Callable | None) -> Callable:
    @jax.custom_jvp
    def run(*inputs):
        evaluate = program.as_scalars if evaluation is None else evaluation(program.as_scalars)
        return evaluate(*inputs)

    @partial(run.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        moving = [place for place, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]

        def along(primals, directions):
            def of(*moved):
                inputs = list(primals)
                for place, value in zip(moving, moved, strict=True):
                    inputs[place] = value
                return program.as_written(*inputs)

            outputs, changes = jax.jvp(of, [primals[place] for place in moving], directions)
            return outputs, [change for change in changes if change.dtype != jax.dtypes.float0]

        outputs, changes = _by_scalars(along, None, _OF_DERIVATIVES)(
            list(primals), [tangents[place] for place in moving]
        )
        rest = iter(changes)
        return outputs, [
            next(rest) if jnp.issubdtype(output.dtype, jnp.inexact) else np.zeros(output.shape, jax.dtypes.float0)
            for output in outputs
        ]

    return run
