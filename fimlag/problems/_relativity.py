"""Orbits around a black hole."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag.geometry import Metric
from fimlag.mechanics import NaturalLagrangian


class Schwarzschild(eqx.Module):
    r"""Free fall in the equatorial plane of a black hole, by proper time, between a perihelion and an aphelion.

    $$L = \tfrac12 \Big(-\big(1 - \tfrac{2M}{r}\big)\, \dot t^2 + \frac{\dot r^2}{1 - 2M/r} + r^2 \dot \phi^2\Big)$$

    The coordinates are $(t, r, \phi)$, in units in which gravity and light have the constant 1. In $u = 1/r$ the
    orbit solves $u'(\phi)^2 = 2M (u - u_1)(u_2 - u)(u_3 - u)$ with $u_1 + u_2 + u_3 = 1 / (2M)$.

    **Arguments:** `mass` M; `perihelion`, `aphelion`: the least and the greatest r of a bound orbit.

    **Reference:** Misner, Thorne & Wheeler (1973), section 25.5; Wald (1984), eq. 6.3.37.
    """

    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    perihelion: Float[Array, ""] = eqx.field(default=20.0, converter=jnp.asarray)
    aphelion: Float[Array, ""] = eqx.field(default=30.0, converter=jnp.asarray)

    @property
    def lagrangian(self) -> NaturalLagrangian:
        """The Lagrangian, of a metric that is not definite."""
        return NaturalLagrangian(Metric(_SchwarzschildMetric(self.mass)))

    def start(self) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
        """Point and velocity at the perihelion."""
        energy, momentum = self._integrals()
        zero = jnp.zeros_like(self.perihelion)
        clock = energy / (1 - 2 * self.mass / self.perihelion)
        return jnp.stack([zero, self.perihelion, zero]), jnp.stack([clock, zero, momentum / self.perihelion**2])

    def revolution(self) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        r"""Proper time, time and angle from one perihelion to the next.

        $$\Delta \phi = \int_0^\pi \frac{2\, d\psi}{\sqrt{2 M (u_3 - u)}}, \quad
        \frac{d\tau}{d\phi} = \frac{1}{\ell u^2}, \quad \frac{dt}{d\tau} = \frac{E}{1 - 2 M u}, \quad
        u = \tfrac12 (u_1 + u_2) + \tfrac12 (u_2 - u_1) \cos \psi$$

        by the midpoint rule, which converges geometrically for a periodic integrand.
        """
        energy, momentum = self._integrals()
        u1, u2, u3 = self._roots()
        psi = jnp.asarray((np.arange(128) + 0.5) * np.pi / 128, u1.dtype)
        u = (u1 + u2) / 2 + (u2 - u1) / 2 * jnp.cos(psi)
        angles = 2 * jnp.pi / 128 / jnp.sqrt(2 * self.mass * (u3 - u))
        proper = angles / (momentum * u**2)
        return jnp.sum(proper), jnp.sum(proper * energy / (1 - 2 * self.mass * u)), jnp.sum(angles)

    def leading_precession(self) -> Float[Array, ""]:
        r"""Einstein's advance of the perihelion in a revolution, $6 \pi M / (a (1 - e^2))$, for distant orbits."""
        return 3 * jnp.pi * self.mass * (1 / self.perihelion + 1 / self.aphelion)

    def _roots(self):
        u1, u2 = 1 / self.aphelion, 1 / self.perihelion
        return u1, u2, 1 / (2 * self.mass) - u1 - u2

    def _integrals(self):
        """Energy and angular momentum of a unit mass."""
        u1, u2, u3 = self._roots()
        momentum = jnp.sqrt(1 / (u1 * u2 + u1 * u3 + u2 * u3))
        return jnp.sqrt(1 - 2 * self.mass * u1 * u2 * u3 * momentum**2), momentum


class _SchwarzschildMetric(eqx.Module):
    mass: Float[Array, ""]

    def __call__(self, q):
        slowing = 1 - 2 * self.mass / q[1]
        return jnp.diag(jnp.stack([-slowing, 1 / slowing, q[1] ** 2]))
