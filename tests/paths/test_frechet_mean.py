"""Frechet means against closed forms and brute force, their derivatives, and what is said about uniqueness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import fimlag as fl

NORMAL = fl.problems.NormalFisher()
POINTS = jnp.array([[0.0, 1.0], [1.0, 2.0], [-2.0, 0.5], [3.0, 1.5]])
WEIGHTS = jnp.array([1.0, 2.0, 3.0, 4.0])


def surface(normal):
    """The metric of normals for 1, and that of the unit sphere in stereographic coordinates for 0."""

    def matrix(q):
        height = normal * q[1] + (1 - normal) * (1 + q @ q) / 2
        return jnp.diag(jnp.stack([jnp.ones_like(normal), 1 + normal])) / height**2

    return fl.Metric(matrix)


def rao_distance(a, b):
    near = (a[0] - b[0]) ** 2 + 2 * (a[1] - b[1]) ** 2
    return 2 * np.sqrt(2) * np.arcsinh(np.sqrt(near / (8 * a[1] * b[1])))


@pytest.fixture(scope="module")
def solve():
    """Mean and variance on either surface with their derivatives, as one compiled function."""

    def mean(points, weights, normal):
        found = fl.frechet_mean(surface(normal), points, weights, throw=False)
        return (found.mean, found.variance), found

    compiled = jax.jit(jax.jacrev(mean, (0, 1), has_aux=True))
    return lambda points, weights, normal=1.0: compiled(points, weights, jnp.asarray(normal))


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
    """Four sets of exponentials in one call: two sound ones, one outside the domain, one of a negative weight."""
    model = fl.FisherMetric(fl.families.Exponential())
    points = jnp.array([[0.01, 1.0, 40.0, 7.0], [3.0, 3.0, 2.0, 1e5], [1.0, -2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    weights = jnp.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0], [1.0, -0.5, 1.0, 1.0]])
    mean = jax.jit(jax.vmap(lambda points, weights: fl.frechet_mean(model, points, weights, throw=False)))
    return np.log(points[:2]), weights[:2], mean(points[:, :, None], weights)


def test_exponentials_have_the_geometric_mean_in_every_set(rates):
    logarithms, weights, found = rates
    centres = np.average(logarithms, axis=1, weights=weights)
    np.testing.assert_allclose(found.mean[:2, 0], np.exp(centres), rtol=1e-14)
    squares = (logarithms - centres[:, None]) ** 2
    np.testing.assert_allclose(found.variance[:2], np.average(squares, axis=1, weights=weights), rtol=1e-13)


def test_set_outside_the_domain_and_one_of_negative_weights_report_it_alone(rates):
    found = rates[2]
    assert found.succeeded.tolist() == [True, True, False, False]
    for k in (2, 3):
        assert jax.tree.map(lambda leaf, k=k: leaf[k], found).result == fl.RESULTS.nonfinite


def ring(radius):
    """Four points of the sphere around the origin."""
    angles = 0.3 + np.arange(4) * np.pi / 2
    return jnp.asarray(np.tan(0.5 * radius) * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def test_symmetric_points_of_the_sphere_have_their_centre(solve):
    _, found = solve(ring(0.8), jnp.ones(4), 0.0)
    np.testing.assert_allclose(found.mean, 0.0, atol=1e-14)
    np.testing.assert_allclose(found.variance, 0.8**2, rtol=1e-11)
    np.testing.assert_allclose(found.curvature, 1.0, rtol=1e-12)
    # Hessian of half the squared distance: 1 along and r cot r across, averaged over directions
    np.testing.assert_allclose(found.convexity, (1 + 0.8 / np.tan(0.8)) / 2, rtol=1e-9)
    assert bool(found.succeeded)


def test_points_beyond_a_quarter_circle_are_not_vouched_for(solve):
    _, found = solve(ring(1.7), jnp.ones(4), 0.0)
    assert found.result == fl.RESULTS.mean_not_unique


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
