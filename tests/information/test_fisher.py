"""The Fisher matrix through the generic route: closed forms, certificates, derivatives, failures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

# Compiled once for each model: eager calls of many small operations are slow.
information = eqx.filter_jit(fl.fisher_information)
quadratic = eqx.filter_jit(fl.fisher_quadratic)
estimate = eqx.filter_jit(fl.fisher_estimate)
NORMAL = fl.families.Normal().model
CLOSED = [
    (fl.families.Normal(), jnp.array([[0.3, 0.7], [100.0, 0.1]])),
    (fl.families.Bernoulli(), jnp.array([[0.2]])),
    (fl.families.Categorical(4), jnp.array([[0.1, 0.2, 0.3]])),
    (fl.families.Poisson(), jnp.array([[7.5]])),
    (fl.families.Exponential(), jnp.array([[3.0]])),
    (fl.families.Gamma(), jnp.array([[0.5, 2.0], [50.0, 0.1]])),
    (fl.families.Beta(), jnp.array([[0.7, 3.0], [50.0, 50.0]])),
]


def normal_sampler(key, theta, n):
    return theta[0] + theta[1] * jax.random.normal(key, (n,), theta.dtype)


def monte_carlo(n, reference=None, seed=0):
    rule = fl.MonteCarlo(normal_sampler, n, jax.random.key(seed), reference)
    return fl.StatisticalModel(fl.families.Normal().log_likelihood, rule)


def reparametrised(n, seed=0):
    noise = jax.random.normal(jax.random.key(seed), (n,))
    rule = fl.Reparametrised(lambda theta, z: theta[0] + theta[1] * z, noise)
    return fl.StatisticalModel(fl.families.Normal().log_likelihood, rule)


def relative_error(matrix, closed):
    scale = np.sqrt(np.diag(closed))
    return np.max(np.abs(matrix - closed) / np.outer(scale, scale))


@pytest.mark.parametrize(("family", "points"), CLOSED)
def test_hessian_form_of_each_family_meets_its_closed_form(family, points):
    found = jax.jit(jax.vmap(lambda theta: fl.fisher_estimate(family.model, theta, "hessian")))(points)
    for value, theta in zip(found.value, points, strict=True):
        assert relative_error(value, family.fisher(theta)) < 1e-10
    assert jnp.all(found.standard_error == 0.0)
    assert jnp.all(jnp.abs(found.certificate.mass - 1.0) < 1e-12)


def test_beta_singular_at_both_ends_keeps_all_digits():
    family = fl.families.Beta()
    thetas = jnp.array([[0.1, 0.1], [0.1, 0.9], [0.9, 0.1], [0.3, 0.7], [0.7, 0.3], [0.5, 0.5], [0.2, 200.0]])
    generic, closed = jax.jit(jax.vmap(lambda t: (fl.fisher_information(family.model, t), family.fisher(t))))(thetas)
    for ours, expected in zip(generic, closed, strict=True):
        # Round-off of log-densities of order 100, and the demand: 1e-9.
        assert relative_error(ours, expected) < 1e-11


@settings(max_examples=15)
@given(st.floats(-5.0, 5.0), st.floats(-3.0, 3.0), st.floats(-2.0, 2.0), st.floats(-2.0, 2.0))
def test_quadratic_form_is_the_matrix_applied(mean, log_deviation, v0, v1):
    theta, v = jnp.array([mean, np.exp(log_deviation)]), jnp.array([v0, v1])
    expected = v @ fl.families.Normal().fisher(theta) @ v
    # Round-off: a sum of 200 positive terms.
    assert abs(quadratic(NORMAL, theta, v) - expected) <= 1e-11 * expected


def test_derivatives_of_the_fisher_matrix_are_exact_to_third_order():
    def third(function):
        return jax.jit(jax.jacfwd(jax.jacfwd(jax.jacfwd(function))))

    def normal(deviation):
        return fl.fisher_information(NORMAL, jnp.stack([0.3, deviation]))[1, 1]

    def gamma(step):
        # Shape 0.5: the nodes next to 0 are where derivatives of log-densities overflow.
        theta = jnp.stack([0.5 + step, 2.0 - step])
        return fl.fisher_information(fl.families.Gamma().model, theta)[1, 1]

    # Each derivative multiplies the integrand by another polynomial of degree 2 in z.
    assert abs(third(normal)(0.7) * 0.7**5 / -48.0 - 1.0) < 1e-9
    exact = third(lambda step: (0.5 + step) / (2.0 - step) ** 2)(0.0)
    assert abs(third(gamma)(0.0) / exact - 1.0) < 1e-9


def test_quadratic_form_differentiates_twice_in_point_and_velocity():
    def ours(z):
        return quadratic(NORMAL, z[:2], z[2:])

    def closed(z):
        return (z[2] ** 2 + 2.0 * z[3] ** 2) / z[1] ** 2

    z = jnp.array([0.3, 0.7, 1.0, -2.0])
    assert jnp.max(jnp.abs(jax.jit(jax.hessian(ours))(z) - jax.hessian(closed)(z))) < 1e-8


@pytest.mark.parametrize("form", ["score", "hessian"])
@pytest.mark.parametrize("n", [1_000, 9_001])
def test_monte_carlo_is_within_four_standard_errors(form, n):
    theta = jnp.array([0.3, 0.7])
    found = estimate(monte_carlo(n), theta, form)
    closed = fl.families.Normal().fisher(theta)
    # Round-off in place of sampling error: the Hessian form of the mean has no variance.
    slack = 4.0 * found.standard_error + 1e-12 * closed[0, 0]
    assert jnp.all(jnp.abs(found.value - closed) <= slack)
    assert abs(found.certificate.effective_sample_size / n - 1.0) < 1e-12
    # The score of a normal has variance I: the reported error is that of its mean.
    expected = jnp.sqrt(jnp.diag(closed) / n)
    assert jnp.all(jnp.abs(found.certificate.score_error / expected - 1.0) < 0.2)


def test_standard_error_of_monte_carlo_is_the_spread_between_samples():
    theta = jnp.array([0.0, 1.0])

    def draw(key):
        rule = fl.MonteCarlo(normal_sampler, 400, key)
        model = fl.StatisticalModel(fl.families.Normal().log_likelihood, rule)
        return estimate(model, theta, throw=False)

    estimates = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 500))
    ratio = jnp.std(estimates.value, axis=0) / jnp.mean(estimates.standard_error, axis=0)
    # The spread of 500 spreads: 1/sqrt(2 * 500) = 3 %, times four, and the tails of squares of squares.
    assert jnp.all(jnp.abs(ratio - 1.0) < 0.2)


def test_derivative_of_a_monte_carlo_matrix_is_unbiased():
    deviation = 1.3
    theta = jnp.array([0.0, deviation])

    def derivative(key):
        rule = fl.MonteCarlo(normal_sampler, 2_000, key)
        model = fl.StatisticalModel(fl.families.Normal().log_likelihood, rule)
        return jax.grad(lambda theta: information(model, theta)[1, 1])(theta)[1]

    draws = jax.jit(jax.vmap(derivative))(jax.random.split(jax.random.key(2), 100))
    error = jnp.std(draws) / jnp.sqrt(100.0)
    truth = -4.0 / deviation**3
    assert abs(jnp.mean(draws) - truth) < 4.0 * error
    # Frozen samples would give three times the truth: the test can tell.
    assert abs(3.0 * truth - truth) > 20.0 * error


@pytest.mark.parametrize("kind", ["reparametrised", "reference"])
def test_smooth_samples_give_the_derivative_of_their_own_values(kind):
    theta, n = jnp.array([0.1, 1.1]), 9_001
    model = reparametrised(n) if kind == "reparametrised" else monte_carlo(n, jnp.array([0.0, 1.0]))
    assert model.smooth
    entry = jax.jit(jax.value_and_grad(lambda theta: information(model, theta)[1, 1]))
    gradient = entry(theta)[1]
    step = 1e-5
    for i, unit in enumerate(jnp.eye(2)):
        difference = (entry(theta + step * unit)[0] - entry(theta - step * unit)[0]) / (2.0 * step)
        # Central differences: step^2 truncation, eps / step round-off.
        assert abs(gradient[i] - difference) < 1e-7
    # Monte Carlo: the variance of s^2 is 10 / sigma^4, that of its derivative a few times larger.
    assert abs(gradient[1] + 4.0 / 1.1**3) < 4.0 * 30.0 / np.sqrt(n)


def test_plain_monte_carlo_is_not_smooth_and_every_other_rule_is():
    assert not monte_carlo(10).smooth
    assert NORMAL.smooth
    assert reparametrised(10).smooth
    empirical = fl.StatisticalModel(fl.families.Normal().log_likelihood, fl.Empirical(jnp.ones(3)))
    assert empirical.smooth


def test_blocks_do_not_change_the_sum():
    data = jax.random.normal(jax.random.key(3), (9_001,))
    theta = jnp.array([0.2, 0.9])
    log_likelihood = fl.families.Normal().log_likelihood
    empirical = fl.StatisticalModel(log_likelihood, fl.Empirical(data))
    assert empirical.expectation.blocks == 2

    @jax.jit
    def in_blocks(theta):
        gram = fl.empirical_fisher(log_likelihood, theta, data)
        observed = fl.observed_information(log_likelihood, theta, data)
        joint = empirical.joint_log_likelihood(theta, data)
        return gram, fl.fisher_information(empirical, theta) * data.size, observed, joint

    @jax.jit
    def at_once(theta):
        scores = jax.vmap(jax.grad(log_likelihood), (None, 0))(theta, data)
        observed = -jax.hessian(lambda t: jax.vmap(log_likelihood, (None, 0))(t, data).sum())(theta)
        joint = jax.vmap(log_likelihood, (None, 0))(theta, data).sum()
        return scores.T @ scores, scores.T @ scores, observed, joint

    for ours, expected in zip(in_blocks(theta), at_once(theta), strict=True):
        # Round-off: 9,001 terms in another order.
        assert jnp.max(jnp.abs(ours - expected)) < 1e-11 * jnp.max(jnp.abs(expected))


def test_joint_information_is_that_of_one_times_their_number():
    joint = eqx.filter_jit(NORMAL.joint_information)(jnp.array([0.0, 2.0]), jnp.zeros(25))
    assert jnp.max(jnp.abs(joint - 25.0 * jnp.diag(jnp.array([0.25, 0.5])))) < 1e-11
    # The sample mean attains the bound.
    assert abs(fl.cramer_rao_bound(joint, nuisance=[1])[0, 0] - 4.0 / 25.0) < 1e-12


def test_large_finite_support_is_summed_in_blocks():
    support = jnp.arange(20_000)
    model = fl.StatisticalModel(fl.families.Poisson().log_likelihood, fl.ExactSum(support))
    assert model.expectation.blocks == 3
    assert abs(information(model, jnp.array([9_000.0]))[0, 0] * 9_000.0 - 1.0) < 1e-10


def test_score_and_parameters_keep_the_structure_of_the_caller():
    def log_likelihood(theta, x):
        return fl.families.Normal().log_likelihood(jnp.stack([theta["mean"], theta["scale"]]), x)

    rule = fl.Quadrature(-np.inf, np.inf, location=lambda t: t["mean"], scale=lambda t: t["scale"])
    model = fl.StatisticalModel(log_likelihood, rule)
    theta = {"mean": 0.0, "scale": 2.0}
    score = fl.score(model, theta, 3.0)
    assert score["mean"] == 0.75
    assert score["scale"] == 9.0 / 8.0 - 0.5
    assert jnp.max(jnp.abs(information(model, theta) - jnp.diag(jnp.array([0.25, 0.5])))) < 1e-12
    assert abs(quadratic(model, theta, {"mean": 1.0, "scale": 1.0}) - 0.75) < 1e-12
    with pytest.raises(ValueError, match="structure"):
        quadratic(model, theta, jnp.ones(2))


def test_atoms_and_density_are_integrated_together():
    def log_likelihood(theta, x):
        # A normal of mean theta, scale 1, recorded as 0 where it is negative.
        continuous = fl.families.Normal().log_likelihood(jnp.stack([theta[0], jnp.ones(())]), x)
        return jnp.where(x == 0.0, jax.scipy.stats.norm.logcdf(-theta[0]), continuous)

    theta = jnp.array([0.4])
    rule = fl.Quadrature(0.0, np.inf, scale=1.0, atoms=[0.0])
    ours = information(fl.StatisticalModel(log_likelihood, rule), theta)[0, 0]
    z, density, tail = -0.4, jax.scipy.stats.norm.pdf(-0.4), jax.scipy.stats.norm.cdf(-0.4)
    closed = (1.0 - tail) + z * density + density**2 / tail
    assert abs(ours / closed - 1.0) < 1e-10


def test_heavy_tails_and_both_half_lines_are_resolved():
    def cauchy(theta, x):
        return -jnp.log(jnp.pi * theta[1] * (1.0 + ((x - theta[0]) / theta[1]) ** 2))

    def mirrored(theta, x):
        return fl.families.Exponential().log_likelihood(theta, 5.0 - x)

    theta = jnp.array([1.0, 2.0])
    rule = fl.Quadrature(-np.inf, np.inf, location=lambda t: t[0], scale=lambda t: t[1])
    matrix = information(fl.StatisticalModel(cauchy, rule), theta)
    assert jnp.max(jnp.abs(matrix - jnp.eye(2) / 8.0)) < 1e-12
    rule = fl.Quadrature(-np.inf, 5.0, scale=0.5)
    assert abs(information(fl.StatisticalModel(mirrored, rule), 2.0)[0, 0] - 0.25) < 1e-12


def even_in_scale(theta, x):
    return jax.scipy.stats.norm.logpdf(x, theta[0], theta[1])


def laplace(theta, x):
    """A kink at the location, which a smooth rule cannot resolve."""
    return -jnp.abs(x - theta[0]) / theta[1] - jnp.log(2.0 * theta[1])


def test_bad_expectations_are_reported_and_give_nan():
    normal = fl.families.Normal().log_likelihood
    coarse = fl.StatisticalModel(normal, fl.Quadrature(-np.inf, np.inf, location=100.0, scale=0.01))
    cases = [
        (coarse, jnp.array([0.0, 1.0]), fl.RESULTS.poor_quadrature),
        (fl.families.Poisson(5).model, jnp.array([7.0]), fl.RESULTS.poor_quadrature),
        (NORMAL, jnp.array([0.0, -1.0]), fl.RESULTS.nonfinite),
        (NORMAL, jnp.array([jnp.nan, 1.0]), fl.RESULTS.nonfinite),
        (fl.StatisticalModel(even_in_scale, NORMAL.expectation), jnp.array([0.0, -1.0]), fl.RESULTS.nonfinite),
        (fl.StatisticalModel(laplace, NORMAL.expectation), jnp.array([0.0, 1.0]), fl.RESULTS.poor_quadrature),
        (monte_carlo(5_000, jnp.array([0.0, 1.0])), jnp.array([6.0, 1.0]), fl.RESULTS.poor_sample),
        (fl.StatisticalModel(normal, biased_rule(5_000)), jnp.array([0.0, 1.0]), fl.RESULTS.biased_sample),
    ]
    for model, theta, expected in cases:
        found = estimate(model, theta, throw=False)
        assert found.result == expected
        assert jnp.all(jnp.isnan(found.checked_value))
    for model, theta, _ in [cases[0], cases[2], cases[4]]:
        assert jnp.all(jnp.isnan(information(model, theta)))
        assert jnp.isnan(quadratic(model, theta, jnp.ones_like(theta)))
    with pytest.raises(eqx.EquinoxRuntimeError, match="weights of the expectation rule"):
        estimate(*cases[0][:2])


def biased_rule(n):
    return fl.MonteCarlo(lambda key, theta, n: 0.5 + normal_sampler(key, theta, n), n, jax.random.key(0))


def test_empirical_data_away_from_the_maximum_are_no_failure():
    data = 3.0 + jax.random.normal(jax.random.key(4), (500,))
    model = fl.StatisticalModel(fl.families.Normal().log_likelihood, fl.Empirical(data))
    assert estimate(model, jnp.array([0.0, 1.0])).succeeded


def test_rules_refuse_wrong_shapes_and_options():
    with pytest.raises(ValueError, match="axis 0"):
        fl.ExactSum({"a": jnp.ones(3), "b": jnp.ones(4)})
    with pytest.raises(ValueError, match="axis 0"):
        fl.Empirical(1.0)
    with pytest.raises(ValueError, match="lower"):
        fl.Quadrature(1.0, 0.0)
    with pytest.raises(ValueError, match="nodes"):
        fl.Quadrature(0.0, 1.0, nodes=2)
    with pytest.raises(ValueError, match="n must be"):
        fl.MonteCarlo(normal_sampler, 0, jax.random.key(0))
    with pytest.raises(TypeError, match="rule"):
        fl.StatisticalModel(fl.families.Normal().log_likelihood, jnp.ones(3))


@pytest.mark.parametrize(
    ("message", "log_likelihood", "rule"),
    [
        ("ONE observation", lambda theta, x: theta * 1.0, fl.ExactSum(jnp.arange(2))),
        ("location", None, fl.Quadrature(-np.inf, np.inf, location=lambda theta: theta)),
        ("drew 4", None, fl.MonteCarlo(lambda k, t, n: jnp.ones(n + 1), 3, jax.random.key(0))),
        ("reference", None, fl.MonteCarlo(normal_sampler, 3, jax.random.key(0), reference=jnp.ones(3))),
    ],
)
def test_models_refuse_what_does_not_fit_while_tracing(message, log_likelihood, rule):
    model = fl.StatisticalModel(log_likelihood or fl.families.Normal().log_likelihood, rule)
    with pytest.raises(ValueError, match=message):
        information(model, jnp.array([0.0, 1.0]))


def test_form_is_score_or_hessian():
    with pytest.raises(ValueError, match="form"):
        information(NORMAL, jnp.array([0.0, 1.0]), "other")


def test_users_write_rules_of_their_own():
    class Fair(eqx.Module):
        blocks = 1

        def outcomes(self, log_likelihood, theta, block=0):
            x = jnp.arange(2)
            return x, jnp.exp(jax.vmap(log_likelihood, (None, 0))(theta, x))

    model = fl.StatisticalModel(fl.families.Bernoulli().log_likelihood, Fair())
    assert abs(estimate(model, 0.2).value[0, 0] - 6.25) < 1e-12
    assert model.smooth


class FromTheta:
    """A rule of the user's own: Gauss-Laguerre nodes on the half-line that begins at theta."""

    blocks = 1

    def outcomes(self, log_likelihood, theta, block=0):
        nodes, weights = (jnp.asarray(array) for array in np.polynomial.laguerre.laggauss(20))
        x = jax.lax.stop_gradient(theta) + nodes
        return x, weights * jnp.exp(nodes) * jnp.exp(jax.vmap(log_likelihood, (None, 0))(theta, x))


def test_support_that_depends_on_theta_is_reported():
    shifted = fl.StatisticalModel(lambda theta, x: -(x - theta), FromTheta())
    found = fl.fisher_estimate(shifted, jnp.array(0.7), throw=False)
    np.testing.assert_allclose(found.certificate.mass, 1.0, rtol=1e-12)
    assert found.result == fl.RESULTS.biased_sample
    assert jnp.isnan(fl.fisher_information(shifted, jnp.array(0.7)))[0, 0]
    assert jnp.isnan(fl.fisher_quadratic(shifted, jnp.array(0.7), jnp.array(1.0)))


def test_rule_too_coarse_for_the_scores_is_reported():
    # the weights sum to one within 3e-9, but the information is wrong by 1e-6
    model = fl.StatisticalModel(fl.families.Normal().log_likelihood, fl.Quadrature(-np.inf, np.inf))
    found = estimate(model, jnp.array([5.0, 1.0]), throw=False)
    assert abs(float(found.certificate.mass) - 1) < 1e-8
    assert found.result == fl.RESULTS.biased_sample
