"""Connections and curvature against spheres, half-planes and published values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl


def sphere(radius=1.0):
    return fl.Metric(lambda q: radius**2 * jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))


NORMAL = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, 2.0])) / q[1] ** 2)
POINT = jnp.array([0.6, 0.9])


def test_christoffel_symbols_of_the_sphere():
    symbols = fl.christoffel(sphere(3.0), POINT)
    expected = np.zeros((2, 2, 2))
    expected[0, 1, 1] = -np.sin(0.6) * np.cos(0.6)
    expected[1, 0, 1] = expected[1, 1, 0] = 1 / np.tan(0.6)
    np.testing.assert_allclose(symbols, expected, atol=1e-14)


def test_sphere_has_positive_curvature():
    curvature = jax.jit(lambda q: (fl.scalar_curvature(sphere(2.0), q), fl.ricci_curvature(sphere(2.0), q)))(POINT)
    np.testing.assert_allclose(curvature[0], 2 / 4.0, rtol=1e-12)
    np.testing.assert_allclose(curvature[1], sphere(2.0)(POINT) / 4.0, rtol=1e-12, atol=1e-14)
    sectional = fl.sectional_curvature(sphere(2.0), POINT, jnp.array([1.0, 0.3]), jnp.array([0.2, -1.0]))
    np.testing.assert_allclose(sectional, 1 / 4.0, rtol=1e-12)


def test_normal_family_has_scalar_curvature_minus_one():
    np.testing.assert_allclose(fl.scalar_curvature(NORMAL, jnp.array([0.3, 1.7])), -1.0, rtol=1e-12)
    sectional = fl.sectional_curvature(NORMAL, jnp.array([0.3, 1.7]), jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(sectional, -0.5, rtol=1e-12)


def test_normal_family_from_its_likelihood_has_scalar_curvature_minus_one():
    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda th: th[0], scale=lambda th: th[1])
    model = fl.StatisticalModel(lambda th, x: jax.scipy.stats.norm.logpdf(x, th[0], th[1]), rule)
    curvature = jax.jit(lambda q: fl.scalar_curvature(fl.FisherMetric(model), q))(jnp.array([0.3, 1.7]))
    np.testing.assert_allclose(curvature, -1.0, rtol=1e-9)


def test_trinomial_family_is_a_sphere_of_radius_two():
    metric = fl.FisherMetric(fl.families.Categorical(3).model)
    curvature = jax.jit(lambda q: fl.scalar_curvature(metric, q))(jnp.array([0.2, 0.5]))
    np.testing.assert_allclose(curvature, 2 / 4.0, rtol=1e-10)


def test_riemann_tensor_has_its_symmetries():
    def bumpy(q):
        root = jnp.array([[1.0, 0.2, 0.0], [0.0, 1.0, 0.1], [0.3, 0.0, 1.0]]) + 0.3 * jnp.outer(jnp.sin(q), jnp.cos(q))
        return root @ root.T + jnp.eye(3)

    q = jnp.array([0.3, -0.2, 0.7])
    lowered = jnp.einsum("ae,ebcd->abcd", bumpy(q), jax.jit(lambda q: fl.riemann_curvature(fl.Metric(bumpy), q))(q))
    scale = float(jnp.max(jnp.abs(lowered)))
    for image in (-lowered.swapaxes(2, 3), -lowered.swapaxes(0, 1), lowered.transpose(2, 3, 0, 1)):
        np.testing.assert_allclose(lowered, image, atol=1e-12 * scale)
    bianchi = lowered + lowered.transpose(0, 2, 3, 1) + lowered.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(bianchi, 0.0, atol=1e-12 * scale)


@jax.jit
def curvature_in_other_coordinates(mixing, bend, point):
    def chart(y):
        return mixing @ y + bend * jnp.sin(y)

    metric = fl.PullbackMetric(sphere(1.5), chart)
    return fl.scalar_curvature(metric, point), metric(point), jax.jacfwd(chart)(point), sphere(1.5)(chart(point))


@settings(max_examples=15)
@given(st.floats(0.7, 1.3), st.floats(-0.3, 0.3), st.floats(-0.2, 0.2), st.floats(0.5, 1.0), st.floats(-1, 1))
def test_scalar_curvature_does_not_depend_on_coordinates(a, b, bend, x, y):
    mixing, point = jnp.array([[a, b], [-b, 1.0]]), jnp.array([x, y])
    curvature, pulled, jacobian, matrix = curvature_in_other_coordinates(mixing, jnp.array(bend), point)
    np.testing.assert_allclose(pulled, jacobian.T @ matrix @ jacobian, rtol=1e-12)
    # third derivatives of a metric whose condition number reaches about 1e3
    np.testing.assert_allclose(curvature, 2 / 1.5**2, rtol=1e-9)


def test_conformal_factor_changes_curvature_by_its_laplacian():
    def log_factor(q):
        return 0.3 * q[0] ** 2 + jnp.sin(q[1])

    metric = fl.ConformalMetric(fl.EuclideanMetric(), log_factor)
    laplacian = jnp.trace(jax.hessian(log_factor)(POINT))
    # in two dimensions R = -e^-phi laplacian(phi)
    expected = -jnp.exp(-log_factor(POINT)) * laplacian
    np.testing.assert_allclose(fl.scalar_curvature(metric, POINT), expected, rtol=1e-12)


def test_volume_density_is_jeffreys():
    np.testing.assert_allclose(fl.volume_density(NORMAL, jnp.array([0.3, 1.7])), np.sqrt(2) / 1.7**2, rtol=1e-14)
    assert bool(jnp.isnan(fl.volume_density(fl.Metric(lambda q: -jnp.eye(2)), POINT)))


def test_singular_metric_gives_nan():
    degenerate = fl.Metric(lambda q: jnp.outer(q, q))
    assert bool(jnp.all(jnp.isnan(fl.christoffel(degenerate, POINT))))


@pytest.mark.parametrize("mass", [2.0, np.array([1.0, 3.0]), np.array([[2.0, 0.5], [0.5, 1.0]])])
def test_quadratic_agrees_with_the_matrix(mass):
    metric, v = fl.EuclideanMetric(mass), jnp.array([0.3, -2.0])
    np.testing.assert_allclose(metric.quadratic(POINT, v), v @ metric(POINT) @ v, rtol=1e-14)


def test_quadratic_of_a_fisher_metric_agrees_with_its_matrix():
    metric = fl.FisherMetric(fl.families.Normal().model)
    q, v = jnp.array([0.3, 1.7]), jnp.array([1.0, -0.4])
    length, matrix = jax.jit(lambda q, v: (metric.quadratic(q, v), metric(q)))(q, v)
    np.testing.assert_allclose(length, v @ matrix @ v, rtol=1e-12)


def test_plain_monte_carlo_is_refused_as_a_metric():
    def sample(key, theta, n):
        return theta + jax.random.normal(key, (n,))

    rule = fl.MonteCarlo(sample, 100, jax.random.key(0))
    model = fl.StatisticalModel(lambda theta, x: jax.scipy.stats.norm.logpdf(x, theta, 1.0), rule)
    with pytest.raises(TypeError, match="reference"):
        fl.FisherMetric(model)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        fl.Metric(lambda q: jnp.eye(3)).quadratic(POINT, POINT)
    with pytest.raises(ValueError, match="shape"):
        fl.EuclideanMetric(np.zeros((2, 3)))
