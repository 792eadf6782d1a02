"""How far a step is from preserving what its method declares."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.diagnostics._march import prepared
from fimlag.integrators import AbstractMethod
from fimlag.integrators._choice import carries
from fimlag.integrators._motion import Start, checked_start
from fimlag.integrators._structure import Canonical
from fimlag.mechanics import Forced, Herglotz, Nonholonomic, PhaseSpaceLagrangian
from fimlag.mechanics._forces import unmarked


def symplecticity_defect(
    method: AbstractMethod,
    lagrangian: LagrangianFn,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates | None,
    h: RealScalarLike,
    s: RealScalarLike = 0.0,
) -> Float[Array, ""]:
    r"""How far one step is from preserving the structure that its method declares.

    $$\max |J^\top \Omega J - \Omega|, \qquad J = \frac{\partial (q_1, p_1)}{\partial (q_0, p_0)}, \quad
    \Omega = \begin{pmatrix} 0 & 1 \\ -1 & 0 \end{pmatrix}$$

    This is the form of most methods, and of those that declare none; `method.structure` tells of others: a doubled
    or extended phase space, the cotangent bundle of a constraint, a contact form. For a `PhaseSpaceLagrangian` it is
    the system's own form, $\max |J^\top \omega(q_1) J - \omega(q_0)|$ with $J = \partial q_1 / \partial q_0$.

    **Arguments:** `method`; `lagrangian`; `t`, `q`, `v`: the state at the step's start; `h`: the step; `s`: the action
    of a `Herglotz` system.

    **Returns:** the defect, shape (); round-off for a symplectic method, NaN where the step failed.

    **Reference:** Hairer, Lubich & Wanner (2006), definition VI.2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.problems.DoublePendulum()
    >>> bool(fl.symplecticity_defect(fl.GaussLegendre(2), L, 0.0, jnp.ones(2), jnp.ones(2), 0.1) < 1e-13)
    True

    ```
    """
    start = checked_start(lagrangian, q, v, t, t, 1, method, s)
    equations, _ = prepared(start)
    return structure_defect(equations, start, jnp.asarray(h, start.q.dtype))


def declares_structure(method: AbstractMethod, system: LagrangianFn) -> bool:
    """Whether the steps of a method preserve a structure of this system: forces and skates leave it none."""
    canonical = isinstance(method.structure, Canonical)
    broken = carries(system, Forced) or carries(system, Nonholonomic)
    return method.structure is not None and not broken and not (canonical and isinstance(unmarked(system), Herglotz))


def structure_defect(equations: PyTree, start: Start, h: Float[Array, ""]) -> Float[Array, ""]:
    """The defect of one step in the form that the start's method declares, shape ()."""
    method = start.method
    if isinstance(unmarked(start.lagrangian.lagrangian), PhaseSpaceLagrangian):
        return _first_order_defect(equations, start, h)
    structure = Canonical() if method.structure is None else method.structure
    return structure.defect(method, equations, start.t0, h, start.q, start.p, start.v, start.s)


def _first_order_defect(equations, start, h):
    flat, method, t = start.lagrangian, start.method, start.t0

    def one_form(t, q):
        return jax.grad(flat, argnums=2)(t, q, jnp.zeros_like(q))

    def advance(q):
        p = one_form(t, q)
        return q + method.step(equations, t, h, q, p, method.memory(equations, t, q, p, start.v, start.s)).dq

    def form(t, q):
        slope = jax.jacfwd(one_form, argnums=1)(t, q)
        return slope.T - slope

    jacobian = jax.jacfwd(advance)(start.q)
    difference = jacobian.T @ form(t + h, advance(start.q)) @ jacobian - form(t, start.q)
    return jnp.max(jnp.abs(difference))
