"""Quasi-potentials and most likely paths under weak noise, against closed forms and Hamilton's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fimlag as fl
from fimlag.problems import LinearDrift, MaierStein

NOISE_MATRIX = jnp.array([[1.0, 0.2], [0.2, 0.5]])
ATTRACTOR, SADDLE = jnp.array([-1.0, 0.0]), jnp.zeros(2)
BETAS = (1.0, 3.0, 6.0, 10.0)


@pytest.fixture(scope="module")
def linear():
    """Quasi-potentials of several linear drifts at one point: value, gradient, closed form."""
    matrices = jnp.array([[[-1.0, 0.0], [0.0, -1.0]], [[-1.0, 0.0], [0.0, -8.0]], [[-1.0, 2.5], [0.3, -3.0]]])
    end = jnp.array([0.5, 1.0])

    def solve(matrix, end):
        return fl.quasi_potential(LinearDrift(matrix, NOISE_MATRIX), NOISE_MATRIX, jnp.zeros(2), end)

    values = jax.jit(jax.vmap(jax.value_and_grad(solve, argnums=(0, 1)), (0, None)))(matrices, end)
    exact = jax.vmap(lambda m: LinearDrift(m, NOISE_MATRIX).quasi_potential(end))
    slopes = jax.vmap(lambda m: jax.grad(LinearDrift(m, NOISE_MATRIX).quasi_potential)(end))
    by_matrix = jax.vmap(jax.grad(lambda m: LinearDrift(m, NOISE_MATRIX).quasi_potential(end)))
    return values, exact(matrices), slopes(matrices), by_matrix(matrices)


def test_quasi_potential_of_a_linear_drift_solves_lyapunovs_equation(linear):
    (values, _), exact, _, _ = linear
    np.testing.assert_allclose(values, exact, rtol=1e-10)


def test_gradient_of_the_quasi_potential_is_the_momentum_and_follows_the_drift(linear):
    (_, (by_matrix, by_end)), _, slopes, exact_by_matrix = linear
    np.testing.assert_allclose(by_end, slopes, rtol=1e-6)  # a boundary derivative: the root of the action's error
    np.testing.assert_allclose(by_matrix, exact_by_matrix, rtol=1e-7, atol=1e-8)


@pytest.mark.slow
def test_hessian_of_the_quasi_potential_is_the_inverse_covariance():
    process = LinearDrift(jnp.array([[-1.0, 0.8], [0.0, -2.0]]), NOISE_MATRIX)

    def value(end):
        return fl.quasi_potential(process, NOISE_MATRIX, jnp.zeros(2), end)

    hessian = jax.jit(jax.hessian(value))(jnp.array([0.5, 1.0]))
    exact = jnp.linalg.inv(process.stationary_covariance())
    np.testing.assert_allclose(hessian, exact, rtol=1e-6)  # second boundary derivatives lose digits once more


@pytest.fixture(scope="module")
def barriers():
    def solve(beta, guess):
        drift = MaierStein(beta)
        return fl.geometric_action_path(drift, 1.0, ATTRACTOR, SADDLE, guess=guess, throw=False)

    arc = jnp.stack([ATTRACTOR, jnp.array([-0.5, 0.2]), SADDLE])
    return jax.jit(jax.vmap(solve, (0, None)))(jnp.array(BETAS), arc)


def shooting_barrier(beta, radius=1e-5):
    """The action of the orbit from the attractor into the saddle, by Hamilton's equations and bisection alone.

    The orbits leave the attractor with p = M q, M = 4 solving the linearised Hamilton-Jacobi equation (b' = -2), and
    are told apart by their angle; on either side of the one that reaches the saddle they turn up or down. What is left
    of the action from its nearest point, on the saddle's stable manifold p = -2 x, is p^2 / 4.
    """

    def rates(_, z):
        x, y, p, r, _ = z
        dx, dy = x - x**3 - beta * x * y**2 + p, -(1 + x**2) * y + r
        dp, dr = -p * (1 - 3 * x**2 - beta * y**2) + 2 * r * x * y, 2 * beta * p * x * y + r * (1 + x**2)
        return [dx, dy, dp, dr, 0.5 * (p**2 + r**2)]

    def down(_, z):
        return z[3]

    def up(_, z):
        return z[1] - 0.8

    down.terminal = up.terminal = True

    def orbit(angle):
        q = radius * np.array([np.cos(angle), np.sin(angle)])
        start = [-1 + q[0], q[1], 4 * q[0], 4 * q[1], 2 * radius**2]
        return solve_ivp(rates, (0, 80), start, rtol=1e-13, atol=1e-15, events=[down, up], method="DOP853")

    low, high = 0.9, 1.35
    for _ in range(52):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if len(orbit(middle).t_events[0]) else (low, middle)
    orbit = orbit(low).y
    nearest = orbit[:, np.argmin(np.hypot(orbit[0], orbit[1]))]
    return nearest[4] + nearest[2] ** 2 / 4


def test_barriers_of_maier_and_stein_are_resolved_minima(barriers):
    assert np.all(barriers.succeeded)
    assert np.all(barriers.morse_index == 0)
    assert np.all(barriers.error_estimate < 1e-9)
    np.testing.assert_allclose(barriers.action[:2], 0.5, rtol=1e-10)
    assert np.all(barriers.action[2:] < 0.46)  # beyond beta = 4 a way off the axis costs less


@pytest.mark.parametrize("beta", [6.0, 10.0])
def test_barrier_agrees_with_shooting_by_hamiltons_equations(barriers, beta):
    geometric = barriers.action[BETAS.index(beta)]
    np.testing.assert_allclose(geometric, shooting_barrier(beta), rtol=1e-9)  # the start misses by radius^2


@pytest.mark.slow
def test_the_way_along_the_axis_is_no_minimum_beyond_the_bifurcation():
    axis = jax.jit(
        jax.vmap(
            lambda beta: fl.geometric_action_path(
                MaierStein(beta), 1.0, ATTRACTOR, SADDLE, guess=jnp.stack([ATTRACTOR, SADDLE]), throw=False
            )
        )
    )(jnp.array([3.9, 4.1]))
    np.testing.assert_allclose(axis.action, 0.5, rtol=1e-12)
    assert list(np.asarray(axis.succeeded)) == [True, False]
    assert list(np.asarray(axis.morse_index)) == [0, 1]


@pytest.fixture(scope="module")
def curved():
    """A linear problem in bent coordinates, where its noise depends on the point."""
    linear = LinearDrift(jnp.array([[-1.0, 0.5], [0.0, -2.0]]), NOISE_MATRIX)

    def to_new(x):
        return jnp.stack([jnp.sinh(x[0]), x[1] + 0.3 * x[0] ** 2])

    def to_old(y):
        first = jnp.arcsinh(y[0])
        return jnp.stack([first, y[1] - 0.3 * first**2])

    def drift(y):
        return jax.jvp(to_new, (to_old(y),), (linear(to_old(y)),))[1]

    def diffusion(y):
        jacobian = jax.jacfwd(to_new)(to_old(y))
        return jacobian @ NOISE_MATRIX @ jacobian.T

    end = to_new(jnp.array([0.6, -0.8]))
    solve = jax.jit(jax.value_and_grad(lambda y: fl.quasi_potential(drift, diffusion, jnp.zeros(2), y)))
    return solve(end), jax.value_and_grad(lambda y: linear.quasi_potential(to_old(y)))(end)


@pytest.mark.slow
def test_quasi_potential_under_noise_that_depends_on_the_point(curved):
    (value, slope), (exact, exact_slope) = curved
    np.testing.assert_allclose(value, exact, rtol=1e-10)
    np.testing.assert_allclose(slope, exact_slope, rtol=1e-6)


def test_one_dimension_barriers_ends_and_failures():
    def solve(start, end):
        return fl.geometric_action_path(lambda q: q - q**3, 2.0, start, end, max_iterations=30, throw=False)

    starts = jnp.array([[-1.0], [-1.0], [-1.0], [-1.0], [0.2], [-1.0]])
    ends = jnp.array([[0.0], [-1.0], [jnp.nan], [-0.5], [1.0], [0.8]])
    solutions = jax.jit(jax.vmap(solve))(starts, ends)
    assert list(np.asarray(solutions.succeeded)) == [True, True, False, True, True, False]
    across = solutions.result == fl.RESULTS.rest_on_the_way
    assert list(np.asarray(across)) == [False] * 5 + [True]
    assert float(jnp.max(jnp.abs(solutions.path.offsets[1]))) == 0.0
    exact = [0.25, 0.0, np.nan, 0.25 * (1 - 0.25) ** 2, 0.0]  # 2 dU / a uphill, nothing downhill
    np.testing.assert_allclose(solutions.action[:5], exact, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_barrier_differentiates_implicitly(barriers):
    def barrier(beta):
        arc = jnp.stack([ATTRACTOR, jnp.array([-0.5, 0.2]), SADDLE])
        return fl.geometric_action_path(MaierStein(beta), 1.0, ATTRACTOR, SADDLE, guess=arc, throw=False)

    slope = jax.jit(jax.grad(lambda beta: barrier(beta).action))
    middle = jax.jit(jax.jacfwd(lambda beta: barrier(beta).path(0.5)))
    step = 1e-4
    shifted = jax.jit(jax.vmap(barrier))(jnp.array([6.0 - step, 6.0 + step]))
    difference = (shifted.action[1] - shifted.action[0]) / (2 * step)
    np.testing.assert_allclose(slope(6.0), difference, rtol=1e-7)  # step^2, eps / step
    points = jax.vmap(lambda path: path(0.5))(shifted.path)
    np.testing.assert_allclose(middle(6.0), (points[1] - points[0]) / (2 * step), rtol=1e-5)


def test_single_precision_stays_single():
    value = fl.quasi_potential(
        lambda q: -q, 1.0, jnp.zeros(1, jnp.float32), jnp.ones(1, jnp.float32), elements=4, degree=4
    )
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 1.0, rtol=1e-5)


def test_a_mesh_without_nodes_is_refused():
    with pytest.raises(ValueError, match="node between its ends"):
        fl.quasi_potential(lambda q: -q, 1.0, jnp.zeros(1), jnp.ones(1), elements=1, degree=1)
