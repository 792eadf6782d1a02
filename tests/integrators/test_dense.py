"""Trajectories as functions of time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

PENDULUM = problems.DoublePendulum()
OSCILLATOR = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: q @ q / 2)
SWING = jnp.array([1.0]), jnp.array([0.0])
GAUSS = fl.GaussLegendre(5)


@pytest.mark.slow
def test_interpolation_has_its_order():
    fine = fl.integrate(PENDULUM, jnp.array([0.3, 0.4]), jnp.array([0.0, 0.3]), t1=8.0, steps=1024, method=GAUSS)
    for matched, widest in ((1, 8), (2, 16), (3, 32), (4, 64)):
        errors = []
        for every in (widest, widest // 2):
            t, q, v, p = (rows[::every] for rows in (fine.t, fine.q, fine.v, fine.p))
            dense = fl.dense_output(PENDULUM, fl.Trajectory(t, q, v, p, fine.result, fine.method), matched)
            t, q, v = (rows[:: every // 4] for rows in (fine.t, fine.q, fine.v))  # quarters of the intervals
            points = jax.vmap(lambda t, dense=dense: (dense(t), dense.velocity(t)))(t)
            errors.append([float(jnp.max(jnp.abs(a - b))) for a, b in zip(points, (q, v), strict=True)])
        orders = np.log2(np.divide(*errors))
        # the next term of the error; the intervals keep the errors above round-off
        np.testing.assert_allclose(orders, [2 * matched + 2, 2 * matched + 1], atol=0.25)


def test_the_default_keeps_the_order_of_the_method():
    for method, matched in ((fl.StormerVerlet(), 1), (fl.Yoshida4(), 2), (fl.GaussLegendre(3), 3), (GAUSS, 4)):
        flow = fl.integrate(OSCILLATOR, *SWING, t1=1.0, steps=2, method=method)
        assert fl.dense_output(OSCILLATOR, flow).derivatives.shape == (3, matched + 1, 1)


@pytest.mark.slow
def test_rows_are_met_and_times_outside_are_nan():
    flow = fl.integrate(OSCILLATOR, *SWING, t0=1.0, t1=-2.0, steps=30, method=GAUSS)
    dense = fl.dense_output(OSCILLATOR, flow)
    np.testing.assert_allclose(jax.vmap(dense)(flow.t), flow.q, atol=1e-15)
    times = jnp.linspace(1.0, -2.0, 77)
    np.testing.assert_allclose(jax.vmap(dense)(times)[:, 0], jnp.cos(times - 1), atol=1e-14)  # round-off, h^10
    np.testing.assert_allclose(jax.vmap(dense.velocity)(times)[:, 0], -jnp.sin(times - 1), atol=1e-13)
    assert jnp.isnan(dense(1.0 + 1e-6)).all()
    assert jnp.isnan(dense.velocity(-2.0 - 1e-6)).all()
    assert (dense.t0, dense.t1) == (1.0, flow.t[-1])


def test_uneven_rows_of_a_time_transformed_method_interpolate():
    kepler = problems.Kepler()
    start = kepler.start(0.5)
    flow = fl.integrate(kepler.lagrangian, *start, t1=4.0, steps=2000, method=fl.TimeTransformedLeapfrog())
    dense = fl.dense_output(kepler.lagrangian, flow)
    assert np.ptp(np.diff(flow.t)) > 1e-4
    times = jnp.linspace(0.0, 0.9 * flow.t[-1], 9)
    exact = jax.vmap(lambda t: kepler.solution(t, 0.5))(times)
    np.testing.assert_allclose(jax.vmap(dense)(times), exact, atol=1e-4)  # c h^2 of the method, h = 0.002


def test_the_action_along_a_dense_trajectory_is_that_of_the_motion():
    flow = fl.integrate(OSCILLATOR, *SWING, t1=1.3, steps=16, method=GAUSS)
    dense = fl.dense_output(OSCILLATOR, flow)
    exact = problems.HarmonicOscillator().action(SWING[0], jnp.cos(jnp.array([1.3])), 1.3)
    np.testing.assert_allclose(fl.action(OSCILLATOR, dense, dense.t0, dense.t1), exact, rtol=1e-12)


def test_points_differentiate_in_the_time_and_in_the_start():
    def point(t, x):
        flow = fl.integrate(OSCILLATOR, jnp.stack([x]), SWING[1], t1=2.0, steps=40, method=fl.Yoshida4())
        return fl.dense_output(OSCILLATOR, flow, matched=3)(t)[0]

    slope, share = jax.grad(point, argnums=(0, 1))(1.23, 1.0)
    np.testing.assert_allclose([slope, share], [-np.sin(1.23), np.cos(1.23)], atol=1e-5)  # c h^4, h = 0.05


@pytest.mark.slow
def test_contact_and_first_order_motions_in_pytrees_interpolate_in_single_precision():
    contact = fl.Herglotz.linear(lambda t, q, v: (v["x"] ** 2 - q["x"] ** 2) / 2, 0.2)
    flow = fl.integrate(contact, {"x": 1.0}, {"x": 0.0}, t1=2.0, steps=20, method=fl.GaussLegendre(3))
    decay, omega, t = 0.1, np.sqrt(0.99), 1.234
    exact = np.exp(-decay * t) * (np.cos(omega * t) + decay / omega * np.sin(omega * t))
    np.testing.assert_allclose(fl.dense_output(contact, flow)(t)["x"], exact, atol=1e-9)  # c h^6, h = 0.1
    plane = fl.PhaseSpaceLagrangian(lambda t, z: jnp.stack([z[1], 0 * z[0]]), lambda t, z: z @ z / 2)
    start = jnp.array([1.0, 0.0], jnp.float32)
    point = fl.dense_output(plane, fl.integrate(plane, start, None, t1=2.0, steps=20, method=fl.GaussLegendre(2)))(t)
    assert point.dtype == jnp.float32
    np.testing.assert_allclose(point, [np.cos(t), -np.sin(t)], atol=1e-5)


def test_other_numbers_are_refused():
    flow = fl.integrate(OSCILLATOR, *SWING, t1=1.0, steps=2)
    for matched in (0, 5, True):
        with pytest.raises(ValueError, match="from 1 to 4"):
            fl.dense_output(OSCILLATOR, flow, matched)
