r"""Equations of motion in the form that collocation solves.

Each stage has unknowns x, the velocity first among them. At $Q_i = q_0 + h \sum_j a_{ij} v_j$ they satisfy

$$\ell(t_i, Q_i, x_i) = \ell_0 + h \sum_j a_{ij}\, r(t_j, Q_j, x_j)$$

with $\ell_0$ known from the state at the step's start, and $\ell_1 = \ell_0 + h \sum_j b_j r_j$ that at its end.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag.integrators._method import Observation
from fimlag.mechanics import Herglotz, PhaseSpaceLagrangian
from fimlag.mechanics._euler_lagrange import flat_mass_matrix
from fimlag.mechanics._forces import flat_force, unmarked
from fimlag.mechanics._hamiltonian import conjugate_point, flat_velocity
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.mechanics._phase_space import flat_phase_velocity


class AbstractStageEquations(eqx.Module):
    """The functions $\\ell$ and r of a system, on flat arguments."""

    lagrangian: eqx.AbstractVar[FlatLagrangian]

    @abc.abstractmethod
    def sides(self, t, q, x) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        r"""$\ell$ and r at a stage."""

    @abc.abstractmethod
    def unknowns(self, v: Float[Array, " d"], s) -> Float[Array, " m"]:
        """A stage's unknowns, from a velocity and the action of a contact system."""

    @abc.abstractmethod
    def start(self, p: Float[Array, " d"], s) -> Float[Array, " m"]:
        r"""$\ell_0$ of a state."""

    @abc.abstractmethod
    def end(self, t, q, p, s, change) -> tuple[Float[Array, " d"], Float[Array, ""] | None]:
        """The momentum's increment and the action at the step's end, from the change of $\\ell$ and the end point."""

    @abc.abstractmethod
    def inverse(self, t, q, x) -> Float[Array, "m m"]:
        r"""An inverse of $\partial \ell / \partial x$, which steers the iteration."""

    @abc.abstractmethod
    def observe(self, t, q, p, s, x) -> Observation:
        """The row of a state, its velocity sought from the unknowns x."""


class MomentumEquations(AbstractStageEquations):
    r"""The Euler-Lagrange equations: $\ell = \partial L / \partial v$ and $r = \partial L / \partial q + Q$."""

    lagrangian: FlatLagrangian

    def sides(self, t, q, x):
        pull, p = jax.grad(self.lagrangian, argnums=(1, 2))(t, q, x)
        force = flat_force(self.lagrangian, t, q, x)
        return p, pull if force is None else pull + force

    def unknowns(self, v, s):
        return v

    def start(self, p, s):
        return p

    def end(self, t, q, p, s, change):
        return change, None

    def inverse(self, t, q, x):
        return solve(flat_mass_matrix(self.lagrangian, t, q, x), jnp.eye(q.size, dtype=q.dtype))

    def observe(self, t, q, p, s, x):
        return Observation(t, flat_velocity(self.lagrangian, t, q, p, x))


class ContactEquations(AbstractStageEquations):
    r"""Herglotz's equations, with the unknowns $(v, s)$.

    $$\ell = \Big(\frac{\partial L}{\partial v},\ s\Big), \qquad
    r = \Big(\frac{\partial L}{\partial q} + \frac{\partial L}{\partial s} \frac{\partial L}{\partial v},\ L\Big)$$
    """

    lagrangian: FlatLagrangian

    def sides(self, t, q, x):
        v, s = x[:-1], x[-1]
        value, (pull, p, leak) = jax.value_and_grad(self.lagrangian, argnums=(1, 2, 3))(t, q, v, s)
        return x.at[:-1].set(p), jnp.append(pull + leak * p, value)

    def unknowns(self, v, s):
        return jnp.append(v, s)

    def start(self, p, s):
        return jnp.append(p, s)

    def end(self, t, q, p, s, change):
        return change[:-1], s + change[-1]

    def inverse(self, t, q, x):
        jacobian = jax.jacfwd(lambda x: self.sides(t, q, x)[0])(x)
        return solve(jacobian, jnp.eye(x.size, dtype=x.dtype))

    def observe(self, t, q, p, s, x):
        return Observation(t, conjugate_point(lambda v: self.lagrangian(t, q, v, s), p, x[:-1]), s)


class PhaseSpaceEquations(AbstractStageEquations):
    r"""A Lagrangian linear in v: $\ell = v - \dot q(t, q)$ and $r = 0$, the momentum being the one-form."""

    lagrangian: FlatLagrangian

    def sides(self, t, q, x):
        return x - flat_phase_velocity(self.lagrangian, t, q), jnp.zeros_like(x)

    def unknowns(self, v, s):
        return v

    def start(self, p, s):
        return jnp.zeros_like(p)

    def end(self, t, q, p, s, change):
        return jax.grad(self.lagrangian, argnums=2)(t, q, jnp.zeros_like(q)) - p, None

    def inverse(self, t, q, x):
        return jnp.eye(x.size, dtype=x.dtype)

    def observe(self, t, q, p, s, x):
        return Observation(t, flat_phase_velocity(self.lagrangian, t, q))


def stage_equations(lagrangian: FlatLagrangian) -> AbstractStageEquations:
    """The equations of a system, by its type."""
    system = unmarked(lagrangian.lagrangian)
    if isinstance(system, Herglotz):
        return ContactEquations(lagrangian)
    if isinstance(system, PhaseSpaceLagrangian):
        return PhaseSpaceEquations(lagrangian)
    return MomentumEquations(lagrangian)
