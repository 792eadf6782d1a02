"""Paths of least action: the solver's door, its certificate, and its derivative."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from fimlag._compiled import compiled
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics import Herglotz
from fimlag.mechanics._forces import AbstractDynamics, Forced, marks
from fimlag.paths._bordered import SecondVariation
from fimlag.paths._discrete_action import DiscreteAction, Unknowns
from fimlag.paths._ensemble import over_members
from fimlag.paths._methods import AbstractPathMethod
from fimlag.paths._path import Path
from fimlag.paths._problem import Problem, discretised
from fimlag.paths._refinement import FAILURES, Meshes, solve_on_meshes
from fimlag.paths._route import OnSurface, Periodic, chart_of, route_of


class LeastActionSolution(AbstractSolution):
    """A stationary path of an action, and what is known of it.

    **Attributes:**

    - `path`: a `Path`, callable from time to point, with `.velocity(t)`.
    - `action`: its action, shape () (energy times time).
    - `morse_index`: the number of directions, among those that keep the constraints, in which the action has a
      maximum, 0 for a minimum, -1 where it cannot be told; counted on elements of one degree more.
    - `coarse_index`: the same on the elements of the path: where the two differ, the mesh is too coarse to tell.
    - `residual`: the largest entry of the discrete gradient.
    - `constraint_residual`: the largest violation of the constraints, 0 where there are none.
    - `error_estimate`: the change of the action when every element gains a degree, relative to which the points
      and velocities of the path itself are only as good as the square root, and at most what the path gains by
      violating inequalities between the points at which they are enforced, and other constraints at all.
    - `quadrature_gap`: the change of the action of this very path under a finer quadrature: a large one tells
      of a path that exploits the quadrature.
    - `multipliers`: those of the integral constraints, then of the surfaces: minus the derivatives of the action
      in the constraints' values.
    - `iterations`: Newton steps taken; `result`: a `RESULTS` member.
    """

    path: Path
    action: Float[Array, ""]
    morse_index: Int[Array, ""]
    coarse_index: Int[Array, ""]
    residual: Float[Array, ""]
    constraint_residual: Float[Array, ""]
    error_estimate: Float[Array, ""]
    quadrature_gap: Float[Array, ""]
    multipliers: Float[Array, " constraints"]
    iterations: Int[Array, ""]
    result: RESULTS


def least_action_path(
    lagrangian: LagrangianFn,
    q0: Coordinates | OnSurface | None,
    q1: Coordinates | OnSurface | Periodic | None,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike | None = 1.0,
    *,
    waypoints: Sequence[tuple] = (),
    integral_constraints: Sequence[tuple] = (),
    inequality_constraints: Sequence[Callable] = (),
    multipliers=None,
    method: AbstractPathMethod | None = None,
    elements: int | Sequence[int] = 8,
    degree: int = 8,
    guess=None,
    stationary: bool = False,
    rtol: float | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> LeastActionSolution:
    r"""The path between two ends that makes the action of a Lagrangian least.

    $$\min_{q} \int_{t_0}^{t_1} L(t, q, \dot q)\, dt, \qquad q(t_0) = q_0,\ q(t_1) = q_1, \qquad
    \int_{t_0}^{t_1} f_i(t, q, \dot q)\, dt = c_i, \qquad g_j(t, q, \dot q) \ge 0$$

    over piecewise polynomials of the degree given, by Newton's method, in the free coordinates of the metric's chart
    where the Lagrangian is natural and its metric has one. The action's error falls as
    `elements**(-2 * degree)` for a smooth path. Derivatives, forward and reverse, of first and second order, with
    respect to the ends, the times and everything that the functions hold or close over, are implicit: they
    are those of the solution, not of the iterations.

    **Arguments:**

    - `lagrangian`: a callable `(t, q, v) -> scalar`, twice differentiable in (q, v), written for one point.
    - `q0`, `q1`: the ends, in one structure: a point, None for a free end (where the momentum vanishes), or
      `OnSurface(constraint)`; `q1` may be `Periodic()`.
    - `t0`, `t1`: the interval (the user's time unit), t1 > t0; None for a free duration (where the energy vanishes
      at the end), which begins at that of a `guess` that is a `Path`, else at 1.
    - `waypoints`: pairs `(time, place)` that the path passes in this order, each a number or None for a time that is
      free, and a place as for the ends; the path may have a corner there.
    - `integral_constraints`: pairs `(f, value)` of a callable `(t, q, v) -> scalar` and its integral.
    - `inequality_constraints`: callables `(t, q, v) -> scalar`, kept above zero at the Gauss points of the elements.
    - `multipliers`: a first guess of those of the integral constraints; by default the best for the first path.
    - `method`: None for Newton's method, which the rest describes, or between fixed ends `Descent(...)`,
      `Shooting(...)`.
    - `elements`, `degree`: the discretisation of each segment from way-point to way-point; their product is the
      number of polynomial steps. Several numbers of elements are tried in turn, until the error estimate is below
      eps^0.75 (2e-12 in double precision), or `rtol`; the path is on the last. Under a transformation, which compiles
      all of them, half of the first is tried before it.
    - `guess`: a first path: a `Path`, a callable of time, or nodes at equal intervals stacked on axis 0. None:
      straight lines. Its ends are replaced by those given.
    - `stationary`: False seeks a minimum; True takes undamped Newton steps to the nearest stationary path.
    - `rtol`: the change of the action under refinement, relative to the integral of |L|, above which the path counts as
      `unresolved`; by default eps^0.4 (5e-7 in double precision). Where it is given with one number of elements, this
      is doubled up to three times to meet it.
    - `max_iterations`: the limit on Newton steps at a time.
    - `throw`: whether a failure raises; batches pass False and read `result`.

    **Returns:** a `LeastActionSolution`.

    **Raises:** `TypeError` for a system with forces, constraints, a contact action or a phase space, whose motions make
    no such action stationary; `ValueError` for ends of different structure, a Lagrangian that is not scalar, a
    discretisation without a node between the ends, inequalities together with `stationary`, a shift of `Periodic` in a
    chart, or ends none of which is a point without a guess; with `throw`, an error for any `result` but `successful`:
    `empty_interval`, `nonfinite`, `indefinite_mass`, `infeasible`, `not_a_minimum`, `stalled`, `max_steps_reached`,
    `unresolved`. As under `jax.jit`, what a plain function reads from outside at its first call is kept for later
    calls.

    **Reference:** Marsden & West (2001), sec. 1.3; for the index, Milnor (1963), sec. 15; for ends and integral
    constraints, Gelfand & Fomin (1963), sec. 12-14.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> free_fall = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: 9.81 * q[0])
    >>> solution = fl.least_action_path(free_fall, jnp.array([0.0]), jnp.array([0.0]))
    >>> bool(jnp.isclose(solution.action, -(9.81**2) / 24)), int(solution.morse_index)
    (True, 0)

    ```
    """
    _refuse_without_action(lagrangian)
    if inequality_constraints and stationary:
        raise ValueError("Inequalities are kept by barriers, whose paths are minima: drop `stationary=True`.")
    if isinstance(q1, Periodic) and q1.shift is not None and getattr(lagrangian, "chart", None) is not None:
        raise ValueError(
            "The metric of this Lagrangian has a chart, in whose free coordinates a shift has no meaning: give "
            "`Periodic()` without one, or a Lagrangian without a chart."
        )
    meshes = Meshes.of(elements, degree, stationary, rtol, max_iterations, method)
    route = route_of(q0, q1, t0, t1, waypoints, guess)
    dtype = route.dtype
    problem = Problem(
        lagrangian=as_field(lagrangian),
        route=route,
        integrals=tuple(as_field(density) for density, _ in integral_constraints),
        targets=tuple(jnp.asarray(value, dtype) for _, value in integral_constraints),
        inequalities=tuple(as_field(function) for function in inequality_constraints),
        multipliers=None if multipliers is None else jnp.asarray(multipliers, dtype).reshape(len(integral_constraints)),
        guess=guess,
    )
    return raise_unless_successful(solve(problem, meshes), throw)


def _refuse_without_action(system: LagrangianFn):
    """Raise a `TypeError` for a system whose motions do not make the action of its Lagrangian stationary."""
    for mark in marks(system):
        if isinstance(mark, AbstractDynamics | Forced | Herglotz):
            raise TypeError(
                f"The motions of a {type(mark).__name__} do not make the action of its Lagrangian stationary between "
                "fixed ends: follow them by `integrate`, or, for holonomic constraints, take coordinates on their "
                "surface (`point_transformation`)."
            )


def solve_between(
    lagrangian: LagrangianFn, q0: Coordinates, q1: Coordinates, t0, t1, guess, meshes: Meshes
) -> LeastActionSolution:
    """The path between two points alone."""
    return solve(Problem(as_field(lagrangian), route_of(q0, q1, t0, t1, (), guess), guess=guess), meshes)


def solve(problem: Problem, meshes: Meshes) -> LeastActionSolution:
    """The path on the first of the meshes that resolves it."""
    if any(isinstance(x, Tracer) for x in jax.tree_util.tree_leaves(problem)):
        return _solve(problem, meshes)
    solution = _solve(problem, meshes.alone(meshes.elements[0]))
    if len(meshes.elements) == 1:
        return solution
    if isinstance(solution.action, Tracer):
        return _solve(problem, meshes)
    # Where the outcome can be looked at, finer meshes need not even be compiled.
    for elements in meshes.elements[1:]:
        if solution.succeeded:
            break
        if solution.result == RESULTS.unresolved:
            problem = replace(problem, guess=solution.path)
        finer = _solve(problem, meshes.alone(elements))
        solution = eqx.tree_at(lambda s: s.iterations, finer, finer.iterations + solution.iterations)
    return solution


@compiled
def _solve(problem: Problem, meshes: Meshes) -> LeastActionSolution:
    chart, route = chart_of(problem.lagrangian), problem.route
    action, guessed = discretised(problem, chart, meshes.mesh(meshes.finest, route.segments))
    fixed, first = frozen(action), frozen(guessed)
    found = over_members(lambda action, y: solve_on_meshes(action, y, meshes), fixed, first)
    action = replace(action, barrier=found.barrier)
    y = implicit_root(found.y, action, gradient=DiscreteAction.gradient, factor=_second_variation)
    stations = action.stations_of(y)
    chart = getattr(problem.lagrangian, "chart", None)
    offsets = action.offsets(y)[..., 0]
    path = Path(stations.knots(action.mesh)[:, 0], action.origin[:, 0], offsets, meshes.degree, route.structure, chart)
    known = {name: getattr(found, name)[0] for name in _REPORTED}
    return LeastActionSolution(
        path=path,
        action=stationary_value(found.action[0], y, action),
        multipliers=y.border[stations.count :, 0],
        result=first_failure(*zip(found.failures[:, 0], FAILURES, strict=True)),
        **known,
    )


_REPORTED = (
    "morse_index",
    "coarse_index",
    "residual",
    "constraint_residual",
    "error_estimate",
    "quadrature_gap",
    "iterations",
)


def _second_variation(action: DiscreteAction, y: Unknowns) -> Callable:
    """The solver of linear systems with the second variation of the action at a path."""
    return SecondVariation(action, y, action.expand(y)).solve


@eqx.filter_custom_jvp
def stationary_value(value, y: Unknowns, problem: DiscreteAction) -> Float[Array, ""]:
    r"""The action at a stationary point, whose derivative needs no derivative of the point.

    $$\frac{dS}{da} = \partial_a \left( S(y, a) + \lambda \cdot c(y, a) \right) \quad\text{as}\quad
    \partial_y (S + \lambda \cdot c) = 0$$
    """
    del y, problem
    return value


@stationary_value.def_jvp
def _stationary_value_jvp(primals, tangents):
    value, y, problem = primals
    _, _, tangent = tangents
    if not jax.tree_util.tree_leaves(tangent):
        return value, jnp.zeros_like(value)
    return value, eqx.filter_jvp(lambda varied: varied.values(y)[0], (problem,), (tangent,))[1]
