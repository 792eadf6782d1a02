"""The degree of a function in its argument, as its traced program tells."""

from collections.abc import Callable

import jax
from jax.extend.core import Literal
from jaxtyping import Array, Float

_TRANSPARENT = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2"}


def polynomial_degree(function: Callable, x: Float[Array, " d"]) -> int | None:
    """1 for a scalar function at most linear in its argument, 2 for a quadratic one, None where it is neither or
    nothing can be told.

    What is told holds for every value of the argument: the second derivative was traced, and does not use it. For a
    quadratic function behind a loop or a branch nothing can be told.
    """
    gradient = jax.grad(function)
    traced = jax.make_jaxpr(lambda x, u: jax.jvp(gradient, (x,), (u,))[1])(x, x).jaxpr
    if not _reached(traced, [False, True])[0]:
        return 1
    return None if _reached(traced, [True, False])[0] else 2


def depends(function: Callable, x: Float[Array, " d"]) -> bool:
    """Whether the first output of a function may depend on its argument."""
    return _reached(jax.make_jaxpr(function)(x).jaxpr, [True])[0]


def _reached(jaxpr, marked: list[bool]) -> list[bool]:
    """Which outputs of a program the marked inputs may reach."""
    reached = {variable for variable, mark in zip(jaxpr.invars, marked, strict=True) if mark}

    def is_reached(atom):
        return not isinstance(atom, Literal) and atom in reached

    for equation in jaxpr.eqns:
        into = [is_reached(atom) for atom in equation.invars]
        inner = _inner(equation)
        out = [any(into)] * len(equation.outvars) if inner is None else _reached(inner, into)
        reached.update(variable for variable, mark in zip(equation.outvars, out, strict=True) if mark)
    return [is_reached(atom) for atom in jaxpr.outvars]


def _inner(equation):
    """The program that an equation calls once with its own arguments, None where it calls none such."""
    if equation.primitive.name not in _TRANSPARENT:
        return None
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        called = equation.params.get(key)
        if called is not None:
            called = getattr(called, "jaxpr", called)
            same = len(called.invars) == len(equation.invars) and len(called.outvars) == len(equation.outvars)
            return called if same else None
    return None
