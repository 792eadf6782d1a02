"""Variance explained by a path or a drift, against regressions by least squares."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

DIFFUSION = jnp.array([[0.8, 0.3], [0.3, 0.5]])
STEP, COUNT = 0.05, 400
DURATION = STEP * COUNT


def drift(theta, q):
    return jnp.stack([-theta[0] * q[0] + theta[1] * q[1], -theta[1] * q[0] - theta[0] * jnp.sin(q[1])])


@functools.cache
def sampled_path():
    """Euler-Maruyama steps of the drift at (0.7, 0.4), noise 1, by numpy."""
    rng, root, q = np.random.default_rng(7), np.linalg.cholesky(DIFFUSION), np.array([1.0, -0.5])
    nodes = [q]
    for _ in range(COUNT):
        b = np.array([-0.7 * q[0] + 0.4 * q[1], -0.4 * q[0] - 0.7 * np.sin(q[1])])
        q = q + STEP * b + np.sqrt(STEP) * root @ rng.normal(size=2)
        nodes.append(q)
    return jnp.asarray(np.stack(nodes))


def whitened_regression():
    """Increments and regressors of the sampled path in units of the noise, and the least-squares fit."""
    nodes = np.asarray(sampled_path())
    x, y = nodes[:-1].T
    rows = STEP * np.stack([np.stack([-x, y], 1), np.stack([-np.sin(y), -x], 1)], 1)
    unroot = np.linalg.inv(np.linalg.cholesky(DIFFUSION)) / np.sqrt(STEP)
    design = np.einsum("ij,njp->nip", unroot, rows).reshape(-1, 2)
    response = (np.diff(nodes, axis=0) @ unroot.T).ravel()
    return design, response, np.linalg.lstsq(design, response, rcond=None)[0]


def lagrangian(theta):
    return fl.FreidlinWentzell(lambda q: drift(theta, q), DIFFUSION)


FREE = fl.FreidlinWentzell(lambda q: 0.0 * q, DIFFUSION)


def test_variance_explained_by_a_drift_is_that_of_the_regression_of_increments():
    design, response, fitted = whitened_regression()
    explained = jax.jit(
        lambda theta: fl.explained_variance(
            lagrangian(theta), sampled_path(), t1=DURATION, null_lagrangian=FREE, integral=fl.ito_action
        )
    )
    for theta in (fitted, np.array([0.7, 0.4]), np.array([-3.0, 2.0])):
        expected = 1 - np.sum((response - design @ theta) ** 2) / np.sum(response**2)
        np.testing.assert_allclose(explained(jnp.asarray(theta)), expected, rtol=1e-10)
    assert float(explained(jnp.array([-3.0, 2.0]))) < 0 < float(explained(jnp.asarray(fitted)))


def test_the_drift_of_least_action_is_the_likeliest_and_its_curvature_the_information():
    design, _, fitted = whitened_regression()

    @jax.jit
    def slope_and_curvature(theta):
        ito = lambda theta: fl.ito_action(lagrangian(theta), sampled_path(), 0.0, DURATION)  # noqa: E731
        return jax.grad(ito)(theta), jax.hessian(ito)(theta)

    slope, curvature = slope_and_curvature(jnp.asarray(fitted))
    np.testing.assert_allclose(curvature, design.T @ design, rtol=1e-11)
    np.testing.assert_allclose(slope, 0.0, atol=1e-11 * np.abs(design.T @ design).max())


def test_about_the_mean_the_null_is_the_best_constant_drift():
    design, response, _ = whitened_regression()
    unroot = np.linalg.inv(np.linalg.cholesky(DIFFUSION)) / np.sqrt(STEP)
    pushes = np.tile(STEP * unroot, (COUNT, 1))
    both = np.concatenate([design, pushes], axis=1)
    fits = [np.linalg.lstsq(columns, response, rcond=None)[0] for columns in (both, pushes)]
    residuals = [np.sum((response - columns @ fit) ** 2) for columns, fit in zip((both, pushes), fits, strict=True)]
    model = fl.FreidlinWentzell(lambda q: drift(fits[0][:2], q) + fits[0][2:], DIFFUSION)
    null = fl.FreidlinWentzell(lambda q: jnp.asarray(fits[1]) + 0.0 * q, DIFFUSION)
    options = {"t1": DURATION, "null_lagrangian": null, "integral": fl.ito_action}
    found = fl.explained_variance(model, sampled_path(), **options)
    np.testing.assert_allclose(found, 1 - residuals[0] / residuals[1], rtol=1e-9)
    assert 0 < float(found) < 1


def test_a_path_fitted_to_data_explains_what_polynomial_regression_does():
    """Data in the Lagrangian: a parabola against the mean, for data sampled at Gauss's points."""

    def data(t):
        return jnp.exp(jnp.sin(3.0 * t))

    times, weights = np.polynomial.legendre.leggauss(40)
    times, weights = 1.0 + times, weights
    values = np.exp(np.sin(3.0 * times))
    design, root = np.vander(times, 3), np.sqrt(weights)
    fit = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)[0]
    mean = weights @ values / 2.0
    expected = 1 - weights @ (values - design @ fit) ** 2 / (weights @ (values - mean) ** 2)

    def misfit(t, q, v):
        return 0.5 * jnp.sum((q - data(t)) ** 2)

    def parabola(t):
        return jnp.polyval(jnp.asarray(fit), t)[None]

    def constant(t):
        return jnp.full(1, mean)

    polynomial, nodes = fl.Path.from_function(parabola, 0.0, 2.0, 16, 8), jnp.full((65, 1), mean)
    for path, null in ((parabola, constant), (polynomial, nodes)):
        found = jax.jit(lambda path=path, null=null: fl.explained_variance(misfit, path, null, 0.0, 2.0))()
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    # The other way round the "null" does better than the "model".
    assert float(jax.jit(lambda: fl.explained_variance(misfit, constant, parabola, 0.0, 2.0))()) < 0


