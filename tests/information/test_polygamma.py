"""The trigamma function and the metrics made of it: all digits from tiny to huge parameters."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import fimlag as fl
from fimlag.information.families._polygamma import trigamma, trigamma_excess

families = fl.families
NUMBERS = np.concatenate([10.0 ** np.linspace(-6.0, 12.0, 73), np.linspace(0.5, 20.0, 40)])
# Family, parameters; along their growth the leading terms of the metric cancel.
LARGE = [
    (families.Gamma(), [[1e8, 1e8], [1e12, 1.0], [1e-6, 3.0]]),
    (families.Beta(), [[1e8, 1e8], [1e8, 1.0], [1e-3, 1e8]]),
    (families.Dirichlet(3), [[1e8, 1e8, 2e8], [0.1, 5.0, 9.0], [1e8, 1.0, 1e-2]]),
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_excess_and_its_derivatives_have_all_digits(dtype):
    @jax.jit
    def derivatives(x):
        functions = [trigamma_excess]
        for _ in range(4):
            functions.append(jax.grad(functions[-1]))
        return [jax.vmap(function)(x) for function in functions]

    x = jnp.asarray(NUMBERS, dtype)
    for order, found in enumerate(derivatives(x)):
        assert found.dtype == dtype
        for ours, number in zip(np.asarray(found, np.float64), np.asarray(x, np.float64), strict=True):
            with mp.workdps(70):
                number = mp.mpf(float(number))
                leading = (-1) ** order * mp.factorial(order) / number ** (order + 1)
                exact = float(mp.psi(order + 1, number) - leading)
            # A few roundings; below the smallest normal number, times the factorial, none is kept.
            eps, tiny = float(jnp.finfo(dtype).eps), float(jnp.finfo(dtype).tiny)
            assert abs(ours - exact) < 12.0 * eps * abs(exact) + 24.0 * tiny


def test_trigamma_takes_any_shape_and_is_nan_outside_its_domain():
    # pi^2 / 6 - 1 and pi^2 / 6.
    found = trigamma(jnp.array([[2.0], [1.0]]))
    assert jnp.max(jnp.abs(found - jnp.array([[np.pi**2 / 6.0 - 1.0], [np.pi**2 / 6.0]]))) < 1e-15
    assert abs(trigamma(2) - (np.pi**2 / 6.0 - 1.0)) < 1e-15
    assert jnp.all(jnp.isnan(trigamma_excess(jnp.array([0.0, -1.5, jnp.nan]))))
    assert trigamma_excess(jnp.inf) == 0.0


def exact_metric(family, theta):
    theta = [mp.mpf(float(x)) for x in theta]
    if isinstance(family, families.Gamma):
        shape, rate = theta
        return mp.matrix([[mp.psi(1, shape), -1 / rate], [-1 / rate, shape / rate**2]])
    return mp.diag([mp.psi(1, shape) for shape in theta]) - mp.psi(1, mp.fsum(theta)) * mp.ones(len(theta))


@pytest.mark.parametrize(("family", "points"), LARGE, ids=[type(family).__name__ for family, _ in LARGE])
def test_metric_keeps_its_digits_where_trigamma_functions_cancel(family, points):
    @jax.jit
    @jax.vmap
    def measured(theta, v):
        root = family.fisher_root(theta)
        return family.fisher(theta), family.quadratic(theta, v), fl.fisher_quadratic(family, theta, v), root.T @ v

    thetas = jnp.array(points)
    steps = np.broadcast_to(np.linspace(1.0, 0.3, thetas.shape[1]), thetas.shape)
    for v in (thetas, jnp.asarray(steps)):
        single = measured(thetas.astype(jnp.float32), v.astype(jnp.float32))
        double = measured(thetas, v)
        for k, theta in enumerate(points):
            with mp.workdps(60):
                metric, direction = exact_metric(family, theta), mp.matrix([float(x) for x in v[k]])
                matrix, length = np.array(metric.tolist(), float), float((direction.T * metric * direction)[0])
            # Entries of shares lose to the smaller share what it is smaller than 1: 1000.
            assert np.max(np.abs(double[0][k] / matrix - 1.0)) < 1e-12
            for found, eps in ((double, 1e-15), (single, 5e-7)):
                for ours in (found[1][k], found[2][k], jnp.sum(found[3][k] ** 2)):
                    assert ours.dtype == found[0].dtype
                    # A few roundings of a sum of squares.
                    assert abs(float(ours) / length - 1.0) < 10.0 * eps


def test_derivatives_of_the_squared_length_are_those_of_the_matrix():
    theta, v = jnp.array([1.3, 0.4]), jnp.array([0.7, -0.2])
    for family in (families.Gamma(), families.Beta()):
        lengths = (lambda t: family.quadratic(t, v), lambda t: v @ family.fisher(t) @ v)  # noqa: B023
        first, second = (jax.jit(jax.hessian(length))(theta) for length in lengths)
        # Round-off.
        assert jnp.max(jnp.abs(first - second)) < 1e-13 * jnp.max(jnp.abs(second))
