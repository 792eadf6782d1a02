"""The Legendre transform both ways, in closed form and by Newton's method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl
from fimlag import problems


def relativistic(t, q, v):
    return -jnp.sqrt(1 - v @ v) - q @ q


def relativistic_hamiltonian(t, q, p):
    return jnp.sqrt(1 + p @ p) + q @ q


def pendulum(t, q, v):
    return problems.DoublePendulum()(t, q, v)


LAGRANGIANS = {
    "oscillator": problems.HarmonicOscillator(1.3, 0.7).lagrangian,
    "vouched": fl.Separable(lambda t, q, v: v @ v - q @ q),
    "normal": problems.NormalFisher().lagrangian,
    "pendulum": pendulum,
    "relativistic": relativistic,
    "magnetic": lambda t, q, v: v @ v / 2 + q[0] * v[1] - q @ q,
}


@pytest.mark.parametrize("name", LAGRANGIANS)
def test_hamiltonian_is_the_energy(name):
    lagrangian = LAGRANGIANS[name]
    q, v = jnp.array([0.3, 1.2]), jnp.array([0.4, -0.7])
    p = fl.momentum(lagrangian, 0.0, q, v)
    value = jax.jit(fl.hamiltonian(lagrangian).__call__)(0.0, q, p)
    np.testing.assert_allclose(value, fl.energy(lagrangian, 0.0, q, v), rtol=1e-13)  # round-off
    np.testing.assert_allclose(fl.velocity(lagrangian, 0.0, q, p), v, rtol=1e-13)


@pytest.mark.parametrize("name", LAGRANGIANS)
def test_hamiltons_equations_are_lagranges(name):
    lagrangian = LAGRANGIANS[name]
    q, v = jnp.array([0.3, 1.2]), jnp.array([0.4, -0.7])
    p = fl.momentum(lagrangian, 0.0, q, v)
    force, velocity = jax.grad(fl.hamiltonian(lagrangian), argnums=(1, 2))(0.0, q, p)
    np.testing.assert_allclose(velocity, v, rtol=1e-12, atol=1e-12)
    expected = jax.grad(lagrangian, argnums=1)(0.0, q, v)
    np.testing.assert_allclose(-force, expected, rtol=1e-12, atol=1e-12)  # round-off


# components whose squares underflow lose the scale that convergence is measured by: NaN, and said so
MOMENTA = st.floats(-50, 50).filter(lambda x: x == 0 or abs(x) > 1e-100)


@settings(max_examples=20)
@given(MOMENTA, MOMENTA)
def test_relativistic_velocity_is_found_at_any_momentum(x, y):
    p = jnp.array([x, y])
    found = _velocity(p)
    # v stops resolving p where 1 - v^2 loses digits: round-off times gamma^2
    np.testing.assert_allclose(found, p / jnp.sqrt(1 + p @ p), rtol=1e-12, atol=1e-12)


@jax.jit
def _velocity(p):
    return fl.velocity(relativistic, 0.0, jnp.zeros(2), p)


def test_relativistic_hamiltonian_has_second_derivatives():
    q, p = jnp.array([0.1, 0.2]), jnp.array([0.6, -1.3])
    found = jax.jit(jax.hessian(fl.hamiltonian(relativistic), argnums=2))(0.0, q, p)
    np.testing.assert_allclose(found, jax.hessian(relativistic_hamiltonian, argnums=2)(0.0, q, p), atol=1e-14)


def test_third_derivatives_pass_the_legendre_transform():
    rate = jax.jit(jax.grad(jax.grad(jax.grad(fl.hamiltonian(lambda t, q, v: -jnp.sqrt(1 - v**2)), 2), 2), 2))
    # the third derivative of sqrt(1 + p^2) is -3 p / (1 + p^2)^(5/2)
    np.testing.assert_allclose(rate(0.0, 0.0, 0.6), -1.8 / 1.36**2.5, rtol=1e-12)


def test_lagrangian_undoes_hamiltonian():
    q, v = jnp.array([0.1, 0.2]), jnp.array([0.3, -0.9])
    found = fl.lagrangian(relativistic_hamiltonian)
    np.testing.assert_allclose(found(0.0, q, v), relativistic(0.0, q, v), rtol=1e-14)
    np.testing.assert_allclose(fl.acceleration(found, 0.0, q, v), fl.acceleration(relativistic, 0.0, q, v), rtol=1e-12)


def test_a_momentum_without_velocity_is_nan_and_stays_alone():
    def bounded(t, q, v):
        return jnp.sqrt(1 + v @ v)

    momenta = jnp.array([[0.5, 0.0], [2.0, 0.0], [jnp.nan, 0.0]])
    velocities = jax.vmap(lambda p: fl.velocity(bounded, 0.0, jnp.zeros(2), p))(momenta)
    # p = v / sqrt(1 + v^2) stays below one
    np.testing.assert_allclose(velocities[0], [0.5 / np.sqrt(0.75), 0.0], rtol=1e-14)
    assert np.isnan(velocities).any(axis=1).tolist() == [False, True, True]


def test_hamiltonian_takes_pytrees_and_float32():
    def lagrangian(t, q, v):
        return v["x"] ** 4 / 4 + v["y"] ** 2 - q["x"] * q["y"]

    q, p = (dict(zip("xy", jnp.array(row, jnp.float32), strict=True)) for row in ([1, 2], [8, 6]))
    value = fl.hamiltonian(lagrangian)(0.0, q, p)
    assert value.dtype == jnp.float32
    # H = 3/4 8^(4/3) + 6^2 / 4 + 2: at rest the mass of x is singular, so the search starts along the momentum
    np.testing.assert_allclose(value, 23.0, rtol=4 * np.finfo(np.float32).eps)


def test_quartic_kinetic_energy_is_reached_from_a_regular_start():
    value = fl.hamiltonian(lambda t, q, v: v**4 / 4 + v**2 / 2)(0.0, 0.0, 10.0)
    # v^3 + v = 10 at v = 2: H = 20 - 6
    np.testing.assert_allclose(value, 14.0, rtol=1e-14)