def test_estimate_of_the_smooth_likelihood_tends_to_that_of_the_increments():
    """For X' = -theta X + noise they differ by (sum dX^2 - epsilon T) / 2 int X^2, of mean 0."""
    noise, duration = 0.3, 8.0

    @jax.jit
    def smooth_estimate(nodes):
        def likelihood(rate):
            return fl.path_log_likelihood(lambda q: -rate * q, 1.0, noise, nodes, 0.0, duration)

        # A parabola: one step of Newton's method finds its top.
        return -jax.grad(likelihood)(0.0) / jax.hessian(likelihood)(0.0)

    for count in (1_000, 16_000):
        step, x = duration / count, [1.0]
        for z in np.random.default_rng(3).normal(size=count):
            x.append(x[-1] * (1 - 0.9 * step) + np.sqrt(noise * step) * z)
        before, increments = np.array(x[:-1]), np.diff(x)
        estimate = -before @ increments / (step * before @ before)
        scatter = 0.5 * noise * duration * np.sqrt(2.0 / count) / (step * before @ before)
        assert abs(smooth_estimate(jnp.asarray(x)[:, None]) - estimate) < 4 * scatter


def test_a_null_that_is_no_null_is_not_a_number_or_refused():
    nodes = jnp.array([[0.0], [1.0], [3.0]])
    free = fl.FreidlinWentzell(lambda q: 0.0 * q, 1.0)
    still = jnp.zeros((3, 1))
    assert np.isnan(fl.explained_variance(free, nodes, still))
    negative = fl.NaturalLagrangian(fl.EuclideanMetric(), lambda q: 9.0 + 0.0 * jnp.sum(q))
    assert np.isnan(fl.explained_variance(negative, nodes, null_lagrangian=free))
    with pytest.raises(ValueError, match="null_path"):
        fl.explained_variance(free, nodes)
    with pytest.raises(ValueError, match="degree 3"):
        fl.ito_action(free, fl.Path.from_function(lambda t: t * jnp.ones(1), elements=1, degree=3))
    with pytest.raises((TypeError, ValueError)):
        fl.ito_action(free, lambda t: t * jnp.ones(1))


def test_unequal_times_single_precision_and_trees():
    knots = jnp.array([0.0, 0.5, 2.0])
    path = fl.Path.from_nodes(jnp.array([[0.0], [1.0], [3.0]]), knots=knots)
    linear = fl.FreidlinWentzell(lambda q: q, 2.0)
    expected = 0.5 * 0.5 * (2.0 - 0.0) ** 2 / 2 + 0.5 * 1.5 * (2.0 / 1.5 - 1.0) ** 2 / 2
    np.testing.assert_allclose(fl.ito_action(linear, path), expected, rtol=1e-14)
    single = jnp.ones((4, 2), jnp.float32)
    shapes = jax.eval_shape(lambda x: fl.explained_variance(linear, x, 2 * x, integral=fl.ito_action), single)
    assert shapes.dtype == jnp.float32
