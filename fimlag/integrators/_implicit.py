"""Implicit symplectic methods for any Lagrangian: Gauss collocation, in Lagrangian form."""

import abc
import functools
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.polynomial import legendre

from fimlag._linear import solve
from fimlag.integrators._method import AbstractMethod
from fimlag.mechanics._euler_lagrange import flat_mass_matrix
from fimlag.mechanics._hamiltonian import flat_velocity


class Tableau(NamedTuple):
    """The Gauss coefficients of s stages, made on the host.

    **Attributes:** `a` (s, s), `b` (s,), `c` (s,); `ahead` (s, s): stage values of the next step from those
    of this one, by the polynomial through them; `at_start` (s,): that polynomial's value at the step's start.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    ahead: np.ndarray
    at_start: np.ndarray


@functools.cache
def gauss_tableau(stages: int) -> Tableau:
    r"""The tableau of Gauss collocation, by expansion in Legendre polynomials.

    $$a_{ij} = \int_0^{c_i} \ell_j, \qquad \ell_j(x) = b_j \sum_{k<s} (2k + 1) P_k(c_j) P_k(x)$$

    **Reference:** Hairer, Lubich & Wanner (2006), section II.1.3; the expansion, Hairer & Wanner (1996),
    IV.5.
    """
    nodes, weights = legendre.leggauss(stages)
    c, b = (1 + nodes) / 2, weights / 2
    degrees = 2 * np.arange(stages) + 1
    basis = legendre.legvander(nodes, stages)

    def cardinal(x):
        return legendre.legvander(x, stages - 1) @ (degrees[:, None] * basis[:, :stages].T) * b

    # int_0^c (2k + 1) P_k = (P_k+1 - P_k-1) / 2 at c, and c itself for k = 0.
    integrals = np.column_stack([c, *((basis[:, k + 1] - basis[:, k - 1]) / 2 for k in range(1, stages))])
    a = integrals @ basis[:, :stages].T * b
    return Tableau(a, b, c, cardinal(nodes + 2), cardinal(np.array([-1.0]))[0])


class AbstractGauss(AbstractMethod):
    r"""Gauss collocation with the stage velocities as unknowns.

    $$Q_i = q_0 + h \sum_j a_{ij} V_j, \qquad \frac{\partial L}{\partial v}(t_i, Q_i, V_i) = p_0
    + h \sum_j a_{ij} \frac{\partial L}{\partial q}(t_j, Q_j, V_j)$$

    This is the Runge-Kutta method of Hamilton's equations, without a Legendre transform in the loop. The
    memory is the next step's guess of the stage velocities. A step is differentiated by the implicit function
    theorem, once in reverse: take second derivatives forward over reverse, as `jax.hessian` does.
    """

    explicit: ClassVar[bool] = False
    symplectic: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True
    max_iterations: eqx.AbstractVar[int]

    @abc.abstractmethod
    def tableau(self) -> Tableau:
        """The coefficients of the method."""

    def begin(self, lagrangian, t, q, v):
        inverse = solve(flat_mass_matrix(lagrangian, t, q, v), jnp.eye(q.size, dtype=q.dtype))
        guess = jnp.broadcast_to(v, (self.tableau().c.size, v.size))
        return lagrangian, lax.stop_gradient(guess), jnp.all(jnp.isfinite(inverse))

    def step(self, equations, t, h, q, p, memory):
        tableau = self.tableau()
        a, b, c, ahead = (jnp.asarray(array, q.dtype) for array in (tableau.a, tableau.b, tableau.c, tableau.ahead))
        gradients = jax.vmap(jax.grad(equations, argnums=(1, 2)))
        times = t + c * h

        def stages(velocities):
            return gradients(times, q[None] + h * (a @ velocities), velocities)

        def residual(velocities):
            forces, momenta = stages(velocities)
            return momenta - p[None] - h * (a @ forces), momenta

        inverse = _middle_inverse_mass(equations, t, h, q, b @ memory)
        floor = 4 * jnp.abs(q) * jnp.finfo(q.dtype).eps ** (1 / 3) / jnp.abs(h)
        velocities = _implicit_root(residual, memory, inverse, p, floor, self.max_iterations)
        forces, _ = stages(velocities)
        q, p = q + h * (b @ velocities), p + h * (b @ forces)
        return q, p, lax.stop_gradient(ahead @ velocities), jnp.all(jnp.isfinite(velocities))

    def velocity_guess(self, memory):
        return jnp.asarray(self.tableau().at_start, memory.dtype) @ memory

    def velocity(self, equations, t, q, p, guess):
        return flat_velocity(equations, t, q, p, guess)

    def off_form(self, equations, t, q, v):
        return jnp.array(False)


class ImplicitMidpoint(AbstractGauss):
    r"""The implicit midpoint rule, of order 2, for any Lagrangian with a regular mass matrix.

    $$q_1 = q_0 + h V, \qquad
    \frac{\partial L}{\partial v} = p_0 + \frac h2 \frac{\partial L}{\partial q}, \qquad
    p_1 = p_0 + h \frac{\partial L}{\partial q} \qquad \text{at } (t_0 + \tfrac h2,\ q_0 + \tfrac h2 V,\ V)$$

    **Arguments:** `max_iterations`: of simplified Newton in one step; beyond them the step has failed.

    **Reference:** Hairer, Lubich & Wanner (2006), section I.1.2.
    """

    max_iterations: int = eqx.field(static=True, default=64, kw_only=True)

    order: ClassVar[int] = 2
    reference: ClassVar[str] = "Hairer, Lubich & Wanner (2006), section I.1.2"

    def tableau(self):
        return gauss_tableau(1)


class GaussLegendre(AbstractGauss):
    r"""Gauss-Legendre collocation, of order 2s with s stages, for any Lagrangian with a regular mass matrix.

    **Arguments:** `stages`: the number s; `max_iterations`: of simplified Newton in one step.

    **Raises:** `ValueError` for a number of stages below one.

    **Reference:** Hairer, Lubich & Wanner (2006), section II.1.3, theorem IV.2.2.
    """

    stages: int = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True, default=64, kw_only=True)

    reference: ClassVar[str] = "Hairer, Lubich & Wanner (2006), section II.1.3"

    def __check_init__(self):
        if not isinstance(self.stages, int) or self.stages < 1:
            raise ValueError(f"stages must be a positive integer, but is {self.stages!r}.")

    @property
    def order(self) -> int:
        return 2 * self.stages

    def tableau(self):
        return gauss_tableau(self.stages)


def _middle_inverse_mass(lagrangian, t, h, q, v):
    """The inverse mass matrix where the guess puts the step's middle: it steers the iteration, no more."""
    mass = flat_mass_matrix(lagrangian, t + h / 2, q + h / 2 * v, v)
    return solve(mass, jnp.eye(q.size, dtype=q.dtype))


