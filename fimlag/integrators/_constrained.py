"""Leapfrog methods that keep constraints, and Rattle, the one of holonomic constraints."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from fimlag._results import RESULTS, first_failure
from fimlag._types import LagrangianFn
from fimlag.integrators._choice import carries, refuse_unless_second_order
from fimlag.integrators._constraint_equations import constraint_equations
from fimlag.integrators._method import AbstractMethod, Observation, Step
from fimlag.integrators._structure import AbstractStructure, symplectic_defect
from fimlag.mechanics import Nonholonomic
from fimlag.mechanics._constraints import constraint_matrix, constraint_rates, constraint_values


class OnConstraint(AbstractStructure):
    r"""The symplectic form on the cotangent bundle of the surface of holonomic constraints.

    $$\max |W^\top (J^\top \Omega J - \Omega)\, W|, \qquad
    T = \{(q, p) : c(q) = 0,\ A(q)\, v(q, p) = 0\}$$

    with W an orthonormal basis of the tangent vectors of T at a state that keeps the constraints.
    """

    symplectic: bool = eqx.field(static=True, default=True)

    def defect(self, method, equations, t, h, q, p, v, s):
        memory = method.memory(equations, t, q, p, v, s)
        flat = equations.lagrangian

        def kept(z):
            q, p = jnp.split(z, 2)
            velocity = method.observe(equations, t, q, p, method.kept(memory)).v
            return jnp.concatenate([constraint_values(flat, q), constraint_rates(flat, q, velocity)])

        def advance(z):
            q, p = jnp.split(z, 2)
            step = method.step(equations, t, h, q, p, method.memory(equations, t, q, p, v, s))
            return z + jnp.concatenate([step.dq, step.dp])

        state = jnp.concatenate([q, p])
        normals = jax.jacfwd(kept)(state)
        basis, _ = jnp.linalg.qr(normals.T, mode="complete")
        return symplectic_defect(advance, state, basis[:, normals.shape[0] :])


class AbstractConstrainedLeapfrog(AbstractMethod):
    """The leapfrog with multipliers; rows report the multipliers of the motion at their state."""

    explicit: ClassVar[bool] = False
    symmetric: ClassVar[bool] = True
    max_iterations: eqx.AbstractVar[int]

    @abc.abstractmethod
    def check(self, system: LagrangianFn):
        """Raise a `ValueError` for constraints that the method does not keep."""

    def prepare(self, lagrangian, t, q, v, s):
        refuse_unless_second_order(lagrangian.lagrangian, type(self).__name__)
        self.check(lagrangian.lagrangian)
        equations = constraint_equations(lagrangian, t, q, v)
        independent = jnp.all(jnp.isfinite(equations.multipliers(t, q, v)))
        point_off, velocity_off = _off_constraints(lagrangian, q, v)
        result = first_failure(
            (~independent, RESULTS.dependent_constraints),
            (point_off, RESULTS.point_off_constraints),
            (velocity_off, RESULTS.velocity_off_constraints),
        )
        return equations, result

    def memory(self, equations, t, q, p, v, s):
        return equations.memory(t, q, v)

    def step(self, equations, t, h, q, p, memory):
        dq, dp, memory = equations.step(t, h, q, p, memory, self.max_iterations)
        return Step(dq, dp, memory, jnp.all(jnp.isfinite(dq)) & jnp.all(jnp.isfinite(dp)))

    def kept(self, memory):
        return memory

    def observe(self, equations, t, q, p, kept):
        v = equations.velocity(t, q, p, kept)
        return Observation(t, v, multipliers=equations.multipliers(t, q, v))

    def inspect(self, equations, t, q, v, kept):
        return first_failure((jnp.any(jax.vmap(equations.differ)(t, q, v)), RESULTS.not_separable))


class Rattle(AbstractConstrainedLeapfrog):
    r"""The leapfrog on a surface, of order 2: holonomic constraints and their rates are kept to round-off at each step.

    $$p_{1/2} = p_0 - \tfrac h2 \big(H_q(q_0, p_{1/2}) - A(q_0)^\top \lambda\big), \quad
    q_1 = q_0 + \tfrac h2 \big(H_p(q_0, p_{1/2}) + H_p(q_1, p_{1/2})\big), \quad c(q_1) = 0$$

    $$p_1 = p_{1/2} - \tfrac h2 \big(H_q(q_1, p_{1/2}) - A(q_1)^\top \mu\big), \quad A(q_1) H_p(q_1, p_1) = 0$$

    Where mass is constant and the rest a potential (a `NaturalLagrangian` with a `EuclideanMetric`, or `Separable`),
    the multipliers alone are sought and the rest is explicit; for any other Lagrangian, forced or not, the half step is
    that of `GeneralisedLeapfrog`. `multipliers` of a row are those of the motion at its state, as
    `constrained_acceleration` gives them, with $A^\top \lambda$ the force of the constraints.

    **Arguments:** `max_iterations`: of Newton's method in one step; beyond them the step has failed.

    **Raises:** `ValueError` for a system without constraints or with nonholonomic ones. Results:
    `point_off_constraints`, `velocity_off_constraints`, `dependent_constraints`, `implicit_step_failed`,
    `not_separable`.

    **Reference:** Andersen (1983); Jay (1996); Hairer, Lubich & Wanner (2006), section VII.1.4.
    """

    max_iterations: int = eqx.field(static=True, default=64, kw_only=True)

    order: ClassVar[int] = 2
    structure: ClassVar[OnConstraint] = OnConstraint()
    reference: ClassVar[str] = "Hairer, Lubich & Wanner (2006), section VII.1.4"

    def check(self, system):
        if carries(system, Nonholonomic):
            raise ValueError("Rattle does not keep nonholonomic constraints. Use NonholonomicLeapfrog().")


def _off_constraints(flat, q, v):
    """Whether the point and whether the velocity miss the constraints."""
    slopes = jax.jacrev(lambda q: constraint_values(flat, q))(q)
    # A constraint sums constants beside the coordinates: at the origin these alone make its round-off.
    point = _missed(constraint_values(flat, q), slopes, q, jnp.maximum(jnp.max(jnp.abs(q)), 1))
    return point, _missed(constraint_rates(flat, q, v), constraint_matrix(flat, q), v, jnp.max(jnp.abs(v)))


def _missed(values, slopes, x, largest):
    """Whether values exceed eps^(2/3) of the terms that they sum, and the round-off of the largest numbers."""
    eps, slopes = jnp.finfo(x.dtype).eps, jnp.abs(slopes)
    allowed = eps ** (2 / 3) * (slopes @ jnp.abs(x)) + 64 * eps * largest * jnp.sum(slopes, axis=1)
    return jnp.any(jnp.abs(values) > allowed)
