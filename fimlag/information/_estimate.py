"""From weighted scores to an information matrix with its standard error and certificate."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._results import RESULTS, AbstractSolution, first_failure
from fimlag.information._moments import SMALLEST_SAMPLE, Moments, error_of_mean, of_blocks_seen, within

FAILURES = (
    RESULTS.nonfinite,
    RESULTS.poor_quadrature,
    RESULTS.poor_sample,
    RESULTS.biased_sample,
    RESULTS.irregular,
    RESULTS.tolerance_not_met,
)
"""What can be wrong with an expectation, the gravest first."""


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

    `value` (d, d); `standard_error` (d, d), 0 for exact rules, infinite for a single outcome; `certificate`; `route`:
    how it was computed; `result`: `successful`, `nonfinite`, `poor_quadrature`, `poor_sample`, `biased_sample`,
    `irregular` or `tolerance_not_met`. Derivatives pass through `value` alone: errors and certificate are held
    constant.
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


def concluded(rule, moments: Moments, route: str, rtol=None) -> FisherEstimate:
    """The estimate that the moments of a rule amount to, with its result."""
    size, moments = of_blocks_seen(rule, moments)
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
    rough = jnp.asarray(False) if size is None or rtol is None else ~within(constant.information, error, rtol)
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
