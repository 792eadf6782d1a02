"""From weighted scores to an information matrix with its standard error and certificate."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._flat import Structure
from fimlag._results import RESULTS, AbstractSolution, first_failure
from fimlag._types import LogLikelihood
from fimlag.information._sums import expectation, log_likelihoods

FAILURES = (RESULTS.nonfinite, RESULTS.poor_quadrature, RESULTS.poor_sample, RESULTS.biased_sample)
"""What can be wrong with an expectation, the gravest first."""


class Certificate(eqx.Module):
    """What tells a good expectation from a bad one.

    `mass`: the sum of the weights, 1 for an exact rule that resolves the density. `effective_sample_size`:
    $(\\sum w)^2 / \\sum w^2$. `mean_score`: $\\mathrm{E}[s]$, zero where the outcomes follow the density,
    shape (d,). `score_error`: its standard error, shape (d,), 0 for an exact rule.
    """

    mass: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    mean_score: Float[Array, " d"]
    score_error: Float[Array, " d"]


class FisherEstimate(AbstractSolution):
    """A Fisher information matrix and what is known about its error.

    `value` (d, d); `standard_error` (d, d), 0 for exact rules; `certificate`; `route`: how it was computed;
    `result`: `successful`, `nonfinite`, `poor_quadrature`, `poor_sample` or `biased_sample`. Derivatives pass
    through `value` alone: errors and certificate are held constant.
    """

    value: Float[Array, "d d"]
    standard_error: Float[Array, "d d"]
    certificate: Certificate
    route: str = eqx.field(static=True)
    result: RESULTS

    @property
    def checked_value(self) -> Float[Array, "d d"]:
        """The matrix, NaN where the result is a failure, shape (d, d)."""
        return jnp.where(self.succeeded, self.value, jnp.nan)


class Moments(eqx.Module):
    """Weighted sums over outcomes, from which estimate, error and certificate follow."""

    mass: Float[Array, ""]
    mass_squares: Float[Array, ""]
    score: Float[Array, " d"]
    score_squares: Float[Array, " d"]
    information: Float[Array, "d d"]
    information_squares: Float[Array, "d d"]


def score_moments(
    rule, log_likelihood: LogLikelihood, vector: Float[Array, " d"], structure: Structure, errors: bool
) -> Moments:
    """Moments with the Gram matrix of the scores as the information: $\\sum w\\, s s^\\top$."""

    def part(x, weights):
        scores = jax.vmap(jax.grad(_of_vector(log_likelihood, structure)), (None, 0))(vector, x)
        return gram_moments(scores, weights, errors)

    return expectation(rule, log_likelihood, structure.unflatten(vector), part)


def hessian_moments(
    rule, log_likelihood: LogLikelihood, vector: Float[Array, " d"], structure: Structure, errors: bool
) -> Moments:
    """Moments with minus the mean Hessian as the information, from ONE Hessian of the weighted sum.

    The squares that give standard errors need the Hessian of each outcome: they are zero unless `errors`.
    """
    pointwise = _of_vector(log_likelihood, structure)

    def part(x, weights):
        def weighted_sum(point):
            return weights @ log_likelihoods(log_likelihood, structure.unflatten(point), x)

        def square(outcome):
            return jax.hessian(pointwise)(vector, outcome[0]) ** 2 * outcome[1] ** 2

        scores = jax.vmap(jax.grad(pointwise), (None, 0))(vector, x)
        moments = gram_moments(scores, weights, errors=False)
        information = -jax.hessian(weighted_sum)(vector)
        squares = moments.information_squares
        if errors:
            squares = jnp.sum(jax.lax.map(square, (x, weights), batch_size=256), axis=0)
        return eqx.tree_at(lambda m: (m.information, m.information_squares), moments, (information, squares))

    return expectation(rule, log_likelihood, structure.unflatten(vector), part)


def gram_moments(scores: Float[Array, "n d"], weights: Float[Array, " n"], errors: bool) -> Moments:
    """Moments of the scores of one block of outcomes; the squares of the information only with `errors`."""
    weighted = weights[:, None] * scores
    information = symmetric(weighted.T @ scores)
    squares = (weighted**2).T @ scores**2 if errors else jnp.zeros_like(information)
    return Moments(
        mass=jnp.sum(weights),
        mass_squares=jnp.sum(weights**2),
        score=weights @ scores,
        score_squares=jnp.sum(weighted**2, axis=0),
        information=information,
        information_squares=squares,
    )


def concluded(rule, moments: Moments, route: str) -> FisherEstimate:
    """The estimate that the moments of a rule amount to, with its result."""
    size = getattr(rule, "sample_size", None)
    constant = jax.lax.stop_gradient(moments)
    certificate = Certificate(
        mass=constant.mass,
        effective_sample_size=constant.mass**2 / constant.mass_squares,
        mean_score=constant.score,
        score_error=_error_of_mean(constant.score_squares, constant.score, size),
    )
    return FisherEstimate(
        value=moments.information,
        standard_error=_error_of_mean(constant.information_squares, constant.information, size),
        certificate=certificate,
        route=f"{route} form over {type(rule).__name__}",
        result=failure_named(_failures(rule, constant, certificate)),
    )


def failure_named(failures: Bool[Array, " 4"]) -> RESULTS:
    """The gravest of the failures that are true, in the order of `FAILURES`."""
    return first_failure(*((failures[i], result) for i, result in enumerate(FAILURES)))


def failures_of(result: RESULTS) -> Bool[Array, " 4"]:
    """Which of `FAILURES` a result is."""
    return jnp.stack([jnp.asarray(result == failure) for failure in FAILURES])


def symmetric(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric part: what a product of floating-point matrices misses by round-off."""
    return 0.5 * (matrix + matrix.T)


def _failures(rule, moments, certificate):
    size = getattr(rule, "sample_size", None)
    eps = float(jnp.finfo(moments.mass.dtype).eps)
    nonfinite = ~(jnp.isfinite(moments.mass) & jnp.all(jnp.isfinite(moments.information)))
    poor_quadrature = poor_sample = biased = jnp.asarray(False)
    if size is None:
        poor_quadrature = jnp.abs(moments.mass - 1.0) > eps**0.5
    elif getattr(rule, "reference", None) is not None:
        off = jnp.abs(moments.mass - 1.0) > 8.0 * _error_of_mean(moments.mass_squares, moments.mass, size) + eps**0.5
        poor_sample = (certificate.effective_sample_size < max(0.01 * size, 10.0)) | off
    centred = getattr(rule, "centred", True)
    if centred and size is None:
        biased = jnp.any(jnp.abs(moments.score) > eps**0.5 * jnp.sqrt(jnp.diagonal(moments.information)))
    elif centred and size is not None and size >= 100:
        # Round-off in a mean score that vanishes identically is no bias.
        floor = 100.0 * eps * jnp.sqrt(moments.score_squares * size)
        biased = jnp.any(jnp.abs(moments.score) > 8.0 * certificate.score_error + floor)
    return jnp.stack([nonfinite, poor_quadrature, poor_sample, biased])


def _error_of_mean(squares, mean, size):
    """Standard error of the mean of $z$, from $\\sum_i (z_i / n)^2$ and the mean; 0 for an exact rule."""
    if size is None:
        return jnp.zeros_like(mean)
    variance = (squares - mean**2 / size) * (size / max(size - 1, 1))
    return jnp.sqrt(jnp.maximum(variance, 0.0))


def _of_vector(log_likelihood: LogLikelihood, structure: Structure) -> Callable:
    return lambda vector, x: log_likelihood(structure.unflatten(vector), x)
