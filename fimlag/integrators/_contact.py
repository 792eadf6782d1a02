"""Contact splitting: explicit steps for separable systems with linear dissipation."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._results import RESULTS, first_failure
from fimlag._types import LagrangianFn
from fimlag.integrators._method import AbstractMethod, Observation, Step
from fimlag.integrators._separable import SeparableEquations, separable_equations
from fimlag.integrators._structure import ConformalContact
from fimlag.mechanics import Herglotz
from fimlag.mechanics._contact import LinearHerglotz
from fimlag.mechanics._lagrangian import FlatLagrangian


def is_linearly_damped(system: LagrangianFn) -> bool:
    """Whether a system is a Lagrangian minus a rate times the action, as `Herglotz.linear` makes it."""
    return isinstance(system, Herglotz) and isinstance(system.lagrangian, LinearHerglotz)


class ContactFlows(eqx.Module):
    r"""The exact flows of the parts of $H = T(p) + V(t, q) + \gamma s$, each a contactomorphism."""

    separable: SeparableEquations
    rate: Float[Array, ""]

    def drift(self, p):
        r"""`(dq/dt, ds/dt)` of $T$: the velocity and the kinetic part of the Lagrangian."""
        v = self.separable.velocity(p)
        return v, p @ v - self.separable.kinetic(p)

    def kick(self, t, q):
        r"""`(dp/dt, ds/dt)` of V: the force, and minus the potential."""
        lagrangian = self.separable.lagrangian
        value, force = jax.value_and_grad(lagrangian, argnums=1)(t, q, jnp.zeros_like(q))
        return force, value

    def loss(self, h):
        r"""The part of p and of s that $\gamma s$ adds in a time: $e^{-\gamma h} - 1$."""
        return jnp.expm1(-self.rate * h)


class ContactMemory(NamedTuple):
    """The action, and the kick at the state: force and minus the potential."""

    s: Float[Array, ""]
    force: Float[Array, " d"]
    value: Float[Array, ""]


class ContactLeapfrog(AbstractMethod):
    r"""Leapfrog for separable systems with linear dissipation, `Herglotz.linear(L, rate)`, explicit, of order 2.

    The contact Hamiltonian $H = T(p) + V(t, q) + \gamma s$ is split into three parts with exact flows:

    $$C_h: (p, s) \mapsto e^{-\gamma h} (p, s), \quad
    B_h: (p, s) \mapsto (p - h V_q,\ s - h V), \quad
    A_h: (q, s) \mapsto (q + h v,\ s + h (p \cdot v - T)), \qquad v = T_p$$

    $$\Phi_h = C_{h/2} \circ B_{h/2} \circ A_h \circ B_{h/2} \circ C_{h/2}$$

    Each part, and so the step, maps the contact form $\mathrm d s - p\, \mathrm d q$ to $e^{-\gamma h}$ times
    itself: phase volume, energy and momentum decay at the right rate for ever. One force a step;
    `Composition(ContactLeapfrog(), order)` has order 4, 6 or 8.

    **Raises:** `ValueError` from `integrate` for any other system.

    **Reference:** Vermeeren, Bravetti & Seri (2019); Bravetti, Seri, Vermeeren & Zadra (2020).
    """

    order: ClassVar[int] = 2
    structure: ClassVar[ConformalContact] = ConformalContact()
    symmetric: ClassVar[bool] = True
    explicit: ClassVar[bool] = True
    reference: ClassVar[str] = "Bravetti, Seri, Vermeeren & Zadra (2020)"

    def prepare(self, lagrangian, t, q, v, s):
        system = lagrangian.lagrangian
        if not is_linearly_damped(system):
            raise ValueError(
                "ContactLeapfrog is for Herglotz.linear(L, rate) with a separable L. Use ImplicitMidpoint() or "
                "GaussLegendre(stages) for a Lagrangian that depends on s otherwise."
            )
        inner = FlatLagrangian(system.lagrangian.lagrangian, lagrangian.structure)
        separable = separable_equations(inner, t, q, v, type(self).__name__)
        regular = jnp.all(jnp.isfinite(separable.inverse))
        flows = ContactFlows(separable, jnp.asarray(system.lagrangian.rate, q.dtype))
        return flows, first_failure((~regular, RESULTS.singular_mass))

    def memory(self, equations, t, q, p, v, s):
        return ContactMemory(jnp.asarray(s, q.dtype), *equations.kick(t, q))

    def step(self, equations, t, h, q, p, memory):
        loss, (s, force, value) = equations.loss(h / 2), memory
        s = s + loss * s + h / 2 * value
        dp = loss * p + h / 2 * force
        v, kinetic = equations.drift(p + dp)
        force, value = equations.kick(t + h, q + h * v)
        s = s + h * kinetic + h / 2 * value
        dp = dp + h / 2 * force
        return Step(h * v, dp + loss * (p + dp), ContactMemory(s + loss * s, force, value), jnp.array(True))

    def kept(self, memory):
        return memory.s

    def observe(self, equations, t, q, p, kept):
        return Observation(t, equations.separable.velocity(p), kept)

    def inspect(self, equations, t, q, v, kept):
        return first_failure((jnp.any(jax.vmap(equations.separable.differ)(t, q, v)), RESULTS.not_separable))
