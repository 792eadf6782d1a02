"""Why a Lagrangian linear in the velocity does not determine a motion."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.mechanics._phase_space import first_order_equations, flat_phase_velocity, flat_place, is_linear


class PhaseSpaceReport(AbstractSolution):
    r"""How well the symplectic form determines the velocity at a point.

    **Attributes:** `velocity`, in the structure of `q`, NaN where it is not determined; `nullity`: the number of
    singular values of the form at round-off of the largest; `null_direction`, in the structure of `q`: the unit
    vector on which the form is smallest; `obstruction`: the length of the part of $\partial H / \partial q +
    \partial \theta / \partial t - Q$ that a singular form cannot balance, zero where the nullity is; `result`: a
    member of `RESULTS`.
    """

    velocity: PyTree[Array]
    nullity: Int[Array, ""]
    null_direction: PyTree[Array]
    obstruction: Float[Array, ""]
    result: RESULTS


def phase_space_report(
    lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, throw: bool = True
) -> PhaseSpaceReport:
    r"""The phase velocity with its certificate: the direction in which it is not determined, if there is one.

    $$n:\ \omega\, n = 0, \qquad n \cdot \Big(\frac{\partial H}{\partial q} + \frac{\partial \theta}{\partial t}
    - Q\Big) = 0$$

    Along a null direction n the second equation is a constraint on the point. Where it holds the velocity along n
    is free, as in a gauge; where it fails there is no motion.

    **Arguments:** as in `phase_velocity`; `throw`: raise where the velocity is not determined.

    **Returns:** a `PhaseSpaceReport`.

    **Raises:** `ValueError` for a `NaturalLagrangian`. Results: `nonfinite`, `not_first_order`,
    `degenerate_form`.

    **Reference:** Faddeev & Jackiw (1988); Jackiw (1994).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> idle = lambda t, z, w: z[1] * w[0] - z[0] ** 2
    >>> report = fl.phase_space_report(idle, 0.0, jnp.array([1.0, 2.0, 3.0]), throw=False)
    >>> jnp.abs(report.null_direction).tolist(), int(report.nullity), float(report.obstruction)
    ([0.0, 0.0, 1.0], 1, 0.0)

    ```
    """
    flat, t, q = flat_place(lagrangian, t, q)
    matrix, drive, force = first_order_equations(flat, t, q)
    impossible = force is None and q.size % 2
    velocity = jnp.full_like(q, jnp.nan) if impossible else flat_phase_velocity(flat, t, q)
    left, values, right = jnp.linalg.svd(matrix)
    null = values <= q.size * jnp.finfo(q.dtype).eps * values[0]
    result = first_failure(
        (~(jnp.all(jnp.isfinite(matrix)) & jnp.all(jnp.isfinite(drive))), RESULTS.nonfinite),
        (~is_linear(flat, t, q), RESULTS.not_first_order),
        (jnp.any(null) | ~jnp.all(jnp.isfinite(solve(matrix, drive))), RESULTS.degenerate_form),
        (~jnp.all(jnp.isfinite(velocity)), RESULTS.not_first_order),
    )
    report = PhaseSpaceReport(
        velocity=flat.structure.unflatten(jnp.where(result == RESULTS.successful, velocity, jnp.nan)),
        nullity=jnp.sum(null),
        null_direction=flat.structure.unflatten(right[-1]),
        obstruction=jnp.linalg.norm(jnp.where(null, left.T @ drive, 0)),
        result=result,
    )
    return raise_unless_successful(report, throw)
