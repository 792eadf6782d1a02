"""The leapfrog of skates and wheels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import fimlag as fl
from fimlag import problems

SLEIGH = problems.ChaplyginSleigh(1.2, 0.7, 0.4)
RADIUS, MASS, COIN, TURN = 0.5, 2.0, 0.25, 0.125


def contact(q):
    """Rolling without slipping: the coordinates are x, y, the rolling angle and the heading."""
    one, zero = jnp.ones_like(q[0]), jnp.zeros_like(q[0])
    return jnp.array([[one, zero, -RADIUS * jnp.cos(q[3]), zero], [zero, one, -RADIUS * jnp.sin(q[3]), zero]])


def coin(potential):
    inertia = jnp.array([MASS, MASS, COIN, TURN])
    return fl.Nonholonomic(fl.NaturalLagrangian(fl.EuclideanMetric(inertia), potential), contact)


def rolling(heading, roll, turn):
    """The velocity of a coin that rolls and turns at given rates."""
    return jnp.asarray(np.array([RADIUS * roll * np.cos(heading), RADIUS * roll * np.sin(heading), roll, turn]))


@jax.jit
@jax.vmap
def on_a_slope(gravity, v0, t1):
    system = coin(lambda q: MASS * gravity * q[1])
    return fl.integrate(system, jnp.zeros(4), v0, t1=t1, steps=400, throw=False)


@pytest.mark.slow
def test_a_rolling_coin_runs_in_circles_and_on_a_slope_drifts_sideways():
    roll, turn, gravity = 3.0, 1.5, 1.7
    starts = jnp.stack([rolling(0.0, roll, turn)] * 2 + [rolling(0.0, 0.0, turn)])
    flows = on_a_slope(jnp.array([0.0, 0.0, gravity]), starts, jnp.array([4.0, 2.0, 2.0]))
    assert jnp.all(flows.result == fl.RESULTS.successful)
    assert flows.method == fl.NonholonomicLeapfrog()
    heading = turn * flows.t[0]
    circle = RADIUS * roll / turn * jnp.stack([jnp.sin(heading), 1 - jnp.cos(heading)], axis=1)
    # The first motion reaches the end of the second half way, with steps twice as long.
    coarse, fine = (jnp.max(jnp.abs(row - circle[200])) for row in (flows.q[0, 200, :2], flows.q[1, 400, :2]))
    assert abs(jnp.log2(coarse / fine) - 2) < 0.05
    np.testing.assert_allclose(flows.v[0, :, 2:], np.tile([roll, turn], (401, 1)), rtol=1e-12)
    # Friction turns the momentum: the multipliers are the mass times the acceleration of the centre.
    pull = MASS * RADIUS * roll * turn * jnp.stack([-jnp.sin(heading), jnp.cos(heading)], axis=1)
    np.testing.assert_allclose(flows.multipliers[0], pull, atol=1e-11)
    # Bloch (2003), section 1.4: (I + m R^2) roll' = -m g R sin(heading); the centre follows.
    amplitude, angle = MASS * gravity * RADIUS / ((COIN + MASS * RADIUS**2) * turn), turn * flows.t[2]
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    x = RADIUS * amplitude / turn * (angle / 2 + sine * cosine / 2 - sine)
    y = RADIUS * amplitude / turn * (sine**2 / 2 - (1 - cosine))
    np.testing.assert_allclose(flows.q[2, :, :2], jnp.stack([x, y], axis=1), atol=5e-5)  # c h^2, h = 0.005


def test_a_start_that_slips_is_reported_in_its_member_alone():
    starts = jnp.stack([rolling(0.0, 1.0, 1.0), jnp.array([0.0, 1.0, 0.0, 0.0]), jnp.full(4, jnp.nan)])
    results = on_a_slope(jnp.ones(3), starts, jnp.ones(3)).result
    assert (results == fl.RESULTS.successful).tolist() == [True, False, False]
    assert (results == fl.RESULTS.velocity_off_constraints).tolist() == [False, True, False]
    assert (results == fl.RESULTS.nonfinite).tolist() == [False, False, True]


@pytest.mark.slow
def test_the_chaplygin_sleigh_follows_its_closed_form_and_reverses():
    @jax.jit
    def flow(q0, v0, t0, t1):
        return fl.integrate(SLEIGH.lagrangian, q0, v0, t0=t0, t1=t1, steps=160, throw=False)

    start = SLEIGH.start(0.3, 1.4)
    coarse, fine, exact = flow(*start, 0.0, 4.0), flow(*start, 0.0, 2.0), SLEIGH.solution(2.0, 0.3, 1.4)
    errors = [jnp.max(jnp.abs(row - exact)) for row in (coarse.q[80], fine.q[160])]
    assert abs(jnp.log2(errors[0] / errors[1]) - 2) < 0.05
    _, rates = jax.vmap(lambda q, v: fl.constraint_defect(SLEIGH.lagrangian, q, v))(coarse.q, coarse.v)
    assert jnp.max(rates) < 1e-14  # round-off
    back = flow(coarse.q[-1], coarse.v[-1], 4.0, 0.0)
    np.testing.assert_allclose(back.q[-1], start[0], atol=1e-12)  # round-off, which the sleigh's turn amplifies
    np.testing.assert_allclose(back.v[-1], start[1], atol=1e-12)


def test_single_precision_stays_single():
    single = jnp.zeros(4, jnp.float32), rolling(0.0, 1.0, 1.0).astype(jnp.float32)
    flow = jax.eval_shape(lambda q, v: fl.integrate(coin(lambda q: q[0]), q, v, t1=1.0, steps=2), *single)
    assert flow.q.dtype == flow.v.dtype == flow.p.dtype == flow.multipliers.dtype == jnp.float32


def test_a_system_without_constraints_is_refused():
    free = jnp.ones(2)
    with pytest.raises(ValueError, match="no constraints"):
        fl.integrate(lambda t, q, v: v @ v, free, free, t1=1.0, steps=1, method=fl.NonholonomicLeapfrog())


@pytest.mark.slow
def test_energy_does_not_drift():
    system = coin(lambda q: q[0] ** 2 + jnp.cos(q[1]))
    flow = fl.integrate(system, jnp.zeros(4), rolling(0.0, 2.0, 0.8), t1=2000.0, steps=40_000, save_every=40)
    drift = fl.energy_drift(system, flow)
    assert abs(drift.drift) * 2000.0 < drift.oscillation
    _, rates = jax.vmap(lambda q, v: fl.constraint_defect(system, q, v))(flow.q, flow.v)
    assert jnp.max(rates) < 1e-13  # round-off times the velocity: it does not grow


@pytest.mark.slow
def test_holonomic_constraints_are_kept_beside_the_others():
    steered = fl.Constrained(coin(None), lambda q: q[3] - 0.5 * jnp.sin(q[0]))
    start = rolling(0.0, 3.0, 0.5 * RADIUS * 3.0)
    flow = fl.integrate(steered, jnp.zeros(4), start, t1=1.0, steps=200)
    assert flow.multipliers.shape == (201, 3)
    points, rates = jax.vmap(lambda q, v: fl.constraint_defect(steered, q, v))(flow.q, flow.v)
    assert jnp.max(points) < 1e-15
    assert jnp.max(rates) < 1e-14
    x, y = flow.q[-1, :2]
    exact = scipy.integrate.quad(lambda x: np.tan(0.5 * np.sin(x)), 0, x)[0]  # the coin follows its heading
    assert abs(y - exact) < 1e-5  # c h^2, h = 0.005
