"""Rattle: motions on surfaces, their multipliers, and starts that lie off them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import fimlag as fl
from fimlag import problems
from fimlag.mechanics._lagrangian import flat_arguments

SPHERE = problems.SphericalPendulum(1.3, 0.8, 9.8)
PENDULUM, START = SPHERE.lagrangian, SPHERE.start(-0.7, -0.2)


def bead(t, q, v):
    """Neither separable nor quadratic in the velocity, driven, with a term linear in the velocity."""
    kinetic = (1 + 0.3 * q[0] ** 2) * (v @ v) / 2 + 0.1 * (v @ v) ** 2 + 0.2 * v[0] * q[1]
    return kinetic - 3 * q[2] * (1 + 0.1 * jnp.sin(t))


BEAD = fl.Constrained(bead, lambda q: q @ q + 0.3 * q[0] ** 2 - 1)
BEAD_START = jnp.array([0.0, 0.6, -0.8]), jnp.array([1.0, 0.4, 0.3])


def flow_of(system, q0, v0, t0, t1, steps=64, **options):
    return fl.integrate(system, q0, v0, t0=t0, t1=t1, steps=steps, throw=False, **options)


swing = jax.jit(jax.vmap(functools.partial(flow_of, PENDULUM)))
slide = jax.jit(jax.vmap(functools.partial(flow_of, BEAD)))


def twice(state, t0, t1):
    """The arguments of two motions from one start, the second half as long."""
    q, v = state
    return jnp.stack([q, q]), jnp.stack([v, v]), jnp.array([t0, t0]), jnp.array([t1, t1 / 2])


def largest_defects(system, flow):
    flat = [each.reshape(-1, 3) for each in (flow.q, flow.v)]
    return [jnp.max(each) for each in jax.vmap(lambda q, v: fl.constraint_defect(system, q, v))(*flat)]


@pytest.mark.slow
def test_the_spherical_pendulum_has_the_height_and_the_tension_of_its_closed_forms():
    flows = swing(*twice(START, 0.0, 1.0))
    assert jnp.all(flows.result == fl.RESULTS.successful)
    assert flows.method == fl.Rattle()
    # The first motion reaches the end of the second half way, with steps twice as long.
    exact = SPHERE.height(0.5, -0.7, -0.2)[0]
    coarse, fine = abs(flows.q[0, 32, 2] - exact), abs(flows.q[1, 64, 2] - exact)
    assert abs(jnp.log2(coarse / fine) - 2) < 0.1
    # The force of the rod is A^T lambda with A = q: towards the centre where it pulls.
    tensions = jax.vmap(jax.vmap(SPHERE.tension))(flows.q, flows.v)
    np.testing.assert_allclose(-SPHERE.length * flows.multipliers[..., 0], tensions, rtol=1e-12)


@pytest.mark.parametrize(
    ("system", "march", "start"),
    [(PENDULUM, swing, START), pytest.param(BEAD, slide, BEAD_START, marks=pytest.mark.slow)],
    ids=["explicit", "implicit"],
)
def test_constraints_are_kept_to_round_off_and_time_reverses(system, march, start):
    there = march(*twice(start, 0.3, 1.0))
    point, rate = largest_defects(system, there)
    assert point < 2e-15
    assert rate < 2e-14  # round-off times the velocity
    back = march(there.q[:, -1], there.v[:, -1], there.t[:, -1], jnp.array([0.3, 0.3]))
    np.testing.assert_allclose(back.q[:, -1], jnp.stack([start[0]] * 2), atol=1e-13)  # round-off of 128 steps
    np.testing.assert_allclose(back.v[:, -1], jnp.stack([start[1]] * 2), atol=1e-12)


@pytest.mark.slow
def test_a_lagrangian_of_any_form_is_followed_to_second_order():
    @jax.jit
    def rates(t, z):
        q, v = jnp.split(z, 2)
        return jnp.concatenate([v, fl.constrained_acceleration(BEAD, t, q, v)[0]])

    start = np.concatenate(BEAD_START)
    exact = scipy.integrate.solve_ivp(rates, (0.0, 0.5), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:3, -1]
    flows = slide(*twice(BEAD_START, 0.0, 1.0))
    errors = [np.max(np.abs(row - exact)) for row in (flows.q[0, 32], flows.q[1, 64])]
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1


def test_starts_off_the_constraints_are_reported_level_by_level():
    (q, v), up = START, jnp.array([0.0, 0.0, 1e-6])
    times = jnp.zeros(2), jnp.array([0.1, 0.1])
    off = swing(jnp.stack([q + up, q]), jnp.stack([v, v + up]), *times)
    assert (off.result == fl.RESULTS.point_off_constraints).tolist() == [True, False]
    assert (off.result == fl.RESULTS.velocity_off_constraints).tolist() == [False, True]
    mixed = swing(jnp.stack([q, q]), jnp.stack([v, v * jnp.nan]), *times)
    assert (mixed.result == fl.RESULTS.successful).tolist() == [True, False]
    assert (mixed.result == fl.RESULTS.nonfinite).tolist() == [False, True]


def result_of_preparing(system, q, v):
    flat, t, q, v = flat_arguments(system, 0.0, q, v)
    return jax.jit(lambda: fl.Rattle().prepare(flat, t, q, v, None)[1])()


def test_constraints_that_repeat_themselves_are_reported():
    repeated = fl.Constrained(PENDULUM, lambda q: 3 * (q @ q - 0.64))
    assert result_of_preparing(repeated, *START) == fl.RESULTS.dependent_constraints


def test_a_coordinate_that_is_zero_but_for_round_off_keeps_its_constraint():
    plane = fl.Constrained(PENDULUM, lambda q: q[1])
    start = jnp.array([0.0, 0.8 * jnp.sin(jnp.pi), -0.8]), jnp.array([1.0, 0.0, 0.0])
    assert result_of_preparing(plane, *start) == fl.RESULTS.successful


@pytest.mark.slow
def test_derivatives_are_implicit_and_right():
    def start(x):
        q, push = 0.8 * jnp.stack([jnp.sin(x), jnp.zeros_like(x), -jnp.cos(x)]), jnp.array([0.3, 1.0, 0.2])
        return q, push - q * (push @ q) / (q @ q)

    def outcome(flow):
        return jnp.sum(jnp.sin(flow.q[-1])) + flow.multipliers[-1, 0]

    slope = jax.jit(jax.grad(lambda x: outcome(flow_of(PENDULUM, *start(x), 0.0, 1.0))))(0.9)
    h = 1e-5
    starts = jax.vmap(start)(0.9 + jnp.array([h, -h]))
    ends = jax.vmap(outcome)(swing(*starts, jnp.zeros(2), jnp.ones(2)))
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-7)  # c h^2 + round-off / h


def test_single_precision_stays_single():
    for system, start in ((PENDULUM, START), (BEAD, BEAD_START)):
        single = [each.astype(jnp.float32) for each in start]
        flow = jax.eval_shape(lambda q, v, system=system: flow_of(system, q, v, 0.0, 1.0), *single)
        assert flow.q.dtype == flow.v.dtype == flow.p.dtype == flow.multipliers.dtype == jnp.float32


def test_other_systems_are_refused():
    skate = fl.Nonholonomic(PENDULUM, lambda q: q[None])
    with pytest.raises(ValueError, match="NonholonomicLeapfrog"):
        flow_of(skate, *START, 0.0, 1.0, method=fl.Rattle())
    with pytest.raises(ValueError, match="no constraints"):
        flow_of(bead, *START, 0.0, 1.0, method=fl.Rattle())


@pytest.mark.slow
def test_a_hundred_thousand_steps_keep_the_constraint_to_round_off():
    flow = flow_of(PENDULUM, *START, 0.0, 500.0, steps=100_000, save_every=100)
    point, rate = largest_defects(PENDULUM, flow)
    assert point < 2e-15  # as after a hundred steps: the error does not grow
    assert rate < 2e-14  # round-off times the velocity
    drift = fl.energy_drift(PENDULUM, flow)
    assert abs(drift.drift) * 500.0 < drift.oscillation


@pytest.mark.slow
def test_rattle_of_any_lagrangian_is_symplectic_and_composes():
    defect = jax.jit(lambda: fl.symplecticity_defect(fl.Rattle(), BEAD, 0.0, *BEAD_START, 0.05))()
    assert defect < 1e-13  # round-off of products of entries below ten
    composed = fl.Composition(fl.Rattle(), order=4)
    march = jax.jit(jax.vmap(lambda *state: flow_of(PENDULUM, *state, steps=32, method=composed)))
    flows, exact = march(*twice(START, 0.0, 1.0)), SPHERE.height(0.5, -0.7, -0.2)[0]
    coarse, fine = abs(flows.q[0, 16, 2] - exact), abs(flows.q[1, 32, 2] - exact)
    assert abs(jnp.log2(coarse / fine) - 4) < 0.2
