"""Parallel transport along any path, by orthogonal steps in an orthonormal frame."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, MetricFn, RealScalarLike, as_field
from fimlag.geometry import as_metric
from fimlag.geometry._metric import FlatMetric
from fimlag.paths._frame import frame_of, lower_half, whitened
from fimlag.paths._path import Path

_ORDER = 6


class ParallelTransport(AbstractSolution):
    """Parallel transport along a path, ready for any vector.

    Called with a tangent vector at the start, it returns the vector carried to the end, in its structure.

    **Attributes:** `times` (steps + 1,); `frames` (steps + 1, d, d): lower triangular matrices C with
    $C \\eta C^\\top = g$; `rotations` (steps + 1, d, d): the transport of components in these frames from the start,
    orthogonal for a positive definite metric; `signature` (d,): the diagonal $\\eta$, all 1 where the metric is
    positive definite; `error_estimate`: of the last rotation, by steps twice as long; `result`: a `RESULTS` member.
    """

    times: Float[Array, " rows"]
    frames: Float[Array, "rows d d"]
    rotations: Float[Array, "rows d d"]
    signature: Float[Array, " d"]
    error_estimate: Float[Array, ""]
    result: RESULTS
    structure: Structure = eqx.field(static=True)

    def __call__(self, vector: Coordinates):
        """The vector carried from the start to the end, in the structure of the path's points."""
        return self.structure.unflatten(self.matrix @ self._checked(vector))

    def along(self, vector: Coordinates):
        """The vector carried to each of `times`, stacked on axis 0 of every leaf."""
        components = self.frames[0].T @ self._checked(vector)
        moved = self.rotations @ components
        vectors = jax.lax.linalg.triangular_solve(
            self.frames, moved[:, :, None], left_side=True, lower=True, transpose_a=True
        )
        return jax.vmap(self.structure.unflatten)(vectors[:, :, 0])

    @property
    def rotation(self) -> Float[Array, "d d"]:
        """The transport from start to end in the orthonormal frames there, shape (d, d)."""
        return self.rotations[-1]

    @property
    def matrix(self) -> Float[Array, "d d"]:
        """The transport from start to end in the coordinates, shape (d, d)."""
        return jax.scipy.linalg.solve_triangular(self.frames[-1].T, self.rotation @ self.frames[0].T, lower=False)

    def _checked(self, vector):
        return self.structure.flatten(vector, "vector").astype(self.frames.dtype)


