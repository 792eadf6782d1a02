"""Logarithms of singular values, to all digits for matrices close to the identity and for widely spread ones."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

NEAR = 0.5
"""The size of M^T M - I below which its own eigenvalues are taken."""

SWEEPS = 40
"""The most sweeps of rotations; ten are many."""


@jax.custom_jvp
def log_square(M: Float[Array, "m m"], E: Float[Array, "m m"], inverse: Float[Array, "m m"]) -> Float[Array, ""]:
    r"""Half the sum of the squared logarithms of the eigenvalues of $M M^\top$.

    $$f = \tfrac12 \operatorname{tr} \log^2 (M M^\top), \qquad
    df = 2 \operatorname{tr}\big(\log(M M^\top)\, dM M^{-1}\big)$$

    No difference of eigenvalues occurs in its first two derivatives, so that equal ones do no harm.

    **Arguments:** `M`: a regular matrix; `E`: M - I, computed without cancellation; `inverse`: $M^{-1}$.

    **Returns:** the number, NaN where round-off leaves some singular value less than half of its digits.
    """
    logs, _ = logs_and_frame(M, E, inverse)
    return 0.5 * jnp.sum(logs**2)


@log_square.defjvp
def _log_square_jvp(primals, tangents):
    M, E, inverse = primals
    slope = 2.0 * jnp.sum(log_gram(M, E, inverse) * (tangents[0] @ inverse))
    return log_square(M, E, inverse), slope


@jax.custom_jvp
def log_gram(M: Float[Array, "m m"], E: Float[Array, "m m"], inverse: Float[Array, "m m"]) -> Float[Array, "m m"]:
    r"""The matrix $\log(M M^\top) = U \operatorname{diag}(x) U^\top$.

    $$U^\top d \log(M M^\top) U = \phi(x_j - x_i) A_{ij} + \phi(x_i - x_j) A_{ji}, \qquad
    A = U^\top dM M^{-1} U, \quad \phi(t) = \frac{t}{1 - e^{-t}}$$

    **Arguments:** as for `log_square`.

    **Reference:** Higham (2008), theorem 3.11 (Daleckii & Krein).
    """
    logs, frame = logs_and_frame(M, E, inverse)
    return (frame * logs[None, :]) @ frame.T


@log_gram.defjvp
def _log_gram_jvp(primals, tangents):
    M, E, inverse = primals
    logs, frame = logs_and_frame(M, E, inverse)
    turned = frame.T @ tangents[0] @ inverse @ frame
    half = _phi(logs[None, :] - logs[:, None]) * turned
    return (frame * logs[None, :]) @ frame.T, frame @ (half + half.T) @ frame.T


def _phi(t):
    small = jnp.abs(t) < 1e-4
    safe = jnp.where(small, 1.0, t)
    return jnp.where(small, 1.0 + t / 2.0 + t**2 / 12.0, -safe / jnp.expm1(-safe))


def logs_and_frame(M, E, inverse) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """The logarithms x of the eigenvalues of M M^T, and its eigenvectors U."""
    excess = E + E.T + E @ E.T
    near = jnp.sum(excess**2) < NEAR**2
    right = _right_singular_vectors(M)
    # A vector stretched is measured by M and one shrunk by its inverse: what the vectors lack in orthogonality
    # spoils the small ones of each.
    stretched, shrunk = M @ right, inverse.T @ right
    stretch, shrink = jnp.linalg.norm(stretched, axis=0), jnp.linalg.norm(shrunk, axis=0)
    long = stretch > 1.0
    resolved = jnp.max(jnp.abs(stretch * shrink - 1.0)) < float(jnp.finfo(M.dtype).eps) ** 0.5
    logs = jnp.where(resolved, 2.0 * jnp.where(long, jnp.log(stretch), -jnp.log(shrink)), jnp.nan)
    frame = jnp.where(long[None, :], stretched / stretch[None, :], shrunk / shrink[None, :])
    excesses, near_frame = jnp.linalg.eigh(jnp.where(near, excess, 0.0))
    return jnp.where(near, jnp.log1p(jnp.where(near, excesses, 0.0)), logs), jnp.where(near, near_frame, frame)


def _right_singular_vectors(M):
    """An orthogonal matrix V with orthogonal columns M V, by one-sided Jacobi rotations.

    Many pairs of columns turn at a time, and then change partners as in a tournament. Unlike a bidiagonal method this
    keeps the digits of the small singular values where columns of very different lengths are not nearly parallel.

    **Reference:** Demmel & Veselic (1992), section 4; Brent & Luk (1985), section 3 (the tournament).
    """
    rows, size = M.shape
    half = (size + 1) // 2
    partners = _tournament(half)
    columns = jnp.zeros((rows + 2 * half, 2 * half), M.dtype).at[:rows, :size].set(M)
    columns = columns.at[rows:].set(jnp.eye(2 * half, dtype=M.dtype))

    def turn(carry, _):
        columns, worst = carry
        columns, cosine = _rotated(columns, rows, half)
        return (columns[:, partners], jnp.maximum(worst, cosine)), None

    def sweep(state):
        columns, _, number = state
        (columns, worst), _ = lax.scan(turn, (columns, jnp.zeros((), M.dtype)), None, length=2 * half - 1)
        return columns, worst, number + 1

    def unfinished(state):
        return (state[1] > size * float(jnp.finfo(M.dtype).eps)) & (state[2] < SWEEPS)

    columns = lax.while_loop(unfinished, sweep, (columns, jnp.full((), jnp.inf, M.dtype), 0))[0]
    return columns[rows : rows + size, :size]


def _rotated(columns, rows, half):
    """Each column of the left half made orthogonal to its partner in the right one, and the largest cosine before."""
    left, right = columns[:, :half], columns[:, half:]
    alpha, beta = jnp.sum(left[:rows] ** 2, axis=0), jnp.sum(right[:rows] ** 2, axis=0)
    gamma = jnp.sum(left[:rows] * right[:rows], axis=0)
    straight = gamma == 0.0
    zeta = (beta - alpha) / (2.0 * jnp.where(straight, 1.0, gamma))
    tangent = jnp.where(zeta < 0.0, -1.0, 1.0) / (jnp.abs(zeta) + jnp.sqrt(1.0 + zeta**2))
    tangent = jnp.where(straight, 0.0, tangent)[None, :]
    cosine = 1.0 / jnp.sqrt(1.0 + tangent**2)
    turned = [cosine * (left - tangent * right), cosine * (tangent * left + right)]
    angles = jnp.abs(gamma) / jnp.where(straight, 1.0, jnp.sqrt(alpha) * jnp.sqrt(beta))
    return jnp.concatenate(turned, axis=1), jnp.max(angles)


def _tournament(half: int) -> np.ndarray:
    """Where each column comes from in the next round: the first stays, all others move on by one place."""
    ring = [*range(1, half), *range(2 * half - 1, half - 1, -1)]
    source = np.arange(2 * half)
    for before, after in itertools.pairwise([*ring, ring[0]]):
        source[after] = before
    return source
