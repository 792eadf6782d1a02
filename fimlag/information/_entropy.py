"""Entropy and cross entropy of a model."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import Coordinates
from fimlag.information._divergence_estimate import DivergenceEstimate
from fimlag.information._divergence_parts import concluded_divergence, density_pair, rule_name, sum_over_parts
from fimlag.information._model import AbstractModel
from fimlag.information.families._exponential_family import ExponentialFamily


def entropy(model: AbstractModel, theta: Coordinates) -> Float[Array, ""]:
    r"""The entropy of one observation: Shannon's of a discrete model, the differential one of a density.

    $$h(\theta) = -\mathrm{E}_\theta[\ell(\theta, x)]$$

    **Arguments:** `model`: a family, a `StatisticalModel`, or a product or regression of them, whose entropies add.
    `theta`: its parameters.

    **Returns:** the entropy (nats), shape (); a differential entropy may be negative. NaN where the rule fails:
    `divergence_estimate(fl.entropy, model, theta)` tells why.

    **Raises:** `TypeError` for a model without expectations, such as one of observed data.

    **Reference:** Shannon (1948), sections 6 and 20; Cover & Thomas (2006), eq. 8.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(jnp.round(fl.entropy(fl.families.Exponential().model, 0.5), 9), jnp.round(1.0 + jnp.log(2.0), 9))
    1.693147181 1.693147181

    ```
    """
    return entropy_estimate(model, theta).checked_value


def cross_entropy(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""The cross entropy: the mean code length of outcomes of the first density under the second.

    $$h(\theta_0, \theta_1) = -\mathrm{E}_0[\ell(\theta_1, x)] = h(\theta_0) + \mathrm{KL}(p_0 \Vert p_1)$$

    **Arguments:** `model`: as for `entropy`; `theta0`, `theta1`: parameters in one structure.

    **Returns:** the cross entropy (nats), shape (); NaN where the rule fails.

    **Raises:** `ValueError` where the parameters differ in structure; `TypeError` as for `entropy`.

    **Reference:** Good (1963), section 2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(jnp.round(fl.cross_entropy(fl.families.Exponential().model, 0.5, 1.0), 9))
    2.0

    ```
    """
    return cross_entropy_estimate(model, theta0, theta1).checked_value


def entropy_estimate(model, theta) -> DivergenceEstimate:
    """The entropy with its error and result."""
    return cross_entropy_estimate(model, theta, theta)


def cross_entropy_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """The cross entropy with its error and result."""

    def of_density(density, theta0, theta1):
        closed = density.closed_cross_entropy(theta0, theta1) if isinstance(density, ExponentialFamily) else None
        if closed is not None:
            return closed
        pair = density_pair(density, theta0, theta1)
        sums = pair.sums(lambda log_ratio, base: (-(log_ratio + base), jnp.ones_like(base)))
        code_length, mass = sums.mean
        return concluded_divergence(
            pair,
            value=code_length,
            error=pair.errors(sums)[0],
            sums=sums,
            mass=mass,
            resolution=sums.resolution[0],
            unresolved=sums.tail[0] > float(jnp.finfo(mass.dtype).eps) ** 0.5,
            few=jnp.asarray(False),
            name=rule_name(density),
        )

    return sum_over_parts(model, theta0, theta1, of_density)
