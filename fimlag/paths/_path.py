"""Paths: piecewise polynomials in time through the points of a manifold."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from fimlag._charts import AbstractChart
from fimlag._flat import Structure, flatten
from fimlag._types import LagrangianFn, MetricFn, RealScalarLike
from fimlag.mechanics import energy, momentum
from fimlag.mechanics._discrete import element_basis
from fimlag.paths._mesh import equal_knots, given_knots, nodal_times, place_among
from fimlag.paths._path_operations import joined, length, resampled, run_backward, with_constant_speed


class Path(eqx.Module):
    r"""A continuous path, a polynomial of degree p on each of the E elements of its time interval.

    $$q(t) = q_0 + \sum_a \phi_a(c)\, o_{e p + a}, \qquad t = t_e + c\, (t_{e+1} - t_e)$$

    `path(t)` is the point at a time of shape (), `path.velocity(t)` its time derivative, both in the caller's
    structure; outside [t0, t1] they are NaN. `path.nodes` are the (E p + 1, d) nodal points.

    **Attributes:** `knots` (E + 1,): the ends of the elements, in order, `t0` and `t1` the first and the last; `start`:
    the first point; `offsets` (E p + 1, d): the nodes relative to it, so that a short path keeps its velocity to full
    precision; `degree`: p; `chart`: where it is not None, `start` and `offsets` are in its free coordinates, of which
    the points are functions.

    **Raises:** `ValueError` for another number of nodes than that of the elements and the degree.
    """

    knots: Float[Array, " edges"]
    start: Float[Array, " d"]
    offsets: Float[Array, "nodes d"]
    degree: int = eqx.field(static=True)
    structure: Structure = eqx.field(static=True)
    chart: AbstractChart | None = None

    def __check_init__(self):
        elements, nodes = self.knots.shape[0] - 1, self.offsets.shape[0]
        if elements < 1 or self.degree < 1 or nodes != elements * self.degree + 1:
            raise ValueError(
                f"A path of {elements} elements of degree {self.degree} has {elements * self.degree + 1} nodes and at "
                f"least 2, but {nodes} came."
            )

    @classmethod
    def from_function(
        cls,
        function: Callable,
        t0: RealScalarLike = 0.0,
        t1: RealScalarLike = 1.0,
        elements: int = 8,
        degree: int = 8,
        *,
        knots: Float[Array, " edges"] | None = None,
    ) -> "Path":
        """The path that interpolates a function of time at the Gauss-Lobatto nodes of its elements.

        **Arguments:** `function`: `t -> q`; `t0`, `t1`: the interval; `elements`, `degree`: E and p; `knots`: the ends
        of the elements, in place of `t0`, `t1` and a number of equal ones.

        **Returns:** a `Path`; its interpolation error is of order p + 1 in the lengths of the elements for a smooth
        function.

        **Raises:** `ValueError` for no element, or knots out of order.
        """
        start, structure = flatten(function(t0 if knots is None else knots[0]), "the path's point")
        knots = equal_knots(t0, t1, elements, start.dtype) if knots is None else given_knots(knots, start.dtype)
        points = jax.vmap(lambda t: structure.flatten(function(t), "the path's point"))(nodal_times(knots, degree))
        return cls(knots, start, points - start[None], degree, structure)

    @classmethod
    def from_nodes(
        cls,
        nodes: Inexact[Array, "knots ..."],
        t0: RealScalarLike = 0.0,
        t1: RealScalarLike = 1.0,
        *,
        knots: Float[Array, " edges"] | None = None,
    ) -> "Path":
        """The piecewise-linear path through points at equal intervals of time, or at the times given.

        **Arguments:** `nodes`: points stacked on axis 0, at least two; `t0`, `t1`: the interval; `knots`: the times of
        the points, in place of `t0` and `t1`.

        **Raises:** `ValueError` for fewer than two points, another number of times, or times out of order.
        """
        nodes = jnp.asarray(nodes, jnp.result_type(float) if np.issubdtype(nodes.dtype, np.integer) else nodes.dtype)
        if nodes.ndim == 0 or nodes.shape[0] < 2:
            raise ValueError(f"A path needs at least two points on axis 0, but its nodes have shape {nodes.shape}.")
        start, structure = flatten(nodes[0])
        equal = equal_knots(t0, t1, nodes.shape[0] - 1, start.dtype)
        knots = equal if knots is None else given_knots(knots, start.dtype)
        flat = jax.vmap(structure.flatten)(nodes)
        return cls(knots, start, flat - start[None], 1, structure)

    @property
    def t0(self) -> Float[Array, ""]:
        """The time of the start."""
        return self.knots[0]

    @property
    def t1(self) -> Float[Array, ""]:
        """The time of the end."""
        return self.knots[-1]

    @property
    def elements(self) -> int:
        """The number of elements E."""
        return self.knots.shape[0] - 1

    @property
    def times(self) -> Float[Array, " nodes"]:
        """The times of the nodes, shape (E p + 1,)."""
        return nodal_times(self.knots, self.degree)

    @property
    def nodes(self) -> Float[Array, "nodes d"]:
        """The nodal points, shape (E p + 1, d), flat."""
        return jax.vmap(self._at)(self.start[None] + self.offsets)

    def __call__(self, t: RealScalarLike):
        """The point at time `t`, in the caller's structure."""
        return self.structure.unflatten(self._at(self.start + self.displacement(jnp.asarray(t, self.start.dtype))))

    def velocity(self, t: RealScalarLike):
        """The time derivative at `t`, in the caller's structure (coordinates per unit of time)."""
        return self.structure.unflatten(self._rate(jnp.asarray(t, self.start.dtype)))

    def acceleration(self, t: RealScalarLike):
        """The second time derivative at `t`, in the caller's structure, on the later element at a knot."""
        t = jnp.asarray(t, self.start.dtype)
        return self.structure.unflatten(jax.jvp(self._rate, (t,), (jnp.ones_like(t),))[1])

    def momentum(self, lagrangian: LagrangianFn, t: RealScalarLike):
        r"""The momentum $\partial L / \partial v$ at `t`, in the caller's structure."""
        return momentum(lagrangian, t, self(t), self.velocity(t))

    def energy(self, lagrangian: LagrangianFn, t: RealScalarLike) -> Float[Array, ""]:
        r"""The energy $p \cdot v - L$ at `t`."""
        return energy(lagrangian, t, self(t), self.velocity(t))

    def arclength(
        self, metric: MetricFn, t: RealScalarLike | None = None, *, points: int | None = None
    ) -> Float[Array, ""]:
        r"""The length of the path up to time `t`, or of all of it.

        $$s(t) = \int_{t_0}^t \sqrt{g_{ij}(q)\, \dot q^i \dot q^j}\, dt$$

        **Arguments:** `metric`: any callable `q -> (d, d)`; `t`: a time, None for the end; `points`: of Gauss's rule on
        each element, two more than the degree by default.

        **Returns:** a scalar; NaN outside [t0, t1] and where the metric makes a velocity's square negative.
        """
        t = None if t is None else jnp.asarray(t, self.start.dtype)
        return length(self, metric, t, self.degree + 2 if points is None else points)

    def at_constant_speed(self, metric: MetricFn, *, degree: int | None = None, points: int | None = None) -> "Path":
        """The same curve, run through in the same interval at constant speed.

        Each element becomes one of a duration in proportion to its length, whose nodes lie on the curve.

        **Arguments:** `metric`, `points`: as for `arclength`; `degree`: of the new elements, the same by default:
        the new path is a polynomial too, and near the old one as in `resample`.

        **Returns:** a `Path`, of NaN where the path has no length.
        """
        degree = self.degree if degree is None else degree
        return with_constant_speed(self, metric, degree, self.degree + 2 if points is None else points)

    def resample(
        self, elements: int | None = None, degree: int | None = None, *, knots: Float[Array, " edges"] | None = None
    ) -> "Path":
        """The path on another mesh, which interpolates this one at its nodes.

        It is the same path where every knot is a knot of the new mesh too and no degree is lost; a kink between the
        new knots is smoothed.

        **Arguments:** `elements`: a number of equal ones; `degree`: p, the same by default; `knots`: the ends of the
        elements, in place of their number, between t0 and t1; the same by default.

        **Returns:** a `Path`, of NaN where knots lie outside [t0, t1].

        **Raises:** `ValueError` for both a number and knots, and for knots out of order.
        """
        if elements is not None and knots is not None:
            raise ValueError("resample takes either a number of elements or their knots, but both came.")
        if elements is not None:
            knots = equal_knots(self.t0, self.t1, elements)
        knots = self.knots if knots is None else given_knots(knots, self.start.dtype)
        return resampled(self, knots, self.degree if degree is None else degree)

    def reversed(self) -> "Path":
        r"""The path run backward through the same interval, $t \mapsto q(t_0 + t_1 - t)$."""
        return run_backward(self)

    @staticmethod
    def concatenate(first: "Path", *rest: "Path") -> "Path":
        """Paths one after another.

        The first keeps its times, the others are shifted to start where the one before ends. All take the highest
        degree among them, which changes none.

        **Returns:** a `Path`; under `jax.jit`, of NaN where they do not meet.

        **Raises:** `ValueError` for paths that do not meet, to eps^0.75 of their coordinates, whose times run opposite
        ways, or of different structure, precision or chart.
        """
        return joined(first, *rest)

    def displacement(self, t: Float[Array, ""]) -> Float[Array, " d"]:
        """The point at `t` relative to the start, both in free coordinates where there is a chart."""
        element, share = place_among(self.knots, t)
        offsets = jax.lax.dynamic_slice_in_dim(self.offsets, element * self.degree, self.degree + 1)
        coefficients = jnp.asarray(element_basis(self.degree).coefficients, t.dtype) @ offsets
        return _legendre_sum(2 * share - 1, coefficients)

    def _at(self, coordinates):
        return coordinates if self.chart is None else self.chart.point(coordinates)

    def _rate(self, t):
        displacement, rate = jax.jvp(self.displacement, (t,), (jnp.ones_like(t),))
        return jax.jvp(self._at, (self.start + displacement,), (rate,))[1]


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
