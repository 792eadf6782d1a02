"""The Fisher action that statistics see and the speed limits, against moments and regressions done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import fimlag as fl

NORMAL = fl.families.Normal()


def line(t):
    return jnp.stack([0.25 + 0.8 * (t - 0.5), 1.0 - 0.5 * (t - 0.5)])


def seen_of_normal(path, statistics, **options):
    return jax.jit(lambda: fl.explained_action(NORMAL, path, statistics, throw=False, **options))()


def test_shares_of_a_normal_are_those_of_its_moments():
    """v.F.v = m'^2 / s^2 + 2 s'^2 / s^2; x sees m'^2 / s^2, x^2 has variance 4 m^2 s^2 + 2 s^4."""
    statistics = (lambda x: x, lambda x: x**2, lambda x: {"first": x, "second": x**2})
    found = [seen_of_normal(line, A, elements=1, points=5) for A in statistics]
    t = np.asarray(found[0].times)
    m, s, dm, ds = 0.25 + 0.8 * (t - 0.5), 1.0 - 0.5 * (t - 0.5), 0.8, -0.5
    square = (dm**2 + 2 * ds**2) / s**2
    of_square = (2 * m * dm + 2 * s * ds) ** 2 / (4 * m**2 * s**2 + 2 * s**4)
    for solution, expected in zip(found, (dm**2 / s**2 / square, of_square / square, np.ones_like(t)), strict=True):
        np.testing.assert_allclose(solution.share, expected, rtol=1e-12)
        np.testing.assert_allclose(solution.action, 0.5 * square, rtol=1e-12)
        np.testing.assert_allclose(solution.total, solution.weights @ (expected * square) / (solution.weights @ square))
        assert bool(solution.succeeded)
        np.testing.assert_array_equal(solution.standard_error, 0.0)
    np.testing.assert_allclose(found[2].rate[:, 1], 2 * m * dm + 2 * s * ds, rtol=1e-12)
    np.testing.assert_allclose(found[2].covariance[:, 0, 1], 2 * m * s**2, rtol=1e-11)
    np.testing.assert_allclose([each.share[2] for each in found], [0.32 / 0.57, 0.36 / 2.565, 1.0], rtol=1e-12)
    # The action is that of the Lagrangian.
    spent = jax.jit(lambda: fl.action(fl.FisherLagrangian(NORMAL), line, elements=1, points=5))()
    np.testing.assert_allclose(found[0].weights @ found[0].action, spent, rtol=1e-13)


def test_statistics_that_span_the_score_along_the_path_see_all_of_it():
    """A path in the mean alone is seen by x; the score itself is complete for any family, exponential or not."""
    mean_alone = seen_of_normal(lambda t: jnp.stack([t, jnp.full_like(t, 1.3)]), lambda x: x)
    np.testing.assert_allclose(mean_alone.share, 1.0, rtol=1e-14)
    blind = seen_of_normal(lambda t: jnp.stack([0.0 * t, 1.0 + t]), lambda x: (x, x**3))
    np.testing.assert_allclose(blind.share, 0.0, atol=1e-14)
    cauchy = fl.families.Cauchy()
    path = lambda t: jnp.stack([2.0 * t, jnp.exp(-t)])  # noqa: E731
    scores = lambda x: fl.score(cauchy, path(0.5), x)  # noqa: E731
    # One Gauss point at the middle: the scores there are the statistics.
    found = fl.explained_action(cauchy, path, scores, elements=1, points=1)
    np.testing.assert_allclose(found.total, 1.0, rtol=1e-12)


def test_repeated_and_constant_statistics_change_nothing_and_are_reported():
    plain = seen_of_normal(line, lambda x: jnp.stack([x, x**2]))
    singular = seen_of_normal(line, lambda x: jnp.stack([x, 0.0 * x + 1e6, 3.0 - 2.0 * x, x**2, x + x**2]))
    np.testing.assert_allclose(singular.share, plain.share, rtol=1e-9)
    np.testing.assert_array_equal(singular.rank, 2)
    np.testing.assert_array_equal(plain.rank, 2)


