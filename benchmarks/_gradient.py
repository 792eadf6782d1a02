"""The gradient of an end state by the initial state, the duration and a constant of nature, through a long orbit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from _c import marching
from _one_orbit import START
from _timing import Contender, compare, compiled, temporary_bytes

import fimlag as fl

AIM, LARGEST = 4.0, 1e6
"""Times the forward run, with `exact=True` that on the grid, and bytes."""

CLOSEST = {"ReversibleAdjoint()": 1e-8, "ReversibleAdjoint(exact=True)": 1e-10}
"""Relative distances from forward mode of the same run, with `exact=True` from extended precision along the states on
the grid: forward mode rounds as much there as the gradient itself."""

WEIGHTS = np.array([0.7, 0.3])


def motion(given, steps, adjoint, save_every):
    """The points and momenta of an orbit, from initial point and velocity, duration and gravity."""
    q, v, duration, gravity = given[:2], given[2:4], given[4], given[5]

    def kepler(t, q, v):
        return v @ v / 2 + gravity / jnp.sqrt(q @ q)

    method = fl.StormerVerlet()
    flow = fl.integrate(
        kepler, q, v, t1=duration, steps=steps, save_every=save_every, method=method, adjoint=adjoint, throw=False
    )
    return flow.q, flow.p


def end(given, steps, adjoint):
    """A mean of the last point's coordinates."""
    return motion(given, steps, adjoint, steps)[0][-1] @ WEIGHTS


def extended(loops, given, steps, adjoint):
    """The gradient in extended precision along the states of a run on the grid."""
    states = np.concatenate(jax.jit(partial(motion, steps=steps, adjoint=adjoint, save_every=1))(given), axis=1)
    step, gravity = float(given[4] / steps), float(given[5])
    gradient = marching(loops.kepler_gradient, np.zeros(6), states, WEIGHTS, step, gravity, steps)()
    return gradient / np.array([1, 1, 1, 1, steps, 1])


def ways_back(steps) -> dict:
    """Adjoints by name, for each way to run ahead."""
    root = round(steps**0.5)
    return {
        "forward run": {
            f"CheckpointedAdjoint({root})": fl.CheckpointedAdjoint(root),
            "ReversibleAdjoint()": fl.ReversibleAdjoint(),
        },
        "forward run on the grid": {"ReversibleAdjoint(exact=True)": fl.ReversibleAdjoint(exact=True)},
    }


def measure(loops, quick):
    steps, rounds = (10_000, 2) if quick else (1_000_000, 5)
    given = jnp.asarray([*START, 2 * np.pi * steps / 1000, 1.0])
    for ahead, adjoints in ways_back(steps).items():
        runs = partial(end, steps=steps, adjoint=list(adjoints.values())[-1])
        forward, seconds = compiled(runs, given)
        contenders = [Contender(ahead, partial(forward, given), compile_seconds=seconds)]
        for name, adjoint in adjoints.items():
            executable, seconds = compiled(jax.grad(partial(end, steps=steps, adjoint=adjoint)), given)
            run = partial(executable, given)
            exact = loops is not None and getattr(adjoint, "exact", False)
            truth = extended(loops, given, steps, adjoint) if exact else forward_mode(given, steps, adjoint)
            contenders.append(
                Contender(name, run, words(name, run(), truth, executable), seconds, AIM if name in CLOSEST else None)
            )
        compare(f"gradient through {steps} steps of leapfrog, beside its {ahead}", contenders, rounds)


def forward_mode(given, steps, adjoint):
    """The gradient of the same run by forward mode."""
    return jax.jit(jax.jacfwd(partial(end, steps=steps, adjoint=adjoint)))(given)


def words(name, gradient, truth, executable) -> str:
    relative = float(jnp.max(jnp.abs(gradient - truth)) / jnp.max(jnp.abs(truth)))
    error, size = f"relative error {relative:.0e}", f"temporaries {temporary_bytes(executable) / 1e6:.3g} MB"
    if name in CLOSEST:
        error, size = f"{error} (aim {CLOSEST[name]:.0e})", f"{size} (aim {LARGEST / 1e6:g})"
    return f"{error}, {size}"
