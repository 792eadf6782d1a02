"""Frechet means against closed forms and brute force, their derivatives, and what is said about uniqueness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import fimlag as fl

NORMAL = fl.problems.NormalFisher()
SPHERE = fl.Metric(lambda q: 4 * jnp.eye(2, dtype=q.dtype) / (1 + q @ q) ** 2)
POINTS = jnp.array([[0.0, 1.0], [1.0, 2.0], [-2.0, 0.5], [3.0, 1.5]])
WEIGHTS = jnp.array([1.0, 2.0, 3.0, 4.0])


def rao_distance(a, b):
    near = (a[0] - b[0]) ** 2 + 2 * (a[1] - b[1]) ** 2
    return 2 * np.sqrt(2) * np.arcsinh(np.sqrt(near / (8 * a[1] * b[1])))


@pytest.fixture(scope="module")
def solve():
    """Mean and variance of normals with their derivatives, as one compiled function."""

    def mean(points, weights):
        found = fl.frechet_mean(NORMAL, points, weights, throw=False)
        return (found.mean, found.variance), found

    return jax.jit(jax.jacrev(mean, (0, 1), has_aux=True))


def test_mean_of_normals_is_the_brute_force_minimum(solve):
    _, found = solve(POINTS, WEIGHTS)
    weights = np.asarray(WEIGHTS) / 10

    def spread(x):
        centre = x[0], np.exp(x[1])
        return sum(w * rao_distance(centre, p) ** 2 for w, p in zip(weights, np.asarray(POINTS), strict=True))

    brute = minimize(spread, [0.0, 0.0], tol=1e-12)
    # the minimum is sharp to round-off, its place to the root of it
    np.testing.assert_allclose(found.variance, brute.fun, rtol=1e-12)
    np.testing.assert_allclose(found.mean, [brute.x[0], np.exp(brute.x[1])], atol=1e-6)
    assert bool(found.succeeded)
    assert float(found.gradient_norm) < 1e-13
    np.testing.assert_allclose(found.curvature, -0.5, rtol=1e-12)
    assert float(found.convexity) >= 1.0  # geodesics part where curvature is negative


def test_derivatives_are_those_of_the_minimum(solve):
    (of_mean, of_variance), _ = solve(POINTS, WEIGHTS)
    h = 1e-5
    for position, argument in enumerate((POINTS, WEIGHTS)):
        for index in [(2, 1), (0, 0)] if position == 0 else [(1,), (3,)]:
            arguments = [[POINTS, WEIGHTS], [POINTS, WEIGHTS]]
            for side, sign in zip(arguments, (1, -1), strict=True):
                side[position] = argument.at[index].add(sign * h)
            above, below = (solve(*side)[1] for side in arguments)
            difference = (above.mean - below.mean) / (2 * h), (above.variance - below.variance) / (2 * h)
            # h^2 and eps / h
            np.testing.assert_allclose(of_mean[position][(slice(None), *index)], difference[0], rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(of_variance[position][index], difference[1], rtol=1e-7, atol=1e-8)


def test_cluster_keeps_its_digits(solve):
    offsets = np.asarray(POINTS) - np.asarray(POINTS[0])
    _, found = solve(np.asarray(POINTS[0]) + 1e-9 * offsets, WEIGHTS)
    # flat to first order in 1e-9; the points themselves are rounded to eps / 1e-9
    expected = 1e-18 * np.average(
        (offsets - np.average(offsets, axis=0, weights=WEIGHTS)) ** 2 @ np.array([1.0, 2.0]), weights=WEIGHTS
    )
    np.testing.assert_allclose(found.variance, expected, rtol=1e-6)
    assert bool(found.succeeded)


@pytest.fixture(scope="module")
def rates():
    model = fl.FisherMetric(fl.families.Exponential())
    return jax.jit(lambda points, weights: fl.frechet_mean(model, points, weights, throw=False))


def test_exponentials_have_the_geometric_mean(rates):
    points = jnp.array([[0.01], [1.0], [40.0], [7.0]])
    found = rates(points, jnp.ones(4))
    np.testing.assert_allclose(found.mean, np.exp(np.mean(np.log(points), axis=0)), rtol=1e-14)
    np.testing.assert_allclose(found.variance, np.var(np.log(points)), rtol=1e-13)
    assert bool(found.succeeded)


@pytest.fixture(scope="module")
def on_sphere():
    return jax.jit(lambda points: fl.frechet_mean(SPHERE, points, throw=False))


def test_symmetric_points_of_the_sphere_have_their_centre(on_sphere):
    angles = np.arange(5) * 2 * np.pi / 5
    ring = jnp.asarray(np.tan(0.5 * 0.8) * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    found = on_sphere(ring)
    np.testing.assert_allclose(found.mean, 0.0, atol=1e-14)
    np.testing.assert_allclose(found.variance, 0.8**2, rtol=1e-11)
    np.testing.assert_allclose(found.curvature, 1.0, rtol=1e-12)
    # Hessian of half the squared distance: 1 along and r cot r across, averaged over directions
    np.testing.assert_allclose(found.convexity, (1 + 0.8 / np.tan(0.8)) / 2, rtol=1e-9)
    assert bool(found.succeeded)


def test_points_beyond_a_quarter_circle_are_not_vouched_for(on_sphere):
    angles = np.arange(5) * 2 * np.pi / 5
    ring = jnp.asarray(np.tan(0.5 * 1.7) * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert on_sphere(ring).result == fl.RESULTS.mean_not_unique


def test_point_outside_the_domain_and_negative_weights_are_reported(rates):
    points, weights = jnp.array([[1.0], [2.0], [3.0], [4.0]]), jnp.ones(4)
    assert rates(points.at[1].set(-2.0), weights).result == fl.RESULTS.nonfinite
    assert rates(points, weights.at[1].set(-0.5)).result == fl.RESULTS.nonfinite


@pytest.mark.slow
def test_mean_of_dirichlets_is_the_brute_force_minimum():
    metric = fl.FisherMetric(fl.families.Dirichlet(3))
    points = jnp.array([[0.5, 2.0, 3.0], [4.0, 0.8, 1.0], [2.0, 2.0, 9.0]])
    found = fl.frechet_mean(metric, points)

    @jax.jit
    @jax.value_and_grad
    def spread(x):
        return jnp.mean(jax.vmap(lambda p: fl.distance(metric, jnp.exp(x), p) ** 2)(points))

    brute = minimize(spread, np.log(found.mean) + 0.1, jac=True, tol=1e-10)
    np.testing.assert_allclose(found.variance, brute.fun, rtol=1e-9)
    np.testing.assert_allclose(found.mean, np.exp(brute.x), rtol=1e-5)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="weights"):
        fl.frechet_mean(NORMAL, POINTS, jnp.ones(3))
    with pytest.raises(ValueError, match="stacked"):
        fl.frechet_mean(NORMAL, {"mu": jnp.ones(3), "sigma": jnp.ones(2)})
