"""Each figure draws the points that the theory prescribes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure

from fimlag import plot
from fimlag.geometry import EuclideanMetric
from fimlag.information import confidence_ellipsoid
from fimlag.integrators import integrate
from fimlag.mechanics import NaturalLagrangian
from fimlag.paths import Path


@pytest.fixture
def ax():
    return Figure().add_subplot()


def _half_plane(q):
    return jnp.eye(2) / q[1] ** 2


def test_a_path_is_drawn_through_its_points_with_its_ends_marked(ax):
    circle = Path.from_function(lambda t: jnp.stack([jnp.cos(t), jnp.sin(t), t]), 0.0, 2.0)
    assert plot.path(ax, circle, coordinates=(0, 1), color="black", label="arc") is ax
    curve, start, end = ax.lines
    # Interpolation by 8 elements of degree 8: far below 1e-12.
    np.testing.assert_allclose(np.hypot(*curve.get_data()), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.ravel(start.get_data()), [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(np.ravel(end.get_data()), [np.cos(2.0), np.sin(2.0)], atol=1e-12)
    assert ax.get_legend_handles_labels()[1] == ["arc"]


def test_a_path_of_one_coordinate_is_drawn_against_time(ax):
    plot.path(ax, Path.from_nodes(jnp.array([0.0, 4.0]), t1=2.0), ends=False)
    times, values = ax.lines[0].get_data()
    np.testing.assert_allclose(values, 2 * times, atol=1e-14)
    assert ax.get_xlabel() == "time"


def test_short_elements_are_drawn_as_finely_as_long_ones(ax):
    edges = jnp.array([0.0, 1e-3, 1.0])
    layer = Path.from_function(lambda t: jnp.stack([t, (1e-3 - jnp.minimum(t, 1e-3)) * 1e3]), degree=1, knots=edges)
    plot.path(ax, layer, samples=21, ends=False, knots=True)
    times, heights = ax.lines[0].get_data()
    np.testing.assert_allclose(heights[:11], np.linspace(1.0, 0.0, 11), atol=1e-12)
    np.testing.assert_allclose(times[[0, 10, 20]], edges, atol=1e-15)
    np.testing.assert_allclose(np.ravel(ax.lines[1].get_data()), [1e-3, 0.0], atol=1e-15)


def test_a_coordinate_that_a_path_has_not_is_refused(ax):
    with pytest.raises(ValueError, match="indices below 2"):
        plot.path(ax, Path.from_nodes(jnp.eye(2)), coordinates=(0, 2))


def test_a_trajectory_is_drawn_coordinate_by_coordinate(ax):
    free = NaturalLagrangian(EuclideanMetric(1.0))
    motion = integrate(free, {"x": 0.0, "y": 1.0}, {"x": 1.0, "y": 0.0}, t1=2.0, steps=4)
    plot.trajectory(ax, motion, labels=["x", "y"])
    np.testing.assert_allclose(ax.lines[0].get_data()[1], [0.0, 0.5, 1.0, 1.5, 2.0], atol=1e-14)
    np.testing.assert_allclose(ax.lines[1].get_data()[1], np.ones(5), atol=1e-14)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["x", "y"]
    with pytest.raises(ValueError, match="1 labels came for 2"):
        plot.trajectory(ax, motion, labels=["x"])


def test_metric_ellipses_have_the_length_asked_for(ax):
    points = jnp.array([[0.0, 1.0], [1.0, 3.0]])
    plot.metric_ellipses(ax, _half_plane, points, radius=0.5, label="half a unit")
    for line, point in zip(ax.lines, points, strict=True):
        offsets = np.stack(line.get_data(), axis=1) - np.asarray(point)
        np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), 0.5 * point[1], rtol=1e-12)  # round-off
    assert len(ax.get_legend_handles_labels()[1]) == 1


def test_the_ellipse_of_more_coordinates_is_the_shadow_of_the_ellipsoid(ax):
    information = jnp.array([[4.0, 0.0, 1.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]])
    plot.metric_ellipses(ax, EuclideanMetric(information), jnp.zeros((1, 3)))
    covariance = np.linalg.inv(information)
    extent = np.max(np.stack(ax.lines[0].get_data()), axis=1)
    # 180 chords of an ellipse miss its extreme by at most 1 - cos(1 degree) = 1.5e-4.
    np.testing.assert_allclose(extent, np.sqrt(np.diag(covariance)[:2]), rtol=2e-4)


def test_a_confidence_ellipse_is_drawn_of_two_parameters_alone_or_as_a_shadow(ax):
    covariance = jnp.array([[4.0, 0.0, 1.0], [0.0, 2.0, 0.0], [1.0, 0.0, 1.0]])
    ellipsoid = confidence_ellipsoid(jnp.array([1.0, 2.0, 3.0]), covariance=covariance, level=0.9)
    assert plot.ellipse(ax, ellipsoid, coordinates=(2, 0), label="90 %") is ax
    plot.ellipse(ax, ellipsoid, coordinates=(2, 0), joint=True, color="black")
    for line, degrees in zip(ax.lines, (2, 3), strict=True):
        offsets = np.stack(line.get_data(), axis=1) - np.array([3.0, 1.0])
        squares = np.einsum("ni,ij,nj->n", offsets, np.linalg.inv([[1.0, 1.0], [1.0, 4.0]]), offsets)
        np.testing.assert_allclose(squares, scipy.stats.chi2.ppf(0.9, degrees), rtol=1e-12)  # round-off
    with pytest.raises(ValueError, match="indices below 3"):
        plot.ellipse(ax, ellipsoid, coordinates=(0, 3))
    failed = confidence_ellipsoid(jnp.zeros(2), covariance=jnp.ones((2, 2)), throw=False)
    with pytest.raises(ValueError, match="failed"):
        plot.ellipse(ax, failed)


def test_a_geodesic_ball_of_the_half_plane_is_a_circle_about_another_centre(ax):
    plot.geodesic_ball(ax, _half_plane, jnp.array([0.0, 1.0]), 1.0, directions=12)
    x, y = ax.lines[0].get_data()
    # The hyperbolic circle of radius r about (0, 1) is Euclidean about (0, cosh r) of radius sinh r. Tolerance: the
    # error of 32 steps of order 8.
    np.testing.assert_allclose(np.hypot(x, y - np.cosh(1.0)), np.sinh(1.0), rtol=1e-9)
    np.testing.assert_allclose([x[0], y[0]], [x[-1], y[-1]], rtol=1e-9)


def test_likelihood_contours_stand_at_the_quantiles_of_chi_square(ax):
    plot.likelihood_contours(ax, lambda theta: -0.5 * theta @ theta, ((-4, 4), (-4, 4)), levels=(0.95, 0.5))
    half, most = (np.concatenate(lines) for lines in ax.collections[0].allsegs)
    # Linear interpolation on a grid of spacing 1/15 misses r by at most (1/15)^2 / (8 r), below 1e-3.
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), np.sqrt(2 * np.log(2.0)), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(most, axis=1), np.sqrt(-2 * np.log(0.05)), atol=1e-3)


def test_contours_may_stand_at_likelihood_ratio_distances(ax):
    plot.likelihood_contours(ax, lambda theta: -0.5 * theta @ theta, ((-4, 4), (-4, 4)), distances=(3, 1))
    for distance, lines in zip((1.0, 3.0), ax.collections[0].allsegs, strict=True):
        # As above: linear interpolation misses r by at most 1e-3.
        np.testing.assert_allclose(np.linalg.norm(np.concatenate(lines), axis=1), distance, atol=1e-3)
    with pytest.raises(ValueError, match="positive"):
        plot.likelihood_contours(ax, lambda theta: -theta @ theta, ((-4, 4), (-4, 4)), distances=(0.0,))


def test_levels_of_no_probability_and_likelihoods_of_no_value_are_refused(ax):
    square = ((0.0, 1.0), (0.0, 1.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        plot.likelihood_contours(ax, lambda theta: -theta @ theta, square, levels=(0.5, 95.0))
    with pytest.raises(ValueError, match="finite nowhere"):
        plot.likelihood_contours(ax, lambda theta: jnp.log(-theta @ theta - 1.0), square)


def test_a_metric_that_is_not_positive_definite_is_refused(ax):
    def saddle(q):
        return jnp.diag(jnp.array([1.0, -1.0]))

    with pytest.raises(ValueError, match="not positive definite"):
        plot.metric_ellipses(ax, saddle, jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="not positive definite"):
        plot.geodesic_ball(ax, saddle, jnp.zeros(2), 1.0)
    with pytest.raises(ValueError, match="two coordinates"):
        plot.geodesic_ball(ax, EuclideanMetric(1.0), jnp.zeros(3), 1.0)


def test_geodesics_that_leave_the_domain_are_counted_in_the_refusal(ax):
    def half_line(q):  # flat in the square root: the boundary q[0] = 0 is at distance 2 from (1, 0)
        return jnp.diag(jnp.stack([1.0 / q[0], 1.0]))

    with pytest.raises(ValueError, match="could not be followed"):
        plot.geodesic_ball(ax, half_line, jnp.array([1.0, 0.0]), 3.0, directions=4)


def test_every_figure_can_be_rendered(ax, tmp_path):
    plot.path(ax, Path.from_nodes(jax.random.normal(jax.random.key(0), (3, 2))))
    plot.metric_ellipses(ax, EuclideanMetric(4.0), jnp.zeros((1, 2)))
    plot.likelihood_contours(ax, lambda theta: -theta @ theta, ((-1, 1), (-1, 1)), points=21)
    ax.figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
