"""Lagrangians: callables `(t, q, v) -> scalar`, and what the library knows of their form."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, LagrangianFn, MetricFn, RealScalarLike, as_field
from fimlag.geometry import AbstractMetric, as_metric


class NaturalLagrangian(eqx.Module):
    r"""Kinetic energy of a metric minus a potential.

    $$L(t, q, v) = \tfrac12\, g_{ij}(q)\, v^i v^j - V(q)$$

    **Arguments:** `metric`: a metric, or a plain function from a point to a symmetric (d, d) matrix; one that
    defines `quadratic(q, v)` never forms the matrix here; `potential`: a scalar function of the point, or
    None.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Reference:** Arnold (1989), section 19.

    ```python
    >>> import fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(2.0), potential=lambda q: q**2)
    >>> float(L(0.0, 1.0, 3.0))
    8.0

    ```
    """

    metric: AbstractMetric
    potential: Callable | None

    def __init__(self, metric: MetricFn, potential: Callable | None = None):
        self.metric = as_metric(metric)
        self.potential = None if potential is None else as_field(potential)

    @property
    def chart(self) -> AbstractChart | None:
        """The free coordinates of the metric's domain, None where its own are free."""
        return self.metric.chart

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        kinetic = self.metric.quadratic(q, v) / 2
        return kinetic if self.potential is None else kinetic - self.potential(q)


class Separable(eqx.Module):
    r"""The user's word that a Lagrangian is a constant kinetic energy minus a potential.

    $$L(t, q, v) = \tfrac12\, v^\top M v + b \cdot v - V(t, q), \qquad M, b \text{ constant}$$

    The explicit methods accept it, and compare $M$ and $b$ along the trajectory with those at its start.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`.

    **Returns:** the same Lagrangian, marked.
    """

    lagrangian: LagrangianFn

    def __init__(self, lagrangian: LagrangianFn):
        self.lagrangian = as_field(lagrangian)

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        return self.lagrangian(t, q, v)


class FlatLagrangian(eqx.Module):
    """A Lagrangian on flat vectors: the caller's structure is restored before each call.

    A contact Lagrangian takes the action s as a fourth argument.

    **Raises:** `ValueError` where the Lagrangian returns anything but a scalar.
    """

    lagrangian: LagrangianFn
    structure: Structure

    def __init__(self, lagrangian: LagrangianFn, structure: Structure):
        self.lagrangian = as_field(lagrangian)
        self.structure = structure

    def __call__(
        self, t: Float[Array, ""], q: Float[Array, " d"], v: Float[Array, " d"], *s: Float[Array, ""]
    ) -> Float[Array, ""]:
        value = self.lagrangian(t, self.structure.unflatten(q), self.structure.unflatten(v), *s)
        if jnp.shape(value) != ():
            raise ValueError(
                f"A Lagrangian returns a scalar of shape (), but this one returned shape {jnp.shape(value)}."
            )
        return jnp.asarray(value)


class InChart(eqx.Module):
    r"""A Lagrangian of flat vectors in the free coordinates of a chart.

    $$L'(t, u, w) = L(t, \theta(u), \theta'(u)\, w)$$
    """

    lagrangian: FlatLagrangian
    chart: AbstractChart

    def __call__(self, t: Float[Array, ""], u: Float[Array, " d"], w: Float[Array, " d"]) -> Float[Array, ""]:
        point, velocity = jax.jvp(self.chart.point, (u,), (w,))
        return self.lagrangian(t, point, velocity)


def flat_arguments(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates):
    """`(flat Lagrangian, t, q, v)` with q and v as vectors, all in the dtype of `q`."""
    vector, structure = flatten(q, "q")
    velocity = structure.flatten(v, "v").astype(vector.dtype)
    return FlatLagrangian(lagrangian, structure), as_time(t, vector.dtype), vector, velocity


def as_time(t, dtype) -> Float[Array, ""]:
    """One time in a type; a `ValueError` for several, with which the rows of a trajectory would pass for one state."""
    if jnp.shape(t) != ():
        raise ValueError(f"t must be a number, but has shape {jnp.shape(t)}: one state comes in, jax.vmap takes many.")
    return jnp.asarray(t, dtype)
