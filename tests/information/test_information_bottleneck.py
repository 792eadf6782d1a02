"""The information bottleneck: self-consistency, limits, and the Gaussian closed form against discrete tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

JOINT = jnp.asarray(np.random.default_rng(0).dirichlet(0.5 * np.ones(12)).reshape(4, 3))
CORRELATIONS = jnp.array([0.9, 0.6, 0.3])
GAUSSIAN = fl.gaussian_information_bottleneck(CORRELATIONS)


@jax.jit
def bottleneck(beta, joint=JOINT):
    return fl.information_bottleneck(joint, beta, throw=False, tol=1e-12)


def test_solution_solves_the_self_consistent_equations():
    solution = fl.information_bottleneck(JOINT, 8.0, key=jax.random.key(1), restarts=4)
    conditional = np.asarray(JOINT / jnp.sum(JOINT, axis=1, keepdims=True))
    decoder, weights = np.asarray(solution.decoder), np.asarray(solution.weights)
    divergence = np.sum(conditional[:, None] * np.log(conditional[:, None] / decoder[None]), axis=2)
    encoder = weights * np.exp(-8.0 * divergence)
    encoder /= encoder.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(solution.encoder, encoder, atol=1e-8)  # the residual, over the smallest p(x)
    np.testing.assert_allclose(solution.functional, solution.compression - 8.0 * solution.relevance, rtol=1e-12)
    assert solution.restart_functionals.shape == (5,)
    np.testing.assert_allclose(jnp.min(solution.restart_functionals), solution.functional, atol=1e-12)
    # the joint of X and T by the encoder, that of T and Y by the encoder alone
    np.testing.assert_allclose(
        fl.mutual_information(jnp.sum(JOINT, axis=1)[:, None] * solution.encoder), solution.compression, rtol=1e-10
    )
    np.testing.assert_allclose(fl.mutual_information(solution.encoder.T @ JOINT), solution.relevance, rtol=1e-10)


def test_limits_are_nothing_and_the_minimal_sufficient_statistic():
    twins = jnp.concatenate([0.5 * JOINT, 0.5 * JOINT])  # eight symbols, four kinds
    loose, tight = (fl.information_bottleneck(twins, beta) for beta in (0.9, 1e4))
    np.testing.assert_allclose([loose.compression, loose.relevance], 0.0, atol=1e-12)
    rows = jnp.sum(JOINT, axis=1)
    np.testing.assert_allclose(tight.relevance, fl.mutual_information(JOINT), rtol=1e-8)
    # beta is finite but the kinds are far apart: their overlap is exp(-beta KL)
    np.testing.assert_allclose(tight.compression, -jnp.sum(rows * jnp.log(rows)), rtol=1e-6)


def test_relevance_obeys_data_processing_and_grows_with_beta():
    betas = jnp.array([1.0, 2.0, 4.0, 8.0, 16.0])
    solution = jax.vmap(bottleneck)(betas)
    assert np.all(solution.relevance <= solution.compression + 1e-12)
    assert np.all(solution.relevance <= fl.mutual_information(JOINT) + 1e-12)
    assert np.all(np.diff(solution.relevance) >= -1e-9)


@pytest.mark.slow
def test_solution_differentiates_implicitly_in_beta_and_joint():
    change = JOINT * jnp.asarray(np.random.default_rng(1).normal(size=JOINT.shape))
    change = change - jnp.sum(change) * JOINT

    @jax.jit
    def values(t):
        solution = bottleneck(8.0 + t, JOINT + t * change)
        return jnp.stack([solution.functional, solution.compression, solution.relevance])

    step = 1e-4
    forward = jax.jvp(values, (0.0,), (1.0,))[1]
    difference = (values(step) - values(-step)) / (2 * step)
    np.testing.assert_allclose(forward, difference, rtol=1e-5, atol=1e-7)  # step^2 and the residual over the step
    slope = jax.grad(lambda b: bottleneck(b).functional)(8.0)
    np.testing.assert_allclose(slope, -bottleneck(8.0).relevance, rtol=1e-10)


@pytest.mark.slow
def test_discrete_bottleneck_of_a_binned_normal_pair_is_the_gaussian_one():
    rho, beta = 0.8, 3.0
    points = np.arange(-6.0, 6.1, 0.5)  # trapezoids resolve normal densities of this width to 1e-8, and so their tails
    x, y = np.meshgrid(points, points, indexing="ij")
    density = np.exp(-(x**2 - 2 * rho * x * y + y**2) / (2 * (1 - rho**2)))
    joint = jnp.asarray(density / density.sum())
    solution = fl.information_bottleneck(joint, beta, tol=1e-6, max_iterations=40_000)
    exact = fl.gaussian_information_bottleneck(jnp.array([rho]))
    np.testing.assert_allclose(fl.mutual_information(joint), -0.5 * np.log(1 - rho**2), atol=1e-6)
    # steps shorten by about 1e-3 of themselves: the encoder is 1e3 residuals away, and the functional stationary
    np.testing.assert_allclose(solution.functional, exact.functional(beta), atol=1e-5)
    assert float(solution.functional) > float(exact.functional(beta))
    np.testing.assert_allclose(solution.compression, exact.compression(beta), atol=5e-3)
    np.testing.assert_allclose(solution.relevance, exact.relevance(beta), atol=5e-3)


def test_gaussian_curve_bends_at_the_critical_betas():
    np.testing.assert_allclose(GAUSSIAN.critical_betas, 1 / CORRELATIONS**2, rtol=1e-15)
    for number, critical in enumerate(GAUSSIAN.critical_betas):
        below, above = GAUSSIAN.gains(critical * (1 - 1e-9)), GAUSSIAN.gains(critical * (1 + 1e-9))
        assert int(jnp.sum(below > 0)) == number
        assert int(jnp.sum(above > 0)) == number + 1
    np.testing.assert_array_equal([GAUSSIAN.compression(1.1), GAUSSIAN.relevance(1.1)], 0.0)


def test_gaussian_informations_are_those_of_the_projection():
    root = np.random.default_rng(2).normal(size=(5, 5))
    covariance = jnp.asarray(root @ root.T)
    of_x, of_y, cross = covariance[:3, :3], covariance[3:, 3:], covariance[:3, 3:]
    canonical = fl.canonical_correlations(of_x, of_y, cross)
    np.testing.assert_allclose(canonical.of_x.T @ of_x @ canonical.of_x, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(canonical.of_x.T @ cross @ canonical.of_y, jnp.diag(canonical.correlations), atol=1e-12)
    solution = fl.gaussian_information_bottleneck(canonical)
    beta = 2.0 * float(jnp.max(solution.critical_betas))
    projection = solution.projection(beta)
    left = of_x - cross @ jnp.linalg.solve(of_y, cross.T)
    total, noise = (0.5 * jnp.linalg.slogdet(projection @ c @ projection.T + jnp.eye(2))[1] for c in (of_x, left))
    np.testing.assert_allclose(solution.compression(beta), total, rtol=1e-10)
    np.testing.assert_allclose(solution.relevance(beta), total - noise, rtol=1e-10)

    def objective(projection):
        total, noise = (0.5 * jnp.linalg.slogdet(projection @ c @ projection.T + jnp.eye(2))[1] for c in (of_x, left))
        return total - beta * (total - noise)

    np.testing.assert_allclose(jax.grad(objective)(projection), 0.0, atol=1e-8 * float(jnp.max(of_x)))


def test_gaussian_information_curve_is_concave_with_slope_one_over_beta():
    levels = jnp.array([0.0, 0.3, 0.9, 1.6, 3.0])
    betas = jax.vmap(GAUSSIAN.beta_at)(levels)
    np.testing.assert_allclose(jax.vmap(GAUSSIAN.compression)(betas), levels, rtol=1e-12, atol=1e-14)
    slopes = jax.vmap(jax.grad(GAUSSIAN.relevance_at))(levels)
    np.testing.assert_allclose(slopes[1:], 1 / betas[1:], rtol=1e-10)
    np.testing.assert_allclose(betas[0], 1 / 0.81, rtol=1e-12)
    slope = jax.grad(GAUSSIAN.functional)(5.0)
    np.testing.assert_allclose(slope, -GAUSSIAN.relevance(5.0), rtol=1e-12)


def test_mistakes_are_named_and_reported():
    assert bottleneck(-1.0).result == fl.RESULTS.out_of_range
    assert bottleneck(2.0, 2.0 * JOINT).result == fl.RESULTS.out_of_range
    assert np.isnan(fl.mutual_information(2.0 * JOINT))
    assert np.isnan(fl.gaussian_information_bottleneck(jnp.array([1.2])).compression(2.0))
    assert np.all(np.isnan(fl.canonical_correlations(-jnp.eye(2), jnp.eye(2), 0.1 * jnp.eye(2)).correlations))
    assert fl.information_bottleneck(JOINT, 8.0, max_iterations=2, throw=False).result == fl.RESULTS.max_steps_reached
    with pytest.raises(ValueError, match="must be positive"):
        fl.information_bottleneck(JOINT, 8.0, clusters=0)
    with pytest.raises(ValueError, match="needs directions"):
        GAUSSIAN.projection(2.0)
    single = fl.information_bottleneck(JOINT.astype(jnp.float32), 8.0, tol=1e-4)
    assert single.functional.dtype == jnp.float32
    np.testing.assert_allclose(single.functional, bottleneck(8.0).functional, atol=1e-4)
