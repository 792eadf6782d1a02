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

from fimlag._results import RESULTS, first_failure
from fimlag.integrators._choice import refuse_constraints
from fimlag.integrators._method import AbstractMethod, Step
from fimlag.integrators._newton import settled_root
from fimlag.integrators._stage_equations import stage_equations
from fimlag.integrators._structure import Canonical


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
    r"""Gauss collocation with the stage velocities as unknowns, for every system but those with constraints.

    $$Q_i = q_0 + h \sum_j a_{ij} V_j, \qquad \frac{\partial L}{\partial v}(t_i, Q_i, V_i) = p_0
    + h \sum_j a_{ij} \Big(\frac{\partial L}{\partial q} + Q\Big)(t_j, Q_j, V_j)$$

    This is the Runge-Kutta method of Hamilton's equations, without a Legendre transform in the loop. The
    memory is the next step's guess of the stages, and the action of a contact system. A step is differentiated
    by the implicit function theorem, once in reverse: take second derivatives forward over reverse, as
    `jax.hessian` does.
    """

    structure: ClassVar[Canonical] = Canonical()
    explicit: ClassVar[bool] = False
    symmetric: ClassVar[bool] = True
    max_iterations: eqx.AbstractVar[int]

    @abc.abstractmethod
    def tableau(self) -> Tableau:
        """The coefficients of the method."""

    def prepare(self, lagrangian, t, q, v, s):
        refuse_constraints(lagrangian.lagrangian, type(self).__name__)
        equations = stage_equations(lagrangian)
        regular = jnp.all(jnp.isfinite(equations.inverse(t, q, equations.unknowns(v, s))))
        return equations, first_failure((~regular, RESULTS.singular_mass))

    def memory(self, equations, t, q, p, v, s):
        unknowns = equations.unknowns(v, s)
        return lax.stop_gradient(jnp.broadcast_to(unknowns, (self.tableau().c.size, unknowns.size))), s

    def step(self, equations, t, h, q, p, memory):
        tableau, (guess, s) = self.tableau(), memory
        a, b, c, ahead = (jnp.asarray(array, q.dtype) for array in (tableau.a, tableau.b, tableau.c, tableau.ahead))
        start, times = equations.start(p, s), t + c * h

        def stages(unknowns):
            points = q[None] + h * (a @ unknowns[:, : q.size])
            return jax.vmap(equations.sides)(times, points, unknowns)

        def residual(unknowns):
            left, right = stages(unknowns)
            return left - start[None] - h * (a @ right), left

        middle = b @ guess
        inverse = equations.inverse(t + h / 2, q + h / 2 * middle[: q.size], middle)
        velocities = 4 * jnp.abs(q) * jnp.finfo(q.dtype).eps ** (1 / 3) / jnp.abs(h)
        floor = jnp.pad(velocities, (0, start.size - q.size))
        unknowns = _stages(residual, guess, inverse, start, floor, self.max_iterations)
        dq, change = h * (b @ unknowns[:, : q.size]), h * (b @ stages(unknowns)[1])
        dp, s = equations.end(t + h, q + dq, p, s, change)
        return Step(dq, dp, (lax.stop_gradient(ahead @ unknowns), s), jnp.all(jnp.isfinite(unknowns)))

    def kept(self, memory):
        guess, s = memory
        return jnp.asarray(self.tableau().at_start, guess.dtype) @ guess, s

    def observe(self, equations, t, q, p, kept):
        guess, s = kept
        return equations.observe(t, q, p, s, guess)

    def inspect(self, equations, t, q, v, kept):
        return RESULTS.successful


class ImplicitMidpoint(AbstractGauss):
    r"""The implicit midpoint rule, of order 2, for any Lagrangian with a regular mass matrix.

    $$q_1 = q_0 + h V, \qquad
    \frac{\partial L}{\partial v} = p_0 + \frac h2 \frac{\partial L}{\partial q}, \qquad
    p_1 = p_0 + h \frac{\partial L}{\partial q} \qquad \text{at } (t_0 + \tfrac h2,\ q_0 + \tfrac h2 V,\ V)$$

    The symplectic form is kept on Hamiltonian systems: forces and contact actions change it, and a
    `PhaseSpaceLagrangian` keeps its own where this is constant.

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

    The symplectic form is kept on Hamiltonian systems: forces and contact actions change it, and a
    `PhaseSpaceLagrangian` keeps its own where this is constant.

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


def _stages(residual, guess, inverse, start, floor, max_iterations):
    """The stages at a root of the residual by Newton's method with one mass matrix for all; NaN unless converged.

    An update is measured, component by component, against the round-off of the sums that make it: of momenta
    through the inverse mass, and of `q + h V`, below which a velocity has no meaning.
    """
    shape = guess.shape
    inverse, start, floor = lax.stop_gradient((inverse, start, floor))

    def equations(x):
        return residual(x.reshape(shape))[0].ravel()

    def update(x):
        unknowns = x.reshape(shape)
        defect, left = residual(unknowns)
        step = defect @ inverse.T
        through = (jnp.abs(start) + jnp.max(jnp.abs(left), axis=0)) @ jnp.abs(inverse.T)
        scale = through + jnp.max(jnp.abs(unknowns), axis=0) + floor
        largest = jnp.max(jnp.abs(step), axis=0)
        return step.ravel(), jnp.max(jnp.where(largest == 0, 0, largest / scale))

    return settled_root(equations, update, guess.ravel(), max_iterations).reshape(shape)
