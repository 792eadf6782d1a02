"""Canonical correlations of two Gaussian vectors."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from fimlag._precision import precision_of
from fimlag.information._definite import definite_factor, whitened


class CanonicalCorrelations(eqx.Module):
    r"""Uncorrelated pairs of directions in which two vectors correlate, the strongest first.

    **Attributes:** `correlations`: $\rho_i$, from 0 to 1, shape (k,), k the smaller dimension. `of_x`: columns $a_i$,
    shape (n, k), `of_y`: columns $b_i$, shape (m, k), with $a_i^\top \Sigma_x a_j = b_i^\top \Sigma_y b_j =
    \delta_{ij}$ and $a_i^\top \Sigma_{xy} b_j = \rho_i \delta_{ij}$.
    """

    correlations: Float[Array, " k"]
    of_x: Float[Array, "n k"]
    of_y: Float[Array, "m k"]


def canonical_correlations(
    covariance_x: ArrayLike, covariance_y: ArrayLike, cross_covariance: ArrayLike
) -> CanonicalCorrelations:
    r"""The canonical correlations of two vectors and their directions.

    $$L_x^{-1} \Sigma_{xy} L_y^{-\top} = U \operatorname{diag}(\rho)\, V^\top, \qquad \Sigma_x = L_x L_x^\top, \quad
    \Sigma_y = L_y L_y^\top$$

    **Arguments:** `covariance_x`: shape (n, n); `covariance_y`: shape (m, m); `cross_covariance`: of x with y, shape
    (n, m).

    **Returns:** a `CanonicalCorrelations`, NaN where a covariance is not positive definite. Directions of equal
    correlations are not unique and have no derivative.

    **Raises:** `ValueError` for shapes that do not fit.

    **Reference:** Hotelling (1936); Bjorck & Golub (1973), section 3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> pair = fl.canonical_correlations(jnp.array([[4.0]]), jnp.array([[1.0]]), jnp.array([[1.0]]))
    >>> print(pair.correlations)
    [0.5]

    ```
    """
    dtype = precision_of(covariance_x, covariance_y, cross_covariance)
    of_x, of_y, cross = (jnp.asarray(matrix, dtype) for matrix in (covariance_x, covariance_y, cross_covariance))
    if cross.ndim != 2 or (of_x.shape, of_y.shape) != ((cross.shape[0],) * 2, (cross.shape[1],) * 2):
        raise ValueError(
            "covariance_x, covariance_y and cross_covariance must have shapes (n, n), (m, m) and (n, m), but have "
            f"shapes {of_x.shape}, {of_y.shape} and {cross.shape}."
        )
    white = whitened(of_y, whitened(of_x, cross).T).T
    left, correlations, right = jnp.linalg.svd(white, full_matrices=False)
    directions = (
        jax.scipy.linalg.solve_triangular(definite_factor(matrix), columns, lower=True, trans=1)
        for matrix, columns in ((of_x, left), (of_y, right.T))
    )
    # Round-off can leave a perfect correlation just above one.
    return CanonicalCorrelations(jnp.minimum(correlations, 1.0), *directions)
