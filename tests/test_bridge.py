"""The Fisher information matrix and the Lagrangian: each relation between them, against a computation of its own.

The library starts from log-likelihoods and costs; the other side of each identity is written out here, in closed form
or by numpy and scipy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, optimize, special, stats

import fimlag as fl

START, END = np.array([0.0, 1.0]), np.array([2.0, 0.5])


def log_likelihood(theta, x):
    return jax.scipy.stats.norm.logpdf(x, theta[0], theta[1])


LINE = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda theta: theta[0], scale=lambda theta: theta[1])
MODEL = fl.StatisticalModel(log_likelihood, LINE)
"""A normal distribution by its log-likelihood alone."""


def raos_distance(a, b):
    """Of normals: the half-plane of (mean / sqrt 2, deviation), of curvature -1/2."""
    chord = (a[0] - b[0]) ** 2 / 2 + (a[1] - b[1]) ** 2
    return np.sqrt(2) * 2 * np.arcsinh(0.5 * np.sqrt(chord / (a[1] * b[1])))


def orders(errors):
    """The orders seen as a step is halved."""
    return np.log2(np.asarray(errors)[:-1] / np.asarray(errors)[1:])


# --- The information is a metric, and the metric a kinetic energy ----------------------------------------------------


@pytest.mark.parametrize("duration", [0.5, 3.0])
def test_least_action_over_a_time_is_the_squared_distance_over_twice_the_time(duration):
    lagrangian = fl.FisherLagrangian(MODEL)
    solution = fl.least_action_path(lagrangian, jnp.asarray(START), jnp.asarray(END), 0.0, duration)
    np.testing.assert_allclose(solution.action, raos_distance(START, END) ** 2 / (2 * duration), rtol=1e-11)
    assert int(solution.morse_index) == 0


def test_divergences_agree_with_half_the_squared_line_element_to_their_orders():
    """The line element is that of the closed form, diag(1, 2) / sigma^2."""
    theta, v = jnp.array([0.3, 0.8]), jnp.array([0.5, 0.4])
    steps = 0.1 / 2.0 ** np.arange(4)

    @jax.jit
    @jax.vmap
    def excess(step):
        there = theta + step * v
        both = MODEL, theta, there
        values = [
            fl.kl_divergence(*both),
            fl.alpha_divergence(*both, 0.5),
            fl.jeffreys_divergence(*both) / 2,
            4 * fl.hellinger_distance(*both) ** 2,
        ]
        return jnp.stack(values) - 0.5 * step**2 * (v[0] ** 2 + 2 * v[1] ** 2) / theta[1] ** 2

    errors = np.abs(excess(jnp.asarray(steps)))
    # Jeffreys' and Hellinger's at the middle of the step are even in it; at its start they have the third order too.
    for column, order in zip(errors.T, (3, 3, 3, 3), strict=True):
        assert abs(orders(column)[-1] - order) < 0.1


def test_symmetric_divergences_agree_to_one_order_more_about_the_middle_of_the_step():
    theta, v = jnp.array([0.3, 0.8]), jnp.array([0.5, 0.4])

    @jax.jit
    @jax.vmap
    def excess(step):
        both = MODEL, theta - step / 2 * v, theta + step / 2 * v
        values = [
            fl.kl_divergence(*both),
            fl.jeffreys_divergence(*both) / 2,
            4 * fl.hellinger_distance(*both) ** 2,
        ]
        return jnp.stack(values) - 0.5 * step**2 * (v[0] ** 2 + 2 * v[1] ** 2) / theta[1] ** 2

    errors = np.abs(excess(jnp.asarray(0.2 / 2.0 ** np.arange(4))))
    for column, order in zip(errors.T, (3, 4, 4), strict=True):
        assert abs(orders(column)[-1] - order) < 0.1


def geodesic_of_normals(share):
    """A half-circle about a point of the axis in the half-plane, at constant speed."""
    (x0, s0), (x1, s1) = (np.array([q[0] / np.sqrt(2), q[1]]) for q in (START, END))
    centre = (x1**2 + s1**2 - x0**2 - s0**2) / (2 * (x1 - x0))
    radius = np.hypot(x0 - centre, s0)
    first, last = (np.arctanh((x - centre) / radius) for x in (x0, x1))
    angle = first + (last - first) * share
    return np.stack([np.sqrt(2) * (centre + radius * np.tanh(angle)), radius / np.cosh(angle)], axis=-1)


def test_chains_of_divergences_along_the_geodesic_tend_to_least_action():
    """N times the sum of relative entropies as O(1/N), of Jeffreys' halves as O(1/N^2)."""
    normal, half_square = fl.families.Normal(), raos_distance(START, END) ** 2 / 2

    def half_jeffreys(a, b):
        return fl.jeffreys_divergence(normal, a, b) / 2

    def relative_entropy(a, b):
        return fl.kl_divergence(normal, a, b)

    for divergence, order in ((relative_entropy, 1), (half_jeffreys, 2)):
        action = jax.jit(lambda points, divergence=divergence: fl.divergence_action(divergence, points))
        chains = [jnp.asarray(geodesic_of_normals(np.linspace(0, 1, steps + 1))) for steps in (64, 128)]
        errors = [abs(float(action(points)) - half_square) for points in chains]
        assert abs(orders(errors)[0] - order) < 0.05
        np.testing.assert_allclose(action(chains[0]), half_square, rtol=0.02)


