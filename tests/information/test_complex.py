"""Complex parameters: information in their real and imaginary parts."""

import jax
import jax.numpy as jnp
import numpy as np

import fimlag as fl

SPREAD = 0.5
MEAN = jnp.array([1.0 - 2.0j])
DATA = jnp.array([1.5 - 1.0j, 0.0 + 1.0j, 2.0 - 3.0j])


def log_likelihood(mean, z):
    """A complex normal of independent parts, each of deviation SPREAD."""
    residual = z - mean[0]
    squares = jnp.real(residual) ** 2 + jnp.imag(residual) ** 2
    return -0.5 * squares / SPREAD**2 - np.log(2 * np.pi * SPREAD**2)


def sample(key, mean, n):
    parts = SPREAD * jax.random.normal(key, (2, n))
    return mean[0] + jax.lax.complex(parts[0], parts[1])


MODEL = fl.StatisticalModel(log_likelihood, fl.MonteCarlo(sample, 20_000, jax.random.key(0)))


def test_information_of_a_complex_mean_is_that_of_its_two_parts():
    estimate = jax.jit(lambda mean: fl.fisher_estimate(MODEL, mean))(MEAN)
    # Four standard errors of a fixed sample.
    assert jnp.all(jnp.abs(estimate.value - jnp.eye(2) / SPREAD**2) < 4 * estimate.standard_error)
    observed = jax.jit(lambda mean, data: fl.observed_information(log_likelihood, mean, data))(MEAN, DATA)
    assert jnp.max(jnp.abs(observed - 3 * jnp.eye(2) / SPREAD**2)) < 1e-13


def test_score_of_a_complex_parameter_is_complex():
    score = fl.score(MODEL, MEAN, DATA[0])
    # The derivative in the real part plus i times that in the imaginary part.
    assert jnp.max(jnp.abs(score - (DATA[0] - MEAN) / SPREAD**2)) < 1e-14
    assert score.dtype == MEAN.dtype


def test_likelihood_of_a_complex_parameter_is_maximised_at_the_mean():
    fit = fl.maximum_likelihood(MODEL, DATA, MEAN)
    assert fit.theta.dtype == MEAN.dtype
    assert abs(fit.theta[0] - jnp.mean(DATA)) < 1e-12
    length = jax.jit(lambda mean, v: fl.fisher_quadratic(MODEL, mean, v))(MEAN, jnp.array([3.0 + 4.0j]))
    # The length squared is |v|^2 / sigma^2 = 100; sqrt(2 / n) is the relative error of a mean of squares.
    assert abs(length / 100.0 - 1.0) < 4 * np.sqrt(2 / 20_000)
