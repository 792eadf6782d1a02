"""Symmetric matrices by block elimination: factor, solve, and count the negative directions.

Every array carries lanes, the members of an ensemble, on its last axis: small matrices then become long vectors.
"""

import functools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._one_function import in_one_function

_UNROLLED = 4  # the largest block whose inversion and products are written out
_FEW, _MANY = 32, 64
"""Up to so many eliminations, of at least so many matrices at once, are written out."""
_LONG = 4
"""Loops of so many steps are compiled as a whole."""


def multiply(a: Float[Array, "n k *lanes"], b: Float[Array, "k m *lanes"]) -> Float[Array, "n m *lanes"]:
    """The matrix product in every lane."""
    if 0 < b.shape[0] <= _UNROLLED:
        return functools.reduce(jnp.add, [a[:, k, None] * b[k][None] for k in range(b.shape[0])])
    return jnp.sum(a[:, :, None] * b[None], axis=1)


def apply(matrix: Float[Array, "n k *lanes"], vector: Float[Array, "k *lanes"]) -> Float[Array, "n *lanes"]:
    """The matrix times a vector in every lane."""
    return multiply(matrix, vector[:, None])[:, 0]


def invert_symmetric(matrix: Float[Array, "n n *lanes"]) -> tuple[Float[Array, "n n *lanes"], Float[Array, "n *lanes"]]:
    r"""The inverse of a symmetric matrix and the pivots of its $L D L^\top$, by the sweep operator.

    No pivoting: exact for definite matrices; for indefinite ones the error grows as a pivot nears zero, and a zero
    pivot gives NaN. As straight array code it needs no library call, so it batches and runs inside loops.

    **Returns:** the inverse (n, n, ...) and the pivots (n, ...), whose signs are the inertia (Sylvester's law).

    **Reference:** Goodnight (1979).
    """
    size = matrix.shape[0]

    def sweep(k, state):
        swept, pivots = state
        pivot, row, column = swept[k, k], swept[k], swept[:, k]
        at_row, at_column = (_only(k, size, axis, matrix.ndim) for axis in (0, 1))
        scaled = row / pivot[None]
        update = swept - column[:, None] * scaled[None]
        update = jnp.where(at_row, scaled[None], jnp.where(at_column, scaled[:, None], update))
        return jnp.where(at_row & at_column, -1 / pivot[None, None], update), pivots.at[k].set(pivot)

    unroll = size <= _UNROLLED or None
    swept, pivots = lax.fori_loop(0, size, sweep, (matrix, jnp.zeros_like(matrix[0])), unroll=unroll)
    return -swept, pivots


class BlockTridiagonal(eqx.Module):
    r"""The block $L D L^\top$ of a symmetric block-tridiagonal matrix.

    **Arguments:** `diagonal`: (n, d, d, lanes) symmetric blocks; `off_diagonal`: (n - 1, d, d, lanes), block [k]
    couples block row k (its rows) with k + 1 (its columns).

    **Reference:** Golub & Van Loan (2013), sec. 4.5.
    """

    inverses: Float[Array, "n d d lanes"]
    couplings: Float[Array, "n d d lanes"]
    pivots: Float[Array, "n d lanes"]

    def __init__(self, diagonal: Float[Array, "n d d lanes"], off_diagonal: Float[Array, "m d d lanes"]):
        couplings = jnp.concatenate([jnp.zeros_like(diagonal[:1]), off_diagonal])[: diagonal.shape[0]]

        def eliminate(previous_inverse, blocks):
            block, coupling = blocks
            reduced = block - multiply(coupling.swapaxes(0, 1), multiply(previous_inverse, coupling))
            inverse, pivots = invert_symmetric(0.5 * (reduced + reduced.swapaxes(0, 1)))
            return inverse, (inverse, pivots)

        def through(start, *rows):
            return lax.scan(eliminate, start, rows)[1]

        start = jnp.zeros_like(diagonal[0])
        self.inverses, self.pivots = _loop(self._steps(diagonal), through, start, diagonal, couplings)
        self.couplings = couplings

    def solve(self, right: Float[Array, "n d lanes"]) -> Float[Array, "n d lanes"]:
        """The solution of the linear system, shape (n, d, lanes)."""

        def forward(carry, blocks):
            inverse, coupling, vector = blocks
            carry = apply(inverse, vector - apply(coupling.swapaxes(0, 1), carry))
            return carry, carry

        def backward(carry, blocks):
            inverse, next_coupling, vector = blocks
            carry = vector - apply(inverse, apply(next_coupling, carry))
            return carry, carry

        def both_ways(start, inverses, couplings, following, right):
            _, reduced = lax.scan(forward, start, (inverses, couplings, right))
            return [lax.scan(backward, start, (inverses, following, reduced), reverse=True)[1]]

        start = jnp.zeros_like(right[0])
        following = jnp.concatenate([self.couplings[1:], jnp.zeros_like(self.couplings[:1])])
        return _loop(self._steps(right), both_ways, start, self.inverses, self.couplings, following, right)[0]

    @staticmethod
    def _steps(rows):
        """The steps of a loop over rows of blocks, none where their products are sums over an axis."""
        return rows.shape[0] if rows.shape[1] <= _UNROLLED else 0


