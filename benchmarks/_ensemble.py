"""An ensemble of stars in the potential of Henon and Heiles, by leapfrog, their last states kept."""

import tempfile
from functools import partial

import _one_core  # noqa: F401, pins the process
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from _c import c_loops, marching
from _optional import optional
from _timing import agreement, beside_c, compare, compiled, options

import fimlag as fl

STEP = 0.01


def henon_heiles(t, q, v):
    x, y = q
    return v @ v / 2 - (q @ q) / 2 - x**2 * y + y**3 / 3


def force(q):
    x, y = q
    return jnp.stack([-x - 2 * x * y, -y - x * x + y * y])


def starts(number: int) -> np.ndarray:
    """All x, all y, all u, all v, of energies below that of escape."""
    return np.random.default_rng(0).uniform(-0.2, 0.2, (4, number))


def through_the_library(q, v, steps):
    end = STEP * steps
    flow = fl.integrate(
        henon_heiles, q, v, t1=end, steps=steps, save_every=steps, method=fl.StormerVerlet(), throw=False
    )
    return flow.q[-1], flow.v[-1]


def by_hand(q, v, steps):
    """A scan whose carry is scalars."""

    def step(state, _):
        x, y, u, v, fx, fy = state
        u, v = u + STEP / 2 * fx, v + STEP / 2 * fy
        x, y = x + STEP * u, y + STEP * v
        fx, fy = -x - 2 * x * y, -y - x * x + y * y
        return (x, y, u + STEP / 2 * fx, v + STEP / 2 * fy, fx, fy), None

    x, y, u, v, *_ = jax.lax.scan(step, (*q, *v, *force(q)), length=steps)[0]
    return jnp.stack([x, y]), jnp.stack([u, v])


def through_diffrax(q, v, steps):
    """Symplectic Euler steps from velocities half a step ahead, which are those of leapfrog."""
    terms = diffrax.ODETerm(lambda t, v, args: v), diffrax.ODETerm(lambda t, q, args: force(q))
    saved = diffrax.SaveAt(t1=True)
    state = q, v + STEP / 2 * force(q)
    q, v = diffrax.diffeqsolve(
        terms, diffrax.SemiImplicitEuler(), 0.0, STEP * steps, STEP, state, saveat=saved, max_steps=steps + 1
    ).ys
    return q[-1], v[-1] - STEP / 2 * force(q[-1])


def by_hessian(q, v, steps):
    """Leapfrog with the accelerations that the Hessian of any Lagrangian gives, solved for at every step."""

    def acceleration(q, v):
        gradient = jax.grad(henon_heiles, argnums=2)
        mass, mixed = jax.hessian(henon_heiles, argnums=2)(0.0, q, v), jax.jacfwd(gradient, argnums=1)(0.0, q, v)
        return jnp.linalg.solve(mass, jax.grad(henon_heiles, argnums=1)(0.0, q, v) - mixed @ v)

    def step(state, _):
        q, v, a = state
        v = v + STEP / 2 * a
        q = q + STEP * v
        a = acceleration(q, v)
        return (q, v + STEP / 2 * a, a), None

    return jax.lax.scan(step, (q, v, acceleration(q, v)), length=steps)[0][:2]


OURS, DIFFRAX, HESSIAN = "fimlag, plain L", "diffrax SemiImplicitEuler", "scan, Hessian and solve"
WAYS = {OURS: through_the_library, "scan by hand": by_hand, DIFFRAX: through_diffrax, HESSIAN: by_hessian}


def stacked(function):
    """All x, all y, all u, all v at the end, for all stars."""
    return lambda q, v: jnp.concatenate(jax.vmap(function)(q, v), axis=1).T


def measure(loops, numba_loops, quick, flags="default flags", aim=2.0):
    number, steps, rounds = (64, 100, 2) if quick else (10_000, 1000, 9)
    state, runs, seconds = starts(number), {}, {}
    if loops is not None:
        runs["C, in lanes"] = marching(loops.henon_heiles_in_lanes, state, number, STEP, steps)
        runs["C, one by one"] = marching(loops.henon_heiles_one_by_one, state, number, STEP, steps)
    if numba_loops is not None:
        runs["numba, in lanes"] = partial(numba_loops.henon_heiles, state, STEP, steps)
    q, v = jnp.asarray(state[:2].T), jnp.asarray(state[2:].T)
    for way, function in WAYS.items():
        executable, seconds[way] = compiled(stacked(partial(function, steps=steps)), q, v)
        runs[way] = partial(executable, q, v)
    # Neighbouring orbits part exponentially, over these times by far less than a factor of a million.
    contenders = beside_c(runs, partial(agreement, most=1e-9), seconds, {OURS: aim})
    times = compare(f"{number} stars, StormerVerlet, {steps} steps, {flags}", contenders, rounds)
    print(f"  {OURS} is {times[DIFFRAX] / times[OURS]:.3g} times as fast as {DIFFRAX} (aim 2)")
    print(f"  {OURS} is {times[HESSIAN] / times[OURS]:.3g} times as fast as {HESSIAN} (aim 20)")


def main():
    """The same with the flags, which act only in a process that has not used jax yet."""
    fl.enable_fast_cpu()
    quick = options(main.__doc__).quick
    jax.config.update("jax_enable_x64", True)
    with tempfile.TemporaryDirectory() as folder:
        measure(c_loops(folder), optional("numba", "_numba_loops"), quick, "fl.enable_fast_cpu()", 1.4)


if __name__ == "__main__":
    main()