# --- Estimation as mechanics ------------------------------------------------------------------------------------------


def test_the_estimate_is_at_rest_and_friction_leads_to_it_along_the_natural_gradient():
    """A Poisson's mean under its log-likelihood: the natural-gradient flow is x + (m - x) exp(-s)."""
    data, start, slow = 3.2, 1.0, 1.5
    model = fl.families.Poisson()
    lagrangian = fl.FisherLagrangian(model, lambda m: m - data * jnp.log(m))
    np.testing.assert_allclose(fl.acceleration(lagrangian, 0.0, data, 0.0), 0.0, atol=1e-14)

    def end(friction):
        motion = fl.integrate(
            fl.Forced(lagrangian, fl.fisher_friction(model, friction)),
            start,
            (data - start) / friction,
            t1=slow * friction,
            steps=6000,
            save_every=6000,
            method=fl.GaussLegendre(2),
        )
        return motion.q[-1]

    exact = data + (start - data) * np.exp(-slow)
    errors = np.array([abs(float(end(friction)) - exact) for friction in (20.0, 40.0)])
    assert abs(orders(errors)[0] - 2) < 0.05


def test_without_friction_energy_is_kept_to_the_order_of_the_method():
    lagrangian = fl.FisherLagrangian(fl.families.Normal(), lambda q: 0.5 * q[0] ** 2 + q[1] - jnp.log(q[1]))

    def drift(steps):
        motion = fl.integrate(
            lagrangian, jnp.array([0.5, 1.5]), jnp.array([0.4, -0.2]), t1=8.0, steps=steps, method=fl.GaussLegendre(2)
        )
        (m, s), (dm, ds) = motion.q.T, motion.v.T
        energy = (dm**2 + 2 * ds**2) / (2 * s**2) + 0.5 * m**2 + s - jnp.log(s)
        return float(jnp.max(jnp.abs(energy - energy[0])))

    assert abs(orders([drift(160), drift(320)])[0] - 4) < 0.2


# --- Cramer and Rao along a path --------------------------------------------------------------------------------------


def test_the_share_of_the_action_that_statistics_see_is_their_correlation_with_the_score():
    """On draws of a normal: R^2 of the score along the velocity on x, on x^2, and on both."""
    theta, v = np.array([0.3, 0.8]), np.array([0.5, 0.4])
    mean, deviation = theta
    cov_x = np.array([v[0], 2 * mean * v[0] + 2 * deviation * v[1]])  # d<x>, d<x^2>
    covariance = deviation**2 * np.array([[1, 2 * mean], [2 * mean, 4 * mean**2 + 2 * deviation**2]])
    square = (v[0] ** 2 + 2 * v[1] ** 2) / deviation**2
    expected = [*(cov_x**2 / np.diag(covariance) / square), 1.0]
    seen = [
        float(fl.explained_action(MODEL, lambda t: theta + t * v, a, -1e-6, 1e-6, elements=1, points=1).total)
        for a in (lambda x: x, lambda x: x**2, lambda x: (x, x**2))
    ]
    np.testing.assert_allclose(seen, expected, rtol=1e-9)
    x = stats.norm.rvs(mean, deviation, size=200_000, random_state=0)
    score = v[0] * (x - mean) / deviation**2 + v[1] * ((x - mean) ** 2 / deviation**2 - 1) / deviation
    drawn = [np.corrcoef(score, a)[0, 1] ** 2 for a in (x, x**2)]
    np.testing.assert_allclose(seen[:2], drawn, atol=5 / np.sqrt(200_000))  # five standard errors


