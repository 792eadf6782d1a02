"""Estimation as mechanics: with strong Fisher friction the motion is natural-gradient flow."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

DATA = np.array([1.0, 2.0, 6.0, 4.5, -0.3])
MODEL = fl.families.Normal()
START = jnp.array([0.5, 1.5])
DURATION = 1.5


def potential(theta):
    return -jnp.mean(jax.vmap(lambda x: MODEL.log_likelihood(theta, x))(jnp.asarray(DATA)))


LAGRANGIAN = fl.FisherLagrangian(MODEL, potential)


def damped(friction):
    metric = fl.FisherMetric(MODEL)
    return fl.Forced(LAGRANGIAN, fl.rayleigh(lambda t, q, v: friction * metric.quadratic(q, v) / 2))


@pytest.fixture(scope="module")
def flow():
    """The natural-gradient flow of the normal, (mu, sigma)' = -diag(sigma^2, sigma^2 / 2) grad V, written out."""
    mean, square = DATA.mean(), (DATA**2).mean()

    def field(s, theta, _):
        mu, sigma = theta
        spread = square - 2 * mu * mean + mu**2
        return jnp.stack([mean - mu, (spread / sigma - sigma) / 2])

    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Dopri8(), 0.0, DURATION, 1e-2, START,
        stepsize_controller=diffrax.PIDController(rtol=1e-12, atol=1e-13),
    ).ys[-1]  # fmt: skip


def test_strong_friction_makes_natural_gradient_flow(flow):
    # theta'' / gamma^2 + theta' + F^-1 grad V = 0 in the slow time s = t / gamma: the error is of order gamma^-2.
    frictions = jnp.array([10.0, 20.0, 40.0, 80.0])

    def end(friction):
        slope = jnp.linalg.solve(fl.fisher_information(MODEL, START), jax.grad(potential)(START))
        motion = fl.integrate(
            damped(friction), START, -slope / friction, t1=DURATION * friction, steps=12_000, save_every=12_000,
            method=fl.GaussLegendre(2), throw=False,
        )  # fmt: skip
        return motion.q[-1]

    scaled = frictions**2 * jnp.linalg.norm(jax.jit(jax.vmap(end))(frictions) - flow[None], axis=1)
    np.testing.assert_allclose(scaled[1:], scaled[-1], rtol=0.02)  # the next order, gamma^-2
    assert 1e-3 < float(scaled[-1]) < 10.0


def test_the_estimate_is_the_point_of_rest():
    estimate = jnp.array([DATA.mean(), DATA.std()])
    for system in (LAGRANGIAN, damped(5.0)):
        rest = jax.jit(lambda q, s=system: fl.acceleration(s, 0.0, q, 0 * q))
        np.testing.assert_allclose(rest(estimate), np.zeros(2), atol=1e-14)
    motion = fl.integrate(damped(5.0), START, 0 * START, t1=80.0, steps=2000, save_every=2000)
    np.testing.assert_allclose(motion.q[-1], estimate, atol=1e-6)  # e^(-t / gamma) of the slow mode


def test_energy_is_conserved_without_friction_and_spent_by_it():
    v = jnp.array([0.4, -0.2])
    free = fl.integrate(LAGRANGIAN, START, v, t1=20.0, steps=4000, save_every=200, method=fl.GaussLegendre(2))
    energies = jax.vmap(lambda *state: fl.energy(LAGRANGIAN, *state))(free.t, free.q, free.v)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-8)  # h^4 = 6e-10
    power = jax.jit(lambda v: fl.power(damped(5.0), 0.0, START, v))(v)
    np.testing.assert_allclose(power, -5.0 * v @ fl.fisher_information(MODEL, START) @ v, rtol=1e-13)
