"""Regression: information is pulled back along the prediction."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import fimlag as fl

# Compiled once for each model: eager calls of many small operations are slow.
information = eqx.filter_jit(fl.fisher_information)
quadratic = eqx.filter_jit(fl.fisher_quadratic)
estimate = eqx.filter_jit(fl.fisher_estimate)
NORMAL = fl.families.Normal()
INPUTS = jnp.linspace(-1.0, 2.0, 7)


def curve(theta, x):
    return theta[0] * jnp.exp(-theta[1] * x)


def with_unknown_scale(theta, x):
    return jnp.stack([curve(theta, x), jnp.exp(theta[2])])


def test_information_of_a_regression_is_the_sandwich_written_by_hand():
    theta = jnp.array([1.5, 0.4, -0.7])
    model = fl.ConditionalModel(with_unknown_scale, NORMAL.model, INPUTS)
    jacobian = jax.vmap(jax.jacfwd(with_unknown_scale), (None, 0))(theta, INPUTS)
    variance = jnp.exp(2.0 * theta[2])
    expected = jnp.einsum("nki,k,nkj->ij", jacobian, jnp.array([1.0, 2.0]) / variance, jacobian)
    for form in ("score", "hessian"):
        assert jnp.max(jnp.abs(information(model, theta, form) - expected)) < 1e-10 * expected[2, 2]
    v = jnp.array([0.3, -1.0, 0.5])
    assert abs(quadratic(model, theta, v) / (v @ expected @ v) - 1.0) < 1e-11
    assert estimate(model, theta).succeeded
    responses = jnp.zeros(INPUTS.size)
    assert (
        jnp.max(jnp.abs(eqx.filter_jit(model.joint_information)(theta, responses) - expected)) < 1e-10 * expected[2, 2]
    )


def test_joint_likelihood_is_the_sum_over_responses():
    theta = jnp.array([1.5, 0.4, -0.7])
    model = fl.ConditionalModel(with_unknown_scale, NORMAL.model, INPUTS)
    y = jnp.sin(INPUTS)

    def joint(theta):
        return jax.scipy.stats.norm.logpdf(y, jax.vmap(curve, (None, 0))(theta, INPUTS), jnp.exp(theta[2])).sum()

    # Round-off of a sum of 7 terms.
    ours = eqx.filter_jit(model.joint_log_likelihood)
    assert abs(ours(theta, y) - joint(theta)) < 1e-12 * abs(joint(theta))
    score = eqx.filter_jit(fl.score)
    assert jnp.max(jnp.abs(score(model, theta, y) - jax.grad(joint)(theta))) < 1e-12


def test_logistic_regression_meets_its_closed_form_in_blocks_of_inputs():
    inputs = jax.random.normal(jax.random.key(0), (600, 5))
    theta = jnp.array([0.5, -1.0, 0.2, 0.0, 1.0])
    model = fl.ConditionalModel(lambda theta, x: jax.nn.sigmoid(x @ theta), fl.families.Bernoulli().model, inputs)
    p = jax.nn.sigmoid(inputs @ theta)
    expected = inputs.T @ ((p * (1.0 - p))[:, None] * inputs)
    assert jnp.max(jnp.abs(information(model, theta) / expected - 1.0)) < 1e-9
    assert abs(quadratic(model, theta, theta) / (theta @ expected @ theta) - 1.0) < 1e-11


def test_parameters_and_predictions_may_be_pytrees():
    def log_likelihood(eta, x):
        return NORMAL.log_likelihood(jnp.stack([eta["mean"], eta["scale"]]), x)

    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda e: e["mean"], scale=lambda e: e["scale"])
    noise = fl.StatisticalModel(log_likelihood, rule)

    def predict(theta, x):
        return {"mean": theta["slope"] * x["time"], "scale": theta["scale"]}

    model = fl.ConditionalModel(predict, noise, {"time": jnp.array([1.0, 2.0])})
    matrix = information(model, {"scale": 0.5, "slope": 3.0})
    assert jnp.max(jnp.abs(matrix - jnp.diag(jnp.array([16.0, 20.0])))) < 1e-10


def test_derivative_of_a_regression_is_that_of_the_closed_form():
    model = fl.ConditionalModel(with_unknown_scale, NORMAL.model, INPUTS)

    def closed(theta):
        slope = jax.vmap(jax.grad(curve), (None, 0))(theta[:2], INPUTS)
        return jnp.exp(-2.0 * theta[2]) * slope.T @ slope

    theta = jnp.array([1.5, 0.4, -0.7])
    ours = jax.jit(jax.jacfwd(lambda theta: information(model, theta)[:2, :2]))(theta)
    expected = jax.jacfwd(closed)(theta)
    assert jnp.max(jnp.abs(ours - expected)) < 1e-10 * jnp.max(jnp.abs(expected))


def test_one_bad_input_spoils_the_result():
    model = fl.ConditionalModel(
        lambda theta, x: jnp.stack([theta[0], theta[1] * x]), NORMAL.model, jnp.array([1.0, -1.0, 2.0])
    )
    theta = jnp.array([0.0, 1.0])
    assert estimate(model, theta, throw=False).result == fl.RESULTS.nonfinite
    assert jnp.isnan(quadratic(model, theta, theta))
    truncated = fl.ConditionalModel(lambda theta, x: theta * x, fl.families.Poisson(20).model, INPUTS[3:] * 20.0)
    assert estimate(truncated, 1.0, throw=False).result == fl.RESULTS.poor_quadrature


def test_monte_carlo_noise_reports_an_upper_bound_of_its_error():
    def sampler(key, theta, n):
        return theta[0] + theta[1] * jax.random.normal(key, (n,))

    noise = fl.StatisticalModel(NORMAL.log_likelihood, fl.MonteCarlo(sampler, 2_000, jax.random.key(1)))
    model = fl.ConditionalModel(with_unknown_scale, noise, INPUTS)
    theta = jnp.array([1.5, 0.4, -0.7])
    assert not model.smooth
    found = estimate(model, theta)
    exact = information(fl.ConditionalModel(with_unknown_scale, NORMAL.model, INPUTS), theta)
    assert jnp.all(jnp.abs(found.value - exact) <= 4.0 * found.standard_error)


def test_wrong_noise_and_wrong_responses_raise():
    with pytest.raises(TypeError, match="family or a StatisticalModel"):
        fl.ConditionalModel(curve, NORMAL.log_likelihood, INPUTS)
    model = fl.ConditionalModel(with_unknown_scale, NORMAL.model, INPUTS)
    with pytest.raises(ValueError, match="responses"):
        model.log_likelihood(jnp.ones(3), jnp.ones(4))
