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

FAILURES = (
    RESULTS.nonfinite,
    RESULTS.poor_quadrature,
    RESULTS.poor_sample,
    RESULTS.biased_sample,
    RESULTS.irregular,
    RESULTS.tolerance_not_met,
)
"""What can be wrong with an expectation, the gravest first."""

SMALLEST_SAMPLE = 100
"""Outcomes below which a standard error is too rough to judge by."""


class Certificate(eqx.Module):
    """What tells a good expectation from a bad one.

    `mass`: the sum of the weights, 1 for an exact rule that resolves the density. `outcomes`: how many random
    outcomes were seen, 0 for an exact rule. `effective_sample_size`: $(\\sum w)^2 / \\sum w^2$. `mean_score`:
    $\\mathrm{E}[s]$, zero where the outcomes follow the density, shape (d,). `score_error`: its standard error,
    shape (d,), 0 for an exact rule. `bartlett_gap`: $\\mathrm{E}[(\\partial_v \\ell)^2 + \\partial_v^2 \\ell]$ in
    directions v of unit scale in each parameter, zero for a regular model, shape (k,), and `bartlett_error`, its
    standard error; without an audit k = 0.
    """

    mass: Float[Array, ""]
    outcomes: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    mean_score: Float[Array, " d"]
    score_error: Float[Array, " d"]
    bartlett_gap: Float[Array, " k"]
    bartlett_error: Float[Array, " k"]


class FisherEstimate(AbstractSolution):
    """A Fisher information matrix and what is known about its error.

    `value` (d, d); `standard_error` (d, d), 0 for exact rules; `certificate`; `route`: how it was computed;
    `result`: `successful`, `nonfinite`, `poor_quadrature`, `poor_sample`, `biased_sample`, `irregular` or
    `tolerance_not_met`. Derivatives pass through `value` alone: errors and certificate are held constant.
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
    """Weighted sums over the blocks of a rule, from which estimate, error and certificate follow."""

    blocks: Float[Array, ""]
    mass: Float[Array, ""]
    mass_squares: Float[Array, ""]
    score: Float[Array, " d"]
    score_squares: Float[Array, " d"]
    information: Float[Array, "d d"]
    information_squares: Float[Array, "d d"]


def score_moments(
    rule, log_likelihood: LogLikelihood, vector: Float[Array, " d"], structure: Structure, errors: bool, rtol
) -> Moments:
    """Moments with the Gram matrix of the scores as the information: $\\sum w\\, s s^\\top$."""

    def part(x, weights):
        scores = jax.vmap(jax.grad(of_vector(log_likelihood, structure)), (None, 0))(vector, x)
        return gram_moments(scores, weights, errors)

    return expectation(rule, log_likelihood, structure.unflatten(vector), part, _accurate(rule, rtol))


def hessian_moments(
    rule, log_likelihood: LogLikelihood, vector: Float[Array, " d"], structure: Structure, errors: bool, rtol
) -> Moments:
    """Moments with minus the mean Hessian as the information, from ONE Hessian of the weighted sum.

    The squares that give standard errors need the Hessian of each outcome: they are zero unless `errors`.
    """
    pointwise = of_vector(log_likelihood, structure)

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

    return expectation(rule, log_likelihood, structure.unflatten(vector), part, _accurate(rule, rtol))


def gram_moments(scores: Float[Array, "n d"], weights: Float[Array, " n"], errors: bool) -> Moments:
    """Moments of the scores of one block of outcomes; the squares of the information only with `errors`."""
    weighted = weights[:, None] * scores
    information = symmetric(weighted.T @ scores)
    squares = (weighted**2).T @ scores**2 if errors else jnp.zeros_like(information)
    return Moments(
        blocks=jnp.ones((), scores.dtype),
        mass=jnp.sum(weights),
        mass_squares=jnp.sum(weights**2),
        score=weights @ scores,
        score_squares=jnp.sum(weighted**2, axis=0),
        information=information,
        information_squares=squares,
    )


def concluded(rule, moments: Moments, route: str, rtol=None) -> FisherEstimate:
    """The estimate that the moments of a rule amount to, with its result."""
    size, moments = _of_blocks_seen(rule, moments)
    constant = jax.lax.stop_gradient(moments)
    none = jnp.zeros(0, constant.mass.dtype)
    certificate = Certificate(
        mass=constant.mass,
        outcomes=jnp.zeros_like(constant.mass) if size is None else size,
        effective_sample_size=constant.mass**2 / constant.mass_squares,
        mean_score=constant.score,
        score_error=error_of_mean(constant.score_squares, constant.score, size),
        bartlett_gap=none,
        bartlett_error=none,
    )
    error = error_of_mean(constant.information_squares, constant.information, size)
    failures = _failures(rule, constant, certificate)
    rough = jnp.asarray(False) if size is None or rtol is None else ~_met(constant.information, error, rtol)
    return FisherEstimate(
        value=moments.information,
        standard_error=error,
        certificate=certificate,
        route=route,
        result=failure_named(jnp.stack([*failures, jnp.asarray(False), rough])),
    )


def exact_estimate(information: Float[Array, "d d"], route: str) -> FisherEstimate:
    """A matrix known in closed form: nothing was sampled, and nothing but finiteness is in doubt."""
    vector = jax.lax.stop_gradient(jnp.zeros_like(information[0]))
    one, none = jnp.ones((), information.dtype), jnp.zeros(0, information.dtype)
    return FisherEstimate(
        value=information,
        standard_error=jnp.zeros_like(information),
        certificate=Certificate(one, jnp.zeros_like(one), one, vector, vector, none, none),
        route=route,
        result=first_failure((~jnp.all(jnp.isfinite(information)), RESULTS.nonfinite)),
    )


def failure_named(failures: Bool[Array, " k"]) -> RESULTS:
    """The gravest of the failures that are true, in the order of `FAILURES`."""
    return first_failure(*((failures[i], result) for i, result in enumerate(FAILURES)))


def failures_of(result: RESULTS) -> Bool[Array, " k"]:
    """Which of `FAILURES` a result is."""
    return jnp.stack([jnp.asarray(result == failure) for failure in FAILURES])


def symmetric(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric part: what a product of floating-point matrices misses by round-off."""
    return 0.5 * (matrix + matrix.T)


