"""The damped oscillator, three ways."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import LagrangianFn, RealScalarLike
from fimlag.mechanics import Forced, Herglotz, NaturalLagrangian, caldirola_kanai, rayleigh
from fimlag.problems._classical import HarmonicOscillator


class DampedOscillator(eqx.Module):
    r"""An oscillator whose velocity decays, as a force, in a growing Lagrangian, and by an accumulated action.

    $$\ddot q + \gamma \dot q + \omega^2 q = 0$$

    **Arguments:** `mass` m; `frequency` $\omega$ without damping; `rate` $\gamma$, less than $2 \omega$.

    **Reference:** Landau & Lifshitz (1976), section 25; Caldirola (1941); Herglotz (1930).
    """

    mass: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    frequency: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    rate: Float[Array, ""] = eqx.field(default=0.2, converter=jnp.asarray)

    @property
    def undamped(self) -> NaturalLagrangian:
        """The Lagrangian without the damping."""
        return HarmonicOscillator(self.mass, self.frequency).lagrangian

    @property
    def forced(self) -> Forced:
        r"""The force of Rayleigh's dissipation function $\tfrac m2 \gamma\, v \cdot v$ on the undamped system."""
        return Forced(self.undamped, rayleigh(_Dissipation(self.mass * self.rate)))

    @property
    def growing(self) -> LagrangianFn:
        r"""Caldirola and Kanai's Lagrangian, $e^{\gamma t}$ times the undamped one."""
        return caldirola_kanai(self.undamped, self.rate)

    @property
    def contact(self) -> Herglotz:
        r"""Herglotz's Lagrangian, the undamped one less $\gamma s$."""
        return Herglotz.linear(self.undamped, self.rate)

    def solution(self, t: RealScalarLike, q0: Float[Array, " d"], v0: Float[Array, " d"]) -> Float[Array, " d"]:
        r"""The motion $e^{-\gamma t / 2} (q_0 \cos \nu t + (v_0 + \tfrac12 \gamma q_0) \sin(\nu t) / \nu)$.

        Here $\nu^2 = \omega^2 - \gamma^2 / 4$.
        """
        pace = jnp.sqrt(self.frequency**2 - self.rate**2 / 4)
        swing = jnp.cos(pace * t) * q0 + jnp.sin(pace * t) / pace * (v0 + self.rate / 2 * q0)
        return jnp.exp(-self.rate * t / 2) * swing


class _Dissipation(eqx.Module):
    drag: Float[Array, ""]

    def __call__(self, t, q, v):
        return self.drag * (v @ v) / 2
