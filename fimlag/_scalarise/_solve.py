"""Small symmetric linear systems, solved by scalar arithmetic."""

from functools import reduce

import numpy as np
from jax.extend.core.primitives import convert_element_type_p

from fimlag._scalarise._branches import branched
from fimlag._scalarise._graph import Graph, Node
from fimlag._scalarise._values import closed, opened, small

_UNKNOWNS = 48  # of a system taken apart
_BLOCK = 6  # unknowns that depend on each other


class Operations:
    """Operations on nodes of one type."""

    def __init__(self, graph: Graph, dtype):
        self.graph, self.dtype = graph, dtype

    def number(self, value) -> Node:
        return self.graph.constant(np.asarray(value, self.dtype))

    def add(self, a, b):
        return self.graph.arithmetic("add", (a, b), self.dtype)

    def sub(self, a, b):
        return self.graph.arithmetic("sub", (a, b), self.dtype)

    def mul(self, a, b):
        return self.graph.arithmetic("mul", (a, b), self.dtype)

    def div(self, a, b):
        return self.graph.arithmetic("div", (a, b), self.dtype)

    def abs(self, a):
        return self.graph.arithmetic("abs", (a,), self.dtype)

    def exceeds(self, a, b):
        return self.graph.arithmetic("gt", (a, b), np.dtype(bool))

    def regular(self, value, size):
        """Whether a number is not zero next to one that it may be the difference of, and both are finite."""
        return self.exceeds(self.abs(value), self.mul(self.number(2 * np.finfo(self.dtype).eps), size))

    def both(self, a, b):
        return self.graph.arithmetic("and", (a, b), np.dtype(bool))

    def where(self, condition, a, b):
        return self.graph.arithmetic("select_n", (condition, b, a), self.dtype)


def read_solve(reader, equation, args):
    """The solution of a linear system whose matrix is symmetric by its formulas: by Cramer's rule for each pair of
    unknowns that depend on each other alone, by LDL^T for more of them (in single precision for a pair too) where its
    pivots are positive.

    What Cramer's rule solves is NaN where it is singular to working precision. Every other system is solved as the
    program says.
    """
    lengths, programs = equation.params["const_lengths"], equation.params["jaxprs"]
    ends = np.cumsum([lengths.matvec, lengths.vecmat, lengths.solve, lengths.transpose_solve])
    for_product, _, for_solve, _, for_right = np.split(np.arange(len(args)), ends)
    to_product, right = ([args[place] for place in places] for places in (for_product, for_right))
    avals = [variable.aval for variable in equation.outvars]

    def as_written(reader, args):
        if reader.graph.differentiable:  # the program that solves is not the one to differentiate
            return reader.whole(equation, args)
        return reader.read(programs.solve, [*(args[place] for place in [*for_solve, *for_right])])

    size = sum(int(np.prod(aval.shape)) for aval in avals)
    real = {aval.dtype for aval in avals} <= {np.dtype(np.float32), np.dtype(np.float64)}
    if not real or size > _UNKNOWNS or not all(map(small, [*avals, *to_product, *right])):
        return as_written(reader, args)
    matrix = _matrix(reader, programs.matvec, to_product, avals, size)
    blocks = _blocks(matrix)
    if not _symmetric(matrix) or max(map(len, blocks)) > _BLOCK:
        return as_written(reader, args)
    sides, found, sure = opened(reader.graph, right), {}, []
    ops = Operations(reader.graph, avals[0].dtype)
    short = ops.dtype.itemsize < 8  # products of three entries soon underflow
    for block in blocks:
        solve = _by_cofactors if len(block) <= (1 if short else 2) else _by_factors
        values, regular = solve(ops, matrix[np.ix_(block, block)], [sides[place] for place in block])
        sure += [] if regular is None else [regular]
        found.update(zip(block, values, strict=True))
    solution = [found[place] for place in range(size)]
    if sure:
        given = [variable.aval for variable in equation.invars]
        solution = _or_otherwise(ops, sure, solution, reader, args, given, as_written)
    return closed(solution, avals)


