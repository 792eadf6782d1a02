"""Orthonormal frames of a metric: triangular factors that know its signature."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def frame_of(matrix: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    r"""`(C, eta)`: the lower triangular factor of a symmetric matrix, and the signs of its pivots.

    $$g = C\, \mathrm{diag}(\eta)\, C^\top, \qquad C_{kk} > 0$$

    The columns of $C^{-\top}$ are an orthonormal frame. For a positive definite matrix this is its Cholesky factor.
    NaN where a leading minor vanishes to working precision.

    **Reference:** Golub & Van Loan (2013), sec. 4.1.2.
    """
    d = matrix.shape[0]
    threshold = 4 * d * jnp.finfo(matrix.dtype).eps

    def eliminate(rest, k):
        column = rest[:, k]
        pivot = column[k]
        size = jnp.abs(pivot)
        regular = size > threshold * jnp.abs(matrix[k, k] - pivot)
        column = jnp.where(regular, column, jnp.nan) * (jnp.sign(pivot) / jnp.sqrt(jnp.where(regular, size, 1.0)))
        # What is eliminated is 0 by definition: round-off must not fill it again.
        column = jnp.where(jnp.arange(d) < k, 0.0, column)
        return rest - jnp.sign(pivot) * jnp.outer(column, column), (column, jnp.sign(pivot))

    _, (columns, signs) = lax.scan(eliminate, matrix, jnp.arange(d))
    return columns.T, signs


def whitened(frame: Float[Array, "d d"], form: Float[Array, "d d"]) -> Float[Array, "d d"]:
    r"""A bilinear form in the frame, $C^{-1} A\, C^{-\top}$."""
    left = jax.scipy.linalg.solve_triangular(frame, form, lower=True)
    return jax.scipy.linalg.solve_triangular(frame, left.T, lower=True).T


def lower_half(form: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The part below the diagonal and half of the diagonal: with its transpose a symmetric form is whole again."""
    return jnp.tril(form) - 0.5 * jnp.diag(jnp.diagonal(form))
