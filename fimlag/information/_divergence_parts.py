"""Divergences of composite models: sums over experiments and over the inputs of a regression."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fimlag._flat import flatten
from fimlag._types import Coordinates
from fimlag.information._conditional import INPUTS_IN_BLOCK, ConditionalModel
from fimlag.information._density_pair import DensityPair
from fimlag.information._divergence_estimate import (
    DivergenceCertificate,
    DivergenceEstimate,
    divergence_failure,
    flags_of,
    sum_of,
)
from fimlag.information._model import AbstractModel
from fimlag.information._moments import error_of_mean, sample_size
from fimlag.information._product import ProductModel
from fimlag.information._sums import count_outcomes, sum_over_data


def sum_over_parts(
    model: AbstractModel, theta0: Coordinates, theta1: Coordinates, of_density: Callable
) -> DivergenceEstimate:
    """The sum of `of_density(density, theta0, theta1)` over the independent observations that make up a model."""
    vector, structure = flatten(theta0, "theta0")
    other = structure.flatten(theta1, "theta1").astype(vector.dtype)
    theta0, theta1 = structure.unflatten(vector), structure.unflatten(other)
    if isinstance(model, ProductModel):
        parts = [sum_over_parts(part, theta0, theta1, of_density) for part in model.models]
        return sum_of(parts, " + ".join(part.route for part in parts))
    if isinstance(model, ConditionalModel):
        return _sum_over_inputs(model, theta0, theta1, of_density)
    return of_density(model, theta0, theta1)


def density_pair(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> DensityPair:
    """The two densities under the model's rule; a `TypeError` where the model has none that follows its density."""
    rule = getattr(model, "expectation", None)
    if rule is None or not getattr(rule, "centred", True):
        reason = "takes no expectations" if rule is None else "averages over observed data, which follow neither theta"
        raise TypeError(
            f"A divergence needs a model with a rule for expectations under theta, but {type(model).__name__} "
            f"{reason}. Use a family or a StatisticalModel with ExactSum, Quadrature, MonteCarlo or Reparametrised."
        )
    vector, structure = flatten(theta0, "theta0")
    return DensityPair(rule, model.log_likelihood, structure, vector, structure.flatten(theta1).astype(vector.dtype))


def rule_name(model) -> str:
    """The rule, for a route."""
    return type(model.expectation).__name__


def _sum_over_inputs(model, theta0, theta1, of_density):
    route, own_draws = [], model.noise.independent(0) is not None

    def of_input(item):
        x, number = item
        noise = model.noise.independent(number) or model.noise
        part = sum_over_parts(noise, model.predict(theta0, x), model.predict(theta1, x), of_density)
        route.append(part.route)
        spread = part.standard_error ** (2 if own_draws else 1)
        return part.value, spread, part.certificate, flags_of(part.result).astype(part.value.dtype)

    n = count_outcomes(model.inputs, "inputs")
    items = (model.inputs, jnp.arange(n))
    value, spread, total, failures = sum_over_data(jax.vmap(of_input), items, INPUTS_IN_BLOCK)
    certificate = DivergenceCertificate(
        mass=total.mass / n,
        outcomes=total.outcomes,
        effective_sample_size=total.effective_sample_size,
        resolution=total.resolution / n,
    )
    # One sample that serves all inputs has errors that add.
    error = jnp.sqrt(spread) if own_draws else spread
    return DivergenceEstimate(
        value=value,
        standard_error=error,
        certificate=certificate,
        route=f"{route[0]}, over inputs",
        result=divergence_failure(failures > 0.0),
    )


def concluded_divergence(pair, value, error, sums, mass, resolution, few, unresolved, name) -> DivergenceEstimate:
    """The estimate that sums over a rule amount to, with its result."""
    mass, error, resolution = jax.lax.stop_gradient((mass, error, resolution))
    eps, size = float(jnp.finfo(mass.dtype).eps), sample_size(pair.rule, mass.dtype)
    effective = mass**2 / sums.weight_squares
    poor_quadrature = poor_sample = jnp.asarray(False)
    if pair.exact:
        poor_quadrature = jnp.abs(mass - 1.0) > eps**0.5
        unresolved = unresolved | (resolution > eps ** (1.0 / 3.0))
    elif size is not None and getattr(pair.rule, "reference", None) is not None:
        spread = error_of_mean(sums.weight_squares, mass, size)
        poor_sample = (effective < jnp.maximum(0.01 * size, 10.0)) | (jnp.abs(mass - 1.0) > 8.0 * spread + eps**0.5)
    nonfinite = ~jnp.isfinite(mass) | jnp.isnan(value)
    return DivergenceEstimate(
        value=value,
        standard_error=jnp.zeros_like(value) if pair.exact else error,
        certificate=DivergenceCertificate(
            mass=mass,
            outcomes=jnp.zeros_like(mass) if size is None else size,
            effective_sample_size=effective,
            resolution=resolution,
        ),
        route=f"expectation over {name}",
        result=divergence_failure(jnp.stack([nonfinite, poor_quadrature, poor_sample | few, unresolved])),
    )
