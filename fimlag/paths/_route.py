"""Where a path begins, passes and ends: what a user says of it, and the stations that come of it."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, IdentityChart
from fimlag._flat import Structure, flatten
from fimlag._types import as_field
from fimlag.paths._path import Path, as_path
from fimlag.paths._stations import Stations


class OnSurface(eqx.Module):
    r"""An end or a way-point that may lie anywhere on a surface.

    $$c(q) = 0$$

    There the momentum of a stationary path is normal to the surface (transversality).

    **Arguments:** `constraint`: a callable from the point to a number or a vector (or any pytree), zero on the surface.

    **Reference:** Gelfand & Fomin (1963), sec. 14.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> free = fl.NaturalLagrangian(fl.EuclideanMetric(1.0))
    >>> line = fl.OnSurface(lambda q: q[0] + q[1] - 2.0)
    >>> print(fl.least_action_path(free, jnp.zeros(2), line).path(1.0).round(12))
    [1. 1.]

    ```
    """

    constraint: Callable

    def __init__(self, constraint: Callable):
        self.constraint = as_field(constraint)


class Periodic(eqx.Module):
    r"""The end of a path that returns to its start, or comes as far from it as is said.

    $$q(t_1) = q(t_0) + s, \qquad p(t_1) = p(t_0)$$

    **Arguments:** `shift`: s, in the structure of the point; None: zero.

    **Reference:** Arnold (1989), sec. 45.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> rotor = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: 0.1 * jnp.cos(q[0]))
    >>> turn = fl.Periodic(jnp.array([2 * jnp.pi]))
    >>> solution = fl.least_action_path(rotor, None, turn, guess=lambda t: jnp.array([0.3 + 2 * jnp.pi * t]))
    >>> bool(jnp.isclose(solution.path.velocity(0.0)[0], solution.path.velocity(1.0)[0]))
    True

    ```
    """

    shift: Any = None


class Route(eqx.Module):
    """The ends and way-points of a path, flat: places and times, None where they are free, and surfaces."""

    places: tuple[Float[Array, " d"] | None, ...]
    times: tuple[Float[Array, ""] | None, ...]
    surfaces: tuple[Callable | None, ...]
    shift: Float[Array, " d"] | None
    structure: Structure

    @property
    def dtype(self):
        """The type of all numbers."""
        return self.times[0].dtype  # pyright: ignore[reportOptionalMemberAccess]

    @property
    def segments(self) -> int:
        """The number of segments."""
        return len(self.places) - 1

    def stations(self, chart: AbstractChart, guess) -> tuple[Float[Array, " d"], Stations]:
        """The first guess of all stations, of one lane, with the origin from which they are measured."""
        times = self._first_times(guess)
        points = self._first_places(times, guess)
        places = jnp.stack([chart.displacement(points[0], point) for point in points])
        if self.shift is not None:
            places = places.at[-1].set(places[0] + self.shift)
        free_places = tuple(place is None for place in self.places)
        periodic = self.shift is not None
        stations = Stations(
            places=places[..., None],
            times=jnp.stack(times)[:, None],
            free_places=(*free_places[:-1], free_places[-1] and not periodic),
            free_times=tuple(time is None for time in self.times),
            periodic=periodic,
        )
        return chart.free(points[0]), stations

    def _first_times(self, guess) -> list[Float[Array, ""]]:
        """The times, those unknown at equal intervals between their neighbours."""
        known = [(i, time) for i, time in enumerate(self.times) if time is not None]
        last, latest = known[-1]
        if last < self.segments:
            duration = guess.t1 - guess.t0 if isinstance(guess, Path) else jnp.ones_like(latest)
            known.append((self.segments, latest + duration.astype(self.dtype)))
        numbers, times = jnp.array([i for i, _ in known], self.dtype), jnp.stack([time for _, time in known])
        return list(jnp.interp(jnp.arange(self.segments + 1, dtype=self.dtype), numbers, times))

    def _first_places(self, times, guess) -> list[Float[Array, " d"]]:
        """The places, those unknown where the guess passes, or else at the last one known."""
        if guess is not None:
            along = as_guess(guess, times[0], times[-1])
            guessed = [self.structure.flatten(along(time), "the guess").astype(times[0].dtype) for time in times]
        else:
            known = [place for place in self.places if place is not None]
            guessed, latest = [], known[0]
            for place in self.places:
                latest = latest if place is None else place
                guessed.append(latest)
        return [guess if place is None else place for place, guess in zip(self.places, guessed, strict=True)]


def route_of(q0, q1, t0, t1, waypoints: Sequence, guess) -> Route:
    """The route of ends, times and way-points as they came, checked."""
    given = [(t0, q0), *waypoints, (t1, q1)]
    if any(isinstance(place, Periodic) for _, place in given[:-1]):
        raise TypeError("Periodic() is an end: give it as q1, and as q0 a point, a surface or None.")
    points = [flatten(place, name) for name, place in _named(given) if _is_point(place)]
    if not points:
        points = [_point_of(guess, t0)]
    structure = points[0][1]
    dtype = jnp.result_type(*(vector for vector, _ in points))
    shift = None
    if isinstance(q1, Periodic):
        shift = jnp.zeros_like(points[0][0]) if q1.shift is None else structure.flatten(q1.shift, "the shift")
    return Route(
        places=tuple(
            structure.flatten(place, name).astype(dtype) if _is_point(place) else None for name, place in _named(given)
        ),
        times=tuple(None if time is None else jnp.asarray(time, dtype) for time, _ in given),
        surfaces=tuple(place.constraint if isinstance(place, OnSurface) else None for _, place in given),
        shift=None if shift is None else shift.astype(dtype),
        structure=structure,
    )


class Surface(eqx.Module):
    """The function of a surface on the free coordinates of a chart."""

    constraint: Callable
    structure: Structure
    chart: AbstractChart

    def __call__(self, free: Float[Array, " d"]) -> Float[Array, " m"]:
        point = self.structure.unflatten(self.chart.point(free))
        return flatten(self.constraint(point), "constraint(q)")[0].astype(free.dtype)


def as_guess(guess, t0, t1) -> Callable:
    """A first path over an interval of time, whatever its own."""
    if isinstance(guess, Path) or not callable(guess):
        path = as_path(guess, t0, t1, 1, 1)
        return lambda t: path(path.t0 + (path.t1 - path.t0) * jnp.clip((t - t0) / (t1 - t0), 0.0, 1.0))
    return guess


def chart_of(lagrangian) -> AbstractChart:
    """The chart of a natural Lagrangian's metric, or none at all."""
    chart = getattr(lagrangian, "chart", None)
    return IdentityChart() if chart is None else chart


def _is_point(place) -> bool:
    return place is not None and not isinstance(place, OnSurface | Periodic)


def _named(given):
    names = ["q0", *(f"way-point {i}" for i in range(1, len(given) - 1)), "q1"]
    return [(name, place) for name, (_, place) in zip(names, given, strict=True)]


def _point_of(guess, t0) -> tuple[Float[Array, " d"], Structure]:
    """A point of the guess, flat, and its structure."""
    if guess is None:
        raise ValueError("No end and no way-point is a point, so a `guess` must say what a point looks like.")
    return flatten(as_guess(guess, t0, t0 + 1)(jnp.asarray(t0, jnp.result_type(float))), "the guess")
