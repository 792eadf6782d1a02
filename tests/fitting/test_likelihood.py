"""Maximum likelihood against closed forms and published fits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import datasets

NORMAL = fl.families.Normal().model
DATA = jnp.array([1.0, 2.0, 6.0, 4.5, -0.3])


def michaelis_menten(theta, concentration):
    return jnp.stack([theta[0] * concentration / (theta[1] + concentration), theta[2]])


def puromycin_model():
    data = datasets.puromycin()
    return fl.ConditionalModel(michaelis_menten, NORMAL, jnp.asarray(data.inputs)), jnp.asarray(data.responses)


def test_normal_estimate_is_mean_and_root_mean_square():
    fit = fl.maximum_likelihood(NORMAL, DATA, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(fit.theta, [np.mean(DATA), np.std(DATA)], rtol=1e-12)
    errors = np.std(DATA) / np.sqrt(np.array([5.0, 10.0]))
    np.testing.assert_allclose(fit.standard_errors, errors, rtol=1e-10)
    np.testing.assert_allclose(fit.log_likelihood, np.sum(jax.scipy.stats.norm.logpdf(DATA, *fit.theta)), rtol=1e-12)
    assert float(fit.decrement) < 1e-10


def test_puromycin_fit_is_the_published_one():
    model, rates = puromycin_model()
    fit = fl.maximum_likelihood(model, rates, jnp.array([150.0, 0.1, 30.0]))
    # Bates & Watts (1988), and the example of R's nls: 212.7 (6.947), 0.06412 (0.00828), residual error 10.93 on 10
    # degrees of freedom; maximum likelihood divides by n instead
    np.testing.assert_allclose(fit.theta[:2], [212.68370, 0.06412123], rtol=1e-6)
    np.testing.assert_allclose(fit.theta[2] * np.sqrt(12 / 10), 10.93, atol=0.005)
    np.testing.assert_allclose(fit.standard_errors[:2] * np.sqrt(12 / 10), [6.947, 8.281e-3], rtol=2e-4)


def test_estimate_differentiates_implicitly_in_the_data():
    def estimate(data):
        return fl.maximum_likelihood(NORMAL, data, jnp.array([1.0, 2.0])).theta

    jacobian = jax.jit(jax.jacrev(estimate))(DATA)
    deviation = np.asarray(DATA) - np.mean(DATA)
    np.testing.assert_allclose(jacobian[0], np.full(5, 0.2), rtol=1e-9)
    np.testing.assert_allclose(jacobian[1], deviation / (5 * np.std(DATA)), rtol=1e-9)


def test_estimate_differentiates_in_what_the_likelihood_closes_over():
    def estimate(k):
        rule = fl.Quadrature(-jnp.inf, jnp.inf)
        model = fl.StatisticalModel(lambda th, x: jax.scipy.stats.norm.logpdf(x, k * th[0], 1.0), rule)
        return fl.maximum_likelihood(model, DATA, jnp.array([1.0])).theta[0]

    k = jnp.array(0.8)
    backward, forward, second = jax.jit(lambda k: [d(estimate)(k) for d in (jax.grad, jax.jacfwd, jax.hessian)])(k)
    np.testing.assert_allclose([backward, forward], -np.mean(DATA) / 0.8**2, rtol=1e-10)
    np.testing.assert_allclose(second, 2 * np.mean(DATA) / 0.8**3, rtol=1e-9)


def test_pytree_parameters_return_in_their_structure():
    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda th: th["mean"], scale=lambda th: jnp.exp(th["log_sd"]))

    def log_likelihood(theta, x):
        return jax.scipy.stats.norm.logpdf(x, theta["mean"], jnp.exp(theta["log_sd"]))

    fit = fl.maximum_likelihood(fl.StatisticalModel(log_likelihood, rule), DATA, {"mean": 0.0, "log_sd": 0.5})
    np.testing.assert_allclose(fit.theta["log_sd"], np.log(np.std(DATA)), rtol=1e-10)
    np.testing.assert_allclose(fit.standard_errors["log_sd"], 1 / np.sqrt(10), rtol=1e-9)


def test_unidentifiable_parameters_are_reported():
    rule = fl.Quadrature(-jnp.inf, jnp.inf)
    model = fl.StatisticalModel(lambda th, x: jax.scipy.stats.norm.logpdf(x, th[0] + th[1], 1.0), rule)
    fit = fl.maximum_likelihood(model, DATA, jnp.zeros(2), throw=False)
    assert fit.result == fl.RESULTS.singular_information


def test_stationary_point_that_is_no_maximum_is_reported():
    # halfway between two far observations a Cauchy likelihood has a minimum, where the score is zero
    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda th: th[0])
    model = fl.StatisticalModel(lambda th, x: jax.scipy.stats.cauchy.logpdf(x, th[0]), rule)
    fit = fl.maximum_likelihood(model, jnp.array([-5.0, 5.0]), jnp.zeros(1), throw=False)
    assert fit.result == fl.RESULTS.not_a_maximum


def test_data_that_are_not_finite_are_reported():
    fit = fl.maximum_likelihood(NORMAL, DATA.at[0].set(jnp.nan), jnp.array([0.0, 1.0]), throw=False)
    assert fit.result == fl.RESULTS.nonfinite
    with pytest.raises(RuntimeError, match="NaN or infinity"):
        fl.maximum_likelihood(NORMAL, DATA.at[0].set(jnp.nan), jnp.array([0.0, 1.0]))


def test_information_that_cannot_be_computed_is_told_from_bad_data():
    # of the nodes about 1e3 round-off leaves five digits of the scale 1e-8: their weights do not sum to one
    data = 1e3 + 1e-8 * DATA
    fit = fl.maximum_likelihood(NORMAL, data, jnp.array([np.mean(data), np.std(data)]), throw=False)
    assert fit.result == fl.RESULTS.unknown_information


def test_failing_member_of_a_batch_fails_alone():
    batch = jnp.stack([DATA, DATA.at[0].set(jnp.nan)])
    fit = jax.jit(jax.vmap(lambda data: fl.maximum_likelihood(NORMAL, data, jnp.array([0.0, 1.0]), throw=False)))
    fits = fit(batch)
    assert list(np.asarray(fits.succeeded)) == [True, False]
