"""Points of quadrature along a path: times, weights, points and velocities."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import Structure, flatten
from fimlag._types import RealScalarLike
from fimlag.mechanics._discrete import element_basis
from fimlag.paths._mesh import equal_knots
from fimlag.paths._path import Path, as_path


class Along(eqx.Module):
    """The points of a composite Gauss rule along a path, flat: a weighted sum over them is an integral over time."""

    times: Float[Array, " n"]
    weights: Float[Array, " n"]
    points: Float[Array, "n d"]
    velocities: Float[Array, "n d"]
    structure: Structure


def along(
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike,
    t1: RealScalarLike,
    elements: int,
    points: int,
) -> Along:
    """The points at which `action` would integrate along the same path."""
    if not callable(path):
        path = as_path(path, t0, t1, elements, points)
    if isinstance(path, Path):
        t0, points = path.t0, path.degree + 2
    point, structure = flatten(path(t0), "the path's point")
    knots = path.knots if isinstance(path, Path) else equal_knots(t0, t1, elements, point.dtype)
    basis = element_basis(1, points)
    steps = jnp.diff(knots)[:, None]
    times = (knots[:-1, None] + steps * jnp.asarray(basis.abscissae, point.dtype)[None]).ravel()
    weights = (steps * jnp.asarray(basis.weights, point.dtype)[None]).ravel()

    def state(t):
        if isinstance(path, Path):
            return structure.flatten(path(t)), structure.flatten(path.velocity(t))
        return jax.jvp(lambda s: structure.flatten(path(s), "the path's point"), (t,), (jnp.ones_like(t),))

    places, velocities = jax.vmap(state)(times)
    return Along(times, weights, places, velocities, structure)
