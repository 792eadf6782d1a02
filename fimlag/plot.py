"""Figures of paths, metrics and likelihoods in matplotlib: axes in, axes out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fimlag._compiled import compiled
from fimlag._flat import flatten
from fimlag._types import Coordinates, MetricFn, RealScalarLike
from fimlag.geometry import as_metric
from fimlag.information import ConfidenceEllipsoid
from fimlag.integrators import Trajectory
from fimlag.paths import Path, exp_map

INK, BLUE, ORANGE, GREY = "#222222", "#0072b2", "#d55e00", "#767676"
"""The colours used, from the palette of Wong (2011), which the colour-blind tell apart."""


def path(
    ax: Any, path: Path, *, coordinates=(0, 1), samples: int = 201, ends: bool = True, knots: bool = False, **style
):
    """Draw a path in the plane of two of its coordinates, or against time where it has only one.

    **Arguments:** `ax`: matplotlib axes; `path`: a `Path`; `coordinates`: the two, in the order of the flattened
    point; `samples`: points drawn, as many on each element; `ends`: mark the start by a ring and the end by a disc;
    `knots`: mark where elements meet by dots; `style`: for `ax.plot`.

    **Returns:** the axes.

    **Raises:** `ValueError` for coordinates that the path does not have.
    """
    edges = np.asarray(path.knots)
    times = np.interp(np.linspace(0, path.elements, samples), np.arange(edges.size), edges)
    style = {"color": BLUE, "linewidth": 2.0, **style}
    x, y = _curve(path, times, coordinates)
    (line,) = ax.plot(x, y, **style)
    if knots:
        ax.plot(*_curve(path, edges[1:-1], coordinates), "o", color=line.get_color(), markersize=3)
    if path.structure.size == 1:
        ax.set_xlabel("time")
    if ends:
        _mark(ax, x[0], y[0], line, filled=False)
        _mark(ax, x[-1], y[-1], line, filled=True)
    return ax


def trajectory(ax: Any, trajectory: Trajectory, *, labels: Sequence[str] | None = None, **style):
    """Draw the coordinates of a trajectory against time.

    **Arguments:** `ax`: matplotlib axes; `trajectory`: of one motion; `labels`: a name for each coordinate, in the
    order of the flattened point; `style`: for `ax.plot`.

    **Returns:** the axes.

    **Raises:** `ValueError` where the number of labels is not that of the coordinates.
    """
    points = np.asarray(jax.vmap(lambda q: flatten(q)[0])(trajectory.q))
    labels = [f"$q_{{{i}}}$" for i in range(points.shape[1])] if labels is None else list(labels)
    if len(labels) != points.shape[1]:
        raise ValueError(f"{len(labels)} labels came for {points.shape[1]} coordinates.")
    for label, values in zip(labels, points.T, strict=True):
        ax.plot(np.asarray(trajectory.t), values, **{"linewidth": 1.5, "label": label, **style})
    ax.set_xlabel("time")
    if len(labels) > 1:
        ax.legend(frameon=False)
    else:
        ax.set_ylabel(labels[0])
    return ax


def metric_ellipses(ax: Any, metric: MetricFn, points, radius: RealScalarLike = 1.0, *, coordinates=(0, 1), **style):
    r"""Draw the ellipse of all velocities of one length at each of several points.

    $$\{q + v : g_{ij}(q)\, v^i v^j = \mathtt{radius}^2\}$$

    For a Fisher metric at an estimate and radius 1 it is the ellipse of one standard error. Of more than two
    coordinates the ellipsoid's shadow on the plane is drawn: what is known when the others are unknown too.

    **Arguments:** `ax`: matplotlib axes; `metric`: any callable `q -> (d, d)`; `points`: stacked on axis 0 of each
    leaf; `radius`: the length; `coordinates`: the two drawn; `style`: for `ax.plot`.

    **Returns:** the axes.

    **Raises:** `ValueError` for fewer than two coordinates, or where the metric is not positive definite.
    """
    metric = as_metric(metric)
    matrices = np.asarray(jax.vmap(metric)(points))
    centres = np.asarray(jax.vmap(lambda q: flatten(q)[0])(points))
    chosen = _pair(coordinates, centres.shape[1])
    style = {"color": GREY, "linewidth": 1.2, **style}
    label = style.pop("label", None)
    for centre, matrix in zip(centres, matrices, strict=True):
        spread = _root(_inverse(matrix, centre)[np.ix_(chosen, chosen)], centre)
        outline = centre[chosen, None] + radius * spread @ _circle(181)
        ax.plot(*outline, label=label, **style)
        label = None
    return ax


def ellipse(
    ax: Any,
    ellipsoid: ConfidenceEllipsoid,
    *,
    coordinates=(0, 1),
    joint: bool = False,
    points: int = 181,
    **style,
):
    """Draw the confidence ellipse of two parameters.

    **Arguments:** `ax`: matplotlib axes; `ellipsoid`: of a `confidence_ellipsoid`; `coordinates`: the two, in the order
    of the flattened parameters; `joint`: of more than two parameters draw the shadow of their joint ellipsoid, in place
    of the smaller ellipse of these two alone; `points`: drawn; `style`: for `ax.plot`.

    **Returns:** the axes.

    **Raises:** `ValueError` for coordinates that the parameters do not have, or an ellipsoid that failed.
    """
    chosen = _pair(coordinates, ellipsoid.centre.size)
    pair = ellipsoid.projection(chosen) if joint else ellipsoid.marginal(chosen)
    outline = np.asarray(pair.boundary(points))
    if not np.all(np.isfinite(outline)):
        raise ValueError("The ellipsoid failed: its covariance is not positive definite.")
    ax.plot(*outline.T, **{"color": BLUE, "linewidth": 2.0, **style})
    return ax


def geodesic_ball(
    ax: Any,
    metric: MetricFn,
    centre: Coordinates,
    radius: RealScalarLike,
    *,
    directions: int = 72,
    steps: int = 32,
    **style,
):
    r"""Draw the boundary of a geodesic ball of a metric on two coordinates.

    $$\{\exp_q(v) : g_{ij}(q)\, v^i v^j = \mathtt{radius}^2\}$$

    Within the radius of injectivity these are the points at that distance from the centre.

    **Arguments:** `ax`: matplotlib axes; `metric`: any callable `q -> (2, 2)`; `centre`: the point; `radius`: the
    distance; `directions`, `steps`: the number of geodesics and of time steps on each; `style`: for `ax.plot`.

    **Returns:** the axes.

    **Raises:** `ValueError` for other than two coordinates, where the metric is not positive definite, or where a
    geodesic cannot be followed.
    """
    vector, structure = flatten(centre, "centre")
    if structure.size != 2:
        raise ValueError(f"A geodesic ball is drawn on two coordinates, but the centre has {structure.size}.")
    metric = as_metric(metric)
    spread = _root(_inverse(np.asarray(metric(centre)), vector), vector)
    velocities = jnp.asarray(radius * (spread @ _circle(directions + 1)).T, vector.dtype)

    @compiled
    def boundary(velocities):
        ends = jax.vmap(lambda v: exp_map(metric, centre, structure.unflatten(v), steps=steps))(velocities)
        return jax.vmap(structure.flatten)(ends)

    points = np.asarray(boundary(velocities))
    lost = int(np.sum(~np.all(np.isfinite(points), axis=1)))
    if lost:
        raise ValueError(
            f"{lost} of {directions + 1} geodesics could not be followed to length {radius}: they leave the domain of "
            "the metric, or need more `steps`."
        )
    ax.plot(*points.T, **{"color": BLUE, "linewidth": 2.0, **style})
    return ax


def likelihood_contours(
    ax: Any,
    log_likelihood: Callable[[Any], Any],
    bounds: Sequence[Sequence[RealScalarLike]],
    levels: Sequence[float] = (0.5, 0.8, 0.95, 0.99),
    *,
    distances: Sequence[RealScalarLike] | None = None,
    points: int = 121,
    names: bool = True,
    **style,
):
    r"""Draw the regions of likelihood ratio of two parameters.

    $$2\,(\ell_{\max} - \ell(\theta)) \le \chi^2_{2;\, \mathtt{level}} = -2 \log(1 - \mathtt{level})$$

    $\ell_{\max}$ is the largest value on the grid, so the bounds must hold the maximum.

    **Arguments:** `ax`: matplotlib axes; `log_likelihood`: a pure JAX function of a vector of two parameters (nats),
    the others known or profiled out; `bounds`: `((lower, upper), (lower, upper))`; `levels`: of confidence,
    between 0 and 1; `distances`: likelihood-ratio distances $\sqrt{2 (\ell_{\max} - \ell)}$ to draw in place of levels;
    `points`: of the grid along each axis; `names`: write each contour's level on it; `style`: for `ax.contour`.

    **Returns:** the axes.

    **Raises:** `ValueError` for levels outside (0, 1), distances that are not positive, or where the
    likelihood is nowhere finite.

    **Reference:** Wilks (1938); Bates & Watts (1988), section 6.1.
    """
    heights = _contour_heights(levels, distances)
    x, y = (np.linspace(lower, upper, points) for lower, upper in bounds)
    grid = jnp.asarray(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    values = np.asarray(jax.jit(jax.vmap(log_likelihood))(grid)).reshape(points, points)
    if not np.any(np.isfinite(values)):
        raise ValueError("The log-likelihood is finite nowhere within the bounds.")
    drop = 2 * (np.nanmax(np.where(np.isfinite(values), values, np.nan)) - values)
    style = {"colors": GREY, "linewidths": 0.9, **style}
    contours = ax.contour(x, y, np.ma.masked_invalid(drop), levels=list(heights), **style)
    if names:
        ax.clabel(contours, fmt=heights, fontsize=7)
    return ax


def _curve(path, times: np.ndarray, coordinates):
    """Abscissae and ordinates of a path's points at some times: time itself where it has one coordinate."""
    points = np.asarray(_points(path, jnp.asarray(times, path.knots.dtype)))
    if points.shape[1] == 1:
        return times, points[:, 0]
    return points[:, _pair(coordinates, points.shape[1])].T


