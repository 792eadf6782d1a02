"""Lagrangians born of probability."""

from collections.abc import Callable

from fimlag.geometry import FisherMetric
from fimlag.information import AbstractModel
from fimlag.mechanics._lagrangian import NaturalLagrangian


def FisherLagrangian(model: AbstractModel, potential: Callable | None = None) -> NaturalLagrangian:
    r"""The Lagrangian whose kinetic energy is half the Fisher information of the velocity.

    $$L(t, \theta, v) = \tfrac12\, v^\top I(\theta)\, v - V(\theta)$$

    Without a potential its motions are the Fisher-Rao geodesics, and its least action over a time $T$ is
    $d^2 / 2T$ with $d$ the Fisher-Rao distance.

    **Arguments:** `model`: a statistical model whose expectation is one smooth function of theta;
    `potential`: a scalar function of theta, or None.

    **Returns:** a `NaturalLagrangian`.

    **Raises:** `TypeError` for a model with a plain `MonteCarlo` rule, as `FisherMetric` does.

    **Reference:** Rao (1945); Amari & Nagaoka (2000), section 2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def log_likelihood(theta, x): return x * theta - jnp.log1p(jnp.exp(theta))
    >>> L = fl.FisherLagrangian(fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.array([0.0, 1.0]))))
    >>> round(float(L(0.0, 0.0, 2.0)), 12)
    0.5

    ```
    """
    return NaturalLagrangian(FisherMetric(model), potential)
