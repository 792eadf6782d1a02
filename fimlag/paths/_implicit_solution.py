"""Derivatives of the solution of equations whose Jacobian is not symmetric."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree


@eqx.filter_custom_jvp
def implicit_solution(x: Float[Array, "..."], problem: PyTree, *, residual: Callable, solve: Callable):
    r"""The solution of equations, differentiable to every order in the problem that defines them.

    $$r(a, x) = 0 \quad\Rightarrow\quad dx = -(\partial_x r)^{-1}\, \partial_a r\, da$$

    **Arguments:** `x`: the solution, however found; `problem`: what it depends on, a pytree that holds everything
    differentiated; `residual(problem, x)`: zero at the solution; `solve(problem, x, right)`: solves with the Jacobian
    of the residual in x, itself differentiable.

    **Returns:** `x`.
    """
    del problem, residual, solve
    return x


@implicit_solution.def_jvp
def _implicit_solution_jvp(primals, tangents, *, residual, solve):
    x, problem = primals
    _, tangent = tangents
    x = implicit_solution(x, problem, residual=residual, solve=solve)
    if not jax.tree_util.tree_leaves(tangent):
        return x, jnp.zeros_like(x)
    _, drive = eqx.filter_jvp(lambda varied: residual(varied, x), (problem,), (tangent,))
    return x, -solve(problem, x, drive)


def matrix_root(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    r"""The symmetric root of a symmetric positive semi-definite matrix, differentiable where it is definite.

    $$X^2 = S$$

    Eigenvalues below zero count as zero; equal ones, where a decomposition has no derivative, do no harm.
    """
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(matrix))
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]) @ vectors.T
    return implicit_solution(root, matrix, residual=lambda s, x: x @ x - s, solve=_sylvester)


def _sylvester(_, root, right):
    """The solution of $X Y + Y X = M$ for a symmetric X."""
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(root))

    def solve(_, m):
        return vectors @ ((vectors.T @ m @ vectors) / (values[:, None] + values[None, :])) @ vectors.T

    return lax.custom_linear_solve(lambda y: root @ y + y @ root, right, solve, solve)
