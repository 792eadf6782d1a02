"""Statistical models: a log-likelihood together with the expectation over what it may observe."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS
from fimlag._types import Coordinates, LogLikelihood, as_field
from fimlag.information._audit import BartlettGap, gap_over
from fimlag.information._cumulants import bending_over, skewness_over
from fimlag.information._distribution import LogProb, rule_of
from fimlag.information._estimate import FisherEstimate, concluded
from fimlag.information._moments import gram_moments, hessian_moments, score_moments
from fimlag.information._propagation import variance_over
from fimlag.information._root import SquareRoot, root_over
from fimlag.information._sums import check_dense, count_outcomes, expectation, log_likelihoods, sum_over_data


class AbstractModel(eqx.Module):
    """What the other rooms ask of a model: likelihoods, and the information that observations carry."""

    if TYPE_CHECKING:
        # To a type checker an abstract variable is an argument of every subclass without an __init__.
        def log_likelihood(self, theta, x) -> Float[Array, ""]: ...
    else:
        log_likelihood: eqx.AbstractVar[LogLikelihood]

    @property
    @abc.abstractmethod
    def smooth(self) -> bool:
        """Whether the expectation is one smooth function of theta, which a metric needs."""

    @property
    @abc.abstractmethod
    def is_expectation(self) -> bool:
        """Whether the information is an expectation over outcomes, which an audit can check."""

    @abc.abstractmethod
    def route(self, form: str) -> str:
        """How the information is computed, in words."""

    @abc.abstractmethod
    def information_estimate(
        self, theta: Coordinates, form: str = "score", errors: bool = True, rtol=None
    ) -> FisherEstimate:
        """The Fisher information of one observation; without `errors` the dearer standard errors are zero.

        With `rtol` no more outcomes are drawn than meet it. A closed form knows of neither.
        """

    @abc.abstractmethod
    def information_quadratic(self, theta: Coordinates, v: Coordinates) -> tuple[Float[Array, ""], RESULTS]:
        """The squared length $\\mathrm{E}[(\\partial_v \\ell)^2]$ and its result, without a matrix."""

    @abc.abstractmethod
    def skewness(self, theta: Coordinates, u: Coordinates, w: Coordinates) -> tuple[Float[Array, " d"], RESULTS]:
        """The vector $\\mathrm{E}[(\\partial_u \\ell)(\\partial_w \\ell)\\, \\nabla\\ell]$, flat, and its result."""

    @abc.abstractmethod
    def bending(self, theta: Coordinates, v: Coordinates, a: Coordinates) -> tuple[Float[Array, "2 2"], RESULTS]:
        """The covariance of $(\\dot\\ell, \\ddot\\ell)$ on a curve of velocity v and acceleration a, and its result."""

    @abc.abstractmethod
    def information_roots(self, theta: Coordinates) -> tuple[SquareRoot, ...]:
        """Square roots whose Gram matrices sum to the information: what is only applied needs no more."""

    @abc.abstractmethod
    def sampling_variance(self, theta: Coordinates, linear: Callable) -> Array:
        """The sampling variance of `linear(information)`, in its shape; 0 where the information is exact."""

    @abc.abstractmethod
    def bartlett_gap(self, theta: Coordinates, directions: Float[Array, "k d"]) -> BartlettGap:
        """Score form less Hessian form along directions, for a model that `is_expectation`."""

    @abc.abstractmethod
    def independent(self, number) -> "AbstractModel | None":
        """The model with random draws of its own for each number; None where it has but one sample."""

    @abc.abstractmethod
    def joint_log_likelihood(self, theta: Coordinates, data: PyTree[ArrayLike]) -> Float[Array, ""]:
        """The log-likelihood of all data together, shape ()."""

    @abc.abstractmethod
    def joint_information(self, theta: Coordinates, data: PyTree[ArrayLike]) -> Float[Array, "d d"]:
        """The Fisher information of an experiment of the data's size, shape (d, d)."""


class AbstractDensity(AbstractModel):
    """A model whose data are independent observations of one density, stacked along axis 0."""

    def joint_log_likelihood(self, theta, data):
        """The sum of the log-likelihoods of the observations."""
        return sum_over_data(lambda x: log_likelihoods(self.log_likelihood, theta, x), data)

    def joint_information(self, theta, data):
        """The information of as many observations as the data hold: n times that of one."""
        return count_outcomes(data, "data") * self.information_estimate(theta, errors=False).checked_value


