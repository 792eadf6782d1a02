"""jit, eager, vmap and loop agree; memory stays bounded; every route lowers for other devices."""

import jax
import jax.numpy as jnp
import pytest

import fimlag as fl

FAMILY = fl.families.Normal()
THETAS = jnp.array([[0.0, 1.0], [0.3, 0.7], [-2.0, 3.0]])
DATA = jnp.array([0.1, -0.4, 2.0, 0.9])
LINE = fl.ConditionalModel(
    lambda theta, x: jnp.stack([theta[0] * x, theta[1]]), FAMILY.model, jnp.array([1.0, 2.0, 3.0])
)
SAMPLED = fl.StatisticalModel(
    FAMILY.log_likelihood,
    fl.MonteCarlo(lambda key, t, n: t[0] + t[1] * jax.random.normal(key, (n,), t.dtype), 9_000, jax.random.key(0)),
)
FUNCTIONS = {
    "score": lambda theta: fl.score(FAMILY.model, theta, 0.5),
    "information": lambda theta: fl.fisher_information(FAMILY.model, theta),
    "hessian form": lambda theta: fl.fisher_information(FAMILY.model, theta, "hessian"),
    "estimate": lambda theta: fl.fisher_estimate(SAMPLED, theta, throw=False).standard_error,
    "quadratic": lambda theta: fl.fisher_quadratic(FAMILY.model, theta, theta),
    "observed": lambda theta: fl.observed_information(FAMILY.log_likelihood, theta, DATA),
    "empirical": lambda theta: fl.empirical_fisher(FAMILY.log_likelihood, theta, DATA),
    "bound": lambda theta: fl.cramer_rao_bound(FAMILY.fisher(theta), nuisance=[1]),
    "conditional": lambda theta: fl.fisher_information(LINE, theta),
    "conditional quadratic": lambda theta: fl.fisher_quadratic(LINE, theta, theta),
    "conditional likelihood": lambda theta: LINE.log_likelihood(theta, DATA[:3]),
    "distance": lambda theta: FAMILY.distance(theta, THETAS[1]),
}

GAUSSIAN = fl.GaussianModel(lambda theta: theta[0] * DATA, lambda theta: theta[1] ** 2)
LOWERED = {
    "audit": lambda theta: fl.fisher_estimate(FAMILY.model, theta, throw=False).certificate.bartlett_gap,
    "tolerance": lambda theta: fl.fisher_estimate(SAMPLED, theta, rtol=0.1, audit=False, throw=False).value,
    "derived": lambda theta: fl.derived_estimate(SAMPLED, theta, jnp.linalg.inv, throw=False).standard_error,
    "gaussian": lambda theta: fl.fisher_information(GAUSSIAN, theta),
    "product": lambda theta: fl.fisher_information(fl.ProductModel(GAUSSIAN, FAMILY), theta),
    "operator": lambda theta: fl.fisher_operator(LINE, theta, throw=False).mv(theta),
    "diagonal": lambda theta: fl.fisher_diagonal(LINE, theta),
    "damped solve": lambda theta: (
        fl.damped_solve(fl.fisher_operator(LINE, theta, throw=False), theta, 0.1, throw=False).value
    ),
    "log-determinant": lambda theta: fl.log_determinant(LINE, theta, throw=False).value,
    "spectrum": lambda theta: fl.sloppiness_spectrum(LINE, theta, throw=False).eigenvalues,
    "DALI tensors": lambda theta: fl.dali_tensors(fl.GaussianModel(GAUSSIAN.mean, 0.5), theta, throw=False).fisher,
    "sandwich": lambda theta: fl.sandwich_covariance(FAMILY.log_likelihood, theta, DATA),
    "profile interval": lambda theta: fl.profile_interval(FAMILY, DATA, theta, 0, throw=False).lower,
    "region": lambda theta: fl.likelihood_ratio_region(FAMILY, DATA, theta).statistic(theta),
    "design": lambda theta: fl.optimal_design(lambda x: jnp.outer(x * theta, x * theta), THETAS, throw=False).weights,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit_eager_vmap_and_loop_agree(name):
    function = FUNCTIONS[name]
    batched = jax.jit(jax.vmap(function))(THETAS)
    compiled = jax.jit(function)
    looped = jnp.stack([compiled(theta) for theta in THETAS])
    # Round-off: sums of up to 9,000 terms in another order, and zeros off the diagonal.
    tolerance = 1e-11 * (1.0 + jnp.max(jnp.abs(looped)))
    assert jnp.max(jnp.abs(batched - looped)) < tolerance
    assert jnp.max(jnp.abs(function(THETAS[1]) - looped[1])) < tolerance


@pytest.mark.parametrize("name", [*FUNCTIONS, *LOWERED])
def test_every_function_lowers_for_other_devices(name):
    traced = jax.jit({**FUNCTIONS, **LOWERED}[name]).trace(THETAS[0])
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()


def test_memory_does_not_grow_with_the_sample():
    def log_likelihood(theta, x):
        features, y = x
        return -2.5 * jnp.log1p((y - features @ theta) ** 2 / 4.0)

    def sample(key, theta, n):
        features = jax.random.normal(key, (n, 10))
        return features, features @ theta + jax.random.t(jax.random.fold_in(key, 1), 4.0, (n,))

    def temporaries(n, function):
        model = fl.StatisticalModel(log_likelihood, fl.MonteCarlo(sample, n, jax.random.key(0)))
        compiled = jax.jit(lambda theta: function(model, theta)).lower(jnp.ones(10)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def gradient(model, theta):
        return jax.grad(lambda theta: jnp.trace(fl.fisher_information(model, theta)))(theta)

    # Unblocked, the scores alone would take 80 MB, and their derivatives as much again for each parameter.
    assert temporaries(1_000_000, fl.fisher_information) < 10e6
    assert temporaries(1_000_000, gradient) < 30e6


def test_models_pass_through_jit_as_arguments():
    for model in (FAMILY.model, SAMPLED, LINE, fl.families.Categorical(3).model):
        assert jax.eval_shape(fl.fisher_information, model, THETAS[0]).shape == (2, 2)
    assert jnp.all(jnp.isfinite(jax.jit(fl.fisher_information)(FAMILY.model, THETAS[0])))
