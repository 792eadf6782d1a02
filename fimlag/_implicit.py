"""Derivatives of a root by the implicit function theorem, never through the iterations that found it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Inexact, PyTree


def frozen(problem: PyTree) -> PyTree:
    """The same problem, with nothing in it differentiated."""
    return jax.tree_util.tree_map(lambda x: lax.stop_gradient(x) if eqx.is_array(x) else x, problem)


@eqx.filter_custom_jvp
def implicit_root(x: PyTree[Inexact[Array, "..."]], problem: PyTree, *, gradient: Callable, factor: Callable):
    r"""A root of a gradient, differentiable to every order in the problem that defines it.

    $$g(a, x) = 0 \quad\Rightarrow\quad dx = -(\partial_x g)^{-1}\, \partial_a g\, da$$

    **Arguments:** `x`: the root, however found, an array or a pytree of them; `problem`: what it depends on, a pytree
    that holds everything differentiated; `gradient(problem, x)`: zero at the root, with a symmetric Jacobian in x;
    `factor(problem, x)`: a function that solves with that Jacobian, approximately at least: one step of refinement
    follows.

    **Returns:** `x`.
    """
    del problem, gradient, factor
    return x


@implicit_root.def_jvp
def _implicit_root_jvp(primals, tangents, *, gradient, factor):
    x, problem = primals
    _, tangent = tangents
    x = implicit_root(x, problem, gradient=gradient, factor=factor)
    if not jax.tree_util.tree_leaves(tangent):
        return x, jax.tree_util.tree_map(jnp.zeros_like, x)
    approximate_solve = factor(frozen(problem), frozen(x))
    _, unravel = ravel_pytree(x)

    def jacobian_product(direction):
        return ravel_pytree(jax.jvp(lambda y: gradient(problem, y), (x,), (unravel(direction),))[1])[0]

    def solve(apply, right):
        first = flat_solve(right)
        return first + flat_solve(right - apply(first))

    def flat_solve(right):
        return ravel_pytree(approximate_solve(unravel(right)))[0]

    _, drive = eqx.filter_jvp(lambda varied: ravel_pytree(gradient(varied, x))[0], (problem,), (tangent,))
    return x, unravel(lax.custom_linear_solve(jacobian_product, -drive, solve, symmetric=True))
