"""A divergence with its standard error and certificate, and what becomes of them under sums and functions."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._results import RESULTS, AbstractSolution, first_failure

DIVERGENCE_FAILURES = (
    RESULTS.nonfinite,
    RESULTS.poor_quadrature,
    RESULTS.poor_sample,
    RESULTS.unresolved_divergence,
)
"""What can be wrong with a divergence, the gravest first."""


class DivergenceCertificate(eqx.Module):
    """What tells a good divergence from a bad one.

    `mass`: the sum of the weights at the first parameters, 1 for an exact rule that resolves the density. `outcomes`:
    how many random outcomes were seen, 0 for an exact rule. `effective_sample_size`: of their weights. `resolution`:
    how much the thirds of the nodes of a quadrature disagree about the integral, to the power 3/2; its own error is
    about the square of that for smooth densities; 0 for other rules. Sums over inputs or experiments hold means of the
    masses and resolutions.
    """

    mass: Float[Array, ""]
    outcomes: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    resolution: Float[Array, ""]


class DivergenceEstimate(AbstractSolution):
    """A divergence and what is known about its error.

    `value` (nats, or the divergence's own scale); `standard_error`, 0 for exact rules and closed forms; `certificate`;
    `route`: how it was computed; `result`: `successful`, `nonfinite`, `poor_quadrature`, `poor_sample` or
    `unresolved_divergence`. Derivatives pass through `value` alone.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]
    certificate: DivergenceCertificate
    route: str = eqx.field(static=True)
    result: RESULTS

    @property
    def checked_value(self) -> Float[Array, ""]:
        """The divergence, NaN where the result is a failure."""
        return jnp.where(self.succeeded, self.value, jnp.nan)

    def mapped(self, function: Callable) -> "DivergenceEstimate":
        """A smooth function of the divergence, its error to first order."""
        value, slope = jax.jvp(function, (self.value,), (jnp.ones_like(self.value),))
        error = jax.lax.stop_gradient(jnp.abs(slope) * self.standard_error)
        failed = jnp.isnan(value) & self.succeeded
        return DivergenceEstimate(
            value=value,
            standard_error=jnp.where(self.standard_error == 0.0, 0.0, error),
            certificate=self.certificate,
            route=self.route,
            result=RESULTS.where(failed, RESULTS.nonfinite, self.result),
        )


def exact_divergence(value: Float[Array, ""], route: str) -> DivergenceEstimate:
    """A divergence in closed form: nothing but its being a number is in doubt."""
    zero = jnp.zeros((), value.dtype)
    return DivergenceEstimate(
        value=value,
        standard_error=zero,
        certificate=DivergenceCertificate(zero + 1.0, zero, zero + 1.0, zero),
        route=route,
        result=first_failure((jnp.isnan(value), RESULTS.nonfinite)),
    )


def sum_of(parts: Sequence[DivergenceEstimate], route: str) -> DivergenceEstimate:
    """The divergence of independent experiments: the sum, as for the two directions of Jeffreys' divergence."""
    stacked = jax.tree_util.tree_map(lambda *leaves: jnp.stack(leaves), *[part.certificate for part in parts])
    return DivergenceEstimate(
        value=jnp.sum(jnp.stack([part.value for part in parts])),
        standard_error=jnp.sqrt(jnp.sum(jnp.stack([part.standard_error for part in parts]) ** 2)),
        certificate=DivergenceCertificate(
            mass=jnp.mean(stacked.mass),
            outcomes=jnp.sum(stacked.outcomes),
            effective_sample_size=jnp.sum(stacked.effective_sample_size),
            resolution=jnp.mean(stacked.resolution),
        ),
        route=route,
        result=divergence_failure(jnp.any(jnp.stack([flags_of(part.result) for part in parts]), axis=0)),
    )


def divergence_failure(flags: Bool[Array, " k"]) -> RESULTS:
    """The gravest of the failures that are true, in the order of `DIVERGENCE_FAILURES`."""
    return first_failure(*((flags[i], failure) for i, failure in enumerate(DIVERGENCE_FAILURES)))


def flags_of(result: RESULTS) -> Bool[Array, " k"]:
    """Which of `DIVERGENCE_FAILURES` a result is."""
    return jnp.stack([jnp.asarray(result == failure) for failure in DIVERGENCE_FAILURES])
