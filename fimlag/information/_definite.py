"""Factors of information matrices, NaN where one is not positive definite to working precision."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


def definite_factor(matrix: Inexact[Array, "d d"]) -> Float[Array, "d d"]:
    """The Cholesky factor; NaN in every entry where a pivot is lost in round-off."""
    factor = jnp.linalg.cholesky(matrix)
    # A squared pivot over the diagonal is one minus the share of a score that the earlier ones explain.
    unexplained = jnp.diag(factor) ** 2 / jnp.diag(matrix)
    definite = jnp.all(unexplained > matrix.shape[0] * float(jnp.finfo(factor.dtype).eps))
    return jnp.where(definite, factor, jnp.nan)


def whitened(matrix: Inexact[Array, "d d"], columns: Inexact[Array, "d m"]) -> Float[Array, "d m"]:
    """$L^{-1} C$ with $M = L L^\\top$: the root of $C^\\top M^{-1} C$."""
    return jax.scipy.linalg.solve_triangular(definite_factor(matrix), columns, lower=True)


def definite_inverse(matrix: Inexact[Array, "d d"]) -> Float[Array, "d d"]:
    """The inverse, symmetric by construction."""
    root = whitened(matrix, jnp.eye(matrix.shape[0], dtype=matrix.dtype))
    return root.T @ root


def check_square(matrix: Inexact[Array, "d d"], name: str) -> None:
    """A `ValueError` where the matrix is not square."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, but has shape {matrix.shape}.")