def error_of_mean(squares, mean, size):
    """Standard error of the mean of $z$, from $\\sum_i (z_i / n)^2$ and the mean; 0 for an exact rule."""
    if size is None:
        return jnp.zeros_like(mean)
    variance = (squares - mean**2 / size) * (size / jnp.maximum(size - 1.0, 1.0))
    return jnp.sqrt(jnp.maximum(variance, 0.0))


def of_vector(log_likelihood: LogLikelihood, structure: Structure) -> Callable:
    """The log-likelihood as a function of the flat parameters."""
    return lambda vector, x: log_likelihood(structure.unflatten(vector), x)


def sample_size(rule, dtype) -> Float[Array, ""] | None:
    """The number of random outcomes of a rule, None for an exact one."""
    size = getattr(rule, "sample_size", None)
    return None if size is None else jnp.asarray(size, dtype)


def _of_blocks_seen(rule, moments: Moments):
    """The sample size and the moments of what was visited: a sum that stopped early is a smaller sample."""
    size = sample_size(rule, moments.mass.dtype)
    whole = getattr(rule, "block_size", None)
    if size is None or whole is None:
        return size, moments
    seen = jnp.minimum(jax.lax.stop_gradient(moments.blocks) * whole, size)
    larger = size / seen
    return seen, Moments(
        blocks=moments.blocks,
        mass=larger * moments.mass,
        mass_squares=larger**2 * moments.mass_squares,
        score=larger * moments.score,
        score_squares=larger**2 * moments.score_squares,
        information=larger * moments.information,
        information_squares=larger**2 * moments.information_squares,
    )


def _accurate(rule, rtol) -> Callable | None:
    """Whether the moments so far meet the relative tolerance; None where all blocks are to be visited."""
    if rtol is None or getattr(rule, "block_size", None) is None:
        return None

    def enough(moments):
        size, moments = _of_blocks_seen(rule, jax.lax.stop_gradient(moments))
        error = error_of_mean(moments.information_squares, moments.information, size)
        return (jnp.asarray(size) >= SMALLEST_SAMPLE) & _met(moments.information, error, rtol)

    return enough


def _met(information, error, rtol):
    """Whether each entry's error is within `rtol` of the scale that its two parameters give it."""
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(information)))
    return jnp.all(error <= rtol * scale[:, None] * scale[None, :])


def _failures(rule, moments, certificate):
    """Which of the first four of `FAILURES` apply."""
    size = None if getattr(rule, "sample_size", None) is None else certificate.outcomes
    eps = float(jnp.finfo(moments.mass.dtype).eps)
    nonfinite = ~(jnp.isfinite(moments.mass) & jnp.all(jnp.isfinite(moments.information)))
    poor_quadrature = poor_sample = biased = jnp.asarray(False)
    if size is None:
        poor_quadrature = jnp.abs(moments.mass - 1.0) > eps**0.5
    elif getattr(rule, "reference", None) is not None:
        off = jnp.abs(moments.mass - 1.0) > 8.0 * error_of_mean(moments.mass_squares, moments.mass, size) + eps**0.5
        poor_sample = (certificate.effective_sample_size < jnp.maximum(0.01 * size, 10.0)) | off
    centred = getattr(rule, "centred", True)
    # Round-off in a score that vanishes identically is no bias.
    if centred and size is None:
        deviation = jnp.sqrt(jnp.diagonal(moments.information))
        biased = jnp.any(jnp.abs(moments.score) > eps**0.5 * deviation + 100.0 * eps)
    elif centred and size is not None:
        floor = 100.0 * eps * jnp.sqrt(moments.score_squares * size)
        off = jnp.any(jnp.abs(moments.score) > 8.0 * certificate.score_error + floor)
        biased = (size >= SMALLEST_SAMPLE) & off
    return nonfinite, poor_quadrature, poor_sample, biased