def test_affine_changes_of_statistics_do_not_matter():
    one = seen_of_normal(line, lambda x: jnp.stack([x**2, jnp.tanh(x)]))
    other = seen_of_normal(line, lambda x: jnp.stack([1e7 + 1e-3 * jnp.tanh(x), 40.0 * x**2 - 7.0 * jnp.tanh(x)]))
    # The offset costs the digits that it has more than the spread: ten.
    np.testing.assert_allclose(one.share, other.share, atol=1e-5)
    assert np.all((one.share > 0) & (one.share < 1))


def test_shares_of_a_sample_lie_within_their_errors():
    def draw(key, theta, n):
        return theta[0] + theta[1] * jax.random.normal(key, (n,), theta.dtype)

    sampled = fl.StatisticalModel(NORMAL.log_likelihood, fl.MonteCarlo(draw, 20_000, jax.random.key(5)))
    statistics = lambda x: jnp.stack([x**2, jnp.cos(x)])  # noqa: E731
    found = fl.explained_action(sampled, line, statistics, elements=2, points=4)
    exact = seen_of_normal(line, statistics, elements=2, points=4)
    assert np.all(np.abs(found.share - exact.share) < 4 * found.standard_error)
    # What spans the score outcome by outcome sees all of it in a sample too.
    complete = fl.explained_action(sampled, line, lambda x: (x, x**2), elements=1, points=2)
    np.testing.assert_allclose(complete.share, 1.0, rtol=1e-12)
    # The error is right: R^2 scatters as 2 R (1 - R^2) / sqrt n for normal variables, and these are not far from them.
    assert np.all((found.standard_error > 0) & (found.standard_error < 0.05))


RATES = np.array([[-1.0, 0.4, 0.1], [0.7, -0.9, 0.5], [0.3, 0.5, -0.6]])
OCCUPIED, ENERGIES = np.array([0.8, 0.15, 0.05]), np.array([0.0, 1.0, 3.0])


def jump_process(t):
    """Probabilities of the process p' = W p, the last left out, by its modes."""
    decays, modes = np.linalg.eig(RATES)
    shares = np.linalg.solve(modes, OCCUPIED)
    return (jnp.asarray(modes) @ (jnp.exp(jnp.asarray(decays) * t) * jnp.asarray(shares)))[:2]


def test_a_discrete_model_sees_by_its_indicators():
    """All indicators see everything, one of them its own share."""
    model = fl.families.Categorical(3)
    found = jax.jit(
        lambda: [
            fl.explained_action(model, jump_process, A, 0.0, 2.0, elements=1, throw=False)
            for A in (lambda x: jnp.stack([x == 0, x == 1]), lambda x: x == 0)
        ]
    )()
    np.testing.assert_allclose(found[0].share, 1.0, rtol=1e-12)
    for i, t in enumerate(np.asarray(found[1].times)):
        p = expm(RATES * t) @ OCCUPIED
        dp = RATES @ p
        square = np.sum(dp**2 / p)
        np.testing.assert_allclose(2 * found[1].action[i], square, rtol=1e-11)
        np.testing.assert_allclose(found[1].share[i], dp[0] ** 2 / (p[0] * (1 - p[0])) / square, rtol=1e-11)


def test_no_mean_changes_faster_than_the_speed_limit_of_a_jump_process():
    energy, model = (lambda x: jnp.asarray(ENERGIES)[x]), fl.families.Categorical(3)
    limit = jax.jit(lambda: fl.speed_limit(model, jump_process, energy, 0.0, 2.0, throw=False))()
    for i in range(0, 64, 9):
        p = expm(RATES * float(limit.times[i])) @ OCCUPIED
        dp, spread = RATES @ p, np.sqrt(ENERGIES**2 @ p - (ENERGIES @ p) ** 2)
        np.testing.assert_allclose(limit.rate[i, 0], ENERGIES @ dp, rtol=1e-11)
        np.testing.assert_allclose(limit.bound[i, 0], spread * np.sqrt(np.sum(dp**2 / p)), rtol=1e-11)
    assert np.all(np.abs(limit.rate) <= limit.bound * (1 + 1e-13))
    change = ENERGIES @ (expm(2.0 * RATES) @ OCCUPIED - OCCUPIED)
    np.testing.assert_allclose(limit.change[0], change, rtol=1e-12)
    assert abs(change) <= float(limit.reach[0])
    np.testing.assert_allclose(limit.duration, 2.0, rtol=1e-13)
    assert float(limit.least_duration) < 2.0


