"""The one loop that makes a trajectory."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from fimlag._results import RESULTS, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators._adjoint import AbstractAdjoint, DirectAdjoint
from fimlag.integrators._method import AbstractMethod, with_compensation
from fimlag.integrators._motion import Phase, Start, begin, check_counts, checked_start, inspected_steps
from fimlag.integrators._trajectory import Trajectory
from fimlag.integrators._walk import State, Walk
from fimlag.integrators._witness import Witness

_FEW = 64  # rows: where fewer are saved, a method's form is inspected between them too


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
    `adjoint`: how gradients run back, None for `DirectAdjoint()`; `compensated`: add the increments with
    compensation for round-off, for long runs; `s0`: the initial action of a `Herglotz` system; `throw`: raise
    where the integration failed.

    **Returns:** a `Trajectory` of `steps / save_every + 1` rows, the start included. From a failed step on
    its rows are NaN.

    **Raises:** `ValueError` for steps that are no positive integer, a `save_every` that does not divide them,
    times that are not scalars, an explicit method with a system not known to be separable, q0 and v0 of
    different structures, a `Herglotz` system inside a mark. Results: `nonfinite`, `singular_mass` (at the start),
    `implicit_step_failed`, `not_separable` (a `Separable` whose mass matrix changed), and those of the method.

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
    adjoint = DirectAdjoint() if adjoint is None else adjoint
    adjoint.check(start.method, steps // save_every, save_every)
    trajectory = _run(start, adjoint, save_every, compensated, throw)
    return raise_unless_successful(trajectory, throw)


@eqx.filter_jit
def _run(start: Start, adjoint, save_every, compensated, throw) -> Trajectory:
    structure, v = start.lagrangian.structure, start.v
    march, phase, regular = begin(start, start.q, start.p, v, start.s)
    moving, (q, p, memory) = adjoint.begin(march, phase)
    rows = start.steps // save_every
    witness = Witness(march, start.steps) if save_every > 1 and rows < _FEW and march.relies(phase) else None

    def step(state, number, direction):
        q, p, memory, lost = state
        entered = jnp.all(jnp.isfinite(q)) & jnp.all(jnp.isfinite(p))
        dq, dp, memory, here = moving.method.step(
            moving.equations, moving.time(number), direction * moving.h, q, p, memory
        )
        if lost is None:
            q, p = q + dq, p + dp
        else:
            # A sum and what it has lost are one number: the first alone has its derivative.
            q, lost_q = with_compensation(q, lax.stop_gradient(lost[0]), dq)
            p, lost_p = with_compensation(p, lax.stop_gradient(lost[1]), dp)
            lost = lost_q, lost_p
        return State(q, p, memory, lost), here | ~entered

    def show(state):
        return state.q, state.p, moving.method.kept(state.memory)

    def note(record, state, number, solved):
        converged, seen = record
        return converged & solved, witness and witness.look(seen, number + 1, Phase(state.q, state.p, state.memory))

    state = State(q, p, memory, (jnp.zeros_like(q), jnp.zeros_like(p)) if compensated else None)
    first = show(state)
    record = jnp.array(True), witness and witness.begin()
    (converged, witnessed), saved = adjoint.along(Walk(step, note, show, rows, save_every), state, record, throw)
    times = march.time(jnp.arange(rows + 1) * save_every)
    points, momenta, kept = jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), first, saved)
    seen = jax.vmap(march.observe_at)(times, points, momenta, kept)
    velocities = seen.v.at[0].set(v)
    if witness is None:
        looked_at = inspected_steps(rows)
        looks = jax.tree.map(lambda rows: rows[looked_at], (seen.t, points, velocities, kept))
        form = march.method.inspect(march.equations, *looks)
    else:
        form = witnessed.result
    result = first_failure(
        (~start.finite, RESULTS.nonfinite),
        (regular != RESULTS.successful, regular),
        (~converged, RESULTS.implicit_step_failed),
        (form != RESULTS.successful, form),
        (~(_finite(points) & _finite(velocities)), RESULTS.nonfinite),
    )
    q, v, p = (jax.vmap(structure.unflatten)(each) for each in (points, velocities, momenta))
    return Trajectory(
        t=seen.t, q=q, v=v, p=p, result=result, method=march.method, s=seen.s, multipliers=seen.multipliers
    )


def _finite(array):
    return jnp.all(jnp.isfinite(array))
