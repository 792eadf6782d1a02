"""Where a distribution of another library has its mass: location and scale for a quadrature, as functions of theta."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from fimlag._flat import flatten
from fimlag._types import Coordinates, as_field

QUARTILES = 1.35
"""Standard deviations between the quartiles of a normal density."""


class Ends(eqx.Module):
    """The ends of a support, and the logarithm in which a quadrature looks at it."""

    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)

    def logarithm(self, x):
        """The coordinate: x itself on the line, the logarithm of the distance from an end, or of the ratio of both."""
        below = jnp.log(x - self.lower) if math.isfinite(self.lower) else 0.0
        above = jnp.log(self.upper - x) if math.isfinite(self.upper) else 0.0
        return x if self.infinite else below - above

    def stretched(self, location, width):
        """A width of that coordinate as a scale of the outcome."""
        if self.infinite:
            return width
        below, above = location - self.lower, self.upper - location
        if self.half_infinite:
            return width * (above if math.isinf(self.lower) else below)
        return width * below * above / (self.upper - self.lower)

    @property
    def infinite(self) -> bool:
        """Whether there is no end."""
        return math.isinf(self.lower) and math.isinf(self.upper)

    @property
    def half_infinite(self) -> bool:
        """Whether there is one."""
        return math.isinf(self.lower) != math.isinf(self.upper)


class Landmark(eqx.Module):
    """One number of a recipe for location and scale, as a function of theta."""

    make: Callable
    recipe: Callable = eqx.field(static=True)
    ends: Ends
    part: int = eqx.field(static=True)

    def __call__(self, theta):
        # The recipes speak of the distribution alone; their precision is that of theta.
        dtype = flatten(theta, "theta")[0].dtype
        return self.recipe(self.make(theta), self.ends, dtype)[self.part]


def places_of(make: Callable, theta: Coordinates, ends: Ends, periodic: bool = False) -> Iterator[dict[str, Any]]:
    """Options of a quadrature that the distribution allows at theta, the likeliest to be good first."""
    if periodic:
        recipes = (_turn,)
    elif ends.infinite:
        recipes = (_by_quartiles, _by_attributes, _by_moments)
    elif ends.half_infinite:
        recipes = (_by_quartiles, _as_gamma, _as_log_normal, _by_attributes)
    else:
        recipes = (_by_quartiles, _as_beta)
    found = [tuple(Landmark(as_field(make), recipe, ends, part) for part in range(2)) for recipe in recipes]
    usable = [pair for pair in found if _usable(pair, theta, ends)]
    yield from ({"location": location, "scale": scale} for location, scale in usable)
    yield {}
    if ends.infinite:
        # A density with a kink at its location is resolved by neither.
        yield from ({"breaks": location, "scale": scale} for location, scale in usable)


def attempt(function: Callable) -> float:
    """A number of a distribution, NaN where it has none: other libraries raise whatever they like."""
    try:
        return float(function())
    except Exception:
        return math.nan


def moments_of(distribution) -> tuple:
    """Mean and variance: attributes in some libraries, methods in others."""
    return tuple(value() if callable(value) else value for value in (distribution.mean, distribution.variance))


def _usable(landmarks, theta, ends) -> bool:
    location, scale = (attempt(lambda landmark=landmark: landmark(theta)) for landmark in landmarks)
    return math.isfinite(location) and 0.0 < scale < math.inf and ends.lower < location < ends.upper


def _by_quartiles(distribution, ends, dtype):
    first, median, third = (distribution.icdf(jnp.asarray(share, dtype)) for share in (0.25, 0.5, 0.75))
    return median, ends.stretched(median, (ends.logarithm(third) - ends.logarithm(first)) / QUARTILES)


def _by_attributes(distribution, ends, dtype):
    if ends.infinite:
        return distribution.loc, distribution.scale
    location = ends.lower + distribution.scale if math.isfinite(ends.lower) else ends.upper - distribution.scale
    return location, distribution.scale


def _by_moments(distribution, ends, dtype):
    mean, variance = moments_of(distribution)
    return mean, jnp.sqrt(variance)


def _as_gamma(distribution, ends, dtype):
    """Those of the gamma density of the same moments."""
    distance, squared = _relative_moments(distribution, ends)
    return _from_end(distance * (1.0 + 0.5 * squared), jnp.sqrt(squared + 0.2 * squared**2), ends)


def _as_log_normal(distribution, ends, dtype):
    """Those of the log-normal density of the same moments."""
    distance, squared = _relative_moments(distribution, ends)
    return _from_end(distance / jnp.sqrt(1.0 + squared), jnp.sqrt(jnp.log1p(squared)), ends)


def _as_beta(distribution, ends, dtype):
    """Those of the beta density of the same moments."""
    mean, variance = moments_of(distribution)
    length = ends.upper - ends.lower
    share = (mean - ends.lower) / length
    total = share * (1.0 - share) * length**2 / variance - 1.0
    shapes = [total * share, total * (1.0 - share)]
    location = ends.lower + length * (shapes[0] + 0.5) / (total + 1.0)
    return location, ends.stretched(location, jnp.sqrt(sum(1.0 / shape + 0.2 / shape**2 for shape in shapes)))


def _turn(distribution, ends, dtype):
    """Mean direction and the deviation that the circular variance, 1 - A, stands for."""
    mean, variance = moments_of(distribution)
    return mean, jnp.sqrt(2.0 * variance) * (ends.upper - ends.lower) / (2.0 * math.pi)


def _relative_moments(distribution, ends):
    mean, variance = moments_of(distribution)
    distance = mean - ends.lower if math.isfinite(ends.lower) else ends.upper - mean
    return distance, variance / distance**2


def _from_end(distance, width, ends):
    return ends.lower + distance if math.isfinite(ends.lower) else ends.upper - distance, width * distance
