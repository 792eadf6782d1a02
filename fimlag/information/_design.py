"""Optimal design: which experiments to make, and how often each."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact, Int, PyTree

from fimlag._compiled import compiled
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag.information._criteria import (
    AbstractCriterion,
    AOptimality,
    DOptimality,
    EOptimality,
    MeanInformation,
)
from fimlag.information._definite import as_square, definite_factor
from fimlag.information._interior_point import DesignProblem, central_path
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

    **Returns:** the criterion, shape (); NaN where D, A or I, or the derivative of E, has no positive definite matrix.

    **Raises:** `ValueError` for another criterion (I needs its regressors) or a matrix that is not square.

    **Reference:** Pukelsheim (2006), chapter 6.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.design_criterion(jnp.diag(jnp.array([4.0, 1.0])), "A"))
    1.25

    ```
    """
    information = as_square(information, "information")
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
    >>> def quadratic(x): return jnp.outer(x ** jnp.arange(3.0), x ** jnp.arange(3.0))
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


@compiled
def _solve(contributions, criterion: AbstractCriterion, max_iterations: int) -> OptimalDesign:
    count, size = contributions.shape[:2]
    tolerance, barrier = _tolerance_and_barrier(contributions.dtype, criterion, count, size)
    barrier = jnp.asarray(barrier, contributions.dtype)
    problem = DesignProblem(contributions, criterion, barrier)
    fixed = frozen(problem)
    start = jnp.full(count, 1.0 / count, contributions.dtype)
    state = central_path(fixed, start, max_iterations)
    weights = implicit_root(state.weights, problem, gradient=DesignProblem.slope, factor=DesignProblem.hessian_solver)
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
