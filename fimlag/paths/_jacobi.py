"""Jacobi fields: how neighbouring geodesics part, and where they meet again."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, MetricFn, RealScalarLike
from fimlag.geometry import AbstractMetric, as_metric
from fimlag.paths._crossings import crossings, uneven_steps
from fimlag.paths._frame import frame_of
from fimlag.paths._spray import Spray, extrapolated_step, flow, levi_civita


class JacobiField(AbstractSolution):
    """A geodesic and a field along it that solves the Jacobi equation.

    **Attributes:** `t` (steps + 1,); `q`, `v`: points and velocities of the geodesic; `j`, `dj`: the field and its
    covariant derivative along the geodesic, each leaf with the times on axis 0; `error_estimate`: of the last field,
    relative, by steps twice as long; `result`: a `RESULTS` member.
    """

    t: Float[Array, " rows"]
    q: PyTree[Array]
    v: PyTree[Array]
    j: PyTree[Array]
    dj: PyTree[Array]
    error_estimate: Float[Array, ""]
    result: RESULTS


class ConjugatePoints(AbstractSolution):
    """The conjugate points of a geodesic.

    **Attributes:** `times` (max_points,): in order, each as often as its multiplicity, NaN behind the last; `count`:
    the number of them all, which is the Morse index of the geodesic; `result`: a `RESULTS` member.
    """

    times: Float[Array, " max_points"]
    count: Int[Array, ""]
    result: RESULTS


def jacobi_field(
    metric: MetricFn,
    q: Coordinates,
    v: Coordinates,
    j0: Coordinates,
    dj0: Coordinates,
    *,
    t1: RealScalarLike = 1.0,
    steps: int = 64,
    throw: bool = True,
) -> JacobiField:
    r"""The Jacobi field along a geodesic from its value and covariant derivative at the start.

    $$\frac{D^2 J}{dt^2} + R(J, \dot\gamma)\, \dot\gamma = 0, \qquad J(0) = j_0,\ \frac{DJ}{dt}(0) = \dot\jmath_0$$

    It is the derivative of a family of geodesics, and so computed; with $j_0 = 0$ it is the derivative of the
    exponential map, $J(t) = (d \exp_q)_{t v}(t\, \dot\jmath_0)$.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`, `v`: point and velocity of the geodesic at time 0; `j0`,
    `dj0`: tangent vectors there; all in one structure; `t1`: the end; `steps`: of order 8, an even number; `throw`:
    raise where the field failed.

    **Returns:** a `JacobiField`.

    **Raises:** `ValueError` for vectors of different structures and for steps that are no positive even number.
    Results: `nonfinite`, `unresolved_flow`.

    **Reference:** do Carmo (1992), ch. 5, def. 2.1 and prop. 2.7.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> sphere = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
    >>> equator, east, north = jnp.array([jnp.pi / 2, 0.0]), jnp.array([0.0, 1.0]), jnp.array([-1.0, 0.0])
    >>> field = fl.jacobi_field(sphere, equator, east, jnp.zeros(2), north, t1=jnp.pi / 2)
    >>> bool(jnp.allclose(field.j[-1], jnp.array([-1.0, 0.0])))
    True

    ```
    """
    check_steps(steps)
    point, structure = flatten(q, "q")
    names = {"v": v, "j0": j0, "dj0": dj0}
    v, j0, dj0 = (structure.flatten(tree, name).astype(point.dtype) for name, tree in names.items())
    field = _jacobi_field(as_metric(metric), structure, point, v, j0, dj0, jnp.asarray(t1, point.dtype), steps)
    return raise_unless_successful(field, throw)


def conjugate_points(
    metric: MetricFn,
    q: Coordinates,
    v: Coordinates,
    t1: RealScalarLike,
    *,
    steps: int = 64,
    max_points: int = 8,
    throw: bool = True,
) -> ConjugatePoints:
    r"""The times at which a geodesic meets points conjugate to its start.

    $$\det\, (d \exp_q)_{t v} = 0, \qquad 0 < t < t_1$$

    Behind the first of them the geodesic is no longer shortest. The broken Jacobi fields of each step are counted by
    the signature of a symmetric form, so a point of even multiplicity, where the determinant keeps its sign, is not
    missed. The times are differentiable in the point, the velocity and the metric.

    **Arguments:** `metric`: a callable `q -> (d, d)`, positive definite; `q`, `v`: point and velocity at time 0; `t1`:
    the end; whether a conjugate point at `t1` itself counts is left to round-off; `steps`: of order 8, an even
    number; `max_points`: the most times returned; `throw`: raise where it failed.

    **Returns:** a `ConjugatePoints`.

    **Raises:** `ValueError` as `jacobi_field`. Results: `nonfinite`, `indefinite_mass`, `unresolved_flow`.

    **Reference:** do Carmo (1992), ch. 5, prop. 3.5; ch. 11, theorem 2.2 (the index); Milnor (1963), sec. 15.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> sphere = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
    >>> found = fl.conjugate_points(sphere, jnp.array([jnp.pi / 2, 0.0]), jnp.array([0.0, 1.0]), 4.0, max_points=1)
    >>> int(found.count), bool(jnp.isclose(found.times[0], jnp.pi))
    (1, True)

    ```
    """
    check_steps(steps)
    point, structure = flatten(q, "q")
    velocity = structure.flatten(v, "v").astype(point.dtype)
    t1 = jnp.asarray(t1, point.dtype)
    return raise_unless_successful(
        _conjugate_points(as_metric(metric), structure, point, velocity, t1, steps, max_points), throw
    )


def check_steps(steps):
    """A `ValueError` unless `steps` is a positive even integer known while tracing."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 2 or steps % 2:
        raise ValueError(f"steps must be a positive even integer known while tracing, but is {steps!r}.")


def unresolved(error: Float[Array, "2 d"], states: Float[Array, "rows 2 d"]):
    """Whether a flow's error exceeds eps^0.4 of its way, and of its speed."""
    tolerance = jnp.finfo(states.dtype).eps ** 0.4
    way = jnp.max(jnp.abs(states[:, 0] - states[:1, 0]))
    scale = jnp.stack([way, jnp.max(jnp.abs(states[:, 1]))])
    return ~jnp.all(jnp.max(error, axis=1) <= tolerance * scale)


@compiled
def _jacobi_field(metric, structure, q, v, j0, dj0, t1, steps) -> JacobiField:
    spray = levi_civita(metric, structure)
    sizes = jnp.full((steps,), 1.0 / steps, q.dtype) * t1
    dv0 = dj0 - spray.contraction(q, v, j0)

    def rows(q, v):
        states, error = flow(spray, spray.state(q, v), sizes)
        return jax.vmap(spray.motion)(states), error, states

    (motions, error, states), (changes, field_error, _) = jax.jvp(rows, (q, v), (j0, dv0))
    corrections = jax.vmap(lambda motion, change: spray.contraction(motion[0], motion[1], change[0]))(motions, changes)
    fields = changes.at[:, 1].add(corrections)

    scale = jnp.max(jnp.abs(changes), axis=(0, 2))
    relative = jnp.max(jnp.max(jnp.abs(field_error), axis=1) / jnp.where(scale > 0.0, scale, 1.0))
    finite = jnp.all(jnp.isfinite(motions)) & jnp.all(jnp.isfinite(fields))
    rough = unresolved(error, states) | ~(relative <= jnp.finfo(q.dtype).eps ** 0.4)
    result = first_failure((~finite, RESULTS.nonfinite), (rough, RESULTS.unresolved_flow))
    times = jnp.arange(steps + 1, dtype=q.dtype) / steps * t1
    q, v, j, dj = (jax.vmap(structure.unflatten)(each) for each in (*motions.swapaxes(0, 1), *fields.swapaxes(0, 1)))
    return JacobiField(t=times, q=q, v=v, j=j, dj=dj, error_estimate=relative, result=result)


@compiled
def _conjugate_points(metric, structure, q, v, t1, steps, max_points) -> ConjugatePoints:
    spray = levi_civita(metric, structure)
    sizes = jnp.asarray(uneven_steps(steps), q.dtype) * t1
    states, error = flow(spray, spray.state(q, v), sizes)
    found = crossings(_Propagator(metric, structure, spray), states[:-1], sizes, max_points)
    resolved = found.error <= jnp.finfo(q.dtype).eps ** 0.4 * jnp.abs(t1)
    result = first_failure(
        (~(found.finite & jnp.all(jnp.isfinite(states))), RESULTS.nonfinite),
        (~found.definite, RESULTS.indefinite_mass),
        (unresolved(error, states) | ~resolved, RESULTS.unresolved_flow),
    )
    return ConjugatePoints(times=found.times, count=found.count, result=result)


class _Propagator(eqx.Module):
    """Jacobi fields and their derivatives over a step, in orthonormal frames at its ends."""

    metric: AbstractMetric
    structure: Structure = eqx.field(static=True)
    spray: Spray

    def __call__(self, state, size):
        """`(matrix, signs)`: the map of (J, DJ), shape (2 d, 2 d), and the signs of the metric."""

        def step(start):
            end = extrapolated_step(self.spray, start, size)
            return end, end

        slopes, end = jax.jacfwd(step, has_aux=True)(state)
        (enter, leave), signs = jax.vmap(self._covariant)(jnp.stack([state, end]))
        moved = leave @ slopes.reshape(enter.shape)
        return jax.scipy.linalg.solve(enter.T, moved.T).T, jnp.min(signs, axis=0)

    def _covariant(self, state):
        """The map from changes of free coordinates and velocity to (J, DJ) in the frame there."""
        x, u = state
        jacobian = jax.jacfwd(self.spray.chart.point)(x)
        matrix = self.metric(self.structure.unflatten(self.spray.chart.point(x)))
        frame, signs = frame_of(jacobian.T @ matrix @ jacobian)
        turning = -0.5 * jax.jacfwd(lambda w: self.spray(x, w))(u)
        zero = jnp.zeros_like(turning)
        return jnp.block([[frame.T, zero], [frame.T @ turning, frame.T]]), signs
