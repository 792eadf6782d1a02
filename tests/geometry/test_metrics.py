"""Metrics made from others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

Q, V = jnp.array([0.6, -0.4, 1.3]), jnp.array([0.3, -2.0, 0.7])


def bumpy(q):
    root = jnp.asarray(np.arange(1.0, 10.0).reshape(3, 3) % 4, q.dtype) + jnp.outer(jnp.sin(q), q)
    return root @ root.T + jnp.eye(3, dtype=q.dtype)


def normal(q):
    return fl.families.Normal().fisher(q)


def test_quadratic_of_every_metric_agrees_with_its_matrix():
    metrics = (
        fl.SumMetric(bumpy, fl.EuclideanMetric(2.0)),
        fl.DampedMetric(bumpy, jnp.array([0.1, 0.2, 0.3])),
        fl.ProductMetric(lambda q: jnp.reshape(jnp.exp(q), (1, 1)), normal, sizes=(1, 2)),
        fl.ConformalMetric(bumpy, jnp.sum),
        fl.JacobiMetric(bumpy, jnp.sum, 3.0),
        fl.PullbackMetric(bumpy, lambda q: jnp.stack([q[0] * q[1], q[2], jnp.sin(q[0])])),
    )

    @jax.jit
    def both(q, v):
        return [(metric.quadratic(q, v), v @ metric(q) @ v) for metric in metrics]

    for length, expected in both(Q, V):
        np.testing.assert_allclose(length, expected, rtol=1e-13)
    single = jax.eval_shape(both, Q.astype(jnp.float32), V.astype(jnp.float32))
    assert {leaf.dtype for pair in single for leaf in pair} == {np.dtype(np.float32)}


def test_jacobi_geodesics_are_the_motions_of_one_energy():
    def potential(q):
        return 0.4 * q[0] ** 2 + jnp.sin(q[1]) * q[2]

    lagrangian = fl.NaturalLagrangian(bumpy, potential)

    @jax.jit
    @jax.vmap
    def defect(q, v):
        energy = fl.energy(lagrangian, 0.0, q, v)
        metric = fl.JacobiMetric(bumpy, potential, energy)
        a = fl.acceleration(lagrangian, 0.0, q, v)
        pace = 2.0 * (energy - potential(q))  # ds / dt
        rate = -2.0 * jax.grad(potential)(q) @ v
        found = fl.geodesic_acceleration(metric, q, v / pace)
        return found - (a - v * rate / pace) / pace**2, found

    points = jnp.stack([Q, V, Q - V, 0.1 * V])
    defects, accelerations = defect(points, jnp.roll(points, 1, axis=0))
    # Round-off of matrices of condition number 1e3.
    np.testing.assert_allclose(defects, 0.0, atol=1e-11 * float(jnp.max(jnp.abs(accelerations))))


def test_jacobi_geodesic_of_the_kepler_problem_is_the_ellipse():
    semi_major, eccentricity = 1.0, 0.6
    anomaly = jnp.linspace(0.0, 6.0, 13)
    metric = fl.JacobiMetric(fl.EuclideanMetric(), lambda q: -1.0 / jnp.sqrt(q @ q), -0.5 / semi_major)

    def ellipse(u):
        return jnp.stack([jnp.cos(u) - eccentricity, jnp.sqrt(1.0 - eccentricity**2) * jnp.sin(u)])

    @jax.jit
    @jax.vmap
    def turning(u):
        q, v, a = ellipse(u), jax.jacfwd(ellipse)(u), jax.jacfwd(jax.jacfwd(ellipse))(u)
        off = a - fl.geodesic_acceleration(metric, q, v)
        return (off[0] * v[1] - off[1] * v[0]) / (v @ v), off @ v

    # In another parameter than length the acceleration differs along the path, and only along it.
    sideways, along = turning(anomaly)
    np.testing.assert_allclose(sideways, 0.0, atol=1e-13)
    assert np.max(np.abs(along)) > 0.1


def test_forbidden_region_of_an_energy_has_no_metric():
    metric = fl.JacobiMetric(fl.EuclideanMetric(), lambda q: q @ q, 1.0)
    assert np.all(np.isnan(metric(jnp.array([1.0, 1.0]))))
    np.testing.assert_array_equal(metric(jnp.array([0.5, 0.5])), np.eye(2))


def test_product_is_block_diagonal_and_its_curvature_adds():
    sphere = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
    flat = fl.ProductMetric(sphere, normal, sizes=(2, 2))
    trees = fl.ProductMetric(sphere, lambda q: normal(jnp.stack([q["mean"], q["scale"]])))
    q = jnp.array([0.6, 0.1, 0.2, 1.7])
    tuples = (q[:2], {"mean": q[2], "scale": q[3]})
    found = jax.jit(lambda q, p: [fl.scalar_curvature(flat, q), flat(q), trees(p), trees.quadratic(p, p)])(q, tuples)
    np.testing.assert_allclose(found[0], 2.0 - 1.0, rtol=1e-13)
    expected = np.diag([1.0, np.sin(0.6) ** 2, 1.7**-2, 2 * 1.7**-2])
    np.testing.assert_allclose(found[1], expected, rtol=1e-14)
    np.testing.assert_allclose(found[2], expected, rtol=1e-14)
    np.testing.assert_allclose(found[3], q @ expected @ q, rtol=1e-14)


def test_information_of_several_sources_adds_as_metrics():
    one, two = fl.FisherMetric(fl.families.Exponential()), fl.FisherMetric(fl.families.Poisson(60))
    total, joint = fl.SumMetric(one, two), fl.FisherMetric(fl.ProductModel(one.model, two.model))
    np.testing.assert_allclose(total(jnp.array([2.0])), joint(jnp.array([2.0])), rtol=1e-15)


def test_damping_makes_a_singular_metric_regular():
    singular = fl.Metric(lambda q: jnp.outer(q, q))
    damped = fl.DampedMetric(singular, 0.5)
    lost, found = jax.jit(lambda q: (fl.christoffel(singular, q), fl.christoffel(damped, q)))(Q)
    assert np.all(np.isnan(lost))
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(damped(Q), jnp.outer(Q, Q) + 0.5 * jnp.eye(3), rtol=1e-15)


def test_submanifold_has_the_geometry_of_its_embedding():
    def torus(q):
        ring = 2.0 + jnp.cos(q[0])
        return jnp.stack([ring * jnp.cos(q[1]), ring * jnp.sin(q[1]), jnp.sin(q[0])])

    metric = fl.PullbackMetric(fl.EuclideanMetric(), torus)
    angles = jnp.array([[0.3, 1.0], [2.5, -0.4]])
    curvature = jax.jit(jax.vmap(lambda q: fl.scalar_curvature(metric, q)))(angles)
    # Gauss curvature cos u / (2 + cos u) of the torus (do Carmo 1976, sec. 3-3, ex. 1).
    np.testing.assert_allclose(curvature, 2 * np.cos(angles[:, 0]) / (2 + np.cos(angles[:, 0])), rtol=1e-13)


def test_charts_follow_the_metrics_they_belong_to():
    gamma = fl.FisherMetric(fl.families.Gamma())
    q0, q1 = jnp.array([0.3, 2.0]), jnp.array([0.3 + 1e-12, 5.0])
    for metric in (
        fl.ConformalMetric(gamma, jnp.sum),
        fl.JacobiMetric(gamma, jnp.sum, 9.0),
        fl.DampedMetric(gamma, 1.0),
    ):
        assert metric.chart == gamma.chart
    assert fl.SumMetric(bumpy, gamma).chart == gamma.chart
    assert fl.FisherMetric(fl.families.Gamma().model).chart is None
    assert fl.PullbackMetric(gamma, jnp.exp).chart is None
    assert fl.EuclideanMetric().chart is None
    assert fl.Metric(bumpy, chart=gamma.chart).chart == gamma.chart
    assert fl.ProductMetric(bumpy, bumpy, sizes=(3, 3)).chart is None
    chart = fl.ProductMetric(fl.EuclideanMetric(), gamma, sizes=(1, 2)).chart
    p0, p1 = jnp.append(-4.0, q0), jnp.append(-3.0, q1)
    np.testing.assert_allclose(chart.point(chart.free(p0)), p0, rtol=1e-15)
    np.testing.assert_array_equal(chart.displacement(p0, p1), jnp.append(1.0, gamma.chart.displacement(q0, q1)))


def test_wrong_parts_are_refused():
    with pytest.raises(ValueError, match="At least one"):
        fl.SumMetric()
    with pytest.raises(ValueError, match="sizes"):
        fl.ProductMetric(bumpy, bumpy, sizes=(6,))
    with pytest.raises(ValueError, match="coordinates were expected"):
        fl.ProductMetric(bumpy, bumpy, sizes=(3, 3))(Q)
    with pytest.raises(ValueError, match="tuple"):
        fl.ProductMetric(bumpy, bumpy)(Q)
    with pytest.raises(ValueError, match="square"):
        fl.DampedMetric(bumpy, np.zeros((2, 3)))
    with pytest.raises(TypeError, match="Callable"):
        fl.JacobiMetric(bumpy, 1.0, 2.0)
