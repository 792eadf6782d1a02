"""Exponential families: everything follows from the log-partition function."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl


def normal_log_partition(theta):
    return -(theta[0] ** 2) / (4.0 * theta[1]) - 0.5 * jnp.log(-2.0 * theta[1]) + 0.5 * jnp.log(2.0 * jnp.pi)


NORMAL = fl.families.ExponentialFamily(
    normal_log_partition,
    lambda x: jnp.stack([x, x**2]),
    expectation=fl.Quadrature(
        -np.inf, np.inf, location=lambda t: -0.5 * t[0] / t[1], scale=lambda t: jnp.sqrt(-0.5 / t[1])
    ),
)
POINT = jnp.array([0.6, -0.125])  # mean 2.4, variance 4


def test_fisher_is_the_hessian_of_the_log_partition_and_the_covariance_of_the_statistics():
    mean, variance = 2.4, 4.0
    covariance = np.array([[1.0, 2.0 * mean], [2.0 * mean, 4.0 * mean**2 + 2.0 * variance]]) * variance
    fisher, generic, slopes = eqx.filter_jit(
        lambda family, t: (family.fisher(t), fl.fisher_information(family.model, t), family.mean(t))
    )(NORMAL, POINT)
    # Round-off, and what the covariance of x^2 cancels.
    np.testing.assert_allclose(fisher, covariance, rtol=1e-14)
    np.testing.assert_allclose(generic, covariance, rtol=1e-12)
    np.testing.assert_allclose(slopes, [mean, mean**2 + variance], rtol=1e-14)


@pytest.mark.parametrize(
    ("family", "theta", "x"),
    [
        (fl.families.Normal(), [2.4, 2.0], 1.7),
        (fl.families.Exponential(), 0.4, 1.7),
        (fl.families.Gamma(), [1e-3, 2.5], 1.7),
        (fl.families.Poisson(), 3.5, 4),
        pytest.param(fl.families.Beta(), [0.3, 60.0], (0.3, 0.7), marks=pytest.mark.slow),
        (fl.families.Dirichlet(3), [0.4, 2.0, 7.0], jnp.array([0.2, 0.5, 0.3])),
        (fl.families.Categorical(3), [0.2, 0.5], 2),
        pytest.param(fl.families.Multinomial(4, 3), [0.2, 0.5], jnp.array([1, 0, 3]), marks=pytest.mark.slow),
    ],
    ids=lambda value: type(value).__name__,
)
def test_natural_coordinates_carry_density_and_metric_of_the_family(family, theta, x):
    theta, form = jnp.array(theta), family.exponential_form

    @jax.jit
    def both(theta):
        natural, slopes = family.natural(theta), jnp.atleast_2d(jax.jacfwd(family.natural)(theta))
        outcome, outside = x, jax.tree_util.tree_map(lambda leaf: -jnp.ones_like(leaf), x)
        densities = [form.log_likelihood(natural, outcome), family.log_likelihood(theta, outcome)]
        beyond = form.log_likelihood(natural, outside), family.log_likelihood(theta, outside)
        return slopes.T @ form.fisher(natural) @ slopes, family.of_natural(natural), densities, beyond

    pulled, back, (density, expected), beyond = both(theta)
    fisher = family.fisher(theta)
    # Round-off, of a matrix pulled back through differences of larger numbers.
    np.testing.assert_allclose(pulled, fisher, rtol=1e-13, atol=1e-14 * float(jnp.max(jnp.abs(pulled))))
    np.testing.assert_allclose(back, theta, rtol=4e-16)
    np.testing.assert_allclose(density, expected, rtol=1e-14)
    assert beyond[0] == beyond[1]


def test_outside_the_domain_nothing_looks_legal():
    points = jnp.array([[0.6, 0.125], [0.6, 0.0]])
    found = jax.jit(jax.vmap(lambda t: (NORMAL.fisher(t), NORMAL.mean(t), NORMAL.log_likelihood(t, 1.0))))(points)
    assert all(bool(jnp.all(jnp.isnan(values))) for values in found)


def test_parameters_statistics_and_means_share_the_structure_of_the_caller():
    family = fl.families.ExponentialFamily(lambda t: jnp.exp(t["rate"]) + 0.5 * jnp.sum(t["mean"] ** 2))
    theta = {"mean": jnp.array([1.0, 2.0]), "rate": 0.0}
    mean, fisher = jax.jit(lambda theta: (family.mean(theta), family.fisher(theta)))(theta)
    np.testing.assert_array_equal(mean["mean"], [1.0, 2.0])
    assert mean["rate"] == 1.0
    np.testing.assert_array_equal(fisher, jnp.eye(3))
    assert abs(family.log_likelihood(theta, mean) - (5.0 - 1.0 - 2.5)) < 1e-15


@pytest.mark.slow
def test_base_measure_makes_the_density_proper():
    family = fl.families.ExponentialFamily(
        lambda t: jnp.exp(t[0]),
        lambda x: jnp.reshape(x.astype(float), (1,)),
        lambda x: -jax.scipy.special.gammaln(x.astype(float) + 1.0),
        fl.ExactSum(jnp.arange(100)),
    )
    found = eqx.filter_jit(fl.fisher_estimate)(family.model, jnp.log(jnp.array([4.0])))
    assert abs(found.value[0, 0] - 4.0) < 1e-12
    assert fl.fisher_estimate(family, jnp.log(jnp.array([4.0]))).route == "closed form of ExponentialFamily"


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="expectation="):
        _ = fl.families.ExponentialFamily(jnp.exp).model
    with pytest.raises(ValueError, match="statistics"):
        fl.families.ExponentialFamily(jnp.sum).log_likelihood(jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match="scalar"):
        fl.families.ExponentialFamily(jnp.exp).fisher(jnp.ones(2))
