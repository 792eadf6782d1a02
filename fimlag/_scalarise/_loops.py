"""Loops and branches, their carries taken apart and what does not change taken out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fimlag._scalarise._graph import Graph, Node, live
from fimlag._scalarise._one_function import in_one_function
from fimlag._scalarise._values import closed, opened, packed, small


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
        self.condition, self.body = condition, body
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
        self.outside = body.outside

    def __call__(self, *values):
        outside, rest = _split(self.outside, values)

        def step(carry, row):
            results = self.body(outside, *carry, *row)
            return results[: self.carried], results[self.carried :]

        carry, rows = rest[: self.carried], rest[self.carried :]
        carry, rows = lax.scan(step, carry, rows, length=self.length, reverse=self.reverse)
        return [*carry, *rows]


class Switch:
    """One of several branches."""

    def __init__(self, branches: Sequence[Body]):
        self.branches = branches
        self.outside = _joined(*branches)

    def __call__(self, *values):
        outside, (which, *operands) = _split(self.outside, values)
        branches = [lambda *values, branch=branch: branch(outside, *values) for branch in self.branches]
        return lax.switch(which, branches, *operands)


class Recomputed:
    """A part whose values are computed anew, not stored, where it is differentiated in reverse."""

    def __init__(self, body: Body, params: dict):
        self.body, self.params, self.outside = body, params, body.outside

    def __call__(self, *values):
        outside, given = _split(self.outside, values)
        kept = {name: self.params[name] for name in ("prevent_cse", "policy")}
        return jax.checkpoint(lambda outside, *given: self.body(outside, *given), **kept)(outside, *given)


def evaluated(nodes: Sequence[Node], outputs: Sequence[Node], known: dict) -> list:
    """The values of outputs, after computing nodes in order from what is known of inputs and of earlier nodes."""

    def value(node):
        return node.value if node.value is not None else known[node.order]

    for node in nodes:
        outermost = node.level == 0 and isinstance(node.operation, While | Scan)
        values = map(value, node.args)
        known[node.order] = in_one_function(node.operation, *values) if outermost else node.operation(*values)
    return [value(node) for node in outputs]


def read_while(reader, equation, args):
    params = equation.params
    condition_count, body_count = params["cond_nconsts"], params["body_nconsts"]
    to_condition, to_body = args[:condition_count], args[condition_count : condition_count + body_count]
    carry = args[condition_count + body_count :]
    inner, inits = reader.inner(), opened(reader.graph, carry)
    avals = [variable.aval for variable in equation.outvars]

    def body(nodes):
        jaxpr = params["body_jaxpr"]
        return opened(inner.graph, inner.read_closed(jaxpr, [*to_body, *closed(nodes, avals)]))

    variables, results = _settled(reader.graph, inits, inner.level, body)
    jaxpr = params["cond_jaxpr"]
    (going,) = opened(inner.graph, inner.read_closed(jaxpr, [*to_condition, *closed(variables, avals)]))
    changing = [place for place, (node, init) in enumerate(zip(variables, inits, strict=True)) if node is not init]
    inputs = [variables[place] for place in changing]
    loop = While(Body(inputs, [going], inner.level), Body(inputs, [results[place] for place in changing], inner.level))
    finals = _outputs(reader.graph, loop, [inits[place] for place in changing], inputs)
    for place, final in zip(changing, finals, strict=True):
        inits[place] = final
    return closed(inits, avals)


def read_scan(reader, equation, args):
    params = equation.params
    consts, carry, rows = np.split(np.arange(len(args)), np.cumsum([params["num_consts"], params["num_carry"]]))
    inner, inits = reader.inner(), opened(reader.graph, [args[place] for place in carry])
    body_jaxpr, length = params["jaxpr"], params["length"]
    if length == 0:
        return None
    row_avals = body_jaxpr.in_avals[rows[0] :] if rows.size else []
    columns = [
        node for place, aval in zip(rows, row_avals, strict=True) for node in _columns(reader, args[place], aval)
    ]
    row_inputs = [reader.graph.input(node.shape[1:], node.dtype, inner.level) for node in columns]
    carry_avals, out_avals = body_jaxpr.out_avals[: carry.size], body_jaxpr.out_avals[carry.size :]

    def read(nodes):
        given = [*(args[place] for place in consts), *closed(nodes, carry_avals)]
        return inner.read_closed(body_jaxpr, [*given, *closed(row_inputs, row_avals)])

    def body(nodes):
        return opened(inner.graph, read(nodes)[: carry.size])

    variables, results = _settled(reader.graph, inits, inner.level, body)
    saved = opened(inner.graph, read(variables)[carry.size :])
    changing = [place for place, (node, init) in enumerate(zip(variables, inits, strict=True)) if node is not init]
    inputs = [variables[place] for place in changing]
    inside = Body([*inputs, *row_inputs], [*(results[place] for place in changing), *saved], inner.level)
    loop = Scan(inside, len(changing), length, params["reverse"])
    stacked = [_Stacked((length, *node.shape), node.dtype) for node in saved]
    finals = _outputs(reader.graph, loop, [*(inits[place] for place in changing), *columns], [*inputs, *stacked])
    for place, final in zip(changing, finals, strict=False):
        inits[place] = final
    return [*closed(inits, carry_avals), *_rows(reader, finals[len(changing) :], out_avals, length)]


def read_cond(reader, equation, args):
    which, operands = opened(reader.graph, args[:1])[0], args[1:]
    branches = equation.params["branches"]
    if which.value is not None:
        return reader.read_closed(branches[int(np.clip(which.value, 0, len(branches) - 1))], operands)
    in_avals, out_avals = branches[0].in_avals, branches[0].out_avals
    inner = reader.inner()

    def reading(branch):
        return lambda nodes: opened(inner.graph, inner.read_closed(branch, closed(nodes, in_avals)))

    chosen = branched(reader, which, [reading(branch) for branch in branches], opened(reader.graph, operands))
    return closed(chosen, out_avals)


def read_checkpoint(reader, equation, args):
    jaxpr, inner = equation.params["jaxpr"], reader.inner()
    avals, operands = [variable.aval for variable in jaxpr.invars], opened(reader.graph, args)
    inputs = [reader.graph.input(node.shape, node.dtype, inner.level) for node in operands]
    results = opened(reader.graph, inner.read(jaxpr, [], closed(inputs, avals)))
    part = Recomputed(Body(inputs, results, inner.level), equation.params)
    made = _outputs(reader.graph, part, operands, results)
    return closed(made, [variable.aval for variable in equation.outvars])


def branched(reader, which: Node, branches: Sequence[Callable], operands: Sequence[Node]) -> list[Node]:
    """The nodes that one of several functions of nodes gives, only that one being computed."""
    level = reader.level + 1
    inputs = [
        node if node.value is not None else reader.graph.input(node.shape, node.dtype, level) for node in operands
    ]
    results = [branch(inputs) for branch in branches]
    places = [place for place, node in enumerate(operands) if node.value is None]
    unknown = [inputs[place] for place in places]
    switch = Switch([Body(unknown, result, level) for result in results])
    return _outputs(reader.graph, switch, [which, *(operands[place] for place in places)], results[0])


class _Stacked(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


def _settled(graph: Graph, inits: Sequence[Node], level: int, body: Callable) -> tuple[list[Node], list[Node]]:
    """`(variables, results)` of a loop's body, those that no turn changes replaced by what they are at the start."""
    variables = [graph.input(node.shape, node.dtype, level) for node in inits]
    while True:
        results = body(variables)
        triples = list(enumerate(zip(variables, results, inits, strict=True)))
        fixed = [
            place
            for place, (variable, result, init) in triples
            if variable is not init and (result is variable or (result is init and init.value is not None))
        ]
        if not fixed:
            return variables, results
        for place in fixed:
            variables[place] = inits[place]


