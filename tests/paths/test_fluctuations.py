"""Fluctuations about paths: determinants and covariances against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag.problems import LinearDrift

MATRIX, NOISE_MATRIX = jnp.array([[-1.0, 0.7], [-0.4, -2.0]]), jnp.array([[1.0, 0.2], [0.2, 0.5]])
NOISE, DURATION = 0.3, 1.5
START, END = jnp.array([1.0, -0.5]), jnp.array([0.2, 0.8])


def oscillator(t, q, v):
    return 0.5 * jnp.sum(v**2) - 0.5 * jnp.sum(q**2)


def test_determinant_of_the_oscillator_is_sine_over_phase():
    durations = jnp.array([0.5, 2.0, 3.0, 4.0, 7.0])
    determinant = jax.vmap(lambda t1: fl.fluctuation_determinant(oscillator, lambda t: jnp.zeros(1), t1=t1))
    np.testing.assert_allclose(determinant(durations), jnp.sin(durations) / durations, rtol=1e-9)
    plane = fl.fluctuation_determinant(oscillator, lambda t: jnp.zeros(2), t1=4.0)
    np.testing.assert_allclose(plane, (np.sin(4.0) / 4.0) ** 2, rtol=1e-9)


def test_determinant_of_a_mass_that_changes_is_relative_to_motion_with_that_mass():
    determinant = fl.fluctuation_determinant(lambda t, q, v: 0.5 * jnp.exp(t) * jnp.sum(v**2), lambda t: jnp.ones(2))
    np.testing.assert_allclose(determinant, 1.0, rtol=1e-11)


def test_determinant_differentiates_in_what_the_lagrangian_holds():
    def determinant(frequency):
        return fl.fluctuation_determinant(
            lambda t, q, v: 0.5 * jnp.sum(v**2) - 0.5 * frequency**2 * jnp.sum(q**2), lambda t: jnp.zeros(1), elements=8
        )

    exact = np.cos(1.3) / 1.3 - np.sin(1.3) / 1.3**2
    np.testing.assert_allclose(jax.grad(determinant)(1.3), exact, rtol=1e-9)


def test_laplaces_formula_is_the_density_of_an_ornstein_uhlenbeck_process():
    process = LinearDrift(MATRIX, NOISE_MATRIX)
    lagrangian = fl.OnsagerMachlup(process, NOISE_MATRIX, NOISE)
    solution = fl.least_action_path(lagrangian, START, END, t1=DURATION, elements=4)
    determinant = fl.fluctuation_determinant(lagrangian, solution.path)
    free = (2 * jnp.pi * NOISE * DURATION) ** -1 / jnp.sqrt(jnp.linalg.det(NOISE_MATRIX))
    density = free * jnp.exp(-solution.action / NOISE) / jnp.sqrt(determinant)
    mean, covariance = process.transition(START, DURATION)
    exact = jax.scipy.stats.multivariate_normal.pdf(END, mean, NOISE * covariance)
    np.testing.assert_allclose(density, exact, rtol=1e-9)


def test_uncertainty_of_a_bridge_is_its_covariance():
    process = LinearDrift(MATRIX, NOISE_MATRIX)
    lagrangian = fl.FreidlinWentzell(process, NOISE_MATRIX)
    path = fl.Path.from_nodes(jnp.stack([START, END]), 0.0, DURATION)  # a linear drift: any path has the same
    spread = jax.jit(lambda: fl.path_uncertainty(lagrangian, path, NOISE, elements=5, throw=False))()
    assert spread.succeeded

    def bridge(t):
        before, after = process.transition(START, t)[1], process.transition(START, DURATION - t)[1]
        flow = jax.scipy.linalg.expm(MATRIX * (DURATION - t))
        gain = before @ flow.T @ jnp.linalg.inv(flow @ before @ flow.T + after)
        return NOISE * (before - gain @ flow @ before)

    exact = jax.vmap(bridge)(spread.times)
    np.testing.assert_allclose(spread.covariance, exact, atol=1e-11)


def test_past_a_conjugate_point_there_is_no_covariance():
    spread = jax.vmap(
        lambda t1: fl.path_uncertainty(oscillator, lambda t: jnp.zeros(1), 0.1, t1=t1, elements=8, throw=False)
    )(jnp.array([1.0, 4.0]))
    assert list(np.asarray(spread.succeeded)) == [True, False]
    with pytest.raises(RuntimeError, match="conjugate point"):
        fl.path_uncertainty(oscillator, lambda t: jnp.zeros(1), 0.1, t1=4.0, elements=8)


def test_girsanov_weights_of_onsager_machlup_reproduce_moments():
    """Paths of pure noise, weighted by the ratio of likelihoods, have the law of the process with drift."""
    process = LinearDrift(MATRIX, NOISE_MATRIX)
    steps, paths = 64, 20_000
    increments = jax.random.normal(jax.random.key(5), (paths, steps, 2)) * jnp.sqrt(NOISE * 0.5 / steps)
    noise = jnp.cumsum(increments @ jnp.linalg.cholesky(NOISE_MATRIX).T, axis=1)
    nodes = START[None, None] + jnp.pad(noise, ((0, 0), (1, 0), (0, 0)))

    def log_weight(nodes):
        arguments = NOISE_MATRIX, NOISE, nodes, 0.0, 0.5
        return fl.path_log_likelihood(process, *arguments) - fl.path_log_likelihood(lambda q: 0.0 * q, *arguments)

    weights = jnp.exp(jax.jit(jax.vmap(log_weight))(nodes))
    mean, covariance = process.transition(START, 0.5)
    end = nodes[:, -1]
    centred = end - mean[None]
    for function, exact in (
        (jnp.ones(paths), 1.0),
        (end[:, 0], mean[0]),
        (end[:, 1], mean[1]),
        (centred[:, 0] * centred[:, 1], NOISE * covariance[0, 1]),
        (centred[:, 1] ** 2, NOISE * covariance[1, 1]),
    ):
        samples = weights * function
        error = jnp.std(samples) / jnp.sqrt(paths)
        assert abs(float(jnp.mean(samples) - exact)) < 4 * float(error)  # four standard errors
        assert float(error) < 0.03
