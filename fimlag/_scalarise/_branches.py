"""Branches and recomputed parts of a program, read with their operands taken apart."""

from collections.abc import Callable, Sequence

import numpy as np

from fimlag._scalarise._bodies import Body, Recomputed, Switch
from fimlag._scalarise._graph import Node
from fimlag._scalarise._values import closed, opened


def read_cond(reader, equation, args):
    """One of several branches; the one alone where it is known which."""
    (which,), operands = opened(reader.graph, args[:1]), args[1:]
    branches, platforms = equation.params["branches"], equation.params.get("branches_platforms")
    if which.value is not None:
        return reader.read(branches[int(np.clip(which.value, 0, len(branches) - 1))], operands)
    in_avals, out_avals = branches[0].in_avals, [variable.aval for variable in equation.outvars]

    def reading(branch):
        return lambda inner, nodes: opened(reader.graph, inner.read(branch, closed(nodes, in_avals)))

    functions = [reading(branch) for branch in branches]
    return closed(branched(reader, which, functions, opened(reader.graph, operands), platforms), out_avals)


def branched(reader, which: Node, branches: Sequence[Callable], operands: Sequence[Node], platforms=None) -> list[Node]:
    """The nodes that one of several functions of a reader and of nodes gives, only that one being computed."""
    inner = reader.inner(surely=False)
    inputs = [
        node if node.value is not None else reader.graph.input(node.shape, node.dtype, inner.level) for node in operands
    ]
    results = [branch(inner, inputs) for branch in branches]
    places = [place for place, node in enumerate(operands) if node.value is None]
    bodies = [Body([inputs[place] for place in places], result, inner.level) for result in results]
    return reader.outputs(Switch(bodies, platforms), [which, *(operands[place] for place in places)], results[0])


def read_checkpoint(reader, equation, args):
    """A part that is computed anew in reverse."""
    program, inner = equation.params["jaxpr"], reader.inner(surely=True)
    avals, operands = [variable.aval for variable in program.invars], opened(reader.graph, args)
    inputs = [reader.graph.input(node.shape, node.dtype, inner.level) for node in operands]
    results = opened(reader.graph, inner.read(program, closed(inputs, avals)))
    made = reader.outputs(Recomputed(Body(inputs, results, inner.level), equation.params), operands, results)
    return closed(made, [variable.aval for variable in equation.outvars])
