"""Paths of least action: the solver's door, its certificate, and its derivative."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.paths._block_tridiagonal import CondensedElements, invert_symmetric
from fimlag.paths._discrete_action import DiscreteAction
from fimlag.paths._newton import NewtonState, make_stationary, minimise
from fimlag.paths._path import Path, as_path, nodal_fractions, raise_degree


class LeastActionSolution(AbstractSolution):
    """A stationary path of an action, and what is known of it.

    **Attributes:** `path`: a `Path`, callable from time to point, with `.velocity(t)`; `action`: its action, shape
    () (energy times time); `morse_index`: the number of directions in which the action has a maximum, 0 for a minimum,
    -1 where it cannot be told; `residual`: the largest entry of the discrete gradient; `error_estimate`: the change
    of the action when every element gains a degree; `iterations`: Newton steps taken; `result`: a `RESULTS` member.
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
    elements: int = 8,
    degree: int = 8,
    guess=None,
    stationary: bool = False,
    rtol: float | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> LeastActionSolution:
    r"""The path between two points that makes the action of a Lagrangian least.

    $$\min_{q(t_0) = q_0,\ q(t_1) = q_1} \int_{t_0}^{t_1} L(t, q, \dot q)\, dt$$

    over piecewise polynomials of the degree given, by Newton's method. The action's error falls as
    `elements**(-2 * degree)` for a smooth Lagrangian. Derivatives, forward and reverse, of first and second order, with
    respect to the ends, the times and everything that the Lagrangian holds or closes over, are implicit: they
    are those of the solution, not of the iterations.

    **Arguments:**

    - `lagrangian`: a callable `(t, q, v) -> scalar`, twice differentiable in (q, v), written for one point.
    - `q0`, `q1`: the ends, in one structure.
    - `t0`, `t1`: the interval (the user's time unit), t1 > t0.
    - `elements`, `degree`: the discretisation; their product is the number of polynomial steps.
    - `guess`: a first path: a `Path`, a callable of time, or nodes at equal intervals stacked on axis 0. None: the
      chord. Its ends are replaced by `q0` and `q1`.
    - `stationary`: False seeks a minimum; True takes undamped Newton steps to the nearest stationary path.
    - `rtol`: the change of the action under refinement, relative to the integral of |L|, above which the path counts as
      `unresolved`; by default eps^0.4 (5e-7 in double precision).
    - `max_iterations`: the limit on Newton steps.
    - `throw`: whether a failure raises; batches pass False and read `result`.

    **Returns:** a `LeastActionSolution`.

    **Raises:** `ValueError` for ends of different structure, a Lagrangian that is not scalar, or a discretisation
    without a node between the ends; with `throw`, an error for any `result` but `successful`: `empty_interval`,
    `nonfinite`, `indefinite_mass`, `not_a_minimum`, `stalled`, `max_steps_reached`, `unresolved`. As under `jax.jit`,
    what a plain function reads from outside at its first call is kept for later calls.

    **Reference:** Marsden & West (2001), sec. 1.3; for the index, Milnor (1963), sec. 15.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> free_fall = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: 9.81 * q[0])
    >>> solution = fl.least_action_path(free_fall, jnp.array([0.0]), jnp.array([0.0]))
    >>> bool(jnp.isclose(solution.action, -(9.81**2) / 24)), int(solution.morse_index)
    (True, 0)

    ```
    """
    if elements * degree < 2 or elements < 1:
        raise ValueError(
            f"A path needs a node between its ends: elements={elements}, degree={degree} leave none. Their product "
            "must be at least 2."
        )
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1")
    dtype = jnp.result_type(start, end)
    start, end, t0, t1 = (jnp.asarray(x, dtype) for x in (start, end, t0, t1))
    options = _Options(elements, degree, stationary, rtol, max_iterations)
    solution = _solve(lagrangian, structure, start, end, t0, t1, guess, options)
    return raise_unless_successful(solution, throw)


class _Options(eqx.Module):
    elements: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)
    stationary: bool = eqx.field(static=True)
    rtol: float | None = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)


