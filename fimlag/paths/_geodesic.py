"""Geodesics: paths of least energy of a metric, their lengths, and the exponential and logarithm maps."""

from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fimlag._charts import AbstractChart, IdentityChart
from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry import AbstractMetric, as_metric
from fimlag.integrators import DirectAdjoint, GaussLegendre, integrate
from fimlag.mechanics import NaturalLagrangian, energy, mass_matrix
from fimlag.mechanics._lagrangian import FlatLagrangian, InChart
from fimlag.paths._discrete_action import DiscreteAction
from fimlag.paths._elements import Mesh
from fimlag.paths._functionals import Functionals
from fimlag.paths._least_action import LeastActionSolution, solve_between
from fimlag.paths._path import Path
from fimlag.paths._refinement import Meshes
from fimlag.paths._stations import Stations

MESHES = (4, 32)
"""Elements enough for most geodesics, and for those of a length of 60."""


def geodesic(
    metric: MetricFn,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int | Sequence[int] = MESHES,
    degree: int = 8,
    guess=None,
    stationary: bool = False,
    rtol: float | None = None,
    max_iterations: int = 256,
    throw: bool = True,
) -> LeastActionSolution:
    r"""The geodesic between two points, at constant speed on [0, 1].

    $$\min_{q(0) = q_0,\ q(1) = q_1} \tfrac12 \int_0^1 g_{ij}(q)\, \dot q^i \dot q^j\, dt = \tfrac12 d(q_0, q_1)^2$$

    It is sought in the free coordinates of the metric's chart, where it has one, so that it never leaves the domain.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q0`, `q1`: the ends; the rest as for `least_action_path`. The
    second number of elements resolves lengths of 60 in a hyperbolic plane, and is used where the first fails.

    **Returns:** a `LeastActionSolution`, whose action is half the squared length. Morse index 0 says that the path is
    shortest among its neighbours.

    **Raises:** as `least_action_path`.

    **Reference:** do Carmo (1992), ch. 9, lemma 2.3; Rao (1945) for the metric of a statistical model.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> solution = fl.geodesic(half_plane, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
    >>> bool(jnp.allclose(solution.path(0.5), jnp.array([0.0, jnp.sqrt(2.0)])))
    True

    ```
    """
    meshes = Meshes.of(elements, degree, stationary, rtol, max_iterations)
    solution = solve_between(NaturalLagrangian(as_metric(metric)), q0, q1, 0.0, 1.0, guess, meshes)
    return raise_unless_successful(solution, throw)


def distance(
    metric: MetricFn,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int | Sequence[int] = MESHES,
    degree: int = 8,
) -> Float[Array, ""]:
    r"""The geodesic distance between two points.

    $$d(q_0, q_1) = \min \int_0^1 \sqrt{g_{ij}(q)\, \dot q^i \dot q^j}\, dt$$

    The closed form is taken where the metric knows one, as the Fisher metric of a family may.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q0`, `q1`: the points; `elements`, `degree`: the
    discretisation of the path, as for `geodesic`.

    **Returns:** a length, shape (): the Fisher-Rao distance (in standard deviations) for a Fisher metric. NaN where no
    minimum was found, or the elements resolve its square no better than to eps^0.4 (5e-7 in double precision):
    `distance_estimate` tells why, and how accurate it is. Its gradient at coincident points is 0.

    **Raises:** `ValueError` for points of different structure.

    **Reference:** Rao (1945); Atkinson & Mitchell (1981).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> bool(jnp.isclose(fl.distance(half_plane, jnp.array([0.0, 1.0]), jnp.array([0.0, 2.0])), jnp.log(2.0)))
    True

    ```
    """
    estimate = distance_estimate(metric, q0, q1, elements=elements, degree=degree, throw=False)
    return jnp.where(estimate.succeeded, estimate.value, jnp.nan)


