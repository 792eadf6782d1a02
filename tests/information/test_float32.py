"""The main claims in single precision: dtypes follow the inputs, and digits are those of float32."""

import jax
import jax.numpy as jnp
import pytest

import fimlag as fl

FAMILIES = [
    (fl.families.Normal(), [0.3, 0.7]),
    (fl.families.Categorical(4), [0.1, 0.2, 0.3]),
    (fl.families.Poisson(60), [7.5]),
    (fl.families.Gamma(), [0.7, 2.0]),
    (fl.families.Beta(), [2.0, 3.0]),
    (fl.families.StudentT(), [0.3, 0.7, 0.5]),
]


@pytest.mark.parametrize(("family", "theta"), FAMILIES)
def test_fisher_matrix_has_single_precision(family, theta):
    theta = jnp.array(theta, jnp.float32)

    @jax.jit
    def with_derivative(theta):
        found = fl.fisher_estimate(family.model, theta, throw=False)
        return found, jax.jacfwd(lambda theta: fl.fisher_information(family.model, theta))(theta)

    found, derivative = with_derivative(theta)
    closed = family.fisher(theta)
    assert found.value.dtype == closed.dtype == jnp.float32
    assert found.succeeded
    scale = jnp.sqrt(jnp.diag(closed))
    # Round-off: log-densities of order 10 to 100 enter exponentials, 100 eps.
    assert jnp.max(jnp.abs(found.value - closed) / (scale[:, None] * scale[None, :])) < 1e-4
    assert derivative.dtype == jnp.float32
    assert jnp.all(jnp.isfinite(derivative))


def test_every_route_returns_the_dtype_of_theta():
    normal = fl.families.Normal()
    inputs = jnp.arange(3, dtype=jnp.float32)

    def sampler(key, theta, n):
        return theta[0] + theta[1] * jax.random.normal(key, (n,), theta.dtype)

    def model(rule):
        return fl.StatisticalModel(normal.log_likelihood, rule)

    line = fl.ConditionalModel(lambda t, x: jnp.stack([t[0] * x, t[1]]), normal.model, inputs)
    reference = fl.MonteCarlo(sampler, 10_000, jax.random.key(0), reference=jnp.array([0.3, 0.7]))
    pathwise = fl.Reparametrised(lambda t, z: t[0] + t[1] * z, inputs)

    gaussian = fl.GaussianModel(lambda t: t[0] * inputs, lambda t: t[1] ** 2)
    sampled = fl.MonteCarlo(sampler, 10_000, jax.random.key(0))

    def everything(theta):
        operator = fl.fisher_operator(line, theta, throw=False)
        return (
            fl.fisher_information(fl.ProductModel(gaussian, normal), theta),
            fl.fisher_estimate(model(sampled), theta, rtol=0.1, throw=False).standard_error,
            fl.derived_estimate(model(sampled), theta, jnp.linalg.inv, throw=False).standard_error,
            operator.mv(theta),
            fl.fisher_diagonal(line, theta),
            fl.damped_solve(operator, theta, 0.1, throw=False).value,
            fl.log_determinant(line, theta, throw=False).value,
            fl.sloppiness_spectrum(line, theta, throw=False).eigenvalues,
            fl.dali_tensors(fl.GaussianModel(gaussian.mean, 0.5), theta, throw=False).fisher,
            fl.sandwich_covariance(normal.log_likelihood, theta, inputs),
            fl.confidence_ellipsoid(theta, information=normal.fisher(theta), throw=False).semi_axes,
            fl.log_jeffreys_density(normal, theta),
            fl.fisher_information(model(reference), theta),
            fl.fisher_information(model(pathwise), theta),
            fl.fisher_information(model(fl.Empirical(inputs)), theta),
            fl.fisher_information(line, theta),
            fl.fisher_quadratic(line, theta, theta),
            line.log_likelihood(theta, inputs),
            fl.observed_information(normal.log_likelihood, theta, inputs),
            fl.empirical_fisher(normal.log_likelihood, theta, inputs),
            fl.cramer_rao_bound(normal.fisher(theta)),
            normal.distance(theta, 2.0 * theta),
        )

    outputs = jax.eval_shape(everything, jnp.array([0.3, 0.7], jnp.float32))
    assert all(output.dtype == jnp.float32 for output in outputs)
