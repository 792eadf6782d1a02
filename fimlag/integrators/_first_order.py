"""The equations of motion of any system as equations of first order, on flat vectors."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import LagrangianFn
from fimlag.integrators._choice import refuse_marked_contact
from fimlag.mechanics import Herglotz, PhaseSpaceLagrangian
from fimlag.mechanics._contact import flat_contact_acceleration
from fimlag.mechanics._euler_lagrange import flat_acceleration
from fimlag.mechanics._forces import unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.mechanics._phase_space import flat_phase_velocity


def state_names(system: LagrangianFn) -> tuple[str, ...]:
    """What determines a motion: q and v, beside them the action of a contact system, q alone on a phase space."""
    refuse_marked_contact(system)
    bare = unmarked(system)
    if isinstance(bare, PhaseSpaceLagrangian):
        return ("q",)
    return ("q", "v", "s") if isinstance(bare, Herglotz) else ("q", "v")


def rates(flat: FlatLagrangian, t: Float[Array, ""], state: tuple[Array, ...]) -> tuple[Array, ...]:
    r"""The time derivatives of a state: of $(q, v)$, of $(q, v, s)$ for a contact system, of q on a phase space."""
    if len(state) == 1:
        return (flat_phase_velocity(flat, t, *state),)
    if len(state) == 2:
        return state[1], flat_acceleration(flat, t, *state)
    return state[1], flat_contact_acceleration(flat, t, *state), flat(t, *state)


def derivatives_along(
    flat: FlatLagrangian, t: Float[Array, ""], state: tuple[Array, ...], count: int
) -> Float[Array, "orders d"]:
    r"""The point and its first `count` time derivatives along the motion through a state.

    $$q^{(k + 1)} = \Big(\frac{\partial}{\partial t} + \dot z \cdot \frac{\partial}{\partial z}\Big) q^{(k)}(t, z)$$
    """
    known = list(state[:2])
    highest = len(known) - 1

    def derivative(t, state):
        return rates(flat, t, state)[highest]

    while len(known) <= count:
        known.append(derivative(t, state))
        derivative = _along(flat, derivative)
    return jnp.stack(known)


def _along(flat: FlatLagrangian, function: Callable) -> Callable:
    """The time derivative, along motions, of a function of time and state."""

    def rate(t, state):
        return jax.jvp(function, (t, state), (jnp.ones_like(t), rates(flat, t, state)))[1]

    return rate
