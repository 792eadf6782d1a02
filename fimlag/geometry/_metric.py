"""Riemannian metrics on parameter space: callables from a point to a symmetric matrix."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, MetricFn, as_field
from fimlag.information import AbstractModel, fisher_information, fisher_quadratic


class AbstractMetric(eqx.Module):
    """A metric: `metric(q)` is its (d, d) matrix and `metric.quadratic(q, v)` the squared length of `v`.

    `chart`: free coordinates that cover its domain, or None where its own coordinates are free already.
    """

    if TYPE_CHECKING:
        # To a type checker an abstract variable is an argument of every subclass without an __init__.
        @property
        def chart(self) -> AbstractChart | None: ...
    else:
        chart: eqx.AbstractVar[AbstractChart | None]

    @abc.abstractmethod
    def __call__(self, q: Coordinates) -> Float[Array, "d d"]:
        """The matrix $g_{ij}(q)$, shape (d, d), in the order of the flattened coordinates."""

    @abc.abstractmethod
    def quadratic(self, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        """The squared length $g_{ij}(q) v^i v^j$, shape ()."""


class Metric(AbstractMetric):
    r"""The metric given by a function of the point.

    $$g_{ij}(q) = \mathtt{fn}(q)_{ij}$$

    **Arguments:** `fn`: a pure JAX function from a point to a symmetric (d, d) matrix. Only the symmetric part
    acts in `quadratic`. `chart`: free coordinates that cover its domain; None where all of space is.
    """

    fn: MetricFn
    chart: AbstractChart | None

    def __init__(self, fn: MetricFn, chart: AbstractChart | None = None):
        self.fn, self.chart = as_field(fn), chart

    def __call__(self, q):
        return _checked_matrix(self.fn(q), flatten(q, "q")[1].size)

    def quadratic(self, q, v):
        return _quadratic_form(self(q), v)


class EuclideanMetric(AbstractMetric):
    r"""The constant metric of a mass matrix.

    $$g_{ij}(q) = m_{ij}$$

    **Arguments:** `mass`: a number (the same for every coordinate), a vector (diagonal) or a (d, d) matrix.

    **Raises:** `ValueError` for an array of more than two axes or a matrix that is not square.
    """

    mass: Float[Array, "*shape"]

    def __init__(self, mass=1.0):
        mass = jnp.asarray(mass, jnp.result_type(float, mass))
        if mass.ndim > 2 or (mass.ndim == 2 and mass.shape[0] != mass.shape[1]):
            raise ValueError(f"mass must be a number, a vector or a square matrix, but has shape {mass.shape}.")
        self.mass = mass

    @property
    def chart(self) -> None:
        """None: all of space is its domain."""
        return None

    def __call__(self, q):
        vector, structure = flatten(q, "q")
        mass = self.mass.astype(vector.dtype)
        if mass.ndim < 2:
            return jnp.diag(jnp.broadcast_to(mass, (structure.size,)))
        return _checked_matrix(mass, structure.size)

    def quadratic(self, q, v):
        vector = flatten(v, "v")[0]
        mass = self.mass.astype(vector.dtype)
        return vector @ (mass @ vector if mass.ndim == 2 else mass * vector)


class FisherMetric(AbstractMetric):
    r"""The Fisher-Rao metric of a statistical model.

    $$g_{ij}(\theta) = \mathrm{E}_\theta[\partial_i \ell\, \partial_j \ell], \qquad
    g(v, v) = \mathrm{E}_\theta[(\partial_v \ell)^2]$$

    The squared length needs one directional derivative of the log-likelihood and no matrix.

    **Arguments:** `model`: a model whose expectation rule defines one smooth function of theta.

    **Raises:** `TypeError` for a plain `MonteCarlo` rule: its derivative is unbiased, but it is not the derivative
    of the values that the metric returns, so energy and Newton steps would fail on it.

    **Reference:** Rao (1945); Amari & Nagaoka (2000), eq. 2.6.
    """

    model: AbstractModel

    def __init__(self, model: AbstractModel):
        if not model.smooth:
            raise TypeError(
                "FisherMetric needs an expectation that is one smooth function of theta, and a plain MonteCarlo rule "
                "is not. Use ExactSum, Quadrature, Reparametrised, Empirical, or MonteCarlo(..., reference=theta)."
            )
        self.model = model

    @property
    def chart(self):
        """The free coordinates of the model, None where it has none."""
        return getattr(self.model, "chart", None)

    @property
    def closed_distance(self) -> Callable | None:
        """The distance between two points as the model knows it, None where it does not."""
        return getattr(self.model, "distance", None)

    def __call__(self, q):
        return fisher_information(self.model, q)

    def quadratic(self, q, v):
        return fisher_quadratic(self.model, q, v)


def as_metric(metric: MetricFn) -> AbstractMetric:
    """The metric itself, or a plain callable `q -> (d, d)` as a `Metric`."""
    return metric if isinstance(metric, AbstractMetric) else Metric(metric)


class FlatMetric(eqx.Module):
    """A metric on flat vectors: the caller's structure is restored before each call."""

    metric: AbstractMetric
    structure: Structure

    def __call__(self, q: Float[Array, " d"]) -> Float[Array, "d d"]:
        return self.metric(self.structure.unflatten(q))

    def quadratic(self, q: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        """The squared length of v."""
        return self.metric.quadratic(self.structure.unflatten(q), self.structure.unflatten(v))

    def vector(self, tree: Coordinates, name: str, dtype) -> Float[Array, " d"]:
        """A tangent vector or one-form of the caller as a vector."""
        return self.structure.flatten(tree, name).astype(dtype)


def flat_metric(metric: MetricFn, q: Coordinates) -> tuple[FlatMetric, Float[Array, " d"]]:
    """The metric on flat vectors, and the point as one."""
    vector, structure = flatten(q, "q")
    return FlatMetric(as_metric(metric), structure), vector


def _quadratic_form(matrix, v):
    vector = flatten(v, "v")[0]
    return vector @ (matrix @ vector)


def _checked_matrix(matrix, size):
    if jnp.shape(matrix) != (size, size):
        raise ValueError(
            f"The metric returned an array of shape {jnp.shape(matrix)} at a point of {size} coordinates: "
            f"({size}, {size}) was expected."
        )
    return matrix