def _implicit_root(residual, guess, inverse, p, floor, max_iterations):
    """The velocities at a root of the residual, differentiable implicitly; NaN unless converged."""
    shape = guess.shape
    inverse, p, floor = lax.stop_gradient((inverse, p, floor))

    def flat_residual(x):
        return residual(x.reshape(shape))[0].ravel()

    def root(_, start):
        return _simplified_newton(residual, start.reshape(shape), inverse, p, floor, max_iterations).ravel()

    def tangent_solve(linear, y):
        return solve(jax.vmap(linear, out_axes=1)(jnp.eye(y.size, dtype=y.dtype)), y)

    return lax.custom_root(flat_residual, guess.ravel(), root, tangent_solve).reshape(shape)


def _simplified_newton(residual, guess, inverse, p, floor, max_iterations):
    """Newton's method with one mass matrix for all stages, until the updates are round-off.

    An update is measured, component by component, against the round-off of the sums that make it: of momenta
    through the inverse mass, and of `q + h V`, below which a velocity has no meaning.
    """
    eps = jnp.finfo(p.dtype).eps
    tolerance = eps ** (2 / 3)

    def advance(state):
        velocities, previous, count, _ = state
        defect, momenta = residual(velocities)
        update = defect @ inverse
        scale = (jnp.abs(p) + jnp.max(jnp.abs(momenta), axis=0)) @ jnp.abs(inverse) + floor
        largest = jnp.max(jnp.abs(update), axis=0)
        size = jnp.max(jnp.where(largest == 0, 0, largest / scale))
        # Settled: at round-off, no longer shrinking, or the next update would be round-off at this rate.
        slowed = (size >= previous) | (size * size <= eps * previous)
        settled = (size <= eps) | ((count > 0) & (size <= tolerance) & slowed)
        return velocities - update, size, count + 1, settled

    def unfinished(state):
        velocities, _, count, settled = state
        return ~settled & (count < max_iterations) & jnp.all(jnp.isfinite(velocities))

    begin = (guess, jnp.asarray(jnp.inf, p.dtype), 0, jnp.array(False))
    velocities, _, _, settled = lax.while_loop(unfinished, advance, begin)
    return jnp.where(settled, velocities, jnp.nan)