@compiled
def _points(path, times):
    return jax.vmap(lambda t: path.structure.flatten(path(t)))(times)


def _contour_heights(levels, distances) -> dict[float, str]:
    """The heights of the likelihood-ratio statistic to draw, each with its label, in rising order."""
    if distances is not None:
        if not all(distance > 0 for distance in distances):
            raise ValueError(f"distances must be positive, but are {list(distances)}.")
        return {float(distance) ** 2: f"{distance:g}" for distance in sorted(distances)}
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels must lie between 0 and 1, but are {list(levels)}.")
    return {-2 * math.log1p(-level): f"{100 * level:.3g} %" for level in sorted(levels)}


def _mark(ax, x, y, line, filled: bool):
    colour = line.get_color()
    face = colour if filled else "white"
    ax.plot([x], [y], "o", color=colour, markerfacecolor=face, markersize=6, zorder=line.get_zorder() + 1)


def _pair(coordinates, size: int) -> list[int]:
    chosen = list(coordinates)
    if len(chosen) != 2 or not all(-size <= i < size for i in chosen):
        raise ValueError(f"coordinates must be two indices below {size}, but are {coordinates!r}.")
    return chosen


def _circle(points: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, points)
    return np.stack([np.cos(angle), np.sin(angle)])


def _inverse(matrix: np.ndarray, point) -> np.ndarray:
    root = _root(matrix, point)
    inverse_root = np.linalg.inv(root)
    return inverse_root.T @ inverse_root


def _root(matrix: np.ndarray, point) -> np.ndarray:
    """The Cholesky factor of a metric, or of its inverse, at a point."""
    message = f"The metric is not positive definite at {np.asarray(point).tolist()}."
    if not np.all(np.isfinite(matrix)):
        raise ValueError(message)
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise ValueError(message) from error
