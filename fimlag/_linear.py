"""Solves with small dense matrices, fit for the body of a compiled loop."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_UNROLLED = 6  # the largest matrix eliminated in line: a LAPACK call inside a loop costs microseconds


def solve(matrix: Float[Array, "d d"], rhs: Float[Array, "d *k"]) -> Float[Array, "d *k"]:
    r"""The solution of a square linear system, NaN where the matrix is singular to working precision.

    $$A x = b$$

    The matrix may be indefinite or unsymmetric. Rows and columns are scaled to size one first, so that the
    verdict on singularity does not depend on the units of single coordinates. Derivatives of every order are
    further solves, never derivatives of the elimination.

    **Arguments:** `matrix`: shape (d, d); `rhs`: shape (d,), or (d, k) for k right-hand sides.

    **Returns:** the solution in the shape of `rhs`.

    **Reference:** Bjorck (1967), stability of solves by modified Gram-Schmidt.
    """
    fixed = lax.stop_gradient(matrix)
    return lax.custom_linear_solve(
        lambda x: matrix @ x,
        rhs,
        lambda _, b: _scaled_solve(fixed, b),
        lambda _, b: _scaled_solve(fixed.T, b),
    )


def _scaled_solve(matrix, rhs):
    columns = rhs.reshape(rhs.shape[0], -1)
    rows_by = 1 / jnp.max(jnp.abs(matrix), axis=1, keepdims=True)
    columns_by = 1 / jnp.max(jnp.abs(rows_by * matrix), axis=0, keepdims=True)
    scaled = rows_by * matrix * columns_by
    eliminate = _orthogonalise if matrix.shape[0] <= _UNROLLED else _factorise
    solution, pivots = eliminate(scaled, rows_by * columns)
    threshold = matrix.shape[0] * jnp.finfo(matrix.dtype).eps
    regular = jnp.min(jnp.abs(pivots)) > threshold
    return jnp.where(regular, columns_by.T * solution, jnp.nan).reshape(rhs.shape)


def _orthogonalise(matrix, right):
    """Modified Gram-Schmidt on the matrix and its right-hand sides, then back substitution.

    No pivot is chosen: a compiler that computes one comparison twice, with two roundings, could not disagree
    with itself here and exchange only half a row.
    """
    size = matrix.shape[0]
    columns, rest = list(matrix.T), right
    triangle, projections = {}, []
    for k in range(size):
        triangle[k, k] = jnp.sqrt(columns[k] @ columns[k])
        direction = columns[k] / triangle[k, k]
        for j in range(k + 1, size):
            triangle[k, j] = direction @ columns[j]
            columns[j] = columns[j] - triangle[k, j] * direction
        projections.append(direction @ rest)
        rest = rest - jnp.outer(direction, projections[k])
    solution = projections
    for k in reversed(range(size)):
        for j in range(k + 1, size):
            solution[k] = solution[k] - triangle[k, j] * solution[j]
        solution[k] = solution[k] / triangle[k, k]
    return jnp.stack(solution), jnp.stack([triangle[k, k] for k in range(size)])


def _factorise(matrix, columns):
    lu, pivots = jax.scipy.linalg.lu_factor(matrix)
    return jax.scipy.linalg.lu_solve((lu, pivots), columns), jnp.diagonal(lu)
