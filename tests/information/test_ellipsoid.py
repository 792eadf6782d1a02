"""Confidence ellipsoids: quantiles, coverage, axes, shadows and failures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

import fimlag as fl

ROOT = np.random.default_rng(0).normal(size=(3, 3))
COVARIANCE = jnp.asarray(ROOT @ ROOT.T + 0.1 * np.eye(3))
CENTRE = jnp.array([1.0, -2.0, 0.5])
ELLIPSOID = fl.confidence_ellipsoid(CENTRE, covariance=COVARIANCE, level=0.9)
POINTS = jax.random.multivariate_normal(jax.random.key(0), CENTRE, COVARIANCE, (4000,))


def test_the_ellipsoid_holds_as_much_of_a_normal_as_its_level_says():
    inside = np.asarray(jax.vmap(ELLIPSOID.contains)(POINTS))
    # Four standard errors of a proportion.
    assert abs(np.mean(inside) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 4000)
    for part in (ELLIPSOID.marginal((0, 2)), ELLIPSOID.marginal(1)):
        chosen = np.array([0, 2]) if part.centre.size == 2 else np.array([1])
        inside = np.asarray(jax.vmap(part.contains)(POINTS[:, chosen]))
        assert abs(np.mean(inside) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 4000)


def test_distances_are_measured_by_the_inverse_covariance():
    found = jax.vmap(ELLIPSOID.mahalanobis)(POINTS[:50])
    offsets = np.asarray(POINTS[:50]) - np.asarray(CENTRE)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(COVARIANCE), offsets))
    assert np.max(np.abs(found / expected - 1.0)) < 1e-12
    assert abs(float(ELLIPSOID.radius) ** 2 - scipy.stats.chi2.ppf(0.9, 3)) < 1e-12


@pytest.mark.parametrize("level", [1e-12, 0.5, 0.99, 1 - 1e-12])
@pytest.mark.parametrize("d", [1, 2, 40])
def test_radius_is_the_root_of_the_chi_square_quantile(d, level):
    ellipsoid = fl.confidence_ellipsoid(jnp.zeros(d), covariance=jnp.eye(d), level=level)
    # scipy inverts by another route; near 1 the level itself is rounded to 1e-16 of 1e-12.
    assert abs(float(ellipsoid.radius) / np.sqrt(scipy.stats.chi2.ppf(level, d)) - 1.0) < 1e-6


def test_axes_are_orthonormal_and_end_on_the_boundary():
    axes, lengths = ELLIPSOID.axes, ELLIPSOID.semi_axes
    assert jnp.max(jnp.abs(axes.T @ axes - jnp.eye(3))) < 1e-14
    assert jnp.all(jnp.diff(lengths) > 0.0)
    for k in range(3):
        end = CENTRE + lengths[k] * axes[:, k]
        assert abs(ELLIPSOID.mahalanobis(end) / ELLIPSOID.radius - 1.0) < 1e-13
    assert abs(ELLIPSOID.volume / (4 / 3 * np.pi * jnp.prod(lengths)) - 1.0) < 1e-13


def test_the_boundary_of_an_ellipse_is_a_closed_curve_on_it():
    ellipse = ELLIPSOID.marginal((2, 1))
    boundary = ellipse.boundary(61)
    assert boundary.shape == (61, 2)
    assert jnp.max(jnp.abs(boundary[0] - boundary[-1])) < 1e-14
    assert jnp.max(jnp.abs(jax.vmap(ellipse.mahalanobis)(boundary) / ellipse.radius - 1.0)) < 1e-13
    # The shoelace formula for a polygon of 60 sides, exact but for the factor of a regular one.
    x, y = boundary.T
    area = 0.5 * abs(jnp.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
    assert abs(area / ellipse.volume - np.sin(np.pi / 30) / (np.pi / 30)) < 1e-13


def test_a_shadow_holds_what_is_above_it_and_touches_its_outline():
    shadow = ELLIPSOID.projection((0, 1))
    inside = jax.vmap(ELLIPSOID.contains)(POINTS)
    assert jnp.all(jax.vmap(shadow.contains)(POINTS[:, :2])[inside])
    # The farthest point along a direction of the plane is the same for both.
    direction = jnp.array([0.6, -0.8, 0.0])
    farthest = COVARIANCE @ direction / jnp.sqrt(direction @ COVARIANCE @ direction) * ELLIPSOID.radius
    assert abs(ELLIPSOID.mahalanobis(CENTRE + farthest) / ELLIPSOID.radius - 1.0) < 1e-12
    assert abs(shadow.mahalanobis((CENTRE + farthest)[:2]) / ELLIPSOID.radius - 1.0) < 1e-12


def test_information_is_the_inverse_of_a_covariance():
    ellipsoid = fl.confidence_ellipsoid(CENTRE, information=jnp.linalg.inv(COVARIANCE), level=0.9)
    assert jnp.max(jnp.abs(ellipsoid.covariance - COVARIANCE)) < 1e-12
    assert abs(ellipsoid.volume / ELLIPSOID.volume - 1.0) < 1e-12


@settings(max_examples=10)
@given(st.lists(st.floats(-6.0, 6.0), min_size=3, max_size=3))
def test_what_is_inside_does_not_depend_on_units(exponents):
    units = 10.0 ** jnp.array(exponents)
    scaled = fl.confidence_ellipsoid(units * CENTRE, covariance=COVARIANCE * units[:, None] * units[None, :])
    found = jax.vmap(scaled.mahalanobis)(units[None] * POINTS[:20])
    expected = jax.vmap(ELLIPSOID.mahalanobis)(POINTS[:20])
    assert jnp.max(jnp.abs(found / expected - 1.0)) < 1e-10


def test_points_come_in_the_structure_of_the_estimate():
    theta = {"a": jnp.array(1.0 + 2.0j), "b": 3.0}
    ellipsoid = fl.confidence_ellipsoid(theta, covariance=jnp.diag(jnp.array([1.0, 4.0, 9.0])))
    assert abs(ellipsoid.mahalanobis({"a": jnp.array(1.0 + 4.0j), "b": 6.0}) - np.sqrt(2.0)) < 1e-14
    with pytest.raises(ValueError, match="structure"):
        ellipsoid.contains(jnp.zeros(3))


def test_what_is_not_positive_definite_is_reported():
    for name in ("covariance", "information"):
        for matrix, result in (
            (jnp.ones((2, 2)), fl.RESULTS.singular_information),
            (jnp.diag(jnp.array([1.0, -1.0])), fl.RESULTS.singular_information),
            (jnp.diag(jnp.array([1.0, jnp.nan])), fl.RESULTS.nonfinite),
        ):
            failed = fl.confidence_ellipsoid(jnp.zeros(2), **{name: matrix}, throw=False)
            assert bool(failed.result == result)
            assert jnp.isnan(failed.volume)
            assert not failed.contains(jnp.zeros(2))
    with pytest.raises(eqx.EquinoxRuntimeError, match="identifiable"):
        fl.confidence_ellipsoid(jnp.zeros(2), information=jnp.ones((2, 2)))
    flat = fl.confidence_ellipsoid(jnp.zeros(2), covariance=jnp.diag(jnp.array([1.0, 0.0])), throw=False)
    assert flat.marginal(0).succeeded


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariance": jnp.eye(3), "information": jnp.eye(3)},
        {"covariance": jnp.eye(2)},
        {"information": jnp.ones((3, 2))},
        {"covariance": jnp.eye(3), "level": 95},
        {"covariance": jnp.eye(3), "level": 1.0},
    ],
)
def test_arguments_that_do_not_fit_raise(options):
    with pytest.raises(Exception, match=r"shape|level|either|Type-check"):
        fl.confidence_ellipsoid(CENTRE, **options)


@pytest.mark.parametrize("coordinates", [(0, 3), (0, 0), (1, -2), (), (0.5, 1.0)])
def test_coordinates_that_are_not_there_raise(coordinates):
    with pytest.raises(ValueError, match="coordinates"):
        ELLIPSOID.projection(coordinates)
    with pytest.raises(ValueError, match="projection"):
        ELLIPSOID.boundary()


def test_ellipsoids_keep_single_precision_under_jit_and_vmap():
    centres = jnp.stack([CENTRE, 2.0 * CENTRE]).astype(jnp.float32)
    covariance = COVARIANCE.astype(jnp.float32)

    @jax.jit
    @jax.vmap
    def of(centre):
        ellipsoid = fl.confidence_ellipsoid(centre, covariance=covariance, level=0.9, throw=False)
        return ellipsoid, ellipsoid.mahalanobis(jnp.zeros(3, jnp.float32)), ellipsoid.marginal((0, 1)).boundary(5)

    ellipsoids, distances, boundaries = of(centres)
    assert {leaf.dtype for leaf in (ellipsoids.factor, ellipsoids.radius, distances, boundaries)} == {jnp.dtype("f4")}
    # Single round-off times the root of the condition number, about 10.
    assert abs(float(distances[0] / ELLIPSOID.mahalanobis(jnp.zeros(3)).astype(jnp.float32)) - 1.0) < 1e-5


def test_volume_and_distance_differentiate_where_axes_coincide():
    def volume(scale):
        return fl.confidence_ellipsoid(jnp.zeros(2), covariance=scale * jnp.eye(2), throw=False).volume

    # Pi r^2 scale.
    assert abs(jax.grad(volume)(3.0) / (volume(3.0) / 3.0) - 1.0) < 1e-14


def test_distance_from_the_centre_has_no_slope_there():
    ellipsoid = fl.confidence_ellipsoid(jnp.array([1.0, 2.0]), covariance=jnp.eye(2))
    assert jnp.all(jax.grad(ellipsoid.mahalanobis)(jnp.array([1.0, 2.0])) == 0.0)
    assert ellipsoid.mahalanobis(jnp.array([4.0, 6.0])) == 5.0
