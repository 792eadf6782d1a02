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


def test_natural_coordinates_carry_the_metric_of_the_usual_ones():
    def natural(usual):
        return jnp.stack([usual[0] / usual[1] ** 2, -0.5 / usual[1] ** 2])

    usual = jnp.array([2.4, 2.0])
    jacobian = jax.jacfwd(natural)(usual)
    pulled = jacobian.T @ NORMAL.fisher(natural(usual)) @ jacobian
    # The pulled-back matrix is a difference of numbers twenty times as large.
    np.testing.assert_allclose(pulled, fl.families.Normal().fisher(usual), rtol=1e-13, atol=1e-14)


def test_outside_the_domain_nothing_looks_legal():
    for point in (jnp.array([0.6, 0.125]), jnp.array([0.6, 0.0])):
        assert jnp.all(jnp.isnan(NORMAL.fisher(point)))
        assert jnp.all(jnp.isnan(NORMAL.mean(point)))
        assert jnp.isnan(NORMAL.log_likelihood(point, 1.0))


def test_parameters_statistics_and_means_share_the_structure_of_the_caller():
    family = fl.families.ExponentialFamily(lambda t: jnp.exp(t["rate"]) + 0.5 * jnp.sum(t["mean"] ** 2))
    theta = {"mean": jnp.array([1.0, 2.0]), "rate": 0.0}
    mean = family.mean(theta)
    np.testing.assert_array_equal(mean["mean"], [1.0, 2.0])
    assert mean["rate"] == 1.0
    np.testing.assert_array_equal(family.fisher(theta), jnp.eye(3))
    assert abs(family.log_likelihood(theta, mean) - (5.0 - 1.0 - 2.5)) < 1e-15


def test_base_measure_makes_the_density_proper():
    family = fl.families.ExponentialFamily(
        lambda t: jnp.exp(t[0]),
        lambda x: jnp.reshape(x.astype(float), (1,)),
        lambda x: -jax.scipy.special.gammaln(x.astype(float) + 1.0),
        fl.ExactSum(jnp.arange(100)),
    )
    found = fl.fisher_estimate(family.model, jnp.log(jnp.array([4.0])))
    assert abs(found.value[0, 0] - 4.0) < 1e-12
    assert fl.fisher_estimate(family, jnp.log(jnp.array([4.0]))).route == "closed form of ExponentialFamily"


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="expectation="):
        _ = fl.families.ExponentialFamily(jnp.exp).model
    with pytest.raises(ValueError, match="statistics"):
        fl.families.ExponentialFamily(jnp.sum).log_likelihood(jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match="scalar"):
        fl.families.ExponentialFamily(jnp.exp).fisher(jnp.ones(2))
