"""Divergences against closed forms, mpmath, samples, and the geometry that they generate."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

NORMAL = fl.families.Normal().model
GAMMA = fl.families.Gamma().model
POISSON = fl.families.Poisson(80).model
CATEGORICAL = fl.families.Categorical(3).model
START = jnp.array([0.0, 1.0])
ENDS = jnp.array([[0.5, 1.3], [1e-6, 1.0 + 1e-6], [0.0, 1.0], [5.0, 1.3], [0.0, 3.0], [50.0, 1.0], [50.0, 0.01]])
ALPHAS = jnp.array([-3.0, -1.0, -1.0 + 1e-9, 0.0, 0.5, 1.0])


def affinity(start, end, s):
    """The integral of p^(1-s) q^s of two normals, at 40 digits; None where it is infinite."""
    (m, a), (n, b) = ([mp.mpf(float(value)) for value in theta] for theta in (start, end))
    variance = (1 - s) * b**2 + s * a**2
    if variance <= 0:
        return None
    return b ** (1 - s) * a**s / mp.sqrt(variance) * mp.exp(-s * (1 - s) * (m - n) ** 2 / (2 * variance))


def kl_of_normals(start, end):
    (m, a), (n, b) = ([mp.mpf(float(value)) for value in theta] for theta in (start, end))
    return mp.log(b / a) + (a**2 + (m - n) ** 2) / (2 * b**2) - mp.mpf(1) / 2


def alpha_of_normals(start, end, alpha):
    with mp.workdps(60):
        s = (1 + mp.mpf(float(alpha))) / 2
        if s == 0:
            return kl_of_normals(start, end)
        if s == 1:
            return kl_of_normals(end, start)
        mass = affinity(start, end, s)
        return mp.inf if mass is None else (1 - mass) / (s * (1 - s))


@eqx.filter_jit
def estimates(divergence, model, starts, ends, *options):
    def of_pair(start, end, *option):
        return fl.divergence_estimate(divergence, model, start, end, *option, throw=False)

    return jax.vmap(of_pair)(starts, ends, *options)


def test_alpha_divergences_of_normals_meet_their_closed_form_near_and_far():
    ends, alphas = jnp.repeat(ENDS, ALPHAS.size, axis=0), jnp.tile(ALPHAS, ENDS.shape[0])
    starts = jnp.broadcast_to(START, ends.shape)
    found = estimates(fl.alpha_divergence, NORMAL, starts, ends, alphas)
    closed = [float(alpha_of_normals(START, end, alpha)) for end, alpha in zip(ends, alphas, strict=True)]
    finite = np.isfinite(closed) & ~((ends[:, 1] == 0.01) & (alphas == -3.0))
    assert bool(jnp.all(found.succeeded[finite]))
    infinite = ~np.isfinite(closed)
    assert np.any(infinite)
    assert not bool(jnp.any(found.succeeded[infinite] & jnp.isfinite(found.value[infinite])))
    # The error of 200 nodes, by the documentation of Quadrature; the near pair lies 1e-6 apart, at 1e-12.
    np.testing.assert_allclose(found.value[finite], np.array(closed)[finite], rtol=1e-12)


@pytest.mark.slow
def test_an_infinite_or_unresolved_integral_is_no_number():
    pairs = jnp.array([[50.0, 0.01], [0.0, 0.5], [0.0, 0.7]])
    starts = jnp.broadcast_to(START, pairs.shape)
    found = estimates(fl.chi_square_divergence, NORMAL, starts, pairs)
    assert not bool(jnp.any(found.succeeded & jnp.isfinite(found.value)))


@pytest.mark.slow
def test_a_sum_cut_off_where_the_integral_is_infinite_is_reported():
    geometric = fl.families.Geometric(200).model
    counted = estimates(fl.chi_square_divergence, geometric, jnp.array([0.2]), jnp.array([0.5]))
    assert bool(jnp.all(counted.result == fl.RESULTS.unresolved_divergence))


def test_divergences_are_functions_of_one_another():
    start, end = START, jnp.array([0.7, 1.4])

    @jax.jit
    def everything(start, end):
        order = jnp.array(0.3)
        return (
            fl.renyi_divergence(NORMAL, start, end, order),
            fl.tsallis_divergence(NORMAL, start, end, order),
            fl.hellinger_distance(NORMAL, start, end),
            fl.bhattacharyya_distance(NORMAL, start, end),
            fl.jeffreys_divergence(NORMAL, start, end),
        )

    mass, half = (float(affinity(start, end, s)) for s in (0.7, 0.5))
    closed = np.log(mass) / (0.3 - 1), (mass - 1) / (0.3 - 1), np.sqrt(1 - half), -np.log(half)
    jeffreys = float(kl_of_normals(start, end) + kl_of_normals(end, start))
    # Round-off of a logarithm near 1, and the nodes.
    np.testing.assert_allclose(everything(start, end), [*closed, jeffreys], rtol=1e-12)


def test_kl_of_gammas_meets_its_closed_form_where_means_differ_a_thousandfold():
    starts = jnp.array([[2.0, 1.0], [0.1, 1.0], [60.0, 20.0], [3.0, 5.0]])
    ends = jnp.array([[3.0, 1.5], [60.0, 20.0], [0.1, 1.0], [3.0 + 3e-7, 5.0]])

    def closed(start, end):
        with mp.workdps(40):
            (a, b), (c, d) = ([mp.mpf(float(value)) for value in theta] for theta in (start, end))
            return (a - c) * mp.digamma(a) - mp.loggamma(a) + mp.loggamma(c) + c * mp.log(b / d) + a * (d - b) / b

    found = estimates(fl.kl_divergence, GAMMA, starts, ends)
    expected = [float(closed(*pair)) for pair in zip(starts, ends, strict=True)]
    # The error of 200 nodes, beside the round-off of logarithms of densities of size 600.
    np.testing.assert_allclose(found.value, expected, rtol=1e-11)


@pytest.mark.parametrize(
    "divergence", [fl.kl_divergence, pytest.param(fl.jensen_shannon_divergence, marks=pytest.mark.slow)]
)
def test_a_divergence_below_the_round_off_of_the_densities_is_no_number_but_one_in_closed_form(divergence):
    family, start = fl.families.Gamma(), jnp.array([300.0, 2.0])
    end = start * (1.0 + 3e-8) + jnp.array([0.0, 1e-8])
    natural = family.natural(start), family.natural(end)
    # Logarithms of densities are sums of terms of size 1000, known to 1e-13; the divergence is 1e-14.
    found = estimates(divergence, GAMMA, start[None], end[None])
    assert bool(jnp.all(found.result == fl.RESULTS.unresolved_divergence))
    half = 0.5 * family.quadratic(start, end - start)
    # The third order of a relative step of 1e-8.
    assert abs(jax.jit(family.exponential_form.kl)(*natural) / half - 1.0) < 1e-6


def test_a_kink_is_met_in_both_densities():
    laplace = fl.families.Laplace().model
    ends = jnp.array([[1.0, 2.0], [0.0, 1.0], [1e-4, 1.0]])
    found = estimates(fl.kl_divergence, laplace, jnp.broadcast_to(START, ends.shape), ends)
    gap, scale = np.array(ends[:, 0]), np.array(ends[:, 1])
    closed = (gap + np.expm1(-gap)) / scale + 1 / scale - 1 + np.log(scale)
    # The closed form of the near pair cancels: 1e-16 of 5e-9.
    np.testing.assert_allclose(found.value, closed, rtol=1e-8, atol=1e-16)


@pytest.mark.parametrize("ends", [(2.0, 3.0), (0.013, 0.2)])
def test_jensen_shannon_divergence_meets_mpmath(ends):
    found = estimates(fl.jensen_shannon_divergence, NORMAL, START[None], jnp.array([ends]))

    def integrand(x):
        p, q = mp.npdf(x), mp.npdf(x, *ends)
        m = (p + q) / 2
        return sum(density * mp.log(density / m) for density in (p, q) if density) / 2

    expected = mp.quad(integrand, [-30, -8, -3, -1, 0, 0.013, 1, 3, 8, 30])
    # How much the overlap may differ between the two rules.
    assert abs(found.value[0] / float(expected) - 1.0) < 1e-8


def test_densities_that_do_not_see_each_other_are_reported():
    found = estimates(fl.jensen_shannon_divergence, NORMAL, START[None], jnp.array([[0.013, 0.05]]))
    assert bool(jnp.all(found.result == fl.RESULTS.unresolved_divergence))


@pytest.mark.slow
def test_chernoff_information_its_slope_and_its_exponent_meet_closed_forms():
    @jax.jit
    def found(end):
        value, slope = jax.value_and_grad(lambda end: fl.chernoff_information(POISSON, 4.0, end))(end)
        return value, slope, fl.chernoff_exponent(POISSON, 4.0, end)

    end = 9.0
    ratio = np.log(end / 4.0)
    exponent = np.log((end - 4.0) / (4.0 * ratio)) / ratio
    value = (1 - exponent) * 4.0 + exponent * end - 4.0 ** (1 - exponent) * end**exponent
    # By the envelope theorem the exponent is held.
    slope = exponent - exponent * (4.0 / end) ** (1 - exponent)
    np.testing.assert_allclose(found(jnp.array(end)), [value, slope, exponent], rtol=1e-12)


@pytest.mark.slow
def test_chernoff_information_of_normals_of_one_variance_is_an_eighth_of_the_squared_distance():
    ends = jnp.array([[2.0, 1.0], [1e-6, 1.0], [0.0, 1.0], [100.0, 1.0]])
    found = estimates(fl.chernoff_information, NORMAL, jnp.broadcast_to(START, ends.shape), ends)
    assert bool(jnp.all(found.succeeded))
    # The error of 200 nodes, relative also 1e-6 apart.
    np.testing.assert_allclose(found.value, ends[:, 0] ** 2 / 8.0, rtol=1e-12)


def test_entropy_of_an_exponential_density_its_slope_and_its_cross_entropy():
    exponential = fl.families.Exponential().model

    @jax.jit
    def found(rate):
        value, slope = jax.value_and_grad(lambda rate: fl.entropy(exponential, rate))(rate)
        return value, slope, fl.cross_entropy(exponential, rate, 2.0)

    # The weights carry the dependence of the density: d/dr (1 - log r) = -1/r.
    np.testing.assert_allclose(found(0.5), [1 - np.log(0.5), -2.0, 4.0 - np.log(2.0)], rtol=1e-11)


@pytest.mark.parametrize(
    ("model", "theta"),
    [
        (CATEGORICAL, [0.2, 0.5]),
        pytest.param(NORMAL, [0.3, 1.7], marks=pytest.mark.slow),
        pytest.param(GAMMA, [2.5, 1.5], marks=pytest.mark.slow),
    ],
)
def test_hessian_of_kl_on_the_diagonal_is_the_fisher_information(model, theta):
    theta = jnp.array(theta)

    @jax.jit
    def both(theta):
        hessian = jax.jacfwd(jax.jacfwd(lambda other: fl.kl_divergence(model, theta, other)))(theta)
        return hessian, fl.fisher_information(model, theta)

    found, fisher = both(theta)
    # Round-off of sums over 200 nodes; both are the score form by the same nodes.
    np.testing.assert_allclose(found, fisher, rtol=1e-12, atol=1e-13 * float(jnp.max(fisher)))


@pytest.mark.slow
def test_derivatives_of_alpha_divergences_are_metric_and_dual_connections():
    theta = jnp.array([0.2, 0.5])

    def divergence(alpha, start, end):
        return fl.alpha_divergence(CATEGORICAL, start, end, alpha)

    def geometry(alpha):
        metric = jax.hessian(divergence, 1)(alpha, theta, theta)
        mixed = jax.jacfwd(jax.hessian(divergence, 1), 2)(alpha, theta, theta)
        return metric, -mixed

    alphas = jnp.array([-1.0, 0.0, 0.5, 1.0])
    metrics, connections = jax.jit(jax.vmap(geometry))(alphas)
    fisher = fl.fisher_information(CATEGORICAL, theta)
    # Round-off, over a smallest probability of 0.2 cubed.
    np.testing.assert_allclose(metrics, jnp.broadcast_to(fisher, metrics.shape), rtol=1e-12)
    for alpha, connection in zip(alphas, connections, strict=True):
        expected = fl.alpha_christoffel(CATEGORICAL, theta, alpha)
        np.testing.assert_allclose(connection, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("divergence", "multiple"),
    [(fl.jeffreys_divergence, 2.0), (fl.jensen_shannon_divergence, 0.25), (fl.chi_square_divergence, 2.0)],
)
def test_stated_multiples_of_the_fisher_information_on_the_diagonal(divergence, multiple):
    rate = jnp.array(5.0)
    found = jax.jit(jax.grad(jax.grad(lambda end: divergence(POISSON, rate, end))))(rate)
    # Round-off of sums over 80 counts.
    assert abs(found / multiple - 0.2) < 1e-13


@pytest.mark.slow
def test_divergences_agree_with_half_the_squared_line_element_to_their_orders():
    steps = jnp.array([0.1, 0.05, 0.025])
    direction = jnp.array([0.6, 0.8])
    starts, ends = START[None] - 0.5 * jnp.outer(steps, direction), START[None] + 0.5 * jnp.outer(steps, direction)
    squares = jax.vmap(fl.families.Normal().distance)(starts, ends) ** 2
    for divergence, factor, order in (
        (fl.kl_divergence, 1.0, 3),
        (fl.jeffreys_divergence, 0.5, 4),
        (fl.alpha_divergence, 1.0, 4),
    ):
        options = (jnp.zeros(3),) if order == 4 and factor == 1.0 else ()
        found = estimates(divergence, NORMAL, starts, ends, *options).value
        errors = np.log2(np.abs(factor * found - 0.5 * squares))
        np.testing.assert_allclose(errors[:-1] - errors[1:], order, atol=0.15)


@functools.cache
def sampled(n, **options):
    def draw(key, theta, n):
        return theta[0] + theta[1] * jax.random.normal(key, (n,), theta.dtype)

    return fl.StatisticalModel(NORMAL.log_likelihood, fl.MonteCarlo(draw, n, jax.random.key(0), **options))


def test_sampled_divergences_lie_within_their_errors():
    start, end = START, jnp.array([0.3, 1.2])
    model = sampled(20_000)
    estimate = jax.tree_util.tree_map(jnp.squeeze, estimates(fl.kl_divergence, model, start[None], end[None]))
    closed = float(kl_of_normals(start, end))
    assert 0.0 < estimate.standard_error < 0.05 * closed
    assert abs(estimate.value - closed) < 4.0 * estimate.standard_error


@pytest.mark.slow
def test_derivatives_of_sampled_divergences_lie_within_their_errors():
    start, end, n = START, jnp.array([0.3, 1.2]), 20_000
    model = sampled(n)
    slopes = jax.jit(jax.grad(lambda s, e: fl.kl_divergence(model, s, e), (0, 1)))(start, end)
    exact = jax.jit(jax.grad(lambda s, e: fl.kl_divergence(NORMAL, s, e), (0, 1)))(start, end)
    # Four standard errors of means of variables whose deviation is of order one.
    assert max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(slopes, exact, strict=True)) < 4.0 * 2.0 / n**0.5


@pytest.mark.slow
def test_the_two_directions_of_one_sample_have_errors_that_add():
    pairs = START[None], START[None] + 1e-5
    both, one = (estimates(f, sampled(20_000), *pairs) for f in (fl.jeffreys_divergence, fl.kl_divergence))
    # Near the diagonal both directions are half the same sum, to the order of the step.
    np.testing.assert_allclose(both.standard_error, 2.0 * one.standard_error, rtol=1e-3)


def test_a_sample_keeps_the_relative_accuracy_of_near_pairs():
    end = START + 1e-5
    estimate = jax.tree_util.tree_map(jnp.squeeze, estimates(fl.kl_divergence, sampled(20_000), START[None], end[None]))
    closed = float(kl_of_normals(START, end))
    # The deviation of a squared score is about three times its mean.
    assert estimate.standard_error < 4.0 / 20_000**0.5 * closed
    assert abs(estimate.value - closed) < 4.0 * estimate.standard_error


def test_outcomes_that_carry_the_parameters_give_the_same_derivatives():
    noise = jnp.sqrt(2.0) * jax.scipy.special.erfinv((2.0 * jnp.arange(2000.0) + 1.0) / 2000 - 1.0)
    rule = fl.Reparametrised(lambda theta, noise: theta[0] + theta[1] * noise, noise)
    model = fl.StatisticalModel(NORMAL.log_likelihood, rule)
    end = jnp.array([0.1, 1.05])
    found = jax.jit(jax.value_and_grad(lambda s: fl.kl_divergence(model, s, end)))(START)
    # d/da of log(b / a) + (a^2 + m^2) / (2 b^2).
    # The stratified noise lacks 1e-3 of its second moment, 1e-2 of its fourth and more of the higher ones.
    np.testing.assert_allclose(found[1], [-0.1 / 1.1025, 1 / 1.1025 - 1.0], rtol=0.02)
    assert abs(found[0] / float(kl_of_normals(START, end)) - 1.0) < 1e-2


@pytest.mark.slow
def test_divergences_of_independent_experiments_add():
    both = fl.ProductModel(POISSON, fl.families.Exponential().model)
    # Poisson: (sqrt 2 - sqrt 3)^2 / 2; exponential: -log of twice the root of the product over the sum.
    closed = 0.5 * (np.sqrt(2.0) - np.sqrt(3.0)) ** 2 - np.log(2.0 * np.sqrt(6.0) / 5.0)
    rates = jnp.array([2.0]), jnp.array([3.0])
    assert abs(estimates(fl.bhattacharyya_distance, both, *rates).value[0] - closed) < 1e-12


@pytest.mark.slow
def test_divergences_of_the_inputs_of_a_regression_add():
    line = fl.ConditionalModel(lambda t, x: jnp.exp(t[0] + t[1] * x), POISSON, jnp.array([-1.0, 0.0, 2.0]))
    start, end = jnp.array([0.2, 0.1]), jnp.array([0.4, 0.3])
    rates = [jnp.exp(theta[0] + theta[1] * line.inputs) for theta in (start, end)]
    closed = jnp.sum(rates[0] * jnp.log(rates[0] / rates[1]) - rates[0] + rates[1])
    estimate = estimates(fl.kl_divergence, line, start[None], end[None])
    assert abs(estimate.value[0] / closed - 1.0) < 1e-12
    assert estimate.route == "expectation over ExactSum, over inputs"


@pytest.mark.slow
def test_disjoint_supports_are_infinitely_far_apart():
    outcomes = jnp.arange(4.0)

    def log_likelihood(theta, x):
        return jnp.where(jnp.abs(x - theta) < 1.0, -jnp.log(2.0), -jnp.inf)

    model = fl.StatisticalModel(log_likelihood, fl.ExactSum(outcomes))
    pairs = jnp.array([0.5, 0.5]), jnp.array([2.5, 1.5])
    assert bool(jnp.all(estimates(fl.kl_divergence, model, *pairs).value == jnp.inf))
    assert estimates(fl.hellinger_distance, model, *pairs).value[0] == 1.0
    found = estimates(fl.jensen_shannon_divergence, model, *pairs).value
    np.testing.assert_allclose(found, [np.log(2.0), 0.5 * np.log(2.0)], atol=1e-15)


def test_single_precision_is_kept():
    start, ends = START.astype(jnp.float32), jnp.array([[0.5, 1.3], [1e-3, 1.0]], jnp.float32)
    found = estimates(fl.alpha_divergence, NORMAL, jnp.stack([start, start]), ends, jnp.array([-0.9, 0.0], jnp.float32))
    closed = [float(alpha_of_normals(start, end, alpha)) for end, alpha in zip(ends, (-0.9, 0.0), strict=True)]
    assert found.value.dtype == jnp.float32
    # 200 sums of terms known to 6e-8.
    np.testing.assert_allclose(found.value, closed, rtol=1e-5)


@pytest.mark.slow
def test_alpha_divergences_are_smooth_in_alpha_where_they_turn_into_kl():
    end, step = jnp.array([0.5, 1.3]), 1e-5
    found = jax.jit(jax.value_and_grad(lambda alpha: fl.alpha_divergence(NORMAL, START, end, alpha)))
    for alpha in (-1.0, 1.0):
        central = (found(alpha + step)[0] - found(alpha - step)[0]) / (2 * step)
        # The square of the step, and round-off over it.
        assert abs(found(alpha)[1] - central) < 1e-9


@pytest.mark.slow
@settings(max_examples=15)
@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(-2.0, 2.0))
def test_alpha_divergences_are_dual_positive_and_renyi_grows_with_its_order(p, q, alpha):
    there, back, low, high = _coin(p, q, alpha)
    assert there >= 0.0
    # Round-off of terms of order one.
    np.testing.assert_allclose(there, back, rtol=1e-9, atol=1e-15)
    assert low <= high + 1e-12


@jax.jit
def _coin(p, q, alpha):
    coin = fl.families.Bernoulli().model
    order = 0.5 * jnp.abs(alpha)
    pairs = jnp.stack([p, q]), jnp.stack([q, p]), jnp.stack([alpha, -alpha])
    orders = jnp.stack([order, order + 0.5])
    dual = jax.vmap(lambda p, q, alpha: fl.alpha_divergence(coin, p, q, alpha))(*pairs)
    growing = jax.vmap(lambda order: fl.renyi_divergence(coin, p, q, order))(orders)
    return *dual, *growing


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="observed data"):
        fl.kl_divergence(fl.StatisticalModel(NORMAL.log_likelihood, fl.Empirical(jnp.ones(3))), START, START)
    with pytest.raises(TypeError, match="takes no expectations"):
        fl.kl_divergence(fl.GaussianModel(lambda theta: theta, 1.0), START, START)
    with pytest.raises(TypeError, match="does not add"):
        fl.jensen_shannon_divergence(fl.ProductModel(NORMAL, NORMAL), START, START)
    with pytest.raises(ValueError, match="one of the functions"):
        fl.divergence_estimate(fl.fisher_information, NORMAL, START)
    with pytest.raises(ValueError, match="theta1"):
        fl.kl_divergence(NORMAL, START, 1.0)
    outside = estimates(fl.kl_divergence, NORMAL, START[None], jnp.array([[0.0, -1.0]]))
    assert bool(jnp.all(outside.result == fl.RESULTS.nonfinite))
    short = fl.families.Poisson(3).model
    assert jnp.isnan(jax.jit(lambda rate: fl.kl_divergence(short, rate, 2.0))(4.0))


def test_a_symmetric_density_that_is_not_resolved_is_reported():
    """Nodes that mirror each other about the centre of the integrand do not hide that they are too few."""
    found = estimates(
        fl.kl_divergence, fl.families.StudentTLocationScale(3.0).model, START[None], jnp.array([[0.0, 0.01]])
    )
    assert bool(jnp.all(found.result == fl.RESULTS.unresolved_divergence))
