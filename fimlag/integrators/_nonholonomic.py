"""The leapfrog under constraints on the velocity that cannot be integrated."""

from typing import ClassVar

import equinox as eqx

from fimlag.integrators._constrained import AbstractConstrainedLeapfrog


class NonholonomicLeapfrog(AbstractConstrainedLeapfrog):
    r"""The leapfrog under constraints linear in the velocity, of order 2, kept at the end of each step.

    $$p_{1/2} = p_0 + \tfrac h2 \big(F(q_0) + A(q_0)^\top \lambda\big), \quad q_1 = q_0 + h M^{-1} p_{1/2}, \quad
    A\big(\tfrac{q_0 + q_1}2\big) (q_1 - q_0) = 0$$

    $$p_1 = p_{1/2} + \tfrac h2 \big(F(q_1) + A(q_1)^\top \mu\big), \quad A(q_1) M^{-1} p_1 = 0$$

    For a constant mass and a potential the multipliers alone are sought; any other Lagrangian, forced or not, takes the
    implicit half steps of `GeneralisedLeapfrog`. Holonomic constraints among them are kept as `Rattle` keeps them. The
    motion itself preserves no symplectic form, so none is declared; the method is symmetric, and where the system is
    reversible its energy oscillates without drift. `multipliers` of a row are those of the motion at its state.

    **Arguments:** `max_iterations`: of Newton's method in one step; beyond them the step has failed.

    **Raises:** `ValueError` for a system without constraints. Results: as for `Rattle`.

    **Reference:** Cortés & Martínez (2001); McLachlan & Perlmutter (2006); Ferraro, Iglesias & Martín de Diego (2008).
    """

    max_iterations: int = eqx.field(static=True, default=64, kw_only=True)

    order: ClassVar[int] = 2
    structure: ClassVar[None] = None
    reference: ClassVar[str] = "Cortés & Martínez (2001); McLachlan & Perlmutter (2006)"

    def check(self, system):
        return None
