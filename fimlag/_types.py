"""Names for the arrays and callables that pass between rooms."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float, PyTree, Real

RealScalarLike = float | int | Real[ArrayLike, ""]
"""A real number coming in: Python's own or an array of shape ()."""

Coordinates = PyTree[ArrayLike]
"""A point, velocity or momentum in the caller's structure: a vector, or any pytree of arrays."""

Outcomes = PyTree[Array]
"""Outcomes of a random variable, stacked along axis 0 of every leaf."""

LogLikelihood = Callable[[Any, Any], Float[Array, ""]]
"""`log_likelihood(theta, x)`: log-density of ONE observation `x` (nats)."""

MetricFn = Callable[[Any], Float[Array, "d d"]]
"""`metric(q)`: the symmetric matrix of the metric at a point."""

LagrangianFn = Callable[[Any, Any, Any], Float[Array, ""]]
"""`lagrangian(t, q, v)`: a scalar (the user's unit of energy)."""


def as_field(function: Callable) -> Callable:
    """A callable as a Module keeps it: a Module as it is, a plain function as a `jax.tree_util.Partial`."""
    if not callable(function):
        raise TypeError(f"A callable was expected, but {type(function).__name__} came.")
    kept = isinstance(function, eqx.Module | jax.tree_util.Partial)
    return function if kept else jax.tree_util.Partial(function)  # pyright: ignore[reportReturnType]
