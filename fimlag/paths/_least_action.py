"""Paths of least action: the solver's door, its certificate, and its derivative."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from fimlag._charts import AbstractChart, IdentityChart
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.mechanics import Herglotz
from fimlag.mechanics._forces import AbstractDynamics, Forced, marks
from fimlag.mechanics._lagrangian import FlatLagrangian, InChart
from fimlag.paths._block_tridiagonal import CondensedElements
from fimlag.paths._discrete_action import DiscreteAction
from fimlag.paths._ensemble import over_members
from fimlag.paths._mesh import equal_knots, nodal_fractions
from fimlag.paths._path import Path, as_path
from fimlag.paths._refinement import FAILURES, Meshes, solve_on_meshes


class LeastActionSolution(AbstractSolution):
    """A stationary path of an action, and what is known of it.

    **Attributes:** `path`: a `Path`, callable from time to point, with `.velocity(t)`; `action`: its action, shape
    () (energy times time); `morse_index`: the number of directions in which the action has a maximum, 0 for a minimum,
    -1 where it cannot be told; `residual`: the largest entry of the discrete gradient; `error_estimate`: the change
    of the action when every element gains a degree, relative to which the points and velocities of the path itself are
    only as good as the square root; `iterations`: Newton steps taken; `result`: a `RESULTS` member.
    """

    path: Path
    action: Float[Array, ""]
    morse_index: Int[Array, ""]
    residual: Float[Array, ""]
    error_estimate: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def least_action_path(
    lagrangian: LagrangianFn,
    q0: Coordinates,
    q1: Coordinates,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int | Sequence[int] = 8,
    degree: int = 8,
    guess=None,
    stationary: bool = False,
    rtol: float | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> LeastActionSolution:
    r"""The path between two points that makes the action of a Lagrangian least.

    $$\min_{q(t_0) = q_0,\ q(t_1) = q_1} \int_{t_0}^{t_1} L(t, q, \dot q)\, dt$$

    over piecewise polynomials of the degree given, by Newton's method, in the free coordinates of the metric's chart
    where the Lagrangian is natural and its metric has one. The action's error falls as
    `elements**(-2 * degree)` for a smooth Lagrangian. Derivatives, forward and reverse, of first and second order, with
    respect to the ends, the times and everything that the Lagrangian holds or closes over, are implicit: they
    are those of the solution, not of the iterations.

    **Arguments:**

    - `lagrangian`: a callable `(t, q, v) -> scalar`, twice differentiable in (q, v), written for one point.
    - `q0`, `q1`: the ends, in one structure.
    - `t0`, `t1`: the interval (the user's time unit), t1 > t0.
    - `elements`, `degree`: the discretisation; their product is the number of polynomial steps. Several numbers of
      elements are tried in turn, until the error estimate is below eps^0.75 (2e-12 in double precision), or `rtol`;
      the path is on the last.
    - `guess`: a first path: a `Path`, a callable of time, or nodes at equal intervals stacked on axis 0. None: the
      chord. Its ends are replaced by `q0` and `q1`.
    - `stationary`: False seeks a minimum; True takes undamped Newton steps to the nearest stationary path.
    - `rtol`: the change of the action under refinement, relative to the integral of |L|, above which the path counts as
      `unresolved`; by default eps^0.4 (5e-7 in double precision).
    - `max_iterations`: the limit on Newton steps.
    - `throw`: whether a failure raises; batches pass False and read `result`.

    **Returns:** a `LeastActionSolution`.

    **Raises:** `TypeError` for a system with forces, constraints, a contact action or a phase space, whose motions make
    no such action stationary; `ValueError` for ends of different structure, a Lagrangian that is not scalar, or a
    discretisation without a node between the ends; with `throw`, an error for any `result` but `successful`:
    `empty_interval`, `nonfinite`, `indefinite_mass`, `not_a_minimum`, `stalled`, `max_steps_reached`, `unresolved`. As
    under `jax.jit`, what a plain function reads from outside at its first call is kept for later calls.

    **Reference:** Marsden & West (2001), sec. 1.3; for the index, Milnor (1963), sec. 15.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> free_fall = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: 9.81 * q[0])
    >>> solution = fl.least_action_path(free_fall, jnp.array([0.0]), jnp.array([0.0]))
    >>> bool(jnp.isclose(solution.action, -(9.81**2) / 24)), int(solution.morse_index)
    (True, 0)

    ```
    """
    _refuse_without_action(lagrangian)
    meshes = Meshes.of(elements, degree, stationary, rtol, max_iterations)
    return raise_unless_successful(solve_in_chart(lagrangian, q0, q1, t0, t1, guess, meshes), throw)


def _refuse_without_action(system: LagrangianFn):
    """Raise a `TypeError` for a system whose motions do not make the action of its Lagrangian stationary."""
    for mark in marks(system):
        if isinstance(mark, AbstractDynamics | Forced | Herglotz):
            raise TypeError(
                f"The motions of a {type(mark).__name__} do not make the action of its Lagrangian stationary between "
                "fixed ends: follow them by `integrate`, or, for holonomic constraints, take coordinates on their "
                "surface (`point_transformation`)."
            )


def solve_in_chart(
    lagrangian: LagrangianFn,
    q0: Coordinates,
    q1: Coordinates,
    t0,
    t1,
    guess,
    meshes: Meshes,
) -> LeastActionSolution:
    """The path, sought in the free coordinates of the Lagrangian's `chart`, where it has one."""
    chart = getattr(lagrangian, "chart", None)
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1")
    dtype = jnp.result_type(start, end)
    start, end, t0, t1 = (jnp.asarray(x, dtype) for x in (start, end, t0, t1))
    problem = (lagrangian, chart, structure, start, end, t0, t1, guess)
    if len(meshes.elements) > 1 and not any(isinstance(x, Tracer) for x in jax.tree_util.tree_leaves(problem)):
        # Where the outcome can be looked at, finer meshes need not even be compiled.
        solution = _solve(*problem, meshes.first)
        if solution.succeeded:
            return solution
    return _solve(*problem, meshes)


@eqx.filter_jit
def _solve(lagrangian, chart, structure: Structure, q0, q1, t0, t1, guess, meshes: Meshes) -> LeastActionSolution:
    coordinates = IdentityChart() if chart is None else chart
    flat = InChart(FlatLagrangian(lagrangian, structure), coordinates)
    start, chord = coordinates.free(q0), coordinates.displacement(q0, q1)
    flat = eqx.filter_closure_convert(flat, t0, start, start)
    problem = DiscreteAction(
        flat, start[:, None], chord[:, None], t0[None], t1[None], meshes.finest, meshes.degree, meshes.points
    )
    fixed, guessed = (
        frozen(problem),
        lax.stop_gradient(_first_displacements(problem, guess, structure, coordinates, q0)),
    )
    found = over_members(lambda problem, u: solve_on_meshes(problem, u, meshes), fixed, guessed)
    u = implicit_root(found.u, problem, gradient=DiscreteAction.gradient, factor=_second_variation)
    path = Path(equal_knots(t0, t1, meshes.finest), start, problem.offsets(u)[..., 0], meshes.degree, structure, chart)
    return LeastActionSolution(
        path=path,
        action=stationary_value(found.action[0], u, problem),
        morse_index=found.morse_index[0],
        residual=found.residual[0],
        error_estimate=found.error_estimate[0],
        iterations=found.iterations[0],
        result=first_failure(*zip(found.failures[:, 0], FAILURES, strict=True)),
    )


def _first_displacements(problem: DiscreteAction, guess, structure: Structure, chart: AbstractChart, q0):
    """The unknowns of the guess: its nodes' displacements from the chord."""
    if guess is None:
        unknowns = problem.elements * problem.degree - 1
        return jnp.zeros((unknowns, problem.d, 1), q0.dtype)
    t0, t1 = problem.t0[0], problem.t1[0]
    path = as_path(guess, t0, t1, problem.elements, problem.degree)
    fractions = jnp.asarray(nodal_fractions(problem.elements, problem.degree), q0.dtype)
    times = path.t0 + (path.t1 - path.t0) * fractions
    points = jax.vmap(lambda t: structure.flatten(path(t), "the guess"))(times).astype(q0.dtype)
    return problem.displacements(jax.vmap(chart.displacement, (None, 0))(q0, points)[..., None])


def _second_variation(problem: DiscreteAction, u: Float[Array, "unknowns d lanes"]):
    """The solver of linear systems with the second variation of the action at a path."""
    return CondensedElements(problem.assemble(problem.expand(u).hessians), problem.d).solve


@eqx.filter_custom_jvp
def stationary_value(value, u: Float[Array, "unknowns d lanes"], problem: DiscreteAction) -> Float[Array, ""]:
    r"""The action at a stationary point, whose derivative needs no derivative of the point.

    $$\frac{dS}{da} = \partial_a S(u, a) \quad\text{as}\quad \partial_u S = 0$$
    """
    del u, problem
    return value


@stationary_value.def_jvp
def _stationary_value_jvp(primals, tangents):
    value, u, problem = primals
    _, _, tangent = tangents
    if not jax.tree_util.tree_leaves(tangent):
        return value, jnp.zeros_like(value)
    return value, eqx.filter_jvp(lambda varied: varied.values(u)[0], (problem,), (tangent,))[1]
