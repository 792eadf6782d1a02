"""Regressions: information pulled back along a prediction."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import flatten
from fimlag._types import Coordinates, Outcomes, as_field
from fimlag.information._estimate import Certificate, FisherEstimate, failure_named, failures_of, symmetric
from fimlag.information._model import AbstractModel, StatisticalModel
from fimlag.information._sums import count_outcomes, sum_over_data

INPUTS_IN_BLOCK = 256
"""Inputs of a regression treated together: each brings all the outcomes of its noise."""


class ConditionalModel(AbstractModel):
    r"""A regression: responses whose distribution depends on inputs through a prediction.

    $$y_i \sim p(y \mid \eta_i), \quad \eta_i = \mathtt{predict}(\theta, x_i), \qquad
    I(\theta) = \sum_i J_i^\top F(\eta_i) J_i, \quad J_i = \partial \eta_i / \partial \theta$$

    One observation is the whole response vector $y$; the information is that of the whole experiment.

    **Arguments:** `predict(theta, x)`: the parameters of the noise at ONE input, in the structure that the
    noise takes; unknown parameters of the noise itself are passed through. `noise`: a `StatisticalModel` of
    one response. `inputs`: stacked along axis 0 of each leaf.

    The certificate holds means over the inputs, the result the gravest failure at any of them. A Monte-Carlo
    noise uses one sample for all inputs: the standard errors of the inputs are added, an upper bound.

    **Reference:** Amari (1998), section 3 (the metric pulled back along a network).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> line = lambda theta, x: jnp.stack([theta[0] + theta[1] * x, 1.0])
    >>> model = fl.ConditionalModel(line, fl.families.Normal().model, jnp.array([-1.0, 0.0, 2.0]))
    >>> print(jnp.round(fl.fisher_information(model, jnp.zeros(2)), 6))
    [[3. 1.]
     [1. 5.]]

    ```
    """

    predict: Callable
    noise: StatisticalModel
    inputs: Outcomes

    def __init__(self, predict: Callable, noise: StatisticalModel, inputs: PyTree[ArrayLike]):
        self.predict = as_field(predict)
        if not isinstance(noise, StatisticalModel):
            raise TypeError(f"noise must be a StatisticalModel, but {type(noise).__name__} came.")
        self.noise = noise
        self.inputs = jax.tree_util.tree_map(jnp.asarray, inputs)
        count_outcomes(self.inputs, "inputs")

    @property
    def smooth(self) -> bool:
        """Whether the noise has an expectation that is one smooth function of its parameters."""
        return self.noise.smooth

    def log_likelihood(self, theta: Coordinates, x: PyTree[ArrayLike]) -> Float[Array, ""]:
        """The log-likelihood of ALL responses, stacked along the inputs' axis 0."""
        responses, inputs = count_outcomes(x, "the responses"), count_outcomes(self.inputs, "inputs")
        if responses != inputs:
            raise ValueError(f"{responses} responses came for {inputs} inputs.")

        def values(pair):
            return jax.vmap(lambda x, y: self.noise.log_likelihood(self.predict(theta, x), y))(*pair)

        return sum_over_data(values, (self.inputs, x))

    def information_estimate(self, theta, form="score", errors=True):
        """The Fisher information of the whole experiment."""
        vector, structure = flatten(theta, "theta")

        def of_input(x):
            prediction = self._prediction(structure, x)
            outputs = jax.eval_shape(prediction, vector)[0].size
            derivative = jax.jacrev if outputs < vector.size else jax.jacfwd
            jacobian, (value, eta) = derivative(prediction, has_aux=True)(vector)
            estimate = self.noise.information_estimate(eta.unflatten(value), form, errors)
            return _pulled_back(estimate, jacobian)

        value, error, certificate, failures = self._sum_over_inputs(of_input)
        count = count_outcomes(self.inputs, "inputs")
        mass, size = certificate.mass / count, certificate.effective_sample_size / count
        return FisherEstimate(
            value=value,
            standard_error=error,
            certificate=Certificate(mass, size, certificate.mean_score, certificate.score_error),
            route=f"pull-back of the {form} form over {type(self.noise.expectation).__name__}",
            result=failure_named(failures > 0.0),
        )

    def information_quadratic(self, theta, v):
        """The squared length of v: that of the predictions' velocity in the noise's metric."""
        vector, structure = flatten(theta, "theta")
        direction = structure.flatten(v, "v").astype(vector.dtype)

        def of_input(x):
            _, velocity, (value, eta) = jax.jvp(self._prediction(structure, x), (vector,), (direction,), has_aux=True)
            length, result = self.noise.information_quadratic(eta.unflatten(value), eta.unflatten(velocity))
            return length, failures_of(result).astype(length.dtype)

        length, failures = self._sum_over_inputs(of_input)
        return length, failure_named(failures > 0.0)

    def joint_log_likelihood(self, theta, data):
        """The log-likelihood of all responses."""
        return self.log_likelihood(theta, data)

    def joint_information(self, theta, data):
        """The information of the experiment: that of one response at each input."""
        return self.information_estimate(theta, "score", False).checked_value

    def _prediction(self, structure, x):
        """The prediction at one input as a vector, with itself and its structure as auxiliary output."""

        def prediction(point):
            value, eta = flatten(self.predict(structure.unflatten(point), x), "the prediction")
            return value, (value, eta)

        return prediction

    def _sum_over_inputs(self, of_input):
        return sum_over_data(jax.vmap(of_input), self.inputs, INPUTS_IN_BLOCK)


def _pulled_back(estimate: FisherEstimate, jacobian: Float[Array, "k d"]):
    """One input's information, bound on its error, certificate and failures, pulled back to theta."""
    size, bound = jnp.abs(jacobian), estimate.certificate
    certificate = Certificate(
        mass=bound.mass,
        effective_sample_size=bound.effective_sample_size,
        mean_score=bound.mean_score @ jacobian,
        score_error=bound.score_error @ size,
    )
    return (
        symmetric(jacobian.T @ estimate.value @ jacobian),
        size.T @ estimate.standard_error @ size,
        certificate,
        failures_of(estimate.result).astype(jacobian.dtype),
    )
