"""The regularity of a model: does the score form of its information agree with the Hessian form?"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import Coordinates, LogLikelihood
from fimlag.information._estimate import FisherEstimate, failure_named, failures_of
from fimlag.information._moments import SMALLEST_SAMPLE, error_of_mean, sample_size as size_of
from fimlag.information._sums import expectation, log_likelihoods

PROBES = 2
"""Directions in which the forms are compared: a kink in any parameter shows in a generic one."""


class BartlettGap(eqx.Module):
    r"""Score form less Hessian form along k directions.

    $$\mathrm{E}[(\partial_v \ell)^2 + \partial_v^2 \ell] = 0$$

    `gap` (k,); `error` (k,), its standard error, 0 for an exact rule; `scale` (k,): $\mathrm{E}[(\partial_v
    \ell)^2]$, the size of either form.

    **Reference:** Bartlett (1953), eq. 2; White (1982), section 4 (the information matrix test).
    """

    gap: Float[Array, " k"]
    error: Float[Array, " k"]
    scale: Float[Array, " k"]


def gap_over(rule, log_likelihood: LogLikelihood, theta: Coordinates, directions: Float[Array, "k d"]) -> BartlettGap:
    """The gap of a density by its expectation rule: two directional derivatives of each log-likelihood."""
    vector, structure = flatten(theta, "theta")

    def part(x, weights):
        # Far out, second derivatives overflow where the weight is less than round-off.
        live = weights > jnp.finfo(weights.dtype).eps * jnp.max(weights)

        def slopes(point, direction):
            def values(point):
                return log_likelihoods(log_likelihood, structure.unflatten(point), x)

            return jax.jvp(values, (point,), (direction,))[1]

        def along(direction):
            slope, bend = jax.jvp(lambda point: slopes(point, direction), (vector,), (direction,))
            gaps = jnp.where(live, slope**2 + bend, 0.0)
            return weights @ gaps, weights**2 @ gaps**2, weights @ slope**2

        return jax.vmap(along)(directions)

    gap, squares, scale = jax.lax.stop_gradient(expectation(rule, log_likelihood, theta, part))
    return BartlettGap(gap, error_of_mean(squares, gap, size_of(rule, gap.dtype)), scale)


def audited(model, theta: Coordinates, estimate: FisherEstimate) -> FisherEstimate:
    """The estimate with the gap in its certificate, and `irregular` as its result where the forms differ."""
    if not model.is_expectation:
        return estimate
    gap = model.bartlett_gap(theta, _probes(estimate))
    eps = float(jnp.finfo(gap.gap.dtype).eps)
    certificate = estimate.certificate
    sampled = certificate.outcomes > 0
    floor = eps**0.5 * gap.scale + 100.0 * eps
    agree = jnp.all(jnp.abs(gap.gap) <= 8.0 * gap.error + floor)
    off = ~agree & (~sampled | (certificate.outcomes >= SMALLEST_SAMPLE))
    failures = failures_of(estimate.result)
    return eqx.tree_at(
        lambda e: (e.certificate.bartlett_gap, e.certificate.bartlett_error, e.result),
        estimate,
        (gap.gap, gap.error, failure_named(failures.at[4].set(off))),
    )


def _probes(estimate: FisherEstimate) -> Float[Array, "k d"]:
    """Directions with a step of one standard deviation of each score, up or down."""
    diagonal = jax.lax.stop_gradient(jnp.diagonal(estimate.value))
    # A score that is round-off has no deviation to step by.
    usable = diagonal > (100.0 * float(jnp.finfo(diagonal.dtype).eps)) ** 2
    lengths = jnp.where(usable, 1.0 / jnp.sqrt(jnp.where(usable, diagonal, 1.0)), 1.0)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(PROBES, diagonal.shape[0]))
    return jnp.asarray(signs, lengths.dtype) * lengths[None, :]
