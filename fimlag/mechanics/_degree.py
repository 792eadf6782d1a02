"""The degree of a function in its argument, as its traced program tells."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Literal
from jaxtyping import Array, Float

_TRANSPARENT = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat2"}
_STEPS = {"sign", "floor", "ceil", "round", "nextafter", "rem", "stop_gradient"}
_UNTOUCHED, _SMOOTHLY, _BY_STEPS = range(3)


def polynomial_degree(function: Callable, x: Float[Array, " d"]) -> int | None:
    """1 for a scalar function at most linear in its argument, 2 for a quadratic one, None where it is neither or
    nothing can be told.

    What is told holds for every value of the argument: the second derivative was traced, and does not use it, nor
    does the first jump. For a quadratic function behind a loop or a branch nothing can be told.
    """
    gradient = jax.grad(function)
    traced = jax.make_jaxpr(lambda x, u: jax.jvp(gradient, (x,), (u,)))(x, x).jaxpr
    slope, bend = _reached(traced, [_SMOOTHLY, _UNTOUCHED])
    if slope == _BY_STEPS:
        return None
    if _reached(traced, [_UNTOUCHED, _SMOOTHLY])[1] == _UNTOUCHED:
        return 1
    return 2 if bend == _UNTOUCHED else None


def depends(function: Callable, x: Float[Array, " d"]) -> bool:
    """Whether the first output of a function may depend on its argument."""
    return _reached(jax.make_jaxpr(function)(x).jaxpr, [_SMOOTHLY])[0] != _UNTOUCHED


def _reached(jaxpr, marks: list[int]) -> list[int]:
    """How the marked inputs of a program may reach its outputs: not at all, smoothly, or by steps."""
    reached = dict(zip(jaxpr.invars, marks, strict=True))

    def mark(atom):
        return _UNTOUCHED if isinstance(atom, Literal) else reached.get(atom, _UNTOUCHED)

    for equation in jaxpr.eqns:
        into, inner = [mark(atom) for atom in equation.invars], _inner(equation)
        passed = [_passed(equation, max(into, default=_UNTOUCHED))] * len(equation.outvars)
        reached.update(zip(equation.outvars, passed if inner is None else _reached(inner, into), strict=True))
    return [mark(atom) for atom in jaxpr.outvars]


def _passed(equation, mark: int) -> int:
    """The mark of what an equation makes of marked arguments: numbers that are not continuous come by steps."""
    discrete = any(not jnp.issubdtype(variable.aval.dtype, jnp.inexact) for variable in equation.outvars)
    return _BY_STEPS if mark and (discrete or equation.primitive.name in _STEPS) else mark


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
