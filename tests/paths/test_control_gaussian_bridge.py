"""The Gaussian Schroedinger bridge against its Schroedinger system, its equations of motion, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import fimlag as fl

EPS = np.finfo(float).eps
MEAN0, MEAN1 = jnp.array([0.3, -1.0]), jnp.array([1.5, 0.4])
COVARIANCE0 = jnp.array([[1.0, 0.3], [0.3, 0.5]])
COVARIANCE1 = jnp.array([[0.4, -0.2], [-0.2, 0.9]])
DRIFT = jnp.array([[-0.5, 1.2], [-0.8, 0.1]])
OFFSET = jnp.array([0.2, -0.4])
DIFFUSION = jnp.array([[0.8, 0.1], [0.1, 0.3]])
T0, T1 = 0.5, 2.0


def solve(noise, covariance0=COVARIANCE0, covariance1=COVARIANCE1, **options):
    return fl.gaussian_schroedinger_bridge(MEAN0, covariance0, MEAN1, covariance1, noise, throw=False, **options)


@jax.jit
def over_linear_drift(noise, diffusion=DIFFUSION, covariance1=COVARIANCE1):
    return solve(noise, covariance1=covariance1, drift=DRIFT, offset=OFFSET, diffusion=diffusion, t0=T0, t1=T1)


def reference_transition(drift, diffusion, duration):
    """Van Loan's block exponential."""
    drift, diffusion = np.asarray(drift), np.asarray(diffusion)
    block = scipy.linalg.expm(duration * np.block([[-drift, diffusion], [np.zeros_like(drift), drift.T]]))
    matrix = block[2:, 2:].T
    return matrix, matrix @ block[:2, 2:]


