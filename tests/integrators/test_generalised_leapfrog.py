"""The leapfrog of Lagrangians that are not separable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

KEPLER, NORMAL = problems.Kepler(), problems.NormalFisher()
METHOD = fl.GeneralisedLeapfrog()
STANDARD, TILT = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.3])


@jax.jit
@jax.vmap
def geodesics(q0, v0, t0, t1):
    return fl.integrate(NORMAL.lagrangian, q0, v0, t0=t0, t1=t1, steps=32, method=METHOD, throw=False)


def test_fisher_geodesics_are_met_to_second_order_and_reverse():
    starts, speeds = jnp.stack([STANDARD, STANDARD]), jnp.stack([TILT, TILT])
    there = geodesics(starts, speeds, jnp.zeros(2), jnp.array([4.0, 2.0]))
    exact = NORMAL.geodesic(2.0, STANDARD, TILT)
    # The first reaches time 2 half way, with steps twice as long.
    coarse, fine = jnp.max(jnp.abs(there.q[0, 16] - exact)), jnp.max(jnp.abs(there.q[1, 32] - exact))
    assert abs(jnp.log2(coarse / fine) - 2) < 0.05
    back = geodesics(there.q[:, -1], there.v[:, -1], there.t[:, -1], jnp.zeros(2))
    np.testing.assert_allclose(back.q[:, -1], starts, atol=1e-13)  # round-off of 64 steps
    np.testing.assert_allclose(back.v[:, -1], speeds, atol=1e-13)


def test_a_step_too_long_fails_in_its_member_alone():
    # The first step of the second geodesic would leave the half-plane: its implicit equations have no solution.
    flows = geodesics(
        jnp.stack([STANDARD, STANDARD]), jnp.stack([TILT, 400 * TILT]), jnp.zeros(2), jnp.array([2.0, 2.0])
    )
    assert (flows.result == fl.RESULTS.successful).tolist() == [True, False]
    assert (flows.result == fl.RESULTS.implicit_step_failed).tolist() == [False, True]
    assert jnp.all(jnp.isfinite(flows.q[0]))
    assert jnp.all(jnp.isnan(flows.q[1, -1]))


def test_on_a_separable_lagrangian_it_is_the_leapfrog():
    start = KEPLER.start(0.3)
    general, leapfrog = (
        fl.integrate(KEPLER.lagrangian, *start, t1=3.0, steps=48, method=method)
        for method in (METHOD, fl.StormerVerlet())
    )
    np.testing.assert_allclose(general.q, leapfrog.q, atol=1e-13)  # round-off of 48 steps
    np.testing.assert_allclose(general.p, leapfrog.p, atol=1e-13)


def test_forces_take_part():
    damped = fl.Forced(lambda t, q, v: v @ v / 2 - q @ q / 2, lambda t, q, v: -0.4 * v)

    @jax.jit
    def flow(t1):
        return fl.integrate(damped, jnp.ones(1), jnp.zeros(1), t1=t1, steps=32, method=METHOD, throw=False)

    rate = jnp.sqrt(1 - 0.04)
    exact = jnp.exp(-0.4) * (jnp.cos(2 * rate) + 0.2 / rate * jnp.sin(2 * rate))
    coarse, fine = flow(4.0).q[16, 0] - exact, flow(2.0).q[32, 0] - exact
    assert abs(jnp.log2(coarse / fine) - 2) < 0.05


def test_single_precision_stays_single():
    single = STANDARD.astype(jnp.float32), TILT.astype(jnp.float32)
    flow = jax.eval_shape(lambda q, v: fl.integrate(NORMAL.lagrangian, q, v, t1=1.0, steps=2, method=METHOD), *single)
    assert flow.q.dtype == flow.v.dtype == flow.p.dtype == flow.t.dtype == jnp.float32


@pytest.mark.parametrize(
    ("system", "v0", "words"),
    [
        (fl.Nonholonomic(KEPLER.lagrangian, lambda q: q[None]), TILT, "NonholonomicLeapfrog"),
        (fl.PhaseSpaceLagrangian(lambda t, z: z[::-1], lambda t, z: z @ z), None, "not a PhaseSpaceLagrangian"),
    ],
    ids=["nonholonomic", "phase space"],
)
def test_other_systems_are_refused(system, v0, words):
    with pytest.raises(ValueError, match=words):
        fl.integrate(system, STANDARD, v0, t1=1.0, steps=1, method=METHOD)
