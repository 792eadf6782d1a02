"""The Wasserstein geometry of normal distributions against closed forms, and what it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.linalg import sqrtm

import fimlag as fl

FAMILY, METRIC = fl.families.MultivariateNormal(2), fl.BuresMetric(2)
ONE = jnp.array([[2.0, 0.7], [0.7, 1.0]])
OTHER = jnp.array([[0.5, -0.3], [-0.3, 3.0]])
distance = jax.jit(fl.bures_distance)


def by_roots(one, other):
    """The trace formula by SciPy."""
    one, other = np.asarray(one), np.asarray(other)
    root = np.real(sqrtm(one))
    return np.sqrt(np.trace(one + other - 2 * np.real(sqrtm(root @ other @ root))))


def covariance(seed, d=2):
    factor = np.random.default_rng(seed).normal(size=(d, d))
    return jnp.asarray(factor @ factor.T + 0.01 * np.eye(d))


@pytest.mark.parametrize("d", [1, 2, 4])
def test_distance_is_the_trace_formula(d):
    one, other = covariance(1, d), covariance(2, d)
    # The trace formula subtracts numbers of size one: it has 1e-13 itself.
    np.testing.assert_allclose(distance(one, other), by_roots(one, other), rtol=1e-12)


def test_distance_with_means_is_by_pythagoras():
    means = jnp.array([1.0, 2.0]), jnp.array([4.0, -2.0])
    np.testing.assert_allclose(distance(ONE, ONE, *means), 5.0, rtol=1e-15)
    np.testing.assert_allclose(distance(ONE, OTHER, *means) ** 2, 25 + distance(ONE, OTHER) ** 2, rtol=1e-14)


def test_distance_of_commuting_covariances_is_that_of_their_roots():
    turn = jnp.linalg.qr(covariance(3, 3))[0]
    scales = jnp.array([[1.0, 1.0, 5.0], [1.0, 3.0, 1e-6]])
    one, other = (turn @ jnp.diag(s**2) @ turn.T for s in scales)
    np.testing.assert_allclose(distance(one, other), np.linalg.norm(scales[0] - scales[1]), rtol=1e-10)


@pytest.mark.parametrize("separation", [1e-3, 1e-6, 1e-10])
def test_distance_of_near_covariances_keeps_its_relative_accuracy(separation):
    change = jnp.array([[1.0, 0.4], [0.4, -0.6]])
    values, frame = np.linalg.eigh(np.asarray(ONE))
    seen = frame.T @ np.asarray(change) @ frame
    tangent = np.sqrt(0.5 * np.sum(seen**2 / (values[:, None] + values[None])))
    # The next order is of the size of the separation, and the difference known to eps over it.
    rtol = separation + 16 * np.finfo(float).eps / separation
    np.testing.assert_allclose(distance(ONE, ONE + separation * change), separation * tangent, rtol=rtol)


def test_singular_covariances_are_known_to_the_root_of_round_off():
    flat = [np.diag([1.0, 0.0]), np.diag([0.0, 4.0]), np.ones((2, 2)), np.zeros((2, 2))]
    flat = [jnp.asarray(x) for x in flat]
    atol = 4 * np.sqrt(np.finfo(float).eps)
    np.testing.assert_allclose(distance(flat[0], flat[1]), np.sqrt(5.0), atol=atol)
    np.testing.assert_allclose(distance(flat[2], 4 * flat[2]), np.sqrt(2.0), atol=atol)
    np.testing.assert_allclose(distance(flat[3], jnp.eye(2)), np.sqrt(2.0), atol=atol)
    assert all(float(distance(x, x)) == 0.0 for x in flat)
    assert np.isnan(distance(-jnp.eye(2), jnp.eye(2)))
    assert np.isnan(distance(jnp.eye(2), jnp.diag(jnp.array([1.0, -0.1]))))


seeds = st.integers(0, 10_000)


@given(seeds, seeds, seeds)
def test_distance_is_symmetric_and_keeps_the_triangle_inequality(a, b, c):
    x, y, z = (covariance(seed) for seed in (a, b, c))
    np.testing.assert_allclose(distance(x, y), distance(y, x), rtol=1e-9, atol=1e-12)
    assert float(distance(x, z)) <= float(distance(x, y)) + float(distance(y, z)) + 1e-12


def test_gradient_is_zero_where_covariances_coincide_and_right_elsewhere():
    gradient = jax.jit(jax.grad(fl.bures_distance, (0, 1)))
    for slope in gradient(ONE, ONE):
        np.testing.assert_array_equal(slope, 0.0)
    slopes, step = gradient(ONE, OTHER), 1e-6
    for direction in (jnp.eye(2), jnp.array([[0.0, 0.5], [0.5, 1.0]])):
        for i, slope in enumerate(slopes):
            shifts = [[jnp.zeros((2, 2)), jnp.zeros((2, 2))] for _ in range(2)]
            shifts[0][i], shifts[1][i] = step * direction, -step * direction
            above, below = (distance(ONE + s[0], OTHER + s[1]) for s in shifts)
            # Central differences of step 1e-6 keep ten digits.
            np.testing.assert_allclose(jnp.sum(slope * direction), (above - below) / (2 * step), rtol=1e-8, atol=1e-9)


def test_second_derivatives_of_the_square_agree_with_differences_where_eigenvalues_coincide():
    change = jnp.array([[1.0, 0.4], [0.4, -0.6]])

    def square(x):
        return fl.bures_distance(jnp.eye(2) + x[0] * change, 2.0 * jnp.eye(2) + x[1] * OTHER) ** 2

    gradient = jax.jit(jax.grad(square))
    hessian = jax.jit(jax.jacfwd(jax.grad(square)))(jnp.zeros(2))
    step = 1e-5
    finite = np.stack([(gradient(s) - gradient(-s)) / (2 * step) for s in step * jnp.eye(2)])
    np.testing.assert_allclose(hessian, finite, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)


def test_metric_is_the_length_of_small_steps():
    theta = FAMILY.of_moments(jnp.array([1.0, -1.0]), ONE)
    step = 1e-6 * jnp.array([1.0, -0.5, 0.3, 0.8, -0.7])
    length = METRIC.closed_distance(theta, theta + step)
    # Central in theta, the chord differs from the arc by the square of the step.
    np.testing.assert_allclose(METRIC.quadratic(theta + step / 2, step), length**2, rtol=1e-8)
    np.testing.assert_allclose(step @ METRIC(theta) @ step, METRIC.quadratic(theta, step), rtol=1e-13)


def test_geodesic_is_the_displacement_interpolation_and_its_length_the_distance():
    means = jnp.array([1.0, 2.0]), jnp.array([0.0, 2.5])
    start, end = (FAMILY.of_moments(m, c) for m, c in zip(means, (ONE, OTHER), strict=True))
    solution = fl.geodesic(METRIC, start, end)
    np.testing.assert_allclose(jnp.sqrt(2 * solution.action), distance(ONE, OTHER, *means), rtol=1e-9)
    assert int(solution.morse_index) == 0
    for t in (0.25, 0.5, 0.9):
        mean, factor = METRIC.moments(solution.path(t))
        np.testing.assert_allclose(mean, (1 - t) * means[0] + t * means[1], atol=1e-9)
        np.testing.assert_allclose(factor @ factor.T, fl.displacement_interpolation(ONE, OTHER, t), atol=1e-9)
    estimate = fl.distance_estimate(METRIC, start, end)
    assert estimate.route == "closed form"
    np.testing.assert_allclose(estimate.value, jnp.sqrt(2 * solution.action), rtol=1e-9)


@given(seeds, seeds, st.floats(0.0, 1.0))
def test_interpolation_divides_the_distance_in_proportion(a, b, t):
    one, other = covariance(a), covariance(b)
    between, whole = _between(one, other, t), distance(one, other)
    np.testing.assert_allclose(distance(one, between), t * whole, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(distance(between, other), (1 - t) * whole, rtol=1e-8, atol=1e-10)


_between = jax.jit(fl.displacement_interpolation)


def test_wasserstein_is_a_length_and_fisher_a_number_of_deviations():
    """Outcomes measured in another unit: one distance scales, the other does not."""
    moments = ((jnp.array([0.0, 1.0]), ONE), (jnp.array([1.0, 0.5]), OTHER))
    plain = [FAMILY.of_moments(m, c) for m, c in moments]
    scaled = [FAMILY.of_moments(10 * m, 100 * c) for m, c in moments]
    np.testing.assert_allclose(METRIC.closed_distance(*scaled), 10 * METRIC.closed_distance(*plain), rtol=1e-12)
    fisher = jax.jit(FAMILY.distance)
    np.testing.assert_allclose(fisher(*scaled), fisher(*plain), rtol=1e-10)


def test_single_precision_and_batches():
    batch = jnp.stack([ONE, OTHER, -jnp.eye(2)])
    lengths = jax.jit(jax.vmap(fl.bures_distance, (0, None)))(batch, OTHER)
    np.testing.assert_allclose(lengths[:2], [distance(ONE, OTHER), 0.0], rtol=1e-13)
    assert np.isnan(lengths[2])
    single = fl.bures_distance(ONE.astype(jnp.float32), OTHER.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, distance(ONE, OTHER), rtol=1e-5)
    theta = FAMILY.of_moments(jnp.ones(2), ONE).astype(jnp.float32)
    assert METRIC(theta).dtype == METRIC.quadratic(theta, theta).dtype == jnp.float32


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="one size"):
        fl.bures_distance(jnp.eye(2), jnp.eye(3))
    with pytest.raises(ValueError, match="both means"):
        fl.bures_distance(ONE, OTHER, mean0=jnp.zeros(2))
    with pytest.raises(ValueError, match="parameters"):
        METRIC(jnp.zeros(4))
    with pytest.raises(ValueError, match="at least 1"):
        fl.BuresMetric(0)
