"""Score and Fisher information of a model, and the information in data."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS, raise_unless_successful
from fimlag._types import Coordinates, LogLikelihood
from fimlag.information._audit import audited
from fimlag.information._estimate import FisherEstimate
from fimlag.information._model import AbstractModel
from fimlag.information._moments import symmetric
from fimlag.information._sums import BLOCK, count_outcomes, log_likelihoods, sum_blocks, take_block


def score(model: AbstractModel, theta: Coordinates, x) -> Coordinates:
    r"""The score of one observation: the gradient of its log-likelihood.

    $$s(\theta, x) = \nabla_\theta\, \ell(\theta, x)$$

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree. `x`: ONE
    observation.

    **Returns:** the gradient in theta's structure.

    **Reference:** Cox & Hinkley (1974), section 4.8.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> print(jax.jit(lambda theta, x: fl.score(fl.families.Normal().model, theta, x))(jnp.array([0.0, 1.0]), 2.0))
    [2. 3.]

    ```
    """
    vector, structure = flatten(theta, "theta")
    gradient = jax.grad(lambda point: model.log_likelihood(structure.unflatten(point), x))(vector)
    return structure.unflatten(gradient)


def fisher_information(model: AbstractModel, theta: Coordinates, form: str = "score") -> Float[Array, "d d"]:
    r"""The Fisher information matrix of one observation.

    $$I_{ij}(\theta) = \mathrm{E}_\theta[\partial_i \ell\, \partial_j \ell]
    = -\mathrm{E}_\theta[\partial_i \partial_j \ell]$$

    The outcomes are visited in blocks, so memory does not grow with their number. Derivatives in theta of any
    order include the dependence of the density: those of a Monte-Carlo matrix are unbiased.

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree. `form`:
    `"score"`, the mean outer product of scores, or `"hessian"`, minus the mean Hessian: one derivative order
    dearer, equal where the support does not depend on theta and the log-likelihood has no kinks.

    **Returns:** the matrix in the order of the flattened parameters, shape (d, d); NaN where the expectation
    failed: `fisher_estimate` tells why.

    **Raises:** `ValueError` for another form.

    **Reference:** Fisher (1925); Amari & Nagaoka (2000), eq. 2.6 and 2.9.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> information = jax.jit(lambda theta: fl.fisher_information(fl.families.Normal().model, theta))
    >>> print(jnp.round(information(jnp.array([0.0, 0.5])), 6) + 0.0)
    [[4. 0.]
     [0. 8.]]

    ```
    """
    estimate = model.information_estimate(theta, form, errors=False)
    if form == "hessian":
        estimate = audited(model, theta, estimate)
    return estimate.checked_value


def fisher_estimate(
    model: AbstractModel,
    theta: Coordinates,
    form: str = "score",
    *,
    rtol: float | None = None,
    audit: bool = True,
    throw: bool = True,
) -> FisherEstimate:
    r"""The Fisher information matrix with its standard error, certificate, route and result.

    $$\hat I = \sum_i w_i\, s_i s_i^\top, \qquad
    \widehat{\mathrm{se}}{}^2 =
    \tfrac{n}{n-1}\Big(\sum_i w_i^2 (s_i s_i^\top)^{\circ 2} - \tfrac1n \hat I^{\circ 2}\Big)$$

    **Arguments:** as for `fisher_information`; `rtol`: draw blocks of a `MonteCarlo` rule, at most its `n`
    outcomes, until each standard error is below `rtol` $\sqrt{I_{ii} I_{jj}}$; `audit`: compare the score form with
    the Hessian form in two generic directions (Bartlett's identity), at about the cost of the scores; `throw`: raise
    where the expectation failed.

    **Returns:** a solution with `.value` and `.standard_error` (d, d) (0 for exact rules), `.certificate`
    (`mass`, `outcomes`, `effective_sample_size`, `mean_score`, `score_error`, `bartlett_gap`, `bartlett_error`),
    `.route` and `.result`.

    **Raises:** with `throw`, `nonfinite`; `poor_quadrature` where the weights of an exact rule differ from 1
    by more than the square root of round-off; `poor_sample` where fewer than 1 % of a reweighted sample (or
    10) are effective, or their weights do not average to 1; `biased_sample` where the mean score of 100
    outcomes or more is beyond 8 standard errors, or that of an exact rule beyond eps^0.5 of its deviation;
    `irregular` where the two forms differ likewise: kinks, jumps, a support that depends on theta;
    `tolerance_not_met` where n outcomes do not reach `rtol`. `Empirical` data are judged by finiteness alone.
    A score below 100 times round-off is taken for zero: give parameters units in which it is not. In a regression
    `rtol` holds at each input.

    **Reference:** Owen (2013), chapter 9 (importance sampling and its effective sample size); White (1982), section 4.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> estimate = jax.jit(lambda rate: fl.fisher_estimate(fl.families.Poisson(60).model, rate))(4.0)
    >>> print(estimate.route, jnp.round(estimate.value, 9), jnp.round(estimate.certificate.mass, 9))
    score form over ExactSum [[0.25]] 1.0

    ```
    """
    if rtol is not None and not rtol > 0.0:
        raise ValueError(f"rtol must be positive, but is {rtol}.")
    estimate = model.information_estimate(theta, form, True, rtol)
    if audit or form == "hessian":
        estimate = audited(model, theta, estimate)
    return raise_unless_successful(estimate, throw)


def fisher_quadratic(model: AbstractModel, theta: Coordinates, v: Coordinates) -> Float[Array, ""]:
    r"""The squared Fisher length of a velocity, without a matrix.

    $$v^\top I(\theta)\, v = \mathrm{E}_\theta[(\partial_v \ell)^2]$$

    One directional derivative of the log-likelihood for each outcome: cheap, and cheap to differentiate.

    **Arguments:** `model`: a statistical model. `theta`, `v`: parameters and their velocity, of one
    structure.

    **Returns:** the squared length, shape (); NaN where the expectation failed.

    **Raises:** `ValueError` where theta and v differ in structure.

    **Reference:** Rao (1945).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> quadratic = jax.jit(lambda theta, v: fl.fisher_quadratic(fl.families.Normal().model, theta, v))
    >>> print(jnp.round(quadratic(jnp.array([0.0, 1.0]), jnp.array([1.0, 1.0])), 9))
    3.0

    ```
    """
    length, result = model.information_quadratic(theta, v)
    return jnp.where(result == RESULTS.successful, length, jnp.nan)


def observed_information(
    log_likelihood: LogLikelihood, theta: Coordinates, data: PyTree[ArrayLike]
) -> Float[Array, "d d"]:
    r"""The observed information of data: minus the Hessian of their joint log-likelihood.

    $$J_{ij}(\theta) = -\partial_i \partial_j \sum_n \ell(\theta, x_n)$$

    **Arguments:** `log_likelihood(theta, x)`: of ONE observation. `theta`: parameters, a vector or any
    pytree. `data`: observations stacked along axis 0 of each leaf.

    **Returns:** the matrix, a SUM over the data, shape (d, d).

    **Raises:** `ValueError` for data that are not stacked, or a log-likelihood that is not a scalar.

    **Reference:** Efron & Hinkley (1978).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> log_likelihood = fl.families.Exponential().log_likelihood
    >>> observed = jax.jit(lambda rate, data: fl.observed_information(log_likelihood, rate, data))
    >>> print(observed(2.0, jnp.array([0.1, 0.7, 0.2])))
    [[0.75]]

    ```
    """
    vector, structure = flatten(theta, "theta")
    blocks = math.ceil(count_outcomes(data, "data") / BLOCK)

    def part(block):
        x, inside = take_block(data, blocks, block)

        def joint(point):
            values = log_likelihoods(log_likelihood, structure.unflatten(point), x)
            return jnp.sum(jnp.where(inside, values, 0.0))

        return -jax.hessian(joint)(vector)

    return sum_blocks(part, blocks)


def empirical_fisher(log_likelihood: LogLikelihood, theta: Coordinates, data: PyTree[ArrayLike]) -> Float[Array, "d d"]:
    r"""The empirical Fisher matrix of data: the Gram matrix of their scores.

    $$\hat I(\theta) = \sum_n s_n s_n^\top, \qquad s_n = \nabla \ell(\theta, x_n)$$

    Near the truth it estimates n times the Fisher information; elsewhere it is another matrix.

    **Arguments:** as for `observed_information`.

    **Returns:** the matrix, a SUM over the data, shape (d, d).

    **Raises:** as for `observed_information`.

    **Reference:** Kunstner, Balles & Hennig (2019), eq. 3.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> log_likelihood = fl.families.Exponential().log_likelihood
    >>> empirical = jax.jit(lambda rate, data: fl.empirical_fisher(log_likelihood, rate, data))
    >>> print(empirical(2.0, jnp.array([0.5, 1.0, 2.5])))
    [[4.25]]

    ```
    """
    vector, structure = flatten(theta, "theta")
    blocks = math.ceil(count_outcomes(data, "data") / BLOCK)

    def part(block):
        x, inside = take_block(data, blocks, block)
        scores = jax.vmap(jax.grad(lambda p, x: log_likelihood(structure.unflatten(p), x)), (None, 0))(vector, x)
        scores = jnp.where(inside[:, None], scores, 0.0)
        return symmetric(scores.T @ scores)

    return sum_blocks(part, blocks)
