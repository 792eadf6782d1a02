"""The sampling error of what is computed from an information matrix."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LogLikelihood
from fimlag.information._estimate import FisherEstimate
from fimlag.information._moments import error_of_mean, of_vector, sample_size
from fimlag.information._sums import expectation

OUTCOMES_AT_ONCE = 256
"""Outcomes whose own matrices are held together."""


def variance_over(rule, log_likelihood: LogLikelihood, theta: Coordinates, linear: Callable) -> Array:
    r"""The sampling variance of `linear(information)` over a rule: that of a mean over the outcomes.

    $$\operatorname{Var} \sum_i w_i\, \mathtt{linear}(s_i s_i^\top)$$
    """
    vector, structure = flatten(theta, "theta")
    size = sample_size(rule, vector.dtype)
    zero = jnp.zeros((vector.size, vector.size), vector.dtype)
    shape = jax.eval_shape(linear, zero).shape
    if size is None:
        return jnp.zeros(shape, vector.dtype)
    # As a matrix, so that no factorisation is called for each outcome.
    derivative = jax.jacrev if math.prod(shape) < zero.size else jax.jacfwd
    coefficients = jnp.reshape(derivative(linear)(zero), (-1, vector.size, vector.size))

    def part(x, weights):
        scores = jax.vmap(jax.grad(of_vector(log_likelihood, structure)), (None, 0))(vector, x)

        def of_outcome(outcome):
            score, weight = outcome
            value = weight * (coefficients @ score @ score)
            return value, value**2

        values, squares = jax.lax.map(of_outcome, (scores, weights), batch_size=OUTCOMES_AT_ONCE)
        return jnp.sum(values, axis=0), jnp.sum(squares, axis=0)

    mean, squares = expectation(rule, log_likelihood, theta, part)
    return jnp.reshape(error_of_mean(squares, mean, size) ** 2, shape)


class DerivedEstimate(AbstractSolution):
    """A quantity computed from an information matrix, with its sampling error.

    `value` and `standard_error`: arrays of the quantity's shape; `information`: the estimate that it was computed
    from; `result`: that of the information, or `nonfinite`.
    """

    value: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    information: FisherEstimate
    result: RESULTS


def derived_estimate(model, theta: Coordinates, function: Callable, throw: bool = True) -> DerivedEstimate:
    r"""A function of the Fisher information with its standard error, by the delta method.

    $$\widehat{\mathrm{se}}{}^2 = \operatorname{Var} \sum_i w_i\, \mathrm{D}f(\hat I)[s_i s_i^\top]$$

    The covariances between all entries of the matrix are met exactly, and none of them is stored: the scores are
    visited a second time.

    **Arguments:** `model`: a statistical model. `theta`: its parameters. `function`: from the (d, d) matrix to an
    array of m numbers: `jnp.linalg.inv`, a bound such as `cramer_rao_bound`, `lambda I: jnp.linalg.slogdet(I)[1]`.
    Each outcome costs m d^2 operations: of many parameters ask for the few numbers that matter. `throw`: raise where
    the expectation or the function failed.

    **Returns:** a solution with `.value`, `.standard_error` (0 where the information is exact), `.information` and
    `.result`.

    **Raises:** as for `fisher_estimate`; `nonfinite` where the value or its error is not finite.

    **Reference:** van der Vaart (1998), theorem 3.1.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> rule = fl.MonteCarlo(lambda key, theta, n: theta * jax.random.normal(key, (n,)), 10_000, jax.random.key(0))
    >>> normal = fl.StatisticalModel(lambda sigma, x: jax.scipy.stats.norm.logpdf(x, 0.0, sigma), rule)
    >>> bound = fl.derived_estimate(normal, 2.0, jnp.linalg.inv)
    >>> print(jnp.abs(bound.value - 2.0) < 4 * bound.standard_error)
    [[ True]]

    ```
    """
    information = model.information_estimate(theta)
    value = function(information.value)
    linear = jax.linearize(function, jax.lax.stop_gradient(information.value))[1]
    error = jnp.sqrt(jax.lax.stop_gradient(model.sampling_variance(theta, linear)))
    result = first_failure(
        (information.result != RESULTS.successful, information.result),
        (~jnp.all(jnp.isfinite(value) & jnp.isfinite(error)), RESULTS.nonfinite),
    )
    solution = DerivedEstimate(value=value, standard_error=error, information=information, result=result)
    return raise_unless_successful(solution, throw)
