"""A trajectory as it is set out and as it is put together."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

from fimlag._results import RESULTS, first_failure
from fimlag.integrators._adjoint import AbstractAdjoint
from fimlag.integrators._grid import GridEquations, changes, has_one_force, leap_on_grid
from fimlag.integrators._method import with_compensation
from fimlag.integrators._motion import March, Phase, Start, begin, inspected_steps
from fimlag.integrators._separable import SeparableEquations
from fimlag.integrators._splitting import AbstractSplitting
from fimlag.integrators._trajectory import Trajectory
from fimlag.integrators._walk import OnGrid, State, Walk
from fimlag.integrators._witness import Witness

_FEW = 64  # rows: where fewer are saved, a method's form is inspected between them too


class Course(NamedTuple):
    """A march set out: what its equations are and whether they are regular, its loop, and what this starts from."""

    march: March
    regular: RESULTS
    walk: Walk
    state: State
    record: PyTree


def course(start: Start, adjoint: AbstractAdjoint, save_every: int, compensated: bool) -> Course:
    """The steps of a motion, as an adjoint takes them."""
    march, phase, regular = begin(start, start.q, start.p, start.v, start.s)
    moving, (q, p, memory) = adjoint.begin(march, phase, start.steps)
    rows = start.steps // save_every
    witness = Witness(march, start.steps) if save_every > 1 and rows < _FEW and march.relies(phase) else None

    def step(state, number, direction):
        q, p, memory, lost = state
        entered = jnp.all(jnp.isfinite(q)) & jnp.all(jnp.isfinite(p))
        h = direction * moving.h
        dq, dp, memory, here = moving.method.step(moving.equations, moving.time(number), h, q, p, memory)
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

    singly = compensated or witness is not None or save_every == 1
    leap = None if singly else _leap(moving, save_every)
    state = State(q, p, memory, (jnp.zeros_like(q), jnp.zeros_like(p)) if compensated else None)
    record = jnp.array(True), witness and witness.begin()
    walk = Walk(step, note, show, rows, save_every, leap, None if moving is march else _on_grid(moving))
    return Course(march, regular, walk, state, record)


def _leap(march: March, count: int) -> Callable | None:
    """The state after a count of steps at once, for products of drifts and kicks; None for other methods."""
    method, equations = march.method, march.equations
    if isinstance(equations, GridEquations) and has_one_force(method):
        kicks = method.splitting.kicks
        return lambda state, first: State(*leap_on_grid(march, kicks, Phase(*state[:3]), first, count), None)
    if not (isinstance(method, AbstractSplitting) and isinstance(equations, SeparableEquations)):
        return None

    def leap(state, first):
        after = method.leap(equations, march.time, march.h, state.q, state.p, state.memory, first, count)
        return State(*after, None)

    return leap


def _on_grid(march: March) -> OnGrid:
    def change(state, number, after):
        return changes(march, after, number, Phase(state.q, state.p, state.memory))

    return OnGrid(change, lambda: (march.equations.q.spacing, march.equations.p.spacing))


def trajectory(start: Start, plan: Course, counts: Int[Array, " rows"], record: PyTree, rows: PyTree) -> Trajectory:
    """The trajectory of the rows after given counts of steps, the start not among the rows but among the counts."""
    march, (converged, witnessed) = plan.march, record
    shown = plan.walk.show(plan.state)
    points, momenta, kept = jax.tree.map(lambda start, rest: jnp.concatenate([start[None], rest]), shown, rows)
    seen = jax.vmap(march.observe_at)(march.time(counts), points, momenta, kept)
    velocities = seen.v.at[0].set(start.v)
    if witnessed is None:
        looked_at = inspected_steps(counts.size - 1)
        looks = jax.tree.map(lambda rows: rows[looked_at], (seen.t, points, velocities, kept))
        form = march.method.inspect(march.equations, *looks)
    else:
        form = witnessed.result
    result = first_failure(
        (~start.finite, RESULTS.nonfinite),
        (plan.regular != RESULTS.successful, plan.regular),
        (~converged, RESULTS.implicit_step_failed),
        (form != RESULTS.successful, form),
        (~(_finite(points) & _finite(velocities)), RESULTS.nonfinite),
    )
    q, v, p = (jax.vmap(start.lagrangian.structure.unflatten)(each) for each in (points, velocities, momenta))
    return Trajectory(
        t=seen.t, q=q, v=v, p=p, result=result, method=march.method, s=seen.s, multipliers=seen.multipliers
    )


def _finite(array):
    return jnp.all(jnp.isfinite(array))
