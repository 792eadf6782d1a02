"""Coordinates without bounds of positive definite matrices: Cholesky factors, the logarithms of their diagonals."""

import math

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, ArrayLike, Float

from fimlag.information.families._family import as_real


def log_cholesky(matrix: ArrayLike) -> Float[Array, " k"]:
    r"""The log-Cholesky coordinates of a positive definite matrix.

    $$\Sigma = L L^\top, \qquad
    u = (\log L_{00},\ L_{10}, \log L_{11},\ L_{20}, L_{21}, \log L_{22},\ \dots)$$

    **Arguments:** `matrix`: $\Sigma$, symmetric, of which the lower triangle is read.

    **Returns:** $d (d + 1) / 2$ numbers without bounds, NaN where the matrix is not positive definite.

    **Raises:** `ValueError` for a matrix that is not square.

    **Reference:** Pinheiro & Bates (1996), section 2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> coordinates = fl.families.log_cholesky(jnp.array([[1.0, 0.5], [0.5, 1.25]]))
    >>> print(coordinates, fl.families.from_log_cholesky(coordinates)[1])
    [0.  0.5 0. ] [0.5  1.25]

    ```
    """
    matrix = as_real(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square, but has shape {matrix.shape}.")
    return coordinates_of(jnp.linalg.cholesky(matrix))


def from_log_cholesky(coordinates: Float[Array, " k"]) -> Float[Array, "d d"]:
    r"""The positive definite matrix of log-Cholesky coordinates: the inverse of `log_cholesky`.

    $$\Sigma = L L^\top$$

    **Arguments:** `coordinates`: $d (d + 1) / 2$ numbers.

    **Returns:** the matrix, shape (d, d).

    **Raises:** `ValueError` for a vector of no such length.

    **Reference:** Pinheiro & Bates (1996), section 2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.families.from_log_cholesky(jnp.array([0.0, 2.0, 0.0])))
    [[1. 2.]
     [2. 5.]]

    ```
    """
    factor = factor_of(coordinates)
    return factor @ factor.T


def factor_of(coordinates: Float[Array, " k"]) -> Float[Array, "d d"]:
    """The lower triangular factor L."""
    coordinates = as_real(coordinates)
    d = (math.isqrt(8 * coordinates.size + 1) - 1) // 2
    if coordinates.ndim != 1 or d == 0 or triangle_size(d) != coordinates.size:
        raise ValueError(f"Log-Cholesky coordinates are d (d + 1) / 2 numbers, but have shape {coordinates.shape}.")
    lower = triangle(coordinates, d)
    return with_diagonal(lower, jnp.exp(jnp.diagonal(lower)))


def coordinates_of(factor: Float[Array, "d d"]) -> Float[Array, " k"]:
    """The coordinates of a lower triangular factor."""
    return with_diagonal(factor, jnp.log(jnp.diagonal(factor)))[np.tril_indices(factor.shape[0])]


def triangle_size(d: int) -> int:
    """The number of coordinates."""
    return d * (d + 1) // 2


def triangle(entries: Float[Array, " k"], d: int) -> Float[Array, "d d"]:
    """The lower triangular matrix of entries, row by row."""
    return jnp.zeros((d, d), entries.dtype).at[np.tril_indices(d)].set(entries)


def with_diagonal(lower: Float[Array, "d d"], diagonal: Float[Array, " d"]) -> Float[Array, "d d"]:
    """A lower triangular matrix with another diagonal."""
    return jnp.tril(lower, -1) + jnp.diag(diagonal)


def relative_factor(
    coordinates0: Float[Array, " k"], coordinates1: Float[Array, " k"]
) -> tuple[Float[Array, "d d"], Float[Array, "d d"], Float[Array, "d d"]]:
    r"""One factor in units of another: $M = L_0^{-1} L_1$, the same less the identity, and the inverse $M^{-1}$."""
    factor0, factor1 = factor_of(coordinates0), factor_of(coordinates1)
    d = factor0.shape[0]
    step = triangle(coordinates1 - coordinates0, d)
    growth = jnp.diagonal(factor0) * jnp.expm1(jnp.diagonal(step))
    excess = solve_triangular(factor0, with_diagonal(step, growth), lower=True)
    relative = solve_triangular(factor0, factor1, lower=True)
    return relative, excess, solve_triangular(factor1, factor0, lower=True)
