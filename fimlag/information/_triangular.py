"""The triangular square root of the information: orthogonal steps alone, so that small eigenvalues survive."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.information._root import PARCEL, SquareRoot

STORED = 2**28
"""Bytes that all rows of the square root may take together."""


def row_count(roots: tuple[SquareRoot, ...]) -> int:
    """The rows of all roots together."""
    return sum(root.rows for root in roots)


def stored_size(roots: tuple[SquareRoot, ...]) -> int:
    """Bytes of all rows together."""
    vector = roots[0].vector
    return row_count(roots) * vector.size * vector.dtype.itemsize


def stored_jacobian(roots: tuple[SquareRoot, ...]) -> Float[Array, "rows d"]:
    """All rows together."""
    return jnp.concatenate([root.stored_rows() for root in roots])


def triangular_root(roots: tuple[SquareRoot, ...], damping=None) -> Float[Array, "d d"]:
    """R with $R^\\top R = I + \\lambda$; many rows pass by in parcels, each a QR step on what came before.

    The Gram matrix $J^\\top J$ is never formed: it would square the condition number.

    **Reference:** Demmel, Grigori, Hoemmen & Langou (2012), section 3 (sequential TSQR).
    """
    size, dtype = roots[0].vector.size, roots[0].vector.dtype
    start = jnp.zeros((0, size), dtype) if damping is None else jnp.sqrt(damping) * jnp.eye(size, dtype=dtype)
    if stored_size(roots) <= PARCEL:
        return _factor_of(jnp.concatenate([start, stored_jacobian(roots)]))
    triangle = _factor_of(start)
    for root in roots:
        triangle = root.fold_rows(lambda factor, rows: _factor_of(jnp.concatenate([factor, rows])), triangle)
    return triangle


def _factor_of(rows):
    """The triangular factor, (d, d); fewer rows than columns are filled up with zeros."""
    missing = rows.shape[1] - rows.shape[0]
    if missing > 0:
        rows = jnp.concatenate([rows, jnp.zeros((missing, rows.shape[1]), rows.dtype)])
    return jnp.linalg.qr(rows, mode="r")


def lost_in_round_off(triangle: Float[Array, "d d"]) -> Array:
    """Whether some column of a triangular factor is a combination of those before it, to working precision."""
    unexplained = jnp.abs(jnp.diagonal(triangle))
    length = jnp.linalg.norm(jax.lax.stop_gradient(triangle), axis=0)
    return ~jnp.all(unexplained > triangle.shape[0] * float(jnp.finfo(triangle.dtype).eps) * length)
