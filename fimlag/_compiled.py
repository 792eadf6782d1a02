"""Compilation of what is called outside `jax.jit`, where the first call should not take long."""

import contextlib
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer

P = ParamSpec("P")
R = TypeVar("R")

_QUICK = {"xla_cpu_use_fusion_emitters": False}
"""Large programs compile in some 60 % of the time without these emitters, and run as fast."""


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`eqx.filter_jit(function)`, compiled quickly on CPUs where no transformation surrounds the call.

    jax allows options of the compiler for an outermost `jit` alone: within another transformation they are left out.
    """
    nested = eqx.filter_jit(function)
    outermost = eqx.filter_jit(function, compiler_options=_QUICK)  # pyright: ignore[reportCallIssue]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _is_outermost(args, kwargs) and _quick_compiler():
            # What raises comes again from the plain call, unless it came of a tracer that a closure holds.
            with contextlib.suppress(ValueError):
                return outermost(*args, **kwargs)
        return nested(*args, **kwargs)

    return call


def _is_outermost(args, kwargs) -> bool:
    """Whether no argument is traced, nor constants, as within a `jit` without arguments."""
    leaves = jax.tree_util.tree_leaves((args, kwargs))
    return not any(isinstance(leaf, Tracer) for leaf in leaves) and not isinstance(jnp.zeros(()), Tracer)


@cache
def _quick_compiler() -> bool:
    """Whether programs run on CPUs by default, and this release of XLA knows the option."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x, compiler_options=_QUICK).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