def _columns(reader, value, aval) -> list[Node]:
    """The rows of a value as nodes of arrays, one for each entry of a row."""
    apart = small(aval)
    if isinstance(value, np.ndarray):
        entries = value.reshape(value.shape[0], -1).T if apart else [value]
        return [packed(reader.graph, entry) for entry in entries]
    if not apart or len(value.shape) == 1:
        return [value]
    if value.value is not None:
        return [reader.graph.constant(column) for column in value.value.reshape(value.shape[0], -1).T]
    shape = value.shape[:1]
    return [reader.graph.call(Column(place), (value,), shape, value.dtype) for place in np.ndindex(*aval.shape)]


def _rows(reader, columns, avals, length) -> list:
    """The arrays that a loop saves, of the columns that `opened` rows have become."""
    rest, values = iter(columns), []
    for aval in avals:
        taken = [next(rest) for _ in range(int(np.prod(aval.shape)) if small(aval) else 1)]
        whole = not small(aval) or aval.shape == ()
        shape = length, *aval.shape
        values.append(taken[0] if whole else reader.graph.call(Rows(shape), taken, shape, aval.dtype))
    return values


def _outputs(graph: Graph, operation, operands: Sequence[Node], like: Sequence) -> list[Node]:
    """The values of a loop or a branch of operands, of the shapes and types of others."""
    node = graph.call(operation, [*operation.outside, *operands], (), None)
    return graph.outputs(node, like)


def _joined(*bodies: Body) -> list[Node]:
    nodes = {node.order: node for body in bodies for node in body.outside}
    return [nodes[order] for order in sorted(nodes)]


def _split(outside: Sequence[Node], values) -> tuple[dict, list]:
    known = {node.order: value for node, value in zip(outside, values, strict=False)}
    return known, list(values[len(outside) :])
