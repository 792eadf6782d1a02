"""Paths: piecewise polynomials in time through the points of a manifold."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from fimlag._charts import AbstractChart
from fimlag._flat import Structure, flatten
from fimlag._types import RealScalarLike
from fimlag.mechanics._discrete import element_basis


class Path(eqx.Module):
    r"""A continuous path, a polynomial of degree p on each of E equal elements of its time interval.

    $$q(t) = q_0 + \sum_a \phi_a(c)\, o_{e p + a}, \qquad (t - t_0) E / (t_1 - t_0) = e + c$$

    `path(t)` is the point at a time of shape (), `path.velocity(t)` its time derivative, both in the caller's
    structure; outside [t0, t1] they are NaN. `path.nodes` are the (E p + 1, d) nodal points.

    **Attributes:** `t0`, `t1`: the ends of the interval; `start`: the first point; `offsets` (E p + 1, d): the nodes
    relative to it, so that a short path keeps its velocity to full precision; `degree`: p; `chart`: where it is not
    None, `start` and `offsets` are in its free coordinates, of which the points are functions.
    """

    t0: Float[Array, ""]
    t1: Float[Array, ""]
    start: Float[Array, " d"]
    offsets: Float[Array, "nodes d"]
    degree: int = eqx.field(static=True)
    structure: Structure = eqx.field(static=True)
    chart: AbstractChart | None = None

    @classmethod
    def from_function(
        cls,
        function: Callable,
        t0: RealScalarLike = 0.0,
        t1: RealScalarLike = 1.0,
        elements: int = 8,
        degree: int = 8,
    ) -> "Path":
        """The path that interpolates a function of time at the Gauss-Lobatto nodes of its elements.

        **Arguments:** `function`: `t -> q`; `t0`, `t1`: the interval; `elements`, `degree`: E and p.

        **Returns:** a `Path`; its interpolation error is of order p + 1 in 1 / E for a smooth function.
        """
        start, structure = flatten(function(t0), "the path's point")
        t0, t1 = (jnp.asarray(t, start.dtype) for t in (t0, t1))
        times = t0 + (t1 - t0) * jnp.asarray(nodal_fractions(elements, degree), start.dtype)
        points = jax.vmap(lambda t: structure.flatten(function(t), "the path's point"))(times)
        return cls(t0, t1, start, points - start[None], degree, structure)

    @classmethod
    def from_nodes(
        cls, nodes: Inexact[Array, "knots ..."], t0: RealScalarLike = 0.0, t1: RealScalarLike = 1.0
    ) -> "Path":
        """The piecewise-linear path through points at equal intervals of time.

        **Arguments:** `nodes`: points stacked on axis 0, at least two; `t0`, `t1`: the interval.

        **Raises:** `ValueError` for fewer than two points.
        """
        nodes = jnp.asarray(nodes, jnp.result_type(float) if np.issubdtype(nodes.dtype, np.integer) else nodes.dtype)
        if nodes.ndim == 0 or nodes.shape[0] < 2:
            raise ValueError(f"A path needs at least two points on axis 0, but its nodes have shape {nodes.shape}.")
        start, structure = flatten(nodes[0])
        t0, t1 = (jnp.asarray(t, start.dtype) for t in (t0, t1))
        flat = jax.vmap(structure.flatten)(nodes)
        return cls(t0, t1, start, flat - start[None], 1, structure)

    @property
    def elements(self) -> int:
        """The number of elements E."""
        return (self.offsets.shape[0] - 1) // self.degree

    @property
    def times(self) -> Float[Array, " nodes"]:
        """The times of the nodes, shape (E p + 1,)."""
        fractions = jnp.asarray(nodal_fractions(self.elements, self.degree), self.start.dtype)
        return self.t0 + (self.t1 - self.t0) * fractions

    @property
    def nodes(self) -> Float[Array, "nodes d"]:
        """The nodal points, shape (E p + 1, d), flat."""
        return jax.vmap(self._at)(self.start[None] + self.offsets)

    def __call__(self, t: RealScalarLike):
        """The point at time `t`, in the caller's structure."""
        return self.structure.unflatten(self._at(self.start + self._displacement(jnp.asarray(t, self.start.dtype))))

    def velocity(self, t: RealScalarLike):
        """The time derivative at `t`, in the caller's structure (coordinates per unit of time)."""
        t = jnp.asarray(t, self.start.dtype)
        displacement, rate = jax.jvp(self._displacement, (t,), (jnp.ones_like(t),))
        return self.structure.unflatten(jax.jvp(self._at, (self.start + displacement,), (rate,))[1])

    def _at(self, coordinates):
        return coordinates if self.chart is None else self.chart.point(coordinates)

    def _displacement(self, t):
        position = (t - self.t0) / (self.t1 - self.t0) * self.elements
        element = jnp.clip(jnp.floor(position), 0, self.elements - 1)
        local = position - element
        start = element.astype(int) * self.degree
        offsets = jax.lax.dynamic_slice_in_dim(self.offsets, start, self.degree + 1)
        coefficients = jnp.asarray(element_basis(self.degree).coefficients, t.dtype) @ offsets
        slack = 8 * jnp.finfo(t.dtype).eps * self.elements
        inside = (position >= -slack) & (position <= self.elements + slack)
        return jnp.where(inside, _legendre_sum(2 * local - 1, coefficients), jnp.nan)


def nodal_fractions(elements: int, degree: int) -> np.ndarray:
    """The nodes of E equal elements of degree p on [0, 1], shape (E p + 1,)."""
    if elements < 1 or degree < 1:
        raise ValueError(f"elements and degree must be at least 1, but are {elements} and {degree}.")
    inner = (np.arange(elements)[:, None] + element_basis(degree).nodes[None, :-1]) / elements
    return np.append(inner.ravel(), 1.0)


def as_path(path, t0: RealScalarLike, t1: RealScalarLike, elements: int, degree: int) -> Path:
    """A `Path` as it is; a bare callable interpolated; an array of nodes joined by straight lines."""
    if isinstance(path, Path):
        return path
    if callable(path):
        return Path.from_function(path, t0, t1, elements, degree)
    return Path.from_nodes(jnp.asarray(path), t0, t1)


def _legendre_sum(x, coefficients):
    """`sum_k c_k P_k(x)` by Clenshaw's recurrence, written out: the degree is small."""
    following, second = jnp.zeros_like(coefficients[0]), jnp.zeros_like(coefficients[0])
    for k in range(coefficients.shape[0] - 1, -1, -1):
        current = coefficients[k] + (2 * k + 1) / (k + 1) * x * following - (k + 1) / (k + 2) * second
        following, second = current, following
    return following
