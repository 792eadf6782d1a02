"""Paths of least divergence: points whose steps, measured by a divergence, cost least."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from fimlag._charts import AbstractChart
from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, MetricFn, RealScalarLike
from fimlag.paths._divergence_action import (
    FreeDivergence,
    as_discrete,
    belongs_to_another_metric,
    chart_of_claim,
    flat_points,
)
from fimlag.paths._divergence_newton import solve_divergence_path
from fimlag.paths._divergence_problem import DivergencePath, at_unknowns, factorised

_LEAST_ORDER = 0.5
_STEADY = 0.5
"""By how much the order may change from the coarser steps to the finer ones."""


class LeastDivergenceSolution(AbstractSolution):
    """Points of a path of least divergence, and what is known of it.

    **Attributes:** `points`: N + 1, the ends included, stacked on axis 0 of each leaf; `times` (N + 1,); `action`: the
    sum of the divergences over h, shape (); `limit`: what it tends to for short steps, as extrapolated from steps of h,
    2 h and 4 h along this path; `error_estimate`: the distance to that; `order`: the power of h with which it was
    measured to fall, NaN where that is not steady from steps of 8 h on, the steps being too long or the differences
    round-off (the estimate is then the difference of h and 2 h, and the limit the action); `morse_index`: the number of
    directions in which the action has a maximum, 0 for a minimum, -1 where it cannot be told; `residual`: the largest
    entry of the gradient; `iterations`: Newton steps tried; `result`: a `RESULTS` member. Derivatives pass through
    `points`, `action` and `limit`.
    """

    points: PyTree[Array]
    times: Float[Array, " points"]
    action: Float[Array, ""]
    limit: Float[Array, ""]
    error_estimate: Float[Array, ""]
    order: Float[Array, ""]
    morse_index: Int[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def least_divergence_path(
    divergence: Callable,
    q0: Coordinates,
    q1: Coordinates,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    steps: int = 64,
    metric: MetricFn | None = None,
    chart: AbstractChart | None = None,
    guess: Callable | Coordinates | None = None,
    stationary: bool = False,
    rtol: float | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> LeastDivergenceSolution:
    r"""The points between two ends whose steps, measured by a divergence, cost least.

    $$\min_{p_1 \ldots p_{N-1}} \sum_{k=0}^{N-1} \frac{D(p_k, p_{k+1})}h, \qquad p_0 = q_0,\ p_N = q_1,\
    h = \frac{t_1 - t_0}N$$

    For short steps it is half the squared distance in the metric to which D expands, over the duration, and the
    points lie on a geodesic: see `divergence_action` for the factors and the orders. The number of iterations does not
    grow with that of the steps. Derivatives, of any order, in the ends, the times and all that the divergence holds or
    closes over are implicit: they are those of the solution, not of the iterations.

    **Arguments:**

    - `divergence`: a callable `(q0, q1) -> scalar`, twice differentiable where the points differ, or a
      `DivergenceLagrangian`, whose potential then acts too.
    - `q0`, `q1`: the ends, in one structure.
    - `t0`, `t1`: the interval (the user's time unit), t1 > t0.
    - `steps`: N, a multiple of 8.
    - `metric`: the metric that the divergence is claimed to expand to, which is then checked at all points.
    - `chart`: free coordinates, in which no step leaves the domain. None: those of the metric, where it has some.
    - `guess`: a first path: a callable of time, such as the path of a geodesic where the ends lie far apart, or N + 1
      points stacked on axis 0. None: the chord.
    - `stationary`: False seeks a minimum; True takes undamped Newton steps to the nearest stationary path.
    - `rtol`: the largest error estimate, relative to the action, that counts as resolved. None: any.
    - `max_iterations`: the limit on Newton steps.
    - `throw`: whether a failure raises; batches pass False and read `result`.

    **Returns:** a `LeastDivergenceSolution`.

    **Raises:** `ValueError` for ends of different structure, a number of steps that is no multiple of 8, a guess of
    another length, or a divergence that is not scalar; with `throw`, an error for any `result` but `successful`:
    `empty_interval`, `nonfinite`, `another_metric`, `indefinite_mass` (the divergence does not tell all points apart,
    or the steps are too long for it), `not_a_minimum`, `stalled`, `max_steps_reached`, `unresolved`.

    **Reference:** Leok & Zhang (2017); Marsden & West (2001), section 1.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> poisson = fl.FisherMetric(fl.families.Poisson())
    >>> def symmetric(a, b): return fl.jeffreys_divergence(poisson.model, a, b) / 2
    >>> solution = fl.least_divergence_path(symmetric, jnp.array([1.0]), jnp.array([4.0]), metric=poisson)
    >>> print(jnp.round(solution.limit, 6), jnp.round(solution.order, 2), jnp.round(solution.points[32], 3))
    2.0 2.0 [2.25]

    ```
    """
    if steps < 8 or steps % 8:
        raise ValueError(f"steps must be a multiple of 8, so that coarser steps tell the error, but is {steps}.")
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1")
    dtype = jnp.result_type(start, end)
    start, end, t0, t1 = (jnp.asarray(x, dtype) for x in (start, end, t0, t1))
    lagrangian = FreeDivergence(as_discrete(divergence), structure, chart_of_claim(metric, chart))
    nodes = None if guess is None else _nodes_of(guess, structure, t0, t1, steps)
    solution = _solve(lagrangian, metric, start, end, t0, t1, nodes, steps, stationary, rtol, max_iterations)
    return raise_unless_successful(solution, throw)


@compiled
def _solve(
    lagrangian: FreeDivergence, metric, q0, q1, t0, t1, guess, steps, stationary, rtol, max_iterations
) -> LeastDivergenceSolution:
    chart, structure = lagrangian.chart, lagrangian.structure
    start, chord = chart.free(q0), chart.displacement(q0, q1)
    converted = eqx.filter_closure_convert(lagrangian, t0, t1, start, start)
    problem = DivergencePath(converted, start, chord, t0, t1, steps)
    fixed = frozen(problem)
    first = jnp.zeros((steps - 1, q0.size), q0.dtype)
    if guess is not None:
        offsets = jax.vmap(chart.displacement, (None, 0))(q0, guess.astype(q0.dtype))
        first = fixed.displacements(lax.stop_gradient(offsets))

    state = solve_divergence_path(fixed, first, stationary, max_iterations)
    w = implicit_root(state.w, problem, gradient=DivergencePath.gradient, factor=DivergencePath.factor)
    actions = problem.values(w, (8, 4, 2, 1))
    limit, error, order = _extrapolated(actions)
    action = actions[-1]
    hessians, slopes = state.expansion.hessians, state.expansion.slopes
    morse_index = _negative_directions(factorised(hessians).pivots)
    failures = [
        (t1 <= t0, RESULTS.empty_interval),
        (~jnp.isfinite(action), RESULTS.nonfinite),
        (_is_degenerate(hessians) & ~state.converged, RESULTS.indefinite_mass),
        ((morse_index != 0) & (not stationary), RESULTS.not_a_minimum),
        (state.failed, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
    ]
    if metric is not None:
        other = belongs_to_another_metric(lagrangian, metric, fixed.points(lax.stop_gradient(w)))
        failures.insert(2, (other, RESULTS.another_metric))
    if rtol is not None:
        failures.append((~(error <= rtol * jnp.abs(action)), RESULTS.unresolved))
    return LeastDivergenceSolution(
        points=jax.vmap(lambda u: structure.unflatten(chart.point(u)))(problem.points(w)),
        times=problem.times,
        action=action,
        limit=limit,
        error_estimate=lax.stop_gradient(error),
        order=lax.stop_gradient(order),
        morse_index=morse_index,
        residual=jnp.max(jnp.abs(at_unknowns(slopes))),
        iterations=state.iterations - 1,
        result=first_failure(*failures),
    )


def _nodes_of(guess, structure: Structure, t0, t1, steps: int) -> Float[Array, "points d"]:
    """The points of a guess, flat."""
    if callable(guess):
        times = t0 + (t1 - t0) * jnp.arange(steps + 1, dtype=t0.dtype) / steps
        return jax.vmap(lambda t: structure.flatten(guess(t), "the guess"))(times)
    nodes, own = flat_points(guess)
    if own != structure or nodes.shape[0] != steps + 1:
        raise ValueError(
            f"guess must hold {steps + 1} points of structure {structure.describe()}, but holds {nodes.shape[0]} of "
            f"{own.describe()}."
        )
    return nodes


def _extrapolated(actions: Float[Array, "4"]):
    r"""The limit of values whose errors fall by one ratio as steps are halved, the last one's error, and the order.

    **Reference:** Aitken (1926).
    """
    earliest, earlier, change = actions[:-1] - actions[1:]
    orders = [_log2_ratio(one, other) for one, other in ((earliest, earlier), (earlier, change))]
    told = (orders[1] > _LEAST_ORDER) & (jnp.abs(orders[1] - orders[0]) < _STEADY)
    ratio = jnp.where(told, earlier, 2.0) / jnp.where(told, change, 1.0)
    correction = jnp.where(told, change / (ratio - 1.0), 0.0)
    error = jnp.where(told, jnp.abs(correction), jnp.abs(change))
    return actions[-1] - correction, error, jnp.where(told, orders[1], jnp.nan)


def _log2_ratio(one, other):
    """The binary logarithm of a ratio, NaN where that is not positive."""
    one, other = lax.stop_gradient((one, other))
    positive = (one * other > 0.0) & jnp.isfinite(one) & jnp.isfinite(other)
    return jnp.where(
        positive, jnp.log2(jnp.abs(jnp.where(positive, one, 1.0) / jnp.where(positive, other, 1.0))), jnp.nan
    )


def _is_degenerate(hessians):
    """Whether the metric between the points of some step is not positive definite."""
    mixed = -hessians[:, 0, :, 1]
    values = jnp.linalg.eigvalsh(0.5 * (mixed + mixed.swapaxes(1, 2)))
    eps = float(jnp.finfo(values.dtype).eps)
    return jnp.any(values[:, 0] <= 8 * values.shape[1] * eps * jnp.abs(values[:, -1]))


def _negative_directions(pivots):
    regular = jnp.all(jnp.isfinite(pivots) & (pivots != 0))
    return jnp.where(regular, jnp.sum(pivots < 0), -1)
