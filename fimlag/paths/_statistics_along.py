"""Statistics of a model along a path: their rates of change, and how much of the score they see."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._compiled import compiled
from fimlag._flat import Structure
from fimlag._results import RESULTS, either_failure, first_failure
from fimlag._types import Outcomes, RealScalarLike, as_field
from fimlag.information import AbstractModel
from fimlag.information._estimate import concluded, failure_named, failures_of
from fimlag.information._moments import error_of_mean, gram_moments, sample_size, symmetric
from fimlag.information._sums import expectation, log_likelihoods
from fimlag.paths._along import Along, along
from fimlag.paths._path import Path
from fimlag.paths._resolution import resolution_of


class StatisticsAlong(eqx.Module):
    r"""Moments of k statistics A and of the score $\dot\ell$ along the velocity, at n times of a path.

    **Attributes:** `along`: where; `rate` (n, k): d<A>/dt, the covariance of A with the score; `covariance` (n, k, k):
    of A; `square` (n,): $\dot\theta^\top F \dot\theta$, the mean square of the score; `missed` (n,): the share of
    the score's variance that its regression on A leaves; `rank` (n,): the statistics counted in it; `standard_error`
    (n,): of `missed`; `result`.
    """

    along: Along
    rate: Float[Array, "n k"]
    covariance: Float[Array, "n k k"]
    square: Float[Array, " n"]
    missed: Float[Array, " n"]
    rank: Int[Array, " n"]
    standard_error: Float[Array, " n"]
    result: RESULTS


def statistics_along(
    model: AbstractModel,
    path: Path | Callable | Float[Array, "knots ..."],
    statistics: Callable,
    t0: RealScalarLike,
    t1: RealScalarLike,
    elements: int,
    points: int,
) -> StatisticsAlong:
    """The moments at the points of quadrature of a path."""
    rule = getattr(model, "expectation", None)
    if rule is None or not getattr(rule, "centred", True):
        reason = "takes no expectations" if rule is None else "averages over observed data, which follow no theta"
        raise TypeError(
            f"Statistics along a path need expectations under theta, but {type(model).__name__} {reason}. Give a "
            "family or a StatisticalModel of ONE observation with ExactSum, Quadrature, MonteCarlo or Reparametrised."
        )
    path = as_field(path) if callable(path) else jnp.asarray(path)
    return _moments_along(model, path, as_field(statistics), t0, t1, elements, points)


@compiled
def _moments_along(model, path, statistics, t0, t1, elements, points) -> StatisticsAlong:
    stations = along(path, t0, t1, elements, points)

    def at(theta, v):
        return _at(model, stations.structure, statistics, theta, v)

    found, failures, unresolved = jax.vmap(at)(stations.points, stations.velocities)
    backward = first_failure((~(jnp.sum(stations.weights) > 0.0), RESULTS.empty_interval))
    expected = either_failure(failure_named(jnp.any(failures, axis=0)), backward)
    result = either_failure(expected, first_failure((jnp.any(unresolved), RESULTS.unresolved_statistic)))
    return StatisticsAlong(along=stations, **found, result=result)


def _at(model, structure: Structure, statistics, theta, v):
    """The moments at one point, by three sums over the outcomes: means, products, what the regression leaves."""

    def mean_of(integrand):
        return expectation(model.expectation, model.log_likelihood, structure.unflatten(theta), integrand)

    def columns(x):
        def values(point):
            return log_likelihoods(model.log_likelihood, structure.unflatten(point), x)

        return jnp.concatenate([_values(statistics, x, theta.dtype), jax.jvp(values, (theta,), (v,))[1][:, None]], 1)

    def first(x, weights):
        each = columns(x)
        return weights @ each, weights @ each**2, gram_moments(each[:, -1:], weights, errors=False)

    total, squares, moments = mean_of(first)
    mean = total / moments.mass

    def second(x, weights):
        each = columns(x) - mean[None]
        judged = jnp.concatenate([each[:, :-1] ** 2, each[:, :-1] * each[:, -1:]], axis=1)
        return (weights[:, None] * each).T @ each, resolution_of(model.expectation, weights, judged)

    products, resolution = mean_of(second)
    covariance, rate, scatter = symmetric(products[:-1, :-1]), products[:-1, -1], products[-1, -1]
    varies = _varies(jnp.diagonal(covariance), squares[:-1])
    coefficients, rank = _regression(covariance, rate, varies)

    def third(x, weights):
        each = columns(x) - mean[None]
        left = each[:, -1] - each[:, :-1] @ coefficients
        missed = 1.0 - _ratio(coefficients @ rate, scatter)
        return weights @ left**2, jnp.sum((weights * (left**2 - missed * each[:, -1] ** 2)) ** 2)

    unseen, squared_errors = mean_of(third)
    error = error_of_mean(squared_errors, jnp.zeros_like(unseen), sample_size(model.expectation, theta.dtype))
    found = {
        "rate": rate,
        "covariance": covariance,
        "square": moments.information[0, 0],
        "missed": _ratio(unseen, scatter),
        "rank": rank,
        "standard_error": lax.stop_gradient(_ratio(error, scatter)),
    }
    spread = jnp.where(varies, jnp.diagonal(covariance), 0.0)
    scales = lax.stop_gradient(jnp.concatenate([spread, jnp.sqrt(spread * scatter)]))
    return found, failures_of(concluded(model.expectation, moments, "").result), resolution.fails(scales)


def _values(statistics, x: Outcomes, dtype) -> Float[Array, "n k"]:
    """The statistics of each outcome, as vectors."""

    def of_one(outcome):
        leaves = [jnp.asarray(leaf) for leaf in jax.tree_util.tree_leaves(statistics(outcome))]
        if not leaves or any(jnp.iscomplexobj(leaf) for leaf in leaves):
            raise TypeError("statistics(x) must return real numbers of ONE outcome: a number, a vector or a tree.")
        return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in leaves])

    return jax.vmap(of_one)(x)


def _regression(covariance, rate, varies):
    """The coefficients of the score on the statistics, and the rank: statistics that repeat others are left out.

    Elimination of the correlation matrix: a statistic is left out where less than eps^(2/3) of its variance is its own.
    """
    k, variance = rate.size, jnp.diagonal(covariance)
    eps = float(jnp.finfo(rate.dtype).eps)
    scale = jnp.where(varies, 1.0 / jnp.sqrt(jnp.where(varies, variance, 1.0)), 0.0)
    matrix = jnp.concatenate([scale[:, None] * covariance * scale[None, :], (scale * rate)[:, None]], axis=1)
    counted = []
    for j in range(k):
        own = matrix[j, j]
        live = lax.stop_gradient(own) > eps ** (2.0 / 3.0)
        row = jnp.where(live, matrix[j] / jnp.where(live, own, 1.0), 0.0)
        column = jnp.where(jnp.arange(k) == j, 0.0, matrix[:, j])
        matrix = (matrix - column[:, None] * row[None, :]).at[j].set(row)
        counted.append(live)
    return scale * matrix[:, -1], jnp.sum(jnp.stack(counted))


def _varies(variance, squares):
    """Which statistics vary by more than the round-off of their size."""
    eps = float(jnp.finfo(variance.dtype).eps)
    return lax.stop_gradient(variance > (64.0 * eps) ** 2 * squares)


def _ratio(part, whole):
    """The share, 0 of nothing."""
    empty = whole == 0.0
    return jnp.where(empty, 0.0, part / jnp.where(empty, 1.0, whole))
