"""Distributions of other libraries as models: the expectation rule follows from the support that they declare."""

import inspect
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from fimlag._flat import flatten
from fimlag._types import Coordinates, as_field
from fimlag.information._expectation import ExactSum, MonteCarlo
from fimlag.information._places import Ends, attempt, moments_of, places_of
from fimlag.information._quadrature import Quadrature
from fimlag.information._sums import dtype_of

MANY = 10**6
"""Outcomes in a support that is listed."""


class LogProb(eqx.Module):
    """The log-likelihood that a distribution object states."""

    make: Callable

    def __init__(self, make: Callable):
        self.make = as_field(make)

    def __call__(self, theta, x):
        return self.make(theta).log_prob(x)


def rule_of(make: Callable, theta: Coordinates, key: Array | None, n: int | None, nodes: int):
    """The rule for the distribution `make(theta)`, picked from its support at an example theta.

    **Raises:** `ValueError` where theta is traced, the distribution has batch dimensions, its support depends on
    theta, or sampling is needed without `key` and `n`; `TypeError` where the object has no `log_prob`.
    """
    _check_concrete(theta)
    distribution = make(theta)
    _check(distribution)
    support = getattr(distribution, "support", None)
    if support is None:
        return _sampled(make, key, n, "declares no support")
    _check_support_is_fixed(make, theta)
    if tuple(getattr(distribution, "event_shape", ())) or getattr(support, "event_dim", 0):
        return _sampled(make, key, n, "has outcomes of many numbers")
    lower, upper = _bounds(support)
    if getattr(support, "is_discrete", False):
        upper = _truncation(distribution, lower) if upper is None else upper
        if lower is None or upper is None:
            return _sampled(make, key, n, "has a support of unknown extent")
        return _sum(lower, upper)
    kind = _kind(support)
    if lower is None and upper is None and kind != "real":
        return _sampled(make, key, n, f"has the support {kind!r}")
    ends = (-math.inf if lower is None else lower, math.inf if upper is None else upper)
    return _best(make, theta, ends, nodes, periodic=kind == "circular")


def _check_concrete(theta):
    if any(isinstance(leaf, Tracer) for leaf in jax.tree_util.tree_leaves(theta)):
        raise ValueError("The rule is picked at one theta in numbers: call from_distribution outside of jit and grad.")


def _check(distribution):
    if not hasattr(distribution, "log_prob"):
        raise TypeError(f"make(theta) must return an object with `log_prob`, but {type(distribution).__name__} came.")
    batch = tuple(getattr(distribution, "batch_shape", ()))
    if batch:
        raise ValueError(
            f"make(theta) must return one distribution, but its batch shape is {batch}: make the batch part of the "
            "outcome (numpyro: `.to_event()`), or build one distribution and batch by jax.vmap."
        )


def _check_support_is_fixed(make, theta):
    vector, structure = flatten(theta, "theta")

    def ends(vector):
        support = make(structure.unflatten(vector)).support
        return [jnp.asarray(end, vector.dtype) for end in _raw_bounds(support) if end is not None]

    if any(jnp.any(slope != 0.0) for slope in jax.tree_util.tree_leaves(jax.jacfwd(ends)(vector))):
        raise ValueError(
            "The support depends on theta, where the Fisher information is not defined: fix its ends, or change the "
            "outcome to one whose support is fixed."
        )


def _kind(support) -> str:
    """The name of a support, as its class says it."""
    return type(support).__name__.strip("_").lower()


def _raw_bounds(support):
    return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)


def _bounds(support) -> tuple[float | None, float | None]:
    lower, upper = (None if end is None else float(end) for end in _raw_bounds(support))
    return (0.0, 1.0) if _kind(support) == "boolean" else (lower, upper)


def _truncation(distribution, lower) -> float | None:
    """Where the tail of a count is below round-off, judged by mean and variance; None where they are unknown."""
    mean, variance = (attempt(lambda part=part: moments_of(distribution)[part]) for part in range(2))
    if lower is None or not (math.isfinite(variance) and mean > lower):
        return None
    # A tail exp(-x / D) or lighter, D the variance over the mean, has vanished after 40 D.
    return float(math.ceil(mean + 12.0 * variance**0.5 + 40.0 * (1.0 + variance / (mean - lower))))


def _sum(lower: float, upper: float) -> ExactSum:
    if upper - lower >= MANY:
        raise ValueError(f"The support has {upper - lower + 1:.0f} outcomes, too many to list: pass expectation=.")
    return ExactSum(jnp.arange(int(lower), int(upper) + 1))


def _best(make, theta, ends, nodes, periodic) -> Quadrature:
    """The first rule that resolves the density at theta, or the one that comes nearest."""
    enough = float(jnp.finfo(dtype_of(theta)).eps) ** 0.75
    places = places_of(make, theta, Ends(*ends), periodic)
    rules = [Quadrature(*ends, nodes=nodes, periodic=periodic, **place) for place in places]
    best, smallest = rules[0], math.inf
    for rule in rules:
        off = abs(float(jnp.sum(rule.outcomes(LogProb(make), theta)[1])) - 1.0)
        if off < smallest:
            best, smallest = rule, off
        if off < enough:
            break
    return best


class _Sampler(eqx.Module):
    """Draws by the distribution's own `sample`, with the arguments that its library gives it."""

    make: Callable

    def __call__(self, key, theta, n):
        sample = self.make(theta).sample
        if "seed" in inspect.signature(sample).parameters:
            return sample(seed=key, sample_shape=(n,))
        return sample(key, (n,))


def _sampled(make, key, n, reason: str) -> MonteCarlo:
    if key is None or n is None:
        raise ValueError(
            f"The distribution that make(theta) returns {reason}: pass a rule as expectation=, or key= and n= to take "
            "expectations over n draws of its own sampler."
        )
    return MonteCarlo(_Sampler(as_field(make)), n, key)
