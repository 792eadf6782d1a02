"""The share of the Fisher action along a path that chosen statistics see."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.information import AbstractModel
from fimlag.paths._path import Path
from fimlag.paths._statistics_along import statistics_along


class ExplainedAction(AbstractSolution):
    r"""How much of the Fisher action along a path k statistics see, at n times and in all.

    **Attributes:** `times`, `weights` (n,): of quadrature; `action` (n,): the rate of the Fisher action,
    $\dot\theta^\top F \dot\theta / 2$ (per unit of time); `seen` (n,): the part of it that the statistics see; `share`
    (n,): `seen / action`, NaN where nothing moves; `total`, shape (): the share of the whole; `rate` (n, k): the rates
    of change of the statistics' means; `covariance` (n, k, k): of the statistics; `rank` (n,): how many of them were
    used, those left out repeat others or are constant; `standard_error` (n,): of the share by a random rule, 0 for an
    exact one; `result`: a `RESULTS` member.
    """

    times: Float[Array, " n"]
    weights: Float[Array, " n"]
    action: Float[Array, " n"]
    seen: Float[Array, " n"]
    rate: Float[Array, "n k"]
    covariance: Float[Array, "n k k"]
    rank: Int[Array, " n"]
    standard_error: Float[Array, " n"]
    result: RESULTS

    @property
    def share(self) -> Float[Array, " n"]:
        """The variance explained at each time, NaN where nothing moves."""
        return _share(self.seen, self.action)

    @property
    def total(self) -> Float[Array, ""]:
        """The integral of the action seen over that of the action."""
        return _share(self.weights @ self.seen, self.weights @ self.action)


def explained_action(
    model: AbstractModel,
    path: Path | Callable | Float[Array, "knots ..."],
    statistics: Callable,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 8,
    points: int = 8,
    throw: bool = True,
) -> ExplainedAction:
    r"""The share of the Fisher action along a path that statistics see: their multiple correlation with the score.

    $$R^2(A) = \mathrm{corr}^2(A, \dot\ell) = \frac{c^\top \Sigma^{-1} c}{\dot\theta^\top F(\theta)\, \dot\theta},
    \qquad c = \frac{\mathrm d \langle A \rangle}{\mathrm d t} = \mathrm{Cov}(A, \dot\ell), \quad
    \Sigma = \mathrm{Cov}(A), \quad \dot\ell = \dot\theta \cdot \nabla_\theta \log p(x | \theta)$$

    It is the share of the variance of the score that a regression on the statistics explains, so between 0 and 1, and
    exactly 1 for every path where the statistics are those of an exponential family (complete and sufficient), or span
    the score along this path. That it is at most 1 is the bound of Cramer and Rao along the path, see `speed_limit`.

    Share and mean square are taken with one set of weights, so that the bounds hold to round-off. k statistics of a
    random sample of n outcomes explain k / n of it by chance.

    **Arguments:** `model`: of ONE observation, a family or a `StatisticalModel` whose rule follows its density;
    `path`, `t0`, `t1`, `elements`, `points`: as for `action`, through its parameters; `statistics(x)`: of ONE
    outcome, a number, a vector or a tree of them; a singular covariance is met by leaving out, in order, each statistic
    of whose variance less than eps^(2/3) is its own: `rank` tells; `throw`: whether a failure raises.

    **Returns:** an `ExplainedAction`.

    **Raises:** `TypeError` for a model without such a rule, or statistics that are not real; results as for
    `fisher_estimate` without its audit, the gravest at any time, and `unresolved_statistic`, where the mean square of a
    statistic or its product with the score is not resolved or infinite; `empty_interval`.

    **Reference:** Crooks (2007) for the action; Ito & Dechant (2020) and Nicholson, Garcia-Pintos, del Campo & Green
    (2020) for the bound.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> path = lambda t: jnp.stack([t, 1.0 + t])
    >>> for statistics in (lambda x: x, lambda x: (x, x**2)):
    ...     print(jnp.round(fl.explained_action(fl.families.Normal(), path, statistics).total, 9))
    0.333333333
    1.0

    ```
    """
    found = statistics_along(model, path, statistics, t0, t1, elements, points)
    solution = ExplainedAction(
        times=found.along.times,
        weights=found.along.weights,
        action=0.5 * found.square,
        seen=0.5 * found.square * jnp.maximum(1.0 - found.missed, 0.0),
        rate=found.rate,
        covariance=found.covariance,
        rank=found.rank,
        standard_error=found.standard_error,
        result=found.result,
    )
    return raise_unless_successful(solution, throw)


def _share(part, whole):
    return jnp.where(whole > 0.0, part / jnp.where(whole > 0.0, whole, 1.0), jnp.nan)
