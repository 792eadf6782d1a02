"""The Bayesian Cramér-Rao bound: equality, closed forms, sampling error, priors that do not vanish."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import fimlag as fl

# Compiled: eager calls of many small operations are slow.
van_trees_bound = eqx.filter_jit(fl.van_trees_bound)
LINE = fl.Quadrature(-jnp.inf, jnp.inf, location=1.0, scale=2.0)
UNIT = fl.Quadrature(0.0, 1.0)
ROOT = np.random.default_rng(0).normal(size=(2, 2))
PRIOR_COVARIANCE = jnp.asarray(ROOT @ ROOT.T + 0.5 * np.eye(2))
SAMPLE = jax.random.normal(jax.random.key(1), (20_000, 2), float) @ jnp.linalg.cholesky(PRIOR_COVARIANCE).T


def normal_log_prior(mean, deviation=2.0):
    return -0.5 * ((mean - 1.0) / deviation) ** 2 - jnp.log(deviation) - 0.5 * np.log(2 * np.pi)


def beta_log_prior(a, b):
    norm = scipy.special.betaln(a, b)
    return lambda p: (a - 1) * jnp.log(p) + (b - 1) * jnp.log1p(-p) - norm


def joint_log_prior(theta):
    """Not normalised."""
    return -0.5 * theta @ jnp.linalg.solve(PRIOR_COVARIANCE, theta)


def constant(matrix):
    return lambda theta: matrix


def bernoulli_information(n):
    return lambda p: n * fl.families.Bernoulli().fisher(p)


@pytest.mark.slow
def test_normal_mean_with_a_normal_prior_meets_the_posterior_variance():
    def information(mean):
        return 7 * fl.fisher_information(fl.families.Normal().model, jnp.stack([mean, 1.5]))[:1, :1]

    bound = van_trees_bound(information, normal_log_prior, LINE)
    assert abs(bound.value[0, 0] * (7 / 1.5**2 + 1 / 4.0) - 1.0) < 1e-12
    assert abs(bound.prior_information[0, 0] - 0.25) < 1e-13
    assert bound.standard_error[0, 0] == 0.0


@pytest.mark.parametrize(("a", "b"), [(3.0, 4.0), (2.6, 6.0), (20.0, 5.0)])
def test_bernoulli_with_a_beta_prior_is_below_the_risk_of_the_posterior_mean(a, b):
    n, total = 12, a + b
    bound = van_trees_bound(bernoulli_information(n), beta_log_prior(a, b), UNIT)

    def moment(i, j):
        return np.exp(scipy.special.betaln(a + i, b + j) - scipy.special.betaln(a, b))

    data = n * moment(-1, -1)
    prior = (a - 1) ** 2 * moment(-2, 0) - 2 * (a - 1) * (b - 1) * moment(-1, -1) + (b - 1) ** 2 * moment(0, -2)
    # Where p^a, the mass below p, is less than eps^1.5 it is left out, and with it p^(a - 2) of the information.
    tolerance = 10 * 1e-24 ** (1.0 - 2.0 / min(a, b)) + 1e-11
    assert abs(bound.information[0, 0] / data - 1.0) < tolerance
    assert abs(bound.prior_information[0, 0] / prior - 1.0) < tolerance
    risk = a * b / (total * (total + 1) * (total + n))
    assert 0.5 * risk < bound.value[0, 0] < risk


def test_a_sample_gives_the_bound_within_its_standard_error():
    def information(theta):
        return jnp.diag(jnp.stack([1.0 + theta[0] ** 2, jnp.exp(0.2 * theta[1])]))

    def of(sample):
        return fl.van_trees_bound(information, joint_log_prior, sample, throw=False)

    bound = jax.jit(of)(SAMPLE)
    assert bound.succeeded
    data = jnp.diag(jnp.stack([1.0 + PRIOR_COVARIANCE[0, 0], jnp.exp(0.02 * PRIOR_COVARIANCE[1, 1])]))
    closed = jnp.linalg.inv(data + jnp.linalg.inv(PRIOR_COVARIANCE))
    assert jnp.all(jnp.abs(bound.value - closed) < 4 * bound.standard_error)
    parts = jax.jit(jax.vmap(of))(SAMPLE.reshape(20, 1000, 2)).value
    spread = jnp.std(parts, axis=0) / np.sqrt(19)
    # A deviation of twenty values is known to 1 / sqrt(38).
    assert jnp.max(jnp.abs(bound.standard_error / spread - 1.0)) < 4 / np.sqrt(38)


def test_weighted_nodes_of_several_parameters_are_exact():
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    points = jnp.asarray(grid) @ jnp.linalg.cholesky(PRIOR_COVARIANCE).T
    probabilities = jnp.asarray(np.outer(weights, weights).ravel() / (2 * np.pi))

    def transform(theta):
        return {"square": theta[0] ** 2 + theta[1], "sum": theta[0] + theta[1]}

    tree = {"a": points[:, 0], "b": points[:, 1]}
    bound = van_trees_bound(
        lambda t: jnp.diag(jnp.stack([2.0 + t["b"] ** 2, 3.0 + 0.0 * t["a"]])),
        lambda t: joint_log_prior(jnp.stack([t["a"], t["b"]])),
        tree,
        probabilities,
        lambda t: transform(jnp.stack([t["a"], t["b"]])),
    )
    data = np.diag([2.0 + float(PRIOR_COVARIANCE[1, 1]), 3.0])
    # The mean of the derivative 2 theta_0 vanishes.
    jacobian = np.array([[0.0, 1.0], [1.0, 1.0]])
    closed = jacobian @ np.linalg.inv(data + np.linalg.inv(PRIOR_COVARIANCE)) @ jacobian.T
    assert np.max(np.abs(bound.value - closed)) < 1e-12


@pytest.mark.parametrize("end", [0.0, -1.0])
def test_a_uniform_prior_is_reported_from_a_rule_and_from_a_sample(end):
    def log_prior(theta):
        return 0.0 * theta - np.log(1.0 - end)

    sample = jax.random.uniform(jax.random.key(0), (500,), float, end, 1.0)
    for points in (fl.Quadrature(end, 1.0), sample):
        bound = van_trees_bound(constant(jnp.eye(1)), log_prior, points, throw=False)
        assert bool(bound.result == fl.RESULTS.irregular_prior)
    with pytest.raises(eqx.EquinoxRuntimeError, match="raised cosine"):
        fl.van_trees_bound(constant(jnp.eye(1)), log_prior, sample)


def test_a_prior_cut_off_at_an_end_is_reported():
    def half(theta):
        return -0.5 * theta**2 + 0.5 * np.log(2 / np.pi)

    bound = van_trees_bound(constant(jnp.eye(1)), half, fl.Quadrature(0.0, jnp.inf), throw=False)
    assert bool(bound.result == fl.RESULTS.irregular_prior)
    sample = jnp.abs(jax.random.normal(jax.random.key(0), (2000,), float))
    bound = van_trees_bound(constant(jnp.eye(1)), half, sample, throw=False)
    assert bool(bound.result == fl.RESULTS.irregular_prior)


def test_a_raised_cosine_is_accepted():
    def log_prior(theta):
        return 2.0 * jnp.log(jnp.cos(0.5 * np.pi * theta))

    bound = van_trees_bound(constant(jnp.eye(1)), log_prior, fl.Quadrature(-1.0, 1.0))
    # Its information is pi^2, the least that a prior on [-1, 1] can have. Near the ends cos is rounded.
    assert abs(bound.prior_information[0, 0] / np.pi**2 - 1.0) < 1e-6


def test_points_that_do_not_follow_the_prior_are_reported():
    bound = van_trees_bound(constant(jnp.eye(2)), joint_log_prior, 1.3 * SAMPLE, throw=False)
    assert bool(bound.result == fl.RESULTS.irregular_prior)


@pytest.mark.parametrize(
    ("information", "log_prior", "points", "result"),
    [
        (constant(jnp.eye(1)), lambda t: normal_log_prior(t) + 0.1, LINE, fl.RESULTS.poor_quadrature),
        # The information of this prior is infinite, by a logarithm.
        (constant(jnp.eye(1)), beta_log_prior(2.0, 2.0), UNIT, fl.RESULTS.poor_quadrature),
        (constant(jnp.eye(1)), beta_log_prior(1.5, 3.0), UNIT, fl.RESULTS.poor_quadrature),
        (constant(jnp.full((1, 1), jnp.nan)), normal_log_prior, LINE, fl.RESULTS.nonfinite),
        (constant(-jnp.eye(1)), normal_log_prior, LINE, fl.RESULTS.singular_information),
    ],
)
def test_what_goes_wrong_is_named(information, log_prior, points, result):
    found = van_trees_bound(information, log_prior, points, throw=False)
    assert bool(found.result == result)


def test_arguments_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="1 coordinates"):
        fl.van_trees_bound(constant(jnp.eye(2)), normal_log_prior, LINE)
    with pytest.raises(ValueError, match="weights must have shape"):
        fl.van_trees_bound(constant(jnp.eye(2)), joint_log_prior, SAMPLE, jnp.ones(3))
    with pytest.raises(ValueError, match="its own weights"):
        fl.van_trees_bound(constant(jnp.eye(1)), normal_log_prior, LINE, jnp.ones(3))


def test_derivative_with_respect_to_the_prior_is_that_of_the_closed_form():
    def bound(deviation):
        rule = fl.Quadrature(-jnp.inf, jnp.inf, location=1.0, scale=deviation)
        information, log_prior = (
            constant(3.0 * jnp.eye(1)),
            jax.tree_util.Partial(normal_log_prior, deviation=deviation),
        )
        return fl.van_trees_bound(information, log_prior, rule, throw=False).value[0, 0]

    deviations = jnp.array([0.5, 2.0])
    slopes = jax.jit(jax.vmap(jax.grad(bound)))(deviations)
    expected = jax.vmap(jax.grad(lambda s: 1.0 / (3.0 + 1.0 / s**2)))(deviations)
    assert jnp.max(jnp.abs(slopes - expected)) < 1e-11


def test_bound_keeps_single_precision():
    sample = SAMPLE[:1000].astype(jnp.float32)
    precision = jnp.linalg.inv(PRIOR_COVARIANCE).astype(jnp.float32)

    def log_prior(theta):
        return -0.5 * theta @ precision @ theta

    information = constant(jnp.eye(2, dtype=jnp.float32))
    bound = jax.jit(lambda sample: fl.van_trees_bound(information, log_prior, sample, throw=False))(sample)
    assert bound.value.dtype == bound.standard_error.dtype == jnp.float32
    assert bound.succeeded
    expected = van_trees_bound(constant(jnp.eye(2)), joint_log_prior, SAMPLE[:1000])
    # Single round-off of a thousand terms.
    assert np.max(np.abs(np.asarray(bound.value) - np.asarray(expected.value))) < 1e-4
