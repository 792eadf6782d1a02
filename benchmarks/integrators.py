"""What does a step of leapfrog cost through the library, beside diffrax and a loop written by hand?

The Kepler orbit of eccentricity 0.6, started at the perihelion, at three step sizes, and an ensemble of orbits of
many eccentricities by vmap. The state is saved once an orbit. Every way is handed the same potential and takes its
gradient by automatic differentiation. Errors: of the last point against Kepler's equation, and the largest relative
error of the energy at a save. diffrax's method is the symplectic Euler method, of order 1: it kicks by a whole step
where leapfrog kicks by two halves, one force a step in either.
"""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
from _timing import Contender, compare, compiled, options, print_setting

import fimlag as fl
from fimlag.problems import Kepler

ECCENTRICITY = 0.6
KEPLER = Kepler()


def potential(q):
    return -1 / jnp.sqrt(q @ q)


def force(q):
    return -jax.grad(potential)(q)


def through_the_library(q, v, method, orbits, steps):
    lagrangian = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential)
    end = 2 * jnp.pi * orbits
    flow = fl.integrate(lagrangian, q, v, t1=end, steps=orbits * steps, save_every=steps, method=method, throw=False)
    return flow.q[1:], flow.v[1:]


def by_hand(q, v, orbits, steps):
    h = 2 * jnp.pi / steps

    def step(state, _):
        q, v, pull = state
        v = v + h / 2 * pull
        q = q + h * v
        pull = force(q)
        return (q, v + h / 2 * pull, pull), None

    def orbit(state, _):
        state, _ = jax.lax.scan(step, state, length=steps)
        return state, state[:2]

    return jax.lax.scan(orbit, (q, v, force(q)), length=orbits)[1]


def through_diffrax(q, v, orbits, steps):
    terms = diffrax.ODETerm(lambda t, v, args: v), diffrax.ODETerm(lambda t, q, args: force(q))
    end = 2 * jnp.pi * orbits
    # Saved by the number of steps: saving by time interpolates at every step, at thirty times the price here. Time is
    # a sum of steps, whose round-off may leave one short step at the end.
    solution = diffrax.diffeqsolve(
        terms,
        diffrax.SemiImplicitEuler(),
        0.0,
        end,
        end / (orbits * steps),
        (q, v),
        saveat=diffrax.SaveAt(steps=steps),
        max_steps=orbits * steps + 1,
    )
    return solution.ys


def accuracy(run, eccentricities, orbits) -> str:
    q, v = run()
    last = jax.vmap(KEPLER.solution, (None, 0))(2 * jnp.pi * orbits, eccentricities)
    q, v = (x.reshape(len(eccentricities), orbits, 2) for x in (q, v))
    energy = jnp.sum(v**2, axis=-1) / 2 - 1 / jnp.linalg.norm(q, axis=-1)
    # Half the major axis is 1, so the energy is -1/2.
    return f"errors {jnp.max(jnp.abs(q[:, -1] - last)):.0e}, energy {jnp.max(jnp.abs(2 * energy + 1)):.0e}"


def measure(title, ways, start, eccentricities, orbits, rounds):
    contenders = []
    for name, function in ways.items():
        executable, seconds = compiled(function, *start)
        run = partial(executable, *start)
        contenders.append(Contender(name, run, accuracy(run, eccentricities, orbits), seconds))
    compare(title, contenders, rounds)


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    orbits, sizes, members, rounds = (3, (100,), 8, 2) if quick else (100, (250, 1000, 4000), 1000, 9)
    for steps in sizes:
        ways = {
            "fimlag StormerVerlet": partial(through_the_library, method=fl.StormerVerlet()),
            "scan by hand": by_hand,
            "diffrax SemiImplicitEuler": through_diffrax,
            "fimlag Yoshida4, 3 forces a step": partial(through_the_library, method=fl.Yoshida4()),
        }
        ways = {name: partial(way, orbits=orbits, steps=steps) for name, way in ways.items()}
        eccentricity = jnp.array([ECCENTRICITY])
        measure(f"{orbits} orbits of {steps} steps", ways, KEPLER.start(ECCENTRICITY), eccentricity, orbits, rounds)

    eccentricities = jnp.linspace(0.0, 0.8, members)
    few, steps = (3, 100) if quick else (5, 1000)
    ways = {
        "fimlag StormerVerlet": partial(through_the_library, method=fl.StormerVerlet()),
        "scan by hand": by_hand,
        "diffrax SemiImplicitEuler": through_diffrax,
    }
    ways = {name: jax.vmap(partial(way, orbits=few, steps=steps)) for name, way in ways.items()}
    start = jax.vmap(KEPLER.start)(eccentricities)
    measure(f"{members} trajectories, {few} orbits of {steps} steps", ways, start, eccentricities, few, rounds)


if __name__ == "__main__":
    main()