class StatisticalModel(AbstractDensity):
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

    @staticmethod
    def from_distribution(
        make: Callable,
        theta: Coordinates,
        *,
        expectation=None,
        key: Array | None = None,
        n: int | None = None,
        nodes: int = 200,
    ) -> "StatisticalModel":
        r"""The model of a distribution object of numpyro, distrax, TFP, or any with `log_prob`.

        $$\ell(\theta, x) = \mathtt{make}(\theta)\mathtt{.log\_prob}(x)$$

        The rule follows from the support that the object declares: a sum over booleans, integers between bounds, and
        counts as far as their tail is above round-off at `theta`; a quadrature on the line, half-lines, intervals and
        the circle, with location and scale taken from quartiles, attributes or moments, whichever resolves the density
        at `theta` (split at its location where nothing else does: a kink); for vectors and all else the mean over
        draws of its own `sample`. It is visible as `.expectation`, and certified wherever it is used.

        **Arguments:** `make(theta)`: ONE distribution, of batch shape (). `theta`: an example, in numbers, near those
        that will be asked for. `expectation`: a rule, in place of the one picked. `key`, `n`: for a rule that samples:
        a key of `jax.random` and how many outcomes it draws. `nodes`: of a quadrature.

        **Raises:** `TypeError` where the object has no `log_prob`; `ValueError` where it has a batch shape, declares
        no support, needs `key` and `n`, its support depends on theta, or theta is traced.

        **Reference:** Phan, Pradhan & Jankowiak (2019), section 2 (distributions and their supports).

        ```python
        >>> import jax, jax.numpy as jnp, fimlag as fl
        >>> class Exponential:
        ...     class support: lower_bound = 0.0
        ...     def __init__(self, mean): self.mean, self.variance = mean, mean**2
        ...     def log_prob(self, x): return -x / self.mean - jnp.log(self.mean)
        >>> model = fl.StatisticalModel.from_distribution(Exponential, jnp.array(2.0))
        >>> print(jnp.round(fl.fisher_information(model, jnp.array(0.5)), 9))
        [[4.]]

        ```
        """
        rule = rule_of(make, theta, key, n, nodes) if expectation is None else expectation
        return StatisticalModel(LogProb(make), rule)

    @property
    def smooth(self) -> bool:
        """Whether the rule is one smooth function of theta."""
        return getattr(self.expectation, "smooth", True)

    @property
    def is_expectation(self) -> bool:
        """Whether the rule follows the density: observed data need not."""
        return getattr(self.expectation, "centred", True)

    def route(self, form: str) -> str:
        """How the information is computed, in words."""
        return f"{form} form over {type(self.expectation).__name__}"

    def information_estimate(self, theta, form="score", errors=True, rtol=None):
        """The Fisher information of one observation."""
        vector, structure = flatten(theta, "theta")
        check_dense(vector)
        sampled = getattr(self.expectation, "sample_size", None) is not None
        errors = (errors or rtol is not None) and sampled
        if form == "score":
            moments = score_moments(self.expectation, self.log_likelihood, vector, structure, errors, rtol)
        elif form == "hessian":
            moments = hessian_moments(self.expectation, self.log_likelihood, vector, structure, errors, rtol)
        else:
            raise ValueError(f"form must be 'score' or 'hessian', but is {form!r}.")
        return concluded(self.expectation, moments, self.route(form), rtol)

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
        estimate = concluded(self.expectation, moments, self.route("score"))
        return estimate.value[0, 0], estimate.result

    def skewness(self, theta, u, w):
        """The third moments of the scores, by the rule."""
        return skewness_over(self.expectation, self.log_likelihood, theta, u, w)

    def bending(self, theta, v, a):
        """The covariance along the curve, by the rule."""
        return bending_over(self.expectation, self.log_likelihood, theta, v, a)

    def information_roots(self, theta):
        """One root: a row $\\sqrt{w}\\, s$ for each weighted outcome."""
        return (root_over(self.expectation, self.log_likelihood, theta),)

    def sampling_variance(self, theta, linear):
        """The variance of the mean of `linear(w s s^T)` over the sample."""
        return variance_over(self.expectation, self.log_likelihood, theta, linear)

    def bartlett_gap(self, theta, directions):
        """The gap, by the rule."""
        return gap_over(self.expectation, self.log_likelihood, theta, directions)

    def independent(self, number):
        """The model with the rule's own draws for each number."""
        if getattr(self.expectation, "sample_size", None) is None:
            return self
        if not hasattr(self.expectation, "independent"):
            return None
        return StatisticalModel(self.log_likelihood, self.expectation.independent(number))
