"""What paths tell of a drift, against closed forms of Ornstein-Uhlenbeck processes and drawn likelihood ratios."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

RATE, NOISE, DURATION = 0.8, 0.3, 2.5
DIFFUSION = jnp.array([[0.8, 0.3], [0.3, 0.5]])


def restoring(rate, q):
    return -rate * q


def from_point(x0):
    """The information on the rate of an Ornstein-Uhlenbeck process that starts at a point."""
    lost = 1 - np.exp(-2 * RATE * DURATION)
    return x0**2 * lost / (2 * RATE * NOISE) + DURATION / (2 * RATE) - lost / (4 * RATE**2)


def in_equilibrium(key):
    return jnp.sqrt(NOISE / (2 * RATE)) * jax.random.normal(key, (1,))


@pytest.mark.parametrize(
    ("start", "expected"),
    [(jnp.zeros(1), from_point(0.0)), (jnp.array([1.5]), from_point(1.5)), (in_equilibrium, DURATION / (2 * RATE))],
    ids=["at rest", "displaced", "in equilibrium"],
)
def test_information_on_the_rate_of_an_ornstein_uhlenbeck_process_is_its_closed_form(start, expected):
    options = {"t1": DURATION, "key": jax.random.key(2), "paths": 4096, "steps": 64, "throw": False}
    found = jax.jit(lambda: fl.expected_path_information(restoring, 1.0, NOISE, RATE, start, **options))()
    # Four standard errors, and what steps of this length err by: a third of their change, to second order.
    assert abs(found.value[0, 0] - expected) < 4 * found.standard_error[0, 0] + found.error_estimate[0, 0]
    assert found.standard_error[0, 0] < 0.03 * expected


def test_steps_err_by_their_square_for_a_constant_diffusion():
    """Without noise to speak of the information is that of one decay: the errors are those of the scheme."""

    def error(steps):
        options = {"t1": DURATION, "key": jax.random.key(0), "paths": 2, "steps": steps}
        found = fl.expected_path_information(restoring, 1.0, 1e-16, RATE, jnp.ones(1), **options)
        decay = -np.expm1(-2 * RATE * DURATION) / (2 * RATE)
        return float(found.value[0, 0]) * 1e-16 / decay - 1, float(found.error_estimate[0, 0]) * 1e-16 / decay

    (coarse, estimate), (fine, _) = error(64), error(128)
    assert abs(np.log2(coarse / fine) - 2) < 0.05
    assert abs(estimate / abs(coarse) - 3) < 0.2


def drift(theta, q):
    return jnp.stack([-theta["a"] * q[0] + theta["b"] * q[1], -theta["b"] * q[0] - theta["a"] * jnp.sin(q[1])])


THETA = {"a": 0.7, "b": 0.4}


def test_information_of_a_path_is_the_curvature_of_its_action_for_a_linear_parameter():
    nodes = jnp.asarray(np.cumsum(np.random.default_rng(1).normal(size=(40, 2)), axis=0))
    smooth = lambda t: jnp.stack([jnp.sin(t), jnp.exp(-t)])  # noqa: E731

    def both(path, diffusion):
        def of_vector(theta):
            lagrangian = fl.FreidlinWentzell(lambda q: drift({"a": theta[0], "b": theta[1]}, q), diffusion)
            return fl.action(lagrangian, path, 0.0, DURATION) / NOISE

        found = fl.path_information(drift, diffusion, NOISE, THETA, path, 0.0, DURATION)
        return jax.hessian(of_vector)(jnp.array([0.7, 0.4])), found

    varying = lambda q: DIFFUSION * (1.0 + q[0] ** 2)  # noqa: E731
    for path, diffusion in ((nodes, DIFFUSION), (smooth, varying), (fl.Path.from_nodes(nodes, 0.0, DURATION), 2.0)):
        curvature, found = jax.jit(lambda path=path, diffusion=diffusion: both(path, diffusion))()
        np.testing.assert_allclose(found, curvature, rtol=1e-11)


def test_minus_the_curvature_of_the_likelihood_is_the_information_seen():
    path = lambda t: jnp.exp(-t)[None]  # noqa: E731
    likelihood = lambda rate: fl.path_log_likelihood(lambda q: -rate * q, 1.0, NOISE, path)  # noqa: E731
    found = fl.path_information(restoring, 1.0, NOISE, RATE, path)
    np.testing.assert_allclose(found, [[-jax.jit(jax.hessian(likelihood))(RATE)]], rtol=1e-12)
    np.testing.assert_allclose(found, [[-np.expm1(-2.0) / 2 / NOISE]], rtol=1e-12)


def test_mean_curvature_at_the_truth_is_the_information_also_for_a_nonlinear_parameter():
    """Ito's score of dX = sin(theta X) dt + noise, on paths drawn by numpy: variance and mean slope of it."""
    theta, count, steps = 1.3, 20_000, 200
    rng, step = np.random.default_rng(4), 1.0 / steps
    x, score, slope = np.full(count, 0.4), np.zeros(count), np.zeros(count)
    for _ in range(steps):
        kick = np.sqrt(NOISE * step) * rng.normal(size=count)
        first, second = x * np.cos(theta * x), -(x**2) * np.sin(theta * x)
        score += first * kick / NOISE
        slope += (first**2 * step - second * kick) / NOISE
        x = x + np.sin(theta * x) * step + kick
    options = {"key": jax.random.key(1), "paths": 4096, "steps": 64, "throw": False}
    found = jax.jit(
        lambda: fl.expected_path_information(
            lambda k, q: jnp.sin(k * q), 1.0, NOISE, theta, jnp.array([0.4]), **options
        )
    )()
    value, error = float(found.value[0, 0]), float(found.standard_error[0, 0])
    # Euler's steps err by their first power: 1 / 200 of the value.
    assert abs(np.mean(slope) - value) < 4 * np.hypot(np.std(slope) / np.sqrt(count), error) + value * step
    scatter = np.std(score**2) / np.sqrt(count)
    assert abs(np.mean(score**2) - value) < 4 * np.hypot(scatter, error) + value * step