def _or_otherwise(ops, sure, solution, reader, args, avals, as_written):
    """A solution where all are sure of it, else what the program finds."""

    def written(inner, nodes):
        return opened(reader.graph, as_written(inner, closed(nodes[len(solution) :], avals)))

    which = reader.graph.apply(
        convert_element_type_p,
        {"new_dtype": np.dtype(np.int32), "weak_type": False, "sharding": None},
        (reduce(ops.both, sure),),
        np.dtype(np.int32),
    )
    return branched(
        reader, which, [written, lambda _, nodes: nodes[: len(solution)]], [*solution, *opened(reader.graph, args)]
    )


def _matrix(reader, program, consts, avals, size) -> np.ndarray:
    """The matrix of a linear map, its columns read one by one."""
    columns = []
    for unit in np.eye(size):
        nodes = [reader.graph.constant(np.asarray(entry, avals[0].dtype)) for entry in unit]
        columns.append(opened(reader.graph, reader.read(program, [*consts, *closed(nodes, avals)])))
    matrix = np.empty((size, size), object)
    for place, column in enumerate(columns):
        matrix[:, place] = column
    return matrix


def _symmetric(matrix) -> bool:
    return all(matrix[i, j] is matrix[j, i] for i, j in np.ndindex(matrix.shape) if i < j)


def _blocks(matrix) -> list[list[int]]:
    """The unknowns in groups that depend on each other."""
    group = list(range(len(matrix)))
    for i, j in np.ndindex(matrix.shape):
        zero = matrix[i, j].value is not None and matrix[i, j].value == 0
        if i != j and not zero:
            first, second = sorted((group[i], group[j]))
            group = [first if each == second else each for each in group]
    return [[place for place, each in enumerate(group) if each == name] for name in sorted(set(group))]


def _by_cofactors(ops, matrix, right):
    """One unknown, or two by Cramer's rule; NaN where the matrix is singular to working precision."""
    nan = ops.number(np.nan)
    if len(right) == 1:
        ((a,),) = matrix
        return [ops.where(ops.regular(a, ops.abs(a)), ops.div(right[0], a), nan)], None
    (a, b), (_, c) = matrix
    outer, inner = ops.mul(a, c), ops.mul(b, b)
    determinant = ops.sub(outer, inner)
    # Where products underflow they are wrong: the number added here is then not exceeded.
    size = ops.add(ops.add(ops.abs(outer), inner), ops.number(_smallest(ops.dtype)))
    inverse = ops.where(ops.regular(determinant, size), ops.div(ops.number(1), determinant), nan)
    first = ops.sub(ops.mul(c, right[0]), ops.mul(b, right[1]))
    second = ops.sub(ops.mul(a, right[1]), ops.mul(b, right[0]))
    return [ops.mul(first, inverse), ops.mul(second, inverse)], None


def _smallest(dtype) -> float:
    """Numbers below this lose digits in products."""
    return float(np.finfo(dtype).tiny / np.finfo(dtype).eps ** 2)


def _by_factors(ops, matrix, right):
    r"""The solution by $L D L^\top$, and whether all pivots are positive beyond round-off."""
    size = len(right)
    threshold, lower, inverses, positive = ops.number(size * np.finfo(ops.dtype).eps), {}, [], []
    for k in range(size):
        column = {i: matrix[i, k] for i in range(k, size)}
        for j in range(k):
            for i in column:
                column[i] = ops.sub(column[i], ops.mul(lower[i, j][0], lower[k, j][1]))
        positive.append(ops.exceeds(column[k], ops.mul(threshold, ops.abs(matrix[k, k]))))
        inverses.append(ops.div(ops.number(1), column[k]))
        lower.update({(i, k): (column[i], ops.mul(column[i], inverses[k])) for i in range(k + 1, size)})
    solution = list(right)
    for k in range(size):
        for j in range(k):
            solution[k] = ops.sub(solution[k], ops.mul(lower[k, j][1], solution[j]))
    solution = [ops.mul(value, inverse) for value, inverse in zip(solution, inverses, strict=True)]
    for k in reversed(range(size)):
        for i in range(k + 1, size):
            solution[k] = ops.sub(solution[k], ops.mul(lower[i, k][1], solution[i]))
    return solution, reduce(ops.both, positive)