class CondensedElements(eqx.Module):
    r"""The factor of a matrix assembled from elements: interior nodes eliminated element by element, vertices after.

    **Arguments:** `elements`: symmetric element matrices (m, m, E, lanes), m = (p + 1) d, whose rows are those of the
    interior nodes, then of the left vertex, then of the right one (`node_order`); `d`: the coordinates of a node;
    `held`: the numbers of vertices that do not move, the first after the start being 0. The unknowns are all nodes but
    the first and the last of the whole path, and those of held vertices zero.
    """

    rows: Float[Array, "m m elements lanes"]
    """The reduced rows of the elimination on and above the diagonal, its reduced columns below."""
    vertices: BlockTridiagonal | None
    d: int = eqx.field(static=True)
    held: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, elements: Float[Array, "m m elements lanes"], d: int, held: Sequence[int] = ()):
        self.d, self.held = d, tuple(held)
        self.rows = _eliminated(elements, elements.shape[0] - 2 * d)
        ends = self.rows[-2 * d :, -2 * d :]
        diagonal = jnp.moveaxis(ends[d:, d:, :-1] + ends[:d, :d, 1:], 2, 0)
        coupling = jnp.moveaxis(ends[:d, d:, 1:-1], 2, 0)
        for vertex in self.held:
            diagonal = diagonal.at[vertex].set(jnp.eye(d, dtype=elements.dtype)[..., None])
            coupling = coupling.at[max(vertex - 1, 0) : vertex + 1].set(0.0)
        self.vertices = BlockTridiagonal(diagonal, coupling) if elements.shape[2] > 1 else None

    @property
    def interior(self) -> int:
        """The number of unknowns inside an element."""
        return self.rows.shape[0] - 2 * self.d

    def solve(self, right: Float[Array, "unknowns d lanes"]) -> Float[Array, "unknowns d lanes"]:
        """The solution of the linear system over the unknown nodes, shape (E p - 1, d, lanes)."""
        count, lanes = self.rows.shape[2:]
        cut, d = self.interior, self.d
        end = jnp.zeros_like(right[:1])
        grouped = jnp.concatenate([right, end]).reshape(count, -1, d, lanes)  # each: interior, then right vertex
        inner = jnp.moveaxis(grouped[:, :-1], 0, 2).reshape(cut, count, lanes)
        reduced = self._forward(jnp.concatenate([inner, jnp.zeros((2 * d, count, lanes), right.dtype)]))
        vertex = grouped[:-1, -1]
        if self.vertices is not None:
            pulled = jnp.moveaxis(reduced[cut:], 0, 1)
            vertex = vertex + pulled[:-1, d:] + pulled[1:, :d]
            for held in self.held:
                vertex = vertex.at[held].set(0.0)
            vertex = self.vertices.solve(vertex)
        ends = jnp.concatenate([end, vertex, end])
        both = jnp.moveaxis(jnp.concatenate([ends[:-1], ends[1:]], axis=1), 0, 1)
        inner = self._backward(jnp.concatenate([reduced[:cut], both]))[:cut]
        inner = jnp.moveaxis(inner.reshape(-1, d, count, lanes), 2, 0)
        return jnp.concatenate([inner, ends[1:, None]], axis=1).reshape(-1, d, lanes)[:-1]

    def negative_directions(self) -> Int[Array, " lanes"]:
        """The number of negative pivots: the index of the quadratic form; -1 where a pivot is zero or not finite."""
        lanes = self.rows.shape[-1]
        pivots = self._pivots().reshape(-1, lanes)
        if self.vertices is not None:
            pivots = jnp.concatenate([pivots, self.vertices.pivots.reshape(-1, lanes)])
        regular = jnp.all(jnp.isfinite(pivots) & (pivots != 0), axis=0)
        return jnp.where(regular, jnp.sum(pivots < 0, axis=0), -1)

    def _pivots(self):
        index = jnp.arange(self.interior)
        return self.rows[index, index]

    def _forward(self, vector):
        """The multipliers of the elimination applied to right-hand sides, those of the vertices included."""

        def step(k, state):
            rows, vector = state
            below = _below(k, vector.shape[0], vector.ndim)
            return rows, vector - jnp.where(below, rows[:, k] * (vector[k] / rows[k, k])[None], 0.0)

        return _loop(self.interior, lambda *state: lax.fori_loop(0, self.interior, step, state), self.rows, vector)[1]

    def _backward(self, vector):
        """Back substitution inside the elements, from known vertices, column after column."""
        size = vector.shape[0]

        def step(i, state):
            rows, vector = state
            k = size - 1 - i
            known = vector[k] / jnp.where(k < self.interior, rows[k, k], 1.0)
            inside = ~_below(jnp.minimum(k, self.interior) - 1, size, vector.ndim)
            above = jnp.where(inside, rows[:, k], 0.0)
            return rows, (vector - above * known[None]).at[k].set(known)

        return _loop(size, lambda *state: lax.fori_loop(0, size, step, state), self.rows, vector)[1]


