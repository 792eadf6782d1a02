"""An oscillator whose stiffness swings."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike


class Mathieu(eqx.Module):
    r"""Mathieu's oscillator, whose stiffness depends on time.

    $$L = \tfrac12\, v \cdot v - \tfrac12 (a - 2 k \cos 2 t)\, q \cdot q$$

    The object is itself the Lagrangian, a callable `(t, q, v) -> scalar`; give it to explicit methods as
    `Separable(Mathieu(...))`. At the characteristic values of a a motion is periodic.

    **Arguments:** `stiffness` a; `swing` k.

    **Reference:** Abramowitz & Stegun (1972), eq. 20.1.1.
    """

    stiffness: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    swing: Float[Array, ""] = eqx.field(default=0.5, converter=jnp.asarray)

    def __call__(self, t: RealScalarLike, q: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        return (v @ v - (self.stiffness - 2 * self.swing * jnp.cos(2 * t)) * (q @ q)) / 2
