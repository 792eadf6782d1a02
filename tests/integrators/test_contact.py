"""Contact splitting, against the damped oscillator and collocation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

START, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
OSCILLATOR, RATE = problems.HarmonicOscillator(1.3, 0.7), 0.1
DAMPED = fl.Herglotz.linear(OSCILLATOR.lagrangian, RATE)


def damped_motion(t):
    """q and v of the damped oscillator in closed form, without their factor exp(-RATE t / 2)."""
    decay, q0, v0 = RATE / 2, np.asarray(START), np.asarray(PUSH)
    omega = np.sqrt(0.7**2 - decay**2)
    cosine, sine = (wave(omega * t)[..., None] for wave in (np.cos, np.sin))
    swing = (v0 + decay * q0) / omega
    q, slope = q0 * cosine + swing * sine, omega * (swing * cosine - q0 * sine)
    return q, slope - decay * q


def driven(t, q, v):
    """Constant mass, a term linear in the velocity, and a potential that moves."""
    return v @ v + jnp.array([0.3, -0.4]) @ v - (q @ q) ** 2 * (1 + 0.2 * jnp.sin(t))


DRIVEN = fl.Herglotz.linear(fl.Separable(driven), 0.3)


@pytest.fixture(scope="module")
def collocated():
    """The driven system by another method, to round-off."""
    return fl.integrate(DRIVEN, START, PUSH, t1=1.0, steps=120, method=fl.GaussLegendre(4), s0=0.2)


@pytest.mark.parametrize("order", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_order_and_contact_form_hold_on_a_driven_nonlinear_system(order, collocated):
    base = fl.ContactLeapfrog()
    method = base if order == 2 else fl.Composition(base, order)
    end, steps = collocated.q[-1], (30, 40, 50, 60) if order == 2 else (8, 10, 12, 14)

    @jax.jit
    def measured():
        fit = fl.observed_order(method, DRIVEN, START, PUSH, t1=1.0, s0=0.2, steps=steps, reference=end)
        return fit.order, fl.symplecticity_defect(method, DRIVEN, 0.3, START, PUSH, 0.05, s=0.2)

    fitted, defect = measured()
    assert abs(fitted - order) < 0.15
    assert defect < 1e-13  # round-off of products of entries below ten
    assert not method.symplectic


def test_momentum_and_action_agree_with_collocation(collocated):
    flow = fl.integrate(DRIVEN, START, PUSH, t1=1.0, steps=60, method=fl.Composition(fl.ContactLeapfrog(), 8), s0=0.2)
    for mine, other in ((flow.q, collocated.q), (flow.p, collocated.p), (flow.v, collocated.v), (flow.s, collocated.s)):
        np.testing.assert_allclose(mine, other[::2], atol=1e-9)  # c h^8 with h = 1/60


def test_the_contact_form_shrinks_by_the_exact_factor():
    def end(s0):
        return fl.integrate(DRIVEN, START, PUSH, t1=2.0, steps=10, save_every=10, s0=s0).s[-1]

    np.testing.assert_allclose(jax.grad(end)(0.2), np.exp(-0.6), rtol=1e-14)


def test_a_damped_oscillator_decays_right_for_ever():
    # exp(-600) of the energy is left; amplitudes, divided by the decay, keep the accuracy c h^8 t of the phase.
    method = fl.Composition(fl.ContactLeapfrog(), 8)
    flow = fl.integrate(DAMPED, START, PUSH, t1=6000.0, steps=30_000, save_every=1000, method=method)
    q, v = damped_motion(np.asarray(flow.t))
    grown = np.exp(RATE / 2 * np.asarray(flow.t))[:, None]
    np.testing.assert_allclose(flow.q * grown, q, atol=1e-8)
    np.testing.assert_allclose(flow.v * grown, v, atol=1e-8)
    assert 0 < np.abs(flow.q[-1]).max() < 1e-120


def test_leapfrog_loses_energy_at_the_right_rate_with_long_steps():
    flow = fl.integrate(DAMPED, START, PUSH, t1=4000.0, steps=4000, save_every=10)
    assert flow.method == fl.ContactLeapfrog()
    energies = jax.vmap(lambda t, q, v: fl.energy(OSCILLATOR.lagrangian, t, q, v))(flow.t, flow.q, flow.v)
    slope = np.polyfit(flow.t, np.log(energies), 1)[0]
    # the modified energy decays at the exact rate: what is left is its bounded swing over the time fitted
    np.testing.assert_allclose(slope, -RATE, rtol=1e-4)


def test_motions_turn_back_with_their_action():
    there = fl.integrate(DAMPED, START, PUSH, t1=6.0, steps=60, method=fl.ContactLeapfrog(), s0=0.3)
    back = fl.integrate(
        DAMPED, there.q[-1], there.v[-1], t0=6.0, t1=0.0, steps=60, method=fl.ContactLeapfrog(), s0=there.s[-1]
    )
    np.testing.assert_allclose(back.q[-1], START, atol=1e-13)  # round-off of 120 steps
    np.testing.assert_allclose(back.s[-1], 0.3, atol=1e-13)


def test_ensembles_in_single_precision_keep_failures_apart():
    starts = jnp.stack([START, jnp.nan * START, 2 * START]).astype(jnp.float32)
    system = fl.Herglotz.linear(problems.HarmonicOscillator(jnp.float32(1.3), jnp.float32(0.7)).lagrangian, RATE)
    flows = jax.vmap(lambda q0: fl.integrate(system, q0, PUSH.astype(jnp.float32), t1=6.0, steps=60, throw=False))(
        starts
    )
    assert flows.q.dtype == flows.s.dtype == jnp.float32
    assert flows.succeeded.tolist() == [True, False, True]
    q, _ = damped_motion(np.asarray([6.0]))
    np.testing.assert_allclose(flows.q[0, -1], q[0] * np.exp(-0.3), atol=3e-3)  # c h^2 with h = 0.1


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (OSCILLATOR.lagrangian, r"GaussLegendre\(stages\)"),
        (fl.Herglotz(lambda t, q, v, s: v @ v - s**2), r"GaussLegendre\(stages\)"),
        (fl.Herglotz.linear(lambda t, q, v: (1 + q @ q) * (v @ v), 0.1), "not known to be separable"),
    ],
)
def test_other_systems_are_refused(system, words):
    with pytest.raises(ValueError, match=words):
        fl.integrate(system, START, PUSH, t1=1.0, steps=2, method=fl.ContactLeapfrog())


def test_a_false_vouching_is_reported():
    system = fl.Herglotz.linear(fl.Separable(lambda t, q, v: (1 + q @ q) * (v @ v) / 2), 0.1)
    flow = fl.integrate(system, START, PUSH, t1=1.0, steps=20, throw=False)
    assert flow.result == fl.RESULTS.not_separable
