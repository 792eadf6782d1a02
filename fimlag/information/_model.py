"""Statistical models: a log-likelihood together with the expectation over what it may observe."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS
from fimlag._types import Coordinates, LogLikelihood, as_field
from fimlag.information._estimate import (
    FisherEstimate,
    concluded,
    gram_moments,
    hessian_moments,
    score_moments,
)
from fimlag.information._sums import count_outcomes, expectation, log_likelihoods, sum_over_data


class AbstractModel(eqx.Module):
    """What the other rooms ask of a model: likelihoods, and the information that observations carry."""

    log_likelihood: eqx.AbstractVar[LogLikelihood]

    @property
    @abc.abstractmethod
    def smooth(self) -> bool:
        """Whether the expectation is one smooth function of theta, which a metric needs."""

    @abc.abstractmethod
    def information_estimate(self, theta: Coordinates, form: str, errors: bool) -> FisherEstimate:
        """The Fisher information of one observation; without `errors` the dearer standard errors are zero."""

    @abc.abstractmethod
    def information_quadratic(self, theta: Coordinates, v: Coordinates) -> tuple[Float[Array, ""], RESULTS]:
        """The squared length $\\mathrm{E}[(\\partial_v \\ell)^2]$ and its result, without a matrix."""

    @abc.abstractmethod
    def joint_log_likelihood(self, theta: Coordinates, data: PyTree[ArrayLike]) -> Float[Array, ""]:
        """The log-likelihood of all data together, shape ()."""

    @abc.abstractmethod
    def joint_information(self, theta: Coordinates, data: PyTree[ArrayLike]) -> Float[Array, "d d"]:
        """The Fisher information of an experiment of the data's size, shape (d, d)."""


class StatisticalModel(AbstractModel):
    r"""Independent observations of one density, with the rule that takes its expectations.

    $$x \sim p(x \mid \theta) = e^{\ell(\theta, x)}$$

    **Arguments:** `log_likelihood(theta, x)`: the log-density of ONE observation (nats), normalised.
    `expectation`: a rule with `.blocks` and `.outcomes`: `ExactSum`, `Quadrature`, `MonteCarlo`,
    `Reparametrised`, `Empirical`, or one of your own.

    **Raises:** `TypeError` where either is not what it should be.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def log_likelihood(p, x): return jnp.log(jnp.where(x, p, 1.0 - p))
    >>> coin = fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.array([True, False])))
    >>> print(fl.fisher_information(coin, 0.5))
    [[4.]]

    ```
    """

    log_likelihood: LogLikelihood
    expectation: Any

    def __init__(self, log_likelihood: LogLikelihood, expectation):
        self.log_likelihood = as_field(log_likelihood)
        if not hasattr(expectation, "blocks") or not hasattr(expectation, "outcomes"):
            raise TypeError(
                "expectation must be a rule with `.blocks` and `.outcomes`, such as ExactSum, Quadrature or "
                f"MonteCarlo, but {type(expectation).__name__} came."
            )
        self.expectation = expectation

    @property
    def smooth(self) -> bool:
        """Whether the rule is one smooth function of theta."""
        return getattr(self.expectation, "smooth", True)

    def information_estimate(self, theta, form="score", errors=True):
        """The Fisher information of one observation."""
        vector, structure = flatten(theta, "theta")
        errors = errors and getattr(self.expectation, "sample_size", None) is not None
        if form == "score":
            moments = score_moments(self.expectation, self.log_likelihood, vector, structure, errors)
        elif form == "hessian":
            moments = hessian_moments(self.expectation, self.log_likelihood, vector, structure, errors)
        else:
            raise ValueError(f"form must be 'score' or 'hessian', but is {form!r}.")
        return concluded(self.expectation, moments, form)

    def information_quadratic(self, theta, v):
        """The squared length of v, by one directional derivative of each log-likelihood."""
        vector, structure = flatten(theta, "theta")
        direction = structure.flatten(v, "v").astype(vector.dtype)

        def part(x, weights):
            def values(point):
                return log_likelihoods(self.log_likelihood, structure.unflatten(point), x)

            slopes = jax.jvp(values, (vector,), (direction,))[1]
            return gram_moments(slopes[:, None], weights, errors=False)

        moments = expectation(self.expectation, self.log_likelihood, structure.unflatten(vector), part)
        estimate = concluded(self.expectation, moments, "score")
        return estimate.value[0, 0], estimate.result

    def joint_log_likelihood(self, theta, data):
        """The sum of the log-likelihoods of data stacked along axis 0."""
        return sum_over_data(lambda x: log_likelihoods(self.log_likelihood, theta, x), data)

    def joint_information(self, theta, data):
        """The information of as many observations as the data hold: n times that of one."""
        return count_outcomes(data, "data") * self.information_estimate(theta, "score", False).checked_value
