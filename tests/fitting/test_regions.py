"""Regions of confidence: exact cases, nuisances, and what they share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import fimlag as fl

NORMAL = fl.families.Normal().model
DATA = jnp.array([1.0, 2.0, 6.0, 4.5, -0.3])
FIT = fl.maximum_likelihood(NORMAL, DATA, jnp.array([0.0, 1.0]))
REGIONS = [fl.wald_region, fl.score_region, fl.likelihood_ratio_region]


def statistics(model, data, fit, points, interest=None):
    """The statistics of all three kinds of region at points, and the common threshold, by one program."""

    @jax.jit
    def at(points):
        regions = [region(model, data, fit, interest=interest) for region in REGIONS]
        return [jax.vmap(region.statistic)(points) for region in regions], [region.threshold for region in regions]

    return at(points)


def test_three_regions_of_a_linear_model_with_known_noise_are_one():
    inputs = jnp.array([-1.0, 0.0, 0.5, 2.0])
    model = fl.ConditionalModel(lambda theta, x: jnp.stack([theta[0] + theta[1] * x, 1.3]), NORMAL, inputs)
    responses = jnp.array([0.2, 1.1, 1.0, 3.4])
    fit = fl.maximum_likelihood(model, responses, jnp.zeros(2))
    design = np.stack([np.ones(4), np.asarray(inputs)], axis=1)
    covariance = 1.3**2 * np.linalg.inv(design.T @ design)
    points = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
    offsets = np.asarray(points) - np.asarray(fit.theta)
    joint = np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(covariance), offsets)
    alone = offsets[:, 1] ** 2 / covariance[1, 1]
    for of_both, threshold in zip(*statistics(model, responses, fit, points), strict=True):
        np.testing.assert_allclose(of_both, joint, rtol=1e-10)
        np.testing.assert_allclose(threshold, scipy.stats.chi2.ppf(0.95, 2), rtol=1e-14)
    for of_slope, threshold in zip(*statistics(model, responses, fit, points[:, 1], 1), strict=True):
        np.testing.assert_allclose(of_slope, alone, rtol=1e-10)
        np.testing.assert_allclose(threshold, scipy.stats.chi2.ppf(0.95, 1), rtol=1e-14)


def test_score_region_of_a_proportion_is_that_of_wilson():
    def log_likelihood(p, x):
        return jnp.where((p > 0) & (p < 1), x * jnp.log(p) + (1 - x) * jnp.log1p(-p), jnp.nan)

    model = fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.array([0.0, 1.0])))
    tosses = jnp.array([1.0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    region = fl.score_region(model, tosses, fl.maximum_likelihood(model, tosses, jnp.array(0.4)))
    ends = scipy.stats.binomtest(2, 10).proportion_ci(0.95, method="wilson")
    statistic = jax.vmap(region.statistic)
    np.testing.assert_allclose(statistic(jnp.array([ends.low, ends.high])), region.threshold, rtol=1e-12)
    inside = jax.vmap(region.contains)(jnp.array([0.9 * ends.low, 1.1 * ends.low, 1.1 * ends.high, -0.5]))
    assert list(np.asarray(inside)) == [False, True, False, False]
    assert bool(jnp.isnan(region.statistic(-0.5)))


def test_statistics_of_a_normal_mean_with_unknown_deviation():
    mean, variance, value = np.mean(DATA), np.var(DATA), 1.0
    spread = variance + (value - mean) ** 2  # the variance that maximises the likelihood about the value
    expected = [5 * (value - mean) ** 2 / variance, 5 * (value - mean) ** 2 / spread, 5 * np.log(spread / variance)]
    found, _ = statistics(NORMAL, DATA, FIT, jnp.array([value]), 0)
    np.testing.assert_allclose(jnp.concatenate(found), expected, rtol=1e-10)


def test_region_of_all_parameters_in_any_order_is_the_joint_one():
    point = jnp.array([1.0, 2.5])
    joint, _ = statistics(NORMAL, DATA, FIT, point[None])
    swapped, _ = statistics(NORMAL, DATA, FIT, point[None, ::-1], [1, 0])
    np.testing.assert_allclose(jnp.concatenate(swapped), jnp.concatenate(joint), rtol=1e-11)


def test_ends_of_the_profile_interval_bound_the_likelihood_ratio_region():
    interval = fl.profile_interval(NORMAL, DATA, FIT, 1, level=0.9)
    region = fl.likelihood_ratio_region(NORMAL, DATA, FIT, level=0.9, interest=1)
    ends = jnp.stack([interval.lower, interval.upper])
    points = jnp.concatenate([ends, ends * jnp.array([1.01, 0.99]), ends * jnp.array([0.99, 1.01])])
    statistic, inside = jax.jit(jax.vmap(lambda q: (region.statistic(q), region.contains(q))))(points)
    np.testing.assert_allclose(statistic[:2], region.threshold, rtol=1e-10)
    assert inside[2:].tolist() == [True, True, False, False]


def test_coverage_of_joint_regions_tends_to_the_level():
    # 60 observations: the likelihood ratio covers as stated but for O(1 / n), here below 0.01
    samples = 1.5 + 0.7 * jax.random.normal(jax.random.key(5), (2000, 60))

    @jax.jit
    @jax.vmap
    def covered(data):
        fit = fl.maximum_likelihood(NORMAL, data, jnp.array([1.0, 1.0]), throw=False)
        return jnp.stack([region(NORMAL, data, fit).contains(jnp.array([1.5, 0.7])) for region in REGIONS])

    coverage = np.mean(covered(samples), axis=0)
    # four standard errors of 0.0049, and the error of order 1 / n: Wald's is the largest, 0.02
    assert np.all(np.abs(coverage - 0.95) < 0.0195 + np.array([0.02, 0.01, 0.01]))


def test_statistics_differentiate_in_the_point():
    point = jnp.array([1.0, 2.5])
    region = fl.likelihood_ratio_region(NORMAL, DATA, FIT)
    gradient = jax.jit(jax.grad(lambda point: region.statistic(point)))(point)
    score = jax.jit(jax.grad(lambda theta: NORMAL.joint_log_likelihood(theta, DATA)))(point)
    np.testing.assert_allclose(gradient, -2.0 * score, rtol=1e-12)
    mean = fl.likelihood_ratio_region(NORMAL, DATA, FIT, interest=0)
    spread = np.var(DATA) + (1.0 - np.mean(DATA)) ** 2
    slope = jax.jit(jax.grad(lambda value: mean.statistic(value)))(1.0)
    np.testing.assert_allclose(slope, 10 * (1.0 - np.mean(DATA)) / spread, rtol=1e-9)


def test_region_about_a_point_that_is_no_estimate_is_nan():
    @jax.jit
    def about(point):
        regions = [region(NORMAL, DATA, point) for region in (fl.wald_region, fl.likelihood_ratio_region)]
        return [(region.statistic(point), region.contains(point)) for region in regions]

    for statistic, inside in about(jnp.array([2.0, 2.0])):
        assert bool(jnp.isnan(statistic))
        assert not bool(inside)


def test_wrong_arguments_raise():
    region = fl.wald_region(NORMAL, DATA, FIT, interest=[0])
    with pytest.raises(ValueError, match="values came for 1"):
        region.statistic(jnp.zeros(2))
    with pytest.raises(ValueError, match="structure"):
        fl.wald_region(NORMAL, DATA, FIT).statistic(jnp.zeros(3))
    for interest in ([0, 0], [], [5], "name"):
        with pytest.raises(ValueError, match=r"Ind|interest|index"):
            fl.wald_region(NORMAL, DATA, FIT, interest=interest)
    with pytest.raises(ValueError, match="level"):
        fl.score_region(NORMAL, DATA, FIT, level=95.0)
