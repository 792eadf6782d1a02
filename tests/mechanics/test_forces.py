"""Forces against formulas solved by hand, and the power they bring."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag.mechanics._forces import flat_force
from fimlag.mechanics._lagrangian import flat_arguments

STATES = np.random.default_rng(5).normal(size=(2, 40, 2))
TIMES = np.linspace(-1, 2, 40)


def driven_charge(t, q, v):
    mass = jnp.exp(0.3 * t) * (1 + q[0] ** 2)
    return mass * (v @ v) / 2 + 0.7 * (q[0] * v[1] - q[1] * v[0]) - q @ q * jnp.cos(t)


def drag(t, q, v):
    return -(0.2 + t**2) * jnp.sqrt(1 + v @ v) * v + jnp.stack([q[1], -q[0]])


def dissipation(t, q, v):
    return (1 + q[0] ** 2) * (v[0] ** 2 + v[0] * v[1] + 2 * v[1] ** 2)


def test_rayleigh_force_of_a_damped_oscillator():
    mass, stiffness, friction = 1.5, 2.0, 0.3
    system = fl.Forced(
        fl.NaturalLagrangian(fl.EuclideanMetric(mass), lambda q: stiffness * q @ q / 2),
        fl.rayleigh(lambda t, q, v: friction * v @ v / 2),
    )
    q, v = STATES
    found = jax.jit(jax.vmap(lambda q, v: fl.acceleration(system, 0.0, q, v)))(q, v)
    np.testing.assert_allclose(found, -(stiffness * q + friction * v) / mass, rtol=1e-14, atol=1e-15)


def test_forces_nest_and_add_up():
    inner = fl.Separable(fl.Forced(fl.NaturalLagrangian(fl.EuclideanMetric(2.0)), drag))
    outer = fl.Forced(inner, fl.rayleigh(dissipation))
    flat, t, q, v = flat_arguments(outer, 0.5, jnp.array([0.3, -1.0]), jnp.array([1.0, 2.0]))
    friction = (1 + q[0] ** 2) * jnp.array([2 * v[0] + v[1], v[0] + 4 * v[1]])
    np.testing.assert_allclose(flat_force(flat, t, q, v), drag(t, q, v) - friction, rtol=1e-15)
    assert flat_force(*flat_arguments(driven_charge, t, q, v)) is None


def test_a_force_carried_equals_a_force_given():
    t, q, v = 0.4, jnp.array([0.5, -1.1]), jnp.array([0.9, 0.3])
    system = fl.Separable(fl.Forced(driven_charge, drag))
    carried, given = jax.jit(
        lambda *state: (fl.acceleration(system, *state), fl.acceleration(driven_charge, *state, force=drag))
    )(t, q, v)
    np.testing.assert_allclose(carried, given, rtol=1e-15)


def test_a_forced_motion_is_the_same_in_polar_coordinates():
    def point(u):
        return u[0] * jnp.stack([jnp.cos(u[1]), jnp.sin(u[1])])

    def cartesian(u, w):
        return jax.jvp(point, (u,), (w,))

    def polar_force(t, u, w):
        return jax.jacfwd(point)(u).T @ drag(t, *cartesian(u, w))

    polar = fl.Forced(lambda t, u, w: driven_charge(t, *cartesian(u, w)), polar_force)

    def both(t, u, w):
        b = fl.acceleration(polar, t, u, w)
        mapped = jax.jvp(lambda u, w: cartesian(u, w)[1], (u, w), (w, b))[1]
        return mapped, fl.acceleration(fl.Forced(driven_charge, drag), t, *cartesian(u, w))

    u = np.abs(STATES[0]) + np.array([0.5, 0.0])
    mapped, direct = jax.jit(jax.vmap(both))(TIMES, u, STATES[1])
    np.testing.assert_allclose(mapped, direct, rtol=1e-11, atol=1e-11)  # round-off times the condition of the chart


def test_power_is_the_rate_of_the_energy():
    system = fl.Forced(fl.Forced(driven_charge, drag), fl.rayleigh(dissipation))

    def both(t, q, v):
        a = fl.acceleration(system, t, q, v)
        rate = jax.jvp(lambda *state: fl.energy(system, *state), (t, q, v), (jnp.ones_like(t), v, a))[1]
        return rate, fl.power(system, t, q, v)

    rate, power = jax.jit(jax.vmap(both))(TIMES, *STATES)
    np.testing.assert_allclose(rate, power, rtol=1e-11, atol=1e-11)  # round-off of terms up to 1e3


def test_a_quadratic_dissipation_function_takes_twice_its_value():
    system = fl.Forced(lambda t, q, v: v @ v / 2 - q @ q, fl.rayleigh(dissipation))
    q, v = STATES
    power, half = jax.jit(jax.vmap(lambda q, v: (fl.power(system, 0.0, q, v), dissipation(0.0, q, v))))(q, v)
    np.testing.assert_allclose(power, -2 * half, rtol=1e-13)  # round-off


def test_the_derivative_in_a_friction_constant():
    def acceleration(friction):
        return fl.acceleration(fl.Forced(lambda t, q, v: v**2, lambda t, q, v: -friction * v), 0.0, 1.0, 3.0)

    assert float(jax.jit(jax.grad(acceleration))(0.7)) == -1.5


def test_forces_keep_structure_and_precision():
    def damping(t, q, v):
        return {"a": -v["a"], "b": -2 * v["b"]}

    def spring(t, q, v):
        return v["a"] ** 2 / 2 + v["b"] @ v["b"] / 2

    q = {"a": jnp.float32(1), "b": jnp.ones(2, jnp.float32)}
    system = fl.Forced(spring, damping)
    a, power = jax.jit(lambda q: (fl.acceleration(system, 0.0, q, q), fl.power(system, 0.0, q, q)))(q)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), a) == {"a": ((), "float32"), "b": ((2,), "float32")}
    np.testing.assert_array_equal([a["a"], *a["b"]], [-1.0, -2.0, -2.0])
    assert power == -5
    assert power.dtype == jnp.float32


def test_wrong_forces_are_refused():
    q = jnp.ones(2)
    with pytest.raises(ValueError, match="force has structure"):
        jax.eval_shape(lambda q: fl.acceleration(fl.Forced(driven_charge, lambda t, q, v: v[0]), 0.0, q, q), q)
    with pytest.raises(ValueError, match="A dissipation function returns a scalar"):
        jax.eval_shape(lambda q: fl.rayleigh(lambda t, q, v: v**2)(0.0, q, q), q)


def test_a_force_on_a_herglotz_lagrangian_is_not_left_out():
    damped = fl.Herglotz.linear(lambda t, q, v: v**2 / 2, rate=0.5)
    with pytest.raises(TypeError, match="Forced takes no action s"):
        fl.contact_acceleration(fl.Forced(damped, lambda t, q, v: 1.0), 0.0, 1.0, 2.0, 0.0)
