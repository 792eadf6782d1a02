"""Geodesics of the normal family against Rao's closed form, and the maps between tangent vectors and points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl


def rao_metric(q):
    """Fisher metric of Normal(mu, sigma)."""
    return jnp.diag(jnp.array([1.0, 2.0], q.dtype)) / q[1] ** 2


def rao_distance(a, b):
    """Rao's distance of normals in the form that loses no digits to nearness (Atkinson & Mitchell 1981)."""
    near = (a[..., 0] - b[..., 0]) ** 2 + 2 * (a[..., 1] - b[..., 1]) ** 2
    far = (a[..., 0] - b[..., 0]) ** 2 + 2 * (a[..., 1] + b[..., 1]) ** 2
    return 2 * np.sqrt(2) * np.arcsinh(np.sqrt(near / (far - near)))


METRIC = fl.Metric(rao_metric)


def random_normals(count, spread, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-spread, spread, count), np.exp(rng.uniform(-spread, spread, count))], axis=1)


@pytest.fixture(scope="module")
def pairs():
    return random_normals(200, 3.0, seed=1), random_normals(200, 3.0, seed=2)


@pytest.fixture(scope="module")
def solutions(pairs):
    solve = jax.jit(jax.vmap(lambda a, b: fl.geodesic(METRIC, a, b, throw=False)))
    return solve(*pairs), solve(*pairs[::-1])


def test_distance_between_normals_is_raos(pairs, solutions):
    lengths = np.sqrt(2 * np.asarray(solutions[0].action))
    np.testing.assert_allclose(lengths, rao_distance(*pairs), rtol=1e-10)
    assert bool(jnp.all(solutions[0].succeeded))
    assert np.all(np.asarray(solutions[0].morse_index) == 0)


def test_distance_is_the_same_forward_and_backward(solutions):
    np.testing.assert_allclose(solutions[0].action, solutions[1].action, rtol=2e-10)


def test_newton_needs_few_iterations(pairs):
    on_one_mesh = jax.jit(jax.vmap(lambda a, b: fl.geodesic(METRIC, a, b, elements=32, throw=False)))(*pairs)
    iterations = np.asarray(on_one_mesh.iterations)
    assert bool(jnp.all(on_one_mesh.succeeded))
    assert np.median(iterations) <= 7
    assert iterations.max() <= 32


def test_error_estimate_bounds_the_error_of_the_action(pairs, solutions):
    error = np.abs(np.asarray(solutions[0].action) - 0.5 * rao_distance(*pairs) ** 2)
    estimate = np.asarray(solutions[0].error_estimate)
    round_off = 1e3 * np.finfo(float).eps * np.asarray(solutions[0].action)
    assert np.all(error <= 2 * estimate + round_off)


@pytest.mark.parametrize("separation", [1e-8, 1e-4, 1.0])
def test_distance_of_near_points_keeps_its_relative_accuracy(separation):
    a = jnp.array([0.5, 2.0])
    b = a + separation * jnp.array([1.0, -1.0])
    # b - a is exact to eps / separation, relative
    rtol = 1e-10 + 4 * np.finfo(float).eps / separation
    np.testing.assert_allclose(fl.distance(METRIC, a, b), rao_distance(np.asarray(a), np.asarray(b)), rtol=rtol)


def test_distance_of_coincident_points_is_zero_with_zero_gradient():
    a = jnp.array([0.5, 2.0])
    value, gradient = jax.value_and_grad(lambda b: fl.distance(METRIC, a, b))(a)
    assert float(value) == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_gradient_of_distance_is_a_unit_covector():
    a, b = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5])
    gradient = jax.grad(lambda b: fl.distance(METRIC, a, b))(b)
    np.testing.assert_allclose(gradient @ jnp.linalg.solve(METRIC(b), gradient), 1.0, rtol=1e-8)


def test_exp_and_log_are_inverse():
    a, b = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5])
    velocity = fl.log_map(METRIC, a, b)
    np.testing.assert_allclose(fl.exp_map(METRIC, a, velocity), b, rtol=1e-8)
    np.testing.assert_allclose(jnp.sqrt(METRIC.quadratic(a, velocity)), fl.distance(METRIC, a, b), rtol=1e-8)


def test_exp_map_that_loses_speed_is_nan():
    a = jnp.array([0.0, 1.0])
    assert bool(jnp.all(jnp.isnan(fl.exp_map(METRIC, a, jnp.array([40.0, 0.0]), steps=2))))


def test_generic_likelihood_gives_raos_distance():
    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda th: th[0], scale=lambda th: th[1])
    model = fl.StatisticalModel(lambda th, x: jax.scipy.stats.norm.logpdf(x, th[0], th[1]), rule)
    a, b = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5])
    expected = rao_distance(np.asarray(a), np.asarray(b))
    np.testing.assert_allclose(fl.distance(fl.FisherMetric(model), a, b), expected, rtol=1e-10)


def test_sphere_beyond_the_antipode_is_not_shortest():
    sphere = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
    start, end = jnp.array([jnp.pi / 2, 0.0]), jnp.array([jnp.pi / 2, 1.25 * jnp.pi])
    around = fl.geodesic(sphere, start, end, stationary=True)
    np.testing.assert_allclose(around.action, 0.5 * (1.25 * np.pi) ** 2, rtol=1e-12)
    assert int(around.morse_index) == 1  # one conjugate point, at pi


def test_points_of_different_structure_are_refused():
    with pytest.raises(ValueError, match="structure"):
        fl.distance(METRIC, jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0, 2.0]))


def test_metric_that_is_not_positive_definite_is_reported():
    lorentzian = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, -1.0])))
    solution = fl.geodesic(lorentzian, jnp.zeros(2), jnp.ones(2), throw=False)
    assert solution.result == fl.RESULTS.indefinite_mass
    assert bool(jnp.isnan(fl.distance(lorentzian, jnp.zeros(2), jnp.ones(2))))
