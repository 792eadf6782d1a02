"""Optimal design: which experiments to make, and how often each."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Inexact, Int, PyTree

from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag.information._criteria import (
    AbstractCriterion,
    AOptimality,
    DOptimality,
    EOptimality,
    MeanInformation,
)
from fimlag.information._definite import check_square, definite_factor
from fimlag.information._sums import count_outcomes

CRITERIA = {"D": DOptimality, "A": AOptimality, "E": EOptimality}


class OptimalDesign(AbstractSolution):
    r"""Design weights, with the certificate that no others are better.

    **Attributes:** `weights`: the share of the observations at each candidate, shape (n,), positive and of sum one;
    off the support they are of the order of the tolerance, never exactly zero. `information`: $M = \sum_i w_i M_i$,
    of one observation on average, shape (d, d). `criterion_value`: the criterion there. `sensitivity`: what an
    observation at each candidate is worth, shape (n,), see the criteria; on the support of an optimum it equals its
    bound. `gap`: the largest sensitivity less its bound, zero at the optimum and nowhere else. `efficiency_bound`:
    what the efficiency $\phi(M) / \max \phi$ is at least, the bound over the largest sensitivity. `iterations`;
    `result`.
    """

    weights: Float[Array, " n"]
    information: Float[Array, "d d"]
    criterion_value: Float[Array, ""]
    sensitivity: Float[Array, " n"]
    gap: Float[Array, ""]
    efficiency_bound: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def design_criterion(information: Inexact[Array, "d d"], criterion: str | AbstractCriterion = "D") -> Float[Array, ""]:
    r"""A criterion of optimal design as a function of the information matrix.

    $$\log\det M \;(\mathrm{D}), \qquad \operatorname{tr} M^{-1} \;(\mathrm{A}), \qquad
    \lambda_{\min}(M) \;(\mathrm{E})$$

    For exact designs: the candidates are few, each is one observation, and the criterion of their summed
    information is followed by its gradient. D and E are to be raised, A and I to be lowered.

    **Arguments:** `information`: of the whole experiment, shape (d, d). `criterion`: `"D"`, `"A"`, `"E"`, or an
    object: `DOptimality`, `AOptimality`, `EOptimality`, `IOptimality`.

    **Returns:** the criterion, shape (); NaN where D, A or I has no positive definite matrix.

    **Raises:** `ValueError` for another criterion (I needs its regressors) or a matrix that is not square.

    **Reference:** Pukelsheim (2006), chapter 6.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.design_criterion(jnp.diag(jnp.array([4.0, 1.0])), "A"))
    1.25

    ```
    """
    information = jnp.asarray(information)
    check_square(information, "information")
    return _criterion_named(criterion).value(information)


def optimal_design(
    information_of_point: Callable,
    candidates: PyTree[ArrayLike],
    criterion: str | AbstractCriterion = "D",
    *,
    max_iterations: int = 256,
    throw: bool = True,
) -> OptimalDesign:
    r"""The best approximate design over candidate experiments.

    $$\max_w\; \phi\Big(\sum_i w_i M_i\Big), \qquad w_i \ge 0, \quad \sum_i w_i = 1$$

    A primal-dual interior-point method: Newton's steps on $-\log\phi$ with a logarithmic barrier, whose linear
    systems have the size of the information and not of the candidates. The result is certified by the equivalence
    theorem: the sensitivity of no candidate exceeds its bound by more than the `gap`.

    Weights, criterion and information differentiate implicitly in the candidates and in all that
    `information_of_point` holds, those of the criterion to every order. Where several optimal designs exist (equal
    candidates, or more support points than parameters of M), the weights are the ones that spread most and have no
    derivative; that of the criterion is a mean of its one-sided ones.

    **Arguments:** `information_of_point(candidate)`: the information of ONE observation, shape (d, d), of any rank;
    its symmetric part counts. `candidates`: stacked along axis 0 of every leaf. `criterion`: `"D"` (log-determinant),
    `"A"` (trace of the inverse), `"E"` (smallest eigenvalue), `"I"` (mean of $\operatorname{tr} M^{-1} M_i$ over the
    candidates: for a linear regression the mean variance of its predictions there), or an object with options:
    `DOptimality`, `AOptimality`, `EOptimality`, `IOptimality`. `max_iterations`: the limit on Newton's steps. `throw`:
    whether a failure raises.

    **Returns:** an `OptimalDesign`, with a relative gap below a tenth of the root of machine precision
    $\epsilon$ (E: $4 d\, \epsilon^{0.4}$), or $16 n \epsilon$ where that is larger.

    **Raises:** `ValueError` for another criterion or shapes that do not fit; with `throw`, an error for `nonfinite`
    (the information of some candidate), `singular_information` (all candidates together do not identify the
    parameters), `max_steps_reached` or `stalled` (the gap did not close).

    **Reference:** Kiefer & Wolfowitz (1960) and Pukelsheim (2006), section 7.14, for the certificate; Boyd &
    Vandenberghe (2004), sections 7.5 and 11.7.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def quadratic(x): return jnp.outer(x ** jnp.arange(3), x ** jnp.arange(3))
    >>> print(jnp.round(fl.optimal_design(quadratic, jnp.linspace(-1.0, 1.0, 5)).weights, 3))
    [0.333 0.    0.333 0.    0.333]

    ```
    """
    count_outcomes(candidates, "candidates")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, but is {max_iterations}.")
    contributions = _contributions(information_of_point, candidates)
    if isinstance(criterion, str) and criterion == "I":
        criterion = MeanInformation(jnp.mean(contributions, axis=0))
    return raise_unless_successful(_solve(contributions, _criterion_named(criterion), max_iterations), throw)


def _criterion_named(criterion) -> AbstractCriterion:
    if isinstance(criterion, AbstractCriterion):
        return criterion
    if isinstance(criterion, str) and criterion in CRITERIA:
        return CRITERIA[criterion]()
    raise ValueError(
        f"criterion must be 'D', 'A', 'E' or an object such as IOptimality(regressors), but is {criterion!r}."
    )


def _contributions(information_of_point, candidates) -> Float[Array, "n d d"]:
    """The information of each candidate; a `ValueError` where it is no square matrix of real numbers."""
    matrices = jax.vmap(information_of_point)(jax.tree_util.tree_map(jnp.asarray, candidates))
    shape = getattr(matrices, "shape", None)
    if shape is None or len(shape) != 3 or shape[1] != shape[2] or not jnp.issubdtype(matrices.dtype, jnp.floating):
        raise ValueError(
            "information_of_point must return one real matrix of shape (d, d) for one candidate, but the matrices "
            f"of all candidates came as {jax.eval_shape(lambda: matrices)}."
        )
    return 0.5 * (matrices + jnp.swapaxes(matrices, 1, 2))


class _Problem(eqx.Module):
    r"""Minimise $f(w) = -\log\phi(M(w)) + \sum_i w_i - \mu \sum_i \log w_i$ over $w > 0$.

    As $\phi$ has degree one, the minimum has the sum $1 + n\mu$ by itself: the simplex needs no multiplier.
    """

    contributions: Float[Array, "n d d"]
    criterion: AbstractCriterion
    barrier: Float[Array, ""]

    def information(self, weights):
        return jnp.einsum("n,nij->ij", weights, self.contributions)

    def objective(self, weights):
        loss = self.criterion.loss(self.information(weights), self.barrier)
        return loss + jnp.sum(weights) - self.barrier * jnp.sum(jnp.log(weights))

    def gains(self, weights):
        gradient = self.criterion.gradient(self.information(weights), self.barrier)
        return jnp.einsum("ij,nij->n", gradient, self.contributions)

    def slope(self, weights):
        return 1.0 - self.gains(weights) - self.barrier / weights

    def curvature_solver(self, weights, slack):
        """The solver of $(U U^\\top + s / w)\\, x = r$: the residual of a least-squares problem in U's columns.

        Its orthogonal factor serves, for the normal equations would square a condition that grows as $1 / \\mu$.
        """
        factor = self.criterion.curvature(self.information(weights), self.contributions, self.barrier)
        scaling = jnp.sqrt(weights / slack)
        unit = jnp.eye(factor.shape[1], dtype=factor.dtype)
        columns = jnp.concatenate([unit, scaling[:, None] * factor])
        basis = jnp.linalg.qr(columns)[0][factor.shape[1] :]

        def solve(right):
            right = scaling * right
            return scaling * (right - basis @ (basis.T @ right))

        return solve

    def hessian_solver(self, weights):
        return self.curvature_solver(weights, self.barrier / weights)


class _State(eqx.Module):
    """`slack`: the multipliers of $w \\ge 0$, near $\\mu / w$."""

    weights: Float[Array, " n"]
    slack: Float[Array, " n"]
    barrier: Float[Array, ""]
    decrement: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Array
    stalled: Array


@eqx.filter_jit
def _solve(contributions, criterion: AbstractCriterion, max_iterations: int) -> OptimalDesign:
    count, size = contributions.shape[:2]
    tolerance, barrier = _tolerance_and_barrier(contributions.dtype, criterion, count, size)
    barrier = jnp.asarray(barrier, contributions.dtype)
    problem = _Problem(contributions, criterion, barrier)
    fixed = frozen(problem)
    start = jnp.full(count, 1.0 / count, contributions.dtype)
    state = _search(fixed, start, max_iterations)
    weights = implicit_root(state.weights, problem, gradient=_Problem.slope, factor=_Problem.hessian_solver)
    weights = weights / jnp.sum(weights)
    information = problem.information(weights)
    bound = criterion.bound(information)
    sensitivity = criterion.scale(information) * problem.gains(weights)
    gap = jnp.max(sensitivity) - bound
    result = first_failure(
        (~jnp.all(jnp.isfinite(contributions)), RESULTS.nonfinite),
        (~jnp.all(jnp.isfinite(definite_factor(fixed.information(start)))), RESULTS.singular_information),
        (~(gap <= tolerance * bound) & ~state.converged & ~state.stalled, RESULTS.max_steps_reached),
        (~(gap <= tolerance * bound), RESULTS.stalled),
    )
    return OptimalDesign(
        weights=weights,
        information=information,
        criterion_value=criterion.value(information),
        sensitivity=sensitivity,
        gap=gap,
        efficiency_bound=bound / jnp.max(sensitivity),
        iterations=state.iterations,
        result=result,
    )


def _tolerance_and_barrier(dtype, criterion: AbstractCriterion, count: int, size: int) -> tuple[float, float]:
    """The relative gap to be reached, and the last barrier: it leaves a gap of `count` times itself."""
    eps = float(jnp.finfo(dtype).eps)
    tolerance = 4.0 * size * eps**0.4 if isinstance(criterion, EOptimality) else 0.1 * eps**0.5
    barrier = max(0.1 * tolerance / count, 8.0 * eps)
    return max(tolerance, 2.0 * count * barrier), barrier


def _search(problem: _Problem, start, max_iterations: int) -> _State:
    """The central path from the uniform design, the barrier lowered whenever a step is short, down to its end."""
    final = problem.barrier

    def advance(state: _State) -> _State:
        at = eqx.tree_at(lambda p: p.barrier, problem, state.barrier)
        weights, slack, decrement, accepted = _step(at, state.weights, state.slack)
        central = accepted & (decrement < 0.3)
        lower = jnp.maximum(final, 0.2 * state.barrier)
        settled = (decrement < 1e-6) | (decrement > 0.5 * state.decrement)
        converged = central & settled & (state.barrier <= final)
        barrier = jnp.where(central, lower, state.barrier)
        return _State(weights, slack, barrier, decrement, state.iterations + 1, converged, ~accepted)

    no = jnp.array(False)
    first = jnp.asarray(0.1, start.dtype) / start.shape[0]
    state = _State(start, first / start, first, first, jnp.array(0), no, no)
    state = lax.while_loop(lambda s: ~s.converged & ~s.stalled & (s.iterations < max_iterations), advance, state)
    return state


def _step(problem: _Problem, weights, slack):
    """One Newton step on $1 - g - s = 0$, $w s = \\mu$, shortened until it lowers the objective.

    Returns weights, multipliers, the largest relative change asked of a weight, and whether a length was found.
    """
    barrier, eps = problem.barrier, float(jnp.finfo(weights.dtype).eps)
    slope = problem.slope(weights)
    change = problem.curvature_solver(weights, slack)(-slope)
    slack_change = (barrier - slack * (weights + change)) / weights
    reach = 0.995 / jnp.maximum(0.995, jnp.max(-change / weights))
    lengths = reach * 0.5 ** jnp.arange(12, dtype=weights.dtype)
    value = problem.objective(weights)
    trials = lax.map(lambda length: problem.objective(weights + length * change), lengths)
    enough = trials <= value + 1e-4 * lengths * (slope @ change) + 8.0 * eps * (jnp.abs(value) + 1.0)
    accepted, length = jnp.any(enough), lengths[jnp.argmax(enough)]
    moved = jnp.where(accepted, weights + length * change, weights)
    slack_reach = 0.995 / jnp.maximum(0.995, jnp.max(-slack_change / slack))
    centre = barrier / moved
    slack = jnp.clip(slack + slack_reach * slack_change, 1e-6 * centre, 1e6 * centre)
    return moved, slack, -(slope @ change) / barrier, accepted
