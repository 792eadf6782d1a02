"""The leapfrog for Lagrangians that are not separable, each half of it implicit."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import lax

from fimlag._results import RESULTS, first_failure
from fimlag.integrators._choice import refuse_constraints, refuse_unless_second_order
from fimlag.integrators._method import AbstractMethod, Step
from fimlag.integrators._newton import newton_root
from fimlag.integrators._stage_equations import MomentumEquations
from fimlag.integrators._structure import Canonical


class GeneralisedLeapfrog(AbstractMethod):
    r"""The leapfrog of any regular Lagrangian, of order 2: an implicit kick, an implicit drift, a kick.

    $$p_{1/2} = p_0 - \tfrac h2 H_q(q_0, p_{1/2}), \quad q_1 = q_0 + \tfrac h2 \big(H_p(q_0, p_{1/2})
    + H_p(q_1, p_{1/2})\big), \quad p_1 = p_{1/2} - \tfrac h2 H_q(q_1, p_{1/2})$$

    Solved for the two velocities that have the momentum $p_{1/2}$, so that no Legendre transform is in the loop:

    $$\frac{\partial L}{\partial v}(q_0, u) = p_0 + \tfrac h2 \frac{\partial L}{\partial q}(q_0, u) = p_{1/2}, \quad
    q_1 = q_0 + \tfrac h2 (u + w), \quad \frac{\partial L}{\partial v}(q_1, w) = p_{1/2}$$

    On a separable Lagrangian it is `StormerVerlet()`. Forces that the system carries are added to
    $\partial L / \partial q$; the step is then symmetric and of order 2 still. The memory is the next step's guess.

    **Arguments:** `max_iterations`: of Newton's method in either half; beyond them the step has failed.

    **Reference:** Girolami & Calderhead (2011), eqs. 16-18; Leimkuhler & Reich (2004); Hairer, Lubich & Wanner
    (2006), section VI.3.
    """

    max_iterations: int = eqx.field(static=True, default=64, kw_only=True)

    order: ClassVar[int] = 2
    structure: ClassVar[Canonical] = Canonical()
    symmetric: ClassVar[bool] = True
    explicit: ClassVar[bool] = False
    reference: ClassVar[str] = "Girolami & Calderhead (2011), eqs. 16-18"

    def prepare(self, lagrangian, t, q, v, s):
        refuse_constraints(lagrangian.lagrangian, type(self).__name__)
        refuse_unless_second_order(lagrangian.lagrangian, type(self).__name__)
        equations = MomentumEquations(lagrangian)
        regular = jnp.all(jnp.isfinite(equations.inverse(t, q, v)))
        return equations, first_failure((~regular, RESULTS.singular_mass))

    def memory(self, equations, t, q, p, v, s):
        return lax.stop_gradient(v)

    def step(self, equations, t, h, q, p, memory):
        floor, terms = jnp.abs(q / h), jnp.abs(p)

        def kick(u):
            left, right = equations.sides(t, q, u)
            return left - p - h / 2 * right

        u = newton_root(kick, memory, floor, terms, self.max_iterations)
        middle, pull = equations.sides(t, q, u)

        def drift(w):
            return equations.sides(t + h, q + h / 2 * (u + w), w)[0] - middle

        w = newton_root(drift, u, floor, terms, self.max_iterations)
        dq = h / 2 * (u + w)
        dp = h / 2 * (pull + equations.sides(t + h, q + dq, w)[1])
        return Step(dq, dp, lax.stop_gradient(w), jnp.all(jnp.isfinite(dq)) & jnp.all(jnp.isfinite(dp)))

    def kept(self, memory):
        return memory

    def observe(self, equations, t, q, p, kept):
        return equations.observe(t, q, p, None, kept)

    def inspect(self, equations, t, q, v, kept):
        return RESULTS.successful
