"""Factors of information matrices, NaN where one is not positive definite to working precision."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact


def definite_factor(matrix: Inexact[Array, "d d"]) -> Float[Array, "d d"]:
    """The Cholesky factor; NaN in every entry where a pivot is lost in round-off."""
    size = matrix.shape[0]
    factor = jnp.linalg.cholesky(matrix)
    # A pivot, over its diagonal entry, is the share of a score that the earlier ones leave unexplained. Its round-off
    # is at most (1 + |w|)^2 d eps, where w explains the score by the earlier ones; (-w, 1) over the pivot's root is a
    # row of this inverse (Higham 2002, theorem 10.3).
    scales = jnp.diag(jnp.sqrt(jnp.diag(matrix)))
    rows = jnp.sum(jnp.abs(jax.scipy.linalg.solve_triangular(factor, scales, lower=True)), axis=1)
    definite = jnp.max(rows) ** 2 * (size * float(jnp.finfo(factor.dtype).eps)) < 1.0
    return jnp.where(definite, factor, jnp.nan)


def whitened(matrix: Inexact[Array, "d d"], columns: Inexact[Array, "d m"]) -> Float[Array, "d m"]:
    """$L^{-1} C$ with $M = L L^\\top$: the root of $C^\\top M^{-1} C$."""
    return jax.scipy.linalg.solve_triangular(definite_factor(matrix), columns, lower=True)


def definite_inverse(matrix: Inexact[Array, "d d"]) -> Float[Array, "d d"]:
    """The inverse, symmetric by construction."""
    root = whitened(matrix, jnp.eye(matrix.shape[0], dtype=matrix.dtype))
    return root.T @ root


def as_square(matrix: ArrayLike, name: str) -> Inexact[Array, "d d"]:
    """The matrix, of floating-point numbers; a `ValueError` where it is not square."""
    matrix = jnp.asarray(matrix)
    matrix = matrix if jnp.issubdtype(matrix.dtype, jnp.inexact) else matrix.astype(jnp.result_type(float))
    check_square(matrix, name)
    return matrix


def check_square(matrix: Inexact[Array, "d d"], name: str) -> None:
    """A `ValueError` where the matrix is not square."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, but has shape {matrix.shape}.")
