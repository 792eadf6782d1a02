"""Gibbs distributions against the partition functions of physics, and the identities of thermodynamics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

COST = jnp.array([0.3, -1.0, 2.0, 0.3])
PRIOR = jnp.array([0.4, 0.1, 0.3, 0.2])
TEMPERATURES = jnp.array([0.05, 0.7, 3.0, 50.0])


@jax.jit
def gibbs(temperature, cost=COST, base=PRIOR):
    return fl.gibbs_distribution(cost, temperature, base, throw=False)


def test_two_levels_have_the_schottky_heat_capacity():
    gap = 1.7

    def two_levels(temperature):
        return fl.gibbs_distribution(jnp.array([0.0, gap]), temperature, throw=False)

    levels = jax.vmap(two_levels)(TEMPERATURES)
    beta = 1 / np.asarray(TEMPERATURES)
    np.testing.assert_allclose(levels.expected_cost, gap / (np.exp(beta * gap) + 1), rtol=1e-13)
    schottky = (beta * gap) ** 2 / (4 * np.cosh(beta * gap / 2) ** 2)
    np.testing.assert_allclose(levels.heat_capacity, schottky, rtol=1e-12)


def test_oscillator_levels_have_plancks_energy():
    levels = jnp.arange(400.0) + 0.5
    solution = fl.gibbs_distribution(levels, 2.0)
    np.testing.assert_allclose(solution.free_energy, 2.0 * np.log(2 * np.sinh(0.25)), rtol=1e-12)
    np.testing.assert_allclose(solution.expected_cost, 0.5 / np.tanh(0.25), rtol=1e-12)


def test_derivatives_are_those_of_thermodynamics():
    solution = jax.vmap(gibbs)(TEMPERATURES)
    in_temperature = jax.vmap(jax.grad(lambda t: gibbs(t).free_energy))(TEMPERATURES)
    np.testing.assert_allclose(in_temperature, -solution.entropy, rtol=1e-11, atol=1e-14)
    in_cost = jax.vmap(jax.grad(lambda t, c: gibbs(t, c).free_energy, 1), (0, None))(TEMPERATURES, COST)
    np.testing.assert_allclose(in_cost, solution.probabilities, rtol=1e-12, atol=1e-15)
    capacity = jax.vmap(jax.grad(lambda t: gibbs(t).expected_cost))(TEMPERATURES)
    np.testing.assert_allclose(capacity, solution.heat_capacity, rtol=1e-10, atol=1e-14)


def test_variance_of_the_cost_is_the_fisher_information_of_inverse_temperature():
    def log_likelihood(beta, i):
        return -beta * COST[i] + jnp.log(PRIOR[i]) - jax.nn.logsumexp(-beta * COST + jnp.log(PRIOR))

    model = fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.arange(4)))
    information = fl.fisher_information(model, 1.0 / 0.7)
    np.testing.assert_allclose(gibbs(0.7).cost_variance, information[0, 0], rtol=1e-12)


def test_no_other_distribution_has_less_cost_and_divergence():
    others = np.random.default_rng(0).dirichlet(np.ones(4), 200)
    solution = gibbs(0.7)
    values = others @ COST + 0.7 * np.sum(others * np.log(others / np.asarray(PRIOR)), axis=1)
    # the excess is T KL(p || p*) exactly
    excess = 0.7 * np.sum(others * np.log(others / np.asarray(solution.probabilities)), axis=1)
    np.testing.assert_allclose(values - float(solution.free_energy), excess, atol=1e-13)
    own = solution.expected_cost - 0.7 * solution.entropy
    np.testing.assert_allclose(own, solution.free_energy, rtol=1e-14)


def test_gibbs_is_maximum_entropy_at_its_own_mean_cost():
    solution = gibbs(0.7)
    dual = fl.maximum_entropy(lambda i: COST[i], solution.expected_cost, jnp.arange(4), base=PRIOR)
    np.testing.assert_allclose(dual.multipliers, -1 / 0.7, rtol=1e-10)
    np.testing.assert_allclose(dual.probabilities, solution.probabilities, rtol=1e-10)


def test_limits_are_the_least_cost_and_the_base():
    cost = jnp.array([1.0, 1.0, 3.0, jnp.inf])
    cold = gibbs(0.0, cost)
    np.testing.assert_allclose(cold.probabilities, [0.8, 0.2, 0.0, 0.0], rtol=1e-15)
    assert float(cold.free_energy) == 1.0
    assert float(cold.heat_capacity) == 0.0
    np.testing.assert_allclose(jax.grad(lambda t: gibbs(t, cost).free_energy)(0.0), -cold.entropy, rtol=1e-14)
    nearly = gibbs(1e-3, cost)
    np.testing.assert_allclose(nearly.free_energy, 1.0 - 1e-3 * np.log(0.5), rtol=1e-14)
    hot = gibbs(jnp.inf)
    np.testing.assert_allclose(hot.probabilities, PRIOR, rtol=1e-15)
    np.testing.assert_allclose(hot.free_energy, PRIOR @ COST, rtol=1e-14)
    # F = mean - variance / (2 T) + ..., and no digit is lost in T log Z
    mean, variance = PRIOR @ COST, PRIOR @ COST**2 - (PRIOR @ COST) ** 2
    np.testing.assert_allclose(gibbs(1e5).free_energy, mean - variance / 2e5, atol=1e-9)
    assert float(fl.gibbs_distribution(COST, jnp.inf).free_energy) == -np.inf


def test_arguments_out_of_range_are_reported():
    assert gibbs(-1.0).result == fl.RESULTS.out_of_range
    assert gibbs(1.0, COST, -PRIOR).result == fl.RESULTS.nonfinite  # no outcome is left
    assert gibbs(1.0, COST, PRIOR - 0.2).result == fl.RESULTS.out_of_range
    assert gibbs(1.0, jnp.full(4, jnp.inf)).result == fl.RESULTS.nonfinite
    assert np.isnan(fl.free_energy(COST, -1.0))
    with pytest.raises(ValueError, match="one shape"):
        fl.gibbs_distribution(COST, 1.0, PRIOR[:3])
    single = fl.gibbs_distribution(COST.astype(jnp.float32), 0.7)
    assert single.free_energy.dtype == jnp.float32