def test_along_a_geodesic_the_least_duration_is_the_duration():
    """Half-circles in (mean / sqrt 2, deviation), of speed sqrt 2 in the hyperbolic angle."""
    limit = fl.speed_limit(
        NORMAL,
        lambda t: 1.7 * jnp.stack([jnp.sqrt(2.0) * jnp.tanh(t), 1 / jnp.cosh(t)]),
        lambda x: (x, x**2),
        -1.0,
        2.0,
    )
    np.testing.assert_allclose([limit.length, limit.least_duration], [3.0 * np.sqrt(2.0), 3.0], rtol=1e-12)
    assert np.all(limit.efficiency <= 1 + 1e-13)


@pytest.mark.slow
def test_where_nothing_moves_no_share_is_told_and_gradients_are_finite():
    still = fl.explained_action(NORMAL, lambda t: jnp.stack([0.0 * t, 1.0 + 0.0 * t]), lambda x: x, elements=1)
    assert np.all(np.isnan(jnp.append(still.share, still.total)))

    def total(bend):
        path = lambda t: jnp.stack([t + bend * t**2, 1.0 + t])  # noqa: E731
        return fl.explained_action(
            NORMAL, path, lambda x: jnp.stack([x, x, x**3]), elements=1, points=3, throw=False
        ).total

    value = jax.jit(jax.vmap(total))
    slope, curvature = jax.jit(lambda b: (jax.grad(total)(b), jax.hessian(total)(b)))(0.4)
    below, at, above = value(jnp.array([0.4 - 1e-3, 0.4, 0.4 + 1e-3]))
    # Central differences of step 1e-3 err by its square.
    np.testing.assert_allclose(slope, (above - below) / 2e-3, rtol=1e-5)
    np.testing.assert_allclose(curvature, (above - 2 * at + below) / 1e-6, rtol=1e-4)


def test_failures_are_reported_and_mistakes_refused():
    outside = fl.explained_action(NORMAL, lambda t: jnp.stack([t, 0.5 - t]), lambda x: x, elements=1, throw=False)
    assert not bool(outside.succeeded)
    backward = fl.explained_action(NORMAL, line, lambda x: x, 1.0, 0.0, elements=1, throw=False)
    assert bool(backward.result == fl.RESULTS.empty_interval)
    resolved = [lambda x: x**4, jnp.exp]
    unresolved = [lambda x: jnp.cos(50.0 * x), lambda x: x > 0.2, jnp.abs, lambda x: jnp.exp(0.3 * x**2)]
    found = jax.jit(
        lambda: [
            fl.explained_action(NORMAL, line, A, elements=1, points=1, throw=False).result
            for A in resolved + unresolved
        ]
    )()
    told = [bool(result == fl.RESULTS.unresolved_statistic) for result in found]
    assert told == [False, False, True, True, True, True]
    data = fl.StatisticalModel(NORMAL.log_likelihood, fl.Empirical(jnp.arange(4.0)))
    with pytest.raises(TypeError, match="observed data"):
        fl.explained_action(data, line, lambda x: x)
    with pytest.raises(TypeError, match="takes no expectations"):
        fl.speed_limit(fl.ConditionalModel(lambda th, x: th, NORMAL, jnp.arange(3.0)), line, lambda x: x)
    with pytest.raises(TypeError, match="real"):
        fl.explained_action(NORMAL, line, lambda x: jax.lax.complex(x, x))


def test_single_precision_stays_single():
    def solve(a):
        return fl.explained_action(NORMAL, lambda t: a * t + a, lambda x: (x, x**2), elements=1)

    ends = jnp.array([0.5, 1.0], jnp.float32)
    found = solve(ends)
    assert found.total.dtype == found.rate.dtype == jnp.float32
    np.testing.assert_allclose(found.total, 1.0, rtol=1e-5)
