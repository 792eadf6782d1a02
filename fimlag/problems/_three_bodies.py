"""Three equal bodies on one curve."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag.geometry import EuclideanMetric
from fimlag.mechanics import NaturalLagrangian

# Simó's numbers, as Chenciner and Montgomery print them.
_OUTER = (0.97000436, -0.24308753)
_MIDDLE = (-0.93240737, -0.86473146)


class FigureEight(eqx.Module):
    r"""Three equal bodies that chase each other along a figure of eight, drawn together by gravity.

    $$L = \tfrac12 \sum_i v_i \cdot v_i + \sum_{i<j} \frac{1}{|q_i - q_j|}$$

    **Attributes:** `period`, 6.32591398.

    **Reference:** Chenciner & Montgomery (2000), section 1, with the numbers of Simó.
    """

    period: float = eqx.field(static=True, default=6.32591398)

    @property
    def lagrangian(self) -> NaturalLagrangian:
        """The Lagrangian on arrays of shape (3, 2)."""
        return NaturalLagrangian(EuclideanMetric(1.0), _three_body_potential)

    def start(self) -> tuple[Float[Array, "3 2"], Float[Array, "3 2"]]:
        """Points and velocities, to eight digits, with the third body at the centre."""
        outer, middle = np.array(_OUTER), np.array(_MIDDLE)
        points = np.stack([outer, -outer, np.zeros(2)])
        return jnp.asarray(points), jnp.asarray(np.stack([-middle / 2, -middle / 2, middle]))


def _three_body_potential(q):
    sides = q - jnp.roll(q, 1, axis=0)
    return -jnp.sum(1 / jnp.sqrt(jnp.sum(sides**2, axis=1)))
