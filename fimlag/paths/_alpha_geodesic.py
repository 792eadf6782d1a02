"""Geodesics of the alpha-connections of a statistical model, among them its e- and m-geodesics."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike
from fimlag.geometry import alpha_acceleration
from fimlag.information import AbstractModel
from fimlag.paths._collocation import Collocation, collocation_root, green_rules, solve_collocation
from fimlag.paths._jacobi import check_steps, unresolved
from fimlag.paths._mesh import equal_knots, nodal_fractions
from fimlag.paths._path import Path
from fimlag.paths._spray import Spray, chart_of, flow


class AlphaGeodesicSolution(AbstractSolution):
    """A geodesic of an alpha-connection between two points, and what is known of it.

    **Attributes:** `path`: a `Path` on [0, 1], callable from time to point, with `.velocity(t)`; `residual`: the
    largest defect of the equation at the points of collocation; `error_estimate`: the displacement that the defect
    between them would cause, both in the free coordinates of the model; `iterations`: Newton steps taken; `result`: a
    `RESULTS` member.
    """

    path: Path
    residual: Float[Array, ""]
    error_estimate: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def alpha_geodesic(
    model: AbstractModel,
    theta0: Coordinates,
    theta1: Coordinates,
    alpha: RealScalarLike,
    *,
    elements: int = 16,
    points: int = 8,
    rtol: float | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> AlphaGeodesicSolution:
    r"""The geodesic of an alpha-connection between two points, with its affine parameter on [0, 1].

    $$\ddot\theta^k + \Gamma^{(\alpha)k}_{ij}\, \dot\theta^i \dot\theta^j = 0, \qquad
    \theta(0) = \theta_0,\ \theta(1) = \theta_1$$

    For an exponential family it is a straight line in the natural parameters for $\alpha = 1$ (the e-geodesic) and in
    the mean parameters for $\alpha = -1$ (the m-geodesic); for $\alpha = 0$ it is `geodesic`. For other alpha it
    extremises no length. It is found by collocation in the free coordinates of the model, and is differentiable in
    the ends, in alpha and in the model.

    **Arguments:** `model`: a statistical model whose expectation is one smooth function of theta; `theta0`, `theta1`:
    the ends; `alpha`: a number; `elements`, `points`: the pieces of the path and the Gauss points of each; `rtol`: the
    error estimate allowed, of the way (None: eps^0.4, 5e-7 in double precision); `max_iterations`: of Newton;
    `throw`: raise where none was found.

    **Returns:** an `AlphaGeodesicSolution`; `path.velocity(0.0)` inverts `alpha_exp_map`.

    **Raises:** `ValueError` for ends of different structure, fewer than two points or no element. Results:
    `nonfinite`, `stalled`, `max_steps_reached`, `unresolved_geodesic`.

    **Reference:** Amari & Nagaoka (2000), sec. 2.3 and 3.3; Ascher, Mattheij & Russell (1995), sec. 5.4 (collocation).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> mixture = fl.alpha_geodesic(fl.families.Exponential(), jnp.array([1.0]), jnp.array([4.0]), -1.0)
    >>> bool(jnp.allclose(1 / mixture.path(0.5), (1 + 1 / 4) / 2))  # the means lie on a line
    True

    ```
    """
    if elements < 1 or points < 2:
        raise ValueError(f"At least 1 element and 2 points are needed, but they are {elements} and {points}.")
    start, structure = flatten(theta0, "theta0")
    end = structure.flatten(theta1, "theta1")
    dtype = jnp.result_type(start, end)
    start, end, alpha = (jnp.asarray(x, dtype) for x in (start, end, alpha))
    solution = _solve(model, structure, start, end, alpha, elements, points, rtol, max_iterations)
    return raise_unless_successful(solution, throw)


def alpha_exp_map(model: AbstractModel, theta: Coordinates, v: Coordinates, alpha: RealScalarLike, *, steps: int = 64):
    r"""The point that the alpha-geodesic from `theta` with velocity `v` reaches after unit time.

    $$\ddot\theta^k + \Gamma^{(\alpha)k}_{ij}\, \dot\theta^i \dot\theta^j = 0, \qquad
    \theta(0) = \mathtt{theta},\ \dot\theta(0) = \mathtt{v}$$

    **Arguments:** `model`, `alpha`: as for `alpha_geodesic`; `theta`: the point; `v`: a tangent vector in its
    structure; `steps`: of an explicit method of order 8, an even number.

    **Returns:** a point in the structure of `theta`; NaN where the geodesic ends before unit time, as those of
    $\alpha \neq 0$ may, or is not resolved to eps^0.4: raise `steps`.

    **Raises:** `ValueError` for vectors of different structures and for steps that are no positive even number.

    **Reference:** Amari & Nagaoka (2000), sec. 2.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> end = fl.alpha_exp_map(fl.families.Exponential(), jnp.array([1.0]), jnp.array([0.5]), 1.0)
    >>> bool(jnp.allclose(end, 1.5))  # the rate is a natural parameter
    True

    ```
    """
    check_steps(steps)
    point, structure = flatten(theta, "theta")
    velocity = structure.flatten(v, "v").astype(point.dtype)
    return structure.unflatten(_exp_map(model, structure, point, velocity, jnp.asarray(alpha, point.dtype), steps))


def alpha_spray(model: AbstractModel, structure: Structure, alpha) -> Spray:
    """The spray of an alpha-connection."""

    def acceleration(theta, v):
        tree = alpha_acceleration(model, structure.unflatten(theta), structure.unflatten(v), alpha)
        return structure.flatten(tree)

    return Spray(acceleration, chart_of(model))


@compiled
def _solve(model, structure, theta0, theta1, alpha, elements, points, rtol, max_iterations) -> AlphaGeodesicSolution:
    chart = chart_of(model)
    x0, chord = chart.free(theta0), chart.displacement(theta0, theta1)
    spray = eqx.filter_closure_convert(alpha_spray(model, structure, alpha), x0, chord)
    problem = Collocation(spray, x0, chord, elements, points)
    fixed = frozen(problem)
    state = solve_collocation(fixed, max_iterations)
    accelerations = collocation_root(jax.lax.stop_gradient(state.accelerations), problem)

    nodes = green_rules(elements, points, nodal_fractions(elements, points + 1))
    x, _ = problem.states(accelerations, nodes)
    offsets = x - x0[None]
    zero = jnp.zeros_like(alpha)
    path = Path(equal_knots(zero, zero + 1.0, elements), x0, offsets, points + 1, structure, chart)
    residual, error = fixed.defects(state.accelerations)
    tolerance = jnp.finfo(x0.dtype).eps ** 0.4 if rtol is None else rtol
    finite = jnp.all(jnp.isfinite(offsets)) & jnp.isfinite(error)
    result = first_failure(
        (~finite, RESULTS.nonfinite),
        (state.failed, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
        (~(error <= tolerance * jnp.max(jnp.abs(chord))), RESULTS.unresolved_geodesic),
    )
    return AlphaGeodesicSolution(
        path=path, residual=residual, error_estimate=error, iterations=state.iterations, result=result
    )


@compiled
def _exp_map(model, structure, theta, v, alpha, steps):
    spray = alpha_spray(model, structure, alpha)
    states, error = flow(spray, spray.state(theta, v), jnp.full((steps,), 1.0 / steps, theta.dtype))
    return jnp.where(unresolved(error, states), jnp.nan, spray.motion(states[-1])[0])