def transport_map(
    metric: MetricFn,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    connection: Callable | None = None,
    steps: int = 64,
    rtol: float | None = None,
    throw: bool = True,
) -> ParallelTransport:
    r"""Parallel transport along a path, for every vector at once.

    $$\dot w^k + \Gamma^k_{ij}\, \dot q^i w^j = 0$$

    In an orthonormal frame the Levi-Civita connection is a skew-symmetric matrix, contracted with the velocity and
    never formed in full. Magnus steps of order 6, exponentiated by a diagonal Pade approximant, are then rotations:
    lengths and angles are kept to round-off whatever the number of steps. A metric of any signature will do whose
    leading minors do not vanish on the path.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `path`: a `Path` (whose own interval is used), a callable
    `t -> q`, or nodes stacked on axis 0, joined by straight lines; `t0`, `t1`: the interval of a bare callable;
    `connection`: another connection than the metric's own, without torsion, by the acceleration `(q, v) -> a` of its
    geodesics, as `lambda q, v: fl.alpha_acceleration(model, q, v, 1.0)`: it keeps no lengths; `steps`: at least that
    many are taken, the same even number in each element of a `Path`; `rtol`: the error estimate allowed (None: eps^0.4,
    5e-7 in double precision); `throw`: raise where the transport failed.

    **Returns:** a `ParallelTransport`.

    **Raises:** `ValueError` for steps that are no positive integer, and for points or vectors of other structures.
    Results: `nonfinite`, `degenerate_metric`, `unresolved_transport`.

    **Reference:** do Carmo (1992), ch. 2, prop. 2.6; Blanes, Casas, Oteo & Ros (2009), sec. 5.4 (Magnus steps);
    Iserles, Munthe-Kaas, Norsett & Zanna (2000), sec. 6 (approximants that keep a quadratic group).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> carry = fl.transport_map(half_plane, lambda t: jnp.stack([t, jnp.ones_like(t)]))
    >>> print(jnp.round(carry(jnp.array([0.0, 1.0])), 4))  # turns by one radian
    [0.8415 0.5403]

    ```
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps must be a positive integer known while tracing, but is {steps!r}.")
    path = path if callable(path) else Path.from_nodes(jnp.asarray(path))
    if isinstance(path, Path):
        t0, t1, pieces = path.t0, path.t1, path.elements
    else:
        pieces = 1
    connection = None if connection is None else as_field(connection)
    steps = pieces * 2 * math.ceil(steps / (2 * pieces))
    return raise_unless_successful(
        _transport(as_metric(metric), as_field(path), t0, t1, connection, steps, rtol), throw
    )


def parallel_transport(
    metric: MetricFn,
    path: Path | Callable | Float[Array, "knots ..."],
    vector: Coordinates,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    connection: Callable | None = None,
    steps: int = 64,
):
    r"""The tangent vector at the end of a path that is parallel to one at its start.

    $$\dot w^k + \Gamma^k_{ij}\, \dot q^i w^j = 0, \qquad w(t_0) = \mathtt{vector}$$

    **Arguments:** `vector`: a tangent vector at the start of the path, in the structure of its points; the rest as
    for `transport_map`, which also carries many vectors, or one to all times between.

    **Returns:** a tangent vector at the end, in the same structure; NaN where `transport_map` reports a failure.

    **Raises:** `ValueError` as `transport_map`, and for a vector of another structure.

    **Reference:** do Carmo (1992), ch. 2, prop. 2.6.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> upwards = lambda t: jnp.stack([jnp.zeros_like(t), jnp.exp(t)])
    >>> bool(jnp.allclose(fl.parallel_transport(half_plane, upwards, jnp.array([1.0, 0.0])), jnp.array([jnp.e, 0.0])))
    True

    ```
    """
    carry = transport_map(metric, path, t0, t1, connection=connection, steps=steps, throw=False)
    end, structure = flatten(carry(vector))
    return structure.unflatten(jnp.where(carry.result == RESULTS.successful, end, jnp.nan))


def holonomy(
    metric: MetricFn,
    loop: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    period: Coordinates | None = None,
    connection: Callable | None = None,
    steps: int = 64,
) -> Float[Array, "d d"]:
    r"""What parallel transport once round a closed loop does to the vectors at its base.

    $$H w(t_0) = w(t_1), \qquad \operatorname{tr} H = 2 \cos \int K\, dA \quad \text{on a surface}$$

    **Arguments:** `loop`: a path whose ends are one point; `period`: in the structure of a point, the periods of
    coordinates that are angles (0 for the others): the ends may differ by multiples of them; the rest as for
    `transport_map`.

    **Returns:** the matrix $H$ in the coordinates at the base, shape (d, d): an isometry of the metric there. NaN where
    the ends differ, or the transport failed. `transport_map(...).rotation` is the same in an orthonormal frame.

    **Raises:** `ValueError` as `transport_map`.

    **Reference:** do Carmo (1976), sec. 4-5 (Gauss-Bonnet); Kobayashi & Nomizu (1963), ch. II, sec. 3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> sphere = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
    >>> latitude = lambda t: jnp.stack([jnp.full_like(t, jnp.pi / 3), 2 * jnp.pi * t])
    >>> around = fl.holonomy(sphere, latitude, period=jnp.array([0.0, 2 * jnp.pi]))
    >>> print(jnp.round(around[0, 0], 6))  # the cap's area is pi
    -1.0

    ```
    """
    loop = loop if callable(loop) else Path.from_nodes(jnp.asarray(loop))
    ends = (loop.t0, loop.t1) if isinstance(loop, Path) else (t0, t1)
    carry = transport_map(metric, loop, t0, t1, connection=connection, steps=steps, throw=False)
    start, end = (carry.structure.flatten(loop(jnp.asarray(t, carry.times.dtype))) for t in ends)
    around = jnp.zeros_like(start) if period is None else carry.structure.flatten(period, "period").astype(start.dtype)
    turns = jnp.round((end - start) / jnp.where(around == 0.0, jnp.inf, around))
    eps = jnp.finfo(start.dtype).eps
    open_by = jnp.abs(end - start - turns * around) / (jnp.abs(start) + jnp.abs(end) + jnp.abs(around) + eps)
    closed = jnp.all(open_by <= jnp.sqrt(eps))
    return jnp.where(closed & (carry.result == RESULTS.successful), carry.matrix, jnp.nan)


@compiled
def _transport(metric, path, t0, t1, connection, steps, rtol) -> ParallelTransport:
    start, structure = flatten(path(t0), "the path's point")
    t0, t1 = (jnp.asarray(t, start.dtype) for t in (t0, t1))
    edges = path.knots if isinstance(path, Path) else jnp.stack([t0, t1])
    numbers = jnp.arange(edges.size, dtype=start.dtype) * (steps // (edges.size - 1))

    def time_of(number):  # equal steps in each element of a path
        return jnp.interp(jnp.asarray(number, start.dtype), numbers, edges.astype(start.dtype))

    knots, times = time_of(np.arange(steps + 1)), time_of(_gauss_points(steps))
    h = jnp.diff(knots)

    flat = FlatMetric(metric, structure)

    def generator(t):
        q, v = _state(path, structure, t)
        return frame_generator(flat, q, v, connection)

    def frame(t):
        q, _ = _state(path, structure, t)
        return frame_of(_inside(flat, q, flat(q)))

    generators, signs = jax.vmap(jax.vmap(generator))(times)
    stepped = jax.vmap(_magnus_step)(jnp.append(h, h.reshape(-1, 2).sum(axis=1)), generators)
    rotations = _products(stepped[:steps])
    coarse = _products(stepped[steps:])[-1]

    frames, edge_signs = jax.vmap(frame)(knots)
    signature = lax.stop_gradient(edge_signs[0])
    steady = jnp.all(edge_signs == signature[None]) & jnp.all(signs == signature[None, None])
    error = jnp.max(jnp.abs(rotations[-1] - coarse)) / (2**_ORDER - 1)
    tolerance = jnp.finfo(start.dtype).eps ** 0.4 if rtol is None else rtol
    result = first_failure(
        (~(jnp.all(jnp.isfinite(rotations)) & jnp.all(jnp.isfinite(frames))), RESULTS.nonfinite),
        (~steady, RESULTS.degenerate_metric),
        (~(error <= tolerance * jnp.max(jnp.abs(rotations[-1]))), RESULTS.unresolved_transport),
    )
    return ParallelTransport(
        times=knots,
        frames=frames,
        rotations=rotations,
        signature=signature,
        error_estimate=error,
        result=result,
        structure=structure,
    )


def frame_generator(flat: FlatMetric, q: Float[Array, " d"], v: Float[Array, " d"], connection: Callable | None):
    r"""`(W, signs)`: the rate $\dot e = W e$ of parallel components $e = C^\top w$, and the signs of the metric.

    With $P = C^{-1} \dot g\, C^{-\top}$, $\Phi(P)$ its lower half and $B_{ij} = \partial_j g_{ik} v^k$, the metric's
    own connection gives $W = \tfrac12 \eta\, (\Phi^\top - \Phi - C^{-1} (B - B^\top)\, C^{-\top})$, and another
    one, of matrix $A$, $W = \eta\, \Phi^\top - C^\top A\, C^{-\top}$.
    """
    matrix, rate = jax.jvp(flat, (q,), (v,))
    frame, signs = frame_of(_inside(flat, q, matrix))
    half = lower_half(whitened(frame, rate))
    if connection is None:
        slopes = jax.jacfwd(lambda x: 0.5 * jax.grad(flat.quadratic, 1)(x, v))(q)
        turning = half.T - half - whitened(frame, slopes - slopes.T)
        return 0.5 * signs[:, None] * turning, signs

    def acceleration(u):
        tree = connection(flat.structure.unflatten(q), flat.structure.unflatten(u))
        return flat.vector(tree, "the connection's acceleration", q.dtype)

    own = -0.5 * jax.jacfwd(acceleration)(v)
    moved = jax.scipy.linalg.solve_triangular(frame, (frame.T @ own).T, lower=True).T
    return signs[:, None] * half.T - moved, signs


def _inside(flat, q, matrix):
    """The matrix, NaN where the metric's chart knows the point to lie outside its domain."""
    chart = flat.metric.chart
    return matrix if chart is None else jnp.where(jnp.all(jnp.isfinite(chart.free(q))), matrix, jnp.nan)


