"""Rare events under weak noise: curves of least geometric action and the quasi-potential."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.mechanics._diffusion import DiffusionLike, DiffusionProcess, FlatProcess
from fimlag.paths._geometric_action import GeometricAction, graded_knots
from fimlag.paths._geometric_newton import GeometricState, minimise
from fimlag.paths._path import Path, as_path

_MESHES = 2
"""The meshes solved in turn."""
_BEND = 0.02
"""The height of the first guess over the chord, so that a symmetric saddle is not taken for a minimum."""


class GeometricActionSolution(AbstractSolution):
    r"""A curve of least geometric action, and what is known of it.

    **Attributes:** `path`: a `Path` over [0, 1], its parameter the share of the arclength in the metric $a^{-1}$;
    `action`: the least action over all durations, shape (), the noise's unit; `length`: the arclength; `morse_index`:
    the number of directions in which the action has a maximum, 0 for a minimum, -1 where it cannot be told;
    `residual`: the largest entry of the discrete gradient; `error_estimate`: the change of the action when every
    element gains a degree and the quadrature two points; `iterations`: Newton steps taken; `result`: a `RESULTS`
    member.
    """

    path: Path
    action: Float[Array, ""]
    length: Float[Array, ""]
    morse_index: Int[Array, ""]
    residual: Float[Array, ""]
    error_estimate: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def geometric_action_path(
    drift: Callable,
    diffusion: DiffusionLike,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int = 16,
    degree: int = 8,
    guess=None,
    rtol: float | None = None,
    max_iterations: int = 100,
    throw: bool = True,
) -> GeometricActionSolution:
    r"""The most likely path between two points under weak noise, whatever time it takes.

    $$\inf_{T > 0}\ \min_{q(0) = q_0,\ q(T) = q_1} \int_0^T \tfrac12 (\dot q - b) \cdot a^{-1} (\dot q - b)\, dt
    = \min_\phi \int_0^1 |\phi'|\, |b| - \phi' \cdot b\; d\alpha$$

    with norms and products in the metric $a^{-1}$, over piecewise polynomial curves, by Newton's method with the
    arclength as gauge. The ends may be points where the drift vanishes, which take infinite time to leave and to reach:
    elements shrink towards them. Where the drift vanishes between the ends, the action is not smooth and its
    minimiser has a corner, as a rule: go to the saddle, and on from there (downhill along the drift the action is
    zero). Round a focus the path turns without end, and the result is a failure: use `least_action_path` with
    `FreidlinWentzell` over a long time there. Derivatives in the ends and in everything that `drift` and `diffusion`
    hold or close over are implicit, of first and second order.

    **Arguments:**

    - `drift`, `diffusion`: b and a, as for `FreidlinWentzell`.
    - `q0`, `q1`: the ends, in one structure.
    - `elements`, `degree`: the discretisation; a third of the elements shrinks towards either end.
    - `guess`: a first path: a `Path`, a callable on [0, 1], or nodes stacked on axis 0. None: the chord, slightly bent.
    - `rtol`: the error estimate, relative to the integral of the integrand's absolute value, above which the path
      counts as `unresolved`; by default eps^0.4 (5e-7 in double precision).
    - `max_iterations`: the limit on Newton steps on each of two meshes.
    - `throw`: whether a failure raises; batches pass False and read `result`.

    **Returns:** a `GeometricActionSolution`: a local minimum; whether it is the least of all, other guesses tell.

    **Raises:** `ValueError` for ends of different structure or a discretisation without a node between the ends; with
    `throw`, an error for any `result` but `successful`: `nonfinite`, `rest_on_the_way`, `not_a_minimum`, `stalled`,
    `max_steps_reached`, `unresolved`.

    **Reference:** Heymann & Vanden-Eijnden (2008), sec. 2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> solution = fl.geometric_action_path(lambda q: q - q**3, 1.0, jnp.array([-1.0]), jnp.array([0.0]))
    >>> bool(jnp.isclose(solution.action, 0.5, rtol=1e-12))
    True

    ```
    """
    if elements < 1 or degree < 1 or elements * degree < 2:
        raise ValueError(f"A path needs a node between its ends: elements={elements}, degree={degree} leave none.")
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1")
    dtype = jnp.result_type(start, end)
    process = FlatProcess(DiffusionProcess(drift, diffusion), structure)
    ends = start.astype(dtype), end.astype(dtype)
    solution = _solve(process, *ends, guess, elements, degree, rtol, max_iterations)
    return raise_unless_successful(solution, throw)


def quasi_potential(
    drift: Callable,
    diffusion: DiffusionLike,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int = 16,
    degree: int = 8,
    guess=None,
) -> Float[Array, ""]:
    r"""The quasi-potential of a point with respect to an attractor: the least action of a way there.

    $$V(q_0, q_1) = \inf_{T > 0} \inf_{q(0) = q_0,\ q(T) = q_1} S_T[q], \qquad
    \frac{\partial V}{\partial q_1} = p(q_1), \quad p = a^{-1} (\dot q - b)$$

    The mean time of exit through $q_1$ goes as $e^{V / \varepsilon}$; the invariant density as $e^{-V / \varepsilon}$
    near the attractor. For a linear drift $A q$ it is $\tfrac12\, q \cdot \Sigma^{-1} q$ with
    $A \Sigma + \Sigma A^\top = -a$; for $b = -a \nabla U$ and constant a, uphill, $2\, \Delta U$. Its gradient is the
    conjugate momentum, by the envelope theorem.

    **Arguments:** as for `geometric_action_path`; `q0`: the attractor.

    **Returns:** a scalar in the unit of the noise; zero where the ends coincide; NaN where no minimum was found or
    it is not resolved: `geometric_action_path(...).result` tells why. A local minimum is an upper bound: try other
    guesses.

    **Raises:** `ValueError` as `geometric_action_path`.

    **Reference:** Freidlin & Wentzell (2012), ch. 4, sec. 2 and theorem 3.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> value = fl.quasi_potential(lambda q: -3.0 * q, 2.0, jnp.zeros(2), jnp.array([1.0, 1.0]))
    >>> bool(jnp.isclose(value, 3.0, rtol=1e-12))
    True

    ```
    """
    options = {"elements": elements, "degree": degree, "guess": guess, "throw": False}
    solution = geometric_action_path(drift, diffusion, q0, q1, **options)
    return jnp.where(solution.succeeded, solution.action, jnp.nan)


@compiled
def _solve(process: FlatProcess, q0, q1, guess, elements, degree, rtol, max_iterations) -> GeometricActionSolution:
    terms = eqx.filter_closure_convert(process.action_terms, q0, q0)
    coincident = jnp.all(q0 == q1)
    chord = jnp.where(coincident, 1.0, q1 - q0)  # a curve without length has no parameter
    knots = jnp.asarray(graded_knots(elements), q0.dtype)
    problem = GeometricAction(terms, q0, chord, jnp.ones((), q0.dtype), knots, degree, degree + 2)
    offsets = lax.stop_gradient(_first_offsets(problem, guess, process.structure))
    problem = _weighted(problem, offsets)
    problem, state, iterations = _on_meshes(problem, offsets, max_iterations)
    x = implicit_root(state.x, problem, gradient=GeometricAction.gradient, factor=_second_variation)
    action, index, residual, error, result = _certificate(frozen(problem), state, rtol)
    offsets = problem.offsets(x)
    return GeometricActionSolution(
        path=Path(problem.knots, q0, jnp.where(coincident, 0.0, offsets), degree, process.structure),
        action=jnp.where(coincident, 0.0, stationary_action(action, x, problem)),
        length=jnp.where(coincident, 0.0, 1 / x[-1]),
        morse_index=jnp.where(coincident, 0, index),
        residual=jnp.where(coincident, 0.0, residual),
        error_estimate=jnp.where(coincident, 0.0, error),
        iterations=iterations,
        result=RESULTS.where(coincident, RESULTS.successful, result),
    )


def _first_offsets(problem: GeometricAction, guess, structure: Structure):
    """The nodes of the guess relative to the first: without one, an arc over the chord."""
    fractions = problem.fractions[:, None]
    straight = fractions * problem.chord[None]
    if guess is None:
        across = jnp.roll(problem.chord, 1).at[0].multiply(-1.0)  # perpendicular to the chord in the plane
        return straight + (_BEND if problem.d > 1 else 0.0) * jnp.sin(jnp.pi * fractions) * across[None]
    path = as_path(guess, 0.0, 1.0, problem.elements, problem.degree)
    times = path.t0 + (path.t1 - path.t0) * problem.fractions
    points = jax.vmap(lambda t: structure.flatten(path(t), "the guess"))(times).astype(problem.q0.dtype)
    return (points - problem.q0[None]).at[jnp.array([0, -1])].set(jnp.stack([straight[0], straight[-1]]))


def _weighted(problem: GeometricAction, offsets) -> GeometricAction:
    """The problem with a gauge as stiff as the action of the first guess is large."""
    speed = problem.scale(offsets)
    return replace(problem, weight=lax.stop_gradient(jnp.where(speed > 0, speed, 1.0)))


def _on_meshes(problem: GeometricAction, offsets, max_iterations):
    """Newton's method on a first mesh, and on one that is fine where the first curve turns: the last problem, its state
    and all steps taken."""
    fixed = frozen(problem)
    structure = flatten(fixed.q0)[1]

    def on_mesh(carry, _):
        knots, offsets, next_knots = carry
        path = Path(knots, fixed.q0, offsets, fixed.degree, structure)
        mesh = replace(fixed, knots=next_knots)
        moved = jax.vmap(path)(mesh.fractions) - fixed.q0[None]
        state = minimise(mesh, mesh.unknowns(moved), max_iterations)
        offsets = mesh.offsets(state.x)
        return (next_knots, offsets, mesh.adapted_knots(offsets)), (state, next_knots)

    _, (states, knots) = lax.scan(on_mesh, (fixed.knots, offsets, fixed.knots), length=_MESHES)
    last = jax.tree_util.tree_map(lambda x: x[-1], states)
    return replace(problem, knots=knots[-1]), last, jnp.sum(states.iterations)


def _second_variation(problem: GeometricAction, x: Float[Array, " unknowns"]):
    """The solver of linear systems with the second variation at a stationary curve."""
    return problem.factor(problem.expand(x).hessians).solve


def _certificate(problem: GeometricAction, state: GeometricState, rtol):
    """Action, Morse index, residual, error estimate and result, by elements of one degree more."""
    here = problem.gradient(state.x)
    finer, raised = problem.raised(state.x)
    at_finer = finer.expand(raised)
    factor, gradient = finer.factor(at_finer.hessians), finer.tested(at_finer.slopes)
    action = problem.action(state.x)
    gap = replace(problem, points=problem.points + 2).action(state.x) - action
    error = 0.5 * jnp.abs(gradient @ factor.solve(gradient)) + jnp.abs(gap)
    index = factor.negative_directions()
    residual = jnp.max(jnp.abs(here))
    scale = problem.scale(problem.offsets(state.x))
    tolerance = (float(jnp.finfo(action.dtype).eps) ** 0.4 if rtol is None else rtol) * scale
    finite = jnp.isfinite(action) & jnp.all(jnp.isfinite(here))
    sound = (index <= 0) & state.converged & (error <= tolerance)
    result = first_failure(
        (~finite, RESULTS.nonfinite),
        (problem.rests_between(state.x) & ~sound, RESULTS.rest_on_the_way),
        (index > 0, RESULTS.not_a_minimum),
        (state.failed, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
        (~(error <= tolerance), RESULTS.unresolved),
    )
    return action, index, residual, error, result


@eqx.filter_custom_jvp
def stationary_action(value, x: Float[Array, " unknowns"], problem: GeometricAction) -> Float[Array, ""]:
    """The action of a stationary curve, whose derivative needs no derivative of the curve."""
    del x, problem
    return value


@stationary_action.def_jvp
def _stationary_action_jvp(primals, tangents):
    value, x, problem = primals
    _, _, tangent = tangents
    if not jax.tree_util.tree_leaves(tangent):
        return value, jnp.zeros_like(value)
    return value, eqx.filter_jvp(lambda varied: varied.value(x), (problem,), (tangent,))[1]
