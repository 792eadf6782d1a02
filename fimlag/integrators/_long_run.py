"""Long motions in chunks: with a meter, and what was reached kept when they are interrupted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Int, PyTree

from fimlag._compiled import compiled
from fimlag._results import RESULTS, either_failure
from fimlag.integrators._adjoint import AbstractAdjoint
from fimlag.integrators._course import Course, course, trajectory
from fimlag.integrators._motion import Start
from fimlag.integrators._trajectory import Trajectory
from fimlag.integrators._walk import by_scalars

_CHUNKS = 100


class Plan(NamedTuple):
    """What a motion in chunks is of."""

    start: Start
    adjoint: AbstractAdjoint
    save_every: int
    compensated: bool

    def course(self) -> Course:
        """The march set out."""
        return course(*self)


def in_chunks(plan: Plan, progress: bool | Callable[[int, int], object]) -> Trajectory:
    """A trajectory made chunk by chunk, up to an interruption: its last row is then the state after a whole chunk."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(eqx.filter(plan, eqx.is_array))):
        raise ValueError("progress does not work under jit, vmap or a derivative: leave it out there.")
    steps, save_every = plan.start.steps, plan.save_every
    carry, ends, parts, done = _begin(plan), [0], [], 0
    with _meter(progress, steps) as tell:
        try:
            for count in _counts(steps, save_every):
                carry, rows = _advanced(plan, carry, done, count)
                done += count
                parts += rows
                ends += range(ends[-1] + save_every, done + 1, save_every)
                tell(done, steps)
        except KeyboardInterrupt:
            if ends[-1] < done or done == 0:
                ends, parts = [*ends, done], [*parts, _shown(plan, carry)]
    rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), *parts)
    found = _finished(plan, carry, rows, jnp.asarray(ends))
    if done == steps:
        return found
    return eqx.tree_at(lambda found: found.result, found, either_failure(found.result, RESULTS.interrupted))


def _counts(steps: int, save_every: int) -> list[int]:
    """The steps of each chunk: of some rows, or of a part of one row."""
    rows = steps // save_every
    if rows >= _CHUNKS:
        whole, rest = divmod(rows, rows // _CHUNKS)
        return [rows // _CHUNKS * save_every] * whole + [rest * save_every] * (rest > 0)
    pieces = min(-(-_CHUNKS // rows), save_every)
    return np.diff(np.linspace(0, save_every, pieces + 1).astype(int)).tolist() * rows


def _advanced(plan: Plan, carry, done: int, count: int):
    """The carry after a chunk, and the rows that it completes."""
    if count % plan.save_every == 0:
        carry, rows = _through(plan, carry, jnp.asarray(done // plan.save_every), count // plan.save_every)
        return jax.block_until_ready(carry), [rows]
    carry = jax.block_until_ready(_onward(plan, carry, jnp.asarray(done), jnp.asarray(count)))
    return carry, [_shown(plan, carry)] if (done + count) % plan.save_every == 0 else []


@compiled
def _begin(plan: Plan) -> PyTree:
    begun = plan.course()
    return begun.state, begun.record


@compiled
def _through(plan: Plan, carry: PyTree, first: Int[Array, ""], rows: int):
    """The carry after whole rows, and these."""
    walk = plan.course().walk._replace(rows=rows)
    return by_scalars(walk.through)(carry, first)


@compiled
def _onward(plan: Plan, carry: PyTree, first: Int[Array, ""], count: Int[Array, ""]) -> PyTree:
    """The carry after some steps."""
    walk = plan.course().walk

    def march(carry, first, count):
        return lax.fori_loop(first, first + count, lambda number, carry: walk.advance(carry, number), carry)

    return by_scalars(march)(carry, first, count)


@compiled
def _shown(plan: Plan, carry: PyTree) -> PyTree:
    """The row of a carry."""
    return jax.tree.map(lambda leaf: leaf[None], plan.course().walk.show(carry[0]))


@compiled
def _finished(plan: Plan, carry: PyTree, rows: PyTree, counts: Int[Array, " rows"]) -> Trajectory:
    return trajectory(plan.start, plan.course(), counts, carry[1], rows)


@contextmanager
def _meter(progress: bool | Callable[[int, int], object], steps: int) -> Iterator[Callable[[int, int], object]]:
    """What to tell of the steps done."""
    if callable(progress):
        yield progress
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("progress=True needs tqdm, of the extra `progress`: or give a function.") from error
    with tqdm(total=steps, unit="step", unit_scale=True) as bar:
        yield lambda done, _: bar.update(done - bar.n)
