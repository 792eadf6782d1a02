"""Gaussian vectors: the pull-back through mean and covariance against naive traces, closed forms and samples."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import fimlag as fl

TIMES = jnp.linspace(0.0, 1.0, 12)
information = eqx.filter_jit(fl.fisher_information)
quadratic = eqx.filter_jit(fl.fisher_quadratic)
estimate = eqx.filter_jit(fl.fisher_estimate)


def mean(theta):
    return theta["a"] * jnp.exp(-theta["rate"] * TIMES)


def kernel(theta):
    distance = jnp.abs(TIMES[:, None] - TIMES[None, :]) / theta["rate"]
    return theta["a"] ** 2 * jnp.exp(-0.5 * distance**2) + 0.3 * jnp.eye(12)


def variances(theta):
    return 0.1 + theta["a"] * TIMES


THETA = {"a": jnp.asarray(1.5), "rate": jnp.asarray(0.4)}


def naive(mean, covariance, theta):
    """The formula as it stands in the textbook, every matrix formed and inverted."""
    leaves, tree = jax.tree_util.tree_flatten(theta)
    point = jnp.stack(leaves)

    def unflattened(function):
        return lambda vector: function(jax.tree_util.tree_unflatten(tree, list(vector)))

    m, S = unflattened(mean), unflattened(covariance)
    dm, dS = jax.jacfwd(m)(point), jax.jacfwd(S)(point)
    inverse = jnp.linalg.inv(S(point))
    whole = dm.T @ inverse @ dm
    return whole + 0.5 * jnp.einsum("ab,bci,cd,daj->ij", inverse, dS, inverse, dS)


def full(covariance):
    """A variance or variances as a matrix."""
    return lambda theta: jnp.diag(jnp.broadcast_to(covariance(theta), (12,)))


@pytest.mark.parametrize(
    ("covariance", "matrix"),
    [
        (kernel, kernel),
        (variances, full(variances)),
        (lambda theta: theta["rate"] ** 2, full(lambda theta: theta["rate"] ** 2)),
        (jnp.full(12, 0.2), full(lambda theta: jnp.full(12, 0.2))),
        (jnp.asarray(0.2), full(lambda theta: jnp.asarray(0.2))),
        (0.2 * jnp.eye(12) + 0.1, lambda theta: 0.2 * jnp.eye(12) + 0.1 + 0.0 * theta["a"]),
    ],
    ids=["matrix", "variances", "variance", "fixed variances", "fixed variance", "fixed matrix"],
)
def test_information_is_that_of_the_textbook_formula(covariance, matrix):
    model = fl.GaussianModel(mean, covariance)
    expected = jax.jit(lambda theta: naive(mean, matrix, theta))(THETA)
    # Round-off times the condition of the kernel, below 100.
    assert jnp.allclose(information(model, THETA), expected, rtol=1e-11, atol=0.0)
    v = {"a": 0.3, "rate": -1.2}
    along = jnp.array([0.3, -1.2])
    assert jnp.allclose(quadratic(model, THETA, v), along @ expected @ along, rtol=1e-11)
    assert estimate(model, THETA).route.startswith("pull-back through the mean")


def test_leaving_out_the_trace_would_be_seen():
    model, fixed = fl.GaussianModel(mean, kernel), fl.GaussianModel(mean, kernel(THETA))
    assert jnp.min(jnp.diagonal(information(model, THETA) / information(fixed, THETA))) > 1.5


def test_log_likelihood_is_that_of_scipy():
    y = jnp.sin(7.0 * TIMES)
    for covariance, matrix in ((kernel, kernel), (variances, full(variances))):
        ours = fl.GaussianModel(mean, covariance).log_likelihood(THETA, y)
        theirs = scipy.stats.multivariate_normal(np.asarray(mean(THETA)), np.asarray(matrix(THETA))).logpdf(y)
        assert abs(ours - theirs) < 1e-11 * abs(theirs)


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.9])
def test_autoregression_has_the_information_of_its_closed_form(phi):
    # Stationary AR(1) of n values, parameters (phi, sigma^2): Box, Jenkins & Reinsel (2015), section 7.
    n, variance = 40, 1.7
    lags = jnp.abs(jnp.arange(float(n))[:, None] - jnp.arange(float(n))[None, :])

    def covariance(theta):
        # phi ** 0 has derivative 0, also at phi = 0.
        powers = jnp.where(lags == 0, 1.0, theta[0] ** jnp.where(lags == 0, 1.0, lags))
        return theta[1] / (1.0 - theta[0] ** 2) * powers

    q = 1.0 - phi**2
    of_phi = 2.0 * phi**2 / q**2 + (n - 1) / q
    exact = np.array([[of_phi, phi / (variance * q)], [phi / (variance * q), n / (2.0 * variance**2)]])
    found = information(fl.GaussianModel(None, covariance), jnp.array([phi, variance]))
    assert np.allclose(found, exact, rtol=1e-10, atol=1e-12)


def autoregression(theta):
    lags = 11.0 * jnp.abs(TIMES[:, None] - TIMES[None, :])
    return theta["a"] / (1.0 - theta["rate"] ** 2) * theta["rate"] ** lags


@pytest.mark.slow
@pytest.mark.parametrize("covariance", [kernel, autoregression])
def test_generic_sample_of_a_vector_meets_the_pull_back_within_four_errors(covariance):
    model = fl.GaussianModel(mean, covariance)

    def sample(key, theta, n):
        noise = jax.random.normal(key, (n, 12))
        return mean(theta) + noise @ jnp.linalg.cholesky(covariance(theta)).T

    with jax.numpy_rank_promotion("allow"):
        generic = fl.StatisticalModel(model.log_likelihood, fl.MonteCarlo(sample, 10_000, jax.random.key(0)))
        found = eqx.filter_jit(fl.fisher_estimate)(generic, THETA)
    assert jnp.all(jnp.abs(found.value - information(model, THETA)) < 4.0 * found.standard_error)


@pytest.mark.slow
def test_information_is_the_hessian_of_relative_entropy():
    def entropy(vector):
        theta = {"a": vector[0], "rate": vector[1]}
        S0, S1 = kernel(THETA), kernel(theta)
        difference = mean(theta) - mean(THETA)
        trace = jnp.trace(jnp.linalg.solve(S1, S0)) + difference @ jnp.linalg.solve(S1, difference)
        return 0.5 * (trace - 12 + jnp.linalg.slogdet(S1)[1] - jnp.linalg.slogdet(S0)[1])

    hessian = jax.hessian(entropy)(jnp.stack([THETA["a"], THETA["rate"]]))
    assert jnp.allclose(information(fl.GaussianModel(mean, kernel), THETA), hessian, rtol=1e-10)


def test_a_normal_written_as_a_gaussian_model_has_the_curvature_of_the_normal_family():
    model = fl.GaussianModel(lambda theta: theta[:1], lambda theta: theta[1] ** 2)
    curvature = eqx.filter_jit(fl.scalar_curvature)(fl.FisherMetric(model), jnp.array([0.3, 0.7]))
    # Third derivatives through a Gram matrix: a few hundred roundings.
    assert abs(curvature + 1.0) < 1e-11


@pytest.mark.slow
def test_a_fit_of_a_gaussian_process_recovers_its_hyperparameters():
    times = jnp.arange(200.0)
    lags = jnp.abs(times[:, None] - times[None, :])

    def covariance(theta):
        return jnp.exp(theta[0]) * jnp.exp(-lags / jnp.exp(theta[1])) + 0.01 * jnp.eye(200)

    truth = jnp.array([0.3, 1.2])
    y = jnp.linalg.cholesky(covariance(truth)) @ jax.random.normal(jax.random.key(3), (200,))
    fit = fl.maximum_likelihood(fl.GaussianModel(None, covariance), y[None], jnp.zeros(2))
    assert jnp.all(jnp.abs(fit.theta - truth) < 4.0 * fit.standard_errors)


def test_what_does_not_fit_raises_and_an_indefinite_covariance_is_reported():
    with pytest.raises(ValueError, match="depends on theta"):
        fl.GaussianModel(jnp.zeros(3), jnp.eye(3))
    with pytest.raises(ValueError, match="y\\[None\\]"):
        fl.maximum_likelihood(fl.GaussianModel(mean, kernel), jnp.zeros(12), THETA)
    with pytest.raises(ValueError, match="square matrix"):
        fl.fisher_information(fl.GaussianModel(mean, jnp.zeros((3, 4))), THETA)
    with pytest.raises(ValueError, match="leave the length open"):
        fl.fisher_information(fl.GaussianModel(None, lambda theta: theta[0]), jnp.ones(1))
    indefinite = fl.GaussianModel(None, lambda theta: theta[0] * jnp.eye(3) - 1.0)
    assert jnp.all(jnp.isnan(fl.fisher_information(indefinite, jnp.array([2.0]))))
    with pytest.raises(eqx.EquinoxRuntimeError, match="NaN or infinity"):
        fl.fisher_estimate(fl.GaussianModel(mean, variances), {"a": -1.0, "rate": 1.0})


def test_a_covariance_lost_in_round_off_is_reported_and_one_that_is_not_keeps_its_digits():
    def information_of(length):
        kernel = jnp.exp(-0.5 * ((TIMES[:, None] - TIMES[None, :]) / length) ** 2)
        return information(fl.GaussianModel(None, lambda variance: variance * kernel), 1.0)[0, 0]

    # A variance alone has n / 2; the condition numbers are 1e7 and 3e15.
    assert abs(information_of(0.2) / 6.0 - 1.0) < 1e-8
    assert jnp.isnan(information_of(0.5))
