"""An explicit symplectic method for Lagrangians that are not separable, on two copies of the phase space."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag._results import RESULTS, first_failure
from fimlag.integrators._choice import refuse_constraints, refuse_forces, refuse_unless_second_order
from fimlag.integrators._method import AbstractMethod, Observation, Step
from fimlag.integrators._structure import AbstractStructure, symplectic_defect
from fimlag.mechanics import hamiltonian
from fimlag.mechanics._euler_lagrange import flat_mass_matrix
from fimlag.mechanics._hamiltonian import flat_hamilton_equations, flat_velocity
from fimlag.mechanics._lagrangian import FlatLagrangian

_PARTED = 0.1  # the share of the motion's extent beyond which two copies are not one motion


class Doubled(AbstractStructure):
    r"""The symplectic form $dq \wedge dp + dx \wedge dy$ on two copies of the phase space.

    $$\max |J^\top \Omega J - \Omega|, \qquad J = \frac{\partial (q_1, x_1, p_1, y_1)}{\partial (q_0, x_0, p_0, y_0)}$$

    The second copy (x, y) comes first in the method's memory.
    """

    symplectic: bool = eqx.field(static=True, default=True)

    def defect(self, method, equations, t, h, q, p, v, s):
        _, _, extent = method.memory(equations, t, q, p, v, s)

        def advance(z):
            q, x, p, y = jnp.split(z, 4)
            step = method.step(equations, t, h, q, p, (x, y, extent))
            x, y, _ = step.memory
            return jnp.concatenate([q + step.dq, x, p + step.dp, y])

        return symplectic_defect(advance, jnp.concatenate([q, q, p, p]))


class HamiltonEquations(eqx.Module):
    """Hamilton's equations of a Lagrangian, or of the Hamiltonian that it was made from, and where a motion starts."""

    lagrangian: FlatLagrangian
    hamiltonian: FlatLagrangian
    start: Float[Array, " d"]

    def rates(self, t, q, p) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """The rates of q and p."""
        return flat_hamilton_equations(self.hamiltonian, t, q, p)


class Tao(AbstractMethod):
    r"""Tao's method on two copies of the phase space, explicit, of order 2, for any Hamiltonian.

    $$\bar H = H(q, y) + H(x, p) + \tfrac{\omega}{2} \big(|q - x|^2 + |p - y|^2\big), \qquad
    \Phi_h = A_{h/2} \circ B_{h/2} \circ C_h \circ B_{h/2} \circ A_{h/2}$$

    Each of the three terms has an explicit flow; started at $(x, y) = (q, p)$ both copies follow the motion, and the
    last term binds them. The copy (x, y) is in the memory; order, structure and symmetry are those of the step of
    (q, p, x, y), and a motion restarted from (q, p) alone binds its copies anew. Four gradients of H a step: each
    one linear solve where L is quadratic in the velocity (as a `NaturalLagrangian` is), none for `lagrangian(H)`, whose
    own derivatives are taken. For any other L each is a Legendre transform by Newton's method, so that an implicit
    method is as fast.

    The error grows with $\omega h^2$, and where $\omega$ is too small the copies part, sooner in chaotic motion. The
    coupling lets p count like q: choose coordinates in which both are of similar size, an $\omega$ a few times the
    fastest frequency of the motion, and steps well below $1 / \omega$.

    **Arguments:** `frequency` $\omega$, positive.

    **Raises:** `ValueError` for a frequency that is not positive and finite. Results: `copies_parted` where the copies
    lie farther apart than a tenth of the extent of the motion.

    **Reference:** Tao (2016), Physical Review E 94, 043303.

    ```python
    >>> import fimlag as fl
    >>> method = fl.Composition(fl.Tao(20.0), order=4)
    >>> method.order, method.symplectic, method.explicit
    (4, True, True)

    ```
    """

    frequency: float = eqx.field(static=True, converter=float)

    order: ClassVar[int] = 2
    structure: ClassVar[Doubled] = Doubled()
    symmetric: ClassVar[bool] = True
    explicit: ClassVar[bool] = True
    reference: ClassVar[str] = "Tao (2016), Physical Review E 94, 043303"

    def __check_init__(self):
        if not 0 < self.frequency < np.inf:
            raise ValueError(f"The frequency must be positive and finite, but is {self.frequency!r}.")

    def prepare(self, lagrangian, t, q, v, s):
        for refuse in (refuse_constraints, refuse_forces, refuse_unless_second_order):
            refuse(lagrangian.lagrangian, type(self).__name__)
        regular = jnp.all(jnp.isfinite(solve(flat_mass_matrix(lagrangian, t, q, v), q)))
        function = FlatLagrangian(hamiltonian(lagrangian.lagrangian), lagrangian.structure)
        return HamiltonEquations(lagrangian, function, q), first_failure((~regular, RESULTS.singular_mass))

    def memory(self, equations, t, q, p, v, s):
        return q, p, jnp.zeros_like(q[0])

    def step(self, equations, t, h, q, p, memory):
        x, y, extent = memory

        def kick(state, time):
            dq, dp, x, y = state
            rate_x, rate_p = equations.rates(time, q + dq, y)
            return dq, dp + h / 2 * rate_p, x + h / 2 * rate_x, y

        def kick_copy(state, time):
            dq, dp, x, y = state
            rate_q, rate_y = equations.rates(time, x, p + dp)
            return dq + h / 2 * rate_q, dp, x, y + h / 2 * rate_y

        def bind(state):
            dq, dp, x, y = state
            gap_q, gap_p = (q - x) + dq, (p - y) + dp
            # cos - 1 without cancellation, halved
            less, sine = -(jnp.sin(self.frequency * h) ** 2), jnp.sin(2 * self.frequency * h) / 2
            move_q, move_p = less * gap_q + sine * gap_p, less * gap_p - sine * gap_q
            return dq + move_q, dp + move_p, x - move_q, y - move_p

        # dq and dp are carried, not q and p, for the sake of compensated sums.
        state = (jnp.zeros_like(q), jnp.zeros_like(p), x, y)
        state = bind(kick_copy(kick(state, t), t))
        dq, dp, x, y = kick(kick_copy(state, t + h), t + h)
        finite = [jnp.all(jnp.isfinite(each)) for each in (dq, dp, x, y)]
        extent = jnp.maximum(extent, lax.stop_gradient(jnp.max(jnp.abs(q + dq - equations.start))))
        return Step(dq, dp, (x, y, extent), jnp.all(jnp.stack(finite)))

    def kept(self, memory):
        x, _, extent = memory
        return x, extent

    def observe(self, equations, t, q, p, kept):
        return Observation(t, flat_velocity(equations.lagrangian, t, q, p))

    def inspect(self, equations, t, q, v, kept):
        x, extent = kept
        round_off = jnp.sqrt(jnp.finfo(q.dtype).eps) * jnp.max(jnp.abs(q))
        parted = jnp.max(jnp.abs(q - x), axis=1) > _PARTED * extent + round_off
        return first_failure((jnp.any(parted), RESULTS.copies_parted))
