"""Profile and likelihood-ratio intervals against closed forms, brute force, and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

import fimlag as fl
from fimlag import datasets

NORMAL = fl.families.Normal().model
DATA = jnp.array([1.0, 2.0, 6.0, 4.5, -0.3])
MEAN, DEVIATION = float(jnp.mean(DATA)), float(jnp.std(DATA))
START = jnp.array([0.0, 1.0])
QUANTILE = scipy.stats.chi2.ppf(0.95, 1)
HALF = DEVIATION * np.sqrt(np.exp(QUANTILE / 5) - 1)  # of the interval of the mean


def fitted(data):
    return fl.maximum_likelihood(NORMAL, data, START, throw=False)


def michaelis_menten(theta, concentration):
    return jnp.stack([theta[0] * concentration / (theta[1] + concentration), theta[2]])


def first_order_decay(theta, time):
    return jnp.stack([theta[0] * (1.0 - jnp.exp(-theta[1] * time)), theta[2]])


def regression(predict, data):
    return fl.ConditionalModel(predict, NORMAL, jnp.asarray(data.inputs)), jnp.asarray(data.responses)


def bernoulli(p, x):
    inside = (p > 0.0) & (p < 1.0)
    return jnp.where(inside, x * jnp.log(p) + (1.0 - x) * jnp.log1p(-p), jnp.nan)


COIN = fl.StatisticalModel(bernoulli, fl.ExactSum(jnp.array([0.0, 1.0])))
TOSSES = jnp.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])


def test_interval_of_a_normal_mean_is_the_closed_one():
    # with sigma re-maximised, 2 (l_max - l_p) = n log(1 + (mu - mean)^2 / variance)
    fit = fitted(DATA)
    interval = fl.profile_interval(NORMAL, DATA, fit, 0)
    np.testing.assert_allclose([interval.lower, interval.upper], [MEAN - HALF, MEAN + HALF], rtol=1e-12)
    np.testing.assert_allclose(interval.theta_upper, [interval.upper, np.hypot(DEVIATION, HALF)], rtol=1e-12)
    np.testing.assert_allclose(interval.threshold, QUANTILE, rtol=1e-14)
    np.testing.assert_allclose(interval.estimate, fit.theta[0], rtol=1e-14)


RATE = fl.StatisticalModel(
    lambda rate, x: jnp.log(rate) - rate * x, fl.Quadrature(0.0, jnp.inf, scale=lambda rate: 1.0 / rate)
)


@pytest.mark.parametrize("level", [0.5, 0.999])
def test_interval_of_an_exponential_rate_is_the_lambert_function(level):
    # n (r - 1 - log r) = q / 2 for r = rate / estimate, so r = -W(-exp(-1 - q / 2n))
    data = jnp.array([0.3, 1.7, 0.9, 4.2])
    fit = fl.maximum_likelihood(RATE, data, jnp.array(0.5))
    interval = fl.likelihood_ratio_interval(RATE, data, fit, level=level)
    argument = -np.exp(-1 - scipy.stats.chi2.ppf(level, 1) / 8)
    expected = [-scipy.special.lambertw(argument, k).real / np.mean(data) for k in (0, -1)]
    np.testing.assert_allclose([interval.lower, interval.upper], expected, rtol=1e-11)
    assert interval.theta_lower.shape == ()


def test_interval_of_a_proportion_is_the_root_of_its_likelihood():
    fit = fl.maximum_likelihood(COIN, TOSSES, jnp.array(0.4))
    interval = fl.likelihood_ratio_interval(COIN, TOSSES, fit)

    def excess(p):
        return 2 * (2 * np.log(0.2 / p) + 8 * np.log(0.8 / (1 - p))) - QUANTILE

    expected = [scipy.optimize.brentq(excess, *ends, xtol=1e-15) for ends in ((1e-6, 0.2), (0.2, 1 - 1e-6))]
    np.testing.assert_allclose([interval.lower, interval.upper], expected, rtol=1e-11)


def test_puromycin_intervals_are_those_of_brute_force():
    model, rates = regression(michaelis_menten, datasets.puromycin())
    fit = fl.maximum_likelihood(model, rates, jnp.array([150.0, 0.1, 30.0]))
    concentration, rates_np = np.asarray(model.inputs), np.asarray(rates)

    def sum_of_squares(maximum, half):
        return np.sum((rates_np - maximum * concentration / (half + concentration)) ** 2)

    def of_half(half):  # the best maximum rate is linear least squares
        shape = concentration / (half + concentration)
        return sum_of_squares(shape @ rates_np / (shape @ shape), half)

    def of_maximum(maximum):
        return scipy.optimize.minimize_scalar(
            lambda half: sum_of_squares(maximum, half), bounds=(0.01, 0.3), method="bounded", options={"xatol": 1e-13}
        ).fun

    best = sum_of_squares(*np.asarray(fit.theta[:2]))
    for index, (profile, ends) in enumerate([(of_maximum, (150, 300)), (of_half, (0.02, 0.2))]):
        interval = fl.profile_interval(model, rates, fit, index)
        middle = float(fit.theta[index])

        def excess(value, profile=profile):
            return 12 * np.log(profile(value) / best) - QUANTILE

        expected = [scipy.optimize.brentq(excess, *pair, rtol=1e-13) for pair in ((ends[0], middle), (middle, ends[1]))]
        # a bounded search resolves its minimum to 1e-8, the minimal value to its square
        np.testing.assert_allclose([interval.lower, interval.upper], expected, rtol=1e-9)


def test_interval_of_a_function_does_not_depend_on_coordinates():
    fit = fitted(DATA)
    deviation = fl.profile_interval(NORMAL, DATA, fit, 1)
    precision = fl.likelihood_ratio_interval(NORMAL, DATA, fit, lambda theta: -2.0 * jnp.log(theta[1]))
    np.testing.assert_allclose(precision.lower, -2 * np.log(deviation.upper), rtol=1e-10)
    np.testing.assert_allclose(precision.upper, -2 * np.log(deviation.lower), rtol=1e-10)


def test_parameters_of_a_tree_are_named_by_their_path():
    def log_likelihood(theta, x):
        return jax.scipy.stats.norm.logpdf(x, theta["place"]["mean"][1], jnp.exp(theta["log_sd"]))

    rule = fl.Quadrature(-jnp.inf, jnp.inf)
    model = fl.StatisticalModel(lambda theta, x: log_likelihood(theta, x) - theta["place"]["mean"][0] ** 2, rule)
    estimate = {"log_sd": jnp.log(jnp.std(DATA)), "place": {"mean": jnp.array([0.0, jnp.mean(DATA)])}}
    for index in (("place", "mean", 1), 2, -1):
        interval = fl.profile_interval(model, DATA, estimate, index)
        np.testing.assert_allclose(interval.upper, MEAN + HALF, rtol=1e-11)
        np.testing.assert_allclose(interval.theta_upper["place"]["mean"][1], interval.upper, rtol=1e-14)
    for index in (("place", "mean"), "place", "nowhere", ("log_sd", 0), 3, ("place", "mean", "size"), "items"):
        with pytest.raises(ValueError, match=r"index|Index"):
            fl.profile_interval(model, DATA, estimate, index)


def test_ends_differentiate_implicitly_in_the_data():
    @jax.jit
    @jax.jacrev
    def derivative(data):
        interval = fl.profile_interval(NORMAL, data, fitted(data), 0, throw=False)
        return jnp.stack([interval.lower, interval.upper])

    slope = (np.asarray(DATA) - MEAN) / (5 * DEVIATION) * np.sqrt(np.exp(QUANTILE / 5) - 1)
    np.testing.assert_allclose(derivative(DATA), [0.2 - slope, 0.2 + slope], rtol=1e-10)


def test_coverage_of_the_mean_is_that_of_its_exact_distribution():
    # the statistic is n log(1 + t^2 / (n - 1)), t of Student: 0.9177 for 8 observations
    size, count = 8, 4000
    samples = 1.5 + 0.7 * jax.random.normal(jax.random.key(3), (count, size))

    @jax.jit
    @jax.vmap
    def intervals(data):
        found = fl.profile_interval(NORMAL, data, fitted(data), 0, throw=False)
        return found.lower, found.upper, found.succeeded

    lower, upper, succeeded = intervals(samples)
    assert bool(jnp.all(succeeded))
    exact = 1 - 2 * scipy.stats.t.sf(np.sqrt((size - 1) * (np.exp(QUANTILE / size) - 1)), size - 1)
    covered = float(jnp.mean((lower <= 1.5) & (upper >= 1.5)))
    assert abs(covered - exact) < 4 * np.sqrt(exact * (1 - exact) / count)  # four standard errors


def test_interval_that_the_data_do_not_close_is_reported():
    # six observations of a curved model: as its asymptote grows the likelihood tends to that of a straight line
    model, demand = regression(first_order_decay, datasets.biochemical_oxygen_demand())
    fit = fl.maximum_likelihood(model, demand, jnp.array([19.0, 0.5, 2.5]))
    closed = fl.profile_interval(model, demand, fit, 0)
    assert float(closed.upper) < 28.0
    loss = fl.profile_likelihood(model, demand, fit, 0, jnp.stack([closed.lower, closed.upper])).statistic
    np.testing.assert_allclose(loss, QUANTILE, rtol=1e-9)
    open_above = fl.profile_interval(model, demand, fit, 0, level=0.999, throw=False)
    assert open_above.result == fl.RESULTS.open_interval
    assert float(open_above.upper) == np.inf
    assert 11.0 < float(open_above.lower) < 12.0
    assert bool(jnp.all(jnp.isnan(open_above.theta_upper)))
    with pytest.raises(RuntimeError, match="stays above the threshold"):
        fl.profile_interval(model, demand, fit, 0, level=0.999)


def test_interval_that_leaves_the_domain_is_reported():
    # a rate confined to at least 0.15, where the likelihood is still above the threshold
    def log_likelihood(rate, x):
        return jnp.where(rate > 0.15, jnp.log(jnp.maximum(rate, 0.1)) - rate * x, jnp.nan)

    model = fl.StatisticalModel(log_likelihood, fl.Quadrature(0.0, jnp.inf))
    interval = fl.likelihood_ratio_interval(model, jnp.array([2.0, 4.0]), jnp.array(1 / 3), throw=False)
    assert interval.result == fl.RESULTS.open_interval
    assert float(interval.lower) == -np.inf
    assert float(interval.upper) > 1.0


def test_estimate_that_is_none_is_reported():
    wrong = fl.profile_interval(NORMAL, DATA, jnp.array([2.0, 2.0]), 0, throw=False)
    assert wrong.result == fl.RESULTS.not_an_estimate
    assert bool(jnp.isnan(wrong.lower) & jnp.isnan(wrong.upper))
    missing = DATA.at[0].set(jnp.nan)
    assert fl.profile_interval(NORMAL, missing, fitted(missing), 0, throw=False).result == fl.RESULTS.nonfinite
    with pytest.raises(RuntimeError, match="score does not vanish"):
        fl.profile_interval(NORMAL, DATA, jnp.array([2.0, 2.0]), 0)
    short = fl.profile_interval(NORMAL, DATA, fitted(DATA), 0, max_iterations=2, throw=False)
    assert short.result == fl.RESULTS.max_steps_reached


def test_wrong_arguments_raise():
    fit = fitted(DATA)
    with pytest.raises(ValueError, match="level"):
        fl.profile_interval(NORMAL, DATA, fit, 0, level=1.0)
    with pytest.raises(ValueError, match="give the function"):
        fl.likelihood_ratio_interval(NORMAL, DATA, fit)
    with pytest.raises(ValueError, match="one real number"):
        fl.likelihood_ratio_interval(NORMAL, DATA, fit, lambda theta: theta)
    with pytest.raises(Exception, match=r"values|Type-check"):
        fl.profile_likelihood(NORMAL, DATA, fit, 0, 1.0)


def test_profile_of_a_normal_mean_is_the_closed_one():
    values = jnp.array([-20.0, 0.0, 2.5, 5.0, 300.0])
    fit = fitted(DATA)
    profile = fl.profile_likelihood(NORMAL, DATA, fit, 0, values)
    variance = DEVIATION**2 + (values - MEAN) ** 2
    np.testing.assert_allclose(profile.theta[:, 1], np.sqrt(variance), rtol=1e-11)
    np.testing.assert_allclose(profile.statistic, 5 * np.log(variance / DEVIATION**2), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(profile.signed_root**2, profile.statistic, rtol=1e-14)
    assert list(np.sign(profile.signed_root)) == [-1, -1, -1, 1, 1]

    def value_of(v):
        return fl.profile_likelihood(NORMAL, DATA, fit, 0, v[None], throw=False).log_likelihood[0]

    slope = jax.jit(jax.vmap(jax.grad(value_of)))(values)
    np.testing.assert_allclose(slope, -5 * (values - MEAN) / variance, rtol=1e-9)


def test_value_outside_the_domain_has_no_profile():
    profile = fl.profile_likelihood(NORMAL, DATA, fitted(DATA), 1, jnp.array([2.0, -1.0]), throw=False)
    assert list(np.asarray(profile.succeeded)) == [True, False]
    assert list(np.isnan(profile.log_likelihood)) == [False, True]
    with pytest.raises(RuntimeError, match="NaN or infinity"):
        fl.profile_likelihood(NORMAL, DATA, fitted(DATA), 1, jnp.array([2.0, -1.0]))


def test_single_precision_is_followed():
    data = DATA.astype(jnp.float32)
    fit = fl.maximum_likelihood(NORMAL, data, START.astype(jnp.float32))
    interval = fl.profile_interval(NORMAL, data, fit, 0)
    assert interval.lower.dtype == interval.threshold.dtype == jnp.float32
    # a likelihood of order 10 resolves its loss of 1.92 to 1e-6
    np.testing.assert_allclose([interval.lower, interval.upper], [MEAN - HALF, MEAN + HALF], rtol=2e-5)


def test_interval_lowers_without_the_device():
    def upper(data):
        return fl.profile_interval(NORMAL, data, fitted(data), 0, throw=False).upper

    assert "stablehlo" in jax.jit(upper).trace(DATA).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("offset", [1e4, 1e5])
def test_an_offset_that_leaves_few_digits_costs_no_more_than_these(offset):
    data = (offset + 1e-4 * offset * jnp.sin(jnp.arange(5.0))).astype(jnp.float32)
    mean, spread = np.mean(np.asarray(data, float)), np.std(np.asarray(data, float))
    fit = fl.maximum_likelihood(NORMAL, data, jnp.array([offset, 1e-4 * offset], jnp.float32))
    interval = fl.profile_interval(NORMAL, data, fit, 0)
    half = spread * np.sqrt(np.expm1(float(interval.threshold) / 5))
    # single precision knows the mean to 6e-8 of itself
    np.testing.assert_allclose([interval.lower, interval.upper], [mean - half, mean + half], rtol=5e-7)
