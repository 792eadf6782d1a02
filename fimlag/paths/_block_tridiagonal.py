"""Symmetric matrices by block elimination: factor, solve, and count the negative directions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


def invert_symmetric(matrix: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    r"""The inverse of a symmetric matrix and the pivots of its $L D L^\top$, by the sweep operator.

    No pivoting: exact for definite matrices; for indefinite ones the error grows as a pivot nears zero, and a zero
    pivot gives NaN. As straight array code it needs no library call, so it batches and runs inside loops.

    **Returns:** the inverse (n, n) and the pivots (n,), whose signs are the matrix's inertia (Sylvester's law).

    **Reference:** Goodnight (1979).
    """
    size = matrix.shape[0]
    if size == 0:
        return matrix, matrix[0:0, 0:0].ravel()
    index = jnp.arange(size)

    def sweep(k, state):
        swept, pivots = state
        row, column = index[:, None] == k, index[None, :] == k
        pivot = swept[k, k]
        scaled = swept[k] / pivot
        update = swept - swept[:, k][:, None] * scaled[None, :]
        update = jnp.where(row, scaled[None, :], jnp.where(column, scaled[:, None], update))
        return jnp.where(row & column, -1 / pivot, update), pivots.at[k].set(pivot)

    swept, pivots = lax.fori_loop(0, size, sweep, (matrix, jnp.zeros(size, matrix.dtype)))
    return -swept, pivots


class BlockTridiagonal(eqx.Module):
    r"""The block $L D L^\top$ of a symmetric block-tridiagonal matrix.

    **Arguments:** `diagonal`: (n, d, d) symmetric blocks; `off_diagonal`: (n - 1, d, d), block [k] couples block
    row k (its rows) with k + 1 (its columns).

    **Reference:** Golub & Van Loan (2013), sec. 4.5.
    """

    inverses: Float[Array, "n d d"]
    couplings: Float[Array, "n d d"]
    pivots: Float[Array, "n d"]

    def __init__(self, diagonal: Float[Array, "n d d"], off_diagonal: Float[Array, "m d d"]):
        no_coupling = jnp.zeros_like(diagonal[:1])
        couplings = jnp.concatenate([no_coupling, off_diagonal])[: diagonal.shape[0]]

        def eliminate(previous_inverse, blocks):
            block, coupling = blocks
            reduced = block - coupling.T @ previous_inverse @ coupling
            inverse, pivots = invert_symmetric(0.5 * (reduced + reduced.T))
            return inverse, (inverse, pivots)

        start = jnp.zeros(diagonal.shape[1:], diagonal.dtype)
        _, (self.inverses, self.pivots) = lax.scan(eliminate, start, (diagonal, couplings))
        self.couplings = couplings

    def solve(self, right: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The solution of the linear system, shape (n, d)."""

        def forward(carry, blocks):
            inverse, coupling, vector = blocks
            reduced = vector - coupling.T @ carry
            carry = inverse @ reduced
            return carry, carry

        def backward(carry, blocks):
            inverse, next_coupling, vector = blocks
            carry = vector - inverse @ (next_coupling @ carry)
            return carry, carry

        start = jnp.zeros_like(right[0])
        _, reduced = lax.scan(forward, start, (self.inverses, self.couplings, right))
        following = jnp.concatenate([self.couplings[1:], jnp.zeros_like(self.couplings[:1])])
        return lax.scan(backward, start, (self.inverses, following, reduced), reverse=True)[1]


class CondensedElements(eqx.Module):
    """The factor of a matrix assembled from elements: interior nodes eliminated element by element, vertices after.

    **Arguments:** `elements`: (E, p + 1, d, p + 1, d) symmetric element matrices; the unknowns are all nodes but
    the first and the last of the whole path.
    """

    interior_inverses: Float[Array, "elements n n"]
    interior_pivots: Float[Array, "elements n"]
    borders: Float[Array, "elements n b"]
    vertices: BlockTridiagonal | None
    degree: int = eqx.field(static=True)

    def __init__(self, elements: Float[Array, "elements nodes d nodes d"]):
        count, nodes, d = elements.shape[:3]
        self.degree = nodes - 1
        order = [*range(1, nodes - 1), 0, nodes - 1]
        matrix = elements[:, jnp.array(order)][:, :, :, jnp.array(order)].reshape(count, nodes * d, nodes * d)
        cut = (nodes - 2) * d
        self.interior_inverses, self.interior_pivots = jax.vmap(invert_symmetric)(matrix[:, :cut, :cut])
        self.borders = matrix[:, :cut, cut:]
        ends = matrix[:, cut:, cut:] - jnp.einsum(
            "eia,eij,ejb->eab", self.borders, self.interior_inverses, self.borders
        )
        diagonal = ends[:-1, d:, d:] + ends[1:, :d, :d]
        self.vertices = BlockTridiagonal(diagonal, ends[1:-1, :d, d:]) if count > 1 else None

    def solve(self, right: Float[Array, "unknowns d"]) -> Float[Array, "unknowns d"]:
        """The solution of the linear system over the unknown nodes, shape (E p - 1, d)."""
        count, d = self.interior_inverses.shape[0], right.shape[1]
        end = jnp.zeros_like(right[:1])
        grouped = jnp.concatenate([right, end]).reshape(count, self.degree, d)  # each: interior, then right vertex
        interior, vertex = grouped[:, :-1].reshape(count, -1), grouped[:-1, -1]
        partial = jnp.einsum("eij,ej->ei", self.interior_inverses, interior)
        if self.vertices is not None:
            pulled = jnp.einsum("eia,ei->ea", self.borders, partial)
            vertex = self.vertices.solve(vertex - pulled[:-1, d:] - pulled[1:, :d])
        ends = jnp.concatenate([end, vertex, end])
        both = jnp.concatenate([ends[:-1], ends[1:]], axis=1)
        interior = partial - jnp.einsum("eij,eja,ea->ei", self.interior_inverses, self.borders, both)
        solution = jnp.concatenate([interior.reshape(count, -1, d), ends[1:, None]], axis=1)
        return solution.reshape(-1, d)[:-1]

    def negative_directions(self) -> Int[Array, ""]:
        """The number of negative pivots: the index of the quadratic form; -1 where a pivot is zero or not finite."""
        pivots = self.interior_pivots.ravel()
        if self.vertices is not None:
            pivots = jnp.concatenate([pivots, self.vertices.pivots.ravel()])
        regular = jnp.all(jnp.isfinite(pivots)) & jnp.all(pivots != 0)
        return jnp.where(regular, jnp.sum(pivots < 0), -1)
