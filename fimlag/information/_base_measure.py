"""Weighted outcomes with their statistics: the base measure that an exponential family tilts."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fimlag._flat import Structure, flatten
from fimlag._types import Outcomes
from fimlag.information._quadrature import Quadrature
from fimlag.information._sums import count_outcomes


class BaseMeasure(eqx.Module):
    """Outcomes stacked along axis 0, the logarithm of the mass of each, and their statistics as rows.

    `bulk`: on an infinite range without a base, the logarithm of a density where the nodes are dense, up to a constant:
    the base itself has no distribution to start from.
    """

    outcomes: Outcomes
    log_mass: Float[Array, " n"]
    values: Float[Array, "n d"]
    bulk: Float[Array, " n"] | None


def base_measure(statistics: Callable, outcomes, base, dtype) -> tuple[BaseMeasure, Structure]:
    """The outcomes or the rule given, weighted by the base, and the structure of the statistics."""
    x, weights, bulk = weighted_outcomes(outcomes, dtype)
    count = count_outcomes(x, "outcomes")
    log_mass = jnp.where(weights > 0, jnp.log(jnp.where(weights > 0, weights, 1.0)), -jnp.inf)
    log_mass = log_mass + _log_base(base, x, count, dtype)
    _, structure = flatten(statistics(jax.tree_util.tree_map(lambda leaf: leaf[0], x)), "statistics(x)")
    values = jax.vmap(lambda x: flatten(statistics(x), "statistics(x)")[0].astype(dtype))(x)
    # Where a statistic overflows far out, the density vanishes: a family that it does not tame is found unresolved.
    if isinstance(outcomes, Quadrature):
        log_mass = jnp.where(jnp.all(jnp.isfinite(values), axis=1), log_mass, -jnp.inf)
    inside = log_mass > -jnp.inf
    values = jnp.where(inside[:, None], values, values[jnp.argmax(log_mass)][None])
    return BaseMeasure(x, log_mass, values, bulk if base is None else None), structure


def unresolved(rule, probabilities: Float[Array, " n"]) -> Array:
    """Whether a quadrature leaves open where the mass lies: its nodes are too few, or the density has no end."""
    if not isinstance(rule, Quadrature):
        return jnp.asarray(False)
    atoms = 0 if rule.atoms is None else rule.atoms.shape[0]
    nodes = probabilities[: probabilities.shape[0] - atoms]
    count = nodes.shape[0]
    # On a circle the wave must close.
    turns = round(count / 3) / count if rule.periodic else 1.0 / 3.0
    phase = 2.0 * np.pi * (np.arange(count) * turns % 1.0)
    waves = jnp.asarray(np.stack([np.cos(phase), np.sin(phase)]), nodes.dtype) @ nodes
    ends = nodes[0] + nodes[-1] if not rule.periodic else jnp.zeros((), nodes.dtype)
    eps = float(jnp.finfo(nodes.dtype).eps)
    # A third of the nodes is wrong by the waves, all of them by the cube where the density is smooth.
    return (jnp.sum(waves**2) > eps**0.4) | (ends > eps**0.5)


def is_rule(outcomes) -> bool:
    """Whether outcomes came as a rule of expectations rather than as a list."""
    return hasattr(outcomes, "blocks") and hasattr(outcomes, "outcomes")


def weighted_outcomes(outcomes, dtype):
    """Outcomes, the mass that a rule gives to each (1 where they came as a list), and where a line is dense."""
    if not is_rule(outcomes):
        x = jax.tree_util.tree_map(jnp.asarray, outcomes)
        return x, jnp.ones(count_outcomes(x, "outcomes"), dtype), None
    if isinstance(outcomes, Quadrature):
        x, weights = outcomes.weighted_nodes(jnp.zeros((), dtype))
        return x, weights, _bulk(outcomes, x, dtype)
    parts = [outcomes.outcomes(_flat_density, jnp.zeros((), dtype), block) for block in range(outcomes.blocks)]
    x, weights = jax.tree_util.tree_map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return x, weights, None


def _flat_density(theta, x):
    del x
    return jnp.zeros_like(theta)


def _bulk(rule: Quadrature, x, dtype):
    """The log-density of a normal or exponential distribution of the rule's location and scale; None on an interval."""
    if np.isfinite(rule.lower) and np.isfinite(rule.upper):
        return None
    theta = jnp.zeros((), dtype)
    location, scale = (
        None if value is None else jnp.asarray(value(theta) if callable(value) else value).astype(dtype)
        for value in (rule.location, rule.scale)
    )
    unit = jnp.ones((), dtype) if scale is None else scale
    if np.isinf(rule.lower) and np.isinf(rule.upper):
        centre = jnp.zeros((), dtype) if location is None else location
        return lax.stop_gradient(-0.5 * ((x - centre) / unit) ** 2)
    end = rule.upper if np.isinf(rule.lower) else rule.lower
    distance = unit if location is None else jnp.abs(location - end)
    return lax.stop_gradient(-jnp.abs(x - end) / distance)


def _log_base(base: Any, x, count: int, dtype):
    if base is None:
        return jnp.zeros(count, dtype)
    if callable(base):
        values = jnp.asarray(jax.vmap(base)(x))
        if jnp.shape(values) != (count,):
            raise ValueError(f"base(x) must be the log-density of ONE outcome, a scalar, but has shape {values.shape}.")
        return values.astype(dtype)
    weights = jnp.asarray(base).astype(dtype)
    if weights.shape != (count,):
        raise ValueError(f"base must hold one weight for each of {count} outcomes, but has shape {weights.shape}.")
    return jnp.where(weights == 0, -jnp.inf, jnp.log(jnp.where(weights == 0, 1.0, weights)))