def test_relative_entropy_of_paths_is_that_of_girsanov_and_of_sampled_likelihood_ratios():
    """Two Ornstein-Uhlenbeck processes from a point, a likelihood ratio of increments drawn by numpy, and a formula."""
    other, x0, count, steps = 1.9, 1.2, 20_000, 250
    expected = 0.5 * (other - RATE) ** 2 * from_point(x0)
    options = {"t1": DURATION, "key": jax.random.key(3), "paths": 4096, "steps": 64, "throw": False}
    laws = (lambda q: -RATE * q), (lambda q: -other * q)
    found = jax.jit(lambda: fl.path_kl_divergence(*laws, 1.0, NOISE, jnp.array([x0]), **options))()
    assert abs(found.value - expected) < 4 * found.standard_error + found.error_estimate
    rng, step = np.random.default_rng(8), DURATION / steps
    x, ratio = np.full(count, x0), np.zeros(count)
    for _ in range(steps):
        increment = -RATE * x * step + np.sqrt(NOISE * step) * rng.normal(size=count)
        ratio += ((increment + other * x * step) ** 2 - (increment + RATE * x * step) ** 2) / (2 * NOISE * step)
        x = x + increment
    # Euler's steps err by their first power.
    assert abs(np.mean(ratio) - expected) < 4 * np.std(ratio) / np.sqrt(count) + expected * 2 * other * step


def test_hessian_of_the_relative_entropy_of_paths_is_the_information():
    options = {"key": jax.random.key(6), "paths": 64, "steps": 16, "throw": False}
    start, theta = jnp.array([0.5, -0.2]), jnp.array([0.7, 0.4])
    law = lambda theta, q: drift({"a": theta[0], "b": theta[1]}, q)  # noqa: E731

    def divergence(other):
        laws = (lambda q: law(theta, q)), (lambda q: law(other, q))
        return fl.path_kl_divergence(*laws, DIFFUSION, NOISE, start, **options).value

    information = fl.expected_path_information(law, DIFFUSION, NOISE, theta, start, **options).value
    np.testing.assert_allclose(jax.jit(jax.hessian(divergence))(theta), information, rtol=1e-11)


def test_noise_that_grows_with_the_point_is_understood_as_ito():
    """dX = r X dt + s X dW has information T / s^2 on r whatever the path; the mean of X^2 is exp((2 r + s^2) T)."""
    rate, spread = 0.3, 0.5
    options = {"key": jax.random.key(9), "paths": 8192, "steps": 64, "throw": False}
    volatile = lambda q: spread**2 * q**2  # noqa: E731
    grown = lambda r, q: r * q  # noqa: E731
    found = fl.expected_path_information(grown, volatile, 1.0, rate, jnp.ones(1), **options)
    np.testing.assert_allclose(found.value, [[1 / spread**2]], rtol=1e-12)
    squares = fl.path_kl_divergence(
        lambda q: rate * q, lambda q: rate * q + spread * q**2, volatile, 1.0, jnp.ones(1), **options
    )
    growth = 2 * rate + spread**2
    expected = 0.5 * np.expm1(growth) / growth
    assert abs(squares.value - expected) < 4 * squares.standard_error + 2 * squares.error_estimate


def test_failures_are_reported_and_mistakes_refused():
    key = jax.random.key(0)

    def result(noise=0.5, t1=1.0, drift=restoring):
        options = {"t1": t1, "key": key, "paths": 2, "steps": 2, "throw": False}
        return fl.expected_path_information(drift, 1.0, noise, RATE, jnp.ones(1), **options).result

    assert bool(result(noise=-1.0) == fl.RESULTS.out_of_range)
    assert bool(result(t1=-1.0) == fl.RESULTS.empty_interval)
    assert bool(result(drift=lambda k, q: jnp.log(-q) * k) == fl.RESULTS.nonfinite)
    with pytest.raises(ValueError, match="even number"):
        fl.path_kl_divergence(lambda q: q, lambda q: q, 1.0, 1.0, jnp.ones(1), key=key, steps=3)
    with pytest.raises(ValueError, match="the drift"):
        fl.path_information(lambda k, q: k * q[:1], 1.0, 1.0, 1.0, jnp.ones((3, 2)))
    assert np.isnan(fl.path_information(restoring, 1.0, -1.0, 1.0, jnp.ones((3, 1))))


def test_single_precision_stays_single():
    start, rate = jnp.ones(1, jnp.float32), jnp.float32(RATE)
    options = {"key": jax.random.key(0), "paths": 2, "steps": 2, "throw": False}
    for function in (
        lambda q: fl.path_information(restoring, 1.0, NOISE, rate, jnp.stack([q, 2 * q])),
        lambda q: fl.expected_path_information(restoring, 1.0, NOISE, rate, q, **options).value,
        lambda q: fl.path_kl_divergence(lambda x: x, lambda x: 2 * x, 1.0, NOISE, q, **options).standard_error,
    ):
        assert jax.eval_shape(function, start).dtype == jnp.float32
