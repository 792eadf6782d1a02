"""How fast and how accurate is a Fisher-Rao distance, one alone and a thousand at once, beside geomstats?

Gamma, beta and Dirichlet(3) distributions at random pairs of parameters, shapes and means log-uniform in 0.2 to 20.
geomstats (the extra `bench`; its numpy backend) solves each pair by SciPy's solve_bvp; where it is not installed, its
rows are left out. Its thousand is a sample of the pairs, timed and scaled. Errors are relative, against geodesics on a
finer mesh. The first call includes all tracing and compiling; one under `jit` compiles coarser and finer meshes too.
"""

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _timing import Contender, compare, compiled, options, print_setting

import fimlag as fl


class Family(NamedTuple):
    """A family of distributions, the same in geomstats, and how its parameters read there."""

    name: str
    metric: fl.FisherMetric
    size: int
    in_geomstats: str
    translated: Callable


def families() -> list[Family]:
    def shape_and_mean(theta):
        return np.stack([theta[..., 0], theta[..., 0] / theta[..., 1]], axis=-1)

    return [
        Family("gamma", fl.FisherMetric(fl.families.Gamma()), 2, "gamma.GammaDistributions", shape_and_mean),
        Family("beta", fl.FisherMetric(fl.families.Beta()), 2, "beta.BetaDistributions", np.asarray),
        Family(
            "Dirichlet(3)", fl.FisherMetric(fl.families.Dirichlet(3)), 3, "dirichlet.DirichletDistributions", np.asarray
        ),
    ]


def pairs_of(family: Family, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of parameters, on axis 0."""
    draws = np.exp(np.random.default_rng(0).uniform(np.log(0.2), np.log(20.0), (2, number, family.size)))
    if family.name == "gamma":
        draws[..., 1] = draws[..., 0] / draws[..., 1]
    return draws[0], draws[1]


def rival_of(family: Family) -> Callable | None:
    """geomstats' distance of one pair, None where it is not installed."""
    if importlib.util.find_spec("geomstats") is None:
        return None
    module, name = family.in_geomstats.split(".")
    kind = getattr(importlib.import_module(f"geomstats.information_geometry.{module}"), name)
    manifold = kind(family.size) if family.size > 2 else kind()
    return lambda a, b: float(manifold.metric.dist(family.translated(a), family.translated(b)))


def of_sample(rival: Callable, starts, ends) -> np.ndarray:
    """The rival's distances of all pairs in a loop."""
    return np.array([rival(a, b) for a, b in zip(starts, ends, strict=True)])


def errors(distances, truth) -> str:
    relative = np.abs(np.asarray(distances) / np.asarray(truth) - 1.0)
    failed = np.sum(~np.isfinite(relative))
    lost = f", {failed} not solved" if failed else ""
    return f"relative error: median {np.nanmedian(relative):.0e}, largest {np.nanmax(relative):.0e}{lost}"


def first_call(family: Family, start, end) -> None:
    begin = time.perf_counter()
    jax.block_until_ready(fl.distance(family.metric, start, end))
    print(f"\n{family.name}: the first distance, compiling included, {time.perf_counter() - begin:.2f} s")


def measure(family: Family, members: int, sample: int, rounds: int) -> None:
    starts, ends = pairs_of(family, members)
    first_call(family, jnp.asarray(starts[0]), jnp.asarray(ends[0]))
    one = partial(fl.distance, family.metric)
    fine = jax.jit(jax.vmap(partial(fl.geodesic, family.metric, elements=24, degree=10, throw=False)))(starts, ends)
    truth = jnp.sqrt(2.0 * fine.action)
    rival = rival_of(family)

    single, seconds = compiled(one, starts[0], ends[0])
    found = [single(a, b) for a, b in zip(starts[:sample], ends[:sample], strict=True)]
    turns = iter(range(10**9))

    def next_single():
        i = next(turns) % sample
        return single(starts[i], ends[i])

    contenders = [Contender("fimlag", next_single, errors(found, truth[:sample]), seconds)]
    if rival is not None:
        rivals = of_sample(rival, starts[:sample], ends[:sample])
        others = iter(range(10**9))

        def next_rival():
            i = next(others) % sample
            return rival(starts[i], ends[i])

        contenders.append(Contender("geomstats", next_rival, errors(rivals, truth[:sample])))
    compare(f"{family.name}, one distance (the {sample} pairs in turn)", contenders, max(rounds, sample))

    contenders = []
    for name, distance in (("fimlag, vmap", one), ("fimlag, vmap, 2 elements", partial(one, elements=2))):
        together, seconds = compiled(jax.vmap(distance), starts, ends)
        run = partial(together, starts, ends)
        contenders.append(Contender(name, run, errors(run(), truth), seconds))
    compare(f"{family.name}, {members} distances in one call", contenders, rounds)
    if rival is not None:
        looped = _median_seconds(partial(of_sample, rival, starts[:sample], ends[:sample]), 1) * members / sample
        for contender in contenders:
            ratio = looped / _median_seconds(lambda run=contender.run: jax.block_until_ready(run()), rounds)
            print(f"  geomstats, a loop ({sample} pairs, scaled to {members}), over {contender.name}: {ratio:.4g}")


def _median_seconds(run: Callable, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    for family in families()[: 2 if quick else 3]:
        measure(family, members=32 if quick else 1000, sample=2 if quick else 20, rounds=2 if quick else 7)


if __name__ == "__main__":
    main()
