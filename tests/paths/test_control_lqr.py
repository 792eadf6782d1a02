"""The softened linear-quadratic regulator against Riccati solvers, integrals over controls, and simulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import fimlag as fl

EPS = np.finfo(float).eps


def random_system(seed, d=4, m=2):
    rng = np.random.default_rng(seed)
    half, small = rng.normal(size=(d, d)), rng.normal(size=(m, m))
    return tuple(
        jnp.array(x)
        for x in (rng.normal(size=(d, d)), rng.normal(size=(d, m)), half @ half.T, small @ small.T + np.eye(m))
    )


SYSTEMS = [jnp.stack(x) for x in zip(*map(random_system, range(6)), strict=True)]


@functools.cache
def stationary(continuous):
    solve = functools.partial(fl.soft_lqr, temperature=0.3, continuous=continuous, throw=False)
    return jax.jit(jax.vmap(lambda *system: solve(*system)))(*SYSTEMS)


@pytest.mark.parametrize("continuous", [False, True])
def test_stationary_values_solve_the_algebraic_riccati_equation(continuous):
    solution = stationary(continuous)
    rival = scipy.linalg.solve_continuous_are if continuous else scipy.linalg.solve_discrete_are
    expected = np.stack([rival(*map(np.asarray, system)) for system in zip(*SYSTEMS, strict=True)])
    size = np.max(np.abs(expected), axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(solution.values / size, expected / size, atol=1e-11)  # round-off of the rival
    assert bool(jnp.all(solution.succeeded))
    assert float(jnp.max(solution.error_estimate)) < 1e3 * EPS


@pytest.mark.parametrize("continuous", [False, True])
def test_spectral_radius_is_that_of_the_closed_loop(continuous):
    solution = stationary(continuous)
    loops = np.asarray(SYSTEMS[0] - SYSTEMS[1] @ solution.gains)
    maps = [scipy.linalg.expm(loop) if continuous else loop for loop in loops]
    expected = [np.max(np.abs(np.linalg.eigvals(one))) for one in maps]
    np.testing.assert_allclose(solution.spectral_radius, expected, rtol=1e-9)  # 2^-40 of the log of a condition


def scalar(a=1.1, b=0.7, q=1.3, r=0.6):
    return tuple(jnp.array([[x]]) for x in (a, b, q, r))


def test_finite_horizon_value_is_the_soft_minimum_over_controls():
    temperature, gamma, noise, terminal = 0.4, 0.9, 0.2, 2.0
    a, b, q, r = (float(x[0, 0]) for x in scalar())
    solution = fl.soft_lqr(
        *scalar(),
        temperature,
        horizon=3,
        terminal=jnp.array([[terminal]]),
        noise=jnp.array([[noise]]),
        discount=gamma,
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    controls = np.linspace(-30.0, 30.0, 4001)  # the trapezoidal rule is exact to round-off for a Gaussian

    def value(step, x):
        if step == 3:
            return terminal * x**2
        states = (a * x)[..., None] + b * controls
        later = sum(
            w * value(step + 1, states + np.sqrt(noise) * z)
            for z, w in zip(nodes, weights / np.sqrt(2 * np.pi), strict=True)
        )
        costs = q * x[..., None] ** 2 + r * controls**2 + gamma * later
        least = np.min(costs, axis=-1)
        mass = np.sum(np.exp(-(costs - least[..., None]) / temperature), axis=-1) * (controls[1] - controls[0])
        return least - temperature * np.log(mass)

    for step, x in ((2, 0.8), (2, -1.5)):
        expected = value(step, np.array(x))
        np.testing.assert_allclose(solution.value(jnp.array([x]), step), expected, rtol=1e-12)
    # one step earlier, from the value of the solution: the recursion is the same at each step
    later = solution.values[2, 0, 0], solution.constants[2]
    costs = q * 0.8**2 + r * controls**2 + gamma * (later[0] * ((a * 0.8 + b * controls) ** 2 + noise) + later[1])
    mass = np.sum(np.exp(-(costs - costs.min()) / temperature)) * (controls[1] - controls[0])
    expected = costs.min() - temperature * np.log(mass)
    np.testing.assert_allclose(solution.value(jnp.array([0.8]), 1), expected, rtol=1e-12)


def test_sampled_policy_attains_the_value():
    A, B, Q, R = random_system(3, d=2, m=2)
    temperature, horizon, count = 0.5, 6, 20_000
    solution = fl.soft_lqr(0.6 * A, B, Q, R, temperature, horizon=horizon, noise=0.1 * jnp.eye(2))
    start = jnp.array([0.4, -0.3])

    def cost(key):
        x, total = start, 0.0
        for k in range(horizon):
            key, of_control, of_noise = jax.random.split(key, 3)
            u = solution.sample(of_control, x, k)
            total = total + x @ Q @ x + u @ R @ u + temperature * solution.log_density(u, x, k)
            x = 0.6 * A @ x + B @ u + jnp.sqrt(0.1) * jax.random.normal(of_noise, (2,))
        return total

    costs = np.asarray(jax.jit(jax.vmap(cost))(jax.random.split(jax.random.key(0), count)))
    error = costs.std() / np.sqrt(count)
    assert abs(costs.mean() - float(solution.value(start))) < 4 * error  # four standard errors


def test_log_density_is_that_of_the_normal_with_the_covariance_stated():
    solution = fl.soft_lqr(*random_system(1), 0.7)
    x, u = jnp.array([0.1, -0.2, 0.3, 0.5]), jnp.array([0.4, -1.0])
    expected = scipy.stats.multivariate_normal.logpdf(u, solution.control(x), solution.covariance)
    np.testing.assert_allclose(solution.log_density(u, x), expected, rtol=1e-10)


def test_long_horizon_becomes_stationary():
    system = random_system(2)
    forever, long = fl.soft_lqr(*system, 0.3), fl.soft_lqr(*system, 0.3, horizon=200)
    np.testing.assert_allclose(long.values[0], forever.values, rtol=1e-10)
    np.testing.assert_allclose(long.gains[0], forever.gains, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(long.constants[0] - long.constants[1], forever.rates, rtol=1e-10)


def test_temperature_zero_is_the_classical_regulator():
    system = random_system(4)
    noise = jnp.diag(jnp.array([0.1, 0.2, 0.3, 0.4]))
    hard = fl.soft_lqr(*system, 0.0, horizon=5, noise=noise)
    np.testing.assert_array_equal(hard.covariance, 0.0)
    np.testing.assert_allclose(hard.constants[0], jnp.sum(hard.values[1:] * noise[None]), rtol=1e-12)
    x = jnp.ones(4)
    np.testing.assert_array_equal(hard.sample(jax.random.key(0), x), hard.control(x))
    np.testing.assert_allclose(fl.soft_lqr(*system, 1e-9, horizon=5, noise=noise).constants, hard.constants, atol=1e-6)


def test_discount_scales_the_dynamics_and_makes_the_constant_finite():
    A, B, Q, R = random_system(5)
    solution = fl.soft_lqr(A, B, Q, R, 0.3, discount=0.81, noise=jnp.eye(4))
    np.testing.assert_allclose(solution.values, fl.soft_lqr(0.9 * A, 0.9 * B, Q, R, 0.3).values, rtol=1e-11)
    finite = fl.soft_lqr(A, B, Q, R, 0.3, discount=0.81, noise=jnp.eye(4), horizon=300)
    np.testing.assert_allclose(solution.constants, finite.constants[0], rtol=1e-10)


def test_derivatives_of_the_stationary_value_are_those_of_its_closed_form():
    one = jnp.ones((1, 1))

    def found(a):
        return fl.soft_lqr(a * one, one, one, one, 0.1, throw=False).values[0, 0]

    def closed(a):  # P^2 - a^2 P - 1 = 0
        return (a**2 + jnp.sqrt(a**4 + 4)) / 2

    def both(f):
        return [f(1.3), jax.grad(f)(1.3), jax.grad(jax.grad(f))(1.3), jax.jacfwd(jax.grad(f))(1.3)]

    np.testing.assert_allclose(jax.jit(lambda: both(found))(), both(closed), rtol=1e-12)


def test_derivative_of_a_stationary_value_in_continuous_time():
    A, B, Q, R = random_system(2)

    def value(s):
        return jnp.sum(fl.soft_lqr(A + s * jnp.eye(4), B, Q, R, 0.1, continuous=True, throw=False).values)

    value, slope = jax.jit(value), jax.jit(jax.grad(value))
    step = 1e-4  # the difference errs by its square
    np.testing.assert_allclose(slope(0.0), (value(step) - value(-step)) / (2 * step), rtol=1e-6)


def test_controls_may_be_free_where_the_next_state_costs():
    free = fl.soft_lqr(jnp.array([[0.5]]), jnp.ones((1, 1)), jnp.ones((1, 1)), jnp.zeros((1, 1)), 0.2)
    np.testing.assert_allclose([free.values[0, 0], free.gains[0, 0]], [1.0, 0.5], rtol=1e-14)


ONE = jnp.ones((1, 1))
FAILURES = {
    "not_stabilising": (2 * jnp.eye(2), jnp.array([[1.0], [0.0]]), jnp.eye(2), ONE, 0.3),
    "unbounded_policy": (0.5 * ONE, ONE, ONE, -2 * ONE, 0.3),
    "out_of_range": (0.5 * ONE, ONE, ONE, ONE, -0.3),
    "nonfinite": (0.5 * ONE, ONE, jnp.nan * ONE, ONE, 0.3),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_is_named(name):
    solution = fl.soft_lqr(*FAILURES[name], throw=False)
    assert bool(solution.result == getattr(fl.RESULTS, name))


def test_unseen_unstable_mode_and_indefinite_control_cost_are_reported():
    unseen = fl.soft_lqr(2 * ONE, ONE, 0 * ONE, ONE, 0.3, throw=False)
    assert bool(unseen.result == fl.RESULTS.not_stabilising)
    indefinite = fl.soft_lqr(ONE, ONE, ONE, -ONE, 0.3, horizon=4, throw=False)
    assert bool(indefinite.result == fl.RESULTS.unbounded_policy)
    with pytest.raises(RuntimeError, match="keeps the system stable"):
        fl.soft_lqr(*FAILURES["not_stabilising"])


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="of shape"):
        fl.soft_lqr(jnp.eye(2), jnp.eye(2), jnp.eye(2), ONE, 0.3)
    with pytest.raises(ValueError, match="horizon"):
        fl.soft_lqr(ONE, ONE, ONE, ONE, 0.3, terminal=ONE)
    with pytest.raises(ValueError, match="continuous time"):
        fl.soft_lqr(ONE, ONE, ONE, ONE, 0.3, horizon=3, continuous=True)
    with pytest.raises(ValueError, match="step must be"):
        fl.soft_lqr(ONE, ONE, ONE, ONE, 0.3, horizon=3).control(jnp.ones(1), 3)


def test_single_precision_stays_single():
    system = [x.astype(jnp.float32) for x in random_system(0)]
    solution = fl.soft_lqr(*system, 0.3)
    assert {x.dtype for x in (solution.values, solution.constants, solution.covariance)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(solution.values, stationary(False).values[0], rtol=1e-4)


def test_integers_are_numbers():
    one = np.ones((1, 1), int)
    solution = fl.soft_lqr(one, one, one, one, 0.1)
    np.testing.assert_allclose(solution.values[0, 0], (1 + np.sqrt(5)) / 2, rtol=1e-14)
    np.testing.assert_allclose(solution.covariance[0, 0], 0.05 / (1 + solution.values[0, 0]), rtol=1e-14)
    with pytest.raises(TypeError, match="real"):
        fl.soft_lqr(1j * one, one, one, one, 0.1)


def test_stationary_solution_lowers_without_the_device():
    traced = jax.jit(lambda *system: fl.soft_lqr(*system, 0.3, throw=False).values).trace(*random_system(0))
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
