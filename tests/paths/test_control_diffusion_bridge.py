"""Bridges of diffusions against closed forms, the spectrum of the generator, and paths of least action."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate

import fimlag as fl

LEFT, RIGHT, DURATION = jnp.array([-1.0]), jnp.array([1.0]), 3.0
ONE = jnp.eye(1)


def double_well(q):
    return q - q**3


@functools.cache
def crossing(paths=4096, steps=128):
    """Bridges over the barrier at several noises, compiled once."""

    def solve(noise, key):
        return fl.diffusion_bridge(
            double_well, ONE, noise, LEFT, RIGHT, key=key, t1=DURATION, paths=paths, steps=steps, throw=False
        )

    return jax.jit(jax.vmap(solve, (0, None)))


NOISES = jnp.array([1.0, 0.3, 1e-2, 1e-3])


@functools.cache
def crossings():
    return crossing()(NOISES, jax.random.key(1))


@functools.cache
def spectrum(noise, points):
    """Eigenvalues and eigenfunctions of the generator of the double well, made symmetric, on a grid."""
    x = np.linspace(-3.2, 3.2, points)
    potential = (x**3 - x) ** 2 / (2 * noise) - (3 * x**2 - 1) / 2
    hop = np.full(points - 1, -0.5 * noise / (x[1] - x[0]) ** 2)
    energies, states = np.linalg.eigh(np.diag(potential - 2 * hop[0]) + np.diag(hop, 1) + np.diag(hop, -1))
    return x, energies[:60], scipy.interpolate.CubicSpline(x, states[:, :60] / np.sqrt(x[1] - x[0]))


def transition_density(noise, q0, q1, duration, points):
    """From left to right in a duration; `q1` may be many points."""
    _, energies, states = spectrum(noise, points)
    kernel = states(q1) @ (np.exp(-energies * duration) * states(q0))
    well = [(q**4 / 4 - q**2 / 2) / noise for q in (q0, q1)]
    return kernel * np.exp(well[0] - well[1])


def extrapolated(value):
    """The limit of a second-order method from two grids."""
    coarse, fine = value(401), value(801)
    return fine + (fine - coarse) / 3


@pytest.mark.parametrize("member", [0, 1])
def test_transition_density_of_a_double_well_is_that_of_the_generator(member):
    noise = float(NOISES[member])
    bridge = crossings()
    expected = np.log(extrapolated(lambda points: transition_density(noise, -1.0, 1.0, DURATION, points)))
    tolerance = 4 * bridge.standard_error[member] + 2 * bridge.error_estimate[member]  # four standard errors, and steps
    assert abs(float(bridge.log_density[member]) - expected) <= float(tolerance)
    assert float(bridge.standard_error[member]) < 0.03
    assert float(bridge.error_estimate[member]) < 0.02


@pytest.mark.parametrize("member", [0, 1])
def test_weighted_paths_have_the_marginal_of_the_bridge(member):
    noise = float(NOISES[member])

    def moments(points):
        x = spectrum(noise, points)[0]
        early = transition_density(noise, -1.0, x, DURATION / 4, points)
        _, energies, states = spectrum(noise, points)
        late = np.exp((x**4 / 4 - x**2 / 2) / noise) * (states(x) @ (np.exp(-energies * 0.75 * DURATION) * states(1.0)))
        density = early * late
        mean = np.sum(density * x) / np.sum(density)
        return np.array([mean, np.sum(density * (x - mean) ** 2) / np.sum(density)])

    expected = extrapolated(moments)
    bridge = jax.tree_util.tree_map(lambda x: x[member], crossings())
    mean = bridge.expectation(lambda path: path[32, 0])
    variance = bridge.expectation(lambda path: (path[32, 0] - mean) ** 2)
    effective = float(bridge.effective_sample_size)
    # four standard errors; those of the variance for nearly normal states
    assert abs(float(mean) - expected[0]) <= 4 * np.sqrt(expected[1] / effective)
    assert abs(float(variance) - expected[1]) <= 4 * expected[1] * np.sqrt(3 / effective)


def test_small_noise_leads_to_the_path_of_least_action():
    bridge = crossings()
    lagrangian = fl.FreidlinWentzell(double_well, lambda q: jnp.eye(1))
    least = fl.least_action_path(lagrangian, LEFT, RIGHT, 0.0, DURATION)
    path = jax.vmap(least.path)(bridge.t[0])
    np.testing.assert_allclose(bridge.guide[-1], path, atol=2e-3)  # the square of a step
    # the logarithm of the prefactor, of order one, is left
    np.testing.assert_allclose(-NOISES[-1] * bridge.log_density[-1], least.action, atol=10 * float(NOISES[-1]))
    spread = jnp.max(jnp.abs(bridge.paths[-1] - path[None]))
    assert float(spread) < 6 * np.sqrt(float(NOISES[-1]))


def test_weights_become_equal_in_proportion_to_the_noise():
    shortfall = 4096 / np.asarray(crossings().effective_sample_size) - 1
    assert np.all(np.diff(shortfall) < 0)
    # the log-weight is of order sqrt(noise), its variance of order noise
    np.testing.assert_allclose(np.log(shortfall[-1] / shortfall[-2]), np.log(0.1), atol=0.3)


class Spring(eqx.Module):
    rates: jax.Array

    def __call__(self, q):
        return -self.rates @ q


RATES = jnp.array([[1.0, 0.4], [-0.7, 0.5]])
SPREAD = jnp.array([[0.5, 0.1], [0.1, 0.3]])
START, END = jnp.array([0.2, -0.5]), jnp.array([1.0, 0.3])


@functools.cache
def spring():
    def solve(rates, key):
        return fl.diffusion_bridge(Spring(rates), SPREAD, 0.4, START, END, key=key, paths=2000, steps=16, throw=False)

    return jax.jit(solve), jax.jit(jax.grad(lambda rates, key: solve(rates, key).log_density))


def gaussian_log_density(rates):
    """By the matrix exponential of Van Loan."""
    zero = jnp.zeros((2, 2))
    block = jax.scipy.linalg.expm(jnp.block([[rates, SPREAD], [zero, -rates.T]]))
    matrix = block[2:, 2:].T
    return jax.scipy.stats.multivariate_normal.logpdf(END, matrix @ START, 0.4 * matrix @ block[:2, 2:])


def test_linear_drift_is_exact():
    bridge = spring()[0](RATES, jax.random.key(0))
    np.testing.assert_allclose(bridge.effective_sample_size, 2000, rtol=1e-9)
    np.testing.assert_allclose(bridge.log_density, gaussian_log_density(RATES), rtol=1e-10)
    slope = spring()[1](RATES, jax.random.key(0))
    np.testing.assert_allclose(slope, jax.grad(gaussian_log_density)(RATES), rtol=1e-9)


def test_paths_of_a_linear_drift_have_the_moments_of_the_closed_bridge():
    bridge = spring()[0](RATES, jax.random.key(0))
    point = jnp.zeros((2, 2))
    closed = fl.gaussian_schroedinger_bridge(START, point, END, point, 0.4, drift=-RATES, diffusion=SPREAD)
    covariance = np.asarray(closed.covariance(0.25))
    states = np.asarray(bridge.paths[:, 4])
    error = 4 * np.sqrt(np.diag(covariance) / 2000)  # four standard errors
    assert np.all(np.abs(states.mean(axis=0) - closed.mean(0.25)) <= error)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.all(np.abs(np.cov(states.T) - covariance) <= 4 * scale * np.sqrt(2 / 2000))


class Well(eqx.Module):
    depth: jax.Array

    def __call__(self, q):
        return self.depth * (q - q**3)


def test_derivative_in_the_drift_agrees_with_differences():
    guide = jnp.linspace(-1.0, 1.0, 17)[:, None]

    def value(depth):
        bridge = fl.diffusion_bridge(
            Well(depth), ONE, 0.5, LEFT, RIGHT, key=jax.random.key(2), paths=64, steps=16, guide=guide, throw=False
        )
        return bridge.log_density + bridge.expectation(lambda path: jnp.sum(path**2))

    step = 1e-4  # the difference errs by its square
    value, slope = jax.jit(value), jax.jit(jax.grad(value))
    at = jnp.array(0.8)
    np.testing.assert_allclose(slope(at), (value(at + step) - value(at - step)) / (2 * step), rtol=1e-6)


def test_points_may_be_pytrees_and_paths_are_resampled():
    start, end = {"a": jnp.array(0.0), "b": jnp.zeros(2)}, {"a": jnp.array(1.0), "b": jnp.ones(2)}

    def drift(q):
        return {"a": -q["a"], "b": jnp.sin(q["b"])}

    bridge = fl.diffusion_bridge(drift, jnp.eye(3), 0.5, start, end, key=jax.random.key(0), paths=100, steps=8)
    assert bridge.paths["b"].shape == (100, 9, 2)
    np.testing.assert_array_equal(bridge.paths["b"][:, -1], 1.0)
    drawn = bridge.resample(jax.random.key(1), 7)
    assert drawn["a"].shape == (7, 9)
    np.testing.assert_allclose(jnp.sum(bridge.weights), 1.0, rtol=1e-12)


def test_failures_are_named():
    def result(drift=double_well, diffusion=ONE, noise=0.5, q1=RIGHT, **options):
        options = {"key": jax.random.key(0), "paths": 64, "steps": 8, "throw": False} | options
        return fl.diffusion_bridge(drift, diffusion, noise, LEFT, q1, **options).result

    assert bool(result(noise=-1.0) == fl.RESULTS.out_of_range)
    assert bool(result(t1=-1.0) == fl.RESULTS.empty_interval)
    assert bool(result(diffusion=0 * ONE) == fl.RESULTS.degenerate_noise)
    assert bool(result(q1=jnp.array([jnp.nan])) == fl.RESULTS.nonfinite)
    # a crossing at any time of a long wait: no one path stands for the rest
    assert bool(result(t1=30.0) == fl.RESULTS.poor_proposals)
    guide = jnp.full((9, 1), 4.0)
    assert bool(result(noise=0.01, guide=guide, t1=4.0) == fl.RESULTS.poor_proposals)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="constant matrix"):
        fl.diffusion_bridge(double_well, lambda q: ONE, 0.5, LEFT, RIGHT, key=jax.random.key(0))
    with pytest.raises(ValueError, match="even number"):
        fl.diffusion_bridge(double_well, ONE, 0.5, LEFT, RIGHT, key=jax.random.key(0), steps=5)
    with pytest.raises(ValueError, match="diffusion must have shape"):
        fl.diffusion_bridge(double_well, jnp.eye(2), 0.5, LEFT, RIGHT, key=jax.random.key(0))
    with pytest.raises(ValueError, match="guide must hold"):
        fl.diffusion_bridge(double_well, ONE, 0.5, LEFT, RIGHT, key=jax.random.key(0), guide=jnp.zeros((5, 1)))


def test_single_precision_stays_single_and_lowers_without_the_device():
    start, end = LEFT.astype(jnp.float32), RIGHT.astype(jnp.float32)

    def solve(start, end):
        key = jax.random.key(0)
        return fl.diffusion_bridge(double_well, ONE.astype(jnp.float32), 0.5, start, end, key=key, throw=False)

    bridge = jax.jit(solve)(start, end)
    assert bridge.paths.dtype == bridge.log_density.dtype == jnp.float32
    assert bool(bridge.succeeded)
    traced = jax.jit(lambda start, end: solve(start, end).log_density).trace(start, end)
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
