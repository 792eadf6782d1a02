"""Protocols of least dissipation: bounds, closed forms, and the work that a moment equation finds in them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import fimlag as fl

TRAP = fl.OverdampedTrap(1.7, 0.6)
START, END = jnp.array([0.0, 1.0]), jnp.array([1.5, 4.0])


def energy(setting, mean, variance):
    return 0.5 * setting[1] * ((mean - setting[0]) ** 2 + variance)


def true_excess(protocol, start, end, duration, jumps, trap=TRAP):
    """The mean work beyond the free energy by the equations of the moments, and the moments at the end."""
    drag, heat = float(trap.drag), float(trap.temperature)
    with_rate = jax.jit(lambda t: jax.jvp(protocol, (t,), (jnp.ones_like(t),)))
    first, last = np.asarray(start + jumps[0]), np.asarray(end - jumps[1])
    start, end = np.asarray(start), np.asarray(end)
    inside = 1e-13 * duration

    def rates(t, state):
        mean, variance, _ = state
        (c, k), (dc, dk) = map(np.asarray, with_rate(jnp.clip(t, inside, duration - inside)))
        power = 0.5 * dk * ((mean - c) ** 2 + variance) - k * (mean - c) * dc
        return [-k / drag * (mean - c), 2 * (heat - k * variance) / drag, power]

    mean, variance = start[0], heat / start[1]
    jump = energy(first, mean, variance) - energy(start, mean, variance)
    flow = solve_ivp(rates, (0.0, duration), [mean, variance, jump], rtol=1e-10, atol=1e-12, method="DOP853")
    mean, variance, work = flow.y[:, -1]
    work += energy(end, mean, variance) - energy(last, mean, variance)
    return work - 0.5 * heat * np.log(end[1] / start[1]), mean, np.sqrt(variance)


@pytest.mark.parametrize("duration", [0.3, 5.0])
@pytest.mark.parametrize("kind", ["transport", "least_work"])
def test_exact_protocols_cost_what_they_say_at_any_speed(kind, duration):
    protocol = getattr(TRAP, kind)(START, END, duration)
    work, mean, spread = true_excess(protocol, START, END, duration, protocol.jumps)
    np.testing.assert_allclose(work, protocol.excess_work, rtol=1e-8)  # the tolerance of the moment equations
    np.testing.assert_allclose([mean, spread], [protocol.mean[1], protocol.spread[1]], rtol=1e-8)


def test_linear_response_is_right_to_second_order_in_the_speed():
    errors = []
    for duration in (200.0, 400.0):
        protocol = TRAP.linear_response(START, END, duration)
        np.testing.assert_allclose(protocol.jumps, 0.0, atol=1e-15)
        work, _, _ = true_excess(protocol, START, END, duration, protocol.jumps)
        errors.append(work - float(protocol.excess_work))
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.05


def test_no_protocol_of_a_family_with_jumps_costs_less_than_the_least():
    """The exact optimum for the stiffness alone, against a search over jumps and a cubic between them."""
    start, end, duration = jnp.array([0.0, 1.0]), jnp.array([0.0, 3.0]), 1.5
    least = float(TRAP.least_work(start, end, duration).excess_work)

    # Variances s(t) with s(0) that of equilibrium cost, by the equation of the variance,
    # gamma / 4 int s'^2 / s dt + k1 s(T) / 2 - kT / 2 (1 + log(k1 s(T) / kT)).
    t, weights = np.polynomial.legendre.leggauss(30)
    t, weights = 0.5 * duration * (t + 1), 0.5 * duration * weights
    heat, drag = float(TRAP.temperature), float(TRAP.drag)

    def cost(x):
        s = heat * np.exp(x[0] * t + x[1] * t**2 + x[2] * t**3)
        rate = s * (x[0] + 2 * x[1] * t + 3 * x[2] * t**2)
        ratio = 3.0 * np.exp(x[0] * duration + x[1] * duration**2 + x[2] * duration**3)
        return drag / 4 * weights @ (rate**2 / s) + heat / 2 * (ratio - 1 - np.log(ratio))

    found = minimize(cost, np.zeros(3), tol=1e-14).fun
    assert found >= least - 1e-13
    np.testing.assert_allclose(found, least, rtol=1e-5)  # a cubic comes as near as that


def test_schmiedl_and_seiferts_moving_trap():
    """In their units: jumps of lambda / (t + 2) at both ends, a straight line between, work lambda^2 / (t + 2)."""
    protocol = fl.OverdampedTrap().least_work(jnp.array([0.0, 1.0]), jnp.array([3.0, 1.0]), 4.0)
    np.testing.assert_allclose(protocol.jumps, [[0.5, 0.0], [0.5, 0.0]], atol=1e-15)
    np.testing.assert_allclose(protocol(1.0), [3.0 * (1 + 1) / 6, 1.0], rtol=1e-15)
    np.testing.assert_allclose(protocol.excess_work, 1.5, rtol=1e-15)


def test_breathing_trap_work_is_wasserstein_is_friction_length():
    """Stiffness 1 to 4 in time tau: work beyond the free energy = W2^2 / tau = L^2 / tau."""
    trap, duration = fl.OverdampedTrap(), 3.0
    start, end = jnp.array([0.0, 1.0]), jnp.array([0.0, 4.0])
    protocol = trap.transport(start, end, duration)
    work, _, _ = true_excess(protocol, start, end, duration, protocol.jumps, trap)
    wasserstein = fl.bures_distance(1.0 / start[1:, None], 1.0 / end[1:, None]) ** 2 / duration
    friction = fl.distance(trap.friction, start, end) ** 2 / duration
    np.testing.assert_allclose([work, friction], float(wasserstein), rtol=1e-7)
    np.testing.assert_allclose(protocol.excess_work, wasserstein, rtol=1e-14)


def test_friction_of_the_trap_is_drag_times_wasserstein_and_not_fisher():
    def equilibrium(setting):
        return jnp.stack([setting[0], 0.5 * jnp.log(TRAP.temperature / setting[1])])

    setting = jnp.array([0.3, 2.5])
    pulled = fl.PullbackMetric(fl.BuresMetric(1), equilibrium)
    np.testing.assert_allclose(TRAP.friction(setting), TRAP.drag * pulled(setting), rtol=1e-14)
    fisher = fl.PullbackMetric(fl.FisherMetric(fl.families.MultivariateNormal(1)), equilibrium)(setting)
    # kT times Fisher times the relaxation times of mean and variance.
    times = TRAP.drag / setting[1] * jnp.array([1.0, 0.5])
    np.testing.assert_allclose(
        TRAP.friction(setting), TRAP.temperature * times[:, None] * fisher, rtol=1e-12, atol=1e-15
    )


@pytest.fixture(scope="module")
def optimal():
    return fl.optimal_protocol(TRAP.friction, START, END, 3.0)


def test_optimal_protocol_of_the_friction_metric_is_the_closed_one(optimal):
    closed = TRAP.linear_response(START, END, 3.0)
    np.testing.assert_allclose(optimal.excess_work, closed.excess_work, rtol=1e-10)
    for t in (0.7, 1.5, 2.9):
        np.testing.assert_allclose(optimal.path(t), closed(t), rtol=1e-9)
    assert int(optimal.morse_index) == 0


def test_optimal_protocol_has_constant_speed_and_meets_the_bound(optimal):
    for protocol in (optimal.path, TRAP.linear_response(START, END, 3.0)):
        cost = fl.protocol_cost(TRAP.friction, protocol, 0.0, 3.0)
        np.testing.assert_allclose(cost.efficiency, 1.0, rtol=1e-9)
        np.testing.assert_allclose(cost.excess_work, optimal.excess_work, rtol=1e-9)
        np.testing.assert_allclose(cost.length, optimal.length, rtol=1e-9)
    speeds = [TRAP.friction.quadratic(optimal.path(t), optimal.path.velocity(t)) for t in (0.1, 1.0, 2.5)]
    np.testing.assert_allclose(speeds, (float(optimal.length) / 3.0) ** 2, rtol=1e-6)  # of polynomials' velocities


@given(st.floats(-0.9, 0.9), st.floats(0.1, 10.0), st.floats(-1.0, 1.0))
def test_divergence_is_never_below_the_square_of_the_length(bend, duration, drift):
    cost = _bent(bend, duration, drift)
    assert float(cost.divergence) >= float(cost.length) ** 2 * (1 - 1e-13)
    assert float(cost.efficiency) <= 1 + 1e-13
    np.testing.assert_allclose(cost.excess_work, cost.divergence / duration, rtol=1e-14)


@jax.jit
def _bent(bend, duration, drift):
    def path(t):
        s = t / duration
        return jnp.stack([drift * s, 1.0 + 2.0 * (s + bend * s * (1 - s))])

    return fl.protocol_cost(TRAP.friction, path, 0.0, duration)


def test_length_does_not_depend_on_the_speed_and_the_divergence_does():
    def path(t):
        return jnp.stack([t, 1.0 + t**2])

    slow_start = [quantity(TRAP.friction, lambda t: path(t**2)) for quantity in
                  (fl.thermodynamic_length, fl.thermodynamic_divergence)]  # fmt: skip
    length = fl.thermodynamic_length(TRAP.friction, path)
    np.testing.assert_allclose(slow_start[0], length, rtol=1e-9)
    assert float(slow_start[1]) > 1.05 * float(length) ** 2


def test_length_in_the_fisher_metric_is_raos_and_of_nodes_that_of_straight_lines():
    metric = fl.FisherMetric(fl.families.Normal())
    start, end = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5])
    geodesic = fl.geodesic(metric, start, end)
    rao = float(fl.families.Normal().distance(start, end))
    np.testing.assert_allclose(fl.thermodynamic_length(metric, geodesic.path), rao, rtol=1e-7)
    assert float(fl.thermodynamic_length(metric, jnp.stack([start, end]))) > rao
    nodes = jnp.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    np.testing.assert_allclose(fl.thermodynamic_length(fl.EuclideanMetric(), nodes), 6.0, rtol=1e-14)


def test_a_path_that_rests_has_no_length_and_a_gradient():
    gradient = jax.grad(lambda a: fl.thermodynamic_length(TRAP.friction, lambda t: jnp.stack([a * t, 1.0 + 0 * t])))
    assert float(gradient(0.0)) == 0.0
    rest = fl.protocol_cost(TRAP.friction, lambda t: START + 0 * t)
    assert float(rest.length) == float(rest.divergence) == 0.0
    assert float(rest.efficiency) == 1.0


def test_cost_of_a_trap_is_differentiable_and_batches():
    def cost(duration):
        return TRAP.least_work(START, END, duration).excess_work

    durations = jnp.array([0.5, 2.0, -1.0])
    values = jax.jit(jax.vmap(cost))(durations)
    np.testing.assert_array_equal(np.isnan(values), [False, False, True])
    finite = (cost(2.0 + 1e-5) - cost(2.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(cost)(2.0), finite, rtol=1e-8)
    near = fl.OverdampedTrap().least_work(START, START + jnp.array([0.0, 1e-7]), 1.0)
    # To second order in the change e of stiffness: gamma e^2 / (4 k^3) / (tau + gamma / k).
    np.testing.assert_allclose(near.excess_work, 1e-14 / 4 / 2, rtol=1e-6)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="shape \\(2,\\)"):
        TRAP.transport(jnp.ones(3), jnp.ones(3), 1.0)
    assert np.isnan(TRAP.transport(START, -END, 1.0).excess_work)
    backward = fl.optimal_protocol(TRAP.friction, START, END, -1.0, elements=4, throw=False)
    assert bool(backward.result == fl.RESULTS.empty_interval)


def test_single_precision_stays_single():
    start, end = START.astype(jnp.float32), END.astype(jnp.float32)
    protocol = TRAP.least_work(start, end, 2.0)
    assert protocol.excess_work.dtype == protocol(0.5).dtype == jnp.float32
    np.testing.assert_allclose(protocol.excess_work, TRAP.least_work(START, END, 2.0).excess_work, rtol=1e-6)
    assert fl.thermodynamic_length(TRAP.friction, jnp.stack([start, end])).dtype == jnp.float32
