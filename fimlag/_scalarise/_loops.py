"""Loops of a program, read with their carries taken apart and what does not change taken out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fimlag._scalarise._bodies import Body, Column, Rows, Scan, While
from fimlag._scalarise._graph import Graph, Node
from fimlag._scalarise._values import closed, opened, packed, small

_ROUNDS = 4  # the most in which what a loop does not change is looked for: each reads the loop once more


def read_while(reader, equation, args):
    """A loop until a condition fails."""
    params, graph = equation.params, reader.graph
    to_condition, to_body, carry = _parted(args, params["cond_nconsts"], params["body_nconsts"])
    inner, inits = reader.inner(surely=False), opened(graph, carry)
    avals = [variable.aval for variable in equation.outvars]

    def body(nodes):
        return opened(graph, inner.read(params["body_jaxpr"], [*to_body, *closed(nodes, avals)]))

    kept = _kept(params["body_jaxpr"], len(to_body), avals)
    variables, results = _settled(graph, inits, kept, inner.level, body)
    (going,) = opened(graph, inner.read(params["cond_jaxpr"], [*to_condition, *closed(variables, avals)]))
    changing = _changing(variables, inits)
    inputs = [variables[place] for place in changing]
    loop = While(Body(inputs, [going], inner.level), Body(inputs, [results[place] for place in changing], inner.level))
    finals = reader.outputs(loop, [inits[place] for place in changing], inputs)
    return closed(_replaced(inits, changing, finals), avals)


def read_scan(reader, equation, args):
    """A loop over rows."""
    params, graph, length = equation.params, reader.graph, equation.params["length"]
    counts = _counts(params)
    if length == 0 or counts is None:
        return None
    consts, carry, rows = _parted(args, *counts)
    _, carry_avals, row_avals = _parted(params["jaxpr"].in_avals, len(consts), len(carry))
    inner, inits = reader.inner(surely=True), opened(graph, carry)
    columns = [node for row, aval in zip(rows, row_avals, strict=True) for node in _columns(graph, row, aval)]
    row = [graph.input(node.shape[1:], node.dtype, inner.level) for node in columns]

    def body(nodes):
        return opened(
            graph, inner.read(params["jaxpr"], [*consts, *closed(nodes, carry_avals), *closed(row, row_avals)])
        )

    kept = _kept(params["jaxpr"], len(consts), carry_avals)
    variables, results = _settled(graph, inits, kept, inner.level, body)
    changing, saved = _changing(variables, inits), results[len(inits) :]
    inputs = [variables[place] for place in changing]
    inside = Body([*inputs, *row], [*(results[place] for place in changing), *saved], inner.level)
    like = [*inputs, *(_Stacked((length, *node.shape), node.dtype) for node in saved)]
    loop = Scan(inside, len(changing), length, params["reverse"])
    finals = reader.outputs(loop, [*(inits[place] for place in changing), *columns], like)
    out_avals = [variable.aval for variable in equation.outvars[len(carry) :]]
    ends = closed(_replaced(inits, changing, finals), carry_avals)
    return [*ends, *_rows(graph, finals[len(changing) :], out_avals)]


def _counts(params: dict) -> tuple[int, int] | None:
    """How many of the arguments of a scan are constants and carried, by the parameters of older and of newer jax."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    if "ft_in" not in params:
        return None
    consts, carry, _ = map(list, params["ft_in"].unpack())
    return len(consts), len(carry)


def _parted(values: Sequence, first: int, second: int) -> tuple[list, list, list]:
    """Values in three parts, of which the sizes of two are given."""
    return list(values[:first]), list(values[first : first + second]), list(values[first + second :])


class _Stacked(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


def _kept(program, first: int, avals: Sequence) -> list[bool]:
    """Which nodes of a carry a loop's body plainly returns as they come; the carry starts at one of its inputs."""
    inputs, outputs = program.jaxpr.invars[first:], program.jaxpr.outvars
    nodes = [int(np.prod(aval.shape)) if small(aval) else 1 for aval in avals]
    return [came is left for came, left, count in zip(inputs, outputs, nodes, strict=False) for _ in range(count)]


def _settled(
    graph: Graph, inits: Sequence[Node], kept: Sequence[bool], level: int, body: Callable
) -> tuple[list[Node], list[Node]]:
    """`(variables, results)` of a loop's body, those that no turn changes replaced by what they are at the start."""
    variables = [
        init if stays else graph.input(init.shape, init.dtype, level) for init, stays in zip(inits, kept, strict=True)
    ]
    for _ in range(_ROUNDS):
        results = body(variables)
        triples = enumerate(zip(variables, results, inits, strict=False))
        fixed = [
            place
            for place, (variable, result, init) in triples
            if variable is not init and (result is variable or result is init)
        ]
        if not fixed:
            return variables, results
        for place in fixed:
            variables[place] = inits[place]
    return variables, body(variables)


def _changing(variables: Sequence[Node], inits: Sequence[Node]) -> list[int]:
    return [place for place, (node, init) in enumerate(zip(variables, inits, strict=True)) if node is not init]


def _replaced(nodes: Sequence[Node], places: Sequence[int], by: Sequence[Node]) -> list[Node]:
    given = dict(zip(places, by, strict=False))
    return [given.get(place, node) for place, node in enumerate(nodes)]


def _columns(graph: Graph, value, aval) -> list[Node]:
    """The rows of a value as nodes of arrays, one for each entry of a row."""
    apart = small(aval)
    if isinstance(value, np.ndarray):
        entries = value.reshape(value.shape[0], -1).T if apart else [value]
        return [packed(graph, entry) for entry in entries]
    if not apart or len(value.shape) == 1:
        return [value]
    if value.value is not None:
        return [graph.constant(column) for column in value.value.reshape(value.shape[0], -1).T]
    shape = value.shape[:1]
    return [graph.call(Column(place), (value,), shape, value.dtype) for place in np.ndindex(*aval.shape)]


def _rows(graph: Graph, columns, avals) -> list:
    """The arrays that a loop saves, of the columns that `opened` rows have become."""
    rest, values = iter(columns), []
    for aval in avals:
        row = aval.update(shape=aval.shape[1:])
        taken = [next(rest) for _ in range(int(np.prod(row.shape)) if small(row) else 1)]
        whole = not small(row) or row.shape == ()
        values.append(taken[0] if whole else graph.call(Rows(aval.shape), taken, aval.shape, aval.dtype))
    return values