def test_no_statistic_moves_faster_than_its_deviation_times_the_speed():
    limit = fl.speed_limit(MODEL, lambda t: jnp.stack([t, 1 + t**2]), jnp.tanh)
    nodes = np.linspace(-9, 9, 2001)
    weights = stats.norm.pdf(nodes) * (nodes[1] - nodes[0])
    mean, scale = np.asarray(limit.times), 1 + np.asarray(limit.times) ** 2
    values = np.tanh(mean[:, None] + scale[:, None] * nodes)
    variance = values**2 @ weights - (values @ weights) ** 2
    speed = np.sqrt(1 + 2 * (2 * mean) ** 2) / scale
    np.testing.assert_allclose(limit.bound[:, 0], np.sqrt(variance) * speed, rtol=1e-6)
    assert np.all(np.abs(limit.rate[:, 0]) <= limit.bound[:, 0])
    assert float(limit.least_duration) <= float(limit.duration)


# --- The probability of a path ----------------------------------------------------------------------------------------


RATE, NOISE, DURATION = 0.8, 0.3, 2.0


def test_the_action_of_a_path_is_minus_the_logarithm_of_its_probability():
    """For steps of Euler and Maruyama, whose transitions are normal: differences of paths, free of the constants."""
    step, count = 0.05, 60
    paths = np.cumsum(np.random.default_rng(0).normal(scale=0.1, size=(2, count + 1)), axis=1)
    lagrangian = fl.FreidlinWentzell(lambda q: -RATE * q, 1.0)
    actions = [fl.ito_action(lagrangian, jnp.asarray(path)[:, None], 0.0, step * count) for path in paths]
    logs = [stats.norm.logpdf(path[1:], path[:-1] * (1 - RATE * step), np.sqrt(NOISE * step)).sum() for path in paths]
    np.testing.assert_allclose((actions[1] - actions[0]) / NOISE, logs[0] - logs[1], rtol=1e-12)


def test_the_least_action_between_points_is_the_exponent_of_the_transition_density():
    """Of an Ornstein-Uhlenbeck process, at two ends."""
    lagrangian = fl.FreidlinWentzell(lambda q: -RATE * q, 1.0)
    variance = NOISE * -np.expm1(-2 * RATE * DURATION) / (2 * RATE)
    log_density = stats.norm(0.5 * np.exp(-RATE * DURATION), np.sqrt(variance)).logpdf
    actions = [
        float(fl.least_action_path(lagrangian, jnp.array([0.5]), jnp.array([end]), 0.0, DURATION).action)
        for end in (-1.0, 1.7)
    ]
    np.testing.assert_allclose((actions[0] - actions[1]) / NOISE, log_density(1.7) - log_density(-1.0), rtol=1e-11)


