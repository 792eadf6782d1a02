"""Geodesic spheres and balls around a point."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree, Real

from fimlag._flat import flatten
from fimlag._types import Coordinates, MetricFn, RealScalarLike
from fimlag.geometry import as_metric
from fimlag.paths._frame import frame_of
from fimlag.paths._geodesic import exp_map


def geodesic_sphere(
    metric: MetricFn,
    centre: Coordinates,
    radius: RealScalarLike,
    directions: int | Real[ArrayLike, "n d"] = 72,
    *,
    steps: int = 32,
) -> PyTree[Array]:
    r"""The ends of geodesics of one length that start from a point in several directions.

    $$\{\exp_q(r\, C^{-\top} u) : |u| = 1\}, \qquad C C^\top = g(q)$$

    Within the radius of injectivity these are the points at that distance from the centre.

    **Arguments:** `metric`: any callable `q -> (d, d)`, positive definite; `centre`: the point; `radius`: the length;
    `directions`: how many, at equal angles, of one or two coordinates; or vectors (n, d) of any length, components in
    an orthonormal frame; `steps`: as for `exp_map`.

    **Returns:** n points, stacked on axis 0 of each leaf; NaN where a geodesic leaves the domain or needs more `steps`,
    where a direction is zero, or the metric is not positive definite.

    **Raises:** `ValueError` for a number of directions that is not positive or of more than two coordinates, and for
    directions of another shape.

    **Reference:** do Carmo (1992), ch. 3, sec. 2-3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> circle = fl.geodesic_sphere(half_plane, jnp.array([0.0, 1.0]), 1.0, 4)
    >>> bool(jnp.allclose(circle[1], jnp.array([0.0, jnp.e])))
    True

    ```
    """
    point, structure = flatten(centre, "centre")
    units = _unit_directions(directions, structure.size, point.dtype)
    frame, signs = frame_of(as_metric(metric)(structure.unflatten(point)))
    frame = jnp.where(jnp.all(signs > 0), frame, jnp.nan)
    velocities = jax.scipy.linalg.solve_triangular(frame.T, jnp.asarray(radius, point.dtype) * units.T, lower=False).T

    def end(velocity):
        return exp_map(metric, structure.unflatten(point), structure.unflatten(velocity), steps=steps)

    return jax.vmap(end)(velocities)


def geodesic_ball(
    metric: MetricFn,
    centre: Coordinates,
    radius: RealScalarLike,
    directions: int | Real[ArrayLike, "n d"] = 72,
    *,
    rings: int = 8,
    steps: int = 32,
) -> PyTree[Array]:
    r"""Points of a geodesic ball, on concentric geodesic spheres of equally spaced radii.

    $$\{\exp_q(\tfrac kK r\, C^{-\top} u) : |u| = 1\}, \qquad k = 1, \ldots, K$$

    **Arguments:** `rings`: the number K of spheres; the rest as for `geodesic_sphere`.

    **Returns:** K spheres of n points, axes 0 and 1 of each leaf, the outermost last; the centre itself is left out.

    **Raises:** `ValueError` for no rings, and as `geodesic_sphere`.

    **Reference:** do Carmo (1992), ch. 3, sec. 2-3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.geodesic_ball(fl.EuclideanMetric(1.0), jnp.zeros(3), 2.0, jnp.eye(3), rings=2)[:, 0].tolist()
    [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]

    ```
    """
    if rings < 1:
        raise ValueError(f"A geodesic ball needs at least one ring, but rings = {rings}.")
    dtype = flatten(centre, "centre")[0].dtype
    radii = jnp.asarray(radius, dtype) * jnp.arange(1, rings + 1, dtype=dtype) / rings
    return jax.vmap(lambda r: geodesic_sphere(metric, centre, r, directions, steps=steps))(radii)


def _unit_directions(directions, size: int, dtype) -> Float[Array, "n d"]:
    """Directions as unit vectors (n, d)."""
    if isinstance(directions, int | np.integer):
        if directions < 1 or size > 2:
            raise ValueError(
                f"{directions} directions at equal angles make no sphere of {size} coordinates: give a positive number "
                "for one or two, else vectors of shape (n, d)."
            )
        angles = np.linspace(0, 2 * np.pi, directions, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1) if size == 2 else np.array([[1.0], [-1.0]])
        return jnp.asarray(circle, dtype)
    vectors = jnp.asarray(directions, dtype)
    if vectors.ndim != 2 or vectors.shape[1] != size:
        raise ValueError(f"directions must have shape (n, {size}), but have shape {vectors.shape}.")
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
