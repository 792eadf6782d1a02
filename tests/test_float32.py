"""The main chain in single precision: dtype follows the inputs, tolerances are those of 24 bits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

EPS = float(np.finfo(np.float32).eps)
START, END = jnp.array([0.0, 1.0], jnp.float32), jnp.array([2.0, 0.5], jnp.float32)
DISTANCE = 2 * np.sqrt(2) * np.arcsinh(np.sqrt((2.0**2 + 2 * 0.5**2) / (8 * 1.0 * 0.5)))


@pytest.fixture(scope="module")
def model():
    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda th: th[0], scale=lambda th: th[1])
    return fl.StatisticalModel(lambda th, x: jax.scipy.stats.norm.logpdf(x, th[0], th[1]), rule)


def test_fisher_matrix_of_a_likelihood(model):
    matrix = jax.jit(lambda theta: fl.fisher_information(model, theta))(END)
    assert matrix.dtype == jnp.float32
    # a sum of a few hundred weighted squares
    np.testing.assert_allclose(matrix, np.diag([4.0, 8.0]), atol=8.0 * 64 * EPS)


def test_path_from_a_likelihood(model):
    solution = fl.least_action_path(fl.FisherLagrangian(model), START, END)
    assert solution.path(0.5).dtype == jnp.float32
    np.testing.assert_allclose(np.sqrt(2 * solution.action), DISTANCE, rtol=256 * EPS)
    assert int(solution.morse_index) == 0


@pytest.fixture(scope="module")
def solved():
    """The Lagrangian of a closed metric, its path, and the gradient of the action in the end, by one program."""
    lagrangian = fl.NaturalLagrangian(fl.families.Normal().fisher)

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def action(end):
        solution = fl.least_action_path(lagrangian, START, end)
        return solution.action, solution

    (_, solution), gradient = action(END)
    return lagrangian, solution, gradient


def test_gradient_of_the_action_is_the_momentum(solved):
    lagrangian, solution, gradient = solved
    momentum = fl.momentum(lagrangian, 1.0, END, solution.path.velocity(1.0))
    # the velocity is a derivative of the path: round-off times degree^2 times elements
    np.testing.assert_allclose(gradient, momentum, rtol=1e-3)


def test_motion_lands_where_the_path_ends(solved):
    lagrangian, solution, _ = solved
    flow = fl.integrate(lagrangian, START, solution.path.velocity(0.0), t1=1.0, steps=64)
    assert flow.q.dtype == jnp.float32
    # implicit midpoint: h^2 = 2e-4
    np.testing.assert_allclose(flow.q[-1], END, atol=5e-3)


def test_curvature_of_the_normal_family():
    curvature = jax.jit(lambda q: fl.scalar_curvature(fl.families.Normal().fisher, q))(END)
    np.testing.assert_allclose(curvature, -1.0, rtol=256 * EPS)


def test_maximum_likelihood_of_a_normal():
    data = jnp.array([1.0, 2.0, 6.0, 4.5, -0.3], jnp.float32)
    fit = fl.maximum_likelihood(fl.families.Normal().model, data, START)
    assert fit.theta.dtype == jnp.float32
    np.testing.assert_allclose(fit.theta, [np.mean(data), np.std(data)], rtol=64 * EPS)