@pytest.mark.parametrize("noise", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("rank", [1, 2])
def test_coupling_solves_the_schroedinger_system(noise, rank):
    # The coupling has the density of the reference up to a factor for each end: so is its precision, off the diagonal.
    diffusion = DIFFUSION if rank == 2 else jnp.diag(jnp.array([0.0, 1.0]))
    bridge = over_linear_drift(noise, diffusion)
    assert bool(bridge.succeeded)
    C = bridge.cross_covariance
    precision = np.linalg.inv(np.block([[COVARIANCE0, C], [C.T, COVARIANCE1]]))
    matrix, covariance = reference_transition(DRIFT, diffusion, T1 - T0)
    expected = -matrix.T @ np.linalg.inv(noise * covariance)
    # the inverse of the coupling loses the digits of its condition
    np.testing.assert_allclose(precision[:2, 2:], expected, rtol=1e-8, atol=1e-8 * np.max(np.abs(expected)))
    assert float(bridge.residual) < 1e3 * EPS


def test_mean_and_covariance_move_as_the_drift_says():
    noise = 0.7
    bridge = over_linear_drift(noise)
    times = jnp.array([T0, 0.9, 1.7, T1 - 1e-9])

    @jax.jit
    @jax.vmap
    def rates(t):
        mean, covariance = bridge.mean(t), bridge.covariance(t)
        slope = jax.jacfwd(lambda x: bridge.drift(t, x))(mean)
        expected = bridge.drift(t, mean), slope @ covariance + covariance @ slope.T + noise * DIFFUSION
        return (jax.jacfwd(bridge.mean)(t), jax.jacfwd(bridge.covariance)(t)), expected

    moved, expected = rates(times)
    np.testing.assert_allclose(moved[0], expected[0], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(moved[1], expected[1], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(bridge.mean(T1), MEAN1, rtol=1e-13)
    np.testing.assert_allclose(bridge.covariance(T1), COVARIANCE1, rtol=1e-12)
    np.testing.assert_allclose(bridge.covariance(T0), COVARIANCE0, rtol=1e-12)
    np.testing.assert_allclose(bridge.covariance(T0, T1), bridge.cross_covariance, rtol=1e-12)


def test_action_is_the_energy_of_the_control():
    bridge = over_linear_drift(0.7)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    times = T0 + 0.5 * (T1 - T0) * (1 + nodes)

    @jax.jit
    @jax.vmap
    def energy(t):
        mean, covariance = bridge.mean(t), bridge.covariance(t)
        slope = jax.jacfwd(lambda x: bridge.control(t, x))(mean)
        inverse = jnp.linalg.inv(DIFFUSION)
        return 0.5 * (bridge.control(t, mean) @ inverse @ bridge.control(t, mean)) + 0.5 * jnp.trace(
            inverse @ slope @ covariance @ slope.T
        )

    total = 0.5 * (T1 - T0) * np.sum(weights * np.asarray(energy(jnp.array(times))))
    np.testing.assert_allclose(bridge.action, total, rtol=1e-10)


def test_brownian_bridge_between_scalar_normals_is_the_published_formula():
    # Bunne et al. (2023), theorem 3, with their sigma^2 the noise
    s0, s1, noise = 1.3, 0.4, 0.8
    D = np.sqrt(4 * s0 * s1 + noise**2)
    C = 0.5 * (D - noise)
    bridge = fl.gaussian_schroedinger_bridge(jnp.zeros(1), s0 * jnp.eye(1), jnp.ones(1), s1 * jnp.eye(1), noise)
    np.testing.assert_allclose(bridge.cross_covariance[0, 0], C, rtol=1e-14)
    t = 0.3
    expected = (1 - t) ** 2 * s0 + t**2 * s1 + 2 * t * (1 - t) * C + noise * t * (1 - t)
    np.testing.assert_allclose(bridge.covariance(t)[0, 0], expected, rtol=1e-14)


def test_no_noise_is_optimal_transport():
    bridge = solve(0.0)
    root = scipy.linalg.sqrtm(np.asarray(COVARIANCE0))
    inner = scipy.linalg.sqrtm(root @ np.asarray(COVARIANCE1) @ root)
    bures = np.trace(COVARIANCE0 + COVARIANCE1 - 2 * inner)
    squared = np.sum((MEAN1 - MEAN0) ** 2) + bures
    np.testing.assert_allclose(bridge.action, 0.5 * squared, rtol=1e-12)
    transport = np.linalg.solve(root, inner) @ np.linalg.inv(root)
    halfway = 0.5 * (np.eye(2) + transport)
    np.testing.assert_allclose(bridge.covariance(0.5), halfway @ COVARIANCE0 @ halfway.T, rtol=1e-12)
    nearly = solve(1e-6)
    # the entropy of the noise adds noise times its logarithm
    np.testing.assert_allclose(nearly.action, bridge.action, atol=2e-6 * np.log(1e6))
    np.testing.assert_allclose(nearly.cross_covariance, bridge.cross_covariance, atol=2e-6)


def test_great_noise_makes_the_ends_independent():
    noise = 1e9
    bridge = solve(noise)
    # C = Sigma0 Sigma1 / noise to first order, with no digit lost
    np.testing.assert_allclose(noise * bridge.cross_covariance, COVARIANCE0 @ COVARIANCE1, rtol=1e-8)
    expected = 0.25 * (COVARIANCE0 + COVARIANCE1) + 0.25 * noise * jnp.eye(2)
    np.testing.assert_allclose(bridge.covariance(0.5), expected, rtol=1e-14, atol=1 / noise)


def test_bridge_between_points_is_that_of_ornstein_uhlenbeck():
    rate, noise, q0, q1, t = 1.7, 0.6, 0.4, -1.1, 0.35
    point = jnp.zeros((1, 1))
    bridge = fl.gaussian_schroedinger_bridge(
        jnp.array([q0]), point, jnp.array([q1]), point, noise, drift=jnp.array([[-rate]])
    )
    sinh = np.sinh
    mean = (q0 * sinh(rate * (1 - t)) + q1 * sinh(rate * t)) / sinh(rate)
    variance = noise * sinh(rate * t) * sinh(rate * (1 - t)) / (rate * sinh(rate))
    np.testing.assert_allclose(bridge.mean(t)[0], mean, rtol=1e-13)
    np.testing.assert_allclose(bridge.covariance(t)[0, 0], variance, rtol=1e-13)
    x = jnp.array([0.2])
    drift = rate * (q1 - x[0] * np.cosh(rate * (1 - t))) / sinh(rate * (1 - t))
    np.testing.assert_allclose(bridge.drift(t, x)[0], drift, rtol=1e-12)


def test_stiff_reference_keeps_its_digits():
    rates = jnp.diag(jnp.array([-0.01, -300.0]))
    bridge = solve(1.0, drift=rates, t1=3.0)
    assert bool(bridge.succeeded)
    # the fast coordinate has forgotten its start, and is stationary in between: variance 1 / 600
    np.testing.assert_allclose(bridge.covariance(1.5)[1, 1], 1 / 600, rtol=1e-12)
    np.testing.assert_allclose(bridge.covariance(3.0), COVARIANCE1, rtol=1e-11)


def test_sampled_paths_have_the_covariance_stated():
    bridge = over_linear_drift(0.7)
    times = jnp.array([T0, 1.1, T1])
    count = 20_000
    keys = jax.random.split(jax.random.key(0), count)
    paths = jax.jit(jax.vmap(lambda key: bridge.sample(key, times)))(keys)
    np.testing.assert_allclose(jnp.mean(paths, axis=0), jax.vmap(bridge.mean)(times), atol=4 / np.sqrt(count))
    found = np.cov(np.asarray(paths[:, 0]).T, np.asarray(paths[:, 1]).T)[:2, 2:]
    # a covariance of n pairs errs by sqrt((s11 s22 + s12^2) / n), at most sqrt(2 / n) here: four of these
    np.testing.assert_allclose(found, bridge.covariance(T0, 1.1), atol=4 * np.sqrt(2 / count))


@pytest.mark.parametrize("isotropic", [False, True])
def test_derivatives_agree_with_differences(isotropic):
    covariance1 = 2.0 * jnp.eye(2) if isotropic else COVARIANCE1
    covariance0 = jnp.eye(2) if isotropic else COVARIANCE0
    direction = jnp.array([[0.3, 0.1], [0.1, -0.2]])

    def value(s):
        bridge = solve(0.5, covariance0 + s * direction, covariance1 - s * direction)
        return bridge.action + jnp.sum(bridge.covariance(0.4))

    value, slope = jax.jit(value), jax.jit(jax.grad(value))
    curvature, step = jax.jit(jax.grad(jax.grad(value))), 1e-4  # the differences err by its square
    np.testing.assert_allclose(slope(0.0), (value(step) - value(-step)) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(curvature(0.0), (slope(step) - slope(-step)) / (2 * step), rtol=1e-6)


def test_failures_are_named():
    assert bool(solve(-1.0).result == fl.RESULTS.out_of_range)
    assert bool(solve(1.0, covariance0=-COVARIANCE0).result == fl.RESULTS.out_of_range)
    assert bool(solve(0.0, covariance1=jnp.zeros((2, 2))).result == fl.RESULTS.out_of_range)
    assert bool(solve(1.0, t1=-1.0).result == fl.RESULTS.empty_interval)
    assert bool(solve(jnp.nan).result == fl.RESULTS.nonfinite)
    assert bool(solve(1.0, diffusion=jnp.diag(jnp.array([1.0, 0.0]))).result == fl.RESULTS.degenerate_noise)
    assert np.all(np.isnan(solve(1.0).mean(1.5)))
    with pytest.raises(ValueError, match="covariance1"):
        solve(1.0, covariance1=jnp.eye(3))


def test_single_precision_stays_single_and_batches():
    arrays = [x.astype(jnp.float32) for x in (MEAN0, COVARIANCE0, MEAN1, COVARIANCE1)]
    noises = jnp.array([0.1, 1.0, 10.0], jnp.float32)
    batch = jax.jit(jax.vmap(lambda noise: fl.gaussian_schroedinger_bridge(*arrays, noise, throw=False)))(noises)
    assert batch.action.dtype == jnp.float32
    np.testing.assert_allclose(batch.action[1], solve(1.0).action, rtol=1e-5)


def test_integers_are_numbers():
    one = np.ones((1, 1), int)
    bridge = fl.gaussian_schroedinger_bridge(one[0], one, 2 * one[0], 4 * one, 3)
    np.testing.assert_allclose([bridge.cross_covariance[0, 0], bridge.covariance(0.5)[0, 0]], [1.0, 2.5], rtol=1e-14)


def test_bridge_lowers_without_the_device():
    traced = jax.jit(lambda noise: solve(noise).covariance(0.5)).trace(0.5)
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
