"""Independent experiments on the same parameters: information adds."""

import operator
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._results import RESULTS
from fimlag._types import Coordinates
from fimlag.information._audit import BartlettGap
from fimlag.information._estimate import Certificate, FisherEstimate, failure_named, failures_of
from fimlag.information._model import AbstractModel


class ProductModel(AbstractModel):
    r"""Several independent experiments that share their parameters.

    $$\ell(\theta, (x_1, \dots, x_m)) = \sum_k \ell_k(\theta, x_k), \qquad I(\theta) = \sum_k I_k(\theta)$$

    **Arguments:** `models`: the experiments, each a model of the same theta: a survey and a prior measurement, counts
    and magnitudes, regressions on different inputs. One observation is the tuple of one observation of each; data
    are the tuple of the data of each, whatever their sizes.

    Each part is computed by its own route. Random draws of the parts are made independent of each other. The
    certificate holds means of the parts' masses and sums of their scores.

    **Raises:** `TypeError` for a part that is not a model, `ValueError` for none.

    **Reference:** Lehmann & Casella (1998), theorem 2.5.8.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> both = fl.ProductModel(fl.families.Exponential(), fl.families.Poisson())
    >>> print(fl.fisher_information(both, 2.0))
    [[0.75]]

    ```
    """

    models: tuple[AbstractModel, ...]

    def __init__(self, *models):
        if not models:
            raise ValueError("A product needs at least one model.")
        for model in models:
            if not isinstance(model, AbstractModel):
                raise TypeError(f"Each part of a product must be a model, but {type(model).__name__} came.")
        self.models = tuple(model.independent(number) or model for number, model in enumerate(models))

    def log_likelihood(self, theta: Coordinates, x) -> Float[Array, ""]:
        """The log-likelihood of one observation of each part."""
        return _sum(model.log_likelihood(theta, part) for model, part in self._with(x))

    @property
    def smooth(self) -> bool:
        """Whether every part is one smooth function of theta."""
        return all(model.smooth for model in self.models)

    @property
    def is_expectation(self) -> bool:
        """Whether the information of any part is an expectation, which an audit can check."""
        return any(model.is_expectation for model in self.models)

    def route(self, form: str) -> str:
        """The routes of the parts."""
        return " + ".join(model.route(form) for model in self.models)

    def information_estimate(self, theta, form="score", errors=True, rtol=None):
        """The sum of the parts' information."""
        parts = [model.information_estimate(theta, form, errors, rtol) for model in self.models]
        certificates = [part.certificate for part in parts]
        return FisherEstimate(
            value=_sum(part.value for part in parts),
            standard_error=_in_quadrature(part.standard_error for part in parts),
            certificate=Certificate(
                mass=_sum(c.mass for c in certificates) / len(parts),
                outcomes=_sum(c.outcomes for c in certificates),
                effective_sample_size=_sum(c.effective_sample_size for c in certificates),
                mean_score=_sum(c.mean_score for c in certificates),
                score_error=_in_quadrature(c.score_error for c in certificates),
                bartlett_gap=certificates[0].bartlett_gap,
                bartlett_error=certificates[0].bartlett_error,
            ),
            route=self.route(form),
            result=_gravest([part.result for part in parts]),
        )

    def information_quadratic(self, theta, v):
        """The sum of the squared lengths."""
        lengths, results = zip(*(model.information_quadratic(theta, v) for model in self.models), strict=True)
        return _sum(lengths), _gravest(results)

    def skewness(self, theta, u, w):
        """The sum of the parts': third moments of independent scores add, their means being zero."""
        vectors, results = zip(*(model.skewness(theta, u, w) for model in self.models), strict=True)
        return _sum(vectors), _gravest(results)

    def bending(self, theta, v, a):
        """The sum of the parts' covariances."""
        covariances, results = zip(*(model.bending(theta, v, a) for model in self.models), strict=True)
        return _sum(covariances), _gravest(results)

    def information_roots(self, theta):
        """The roots of all parts."""
        return tuple(root for model in self.models for root in model.information_roots(theta))

    def sampling_variance(self, theta, linear):
        """The sum of the variances."""
        return _sum(model.sampling_variance(theta, linear) for model in self.models)

    def bartlett_gap(self, theta, directions):
        """The gap of the parts whose information is an expectation."""
        gaps = [model.bartlett_gap(theta, directions) for model in self.models if model.is_expectation]
        return BartlettGap(
            _sum(gap.gap for gap in gaps), _in_quadrature(gap.error for gap in gaps), _sum(gap.scale for gap in gaps)
        )

    def independent(self, number):
        """The product with random draws of its own; None where a part has but one sample."""
        parts = [part for model in self.models if (part := model.independent(number)) is not None]
        return ProductModel(*parts) if len(parts) == len(self.models) else None

    def joint_log_likelihood(self, theta: Coordinates, data):
        """The log-likelihood of the data of all parts."""
        return _sum(model.joint_log_likelihood(theta, part) for model, part in self._with(data))

    def joint_information(self, theta: Coordinates, data):
        """The sum of the information of the parts' experiments."""
        return _sum(model.joint_information(theta, part) for model, part in self._with(data))

    def _with(self, parts):
        if not isinstance(parts, tuple | list) or len(parts) != len(self.models):
            raise ValueError(
                f"A product of {len(self.models)} models takes a tuple of as many, but {type(parts).__name__} "
                f"with {len(jax.tree_util.tree_leaves(parts))} arrays came."
            )
        return list(zip(self.models, parts, strict=True))


def _sum(terms):
    return reduce(operator.add, terms)


def _in_quadrature(errors):
    return jnp.sqrt(_sum(error**2 for error in errors))


def _gravest(results) -> RESULTS:
    return failure_named(reduce(operator.or_, (failures_of(result) for result in results)))
