"""Geodesics of normal distributions from a point and a velocity, in closed form."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

TERMS = 24
"""Terms of the exponential of a matrix of size 2: the next one is below round-off."""


def carried(
    mean_velocity: Float[Array, " d"], covariance_velocity: Float[Array, "d d"], pieces: int
) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    r"""Where the geodesic from N(0, I) comes after unit time: the mean, and the factor of the covariance.

    $$\begin{pmatrix} \Sigma^{-1} & \Sigma^{-1} \mu & \cdot \\ \cdot & \cdot & \cdot \\ \cdot & \cdot & \cdot
    \end{pmatrix} = \exp \begin{pmatrix} -B & x & 0 \\ x^\top & 0 & -x^\top \\ 0 & -x & B \end{pmatrix}$$

    with the velocities x of the mean and B of the covariance. It is taken in pieces, each seen from its own start:
    small eigenvalues of a large exponential would drown in the round-off of great ones.

    **Returns:** both, NaN where the speed, which a geodesic keeps, changed by more than eps^0.4 relative.

    **Reference:** Eriksen (1987); Calvo & Oller (1991).
    """
    d, dtype = mean_velocity.shape[0], mean_velocity.dtype

    def piece(carry, _):
        mean, factor, x, B = carry
        step, stretch, x, B = _piece(x, B, pieces)
        return (mean + factor @ step, factor @ stretch, x, B), None

    start = (jnp.zeros(d, dtype), jnp.eye(d, dtype=dtype), mean_velocity, covariance_velocity)
    (mean, factor, x, B), _ = lax.scan(piece, start, None, length=pieces)
    before, after = _speed(mean_velocity, covariance_velocity), _speed(x, B)
    kept = jnp.abs(after - before) <= 2.0 * float(jnp.finfo(dtype).eps) ** 0.4 * before
    return jnp.where(kept, mean, jnp.nan), jnp.where(kept, factor, jnp.nan)


def _piece(x, B, pieces):
    """The end of a piece as seen from its start, and the velocities there as seen from its end."""
    d = x.shape[0]
    generator = _generator(x, B)
    half = _exponential(generator / (2.0 * pieces))
    # With T upper triangular and N of orthonormal rows, T N are the upper rows of the half exponential, and
    # T T^T the upper block of the whole.
    rows, triangle = jnp.linalg.qr(half[:d][::-1].T)
    signs = jnp.sign(jnp.diagonal(triangle))
    rows, upper = (rows * signs[None, :]).T[::-1], (triangle.T * signs[None, :])[::-1, ::-1]
    stretch = solve_triangular(upper, jnp.eye(d, dtype=x.dtype), trans="T")
    B = -rows @ generator @ rows.T
    place = rows @ half[:, d]
    return stretch @ place, stretch, rows @ generator @ half[:, d] + B @ place, 0.5 * (B + B.T)


def _generator(x, B):
    column, zero = x[:, None], jnp.zeros_like(B)
    return jnp.block([[-B, column, zero], [column.T, jnp.zeros((1, 1), x.dtype), -column.T], [zero, -column, B]])


def _exponential(matrix):
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)

    def term(number, total):
        return identity + matrix @ total / (TERMS - number).astype(matrix.dtype)

    return lax.fori_loop(0, TERMS, term, identity)


def _speed(x, B):
    return jnp.sum(x**2) + 0.5 * jnp.sum(B**2)
