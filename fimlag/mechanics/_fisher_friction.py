"""Friction in the Fisher metric: what it costs to become another distribution."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.geometry import FisherMetric
from fimlag.information import AbstractModel
from fimlag.mechanics._forces import RayleighForce, rayleigh


class FisherDissipation(eqx.Module):
    r"""Rayleigh's function of friction in the Fisher metric, $R = \tfrac\gamma2\, v \cdot I(\theta)\, v$."""

    metric: FisherMetric
    coefficient: Callable | RealScalarLike

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        square = self.metric.quadratic(q, v)
        coefficient = self.coefficient(q) if callable(self.coefficient) else self.coefficient
        return 0.5 * jnp.asarray(coefficient, square.dtype) * square


def fisher_friction(model: AbstractModel, coefficient: Callable | RealScalarLike = 1.0) -> RayleighForce:
    r"""Friction in proportion to the Fisher information: the force of Rayleigh's function $\gamma\, v \cdot I v / 2$.

    $$Q = -\gamma(\theta)\, I(\theta)\, v, \qquad \dot E = -2 R = -\gamma\, v^\top I(\theta)\, v$$

    The energy lost on a path is TWICE the action of the free `FisherLagrangian` times $\gamma$, and in a time $\tau$
    never below $\gamma L^2 / \tau$ with L the Fisher length passed. It is the friction of a system only where that has
    one relaxation time: slow driving has the Fisher metric times relaxation times for its friction, and fast driving
    of an overdamped particle is bounded by the Wasserstein length in place of Fisher's.

    **Arguments:** `model`: a statistical model whose expectation is one smooth function of theta; `coefficient`:
    $\gamma$, a number or a function of theta to one (energy times time: the kinetic energy's unit over that of time
    for a `FisherLagrangian`).

    **Returns:** a force `(t, q, v)`, covariant, for `Forced`; its `dissipation` is R.

    **Raises:** `TypeError` for a model with a plain `MonteCarlo` rule, as `FisherMetric` does.

    **Reference:** Rayleigh (1873); Crooks (2007); Sivak & Crooks (2012).

    ```python
    >>> import fimlag as fl
    >>> coin = fl.families.Bernoulli()
    >>> braked = fl.Forced(fl.FisherLagrangian(coin), fl.fisher_friction(coin, 0.5))
    >>> float(fl.power(braked, 0.0, 0.5, 1.0))
    -2.0

    ```
    """
    kept = as_field(coefficient) if callable(coefficient) else coefficient
    return rayleigh(FisherDissipation(FisherMetric(model), kept))
