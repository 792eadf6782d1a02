"""How does the time of an ensemble grow from a thousand trajectories to ten million?

Stars in the potential of Henon and Heiles, by leapfrog with a step of 0.01, their last states kept, in double and in
single precision: in one kernel of a GPU where there is one, in a loop over lanes (on a CPU block after block, elsewhere
all together), by `jax.vmap` of the same scan, through `fimlag.integrate` from the plain Lagrangian, and through
diffrax's symplectic Euler method from half a step before, which makes the same steps. Errors: the largest change of an
energy, which is the method's, and how far the last states are from those of the first row.
"""

from functools import partial
from importlib.metadata import version

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from _timing import Contender, agreement, compare, compiled, options, print_setting

import fimlag as fl
from fimlag._scalarise import scalarised
from fimlag.integrators._ensemble import ensemble

STEP = 0.01


def henon_heiles(t, q, v):
    x, y = q
    return v @ v / 2 - (q @ q) / 2 - x**2 * y + y**3 / 3


def force(x, y):
    return -x - 2 * x * y, -y - x * x + y * y


def energy(q, v):
    (x, y), (px, py) = q.T, v.T
    return (px * px + py * py + x * x + y * y) / 2 + x * x * y - y**3 / 3


def by_scalars(q, v, steps, evaluation):
    """A scan whose carry is numbers: half a drift, kicks and drifts in turn, and half a drift back."""

    def step(state, _):
        x, y, px, py = state
        fx, fy = force(x, y)
        px, py = px + STEP * fx, py + STEP * fy
        return (x + STEP * px, y + STEP * py, px, py), None

    def march(x, y, px, py):
        start = x + STEP / 2 * px, y + STEP / 2 * py, px, py
        x, y, px, py = jax.lax.scan(step, start, length=steps)[0]
        return x - STEP / 2 * px, y - STEP / 2 * py, px, py

    x, y, px, py = evaluation(march)(*q, *v)
    return jnp.stack([x, y]), jnp.stack([px, py])


def through_the_library(q, v, steps):
    end, method = STEP * steps, fl.StormerVerlet("dkd")
    flow = fl.integrate(henon_heiles, q, v, t1=end, steps=steps, save_every=steps, method=method, throw=False)
    return flow.q[-1], flow.v[-1]


def through_diffrax(q, v, steps):
    """It drifts, then kicks: from a point half a step before its steps are those of drift, kick, drift."""
    terms = diffrax.ODETerm(lambda t, p, args: p), diffrax.ODETerm(lambda t, q, args: jnp.stack(force(*q)))
    h = jnp.asarray(STEP, q.dtype)
    solution = diffrax.diffeqsolve(
        terms,
        diffrax.SemiImplicitEuler(),
        jnp.zeros_like(h),
        h * steps,
        h,
        (q - h / 2 * v, v),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=steps + 1,
    )
    q, v = (leaf[-1] for leaf in solution.ys)
    return q + h / 2 * v, v


def ways(cuda: bool) -> dict:
    def in_lanes(kernels):
        return partial(by_scalars, evaluation=lambda march: scalarised(march, partial(ensemble, kernels=kernels)))

    return {
        **({"one kernel": in_lanes(True)} if cuda else {}),
        "loop over lanes": in_lanes(False),
        "vmap alone": partial(by_scalars, evaluation=lambda march: march),
        "fimlag.integrate": through_the_library,
        "diffrax SemiImplicitEuler": through_diffrax,
    }


def measure(number, steps, rounds, dtype, cuda):
    start = np.random.default_rng(0).uniform(-0.2, 0.2, (2, number, 2))
    q, v = (jnp.asarray(each, dtype) for each in start)
    runs, seconds = {}, {}
    for name, way in ways(cuda).items():
        executable, seconds[name] = compiled(jax.vmap(partial(way, steps=steps)), q, v)
        runs[name] = partial(executable, q, v)
    first = next(iter(runs.values()))()

    def accuracy(end):
        change = jnp.max(jnp.abs(energy(*end) - energy(q, v)))
        # Neighbouring orbits part exponentially, over these times by far less than a factor of a million.
        return f"energy error {change:.0e}, {agreement(end, first, 1e6 * float(jnp.finfo(dtype).eps))}"

    contenders = [Contender(name, run, accuracy(run()), seconds[name]) for name, run in runs.items()]
    times = compare(f"{number:.0e} stars, {steps} steps, {dtype}", contenders, rounds)
    for name, time in times.items():
        print(f"  {name}: {time / number / steps * 1e9:.3g} ns a step of a star")


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    print(", ".join(f"{package} {version(package)}" for package in ("jaxlib", "diffrax", "numpy")))
    cuda = jax.devices()[0].platform == "gpu"
    if not cuda:
        print("no GPU: no rows of kernels")
    for dtype in ("float64", "float32"):
        for number in (1000, 3000) if quick else (10**power for power in range(3, 8)):
            few = quick or (number > 10**5 and not cuda)
            measure(number, 100 if few else 1000, 2 if quick else 5, dtype, cuda)


if __name__ == "__main__":
    main()
