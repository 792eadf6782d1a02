"""Metrics made from one other: pulled back along a map, or scaled."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import MetricFn, RealScalarLike, as_field
from fimlag.geometry._metric import AbstractMetric, as_metric


class PullbackMetric(AbstractMetric):
    r"""The metric that a map induces on its domain.

    $$(f^* g)(q) = J^\top g(f(q))\, J, \qquad J = \partial f / \partial q$$

    **Arguments:** `metric`: the metric of the target space; `map`: a differentiable function from points of the
    domain to points of the target, which may have another dimension (a submanifold) or the same (a chart).

    **Raises:** `TypeError` for a map that is no function.

    **Reference:** do Carmo (1992), ch. 1, ex. 2.5.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> polar = lambda q: q[0] * jnp.stack([jnp.cos(q[1]), jnp.sin(q[1])])
    >>> print(jnp.round(fl.PullbackMetric(fl.EuclideanMetric(), polar)(jnp.array([2.0, 0.0])), 9))
    [[1. 0.]
     [0. 4.]]

    ```
    """

    metric: AbstractMetric
    map: Callable

    def __init__(self, metric: MetricFn, map: Callable):
        self.metric = as_metric(metric)
        self.map = as_field(map)

    @property
    def chart(self) -> None:
        """None: the domain of the map is the caller's."""
        return None

    def __call__(self, q):
        vector, structure = flatten(q, "q")
        jacobian = jax.jacfwd(lambda x: flatten(self.map(structure.unflatten(x)))[0])(vector)
        return jacobian.T @ self.metric(self.map(q)) @ jacobian

    def quadratic(self, q, v):
        vector, structure = flatten(q, "q")
        velocity = structure.flatten(v, "v")
        target = flatten(self.map(q))[1]
        point, image = jax.jvp(lambda x: flatten(self.map(structure.unflatten(x)))[0], (vector,), (velocity,))
        return self.metric.quadratic(target.unflatten(point), target.unflatten(image))


class ConformalMetric(AbstractMetric):
    r"""A metric scaled by a positive function.

    $$\tilde g(q) = e^{\phi(q)}\, g(q)$$

    **Arguments:** `metric`: the metric scaled; `log_factor`: the function $\phi$, a scalar of the point.

    **Raises:** `TypeError` for a factor that is no function.

    **Reference:** Besse (1987), section 1.J.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.ConformalMetric(fl.EuclideanMetric(), lambda q: -2.0 * jnp.log(q[1]))
    >>> print(half_plane(jnp.array([0.0, 2.0])))
    [[0.25 0.  ]
     [0.   0.25]]

    ```
    """

    metric: AbstractMetric
    log_factor: Callable

    def __init__(self, metric: MetricFn, log_factor: Callable):
        self.metric = as_metric(metric)
        self.log_factor = as_field(log_factor)

    @property
    def chart(self):
        """The free coordinates of the metric that is scaled."""
        return self.metric.chart

    def __call__(self, q):
        return jnp.exp(self.log_factor(q)) * self.metric(q)

    def quadratic(self, q, v):
        return jnp.exp(self.log_factor(q)) * self.metric.quadratic(q, v)


class JacobiMetric(AbstractMetric):
    r"""The Jacobi-Maupertuis metric, whose geodesics are the orbits of one energy.

    $$\tilde g(q) = 2\, (E - V(q))\, g(q)$$

    The motions of energy E of $\tfrac12 g(\dot q, \dot q) - V$ follow its geodesics, at another speed:
    $\mathrm d s = 2 (E - V)\, \mathrm d t$.

    **Arguments:** `metric`: the metric g of the kinetic energy; `potential`: V, a scalar function of the point;
    `energy`: E. Where V exceeds E no motion goes, and the metric is NaN.

    **Raises:** `ValueError` for an energy that is not one number, `TypeError` for a potential that is no function.

    **Reference:** Arnold (1989), section 45 D.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> kepler = fl.JacobiMetric(fl.EuclideanMetric(), lambda q: -1.0 / jnp.sqrt(q @ q), -0.5)
    >>> print(kepler(jnp.array([0.0, 1.0])))
    [[1. 0.]
     [0. 1.]]

    ```
    """

    metric: AbstractMetric
    potential: Callable
    energy: Float[Array, ""]

    def __init__(self, metric: MetricFn, potential: Callable, energy: RealScalarLike):
        self.metric = as_metric(metric)
        self.potential = as_field(potential)
        self.energy = jnp.asarray(energy, jnp.result_type(float, energy))
        if self.energy.shape != ():
            raise ValueError(f"energy must be one number, but has shape {self.energy.shape}: use jax.vmap for several.")

    @property
    def chart(self):
        """The free coordinates of the metric of the kinetic energy."""
        return self.metric.chart

    def __call__(self, q):
        return self._factor(q) * self.metric(q)

    def quadratic(self, q, v):
        return self._factor(q) * self.metric.quadratic(q, v)

    def _factor(self, q):
        potential = jnp.asarray(self.potential(q))
        kinetic = self.energy.astype(potential.dtype) - potential
        return jnp.where(kinetic >= 0.0, 2.0 * kinetic, jnp.nan)
