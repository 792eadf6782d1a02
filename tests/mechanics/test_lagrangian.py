"""Forms of Lagrangians, and those born of probability."""

import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems
from fimlag.mechanics._lagrangian import as_time


def log_likelihood(theta, x):
    return -0.5 * ((x - theta[0]) / theta[1]) ** 2 - jnp.log(theta[1]) - 0.5 * jnp.log(2 * jnp.pi)


MODEL = fl.StatisticalModel(
    log_likelihood,
    fl.Quadrature(-jnp.inf, jnp.inf, location=lambda theta: theta[0], scale=lambda theta: theta[1]),
)


def test_separability_is_told_by_type():
    assert fl.is_separable(fl.NaturalLagrangian(fl.EuclideanMetric(2.0), lambda q: q @ q)) is True
    assert fl.is_separable(fl.Separable(lambda t, q, v: v @ v)) is True
    assert fl.is_separable(problems.NormalFisher().lagrangian) is False
    assert fl.is_separable(lambda t, q, v: v @ v) is None
    assert fl.is_separable(lambda t, q, v: v @ v, jnp.zeros(2)) is True


def test_natural_lagrangian_takes_a_plain_metric():
    lagrangian = fl.NaturalLagrangian(lambda q: jnp.diag(1 + q**2), lambda q: q[0])
    value = lagrangian(0.0, jnp.array([1.0, 2.0]), jnp.array([3.0, 1.0]))
    np.testing.assert_allclose(value, (2 * 9 + 5) / 2 - 1, rtol=1e-15)


@pytest.mark.slow
def test_fisher_lagrangian_of_the_normal_family_is_the_closed_form():
    theta, v = jnp.array([0.4, 1.7]), jnp.array([0.6, -0.3])
    found = fl.FisherLagrangian(MODEL, potential=lambda theta: theta[0])
    exact = problems.NormalFisher().lagrangian
    # quadrature, resolved to round-off
    np.testing.assert_allclose(found(0.0, theta, v), exact(0.0, theta, v) - theta[0], rtol=1e-12)
    np.testing.assert_allclose(
        fl.acceleration(fl.FisherLagrangian(MODEL), 0.0, theta, v),
        fl.acceleration(exact, 0.0, theta, v),
        rtol=1e-11,
    )


def test_a_metric_that_is_no_callable_is_refused():
    with pytest.raises(TypeError, match=r"[Cc]allable"):
        fl.NaturalLagrangian(jnp.eye(2))


def test_the_rows_of_a_trajectory_are_not_taken_for_one_state():
    with pytest.raises(ValueError, match="t must be a number, but has shape"):
        as_time(jnp.zeros(3), jnp.float64)