class DistanceEstimate(AbstractSolution):
    """A distance, and what is known of it.

    **Attributes:** `value`: the length, shape (); `error_estimate`: of the length, 0 for a closed form; `morse_index`:
    0 where the geodesic is shortest among its neighbours; `iterations`: Newton steps; `route`: "closed form",
    the model's own `distance`, which tells its limits, or "geodesic"; `result`: a `RESULTS` member.
    """

    value: Float[Array, ""]
    error_estimate: Float[Array, ""]
    morse_index: Int[Array, ""]
    iterations: Int[Array, ""]
    route: str = eqx.field(static=True)
    result: RESULTS


def distance_estimate(
    metric: MetricFn,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int | Sequence[int] = MESHES,
    degree: int = 8,
    throw: bool = True,
) -> DistanceEstimate:
    r"""The geodesic distance with its error estimate, Morse index, route and result.

    $$d = \sqrt{2 S}, \qquad \delta d = \delta S / d$$

    **Arguments:** as for `distance`; `throw`: whether a failure raises.

    **Returns:** a `DistanceEstimate`.

    **Raises:** with `throw`, as `least_action_path`, and `nonfinite` for a closed form at a point outside the domain.

    **Reference:** Rao (1945); Atkinson & Mitchell (1981).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> estimate = fl.distance_estimate(fl.FisherMetric(fl.families.Poisson()), jnp.array([1.0]), jnp.array([4.0]))
    >>> float(estimate.value), estimate.route
    (2.0, 'closed form')

    ```
    """
    metric = as_metric(metric)
    closed = getattr(metric, "closed_distance", None)
    if closed is not None:
        estimate = _of_closed_form(closed(q0, q1))
    else:
        estimate = _of_geodesic(geodesic(metric, q0, q1, elements=elements, degree=degree, throw=False))
    return raise_unless_successful(estimate, throw)


def _of_closed_form(length) -> DistanceEstimate:
    zero, none = jnp.zeros_like(length), jnp.zeros(length.shape, int)
    result = first_failure((~jnp.isfinite(length), RESULTS.nonfinite))
    return DistanceEstimate(
        value=length, error_estimate=zero, morse_index=none, iterations=none, route="closed form", result=result
    )


def _of_geodesic(solution: LeastActionSolution) -> DistanceEstimate:
    squared = 2 * solution.action
    positive = squared > 0
    length = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    error = jnp.where(positive, solution.error_estimate / jnp.where(positive, length, 1.0), 0.0)
    return DistanceEstimate(
        value=length,
        error_estimate=jax.lax.stop_gradient(error),
        morse_index=solution.morse_index,
        iterations=solution.iterations,
        route="geodesic",
        result=solution.result,
    )


def log_map(
    metric: MetricFn,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int | Sequence[int] = MESHES,
    degree: int = 8,
):
    r"""The initial velocity of the geodesic from one point to another: the inverse of `exp_map`.

    $$\log_{q_0}(q_1) = \dot q(0) = -\tfrac12\, g^{-1} \nabla_{q_0} d(q_0, q_1)^2, \qquad
    |\log_{q_0}(q_1)|_g = d(q_0, q_1)$$

    **Arguments:** as for `distance`.

    **Returns:** a tangent vector at `q0`, in its structure; NaN where the geodesic failed: `geodesic` tells why.

    **Raises:** `ValueError` for points of different structure.

    **Reference:** do Carmo (1992), ch. 3, sec. 2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> velocity = fl.log_map(half_plane, jnp.array([0.0, 1.0]), jnp.array([0.0, 2.0]))
    >>> bool(jnp.allclose(velocity, jnp.array([0.0, jnp.log(2.0)])))
    True

    ```
    """
    metric = as_metric(metric)
    solution = geodesic(metric, q0, q1, elements=elements, degree=degree, throw=False)
    return _nan_where(solution.result != RESULTS.successful, _first_velocity(metric, solution.path))


@compiled
def _first_velocity(metric: AbstractMetric, path: Path):
    """The velocity at the start of a geodesic that its first momentum has."""
    chart, free = _in_free_coordinates(metric, path.structure)
    rate = solve(mass_matrix(free, 0.0, path.start, path.start), _first_momentum(free, path))
    return path.structure.unflatten(jax.jvp(chart.point, (path.start,), (rate,))[1])


