"""Runs of one method, all by one compiled loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from fimlag._results import RESULTS
from fimlag.integrators._method import Observation, advanced
from fimlag.integrators._motion import Start


class Runs(NamedTuple):
    """Runs one after another.

    **Attributes:** `t`: the time at the start of each; `h`: its step; `counts`: its number of steps; `fresh`:
    whether it starts at the common start, or where the run before ended.
    """

    t: Float[Array, " runs"]
    h: Float[Array, " runs"]
    counts: Int[Array, " runs"]
    fresh: Bool[Array, " runs"]


class Ends(NamedTuple):
    """The states at the ends of runs, what a trajectory would show of them, and whether all steps were solved."""

    q: Float[Array, "runs d"]
    p: Float[Array, "runs d"]
    seen: Observation
    converged: Bool[Array, " runs"]


def march(equations: PyTree, start: Start, runs: Runs) -> Ends:
    """Run the start's method for numbers of steps that compiled code learns only when it runs."""
    method, q, p = start.method, start.q, start.p
    first = (q, p, method.memory(equations, start.t0, q, p, start.v, start.s), jnp.array(True))

    def run(state, plan):
        state = jax.tree.map(lambda fresh, last: jnp.where(plan.fresh, fresh, last), first, state)

        def step(number, state):
            *state, converged = state
            time = plan.t + number.astype(q.dtype) * plan.h
            *state, here = advanced(method, equations, time, plan.h, *state)
            return (*state, converged & here)

        state = lax.fori_loop(0, plan.counts, step, state)
        point, momentum, memory, converged = state
        return state, (point, momentum, method.kept(memory), converged)

    _, (points, momenta, kept, converged) = lax.scan(run, first, runs)
    times = runs.t + runs.counts.astype(q.dtype) * runs.h
    seen = jax.vmap(lambda *state: method.observe(equations, *state))(times, points, momenta, kept)
    return Ends(points, momenta, seen, converged)


def prepared(start: Start) -> tuple[PyTree, RESULTS]:
    """The equations of the start's method, and what is wrong with it."""
    return start.method.prepare(start.lagrangian, start.t0, start.q, start.v, start.s)


def one_span(t0: Float[Array, ""], t1: Float[Array, ""], counts: Int[Array, " runs"]) -> Runs:
    """A fresh run over one span of time for every number of steps."""
    h = (t1 - t0) / counts.astype(t0.dtype)
    return Runs(jnp.broadcast_to(t0, h.shape), h, counts, jnp.ones(h.shape, bool))
