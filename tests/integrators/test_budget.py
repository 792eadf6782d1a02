"""The energy balance of motions known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

DAMPING, DRIVE = 0.1, 0.5


def oscillator(t, q, v):
    """A spring whose stiffness grows with the time, in a plane of pytree coordinates."""
    return (v["x"] ** 2 + v["y"] ** 2) / 2 - jnp.exp(DRIVE * t) * (q["x"] ** 2 + q["y"] ** 2) / 2


def motion(t):
    """A curve that the force below makes a motion."""
    return {"x": jnp.sin(2 * t) + t / 3, "y": jnp.exp(-t / 2)}


def state(t):
    return jax.jvp(motion, (t,), (jnp.ones_like(t),))


def force(t, q, v):
    """What the motion needs, less a term that vanishes on it, which makes it depend on the state."""
    target, velocity = state(t)
    _, a = jax.jvp(lambda t: state(t)[1], (t,), (jnp.ones_like(t),))
    stiffness = jnp.exp(DRIVE * t)
    return {
        name: a[name] + stiffness * q[name] - DAMPING * (v[name] - velocity[name]) * (1 + target[name]) for name in a
    }


SYSTEM = fl.Forced(oscillator, force)


@jax.jit
def balance(t):
    q, v = jax.vmap(state)(t)
    trajectory = fl.Trajectory(t, q, v, v, fl.RESULTS.successful, fl.ImplicitMidpoint())
    return fl.energy_budget(SYSTEM, trajectory)


def test_the_budget_of_an_exact_motion_closes_with_order_six():
    defects = [np.max(np.abs(balance(jnp.linspace(0.0, 2.0, rows)).defect)) for rows in (11, 21)]
    assert abs(np.log2(defects[0] / defects[1]) - 6) < 0.3  # asymptotic within a fortieth of the higher order's term
    budget = balance(np.sort(np.random.default_rng(3).uniform(0, 2, 200)))
    np.testing.assert_allclose(budget.defect, 0, atol=1e-9)  # the largest gap is 0.07
    # The stiffness grows at the rate DRIVE: so does the potential energy, at rest.
    assert np.all(np.diff(budget.explicit) > 0)
    np.testing.assert_array_equal(budget.gained, budget.energies - budget.energies[0])


RATE = 0.2
DAMPED = fl.Forced(
    fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: q**2 / 2), fl.rayleigh(lambda t, q, v: RATE * v**2 / 2)
)


@jax.jit
def damped_balance(t, q, v):
    trajectory = fl.Trajectory(t, q, v, v, fl.RESULTS.successful, fl.ImplicitMidpoint())
    return fl.energy_budget(DAMPED, trajectory), fl.energy_budget(DAMPED.lagrangian, trajectory)


def test_damping_takes_the_energy_that_the_oscillator_loses():
    w = np.sqrt(1 - RATE**2 / 4)
    t = np.linspace(0, 10, 101)
    decay = np.exp(-RATE * t / 2)
    q = decay * (np.cos(w * t) + RATE / 2 / w * np.sin(w * t))
    v = -decay * np.sin(w * t) / w
    budget, without_force = damped_balance(t, q, v)
    np.testing.assert_allclose(budget.work, (q**2 + v**2 - 1) / 2, atol=1e-9)  # h^6 at h = 0.1, over t = 10
    np.testing.assert_array_equal(budget.explicit, 0)
    np.testing.assert_allclose(without_force.defect, budget.work, atol=1e-9)


def test_the_defect_shows_the_error_of_a_coarse_method():
    motion = fl.integrate(DAMPED, 1.0, 0.0, t1=10.0, steps=100, method=fl.ImplicitMidpoint())
    budget, _ = damped_balance(motion.t, motion.q, motion.v)
    assert 1e-6 < np.max(np.abs(budget.defect)) < 1e-3  # of order h^2 times the work of 0.4


def test_rows_that_are_lost_are_nan_and_contact_systems_refused():
    t = jnp.linspace(0.0, 1.0, 11)
    budget = balance(t.at[6:].set(jnp.nan))
    np.testing.assert_array_equal(np.isnan(budget.defect), np.arange(11) >= 6)
    contact = fl.Herglotz.linear(oscillator, 0.1)
    with pytest.raises(ValueError, match="dissipation_defect"):
        fl.energy_budget(contact, fl.Trajectory(t, t, t, t, fl.RESULTS.successful, fl.ImplicitMidpoint()))
