"""Regressions: information pulled back along a prediction."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import flatten
from fimlag._types import Coordinates, Outcomes, as_field
from fimlag.information._audit import BartlettGap
from fimlag.information._cumulants import along_curve, curve_of, tangents
from fimlag.information._estimate import Certificate, FisherEstimate, failure_named, failures_of
from fimlag.information._model import AbstractModel
from fimlag.information._moments import symmetric
from fimlag.information._prediction_root import prediction_root
from fimlag.information._sums import check_dense, count_outcomes, sum_over_data

INPUTS_IN_BLOCK = 256
"""Inputs of a regression treated together: each brings all the outcomes of its noise."""


class ConditionalModel(AbstractModel):
    r"""A regression: responses whose distribution depends on inputs through a prediction.

    $$y_i \sim p(y \mid \eta_i), \quad \eta_i = \mathtt{predict}(\theta, x_i), \qquad
    I(\theta) = \sum_i J_i^\top F(\eta_i) J_i, \quad J_i = \partial \eta_i / \partial \theta$$

    One observation is the whole response vector $y$; the information is that of the whole experiment.

    **Arguments:** `predict(theta, x)`: the parameters of the noise at ONE input, in the structure that the
    noise takes; unknown parameters of the noise itself are passed through. `noise`: the model of one response: a
    family, whose Fisher matrix is closed, or a `StatisticalModel` of any density. `inputs`: stacked along axis 0 of
    each leaf.

    The certificate holds means over the inputs, the result the gravest failure at any of them. A `MonteCarlo` noise
    is drawn anew at each input; a rule with one fixed sample serves all inputs, and their standard errors are
    added, an upper bound.

    **Reference:** Amari (1998), section 3 (the metric pulled back along a network).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> line = lambda theta, x: jnp.stack([theta[0] + theta[1] * x, 1.0])
    >>> model = fl.ConditionalModel(line, fl.families.Normal(), jnp.array([-1.0, 0.0, 2.0]))
    >>> print(jnp.round(fl.fisher_information(model, jnp.zeros(2)), 6))
    [[3. 1.]
     [1. 5.]]

    ```
    """

    predict: Callable
    noise: AbstractModel
    inputs: Outcomes

    def __init__(self, predict: Callable, noise, inputs: PyTree[ArrayLike]):
        self.predict = as_field(predict)
        if not isinstance(noise, AbstractModel):
            raise TypeError(f"noise must be a family or a StatisticalModel, but {type(noise).__name__} came.")
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

    @property
    def is_expectation(self) -> bool:
        """Whether the information of the noise is an expectation, which an audit can check."""
        return self.noise.is_expectation

    def route(self, form: str) -> str:
        """How the information is computed, in words."""
        return f"pull-back of the {self.noise.route(form)}"

    def information_estimate(self, theta, form="score", errors=True, rtol=None):
        """The Fisher information of the whole experiment."""
        vector, structure = flatten(theta, "theta")
        check_dense(vector)

        def of_input(item):
            noise, jacobian, eta = self._noise_and_jacobian(vector, structure, item)
            estimate = noise.information_estimate(eta, form, errors, rtol)
            return _pulled_back(estimate, jacobian, self._spread)

        value, spread, certificate, failures = self._sum_over_inputs(of_input)
        count = count_outcomes(self.inputs, "inputs")
        mean = Certificate(
            mass=certificate.mass / count,
            outcomes=certificate.outcomes / count,
            effective_sample_size=certificate.effective_sample_size / count,
            mean_score=certificate.mean_score,
            score_error=self._error(certificate.score_error),
            bartlett_gap=certificate.bartlett_gap,
            bartlett_error=certificate.bartlett_error,
        )
        return FisherEstimate(
            value=value,
            standard_error=self._error(spread),
            certificate=mean,
            route=self.route(form),
            result=failure_named(failures > 0.0),
        )

    def information_quadratic(self, theta, v):
        """The squared length of v: that of the predictions' velocity in the noise's metric."""
        vector, structure = flatten(theta, "theta")
        direction = structure.flatten(v, "v").astype(vector.dtype)

        def of_input(item):
            x, number = item
            _, velocity, (value, eta) = jax.jvp(self._prediction(structure, x), (vector,), (direction,), has_aux=True)
            length, result = self._noise_at(number).information_quadratic(eta.unflatten(value), eta.unflatten(velocity))
            return length, failures_of(result).astype(length.dtype)

        length, failures = self._sum_over_inputs(of_input)
        return length, failure_named(failures > 0.0)

    def skewness(self, theta, u, w):
        """The sum of the third moments of the noise's scores along the predictions' velocities, pulled back."""
        vector, structure = flatten(theta, "theta")
        u, w = tangents(structure, vector, u, w)

        def of_input(item):
            x, number = item
            _, tangent, (value, eta) = jax.linearize(self._prediction(structure, x), vector, has_aux=True)
            along = (eta.unflatten(tangent(direction)) for direction in (u, w))
            skewness, result = self._noise_at(number).skewness(eta.unflatten(value), *along)
            pulled = jax.linear_transpose(tangent, vector)(skewness)[0]
            return pulled, failures_of(result).astype(pulled.dtype)

        pulled, failures = self._sum_over_inputs(of_input)
        return pulled, failure_named(failures > 0.0)

    def bending(self, theta, v, a):
        """The sum of the covariances along the curves of the predictions."""
        vector, structure = flatten(theta, "theta")
        curve = curve_of(vector, *tangents(structure, vector, v, a))

        def of_input(item):
            x, number = item
            prediction = self._prediction(structure, x)
            _, (value, eta) = prediction(vector)
            derivatives = along_curve(lambda t: prediction(curve(t))[0], vector)
            noise, along = self._noise_at(number), map(eta.unflatten, derivatives)
            covariance, result = noise.bending(eta.unflatten(value), *along)
            return covariance, failures_of(result).astype(covariance.dtype)

        covariance, failures = self._sum_over_inputs(of_input)
        return covariance, failure_named(failures > 0.0)

    def information_roots(self, theta):
        """One root: the predictions, whitened by the roots of the noise's information at each input."""
        vector, structure = flatten(theta, "theta")
        return (prediction_root(self.predict, self.noise, self.inputs, vector, structure, INPUTS_IN_BLOCK),)

    def sampling_variance(self, theta, linear):
        """The variances of the inputs added; with one sample for all of them the standard errors, an upper bound."""
        vector, structure = flatten(theta, "theta")

        def of_input(item):
            noise, jacobian, eta = self._noise_and_jacobian(vector, structure, item)
            variance = noise.sampling_variance(eta, lambda matrix: linear(jacobian.T @ matrix @ jacobian))
            return self._spread(jnp.sqrt(variance))

        return self._error(self._sum_over_inputs(of_input)) ** 2

    def bartlett_gap(self, theta, directions):
        """The gap of the noise at each input, along the predictions' velocities."""
        vector, structure = flatten(theta, "theta")

        def of_input(item):
            noise, jacobian, eta = self._noise_and_jacobian(vector, structure, item)
            gap = noise.bartlett_gap(eta, directions @ jacobian.T)
            return gap.gap, self._spread(gap.error), gap.scale

        gap, spread, scale = self._sum_over_inputs(of_input)
        return BartlettGap(gap, self._error(spread), scale)

    def independent(self, number):
        """The model with random draws of its own; None where the noise has one sample."""
        noise = self.noise.independent(number)
        return None if noise is None else ConditionalModel(self.predict, noise, self.inputs)

    def joint_log_likelihood(self, theta, data):
        """The log-likelihood of all responses."""
        return self.log_likelihood(theta, data)

    def joint_information(self, theta, data):
        """The information of the experiment: that of one response at each input."""
        return self.information_estimate(theta, errors=False).checked_value

    def _prediction(self, structure, x):
        """The prediction at one input as a vector, with itself and its structure as auxiliary output."""

        def prediction(point):
            value, eta = flatten(self.predict(structure.unflatten(point), x), "the prediction")
            return value, (value, eta)

        return prediction

    def _noise_and_jacobian(self, vector, structure, item):
        """The noise at one input, the Jacobian of the prediction and the prediction itself."""
        x, number = item
        prediction = self._prediction(structure, x)
        outputs = jax.eval_shape(prediction, vector)[0].size
        derivative = jax.jacrev if outputs < vector.size else jax.jacfwd
        jacobian, (value, eta) = derivative(prediction, has_aux=True)(vector)
        return self._noise_at(number), jacobian, eta.unflatten(value)

    def _noise_at(self, number) -> AbstractModel:
        """The noise with draws of its own, where it can have them."""
        return self.noise.independent(number) or self.noise

    def _spread(self, error):
        """What adds up over the inputs: variances, or standard errors where one sample serves all."""
        return error if self.noise.independent(0) is None else error**2

    def _error(self, spread):
        """The standard error of a sum over the inputs."""
        return spread if self.noise.independent(0) is None else jnp.sqrt(spread)

    def _sum_over_inputs(self, of_input):
        numbers = jnp.arange(count_outcomes(self.inputs, "inputs"))
        return sum_over_data(jax.vmap(of_input), (self.inputs, numbers), INPUTS_IN_BLOCK)


def _pulled_back(estimate: FisherEstimate, jacobian: Float[Array, "k d"], spread: Callable):
    """One input's information, the spread of its errors, certificate and failures, pulled back to theta."""
    size, of_noise = jnp.abs(jacobian), estimate.certificate
    certificate = Certificate(
        mass=of_noise.mass,
        outcomes=of_noise.outcomes,
        effective_sample_size=of_noise.effective_sample_size,
        mean_score=of_noise.mean_score @ jacobian,
        score_error=spread(of_noise.score_error @ size),
        bartlett_gap=of_noise.bartlett_gap,
        bartlett_error=of_noise.bartlett_error,
    )
    return (
        symmetric(jacobian.T @ estimate.value @ jacobian),
        spread(size.T @ estimate.standard_error @ size),
        certificate,
        failures_of(estimate.result).astype(jacobian.dtype),
    )
