"""How far a step is from preserving what its method declares."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators import AbstractMethod
from fimlag.integrators._structure import Canonical
from fimlag.mechanics._lagrangian import flat_arguments


def symplecticity_defect(
    method: AbstractMethod,
    lagrangian: LagrangianFn,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates,
    h: RealScalarLike,
) -> Float[Array, ""]:
    r"""How far one step is from preserving the symplectic form.

    $$\max |J^\top \Omega J - \Omega|, \qquad J = \frac{\partial (q_1, p_1)}{\partial (q_0, p_0)}, \quad
    \Omega = \begin{pmatrix} 0 & 1 \\ -1 & 0 \end{pmatrix}$$

    **Arguments:** `method`; `lagrangian`; `t`, `q`, `v`: the state at the step's start; `h`: the step.

    **Returns:** the defect, shape (); round-off for a symplectic method, NaN where the step failed.

    **Reference:** Hairer, Lubich & Wanner (2006), definition VI.2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.problems.DoublePendulum()
    >>> bool(fl.symplecticity_defect(fl.GaussLegendre(2), L, 0.0, jnp.ones(2), jnp.ones(2), 0.1) < 1e-13)
    True

    ```
    """
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    p = jax.grad(flat, argnums=2)(t, q, v)
    equations, _ = method.prepare(flat, t, q, v, None)
    structure = Canonical() if method.structure is None else method.structure
    return structure.defect(method, equations, t, jnp.asarray(h, q.dtype), q, p, v, None)