def _loop(steps: int, function: Callable, *values):
    """What a function with a loop of so many steps and no sum over an axis returns, compiled whole if it is long."""
    return in_one_function(function, *values) if steps >= _LONG else function(*values)


def _eliminated(matrix, count: int):
    """The first `count` unknowns eliminated without pivoting: reduced rows above the diagonal, columns below it.

    What lies above and left of the unknowns still to be eliminated is not touched again. Written out, which takes
    longer to compile, only the rest is touched; in a loop, whose arrays keep their shape, stages leave it behind.
    """
    if count <= _FEW and math.prod(matrix.shape[2:]) >= _MANY:
        for k in range(count):
            row = matrix[k, k + 1 :]
            matrix = matrix.at[k + 1 :, k + 1 :].add(-(row / matrix[k, k][None])[:, None] * row[None])
        return matrix

    def step(k, rows):
        below = _below(k, rows.shape[0], rows.ndim - 1)
        row, factors = jnp.where(below, rows[k], 0.0), jnp.where(below, rows[:, k] / rows[k, k][None], 0.0)
        return rows - factors[:, None] * row[None]

    done = 0
    for end in _stages(count):
        reduced = lax.fori_loop(0, end - done, step, matrix[done:, done:])
        matrix = matrix.at[done:, done:].set(reduced)
        done = end
    return matrix


def _stages(count: int) -> list[int]:
    """Where the stages of an elimination end."""
    return [count // 2, count] if count > 5 else [count]


def _only(k, size, axis, ndim):
    """Where the index along an axis is k, of a shape that broadcasts."""
    return jnp.reshape(jnp.arange(size) == k, tuple(size if i == axis else 1 for i in range(ndim)))


def _below(k, size, ndim):
    """Where the first index is above k, of a shape that broadcasts."""
    return jnp.reshape(jnp.arange(size) > k, (size,) + (1,) * (ndim - 1))
