"""The Jensen-Shannon divergence."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import Coordinates
from fimlag.information._conditional import ConditionalModel
from fimlag.information._divergence_estimate import DivergenceEstimate
from fimlag.information._divergence_parts import concluded_divergence, density_pair, rule_name
from fimlag.information._model import AbstractModel
from fimlag.information._product import ProductModel
from fimlag.information._scaled_gap import FARTHEST, lost, near_wins


def jensen_shannon_divergence(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""The Jensen-Shannon divergence: how much an outcome tells about which of two densities it came from.

    $$\mathrm{JS} = \tfrac12 \mathrm{KL}(p_0 \Vert m) + \tfrac12 \mathrm{KL}(p_1 \Vert m), \qquad
    m = \tfrac12 (p_0 + p_1)$$

    Far apart, each term is taken by the outcomes of its own density; the overlap $\int p_0 p_1 / (p_0 + p_1)\, dx$,
    seen by the outcomes of either, certifies that they see one another.

    **Arguments:** `model`: a family or a `StatisticalModel`. `theta0`, `theta1`: parameters in one structure.

    **Returns:** the divergence in nats, at most $\log 2$, shape (); a quarter of the others near the diagonal. NaN
    where the rule fails: `divergence_estimate` tells why.

    **Raises:** `ValueError` where the parameters differ in structure; `TypeError` for products and regressions, whose
    mixture is no sum over their parts, and for models without expectations.

    **Reference:** Lin (1991), eq. 3.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> coin = fl.families.Bernoulli().model
    >>> print(f"{fl.jensen_shannon_divergence(coin, 0.25, 0.75):.6f}")
    0.130812

    ```
    """
    return jensen_shannon_estimate(model, theta0, theta1).checked_value


def jensen_shannon_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """The Jensen-Shannon divergence with its error and result."""
    if isinstance(model, ProductModel | ConditionalModel):
        raise TypeError(
            f"The Jensen-Shannon divergence does not add over the parts of a {type(model).__name__}: give a "
            "StatisticalModel of the joint density, or take a divergence that adds, such as jeffreys_divergence."
        )
    vector, structure = flatten(theta0, "theta0")
    other = structure.flatten(theta1, "theta1").astype(vector.dtype)
    pair = density_pair(model, structure.unflatten(vector), structure.unflatten(other))
    back = pair.exchanged(jnp.asarray(True))
    there_sums, back_sums = pair.sums(_statistics), back.sums(_statistics)
    near = near_wins(pair, there_sums)
    value = jnp.where(near, there_sums.mean[0], 0.5 * (there_sums.mean[1] + back_sums.mean[1]))
    errors = pair.errors(there_sums), back.errors(back_sums)
    error = jnp.where(near, errors[0][0], 0.5 * jnp.hypot(errors[0][1], errors[1][1]))
    resolution = jnp.where(
        near, there_sums.resolution[0], jnp.maximum(there_sums.resolution[1], back_sums.resolution[1])
    )
    masses = jnp.stack([there_sums.mean[4], back_sums.mean[4]])
    tolerance = float(jnp.finfo(value.dtype).eps) ** 0.5
    overlap = lax.stop_gradient(jnp.abs(there_sums.mean[7] - back_sums.mean[7]))
    unseen = overlap > tolerance + 8.0 * jnp.hypot(errors[0][7], errors[1][7])
    return concluded_divergence(
        pair,
        value=value,
        error=error,
        sums=there_sums,
        mass=masses[jnp.argmax(jnp.abs(masses - 1.0))],
        resolution=resolution,
        few=jnp.asarray(False),
        unresolved=pair.exact & ~near & (unseen | lost(there_sums, value)),
        name=rule_name(model),
    )


def _statistics(d, _):
    """The near and the far form, in the order of those of the scaled gap, and the overlap."""
    bounded = jnp.clip(d, -FARTHEST, FARTHEST)
    half = 0.5 * bounded
    log_cosh = 0.5 * jnp.log1p(jnp.sinh(half) ** 2)
    near = jnp.exp(half) * (half * jnp.sinh(half) - log_cosh * jnp.cosh(half))
    far = math.log(2.0) - jax.nn.softplus(d)
    clipped = (bounded != d).astype(d.dtype)
    overlap = jax.nn.sigmoid(d)
    return near, far, jnp.expm1(bounded), clipped, jnp.ones_like(d), near**2, far**2, overlap
