"""The sandwich covariance: closed forms of misspecified models, White's HC0, clusters, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

RANDOM = np.random.default_rng(0)
NORMAL = fl.families.Normal().log_likelihood
SKEWED = jnp.asarray(RANDOM.gamma(2.0, size=500))
ESTIMATE = jnp.stack([jnp.mean(SKEWED), jnp.std(SKEWED)])
DESIGN = RANDOM.normal(size=(60, 3))
RESPONSE = DESIGN @ np.array([1.0, -2.0, 0.5]) + RANDOM.normal(size=60) * (1.0 + DESIGN[:, 0] ** 2)
LEAST_SQUARES = jnp.asarray(np.linalg.lstsq(DESIGN, RESPONSE, rcond=None)[0])
REGRESSION_DATA = (jnp.asarray(DESIGN), jnp.asarray(RESPONSE))


# Compiled: eager calls of many small operations are slow.
sandwich_covariance = eqx.filter_jit(fl.sandwich_covariance)
godambe_information = eqx.filter_jit(fl.godambe_information)


def regression(theta, x):
    return -0.5 * (x[1] - x[0] @ theta) ** 2


def test_a_normal_fitted_to_skewed_data_has_the_covariance_of_its_moments():
    centred = np.asarray(SKEWED) - float(ESTIMATE[0])
    second, third, fourth = (np.mean(centred**k) for k in (2, 3, 4))
    cross = third / (2 * second**0.5)
    # The mean and the standard deviation of a sample, by the delta method.
    closed = np.array([[second, cross], [cross, (fourth - second**2) / (4 * second)]]) / 500
    found = sandwich_covariance(NORMAL, ESTIMATE, SKEWED)
    assert np.max(np.abs(found / closed - 1.0)) < 1e-12  # round-off of 500 terms
    assert jnp.all(found == found.T)
    godambe = godambe_information(NORMAL, ESTIMATE, SKEWED)
    assert np.max(np.abs(godambe @ closed - np.eye(2))) < 1e-11


def test_overdispersed_counts_scale_the_poisson_variance():
    counts = jnp.asarray(RANDOM.negative_binomial(2, 0.25, size=200).astype(float))
    log_likelihood = fl.families.Poisson().log_likelihood
    found = sandwich_covariance(log_likelihood, jnp.mean(counts), counts)
    assert abs(found[0, 0] / (jnp.var(counts) / 200) - 1.0) < 1e-12


def test_linear_regression_meets_hc0():
    residuals = RESPONSE - DESIGN @ np.asarray(LEAST_SQUARES)
    bread = np.linalg.inv(DESIGN.T @ DESIGN)
    closed = bread @ (DESIGN.T * residuals**2) @ DESIGN @ bread
    found = sandwich_covariance(regression, LEAST_SQUARES, REGRESSION_DATA)
    assert np.max(np.abs(found - closed)) < 1e-13 * np.max(closed)


@pytest.mark.slow
def test_a_model_that_is_right_has_the_inverse_information():
    # Frequencies exactly as the model says stand for its expectation.
    theta = jnp.array([0.25, 0.35])
    data = jnp.repeat(jnp.arange(3), jnp.array([25, 35, 40]), total_repeat_length=100)
    model = fl.families.Categorical(3).model
    information = 100 * fl.fisher_information(model, theta)
    sandwich = fl.sandwich_covariance(model.log_likelihood, theta, data)
    godambe = fl.godambe_information(model.log_likelihood, theta, data)
    assert jnp.max(jnp.abs(sandwich @ information - jnp.eye(2))) < 1e-12
    assert jnp.max(jnp.abs(godambe / information - 1.0)) < 1e-12


def test_clusters_add_scores_before_they_are_squared():
    labels = RANDOM.integers(0, 7, size=60)
    scores = DESIGN * (RESPONSE - DESIGN @ np.asarray(LEAST_SQUARES))[:, None]
    sums = np.stack([scores[labels == label].sum(axis=0) for label in np.unique(labels)])
    bread = np.linalg.inv(DESIGN.T @ DESIGN)
    closed = bread @ sums.T @ sums @ bread
    names = np.array(["a", "b", "c", "d", "e", "f", "g"])[labels]
    spellings = (labels, 10 * labels - 3, names, jnp.asarray(labels))

    @jax.jit
    def everything(theta, data):
        covariances = [fl.sandwich_covariance(regression, theta, data, clusters) for clusters in spellings]
        return covariances, fl.godambe_information(regression, theta, data, labels)

    covariances, information = everything(LEAST_SQUARES, REGRESSION_DATA)
    for found in covariances:
        assert np.max(np.abs(found - closed)) < 1e-13 * np.max(closed)
    assert np.max(np.abs(information @ closed - np.eye(3))) < 1e-11


def test_each_its_own_cluster_is_no_cluster_and_copies_add_nothing():
    @jax.jit
    def clustered(data, many):
        own = fl.sandwich_covariance(NORMAL, ESTIMATE, data, np.arange(500))
        return own, fl.sandwich_covariance(NORMAL, ESTIMATE, many, np.tile(np.arange(500), 40))

    alone = sandwich_covariance(NORMAL, ESTIMATE, SKEWED)
    own, copies = clustered(SKEWED, jnp.tile(SKEWED, 40))
    assert jnp.max(jnp.abs(own / alone - 1.0)) < 1e-12
    # Forty copies, in three blocks of memory: 20,000 observations know as much as 500.
    assert jnp.max(jnp.abs(copies / alone - 1.0)) < 1e-11
    trusting = sandwich_covariance(NORMAL, ESTIMATE, jnp.tile(SKEWED, 40))
    assert jnp.max(jnp.abs(40 * trusting / alone - 1.0)) < 1e-11


def test_traced_labels_need_their_number_and_stay_in_range():
    labels = jnp.arange(60) % 5
    expected = fl.sandwich_covariance(regression, LEAST_SQUARES, REGRESSION_DATA, labels)

    @jax.jit
    def traced(labels):
        return fl.sandwich_covariance(regression, LEAST_SQUARES, REGRESSION_DATA, labels, cluster_count=5)

    assert jnp.max(jnp.abs(traced(labels) - expected)) < 1e-13 * jnp.max(expected)
    assert jnp.all(jnp.isnan(traced(labels + 1)))
    assert jnp.all(jnp.isnan(traced(labels - 1)))
    with pytest.raises(ValueError, match="cluster_count"):
        jax.jit(lambda c: fl.sandwich_covariance(regression, LEAST_SQUARES, REGRESSION_DATA, c))(labels)
    with pytest.raises(ValueError, match="integers"):
        jax.jit(lambda c: fl.sandwich_covariance(regression, LEAST_SQUARES, REGRESSION_DATA, c, 5))(
            labels.astype(float)
        )


@pytest.mark.parametrize("clusters", [np.arange(59), np.zeros(60), np.zeros((60, 1))])
def test_labels_that_do_not_fit_raise(clusters):
    with pytest.raises(ValueError, match=r"clusters|cluster"):
        fl.sandwich_covariance(regression, LEAST_SQUARES, REGRESSION_DATA, clusters)


def test_matrices_that_cannot_be_inverted_give_nan():
    wide = (jnp.asarray(DESIGN[:2]), jnp.asarray(RESPONSE[:2]))
    assert jnp.all(jnp.isnan(sandwich_covariance(regression, LEAST_SQUARES, wide)))
    # Far from the maximum the observed information of a Cauchy location is negative.
    far = sandwich_covariance(lambda t, x: -jnp.log1p((x - t) ** 2), 9.0, SKEWED)
    assert jnp.all(jnp.isnan(far))
    few = fl.godambe_information(regression, LEAST_SQUARES, REGRESSION_DATA, np.arange(60) % 2)
    assert jnp.all(jnp.isnan(few))


def test_parameters_may_be_a_pytree_and_single_precision_under_vmap():
    tree = {"mean": ESTIMATE[0].astype(jnp.float32), "spread": ESTIMATE[1].astype(jnp.float32)}
    samples = jnp.stack([SKEWED, SKEWED + 0.1]).astype(jnp.float32)

    def log_likelihood(theta, x):
        return NORMAL(jnp.stack([theta["mean"], theta["spread"]]), x)

    found = jax.jit(jax.vmap(lambda data: fl.sandwich_covariance(log_likelihood, tree, data)))(samples)
    assert found.dtype == jnp.float32
    expected = sandwich_covariance(NORMAL, ESTIMATE, SKEWED)
    assert jnp.max(jnp.abs(found[0].astype(float) / expected - 1.0)) < 1e-4  # single round-off of 500 terms


def test_derivative_with_respect_to_a_datum_is_that_of_the_closed_form():
    def variance_of_mean(data):
        theta = jnp.stack([jnp.mean(data), jnp.std(data)])
        return fl.sandwich_covariance(NORMAL, theta, data)[0, 0]

    gradient = jax.jit(jax.grad(variance_of_mean))(SKEWED)
    expected = 2 * (SKEWED - ESTIMATE[0]) / 500**2
    assert jnp.max(jnp.abs(gradient - expected)) < 1e-11 * jnp.max(jnp.abs(expected))