def _first_momentum(lagrangian, path: Path) -> Float[Array, " d"]:
    r"""The momentum at the start of a stationary path, as accurate as its action.

    $$p_0 = -\int_0^1 \Big((1 - t)\, \partial_q L - \partial_v L\Big)\, dt$$

    The velocity of the polynomials is worse by far.
    """
    places = jnp.stack([path.offsets[0], path.offsets[-1]])[..., None]
    stations = Stations(places, jnp.stack([path.t0, path.t1])[:, None], (False, False), (False, False))
    mesh = Mesh(1, path.elements, path.degree, path.degree + 2)
    nothing = stations.times[:0]
    problem = DiscreteAction(Functionals(lagrangian), path.start[:, None], stations, nothing, None, mesh)
    y = problem.unknowns(path.offsets[..., None], nothing)

    def moved(shift):
        return replace(problem, stations=replace(stations, places=places.at[0, :, 0].add(shift))).values(y)[0]

    return -jax.grad(moved)(jnp.zeros_like(path.start))


def _in_free_coordinates(metric: AbstractMetric, structure: Structure) -> tuple[AbstractChart, InChart]:
    """The metric's chart, and its free Lagrangian there."""
    chart = IdentityChart() if metric.chart is None else metric.chart
    return chart, InChart(FlatLagrangian(NaturalLagrangian(metric), structure), chart)


def exp_map(metric: MetricFn, q: Coordinates, v: Coordinates, *, steps: int = 32):
    r"""The point that the geodesic from `q` with velocity `v` reaches after unit time.

    $$\exp_q(v) = q(1), \qquad \ddot q^k + \Gamma^k_{ij} \dot q^i \dot q^j = 0,\quad q(0) = q,\ \dot q(0) = v$$

    The motion of the free Lagrangian in the metric's chart, by Gauss-Legendre collocation of order 8.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point; `v`: a tangent vector in its structure;
    `steps`: the number of time steps.

    **Returns:** a point in the structure of `q`; NaN where a step failed or the speed, which a geodesic keeps, changed
    by more than eps^0.4 relative (5e-7 in double precision): raise `steps`.

    **Raises:** `ValueError` for a velocity of another structure than the point.

    **Reference:** do Carmo (1992), ch. 3, sec. 2; Hairer, Lubich & Wanner (2006), sec. II.1.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> end = fl.exp_map(half_plane, jnp.array([0.0, 1.0]), jnp.array([0.0, jnp.log(2.0)]))
    >>> bool(jnp.allclose(end, jnp.array([0.0, 2.0])))
    True

    ```
    """
    vector, structure = flatten(q, "q")
    velocity = structure.flatten(v, "v").astype(vector.dtype)
    return _shot(as_metric(metric), structure, vector, velocity, steps)


@compiled
def _shot(metric: AbstractMetric, structure: Structure, vector, velocity, steps: int):
    """The end of the geodesic from a flat point and velocity, in the caller's structure."""
    chart, free = _in_free_coordinates(metric, structure)
    start, rate = jax.jvp(chart.free, (vector,), (velocity,))
    options = {"save_every": steps, "method": GaussLegendre(4), "adjoint": DirectAdjoint(), "throw": False}
    flow = integrate(free, start, rate, t1=1.0, steps=steps, **options)
    end, end_rate = flow.q[-1], flow.v[-1]
    at_start, at_end = energy(free, 0.0, start, rate), energy(free, 0.0, end, end_rate)
    tolerance = jnp.finfo(at_start.dtype).eps ** 0.4
    lost = ~(jnp.abs(at_end - at_start) <= 2 * tolerance * jnp.abs(at_start))
    return _nan_where((flow.result != RESULTS.successful) | lost, structure.unflatten(chart.point(end)))


def _nan_where(failed, tree):
    vector, structure = flatten(tree)
    return structure.unflatten(jnp.where(failed, jnp.nan, vector))
