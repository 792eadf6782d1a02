"""How long does a new process wait for its first trajectory? The seconds, of the system named on the command line."""

import os
import pathlib
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
from _one_orbit import by_hand, kepler

import fimlag as fl
from fimlag.problems import DoublePendulum

AIM = 1.5


def orbit(q, v):
    return fl.integrate(kepler, q, v, t1=10.0, steps=1000)


def pendulum(q, v):
    return fl.integrate(DoublePendulum(), q, v, t1=10.0, steps=1000)


@jax.jit
def scan(q, v):
    return by_hand(jnp.concatenate([q, v]), 10.0, 1000, fl.StormerVerlet())


WAYS = {"scan by hand": scan, "orbit, default method": orbit, "double pendulum, default method": pendulum}


def measure(quick, environment):
    """Print the seconds of each way, each in processes of their own with this environment and all cores."""
    print("\nthe first trajectory of a new process")
    medians = {}
    for way in WAYS:
        times = [_in_a_new_process(way, environment) for _ in range(1 if quick else 5)]
        medians[way] = statistics.median(times)
        ratio = medians[way] / next(iter(medians.values()))
        aim = "" if way == "scan by hand" else f"  aim {AIM} s"
        print(f"  compile: {way:<34}{medians[way]:.2f} s  ratio {ratio:.3g}{aim}")


def _in_a_new_process(way, environment):
    command = [sys.executable, str(pathlib.Path(__file__)), way]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(run.stdout)


def main():
    """What a user meets: no jit around it, the first call."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    jax.config.update("jax_enable_x64", True)
    state = jnp.array([0.4, 0.1]), jnp.array([0.1, 2.0])
    jax.block_until_ready(jax.jit(lambda x: x + 1)(state[0]))
    begin = time.perf_counter()
    jax.block_until_ready(WAYS[sys.argv[1]](*state))
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
