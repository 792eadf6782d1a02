"""Variational equations: how neighbouring motions part."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, PyTree

from fimlag._compiled import compiled
from fimlag._results import RESULTS, AbstractSolution, either_failure, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators._adjoint import DirectAdjoint
from fimlag.integrators._integrate import integrate
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import Start, begin, checked_start, inspected_steps
from fimlag.integrators._tangent import PhaseCoordinates, refuse_constrained
from fimlag.integrators._trajectory import Trajectory


class Variation(AbstractSolution):
    """A linearised displacement along a motion.

    **Attributes:** `trajectory`: the motion; `dq`, `dv`, `dp`: the displacement of its points, velocities and momenta
    at the rows, in the caller's structure; `result`: that of the trajectory, `nonfinite` where it has no derivative.
    """

    trajectory: Trajectory
    dq: PyTree[Array]
    dv: PyTree[Array]
    dp: PyTree[Array]
    result: RESULTS


class Monodromy(AbstractSolution):
    """The derivative of the state at the end of a motion in the state at its start.

    **Attributes:** `matrix`, shape (2d, 2d), on flat (q, p) (with the action s behind them for a contact system, q
    alone on a phase space); `t`, `q`, `v`, `p`: the end of the motion; `result`: a member of `RESULTS`; `method`.
    """

    matrix: Float[Array, "n n"]
    t: Float[Array, ""]
    q: PyTree[Array]
    v: PyTree[Array]
    p: PyTree[Array]
    result: RESULTS
    method: AbstractMethod

    @property
    def multipliers(self) -> Complex[Array, " n"]:
        """The eigenvalues of the matrix: over one period, Floquet's multipliers."""
        return jnp.linalg.eigvals(self.matrix)


def variation(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    dq0: Coordinates,
    dv0: Coordinates | None,
    *,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    method: AbstractMethod | None = None,
    save_every: int = 1,
    s0: RealScalarLike = 0.0,
    throw: bool = True,
) -> Variation:
    r"""The linearised displacement of a motion whose start is displaced.

    $$\delta q(t) = \frac{\partial q(t)}{\partial q_0}\, \delta q_0 + \frac{\partial q(t)}{\partial v_0}\, \delta v_0$$

    It solves the linearised equations of motion (the Jacobi equation, along geodesics), as the derivative of the
    steps themselves. A method with a clock of its own varies the state at equal times of that clock.

    **Arguments:** `system`, `q0`, `v0`, `t0`, `t1`, `steps`, `method`, `save_every`, `s0`, `throw`: as for
    `integrate`; `dq0`, `dv0`: the displacements of `q0` and `v0`, `dv0` None where `v0` is.

    **Returns:** a `Variation`.

    **Raises:** as `integrate`, and `ValueError` for displacements of another structure.

    **Reference:** Hairer, Norsett & Wanner (1993), theorem I.14.3.

    ```python
    >>> import fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> field = fl.variation(L, 1.0, 0.0, 0.0, 1.0, t1=1.5, steps=100, method=fl.Yoshida4())
    >>> round(float(field.dq[-1]), 6)  # the sine of 1.5
    0.997495

    ```
    """
    start = checked_start(system, q0, v0, t0, t1, steps, method, s0)
    structure = start.lagrangian.structure
    free = (start.q,) if v0 is None else (start.q, start.v)
    displaced = [structure.flatten(dq0, "dq0").astype(start.q.dtype)]
    if v0 is not None:
        displaced.append(structure.flatten(dv0, "dv0").astype(start.q.dtype))

    def motion(q, v=None):
        ends = structure.unflatten(q), None if v is None else structure.unflatten(v)
        options = {"t0": t0, "t1": t1, "steps": steps, "save_every": save_every, "s0": s0}
        return integrate(system, *ends, method=start.method, adjoint=DirectAdjoint(), throw=False, **options)

    trajectory, tangent = eqx.filter_jvp(motion, free, tuple(displaced))
    moved = {"dq": tangent.q, "dv": tangent.v, "dp": tangent.p}
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(moved)]))
    result = either_failure(trajectory.result, first_failure((~finite, RESULTS.nonfinite)))
    solution = Variation(trajectory=trajectory, **moved, result=result)
    return raise_unless_successful(solution, throw)


def monodromy(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    *,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    method: AbstractMethod | None = None,
    s0: RealScalarLike = 0.0,
    throw: bool = True,
) -> Monodromy:
    r"""The derivative of the flow of a motion in phase space, and for a periodic one its Floquet multipliers.

    $$M = \frac{\partial (q(t_1), p(t_1))}{\partial (q_0, p_0)}, \qquad M^\top \Omega M = \Omega$$

    It is the product of the derivatives of the steps, in forward mode, so that it is symplectic to round-off for a
    symplectic method: multipliers come in pairs of product one. A method with a clock of its own varies the state at
    equal times of that clock.

    **Arguments:** as for `integrate`.

    **Returns:** a `Monodromy`, with `matrix` and `multipliers`.

    **Raises:** as `integrate`, and `ValueError` for a system with constraints.

    **Reference:** Arnold (1989), section 25; Yakubovich & Starzhinskii (1975), chapter II.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> quarter = fl.monodromy(L, 1.0, 0.0, t1=jnp.pi / 2, steps=200, method=fl.Yoshida4())
    >>> bool(jnp.max(jnp.abs(quarter.matrix - jnp.array([[0.0, 1.0], [-1.0, 0.0]]))) < 1e-8)
    True

    ```
    """
    refuse_constrained(system, "monodromy")
    start = checked_start(system, q0, v0, t0, t1, steps, method, s0)
    matrix, seen, q, p, result = _monodromy(start)
    q, v, p = (start.lagrangian.structure.unflatten(each) for each in (q, seen.v, p))
    ends = {"t": seen.t, "q": q, "v": v, "p": p}
    return raise_unless_successful(Monodromy(matrix=matrix, **ends, result=result, method=start.method), throw)


@compiled
def _monodromy(start: Start):
    coordinates = PhaseCoordinates(start)
    last, looked_at = jnp.asarray(start.steps), jnp.asarray(inspected_steps(start.steps))

    def end(z):
        march, phase = coordinates.begin(z)

        def step(state, number):
            phase, converged, form = state
            phase, here = march.step(number, phase)
            looked = jnp.any(looked_at == number + 1)
            found = lax.cond(looked, lambda: march.inspect(number + 1, phase), lambda: RESULTS.successful)
            return (phase, converged & here, either_failure(form, found)), None

        begun = (phase, jnp.array(True), RESULTS.successful)
        (phase, converged, form), _ = lax.scan(step, begun, jnp.arange(start.steps))
        return coordinates.of(march, last, phase), (phase, converged, form)

    matrix, (phase, converged, form) = jax.jacfwd(end, has_aux=True)(coordinates.at_start)
    march, _, regular = begin(start, start.q, start.p, start.v, start.s)
    seen = march.observe(last, phase)
    finite = jnp.all(jnp.isfinite(matrix)) & jnp.all(jnp.isfinite(seen.v))
    result = first_failure(
        (~start.finite, RESULTS.nonfinite),
        (regular != RESULTS.successful, regular),
        (~converged, RESULTS.implicit_step_failed),
        (~finite, RESULTS.nonfinite),
        (form != RESULTS.successful, form),
    )
    return matrix, seen, phase.q, phase.p, result
