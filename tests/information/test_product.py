"""Independent experiments on shared parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import fimlag as fl

NORMAL = fl.families.Normal()
INPUTS = jnp.linspace(-1.0, 2.0, 5)


def line(theta, x):
    return jnp.stack([theta[0] + x, theta[1]])


def test_information_adds_over_independent_experiments_of_any_kind():
    regression = fl.ConditionalModel(line, NORMAL, INPUTS)
    process = fl.GaussianModel(lambda theta: theta[0] * INPUTS, lambda theta: theta[1] ** 2)
    product = fl.ProductModel(NORMAL.model, regression, process)
    theta, v = jnp.array([0.3, 0.7]), jnp.array([1.0, -2.0])

    @jax.jit
    def everything(theta, v):
        parts = [fl.fisher_information(model, theta) for model in product.models]
        return parts, fl.fisher_estimate(product, theta), fl.fisher_quadratic(product, theta, v)

    parts, found, length = everything(theta, v)
    assert jnp.allclose(found.value, sum(parts), rtol=1e-12)
    assert found.route.count("+") == 2
    assert found.certificate.bartlett_gap.shape == (2,)
    assert jnp.allclose(length, v @ found.value @ v, rtol=1e-12)
    assert len(jax.eval_shape(product.information_roots, theta)) == 3
    assert jax.eval_shape(fl.FisherMetric(product), theta).shape == (2, 2)


def test_data_of_different_sizes_are_fitted_together():
    product = fl.ProductModel(NORMAL, fl.ConditionalModel(line, NORMAL, INPUTS))
    first, second = jnp.array([0.1, 0.5, -0.3]), INPUTS + jnp.array([0.2, -0.1, 0.4, 0.0, 0.1])
    fit = fl.maximum_likelihood(product, (first, second), jnp.array([0.0, 1.0]))
    pooled = jnp.concatenate([first, second - INPUTS])
    assert jnp.allclose(fit.theta, jnp.array([jnp.mean(pooled), jnp.std(pooled)]), rtol=1e-10)
    assert jnp.allclose(fit.information, 8 * NORMAL.fisher(fit.theta), rtol=1e-12)


def test_parts_that_came_with_one_key_draw_independently():
    def draw(key):
        rule = fl.MonteCarlo(lambda key, theta, n: theta[0] + theta[1] * jax.random.normal(key, (n,)), 300, key)
        model = fl.StatisticalModel(NORMAL.log_likelihood, rule)
        return fl.fisher_estimate(fl.ProductModel(model, model), jnp.array([0.0, 1.0]), audit=False, throw=False)

    found = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(5), 400))
    ratio = jnp.std(found.value[:, 0, 0]) / jnp.mean(found.standard_error[:, 0, 0])
    # Shared draws would give sqrt(2); the spread of 400 spreads is 3.5 %, times four.
    assert abs(ratio - 1.0) < 0.15


def test_a_failing_part_fails_the_whole_and_wrong_parts_raise():
    outside = fl.ProductModel(NORMAL, fl.StatisticalModel(NORMAL.log_likelihood, fl.Quadrature(-1.0, 1.0)))
    found = eqx.filter_jit(fl.fisher_estimate)(outside, jnp.array([0.0, 1.0]), throw=False)
    assert not found.succeeded
    assert "weights" in fl.RESULTS[found.result]
    with pytest.raises(TypeError, match="must be a model"):
        fl.ProductModel(NORMAL.log_likelihood)  # pyright: ignore
    with pytest.raises(ValueError, match="at least one"):
        fl.ProductModel()
    with pytest.raises(ValueError, match="tuple"):
        fl.ProductModel(NORMAL, NORMAL).log_likelihood(jnp.array([0.0, 1.0]), jnp.zeros(()))
