"""Chaplygin's sleigh: a blade that keeps its heading."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.mechanics import Nonholonomic


class ChaplyginSleigh(eqx.Module):
    r"""A body on ice, its blade set a distance behind the centre of mass.

    $$L = \tfrac m2 |\dot x + a\, \dot \theta\, (-\sin \theta, \cos \theta)|^2 + \tfrac J2 \dot \theta^2, \qquad
    \dot x_2 \cos \theta - \dot x_1 \sin \theta = 0$$

    The coordinates are those of the blade and the heading, $(x_1, x_2, \theta)$. With the speed u along the blade
    the equations reduce to $\dot u = a\, \dot \theta^2$, $(J + m a^2)\, \ddot \theta = -m a u\, \dot \theta$.

    **Arguments:** `mass` m; `inertia` J about the centre of mass; `offset` a.

    **Reference:** Chaplygin (1911); Bloch (2003), section 1.7; Neimark & Fufaev (1972), section III.3.
    """

    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    inertia: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    offset: Float[Array, ""] = eqx.field(default=0.5, converter=jnp.asarray)

    @property
    def lagrangian(self) -> Nonholonomic:
        """The system with its constraint."""
        return Nonholonomic(_SleighEnergy(self.mass, self.inertia, self.offset), _blade)

    def start(self, speed: RealScalarLike, spin: RealScalarLike) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """Point and velocity at the origin, heading along the first axis."""
        speed, spin = jnp.asarray(speed), jnp.asarray(spin)
        return jnp.zeros(3, speed.dtype), jnp.stack([speed, jnp.zeros_like(speed), spin])

    def solution(self, t: RealScalarLike, speed: RealScalarLike, spin: RealScalarLike) -> Float[Array, "3"]:
        r"""The point a time `t` after that start.

        With $\kappa^2 = (J + m a^2) / m$, $c^2 = u_0^2 + \kappa^2 \dot\theta_0^2$ and
        $s = a c\, t / \kappa^2 + \operatorname{artanh}(u_0 / c)$,

        $$u = c \tanh s, \qquad \dot \theta = \frac{c}{\kappa \cosh s}, \qquad
        \theta = \frac{\kappa}{a} \big[\operatorname{gd}\big]_{s_0}^s, \qquad
        x = \int_0^t u\, (\cos \theta, \sin \theta)\, dt$$

        The integral is by Gauss quadrature with 64 points, for durations of a few turns.
        """
        speed, spin = jnp.asarray(speed), jnp.asarray(spin)
        kappa = jnp.sqrt(self.inertia / self.mass + self.offset**2)
        total = jnp.hypot(speed, kappa * spin)
        begin, pace = jnp.arctanh(speed / total), self.offset * total / kappa**2

        def heading(t):
            turned = jnp.arctan(jnp.sinh(begin + pace * t)) - jnp.arctan(jnp.sinh(begin))
            return jnp.sign(spin) * kappa / self.offset * turned

        nodes, weights = np.polynomial.legendre.leggauss(64)
        times = t * jnp.asarray((1 + nodes) / 2, total.dtype)
        lengths = t * jnp.asarray(weights / 2, total.dtype) * total * jnp.tanh(begin + pace * times)
        angles = heading(times)
        return jnp.stack([lengths @ jnp.cos(angles), lengths @ jnp.sin(angles), heading(t)])


class _SleighEnergy(eqx.Module):
    mass: Float[Array, ""]
    inertia: Float[Array, ""]
    offset: Float[Array, ""]

    def __call__(self, t, q, v):
        centre = v[:2] + self.offset * v[2] * jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2])])
        return self.mass / 2 * (centre @ centre) + self.inertia / 2 * v[2] ** 2


def _blade(q):
    return jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2]), jnp.zeros_like(q[2])])[None]