def _state(path, structure, t):
    """Point and velocity of the path, as vectors."""
    if isinstance(path, Path):
        return structure.flatten(path(t)), structure.flatten(path.velocity(t))
    return jax.jvp(lambda s: structure.flatten(path(s), "the path's point"), (t,), (jnp.ones_like(t),))


def _gauss_points(steps):
    """Gauss points, in units of one step, of all steps and then of pairs of them taken as one."""
    nodes = 0.5 + np.array([-1.0, 0.0, 1.0]) * np.sqrt(15) / 10
    return np.concatenate([np.arange(steps)[:, None] + nodes, 2 * (np.arange(steps // 2)[:, None] + nodes)])


def _magnus_step(h, generators):
    """The propagator of one step from the generators at its Gauss points: order 6, by commutators."""

    def commutator(a, b):
        return a @ b - b @ a

    first, middle, last = h * generators
    slope, bend = math.sqrt(15) / 3 * (last - first), 10 / 3 * (last - 2 * middle + first)
    inner = commutator(middle, slope)
    outer = commutator(middle, 2 * bend + inner) / 60
    exponent = middle + bend / 12 + commutator(-20 * middle - bend + inner, slope - outer) / 240

    identity = jnp.eye(exponent.shape[0], dtype=exponent.dtype)
    square = exponent @ exponent
    even, odd = identity + square / 10, exponent @ (identity / 2 + square / 120)
    return solve(even - odd, even + odd)


def _products(stepped):
    """The products of the first k matrices for k = 0 to all, later ones to the left."""

    def advance(product, step):
        product = step @ product
        return product, product

    identity = jnp.eye(stepped.shape[1], dtype=stepped.dtype)
    return jnp.concatenate([identity[None], lax.scan(advance, identity, stepped)[1]])