def test_maximum_likelihood_over_paths_is_least_action():
    """The smoothing path of a linear process seen with noise, by the normal equations of all its points."""
    step, count, spread = 0.02, 100, 0.4
    data = np.sin(np.linspace(0, 3, count + 1))
    # -log p of the points: increments against the drift, readings against the points.
    increments = (np.eye(count, count + 1, 1) - (1 - RATE * step) * np.eye(count, count + 1)) / np.sqrt(NOISE * step)
    readings = np.eye(count + 1) * np.sqrt(step) / spread
    readings[[0, -1]] /= np.sqrt(2)  # the trapezoidal rule
    rows = np.concatenate([increments, readings])
    likeliest = np.linalg.lstsq(rows, np.concatenate([np.zeros(count), readings @ data]), rcond=None)[0]

    def lagrangian(t, q, v):
        return 0.5 * (v[0] + RATE * q[0]) ** 2 / NOISE + 0.5 * (q[0] - jnp.sin(3 * t / (step * count))) ** 2 / spread**2

    guess = fl.Path.from_function(lambda t: jnp.sin(3 * t / 2)[None], 0.0, step * count)
    path = fl.least_action_path(lagrangian, None, None, 0.0, step * count, guess=guess).path
    found = jax.vmap(path)(jnp.linspace(0.0, step * count, count + 1))[:, 0]
    # Euler's steps err by their first order, times the rates of the problem.
    np.testing.assert_allclose(found, likeliest, atol=step * RATE * np.max(np.abs(likeliest)))


def test_the_information_on_a_drift_from_paths_is_the_curvature_of_the_action():
    """Of an Ornstein-Uhlenbeck process in equilibrium T / 2 theta; of one path, second differences of its action."""

    def in_equilibrium(key):
        return jnp.sqrt(NOISE / (2 * RATE)) * jax.random.normal(key, (1,))

    found = fl.expected_path_information(
        lambda rate, q: -rate * q,
        1.0,
        NOISE,
        RATE,
        in_equilibrium,
        0.0,
        DURATION,
        key=jax.random.key(2),
        paths=2048,
        steps=64,
    )
    error = abs(float(found.value[0, 0]) - DURATION / (2 * RATE))
    assert error < 4 * float(found.standard_error[0, 0]) + float(found.error_estimate[0, 0])

    def observed(t):
        return jnp.stack([jnp.cos(t)])

    def action(rate):
        return float(fl.action(fl.FreidlinWentzell(lambda q: -rate * q, 1.0), observed, 0.0, DURATION))

    curvature = (action(RATE + 0.1) - 2 * action(RATE) + action(RATE - 0.1)) / 0.1**2 / NOISE
    seen = fl.path_information(lambda rate, q: -rate * q, 1.0, NOISE, RATE, observed, 0.0, DURATION)
    np.testing.assert_allclose(seen[0, 0], curvature, rtol=1e-11)


def test_the_relative_entropy_of_paths_is_the_mean_cost_of_control():
    """Two Ornstein-Uhlenbeck processes: half the squared difference of rates times the integral of the variance."""
    other, key = 1.3, jax.random.key(1)
    found = fl.path_kl_divergence(
        lambda q: -RATE * q, lambda q: -other * q, 1.0, NOISE, jnp.ones(1), 0.0, DURATION, key=key, paths=4096, steps=64
    )
    lost = -np.expm1(-2 * RATE * DURATION)
    second_moments = lost / (2 * RATE) + NOISE * (DURATION / (2 * RATE) - lost / (4 * RATE**2))
    expected = (other - RATE) ** 2 / (2 * NOISE) * second_moments
    assert abs(float(found.value) - expected) < 4 * float(found.standard_error) + float(found.error_estimate)


def test_variance_explained_is_one_less_the_ratio_of_actions():
    step, count = 0.1, 80
    nodes = np.cumsum(np.random.default_rng(3).normal(scale=0.3, size=count + 1))
    increments, regressor = np.diff(nodes), -step * nodes[:-1]
    rate = (increments @ regressor) / (regressor @ regressor)
    residual = increments - rate * regressor
    drifting, still = (fl.FreidlinWentzell(lambda q, k=k: -k * q, 1.0) for k in (rate, 0.0))
    found = fl.explained_variance(
        drifting,
        jnp.asarray(nodes)[:, None],
        t1=step * count,
        null_lagrangian=still,
        integral=fl.ito_action,
    )
    np.testing.assert_allclose(found, 1 - residual @ residual / (increments @ increments), rtol=1e-11)


# --- Entropy in the Lagrangian ----------------------------------------------------------------------------------------


