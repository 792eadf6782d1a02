"""A boundary-value problem as it was given, and the discrete action that comes of it."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag._types import LagrangianFn
from fimlag.mechanics._lagrangian import FlatLagrangian, InChart
from fimlag.paths._discrete_action import DiscreteAction, Unknowns
from fimlag.paths._elements import Mesh
from fimlag.paths._functionals import Barrier, Functionals
from fimlag.paths._route import Route, Surface, as_guess


class Problem(eqx.Module):
    """A boundary-value problem as it was given, its functions on the caller's structures."""

    lagrangian: LagrangianFn
    route: Route
    integrals: tuple[Callable, ...] = ()
    targets: tuple[Float[Array, ""], ...] = ()
    inequalities: tuple[Callable, ...] = ()
    multipliers: Float[Array, " integrals"] | None = None
    guess: object = None


def discretised(problem: Problem, chart: AbstractChart, mesh: Mesh) -> tuple[DiscreteAction, Unknowns]:
    """The discrete action, of one lane, and its unknowns along the guess."""
    route = problem.route
    origin, stations = route.stations(chart, problem.guess)
    functionals = _functionals(problem, chart, stations.times[0, 0], origin)
    targets = jnp.stack(problem.targets)[:, None] if problem.targets else stations.times[:0]
    barrier = Barrier(jnp.ones_like(targets, shape=(1,)), jnp.ones_like(origin, shape=(len(problem.inequalities), 1)))
    action = DiscreteAction(
        functionals=functionals,
        origin=origin[:, None],
        stations=stations,
        targets=targets,
        barrier=barrier if problem.inequalities else None,
        mesh=mesh,
    )
    on_surfaces = sum(jax.eval_shape(surface, origin).size for surface in functionals.surfaces)
    multipliers = jnp.zeros((len(targets) + on_surfaces, 1), origin.dtype)
    border = jnp.concatenate([stations.unknowns, multipliers])
    guessed = _along_guess(action, border, problem, chart)
    best = _best_multipliers(replace(action, barrier=None), guessed)
    if problem.multipliers is not None:
        best = best.at[: len(targets)].set(problem.multipliers[:, None])
    return action, replace(guessed, border=border.at[stations.count :].set(best))


def _functionals(problem: Problem, chart: AbstractChart, time, origin) -> Functionals:
    """The functions of a problem on flat vectors, everything that they close over made visible."""
    structure = problem.route.structure

    def converted(function):
        flat = InChart(FlatLagrangian(function, structure), chart)
        return eqx.filter_closure_convert(flat, time, origin, origin)

    surfaces = {i: surface for i, surface in enumerate(problem.route.surfaces) if surface is not None}
    return Functionals(
        lagrangian=converted(problem.lagrangian),
        integrals=tuple(converted(density) for density in problem.integrals),
        inequalities=tuple(converted(function) for function in problem.inequalities),
        surfaces=tuple(
            eqx.filter_closure_convert(Surface(surface, structure, chart), origin) for surface in surfaces.values()
        ),
        at_stations=tuple(surfaces),
    )


def _along_guess(action: DiscreteAction, border, problem: Problem, chart: AbstractChart) -> Unknowns:
    """The unknowns of the guess: its nodes' displacements from straight lines."""
    if problem.guess is None:
        return Unknowns(jnp.zeros((action.mesh.unknowns, action.d, 1), action.origin.dtype), border)
    structure, stations = problem.route.structure, action.stations
    guess = as_guess(problem.guess, stations.times[0, 0], stations.times[-1, 0])
    times = stations.node_times(action.mesh)[:, 0]
    points = jax.vmap(lambda t: structure.flatten(guess(t), "the guess"))(times).astype(action.origin.dtype)
    base = chart.point(action.origin[:, 0])
    return action.unknowns(jax.vmap(chart.displacement, (None, 0))(base, points)[..., None], border)


def _best_multipliers(action: DiscreteAction, y: Unknowns) -> Float[Array, "constraints lanes"]:
    """The multipliers under which the gradient in everything else is least."""
    first = action.stations.count
    none = y.border[first:, 0]
    if not none.size:
        return y.border[first:]

    def slope(multipliers):
        gradient = action.gradient(replace(y, border=y.border.at[first:, 0].set(multipliers)))
        return jnp.concatenate([gradient.nodes.ravel(), gradient.border[:first, 0]])

    return -(jnp.linalg.pinv(jax.jacfwd(slope)(none)) @ slope(none))[:, None]
