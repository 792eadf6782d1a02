"""Normal vectors: exact geodesics and distances, their bounds, invariances and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

import fimlag as fl

families = fl.families
NORMAL, PLANE, SPACE = (families.MultivariateNormal(d) for d in (1, 2, 3))
RANDOM = np.random.default_rng(4)
POINTS, OTHERS = (jnp.array(RANDOM.normal(size=(8, 5))) for _ in range(2))
DISTANCES = jax.jit(jax.vmap(jax.value_and_grad(PLANE.distance, 1)))
FISHERS = jax.jit(jax.vmap(PLANE.fisher))


def along(forms, vectors):
    return jnp.einsum("ki,kij,kj->k", vectors, forms, vectors)


def potential(natural):
    linear, quadratic = natural
    precision = -(quadratic + quadratic.T)
    return 0.5 * linear @ jnp.linalg.solve(precision, linear) - 0.5 * jnp.linalg.slogdet(precision)[1]


@jax.jit
def through_the_natural_parameters(theta, u, w):
    """Information and third moments from the potential of the exponential family, and the closed ones."""

    def flat_potential(vector):
        return potential((vector[:2], vector[2:].reshape(2, 2)))

    def natural(theta):
        linear, quadratic = PLANE.natural(theta)
        return jnp.concatenate([linear, quadratic.ravel()])

    slopes = jax.jacfwd(natural)(theta)
    hessian = jax.hessian(flat_potential)
    third = jax.jvp(hessian, (natural(theta),), (slopes @ w,))[1]
    pulled = slopes.T @ hessian(natural(theta)) @ slopes, slopes.T @ third @ slopes @ u
    return pulled, PLANE.skewness(theta, u, w), PLANE.fisher(theta), PLANE.of_natural(*PLANE.natural(theta))


@settings(max_examples=20)
@given(arrays(float, (3, 5), elements=st.floats(-1.5, 1.5), fill=st.nothing()))
def test_information_and_third_moments_are_those_of_the_exponential_family(vectors):
    (information, moments), (skewness, result), fisher, back = through_the_natural_parameters(*vectors)
    # Round-off of derivatives of an inverse.
    np.testing.assert_allclose(fisher, information, atol=1e-12 * jnp.max(information))
    np.testing.assert_allclose(skewness, moments, atol=1e-12 * jnp.max(jnp.abs(moments)))
    assert result == fl.RESULTS.successful
    np.testing.assert_allclose(back, vectors[0], atol=1e-14)


def test_information_is_the_hessian_of_the_divergence():
    theta = POINTS[0]

    def divergence(other):
        (mean0, factor0), (mean1, factor1) = PLANE.moments(theta), PLANE.moments(other)
        whitened = jnp.linalg.solve(factor1, jnp.concatenate([factor0, (mean1 - mean0)[:, None]], axis=1))
        logs = jnp.log(jnp.diagonal(factor1)) - jnp.log(jnp.diagonal(factor0))
        return 0.5 * (jnp.sum(whitened**2) - 2.0) + jnp.sum(logs)

    # Round-off.
    np.testing.assert_allclose(jax.jit(jax.hessian(divergence))(theta), FISHERS(POINTS)[0], atol=1e-13)


@pytest.mark.parametrize("family", [PLANE, pytest.param(SPACE, marks=pytest.mark.slow)], ids=["plane", "space"])
def test_distance_to_the_end_of_a_geodesic_is_its_length(family):
    size = family.d + family.d * (family.d + 1) // 2
    random = np.random.default_rng(5)
    thetas, directions = (jnp.array(random.normal(size=(8, size))) for _ in range(2))
    lengths = jnp.array([1e-8, 1e-3, 0.1, 1.0, 4.0, 7.0, 9.0, 1e4])

    @jax.jit
    @jax.vmap
    def travelled(theta, v, length):
        v = v * length / jnp.sqrt(family.quadratic(theta, v))
        end = family.exponential(theta, v)
        return end, jnp.sqrt(family.quadratic(theta, family.logarithm(theta, end) - v))

    ends, errors = travelled(thetas, directions, lengths)
    distances = DISTANCES if family is PLANE else jax.jit(jax.vmap(lambda a, b: (family.distance(a, b), a)))
    found, ends, errors, lengths = distances(thetas, ends)[0][:-1], ends[-1], errors[:-1], lengths[:-1]
    # Round-off of theta, times the condition, exp(length), of the end.
    assert jnp.max(jnp.abs(found - lengths) / (1e-13 + 1e-15 * jnp.exp(lengths))) < 30.0
    assert jnp.max(errors / (1e-13 + 1e-15 * jnp.exp(2.0 * lengths))) < 30.0
    # A piece too long for its exponential is no answer.
    assert jnp.all(jnp.isnan(ends))


def test_exponential_is_that_of_eriksen():
    theta, v = jnp.array([0.0, 0.0, 0.0, 0.0, 0.0]), jnp.array([0.7, -0.4, 0.3, 0.5, -0.6])
    x, growth = np.array([0.7, -0.4]), np.array([[0.3, 0.0], [0.5, -0.6]])
    B, none = growth + growth.T, np.zeros((2, 2))
    column = x[:, None]
    whole = scipy.linalg.expm(
        np.block([[-B, column, none], [column.T, np.zeros((1, 1)), -column.T], [none, -column, B]])
    )
    mean, factor = PLANE.moments(jax.jit(PLANE.exponential)(theta, v))
    # Round-off.
    np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(whole[:2, :2]), atol=1e-14)
    np.testing.assert_allclose(mean, np.linalg.solve(whole[:2, :2], whole[:2, 2]), atol=1e-14)


@pytest.mark.slow
def test_exponential_is_the_geodesic_of_the_fisher_metric():
    metric, theta, v = fl.FisherMetric(PLANE), POINTS[0], 0.5 * POINTS[1]
    numeric = jax.jit(lambda q, v: fl.exp_map(metric, q, v))(theta, v)
    # Truncation: the eighth power of steps of 1 / 32.
    np.testing.assert_allclose(jax.jit(PLANE.exponential)(theta, v), numeric, atol=1e-10)


@pytest.mark.slow
def test_distance_is_that_of_the_fisher_metric():
    metric = fl.FisherMetric(PLANE)
    numeric = jax.jit(lambda q0, q1: fl.distance(metric, q0, q1))(POINTS[0], OTHERS[0])
    # What is demanded of numeric distances.
    assert abs(numeric / PLANE.distance(POINTS[0], OTHERS[0]) - 1.0) < 1e-8


def test_distance_is_a_metric_with_the_fisher_information():
    there, slope = DISTANCES(POINTS, OTHERS)
    # Round-off.
    np.testing.assert_allclose(there, DISTANCES(OTHERS, POINTS)[0], rtol=1e-12)
    via, _ = DISTANCES(POINTS, jnp.roll(OTHERS, 1, axis=0))
    last, _ = DISTANCES(jnp.roll(OTHERS, 1, axis=0), OTHERS)
    assert jnp.all(there < via + last)
    # The eikonal equation: the gradient has unit length in the inverse metric.
    np.testing.assert_allclose(along(jnp.linalg.inv(FISHERS(OTHERS)), slope), 1.0, rtol=1e-10)
    coincident, flat = DISTANCES(POINTS, POINTS)
    assert jnp.all(coincident == 0.0)
    assert jnp.all(flat == 0.0)
    steps = (POINTS + 1e-8 * OTHERS) - POINTS
    near, slope = DISTANCES(POINTS, POINTS + steps)
    # First order in the step, relative.
    np.testing.assert_allclose(near, jnp.sqrt(along(FISHERS(POINTS), steps)), rtol=1e-6)
    np.testing.assert_allclose(along(jnp.linalg.inv(FISHERS(POINTS)), slope), 1.0, rtol=1e-6)


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_minimum():
    def half_square(theta):
        return 0.5 * PLANE.distance(POINTS[0], theta) ** 2

    curvature = jax.jit(jax.hessian(half_square))(OTHERS[0])
    shifted = OTHERS[0][None] + 1e-5 * jnp.concatenate([jnp.eye(5), -jnp.eye(5)])
    lengths, slopes = DISTANCES(jnp.broadcast_to(POINTS[0], (10, 5)), shifted)
    gradients = lengths[:, None] * slopes
    # Round-off over the step, and its square.
    error = jnp.max(jnp.abs(curvature - (gradients[:5] - gradients[5:]) / 2e-5))
    assert error < 1e-8 * jnp.max(jnp.abs(curvature))


@settings(max_examples=10)
@given(st.lists(st.floats(-1.5, 1.5), min_size=6, max_size=6))
def test_distance_does_not_see_affine_maps(numbers):
    matrix, shift = np.array(numbers[:4]).reshape(2, 2) + np.diag([3.0, -3.0]), np.array(numbers[4:])

    def moved(theta):
        mean, factor = PLANE.moments(theta)
        return PLANE.of_moments(matrix @ mean + shift, matrix @ factor @ factor.T @ matrix.T)

    images, others = (jnp.stack([moved(theta) for theta in thetas[:2]]) for thetas in (POINTS, OTHERS))
    rows = jnp.arange(8) % 2
    # Round-off, times condition numbers of 1e2.
    expected = DISTANCES(POINTS[rows], OTHERS[rows])[0]
    np.testing.assert_allclose(DISTANCES(images[rows], others[rows])[0], expected, rtol=1e-12)


def test_bounds_bracket_the_distance():
    centred = families.CentredNormal(2)

    @jax.jit
    @jax.vmap
    def both(a, b):
        return PLANE.lower_bound(a, b), PLANE.upper_bound(a, b), centred.distance(a[2:], b[2:])

    (lower, upper, _), found = both(POINTS, OTHERS), DISTANCES(POINTS, OTHERS)[0]
    assert jnp.all((lower < found) & (found < upper))
    # Both are tight to third order.
    (lower, upper, _), found = both(POINTS, POINTS + 1e-4 * OTHERS), DISTANCES(POINTS, POINTS + 1e-4 * OTHERS)[0]
    assert jnp.max(jnp.abs(lower / found - 1.0) + jnp.abs(upper / found - 1.0)) < 1e-6
    # Of equal means they meet, at the distance of the centred family.
    same = OTHERS.at[:, :2].set(POINTS[:, :2])
    found = DISTANCES(POINTS, same)[0]
    for bound in both(POINTS, same):
        np.testing.assert_allclose(bound, found, rtol=1e-13)


def test_distance_is_closed_where_the_difference_of_means_is_an_eigenvector():
    axis, across = np.array([0.6, 0.8]), np.array([-0.8, 0.6])

    def law(position, spread, other):
        covariance = spread**2 * np.outer(axis, axis) + other**2 * np.outer(across, across)
        return PLANE.of_moments(jnp.array(position * axis), jnp.array(covariance))

    normal = families.Normal()
    for (position, spread, other), (position1, spread1, other1) in [
        ((0.0, 1.0, 1.0), (5.0, 1.0, 1.0)),
        ((0.0, 1.0, 3.0), (2.0, 0.1, 7.0)),
        ((-1.0, 0.3, 0.2), (40.0, 2.0, 0.2)),
    ]:
        along_axis = normal.distance(jnp.array([position, spread]), jnp.array([position1, spread1]))
        expected = np.hypot(along_axis, np.sqrt(2.0) * np.log(other1 / other))
        ends = (law(position, spread, other)[None], law(position1, spread1, other1)[None])
        pairs = (jnp.broadcast_to(end, (8, 5)) for end in ends)
        # Round-off, times condition numbers of 1e3.
        np.testing.assert_allclose(DISTANCES(*pairs)[0], expected, rtol=1e-11)


def test_diagonal_normals_are_not_totally_geodesic():
    diagonal = families.DiagonalNormal(2)

    def both(theta0, theta1):
        pair = [PLANE.of_moments(t[:2], jnp.diag(t[2:] ** 2)) for t in (theta0, theta1)]
        full = DISTANCES(*(jnp.broadcast_to(theta, (8, 5)) for theta in pair))[0][0]
        return diagonal.distance(theta0, theta1), full

    start = jnp.array([0.0, 0.0, 1.0, 1.0])
    within, full = both(start, jnp.array([2.0, 2.0, 1.0, 1.0]))
    # Equal covariances: along the diagonal of the plane the full family is a half-plane.
    assert abs(full / families.Normal().distance(jnp.array([0.0, 1.0]), jnp.array([np.sqrt(8.0), 1.0])) - 1.0) < 1e-12
    assert within > 1.05 * full
    within, full = both(start, jnp.array([2.0, 0.0, 0.5, 3.0]))
    # Along one axis the two agree, to round-off.
    assert abs(within / full - 1.0) < 1e-12


def test_one_dimension_is_the_half_plane():
    normal = families.Normal()
    distance = jax.jit(jax.vmap(NORMAL.distance))
    theta0, theta1 = jnp.array([[0.3, 0.7], [0.0, 1e-6], [0.0, 1.0]]), jnp.array([[0.9, 1.1], [1e3, 1e-6], [1e-9, 1.0]])
    logs = [theta.at[:, 1].set(jnp.log(theta[:, 1])) for theta in (theta0, theta1)]
    # Round-off of a logarithm of 14.
    np.testing.assert_allclose(distance(*logs), jax.vmap(normal.distance)(theta0, theta1), rtol=1e-13)


@pytest.mark.slow
def test_precision_follows_theta():
    single = [x.astype(jnp.float32) for x in (POINTS, OTHERS)]
    found, slope = DISTANCES(*single)
    assert found.dtype == slope.dtype == jnp.float32
    # Round-off in single precision, times condition numbers of 1e2.
    np.testing.assert_allclose(found, DISTANCES(POINTS, OTHERS)[0], rtol=1e-4)


def test_mistakes_are_named_and_failures_are_nan():
    for message, call in [
        ("5 parameters", lambda: PLANE.distance(jnp.ones(4), jnp.ones(4))),
        ("5 parameters", lambda: PLANE.logarithm(jnp.ones(6), jnp.ones(6))),
        ("pieces", lambda: PLANE.exponential(jnp.ones(5), jnp.ones(5), pieces=0)),
        ("2 parameters", lambda: PLANE.of_moments(jnp.ones(3), jnp.eye(3))),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    lost = DISTANCES(POINTS, OTHERS.at[:, 2].set(400.0))[0]
    unknown = DISTANCES(POINTS, OTHERS.at[:, 0].set(jnp.nan))[0]
    assert jnp.all(jnp.isnan(lost) & jnp.isnan(unknown))