def test_maximum_entropy_of_jaynes_dice_and_its_multiplier_is_conjugate_to_the_mean():
    faces = np.arange(1.0, 7.0)

    def tilted(multiplier):
        weights = np.exp(multiplier * faces)
        return weights / weights.sum()

    multiplier = optimize.brentq(lambda m: tilted(m) @ faces - 4.5, 0, 1, xtol=1e-15)
    dice = fl.maximum_entropy(lambda x: x, 4.5, jnp.asarray(faces))
    np.testing.assert_allclose(dice.multipliers, multiplier, rtol=1e-12)
    np.testing.assert_allclose(dice.probabilities, tilted(multiplier), rtol=1e-12)

    def entropy(mean):
        return fl.maximum_entropy(lambda x: x, mean, jnp.asarray(faces)).entropy

    np.testing.assert_allclose(jax.grad(entropy)(4.5), -multiplier, rtol=1e-10)
    p = tilted(multiplier)
    np.testing.assert_allclose(-jax.hessian(entropy)(4.5), 1 / (p @ faces**2 - (p @ faces) ** 2), rtol=1e-10)


def test_entropy_at_a_temperature_sets_the_point_of_rest_to_gibbs():
    cost, temperature = np.array([0.0, 1.0, 2.5]), 0.7
    gibbs = special.softmax(-cost / temperature)
    model = fl.families.Categorical(3)
    lagrangian = fl.FisherLagrangian(model, lambda p: jnp.asarray(cost) @ jnp.append(p, 1 - jnp.sum(p)))
    regularised = fl.EntropyRegularised(lagrangian, model, temperature)
    rest = jnp.asarray(gibbs[:2])
    np.testing.assert_allclose(fl.acceleration(regularised, 0.0, rest, 0 * rest), 0.0, atol=1e-14)
    levels = fl.gibbs_distribution(jnp.asarray(cost), temperature)
    np.testing.assert_allclose(levels.probabilities, gibbs, rtol=1e-13)
    np.testing.assert_allclose(levels.free_energy, -temperature * special.logsumexp(-cost / temperature), rtol=1e-13)
    slope = jax.grad(lambda T: fl.free_energy(jnp.asarray(cost), T))(temperature)
    np.testing.assert_allclose(slope, -stats.entropy(gibbs), rtol=1e-12)


def test_entropy_in_control_leaves_the_regulator_and_adds_gibbs_noise():
    A, B = np.array([[1.0, 0.2], [0.0, 0.9]]), np.array([[0.0], [0.3]])
    Q, R, temperature = np.diag([1.0, 0.5]), np.array([[0.4]]), 0.6
    P = linalg.solve_discrete_are(A, B, Q, R)
    soft = fl.soft_lqr(*map(jnp.asarray, (A, B, Q, R)), temperature)
    np.testing.assert_allclose(soft.values, P, rtol=1e-10)
    np.testing.assert_allclose(soft.covariance, temperature / 2 * np.linalg.inv(R + B.T @ P @ B), rtol=1e-10)


def binary_entropy(p):
    return stats.entropy([p, 1 - p])


@pytest.mark.parametrize(
    ("channel", "capacity"),
    [
        ([[0.9, 0.1], [0.1, 0.9]], np.log(2) - binary_entropy(0.1)),
        ([[0.7, 0.0, 0.3], [0.0, 0.7, 0.3]], 0.7 * np.log(2)),
        ([[1.0, 0.0], [0.3, 0.7]], np.log1p(0.7 * 0.3 ** (0.3 / 0.7))),
    ],
    ids=["symmetric", "erasure", "Z"],
)
def test_capacities_of_binary_channels(channel, capacity):
    found = fl.channel_capacity(jnp.asarray(channel))
    np.testing.assert_allclose(found.capacity, capacity, rtol=1e-10)
    assert -1e-14 < float(found.upper_bound - found.capacity) < 1e-9  # but for round-off


def test_rate_distortion_of_a_coin_and_its_slope():
    found = fl.rate_distortion(jnp.array([0.7, 0.3]), 1 - jnp.eye(2), 0.1)
    np.testing.assert_allclose(found.rate, binary_entropy(0.3) - binary_entropy(0.1), rtol=1e-9)
    np.testing.assert_allclose(found.slope, np.log(0.9 / 0.1), rtol=1e-6)  # the slope errs by the root of the gap


