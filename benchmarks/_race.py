"""A race of accuracy: the orbit of eccentricity 0.6 to t = 1000, beside heyoka's adaptive Taylor series."""

import time
from functools import partial

import jax.numpy as jnp
import numpy as np
from _one_orbit import START, kepler
from _timing import Contender, compare, compiled

import fimlag as fl
from fimlag.problems import Kepler

END = 1000.0


def through_the_library(state, steps, method, compensated):
    flow = fl.integrate(
        kepler,
        state[:2],
        state[2:],
        t1=END,
        steps=steps,
        save_every=steps,
        method=method,
        compensated=compensated,
        throw=False,
    )
    return flow.t[-1], flow.q[-1]


def by_taylor_series(heyoka, tolerance):
    """`(run, seconds)`: heyoka's integration to the end, and the seconds it took to compile."""
    x, y, u, v = heyoka.make_vars("x", "y", "u", "v")
    pull = -((x**2 + y**2) ** -1.5)
    equations = [(x, u), (y, v), (u, pull * x), (v, pull * y)]
    begin = time.perf_counter()
    integrator = heyoka.taylor_adaptive(equations, START.tolist(), tol=tolerance)
    seconds = time.perf_counter() - begin

    def run():
        integrator.time, integrator.state[:] = 0.0, START
        integrator.propagate_until(END)
        return END, integrator.state[:2].copy()

    return run, seconds


def words(run) -> str:
    t, q = run()
    return f"error {np.max(np.abs(np.asarray(q) - np.asarray(Kepler().solution(t, 0.6)))):.0e}"


def through_steps(turn, method, compensated):
    """The library's call at so many steps a turn, and the seconds it took to compile."""
    steps = round(END / (2 * np.pi) * turn)
    way = partial(through_the_library, steps=steps, method=method, compensated=compensated)
    executable, seconds = compiled(way, jnp.asarray(START))
    return partial(executable, jnp.asarray(START)), seconds


def measure(heyoka, quick):
    transformed = fl.Composition(fl.TimeTransformedLeapfrog(), 8)
    ways = {}
    for tolerance in () if heyoka is None else (1e-9, 1e-12, float(np.finfo(float).eps)):
        ways[f"heyoka, tolerance {tolerance:.0e}"] = by_taylor_series(heyoka, tolerance)
    for turn in (100,) if quick else (100, 200, 400, 800):
        ways[f"KahanLi8, {turn} steps a turn"] = through_steps(turn, fl.KahanLi8(), False)
    if not quick:
        ways["KahanLi8, 800 steps a turn, compensated"] = through_steps(800, fl.KahanLi8(), True)
    for turn in (12,) if quick else (12, 25, 50):
        ways[f"time-transformed, composed to 8, {turn} steps a turn"] = through_steps(turn, transformed, True)
    contenders = [Contender(name, run, words(run), seconds) for name, (run, seconds) in ways.items()]
    compare(f"accuracy at t = {END:g}", contenders, 2 if quick else 9)
