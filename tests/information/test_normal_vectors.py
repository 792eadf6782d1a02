"""Normal vectors of structured covariance: Fisher matrices, closed distances near and far, and their derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

import fimlag as fl

families = fl.families
FULL, CENTRED = families.MultivariateNormal(3), families.CentredNormal(3)
DIAGONAL, ISOTROPIC = families.DiagonalNormal(3), families.IsotropicNormal(3)
RANDOM = np.random.default_rng(0)
DIAGONAL_POINTS = jnp.array(np.concatenate([RANDOM.normal(size=(6, 3)), RANDOM.uniform(0.2, 3.0, (6, 3))], axis=1))
ISOTROPIC_POINTS = DIAGONAL_POINTS[:, :4]
CENTRED_POINTS = jnp.array(RANDOM.normal(size=(6, 6)))
STRUCTURED = [(DIAGONAL, DIAGONAL_POINTS), (ISOTROPIC, ISOTROPIC_POINTS), (CENTRED, CENTRED_POINTS)]


def names(cases):
    return [type(case[0]).__name__ for case in cases]


def in_the_full_family(family, theta):
    mean, spread = family.moments(theta)
    covariance = jnp.diag(spread**2) if spread.ndim == 1 else spread @ spread.T
    return FULL.of_moments(mean, covariance)


@functools.cache
def comparison(number):
    """One program for each family, compiled once: its closed forms, and those of the full family pulled back."""
    family, points = STRUCTURED[number]

    @jax.jit
    @jax.vmap
    def compare(free):
        x, theta = jnp.array([0.3, -1.0, 2.0]), family.chart.point(free[: points.shape[1]])
        image, slopes = in_the_full_family(family, theta), jax.jacfwd(lambda t: in_the_full_family(family, t))(theta)
        pulled = slopes.T @ FULL.fisher(image) @ slopes
        root, v = family.fisher_root(theta), jnp.cos(theta)
        densities = family.log_likelihood(theta, x), FULL.log_likelihood(image, x)
        return family.fisher(theta), pulled, root @ root.T, family.quadratic(theta, v), v, densities

    return compare


@pytest.mark.parametrize("number", range(len(STRUCTURED)), ids=names(STRUCTURED))
@settings(max_examples=5)
@given(free=arrays(float, (6, 6), elements=st.floats(-1.0, 1.0), fill=st.nothing()))
def test_structured_family_is_a_subfamily_of_all_normal_vectors(number, free):
    fisher, pulled, gram, lengths, v, densities = comparison(number)(free)
    # Round-off of matrices of condition 1e3.
    np.testing.assert_allclose(fisher, pulled, rtol=1e-12, atol=1e-12 * jnp.max(fisher))
    np.testing.assert_allclose(fisher, gram, rtol=1e-13, atol=1e-13 * jnp.max(fisher))
    np.testing.assert_allclose(lengths, jnp.einsum("ki,kij,kj->k", v, fisher, v), rtol=1e-12)
    np.testing.assert_allclose(*densities, rtol=1e-12)


@pytest.mark.parametrize(("family", "points"), STRUCTURED, ids=names(STRUCTURED))
def test_distance_is_a_metric_with_the_fisher_information(family, points):
    both = jax.jit(jax.vmap(jax.value_and_grad(family.distance, 1)))
    others = jnp.roll(points, 1, axis=0)
    there, slope = both(points, others)
    # Round-off.
    np.testing.assert_allclose(there, both(others, points)[0], rtol=1e-14)
    fisher = jax.vmap(family.fisher)(others)
    # The eikonal equation: the gradient has unit length in the inverse metric.
    lengths = jnp.einsum("ki,kij,kj->k", slope, jnp.linalg.inv(fisher), slope)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-11)
    assert jnp.all(both(points, jnp.roll(points, 2, axis=0))[0] <= (there + jnp.roll(there, 1)) * (1.0 + 1e-14))
    coincident, flat = both(points, points)
    assert jnp.all(coincident == 0.0)
    assert jnp.all(flat == 0.0)
    steps = 1e-8 * jnp.cos(jnp.arange(points.size, dtype=float).reshape(points.shape))
    taken = (points + steps) - points
    norms = jnp.sqrt(jnp.einsum("ki,kij,kj->k", taken, jax.vmap(family.fisher)(points), taken))
    # First order in the step, relative.
    np.testing.assert_allclose(both(points, points + steps)[0], norms, rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "points"), [STRUCTURED[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in STRUCTURED[1:])]
)
def test_curvature_of_the_squared_distance_hides_behind_no_coincidence(family, points):
    # All coordinates but one coincide, so that parts of the distance vanish, but not their curvatures.
    other = points[0].at[1].add(0.7)
    slope = jax.grad(lambda theta: 0.5 * family.distance(theta, other) ** 2)
    curvature, gradient = jax.jit(jax.jacfwd(slope))(points[0]), jax.jit(jax.vmap(slope))
    shifts = 1e-5 * jnp.eye(points.shape[1])
    differences = (gradient(points[0][None] + shifts) - gradient(points[0][None] - shifts)) / 2e-5
    # Round-off over the step, and its square.
    assert jnp.max(jnp.abs(curvature - differences)) < 1e-8 * jnp.max(jnp.abs(curvature))
    assert jnp.min(jnp.linalg.eigvalsh(curvature)) > 0.1 * jnp.min(jnp.diagonal(family.fisher(points[0])))


def test_centred_distance_is_that_of_generalised_eigenvalues():
    ours = jax.jit(jax.vmap(CENTRED.distance))(CENTRED_POINTS[:-1], CENTRED_POINTS[1:])
    covariances = np.asarray(jax.vmap(families.from_log_cholesky)(CENTRED_POINTS))
    for i, distance in enumerate(ours):
        eigenvalues = scipy.linalg.eigh(covariances[i + 1], covariances[i], eigvals_only=True)
        # Round-off of generalised eigenvalues, times the condition 1e3.
        assert abs(distance / np.sqrt(0.5 * np.sum(np.log(eigenvalues) ** 2)) - 1.0) < 1e-11


@pytest.mark.slow
def test_centred_distance_has_right_derivatives_at_equal_eigenvalues():
    # Between multiples of one covariance all eigenvalues are equal.
    theta = CENTRED_POINTS[0]
    scaled = theta + jnp.array([0.4, 0.0, 0.4, 0.0, 0.0, 0.4])
    factors = jnp.array([1.0, np.exp(0.4), 1.0, np.exp(0.4), np.exp(0.4), 1.0])
    scaled = jnp.where(factors == 1.0, scaled, theta * factors)
    half_square = jax.jit(lambda a, b: 0.5 * CENTRED.distance(a, b) ** 2)
    assert abs(half_square(theta, scaled) / (3.0 * 0.4**2) - 1.0) < 1e-13
    second = jax.jit(jax.hessian(half_square, 1))(theta, scaled)
    first, shifts = jax.vmap(jax.jit(jax.grad(half_square, 1)), (None, 0)), 1e-5 * jnp.eye(6)
    differences = (first(theta, scaled[None] + shifts) - first(theta, scaled[None] - shifts)) / 2e-5
    # Round-off over the step, and its square.
    assert jnp.max(jnp.abs(second - differences)) < 1e-8 * jnp.max(jnp.abs(second))


def test_centred_distance_meets_extremes():
    distance = jax.jit(families.CentredNormal(2).distance)
    identity = jnp.zeros(3)
    # Singular values s and 1 / s of a factor: the half-plane gives their logarithm without cancellation.
    for entries in ([1e9, 2e9, 1e-9], [1e-3, 1.0, 1e3], [1e12, -1e-3, 1e-12], [1.0, 1e5, 1.0], [1.0, 1e-12, 1.0]):
        a, b, c = entries
        expected = 2.0 * np.arcsinh(np.sqrt(((a - c) ** 2 + b**2) / (4.0 * a * c)))
        theta = jnp.array([np.log(a), b, np.log(c)])
        # Round-off of logarithms of 30.
        assert abs(distance(identity, theta) / expected - 1.0) < 1e-13


def test_half_space_of_one_dimension_is_the_half_plane():
    normal, ones = families.Normal(), (families.IsotropicNormal(1), families.DiagonalNormal(1))
    starts = jnp.array([[0.3, 0.7], [0.0, 1e-6], [0.0, 1.0], [0.0, 1e-5]])
    ends = jnp.array([[0.9, 1.1], [1000.0, 1e-6], [1e-9, 1.0 + 1e-9], [0.0, 1e20]])
    ours = jax.jit(jax.vmap(lambda a, b: [family.distance(a, b) for family in (normal, *ones)]))(starts, ends)
    # Round-off.
    np.testing.assert_allclose(ours[1], ours[0], rtol=1e-14)
    np.testing.assert_allclose(ours[2], ours[0], rtol=1e-14)


@pytest.mark.slow
def test_generic_route_is_within_four_standard_errors():
    key = jax.random.key(1)
    cases = [
        (families.IsotropicNormal(2, 5_000, key), jnp.array([1.0, -1.0, 0.7])),
        (families.DiagonalNormal(2, 5_000, key), jnp.array([1.0, -1.0, 0.7, 2.0])),
        (families.CentredNormal(2, 5_000, key), jnp.array([0.3, -0.4, 0.2])),
    ]
    for family, theta in cases:
        found = jax.jit(lambda t, family=family: fl.fisher_estimate(family.model, t, audit=False, throw=False))(theta)
        # Round-off where an entry has no variance.
        assert jnp.all(jnp.abs(found.value - family.fisher(theta)) <= 4.0 * found.standard_error + 1e-12)
        assert found.succeeded


def test_moments_return_and_densities_are_those_of_scipy():
    mean, x = jnp.array([1.0, -1.0]), jnp.array([0.2, 0.5])
    isotropic, diagonal, centred = families.IsotropicNormal(2), families.DiagonalNormal(2), families.CentredNormal(2)
    covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    for family, theta, reference in [
        (isotropic, isotropic.of_moments(mean, 0.49), scipy.stats.multivariate_normal([1.0, -1.0], 0.49 * np.eye(2))),
        (
            diagonal,
            diagonal.of_moments(mean, jnp.array([0.49, 4.0])),
            scipy.stats.multivariate_normal([1.0, -1.0], np.diag([0.49, 4.0])),
        ),
        (centred, centred.of_moments(covariance), scipy.stats.multivariate_normal([0.0, 0.0], np.asarray(covariance))),
    ]:
        # Round-off.
        assert abs(family.log_likelihood(theta, x) - reference.logpdf(np.asarray(x))) < 1e-14
        assert jnp.max(jnp.abs(family.chart.point(family.chart.free(theta)) - theta)) < 1e-15
    assert jnp.any(jnp.isnan(centred.of_moments(-covariance)))
    assert jnp.any(jnp.isnan(isotropic.of_moments(mean, -1.0)))


def test_outside_the_domain_nothing_looks_legal():
    for family, theta in [
        (families.IsotropicNormal(2), jnp.array([0.0, 0.0, -1.0])),
        (families.DiagonalNormal(2), jnp.array([0.0, 0.0, 1.0, -1.0])),
    ]:
        legal = jnp.abs(theta) + 0.5
        assert jnp.isnan(family.log_likelihood(theta, jnp.zeros(2)))
        assert jnp.any(jnp.isnan(family.fisher(theta)))
        assert jnp.isnan(family.distance(legal, theta))
        assert jnp.any(jnp.isnan(family.chart.free(theta)))


def test_precision_follows_theta():
    theta0, theta1 = jnp.array([0.1, 0.2, 1.0], jnp.float32), jnp.array([0.4, -0.2, 2.0], jnp.float32)
    pair = (families.IsotropicNormal(2), families.CentredNormal(2))
    both = jax.jit(lambda a, b: [(family.distance(a, b), family.fisher(a)) for family in pair])
    exact = both(theta0.astype(float), theta1.astype(float))
    for (ours, fisher), (distance, _) in zip(both(theta0, theta1), exact, strict=True):
        assert ours.dtype == fisher.dtype == jnp.float32
        # Round-off in single precision.
        assert abs(ours.astype(float) / distance - 1.0) < 1e-5


def test_coordinates_of_a_matrix_return_it():
    matrix = jnp.array([[4.0, 2.0, 0.4], [2.0, 3.0, -1.0], [0.4, -1.0, 5.0]])
    # Round-off.
    assert jnp.max(jnp.abs(families.from_log_cholesky(families.log_cholesky(matrix)) - matrix)) < 1e-14
    for message, call in [
        ("square", lambda: families.log_cholesky(jnp.ones((2, 3)))),
        ("numbers", lambda: families.from_log_cholesky(jnp.ones(4))),
        ("3 parameters", lambda: families.IsotropicNormal(2).fisher(jnp.ones(4))),
        ("at least 1", lambda: families.DiagonalNormal(0)),
        ("length 2", lambda: families.CentredNormal(2).log_likelihood(jnp.zeros(3), jnp.ones(3))),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
