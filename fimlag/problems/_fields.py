"""Particles in fields: magnetic, accelerating, gravitating."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike


class MagneticField(eqx.Module):
    r"""A charged particle in a plane across a uniform magnetic field, in two gauges.

    $$L = \tfrac m2\, v \cdot v + A(q) \cdot v, \qquad
    A = \tfrac B2 (-q_2,\ q_1) \quad \text{or} \quad B\, (-q_2,\ 0)$$

    The object is itself the Lagrangian, a callable `(t, q, v) -> scalar` on vectors of shape (2,).

    **Arguments:** `strength` B, the charge times the field; `mass` m; `gauge`: `"symmetric"` or `"landau"`, whose
    potentials differ by the gradient of $\tfrac B2 q_1 q_2$.

    **Raises:** `ValueError` for any other gauge.

    **Reference:** Landau & Lifshitz (1975), sections 16-21.
    """

    strength: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    gauge: Literal["symmetric", "landau"] = eqx.field(default="symmetric", static=True)

    def __check_init__(self):
        if self.gauge not in ("symmetric", "landau"):
            raise ValueError(f'gauge must be "symmetric" or "landau", but is {self.gauge!r}.')

    def __call__(self, t: RealScalarLike, q: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        circulation = (q[0] * v[1] - q[1] * v[0]) / 2 if self.gauge == "symmetric" else -q[1] * v[0]
        return self.mass / 2 * (v @ v) + self.strength * circulation

    def solution(self, t: RealScalarLike, q0: Float[Array, "2"], v0: Float[Array, "2"]) -> Float[Array, "2"]:
        r"""The circle at the cyclotron frequency $\omega = B / m$, run through clockwise; a line without a field."""
        angle = self.strength / self.mass * t
        sine = t * jnp.sinc(angle / jnp.pi)
        rest = t * jnp.sin(angle / 2) * jnp.sinc(angle / (2 * jnp.pi))
        return q0 + jnp.stack([sine * v0[0] + rest * v0[1], sine * v0[1] - rest * v0[0]])


class RelativisticParticle(eqx.Module):
    r"""A relativistic particle in the plane, drawn along the first axis by a uniform force.

    $$L = -m c^2 \sqrt{1 - v \cdot v / c^2} + F q_1$$

    The object is itself the Lagrangian, a callable `(t, q, v) -> scalar` on vectors of shape (2,).

    **Arguments:** `mass` m; `light` c; `force` F.

    **Reference:** Landau & Lifshitz (1975), section 20.
    """

    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    light: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    force: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def __call__(self, t: RealScalarLike, q: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        rest = self.mass * self.light**2
        return -rest * jnp.sqrt(1 - v @ v / self.light**2) + self.force * q[0]

    def solution(self, t: RealScalarLike, q0: Float[Array, "2"], v0: Float[Array, "2"]) -> Float[Array, "2"]:
        r"""The catenary of uniform acceleration; NaN without a force.

        With the momentum p at the start, $p_1(t) = p_1 + F t$ and the energy
        $\mathcal E = \sqrt{m^2 c^4 + c^2 p^2}$,

        $$q_1 - q_{1,0} = \frac{\mathcal E(t) - \mathcal E(0)}{F}, \qquad q_2 - q_{2,0} = \frac{c\, p_2}{F}
        \Big[\operatorname{arsinh} \frac{c\, p_1}{\sqrt{m^2 c^4 + c^2 p_2^2}}\Big]_0^t$$
        """
        c, force = self.light, self.force
        p = self.mass * v0 / jnp.sqrt(1 - v0 @ v0 / c**2)
        late = p[0] + force * t
        across = jnp.hypot(self.mass * c, p[1])
        # A difference of equal energies would cancel: by its conjugate it does not.
        energies = c * (jnp.hypot(across, late) + jnp.hypot(across, p[0]))
        along = c**2 * t * (late + p[0]) / energies
        turn = jnp.arcsinh(late / across) - jnp.arcsinh(p[0] / across)
        return q0 + jnp.stack([along, c * p[1] / force * turn])