def test_rate_distortion_of_a_normal_source():
    """On a fine grid: log(sigma^2 / D) / 2, as the step goes to zero beside the root of D."""
    x = np.linspace(-6, 6, 241)
    source = stats.norm.pdf(x)
    found = fl.rate_distortion(
        jnp.asarray(source / source.sum()), jnp.asarray((x[:, None] - x) ** 2), 0.3, tol=1e-5, throw=False
    )
    np.testing.assert_allclose(found.rate, -0.5 * np.log(0.3), atol=2e-5)


def test_below_the_critical_beta_a_gaussian_bottleneck_keeps_nothing():
    correlation = 0.8
    bottleneck = fl.gaussian_information_bottleneck(jnp.array([correlation]))
    np.testing.assert_allclose(bottleneck.critical_betas, 1 / correlation**2, rtol=1e-12)
    np.testing.assert_allclose(bottleneck.relevance(0.99 / correlation**2), 0.0, atol=1e-15)
    # Of T = X + noise: I(T; X) = log(1 + a) / 2, I(T; Y) = -log(1 - rho^2 a / (1 + a)) / 2, the best a by search.
    beta = 2.5

    def trade(a):
        return 0.5 * np.log1p(a) + 0.5 * beta * np.log1p(-(correlation**2) * a / (1 + a))

    best = optimize.minimize_scalar(trade, bounds=(0, 50), method="bounded", options={"xatol": 1e-10}).x
    told = -0.5 * np.log1p(-(correlation**2) * best / (1 + best))
    np.testing.assert_allclose(bottleneck.relevance(beta), told, rtol=1e-7)


# --- Dissipation ------------------------------------------------------------------------------------------------------


def test_friction_makes_the_least_work_of_a_trap_wasserstein_and_its_length_no_fishers():
    """A breathing trap driven along the straight line of deviations: work less free energy, by its moments."""
    trap, duration, ends = fl.OverdampedTrap(), 2.0, (1.0, 4.0)
    first, last = (1 / np.sqrt(k) for k in ends)
    wasserstein = (first - last) ** 2 / duration
    driven = trap.transport(jnp.array([0.0, ends[0]]), jnp.array([0.0, ends[1]]), duration)
    np.testing.assert_allclose(driven.excess_work, wasserstein, rtol=1e-12)
    # sigma linear in time, k = (1 - sigma sigma') / sigma^2: dW = sigma^2 dk / 2 inside, and the jumps at the ends.
    rate = (last - first) / duration
    t = np.linspace(0, duration, 20_001)
    sigma = first + rate * t
    stiffness = (1 - sigma * rate) / sigma**2
    work = np.trapezoid(0.5 * sigma**2 * np.gradient(stiffness, t, edge_order=2), t)
    work += 0.5 * first**2 * (stiffness[0] - ends[0]) + 0.5 * last**2 * (ends[1] - stiffness[-1])
    np.testing.assert_allclose(work - 0.5 * np.log(ends[1] / ends[0]), wasserstein, rtol=1e-6)  # h^2 of the trapezium
    friction = fl.Metric(lambda k: jnp.reshape(0.25 / k**3, (1, 1)))
    length = fl.thermodynamic_length(friction, lambda t: ends[0] + t * (ends[1] - ends[0]))
    np.testing.assert_allclose(length**2 / duration, wasserstein, rtol=1e-10)
    fishers = fl.thermodynamic_length(
        fl.Metric(lambda k: jnp.reshape(0.5 / k**2, (1, 1))), lambda t: ends[0] + t * (ends[1] - ends[0])
    )
    np.testing.assert_allclose(fishers, np.log(ends[1] / ends[0]) / np.sqrt(2), rtol=1e-10)
    assert abs(float(fishers) - float(length)) > 0.1


# --- Fisher information of a density ----------------------------------------------------------------------------------


RAMP, WALL = (-zeros[0] / 2 ** (1 / 3) for zeros in special.ai_zeros(1)[1::-1])
"""Energies on |x|: of the ground state, by a zero of Ai', and of the one with a wall at 0, by one of Ai."""


