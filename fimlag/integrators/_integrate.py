"""The one loop that makes a trajectory."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from fimlag._compiled import compiled
from fimlag._results import either_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators._adjoint import AbstractAdjoint
from fimlag.integrators._course import course, trajectory
from fimlag.integrators._long_run import Plan, in_chunks
from fimlag.integrators._memory import refuse_beyond_memory
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import Start, check_counts, checked_start
from fimlag.integrators._reversible import default_adjoint
from fimlag.integrators._trajectory import Trajectory


def integrate(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    *,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    method: AbstractMethod | None = None,
    save_every: int = 1,
    adjoint: AbstractAdjoint | None = None,
    compensated: bool = False,
    s0: RealScalarLike = 0.0,
    progress: bool | Callable[[int, int], object] = False,
    throw: bool = True,
) -> Trajectory:
    r"""The motion of a Lagrangian from an initial point and velocity, by a method that keeps its structure.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} = \frac{\partial L}{\partial q}, \qquad
    h = \frac{t_1 - t_0}{\mathtt{steps}}$$

    **Arguments:** `system`: a Lagrangian `(t, q, v) -> scalar`, or one marked as `Forced`, `Constrained`,
    `Nonholonomic`, `Herglotz` or `PhaseSpaceLagrangian`; `q0`, `v0`: point and velocity in one structure, `v0`
    None for a `PhaseSpaceLagrangian`, whose points determine it; `t0`, `t1`: start and end (the user's time
    unit), `t1` may be earlier, in fictive time where the method transforms it; `steps`: their number, a Python
    integer; `method`: None for `default_method(system)`; `save_every`: steps a row, a divisor of `steps`;
    `adjoint`: how gradients run back, None for `ReversibleAdjoint()` where the method is symmetric and
    the system carries no forces and no action, else `DirectAdjoint()`; `compensated`: add the increments with
    compensation for round-off, for long runs; `s0`: the initial action of a `Herglotz` system; `progress`: march in
    chunks and show a meter (tqdm, of the extra `progress`), or call a function of the steps done and their number
    after each; an interruption (Ctrl-C) then returns the motion up to there. Not under a transformation; `throw`:
    raise where the integration failed.

    **Returns:** a `Trajectory` of `steps / save_every + 1` rows, the start included. From a failed step on
    its rows are NaN.

    **Raises:** `ValueError` for steps that are no positive integer, a `save_every` that does not divide them,
    times that are not scalars, an explicit method with a system not known to be separable, q0 and v0 of
    different structures, a `Herglotz` system inside a mark, `progress` under a transformation; `MemoryError` for rows
    that would not fit into the memory that is free. Results: `nonfinite`, `singular_mass` (at the start),
    `implicit_step_failed`, `not_separable` (a `Separable` whose mass matrix changed), `interrupted` (never raised),
    and those of the method.

    **Reference:** Hairer, Lubich & Wanner (2006).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> flow = fl.integrate(L, 1.0, 0.0, t1=2 * jnp.pi, steps=1000, save_every=500)
    >>> [round(float(q), 4) for q in flow.q], type(flow.method).__name__
    ([1.0, -1.0, 1.0], 'StormerVerlet')

    ```
    """
    check_counts(steps=steps, save_every=save_every)
    if steps % save_every:
        raise ValueError(f"steps must be divisible by save_every, but {steps} is not divisible by {save_every}.")
    start = checked_start(system, q0, v0, t0, t1, steps, method, s0)
    adjoint = default_adjoint(start) if adjoint is None else adjoint
    adjoint.check(start.method, steps // save_every, save_every)
    refuse_beyond_memory(steps // save_every, start.q)
    if progress:
        plan = Plan(start, adjoint, save_every, compensated)
        return raise_unless_successful(in_chunks(plan, progress), throw)
    return raise_unless_successful(_run(start, adjoint, save_every, compensated, throw), throw)


@compiled
def _run(start: Start, adjoint, save_every, compensated, throw) -> Trajectory:
    plan = course(start, adjoint, save_every, compensated)
    record, rows, result = adjoint.along(plan.walk, plan.state, plan.record, throw)
    found = trajectory(start, plan, jnp.arange(plan.walk.rows + 1) * save_every, record, rows)
    return eqx.tree_at(lambda found: found.result, found, either_failure(found.result, result))
