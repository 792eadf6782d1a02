"""The normal family, a plane of constant curvature."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.geometry import AbstractMetric
from fimlag.mechanics import NaturalLagrangian


class NormalFisher(AbstractMetric):
    r"""The Fisher-Rao metric of the normal family by mean and standard deviation: a hyperbolic plane.

    $$\mathrm d s^2 = \frac{\mathrm d \mu^2 + 2\, \mathrm d \sigma^2}{\sigma^2}$$

    **Reference:** Atkinson & Mitchell (1981), section 6.
    """

    @property
    def chart(self) -> None:
        """None: the closed geodesics are in the coordinates given."""
        return None

    def __call__(self, q):
        return jnp.diag(jnp.asarray([1, 2], q.dtype)) / q[1] ** 2

    def quadratic(self, q, v):
        return (v[0] ** 2 + 2 * v[1] ** 2) / q[1] ** 2

    @property
    def lagrangian(self) -> NaturalLagrangian:
        """Half the squared speed, whose motions are the geodesics."""
        return NaturalLagrangian(self)

    def geodesic(self, t: RealScalarLike, q0: Float[Array, "2"], v0: Float[Array, "2"]) -> Float[Array, "2"]:
        r"""The point at time `t` on the geodesic with a point and velocity at time 0.

        In the half-plane $(\mu / \sqrt 2, \sigma)$ with the velocity at an angle $\phi$ to the boundary and
        $s = w t$, $w$ the hyperbolic speed,

        $$\sigma = \frac{\sigma_0}{\cosh s - \sin \phi \sinh s}, \qquad
        \mu = \mu_0 + \sqrt 2\, \sigma \cos \phi \sinh s$$
        """
        across, along = v0[0] / jnp.sqrt(2.0).astype(v0.dtype), v0[1]
        speed = jnp.hypot(across, along)
        s = speed / q0[1] * t
        sigma = q0[1] / (jnp.cosh(s) - along / speed * jnp.sinh(s))
        return jnp.stack([q0[0] + v0[0] / speed * sigma * jnp.sinh(s), sigma])
