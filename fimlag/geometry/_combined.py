"""Metrics made from several: products, sums and explicit damping."""

import operator
from functools import reduce

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, IdentityChart
from fimlag._flat import flatten
from fimlag._types import MetricFn
from fimlag.geometry._metric import AbstractMetric, EuclideanMetric, as_metric


class ProductMetric(AbstractMetric):
    r"""The metric of a product space: the squared lengths of the factors add, each with its own coordinates.

    $$g(q) = \operatorname{diag}\big(g_1(q_1), \dots, g_m(q_m)\big)$$

    **Arguments:** `metrics`: those of the factors; `sizes`: how many coordinates each has. With sizes the point is
    one vector, cut into as many; without, it is a tuple with the point of each factor, in a structure of its own.
    The product has a chart where a factor has one, and needs the sizes for it.

    **Raises:** `ValueError` for no metrics, sizes that do not match them, or a point that does not match either.

    **Reference:** do Carmo (1992), ch. 1, ex. 2.7.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> product = fl.ProductMetric(lambda q: q[:, None], fl.EuclideanMetric(4.0), sizes=(1, 1))
    >>> print(product(jnp.array([3.0, 5.0])))
    [[3. 0.]
     [0. 4.]]

    ```
    """

    metrics: tuple[AbstractMetric, ...]
    sizes: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, *metrics: MetricFn, sizes: tuple[int, ...] | None = None):
        self.metrics = _some(metrics)
        self.sizes = None if sizes is None else tuple(int(size) for size in sizes)
        if self.sizes is not None and (len(self.sizes) != len(metrics) or min(self.sizes) < 1):
            raise ValueError(f"{len(metrics)} metrics need as many positive sizes, but {sizes} came.")

    @property
    def chart(self) -> AbstractChart | None:
        """The charts of the factors side by side."""
        if self.sizes is None or all(metric.chart is None for metric in self.metrics):
            return None
        return _ProductChart(tuple(metric.chart or IdentityChart() for metric in self.metrics), self.sizes)

    def __call__(self, q):
        return block_diag(*(metric(part) for metric, part in zip(self.metrics, self._split(q), strict=True)))

    def quadratic(self, q, v):
        parts = zip(self.metrics, self._split(q), self._split(v), strict=True)
        return _sum(metric.quadratic(point, velocity) for metric, point, velocity in parts)

    def _split(self, q):
        if self.sizes is not None:
            return _cut(flatten(q, "q")[0], self.sizes)
        if not isinstance(q, tuple | list) or len(q) != len(self.metrics):
            raise ValueError(
                f"A point of a product of {len(self.metrics)} metrics is a tuple of as many, but {type(q).__name__} "
                "came: give `sizes` to cut one vector."
            )
        return q


class SumMetric(AbstractMetric):
    r"""The sum of metrics on the same coordinates: independent sources of data add their information.

    $$g(q) = \sum_k g_k(q)$$

    **Arguments:** `metrics`: the terms. The chart is the first that a term has.

    **Raises:** `ValueError` for no metrics.

    **Reference:** Lehmann & Casella (1998), theorem 2.5.8.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> both = fl.SumMetric(fl.FisherMetric(fl.families.Exponential()), fl.FisherMetric(fl.families.Poisson()))
    >>> print(both(jnp.array([2.0])))
    [[0.75]]

    ```
    """

    metrics: tuple[AbstractMetric, ...]

    def __init__(self, *metrics: MetricFn):
        self.metrics = _some(metrics)

    @property
    def chart(self) -> AbstractChart | None:
        """The first chart of a term."""
        return next((metric.chart for metric in self.metrics if metric.chart is not None), None)

    def __call__(self, q):
        return _sum(metric(q) for metric in self.metrics)

    def quadratic(self, q, v):
        return _sum(metric.quadratic(q, v) for metric in self.metrics)


class DampedMetric(AbstractMetric):
    r"""A metric plus a constant one, which keeps it definite where the data tell nothing.

    $$\tilde g(q) = g(q) + m$$

    **Arguments:** `metric`: the metric damped; `damping`: m, a number (the same for every coordinate), a vector
    (diagonal) or a (d, d) matrix, in units of the metric.

    **Raises:** `ValueError` for an array of more than two axes or a matrix that is not square.

    **Reference:** Levenberg (1944); Transtrum, Machta & Sethna (2011).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.DampedMetric(lambda q: jnp.outer(q, q), 0.5)(jnp.array([1.0, 0.0])))
    [[1.5 0. ]
     [0.  0.5]]

    ```
    """

    metric: AbstractMetric
    damping: EuclideanMetric

    def __init__(self, metric: MetricFn, damping):
        self.metric, self.damping = as_metric(metric), EuclideanMetric(damping)

    @property
    def chart(self) -> AbstractChart | None:
        """The free coordinates of the metric that is damped."""
        return self.metric.chart

    def __call__(self, q):
        return self.metric(q) + self.damping(q)

    def quadratic(self, q, v):
        return self.metric.quadratic(q, v) + self.damping.quadratic(q, v)


class _ProductChart(AbstractChart):
    """Charts side by side, each with its share of the coordinates."""

    charts: tuple[AbstractChart, ...]
    sizes: tuple[int, ...] = eqx.field(static=True)

    def point(self, free):
        return self._joined("point", free)

    def free(self, theta):
        return self._joined("free", theta)

    def displacement(self, theta0, theta1):
        return self._joined("displacement", theta0, theta1)

    def _joined(self, method, *vectors):
        shares = zip(self.charts, *(_cut(vector, self.sizes) for vector in vectors), strict=True)
        return jnp.concatenate([getattr(chart, method)(*parts) for chart, *parts in shares])


def _some(metrics) -> tuple[AbstractMetric, ...]:
    if not metrics:
        raise ValueError("At least one metric is needed.")
    return tuple(as_metric(metric) for metric in metrics)


def _cut(vector: Float[Array, " d"], sizes: tuple[int, ...]) -> list[Float[Array, " k"]]:
    if vector.size != sum(sizes):
        raise ValueError(f"{sum(sizes)} coordinates were expected, but {vector.size} came.")
    return jnp.split(vector, np.cumsum(sizes)[:-1].tolist())


def _sum(terms):
    return reduce(operator.add, terms)
