"""Which method reaches a given error with the least work?

All methods on the Kepler orbit of eccentricity 0.6, whose Lagrangian is separable, and on a geodesic of the normal
family, whose Lagrangian is not, beside diffrax's adaptive Tsit5 and Dopri8 on the same equations of motion. First the
curves: the error of the last point, against the closed form at its time, and the evaluations of the potential or the
metric (of the accelerations, for diffrax) for each number of steps or tolerance. Steps in a transformed time follow
the orbit and end near its end. Then warm wall times at equal errors: each
contender with the fewest steps, or the loosest tolerance, that meets the error. Adaptive methods keep no structure:
what they save on a short motion they lose by drift in a long one.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from _timing import Contender, compare, compiled, options, print_setting

import fimlag as fl
from fimlag.problems import Kepler, NormalFisher

COUNTED_STEPS = 64


def steps_per_time(q, p):
    """A density of steps that follows the orbit, its mean over an orbit of eccentricity 0.6 near one."""
    return (q @ q) ** -0.75 / 1.08


EXPLICIT = {
    "StormerVerlet": fl.StormerVerlet(),
    "KahanLi8": fl.KahanLi8(),
    "SymplecticEuler": fl.SymplecticEuler(),
    "Yoshida4": fl.Yoshida4(),
    "Suzuki4": fl.Suzuki4(),
    "McLachlan4": fl.McLachlan4(),
    "BlanesMoan4": fl.BlanesMoan4(),
    "BlanesMoanNystrom4": fl.BlanesMoanNystrom4(),
    "Yoshida6": fl.Yoshida6(),
    "KahanLi6": fl.KahanLi6(),
    "BlanesMoan6": fl.BlanesMoan6(),
    "BlanesMoanNystrom6": fl.BlanesMoanNystrom6(),
    "Yoshida8": fl.Yoshida8(),
    "TimeTransformedLeapfrog": fl.TimeTransformedLeapfrog(),
    "the same, composed to 8": fl.Composition(fl.TimeTransformedLeapfrog(), 8),
    "ReversibleAdaptive": fl.ReversibleAdaptive(steps_per_time),
    "the same by KahanLi8": fl.ReversibleAdaptive(steps_per_time, fl.KahanLi8()),
}
GENERAL = {
    "ImplicitMidpoint": fl.ImplicitMidpoint(),
    "GaussLegendre(4)": fl.GaussLegendre(4),
    "GaussLegendre(2)": fl.GaussLegendre(2),
    "GaussLegendre(3)": fl.GaussLegendre(3),
    "GeneralisedLeapfrog": fl.GeneralisedLeapfrog(),
    "Tao(20)": fl.Tao(20.0),
    "Tao(20), composed to 4": fl.Composition(fl.Tao(20.0), 4),
    "Variational(Galerkin(2))": fl.Variational(fl.Galerkin(2)),
}


class Counted(eqx.Module):
    """A function whose calls are counted on the host, member by member where it is batched."""

    function: Callable
    tick: Callable = eqx.field(static=True)

    def __call__(self, q):
        jax.debug.callback(self.tick, q)
        return self.function(q)


class CountedMetric(fl.AbstractMetric):
    """A metric whose calls are counted on the host."""

    metric: fl.AbstractMetric
    tick: Callable = eqx.field(static=True)

    @property
    def chart(self):
        return None

    def __call__(self, q):
        jax.debug.callback(self.tick, q)
        return self.metric(q)

    def quadratic(self, q, v):
        jax.debug.callback(self.tick, q)
        return self.metric.quadratic(q, v)


class Problem(NamedTuple):
    """A motion with its closed form, methods for it with numbers of steps, and errors at which times are compared."""

    name: str
    lagrangian: Callable
    start: tuple
    t1: float
    exact: Callable
    methods: dict
    sizes: tuple[int, ...]
    targets: tuple[float, ...]


class Point(NamedTuple):
    """One point of a curve."""

    run: Callable
    seconds: float
    error: float
    evaluations: float


def with_counter(lagrangian, tick):
    """The same Lagrangian, the evaluations of its potential or metric counted."""
    if lagrangian.potential is None:
        return fl.NaturalLagrangian(CountedMetric(lagrangian.metric, tick))
    return fl.NaturalLagrangian(lagrangian.metric, Counted(lagrangian.potential, tick))


def counter():
    """`(tick, read)`: a count on the host, and its value once all calls are in."""
    calls = []

    def read():
        jax.effects_barrier()
        count = len(calls)
        calls.clear()
        return count

    return lambda q: calls.append(None), read


def by_steps(problem, method):
    """The curve of a method of constant steps, of which `measure` drops the failures."""
    tick, read = counter()
    watched = with_counter(problem.lagrangian, tick)
    count = partial(through_the_library, watched, method, COUNTED_STEPS)
    count = jax.jit(count).lower(*problem.start, problem.t1).compile()
    for steps in problem.sizes:
        executable, seconds = compiled(
            partial(through_the_library, problem.lagrangian, method, steps), *problem.start, problem.t1
        )
        run = partial(executable, *problem.start, problem.t1)
        jax.block_until_ready(count(*problem.start, problem.t1 * COUNTED_STEPS / steps))
        yield Point(run, seconds, error(problem, run), read() / COUNTED_STEPS * steps)


def by_tolerance(problem, solver, tolerances):
    """The curve of an adaptive solver of diffrax."""
    tick, read = counter()
    executable, seconds = compiled(
        partial(through_diffrax, problem.lagrangian, solver, None), *problem.start, problem.t1, 1e-3
    )
    watched = jax.jit(partial(through_diffrax, problem.lagrangian, solver, tick))
    for tolerance in tolerances:
        run = partial(executable, *problem.start, problem.t1, tolerance)
        jax.block_until_ready(watched(*problem.start, problem.t1, tolerance))
        yield Point(run, seconds, error(problem, run), read())


def through_the_library(lagrangian, method, steps, q, v, t1):
    flow = fl.integrate(lagrangian, q, v, t1=t1, steps=steps, save_every=steps, method=method, throw=False)
    return flow.t[-1], jnp.where(flow.succeeded, flow.q[-1], jnp.nan)


def through_diffrax(lagrangian, solver, tick, q, v, t1, tolerance):
    def rate(t, state, _):
        q, v = state
        if tick is not None:
            jax.debug.callback(tick, q)
        return v, fl.acceleration(lagrangian, t, q, v)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(rate),
        solver,
        0.0,
        t1,
        t1 / 1000,
        (q, v),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=1_000_000,
        throw=False,
    )
    return t1, jnp.where(solution.result == diffrax.RESULTS.successful, solution.ys[0][-1], jnp.nan)


def error(problem, run) -> float:
    t, q = run()
    return float(jnp.max(jnp.abs(q - problem.exact(t))))


def measure(problem, tolerances, rounds):
    curves = {}
    print(f"\n{problem.name}: evaluations and errors")
    solvers = {"diffrax Tsit5": diffrax.Tsit5(), "diffrax Dopri8": diffrax.Dopri8()}
    for name, method in {**solvers, **problem.methods}.items():
        adaptive = isinstance(method, diffrax.AbstractSolver)
        points = by_tolerance(problem, method, tolerances) if adaptive else by_steps(problem, method)
        curves[name] = [point for point in points if jnp.isfinite(point.error)]
        row = "  ".join(f"{point.evaluations:.0f}: {point.error:.0e}" for point in curves[name])
        print(f"  {name:<26}{row}")
    for target in problem.targets:
        contenders = []
        for name, points in curves.items():
            met = min((point for point in points if point.error <= target), key=lambda p: p.evaluations, default=None)
            if met is not None:
                words = f"error {met.error:.0e}, {met.evaluations:.0f} evaluations"
                contenders.append(Contender(name, met.run, words, met.seconds))
        if contenders:
            compare(f"{problem.name}: errors below {target:.0e}", contenders, rounds)


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    kepler, normal = Kepler(), NormalFisher()
    orbits = 2 if quick else 20
    start, tilt = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.3])
    first = 2 if quick else None
    problems = [
        Problem(
            f"Kepler e=0.6, {orbits} orbits",
            kepler.lagrangian,
            kepler.start(0.6),
            2 * jnp.pi * orbits,
            lambda t: kepler.solution(t, 0.6),
            dict(list((EXPLICIT | GENERAL).items())[:first]),
            (orbits * 100,) if quick else tuple(orbits * steps for steps in (50, 100, 200, 400, 1600, 6400)),
            (1.0,) if quick else (1e-3, 1e-6, 1e-9),
        ),
        Problem(
            "Fisher geodesic of normals",
            normal.lagrangian,
            (start, tilt),
            4.0,
            lambda t: normal.geodesic(t, start, tilt),
            dict(list(GENERAL.items())[:first]),
            (32,) if quick else (16, 32, 64, 128, 512, 2048),
            (1e-1,) if quick else (1e-3, 1e-6, 1e-9),
        ),
    ]
    tolerances = (1e-6,) if quick else (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
    for problem in problems:
        measure(problem, tolerances, 2 if quick else 9)


if __name__ == "__main__":
    main()
