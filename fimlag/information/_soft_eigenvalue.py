"""The smallest eigenvalue of an information matrix, softened where it is multiple."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._implicit import implicit_root


@jax.custom_jvp
def smallest_eigenvalue(information: Float[Array, "d d"]) -> Float[Array, ""]:
    """The smallest eigenvalue; its derivative is the mixture E, NaN where the eigenvalue is not positive."""
    return jnp.linalg.eigvalsh(information)[0]


@smallest_eigenvalue.defjvp
def _smallest_eigenvalue_jvp(primals, tangents):
    (information,), (tangent,) = primals, tangents
    soft = soften(0.0, information)
    level = softened_eigenvalue(information, soft)
    return smallest_eigenvalue(information), jnp.sum(mixture(information, level) * tangent)


def mixture(information: Float[Array, "d d"], level) -> Float[Array, "d d"]:
    """The matrix E, of trace one whatever round-off has done to the level."""
    inverse = _inverse(shifted(information, level))
    return inverse / jnp.trace(inverse)


def soften(barrier, information: Float[Array, "d d"]) -> Float[Array, ""]:
    """The barrier of the eigenvalue: with a much smaller one round-off would choose E."""
    return jnp.maximum(barrier, float(jnp.finfo(information.dtype).eps) ** 0.4)


def softened_eigenvalue(information: Float[Array, "d d"], soft) -> Float[Array, ""]:
    """The softened smallest eigenvalue t, differentiable in the matrix; NaN where it is not positive."""
    eigenvalues = lax.stop_gradient(jnp.linalg.eigvalsh(information))
    root = _root_of_eigenvalues(eigenvalues, lax.stop_gradient(soft))
    return implicit_root(root, (information, soft), gradient=_level_slope, factor=_level_solve)


def _root_of_eigenvalues(eigenvalues, soft):
    """The root t of $1/t = \\epsilon \\sum_j 1 / (\\lambda_j - t)$ below the smallest eigenvalue, by bisection.

    The distance $u = \\lambda_1 - t$ is bisected, not t: it is small, and known within a factor d.
    """
    smallest, size = eigenvalues[0], eigenvalues.shape[0]
    apart = eigenvalues - smallest

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        far = soft * jnp.sum(1.0 / (apart + middle)) < 1.0 / (smallest - middle)
        return jnp.where(far, low, middle), jnp.where(far, middle, high)

    ends = [count * soft * smallest / (1.0 + count * soft) for count in (1.0, float(size))]
    low, high = lax.fori_loop(0, jnp.finfo(eigenvalues.dtype).nmant, halve, (ends[0], ends[1]))
    return jnp.where(smallest > 0.0, smallest - 0.5 * (low + high), jnp.nan)


def _level_slope(problem, level):
    information, soft = problem
    return 1.0 / level - soft * jnp.trace(_inverse(shifted(information, level)))


def _level_solve(problem, level):
    information, soft = problem
    curvature = 1.0 / level**2 + soft * jnp.sum(_inverse(shifted(information, level)) ** 2)
    return lambda right: -right / curvature


def shifted(information: Float[Array, "d d"], level) -> Float[Array, "d d"]:
    """$M - t$."""
    return information - level * jnp.eye(information.shape[0], dtype=information.dtype)


def _inverse(matrix):
    """The inverse of a matrix that may be singular to working precision, as one softened is."""
    root = jax.scipy.linalg.solve_triangular(
        jnp.linalg.cholesky(matrix), jnp.eye(matrix.shape[0], dtype=matrix.dtype), lower=True
    )
    return root.T @ root
