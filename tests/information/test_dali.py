"""DALI: expansions of a Gaussian likelihood, exact where the mean is a polynomial of their order."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import fimlag as fl
from fimlag.information import _dali

NORMAL = fl.families.Normal()
INPUTS = jnp.linspace(-1.0, 2.0, 9)
THETA = jnp.array([0.7, -0.4])
STEPS = jnp.array([[0.3, 0.2], [-1.0, 0.5], [2.0, -3.0]])
SIGMA = 0.3
tensors_of = eqx.filter_jit(lambda model, theta, order=2: fl.dali_tensors(model, theta, order, throw=False))


def regression(mean, sigma=SIGMA):
    return fl.ConditionalModel(lambda theta, x: jnp.stack([mean(theta, x), jnp.asarray(sigma)]), NORMAL, INPUTS)


def line(theta, x):
    return theta[0] + theta[1] * x


def parabola(theta, x):
    return theta[0] * theta[1] * x + theta[0] ** 2 - 0.5 * theta[1] ** 2 * x**2 + theta[1]


def cubic(theta, x):
    return parabola(theta, x) + theta[0] ** 3 * x - theta[0] ** 2 * theta[1] * x**2


def log_ratio(mean, step):
    residual = jax.vmap(lambda x: mean(THETA + step, x) - mean(THETA, x))(INPUTS) / SIGMA
    return -0.5 * jnp.sum(residual**2)


@pytest.mark.parametrize(("mean", "order"), [(line, 2), (parabola, 2), (cubic, 3)])
def test_the_expansion_is_exact_for_polynomials_of_its_order(mean, order):
    tensors = tensors_of(regression(mean), THETA, order)
    assert tensors.succeeded
    for step in STEPS:
        expected = log_ratio(mean, step)
        # Round-off of up to six terms of alternating sign.
        assert abs(tensors.log_likelihood(step) - expected) < 1e-11 * (1.0 + abs(expected))


def test_the_doublet_misses_a_cubic_at_fourth_order():
    tensors = tensors_of(regression(cubic), THETA, 2)
    gaps = [abs(tensors.log_likelihood(h * STEPS[0]) - log_ratio(cubic, h * STEPS[0])) for h in (1e-2, 5e-3)]
    # What is left out begins with mu_a M mu_bcd / 6: halving the step divides it by 16, up to O(h).
    assert abs(jnp.log2(gaps[0] / gaps[1]) - 4.0) < 0.05


def test_fisher_flexion_and_quarxion_are_contractions_of_the_derivatives_of_the_mean():
    tensors = tensors_of(regression(cubic), THETA, 3)

    @jax.jit
    @jax.vmap
    def derivatives(x):
        return jax.jacrev(cubic)(THETA, x), jax.hessian(cubic)(THETA, x), jax.jacrev(jax.hessian(cubic))(THETA, x)

    first, second, third = (derivative / SIGMA for derivative in derivatives(INPUTS))
    expected = {
        "fisher": jnp.einsum("na,nb->ab", first, first),
        "flexion": jnp.einsum("nab,nc->abc", second, first),
        "quarxion": jnp.einsum("nab,ncd->abcd", second, second),
        "first_third": jnp.einsum("na,nbcd->abcd", first, third),
        "second_third": jnp.einsum("nab,ncde->abcde", second, third),
        "third_third": jnp.einsum("nabc,ndef->abcdef", third, third),
    }
    for name, value in expected.items():
        assert jnp.max(jnp.abs(getattr(tensors, name) - value)) < 1e-12 * jnp.max(jnp.abs(value)), name


def test_correlated_data_and_products_of_experiments_are_expanded(monkeypatch):
    covariance = jnp.exp(-jnp.abs(INPUTS[:, None] - INPUTS[None, :])) + 0.1 * jnp.eye(9)

    def mean(theta):
        return jax.vmap(parabola, (None, 0))(theta, INPUTS)

    both = fl.ProductModel(fl.GaussianModel(mean, covariance), regression(line))
    monkeypatch.setattr(_dali, "PARCEL", 100)
    tensors = jax.jit(lambda: fl.dali_tensors(both, THETA, throw=False))()
    for step in STEPS:
        residual = mean(THETA + step) - mean(THETA)
        expected = -0.5 * residual @ jnp.linalg.solve(covariance, residual) + log_ratio(line, step)
        # The condition number of the covariance is about 40.
        assert abs(tensors.log_likelihood(step) - expected) < 1e-11 * (1.0 + abs(expected))


def test_theta_may_be_a_pytree_and_everything_differentiates():
    model = fl.ConditionalModel(
        lambda theta, x: jnp.stack([parabola(jnp.stack([theta["a"], theta["b"]]), x), SIGMA]), NORMAL, INPUTS
    )

    def value(theta, step):
        return fl.dali_tensors(model, theta, throw=False).log_likelihood(step)

    theta, step = {"a": THETA[0], "b": THETA[1]}, {"a": jnp.array(0.3), "b": jnp.array(0.2)}
    found = jax.jit(jax.grad(value, argnums=(0, 1)))(theta, step)

    def exact(theta, step):
        residual = jax.vmap(lambda x: parabola(theta + step, x) - parabola(theta, x))(INPUTS) / SIGMA
        return -0.5 * jnp.sum(residual**2)

    expected = jax.grad(exact, argnums=(0, 1))(THETA, jnp.array([0.3, 0.2]))
    for ours, truth in zip(found, expected, strict=True):
        assert jnp.max(jnp.abs(jnp.stack([ours["a"], ours["b"]]) - truth)) < 1e-11 * jnp.max(jnp.abs(truth))


def test_single_precision_stays_single():
    model = fl.ConditionalModel(
        lambda theta, x: jnp.stack([parabola(theta, x), jnp.asarray(SIGMA, x.dtype)]),
        NORMAL,
        INPUTS.astype(jnp.float32),
    )
    tensors = tensors_of(model, THETA.astype(jnp.float32))
    value = tensors.log_likelihood(STEPS[0].astype(jnp.float32))
    assert value.dtype == tensors.quarxion.dtype == jnp.float32
    # Round-off of a dozen terms of size 40.
    assert abs(float(value) - float(log_ratio(parabola, STEPS[0]))) < 1e-4


def test_only_gaussian_means_of_known_covariance_are_expanded():
    moving = fl.ConditionalModel(lambda theta, x: jnp.stack([line(theta, x), jnp.exp(theta[1])]), NORMAL, INPUTS)
    found = tensors_of(moving, THETA)
    assert found.result == fl.RESULTS.varying_covariance
    assert jnp.isnan(found.log_likelihood(STEPS[0]))
    for model in (
        NORMAL,
        fl.ConditionalModel(line, fl.families.Poisson(), INPUTS),
        fl.GaussianModel(None, lambda theta: jnp.exp(theta)),
    ):
        with pytest.raises(TypeError, match="known covariance"):
            fl.dali_tensors(model, THETA)
    with pytest.raises(ValueError, match="order"):
        fl.dali_tensors(regression(line), THETA, 4)
    with pytest.raises(ValueError, match="GiB"):
        fl.dali_tensors(regression(lambda theta, x: x * jnp.sum(theta)), jnp.ones(200), 3)
    with pytest.raises(Exception, match="finite"):
        fl.dali_tensors(regression(lambda theta, x: jnp.sqrt(-(theta[0] ** 2)) * x), THETA)