@pytest.mark.parametrize(
    ("potential", "grid", "energy"),
    [
        (lambda x: x**2 / 2, fl.LineGrid(size=32), 0.5),
        (lambda x: x**4, fl.LineGrid(scale=0.6, size=48), 0.667986259155777),
        (jnp.abs, fl.IntervalGrid(-14.0, 14.0, size=40, breaks=[0.0], ends="cut"), RAMP),
        (jnp.abs, fl.HalfLineGrid(size=64), WALL),
        (jnp.zeros_like, fl.IntervalGrid(-1.0, 1.0, size=24), np.pi**2 / 8),
    ],
    ids=["oscillator", "quartic", "two ramps", "a ramp and a wall", "interval"],
)
def test_an_eighth_of_the_information_and_a_potential_energy_are_least_in_the_ground_state(potential, grid, energy):
    found = fl.minimum_fisher_density(potential, grid)
    np.testing.assert_allclose(found.energy, energy, rtol=1e-9)
    np.testing.assert_allclose(found.fisher_information / 8 + found.potential_energy, energy, rtol=1e-9)


def test_of_densities_of_a_variance_the_normal_has_the_least_information():
    found = fl.minimum_fisher_density(None, fl.LineGrid(scale=1.2), statistics=lambda x: x**2, moments=2.0)
    np.testing.assert_allclose(found.fisher_information, 0.5, rtol=1e-9)
    x = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(jax.vmap(found.density)(jnp.asarray(x)), stats.norm.pdf(x, 0, np.sqrt(2)), rtol=1e-7)


def mixture(x):
    return 0.4 * jax.scipy.stats.norm.pdf(x, -1.0, 0.7) + 0.6 * jax.scipy.stats.norm.pdf(x, 0.8, 0.9)


def test_the_functional_is_the_information_on_location_and_de_bruijns_rate():
    grid = fl.LineGrid(size=160)
    functional = float(fl.fisher_functional(mixture, grid))
    location = fl.StatisticalModel(
        lambda shift, x: jnp.log(mixture(x - shift)), fl.Quadrature(-jnp.inf, jnp.inf, nodes=200)
    )
    np.testing.assert_allclose(functional, fl.fisher_information(location, 0.0)[0, 0], rtol=1e-9)

    def entropy_after(time):
        """X + sqrt(time) Z is another mixture of normals."""
        x = np.linspace(-9, 9, 4001)
        density = sum(w * stats.norm.pdf(x, m, np.sqrt(s**2 + time)) for w, m, s in ((0.4, -1.0, 0.7), (0.6, 0.8, 0.9)))
        return np.trapezoid(special.entr(density), x)

    errors = [abs((entropy_after(h) - entropy_after(-h)) / (2 * h) - functional / 2) for h in (0.08, 0.04)]
    assert abs(orders(errors)[0] - 2) < 0.1
    power, variance = float(fl.entropy_power(mixture, grid)), 0.4 * (0.49 + 1.0) + 0.6 * (0.81 + 0.64) - 0.08**2
    assert power * functional > 1.0  # Stam
    assert functional * variance > 1.0  # Cramer and Rao


# --- Accelerated estimation -------------------------------------------------------------------------------------------


def test_the_bregman_lagrangian_moves_as_nesterovs_equation():
    """x'' + 3 x' / t + l x = 0 is solved by 2 J_1(sqrt(l) t) / (sqrt(l) t)."""
    stiffness, first, last = 2.0, 0.5, 12.0

    def exact(t):
        return 2 * special.jv(1, np.sqrt(stiffness) * t) / (np.sqrt(stiffness) * t)

    lagrangian = fl.BregmanLagrangian.polynomial(lambda x: stiffness * x**2 / 2, p=2, C=0.25)
    rate = -2 * special.jv(2, np.sqrt(stiffness) * first) / first
    motion = fl.integrate(lagrangian, exact(first), rate, t0=first, t1=last, steps=800, method=fl.GaussLegendre(3))
    np.testing.assert_allclose(motion.q, exact(np.asarray(motion.t)), atol=1e-9)
