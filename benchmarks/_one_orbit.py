"""One orbit of eccentricity 0.6 by leapfrog and by Kahan and Li's method of order 8, its last state kept."""

from collections.abc import Callable
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from _c import marching
from _timing import agreement, beside_c, compare, compiled

import fimlag as fl
from fimlag.problems import Kepler

START = np.array([0.4, 0.0, 0.0, 2.0])
"""Point and velocity at the perihelion."""

OURS = "fimlag, plain L"


def kepler(t, q, v):
    return v @ v / 2 + 1 / jnp.sqrt(q @ q)


def gravity(x, y):
    r2 = x * x + y * y
    pull = -1 / (r2 * jnp.sqrt(r2))
    return pull * x, pull * y


def through_the_library(state, end, steps, method):
    flow = fl.integrate(kepler, state[:2], state[2:], t1=end, steps=steps, save_every=steps, method=method, throw=False)
    return jnp.concatenate([flow.q[-1], flow.v[-1]])


def by_hand(state, end, steps, method):
    """A scan whose carry is scalars, the stages an inner scan over the shares of the step."""
    h = end / steps
    drifts, kicks = (jnp.asarray(shares) for shares in (method.splitting.drifts, method.splitting.kicks))

    def stage(state, share):
        x, y, u, v, _, _ = state
        drift, kick = share
        x, y = x + h * drift * u, y + h * drift * v
        fx, fy = gravity(x, y)
        return (x, y, u + h * kick * fx, v + h * kick * fy, fx, fy), None

    def step(state, _):
        x, y, u, v, fx, fy = state
        state = x, y, u + h * kicks[0] * fx, v + h * kicks[0] * fy, fx, fy
        if drifts.size == 1:
            return stage(state, (1.0, 0.5))
        return jax.lax.scan(stage, state, (drifts, kicks[1:]))[0], None

    state = (*state, *gravity(*state[:2]))
    return jnp.stack(jax.lax.scan(step, state, length=steps)[0][:4])


def through_diffrax(state, end, steps):
    """Symplectic Euler steps from velocities half a step ahead, which are those of leapfrog."""
    h = end / steps
    terms = (
        diffrax.ODETerm(lambda t, v, args: v),
        diffrax.ODETerm(lambda t, q, args: jnp.stack(gravity(*q))),
    )
    q, v = state[:2], state[2:]
    v = v + h / 2 * jnp.stack(gravity(*q))
    # Time is a sum of steps, whose round-off may leave one short step at the end.
    q, v = diffrax.diffeqsolve(
        terms, diffrax.SemiImplicitEuler(), 0.0, end, h, (q, v), saveat=diffrax.SaveAt(t1=True), max_steps=steps + 1
    ).ys
    return jnp.concatenate([q[-1], v[-1] - h / 2 * jnp.stack(gravity(*q[-1]))])


def rivals(loops, numba_loops, method, h, steps) -> dict[str, Callable]:
    """The calls of C and numba that make the same steps."""
    drifts, kicks = (np.array(shares) for shares in (method.splitting.drifts, method.splitting.kicks))
    runs = {}
    if loops is not None and drifts.size == 1:
        runs["C"] = marching(loops.kepler_leapfrog, START, h, steps)
    elif loops is not None:
        runs["C"] = marching(loops.kepler_splitting, START, drifts, kicks, drifts.size, h, steps)
    if numba_loops is not None and drifts.size == 1:
        runs["numba"] = partial(numba_loops.kepler_leapfrog, START, h, steps)
    elif numba_loops is not None:
        runs["numba"] = partial(numba_loops.kepler_splitting, START, drifts, kicks, h, steps)
    return runs


def measure(loops, numba_loops, quick):
    sizes = {"StormerVerlet": (1000, 1.3), "KahanLi8": (100, 1.6)}
    orbits, rounds = (10, 2) if quick else (1000, 15)
    for name, (steps, aim) in sizes.items():
        method, end, steps = getattr(fl, name)(), 2 * np.pi * orbits, orbits * steps
        runs = rivals(loops, numba_loops, method, end / steps, steps)
        ways = {OURS: through_the_library, "scan by hand": by_hand}
        ways = {way: partial(function, method=method) for way, function in ways.items()}
        if name == "StormerVerlet":
            ways["diffrax SemiImplicitEuler"] = through_diffrax
        seconds = {}
        for way, function in ways.items():
            executable, seconds[way] = compiled(partial(function, steps=steps), jnp.asarray(START), end)
            runs[way] = partial(executable, jnp.asarray(START), end)
        contenders = beside_c(runs, partial(words, t=end), seconds, {OURS: aim})
        compare(f"one orbit, {name}, {steps} steps: {orbits} turns", contenders, rounds)


def words(state, first, t) -> str:
    error = np.max(np.abs(np.asarray(state)[:2] - np.asarray(Kepler().solution(t, 0.6))))
    # Round-off in the energy shifts the phase in proportion to the square of the time, at most.
    return f"error {error:.0e}, {agreement(state, first, 1e-12 * t**2)}"