@eqx.filter_jit
def _solve(lagrangian, structure: Structure, q0, q1, t0, t1, guess, options: _Options) -> LeastActionSolution:
    flat = eqx.filter_closure_convert(FlatLagrangian(lagrangian, structure), t0, q0, q0)
    problem = DiscreteAction(flat, q0, q1, t0, t1, options.elements, options.degree)
    fixed = frozen(problem)
    iterate = make_stationary if options.stationary else minimise
    state = iterate(fixed, lax.stop_gradient(_first_displacements(problem, guess, structure)), options.max_iterations)
    u = implicit_root(state.u, problem, gradient=DiscreteAction.gradient, factor=_second_variation)
    path = Path(t0, t1, q0, problem.offsets(u), options.degree, structure)
    action = stationary_value(u, problem)
    morse_index, error, result = _certificate(fixed, state, options)
    residual = jnp.max(jnp.abs(fixed.gradient(state.u)))
    return LeastActionSolution(
        path=path,
        action=action,
        morse_index=morse_index,
        residual=residual,
        error_estimate=error,
        iterations=state.iterations,
        result=result,
    )


def _first_displacements(problem: DiscreteAction, guess, structure: Structure):
    """The unknowns of the guess: its nodes' displacements from the chord."""
    d = problem.q0.shape[0]
    unknowns = problem.elements * problem.degree - 1
    if guess is None:
        return jnp.zeros((unknowns, d), problem.q0.dtype)
    path = as_path(guess, problem.t0, problem.t1, problem.elements, problem.degree)
    fractions = jnp.asarray(nodal_fractions(problem.elements, problem.degree), problem.q0.dtype)
    times = path.t0 + (path.t1 - path.t0) * fractions
    points = jax.vmap(lambda t: structure.flatten(path(t), "the guess"))(times)
    return problem.displacements(points.astype(problem.q0.dtype) - problem.q0[None])


def _certificate(problem: DiscreteAction, state: NewtonState, options: _Options):
    """Morse index, error estimate and result, from one expansion on elements of one degree more."""
    finer = DiscreteAction(
        problem.lagrangian,
        problem.q0,
        problem.q1,
        problem.t0,
        problem.t1,
        problem.elements,
        problem.degree + 1,
    )
    expansion = finer.expand(finer.displacements(raise_degree(problem.offsets(state.u), problem.degree, finer.degree)))
    factor = CondensedElements(finer.assemble(expansion.hessians))
    morse_index = factor.negative_directions()
    refined_action = expansion.value - 0.5 * jnp.vdot(expansion.gradient, factor.solve(expansion.gradient))

    action = problem.value(state.u)
    error = jnp.abs(refined_action - action)
    quadrature_gap = jnp.abs(expansion.value - action)
    eps = jnp.finfo(action.dtype).eps
    tolerance = (eps**0.4 if options.rtol is None else options.rtol) * expansion.scale

    masses = expansion.hessians[:, :, 1, :, 1, :]
    pivots = jax.vmap(jax.vmap(lambda mass: invert_symmetric(mass)[1]))(masses)
    finite = jnp.isfinite(expansion.value) & jnp.all(jnp.isfinite(expansion.hessians))
    seeks_minimum = not options.stationary
    result = first_failure(
        (problem.t1 <= problem.t0, RESULTS.empty_interval),
        (~finite, RESULTS.nonfinite),
        (seeks_minimum & ~jnp.all(pivots > 0), RESULTS.indefinite_mass),
        (seeks_minimum & (morse_index != 0), RESULTS.not_a_minimum),
        (state.failed, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
        (~(jnp.maximum(error, quadrature_gap) <= tolerance), RESULTS.unresolved),
    )
    return morse_index, error, result


def _second_variation(problem: DiscreteAction, u: Float[Array, "unknowns d"]):
    """The solver of linear systems with the second variation of the action at a path."""
    return CondensedElements(problem.assemble(problem.expand(u).hessians)).solve


@eqx.filter_custom_jvp
def stationary_value(u: Float[Array, "unknowns d"], problem: DiscreteAction) -> Float[Array, ""]:
    r"""The action at a stationary point, whose derivative needs no derivative of the point.

    $$\frac{dS}{da} = \partial_a S(u, a) \quad\text{as}\quad \partial_u S = 0$$
    """
    return problem.value(u)


@stationary_value.def_jvp
def _stationary_value_jvp(primals, tangents):
    u, problem = primals
    _, tangent = tangents
    value = stationary_value(u, problem)
    if not jax.tree_util.tree_leaves(tangent):
        return value, jnp.zeros_like(value)
    return value, eqx.filter_jvp(lambda varied: varied.value(u), (problem,), (tangent,))[1]
