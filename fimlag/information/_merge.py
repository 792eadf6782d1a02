"""One estimate from several samples."""

import jax.numpy as jnp

from fimlag.information._estimate import Certificate, FisherEstimate, failure_named, failures_of
from fimlag.information._moments import error_of_mean


def merge_estimates(first: FisherEstimate, second: FisherEstimate) -> FisherEstimate:
    r"""Two Monte-Carlo estimates of one matrix from independent samples, as one from both together.

    $$\hat I = \frac{n_1 \hat I_1 + n_2 \hat I_2}{n_1 + n_2}$$

    Value, errors and certificate are those of the sample that holds both, to round-off: shares of a sample
    (`MonteCarlo(..., start=...)`) can be summed on different machines.

    **Arguments:** `first`, `second`: what `fisher_estimate` returned at the SAME parameters, by the same rule with
    other draws.

    **Returns:** the merged estimate; its result is the graver of the two, `nonfinite` where neither has a sample: exact
    estimates do not merge.

    **Raises:** `ValueError` where the matrices or the routes differ.

    **Reference:** Chan, Golub & LeVeque (1983), eq. 2.1.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> draw = lambda key, sigma, n: sigma * jax.random.normal(key, (n,))
    >>> density = lambda sigma, x: jax.scipy.stats.norm.logpdf(x, 0.0, sigma)
    >>> def half(start):
    ...     rule = fl.MonteCarlo(draw, 8192, jax.random.key(0), start=start)
    ...     return jax.jit(lambda sigma: fl.fisher_estimate(fl.StatisticalModel(density, rule), sigma))(2.0)
    >>> print(fl.merge_estimates(half(0), half(1)).certificate.outcomes)
    16384.0

    ```
    """
    if first.value.shape != second.value.shape or first.route != second.route:
        raise ValueError(
            f"Only estimates of one matrix by one rule merge, but they are {first.value.shape} by the {first.route} "
            f"and {second.value.shape} by the {second.route}."
        )
    one, two = first.certificate, second.certificate
    n = one.outcomes + two.outcomes
    shares = one.outcomes / n, two.outcomes / n

    def mean(a, b):
        return shares[0] * a + shares[1] * b

    def error(mean_of_both, *parts):
        squares = sum(
            share**2 * _squares(value, its_error, certificate.outcomes)
            for share, certificate, (value, its_error) in zip(shares, (one, two), parts, strict=True)
        )
        return error_of_mean(squares, mean_of_both, n)

    value, score = mean(first.value, second.value), mean(one.mean_score, two.mean_score)
    mass, gap = mean(one.mass, two.mass), mean(one.bartlett_gap, two.bartlett_gap)
    weight_squares = sum(
        share**2 * part.mass**2 / part.effective_sample_size for share, part in zip(shares, (one, two), strict=True)
    )
    failures = failures_of(first.result) | failures_of(second.result)
    certificate = Certificate(
        mass=mass,
        outcomes=n,
        effective_sample_size=mass**2 / weight_squares,
        mean_score=score,
        score_error=error(score, (one.mean_score, one.score_error), (two.mean_score, two.score_error)),
        bartlett_gap=gap,
        bartlett_error=error(gap, (one.bartlett_gap, one.bartlett_error), (two.bartlett_gap, two.bartlett_error)),
    )
    return FisherEstimate(
        value=value,
        standard_error=error(value, (first.value, first.standard_error), (second.value, second.standard_error)),
        certificate=certificate,
        route=first.route,
        result=failure_named(failures.at[0].set(failures[0] | (n == 0.0))),
    )


def _squares(mean, error, n):
    """The sum of squares from which a mean over n outcomes had its standard error."""
    # That of one outcome is infinite, and says nothing.
    return jnp.where(n > 1.0, error, 0.0) ** 2 * (n - 1.0) / n + mean**2 / n
