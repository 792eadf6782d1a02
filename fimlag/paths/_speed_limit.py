"""Speed limits: how fast the mean of a statistic can change, and how long a change takes."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.information import AbstractModel
from fimlag.information.families._family import root
from fimlag.paths._path import Path
from fimlag.paths._statistics_along import statistics_along


class SpeedLimit(AbstractSolution):
    r"""The rates of k statistics along a path beside the most that they can be, at n times and in all.

    **Attributes:** `times`, `weights` (n,): of quadrature; `rate` (n, k): d<A>/dt; `deviation` (n, k): the standard
    deviation of A; `speed` (n,): in the Fisher metric, per unit of time; `bound` (n, k): `deviation` times `speed`,
    never below the size of `rate`; `efficiency` (n, k): the size of `rate` over `bound`, the correlation of A with
    the score, NaN where nothing moves or varies; `change`, `reach` (k,): the integrals of `rate` and of `bound`;
    `duration`, `length`, `action`, `least_duration`, shape (): of the interval, in the Fisher metric, of the Fisher
    Lagrangian, and length^2 / (2 action), never above `duration`; `result`: a `RESULTS` member.
    """

    times: Float[Array, " n"]
    weights: Float[Array, " n"]
    rate: Float[Array, "n k"]
    deviation: Float[Array, "n k"]
    speed: Float[Array, " n"]
    result: RESULTS

    @property
    def bound(self) -> Float[Array, "n k"]:
        """The most that each rate can be."""
        return self.deviation * self.speed[:, None]

    @property
    def efficiency(self) -> Float[Array, "n k"]:
        """How much of the bound is used."""
        return jnp.where(self.bound > 0.0, jnp.abs(self.rate) / jnp.where(self.bound > 0.0, self.bound, 1.0), jnp.nan)

    @property
    def change(self) -> Float[Array, " k"]:
        """The change of each mean from start to end."""
        return self.weights @ self.rate

    @property
    def reach(self) -> Float[Array, " k"]:
        """The most that each mean could have changed."""
        return self.weights @ self.bound

    @property
    def duration(self) -> Float[Array, ""]:
        """The time that the path takes."""
        return jnp.sum(self.weights)

    @property
    def length(self) -> Float[Array, ""]:
        """The length in the Fisher metric."""
        return self.weights @ self.speed

    @property
    def action(self) -> Float[Array, ""]:
        """The action of the Fisher Lagrangian."""
        return 0.5 * self.weights @ self.speed**2

    @property
    def least_duration(self) -> Float[Array, ""]:
        """The least time in which that length can be passed with that action: the duration, at constant speed."""
        return jnp.where(self.action > 0.0, self.length**2 / jnp.where(self.action > 0.0, 2.0 * self.action, 1.0), 0.0)


def speed_limit(
    model: AbstractModel,
    path: Path | Callable | Float[Array, "knots ..."],
    statistics: Callable,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 8,
    points: int = 8,
    throw: bool = True,
) -> SpeedLimit:
    r"""The Cramer-Rao speed limit of statistics along a path of distributions, and the least time for its length.

    $$\Big| \frac{\mathrm d \langle A \rangle}{\mathrm d t} \Big| \leq \sqrt{\mathrm{Var}\, A}\;
    \sqrt{\dot\theta^\top F \dot\theta}, \qquad
    \tau \geq \frac{L^2}{2 S}, \quad L = \int \sqrt{\dot\theta^\top F \dot\theta}\, dt, \quad
    S = \tfrac12 \int \dot\theta^\top F \dot\theta\, dt$$

    Both are Cauchy's and Schwarz's inequality, and the quadrature keeps them. They hold for any path of distributions,
    physical or not: for a jump process $\dot p = W p$ take `families.Categorical` and the path of its probabilities.
    They are not the bound of optimal transport: that is in the Wasserstein metric (`BuresMetric`).

    **Arguments:** as for `explained_action`. Where the speed vanishes between the ends its integrand has a corner: let
    an element end there.

    **Returns:** a `SpeedLimit`.

    **Raises:** as `explained_action`.

    **Reference:** Crooks (2007); Ito (2018); Ito & Dechant (2020); Nicholson, Garcia-Pintos, del Campo & Green (2020).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> limit = fl.speed_limit(fl.families.Poisson(), lambda t: (1.0 + t) ** 2, lambda x: x)    # the mean: efficient
    >>> print(f"{limit.change[0]:.6f} {limit.reach[0]:.6f} {limit.length:.6f} {limit.least_duration:.6f}")
    3.000000 3.000000 2.000000 1.000000

    ```
    """
    found = statistics_along(model, path, statistics, t0, t1, elements, points)
    limit = SpeedLimit(
        times=found.along.times,
        weights=found.along.weights,
        rate=found.rate,
        deviation=root(jnp.diagonal(found.covariance, axis1=1, axis2=2)),
        speed=root(found.square),
        result=found.result,
    )
    return raise_unless_successful(limit, throw)
