"""Lagrangians in other coordinates and other gauges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl


def driven(t, q, v):
    """Explicit time, a position-dependent mass and a velocity-linear term."""
    return jnp.exp(0.3 * t) * (1 + q[0] ** 2) * (v @ v) / 2 + 0.7 * q[0] * v[1] - q @ q * jnp.cos(t)


def drag(t, q, v):
    return -0.4 * v * (1 + q @ q) + jnp.stack([t, q[0]])


@jax.jit
def transported(coefficients, t, q, v):
    """Accelerations and momenta of a driven system, directly and by way of new coordinates."""
    shear, wave, clock = coefficients

    def map(t, q):
        return q + 0.3 * jnp.tanh(shear @ q) + 0.2 * jnp.sin(wave @ q + clock * t)

    change = fl.PointTransformation(map)
    system = fl.point_transformation(fl.Forced(driven, drag), map)
    old = change.state(t, q, v)
    a = fl.acceleration(fl.Forced(driven, drag), t, *old)
    carried = jax.jvp(lambda t, q, v: change.state(t, q, v)[1], (t, q, v), (1.0, v, fl.acceleration(system, t, q, v)))[
        1
    ]
    momenta = fl.momentum(system, t, q, v), change.covector(t, q, fl.momentum(driven, t, *old))
    return (a, carried), momenta


NUMBERS = st.floats(-1, 1)


@settings(max_examples=25)
@given(st.lists(NUMBERS, min_size=14, max_size=14))
def test_motions_do_not_depend_on_coordinates(numbers):
    x = jnp.asarray(numbers)
    coefficients = x[:4].reshape(2, 2), x[4:8].reshape(2, 2), x[8:10]
    for found, expected in transported(coefficients, 0.7, x[10:12], x[12:14]):
        # round-off times the condition of the map, below 10, and of the mass
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_kepler_in_polar_coordinates():
    def cartesian(t, q, v):
        return v @ v / 2 + 1 / jnp.sqrt(q @ q)

    def from_polar(t, q):
        return q["r"] * jnp.stack([jnp.cos(q["phi"]), jnp.sin(q["phi"])])

    polar = fl.point_transformation(cartesian, from_polar)
    q, v = {"r": 1.7, "phi": 0.4}, {"r": 0.3, "phi": -0.6}
    value, a = jax.jit(lambda q, v: (polar(0.0, q, v), fl.acceleration(polar, 0.0, q, v)))(q, v)
    np.testing.assert_allclose(value, (0.3**2 + (1.7 * 0.6) ** 2) / 2 + 1 / 1.7, rtol=1e-15)
    # r'' = r phi'^2 - 1 / r^2, phi'' = -2 r' phi' / r
    np.testing.assert_allclose([a["r"], a["phi"]], [1.7 * 0.36 - 1 / 1.7**2, 2 * 0.3 * 0.6 / 1.7], rtol=1e-13)


def test_a_rotating_frame_has_coriolis_and_centrifugal_forces():
    rate = 0.9

    def turn(t, q):
        cosine, sine = jnp.cos(rate * t), jnp.sin(rate * t)
        return jnp.stack([cosine * q[0] - sine * q[1], sine * q[0] + cosine * q[1]])

    rotating = fl.point_transformation(lambda t, q, v: v @ v / 2, turn)
    q, v = np.array([0.5, -1.1]), np.array([0.9, 0.3])
    a = jax.jit(lambda q, v: fl.acceleration(rotating, 1.3, q, v))(jnp.asarray(q), jnp.asarray(v))
    np.testing.assert_allclose(a, rate**2 * q + 2 * rate * np.array([v[1], -v[0]]), rtol=1e-13)


def test_coordinates_of_a_surface_give_the_motion_that_is_kept_on_it():
    def sphere(t, q):
        return jnp.stack([jnp.sin(q[0]) * jnp.cos(q[1]), jnp.sin(q[0]) * jnp.sin(q[1]), -jnp.cos(q[0])])

    def weight(t, q, v):
        return v @ v / 2 - 9.81 * q[2]

    pendulum, change = fl.point_transformation(weight, sphere), fl.PointTransformation(sphere)
    held = fl.Constrained(weight, lambda q: (q @ q - 1) / 2)

    def both(q, v):
        a = fl.acceleration(pendulum, 0.0, q, v)
        carried = jax.jvp(lambda q, v: change.state(0.0, q, v)[1], (q, v), (v, a))[1]
        return carried, fl.acceleration(held, 0.0, *change.state(0.0, q, v))

    found, expected = jax.jit(both)(jnp.array([0.8, 0.3]), jnp.array([-0.5, 1.2]))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def charge(potential):
    return lambda t, q, v: v @ v / 2 + potential(q) @ v


def test_two_potentials_of_one_magnetic_field_have_the_same_motions():
    field = 1.3
    symmetric = charge(lambda q: field / 2 * jnp.stack([-q[1], q[0]]))
    landau = charge(lambda q: field * jnp.stack([-q[1], 0 * q[0]]))

    def gauge(t, q):
        return -field / 2 * q[0] * q[1] + t * q[0]

    shifted = fl.gauge_transformed(symmetric, gauge)

    def orbit(t):
        return 2.0 * jnp.stack([jnp.cos(field * t), -jnp.sin(field * t)])

    def at(t, q, v):
        systems = (symmetric, landau, shifted)
        residuals = [fl.euler_lagrange_residual(system, orbit, t) for system in systems[:2]]
        accelerations = [fl.acceleration(system, t, q, v) for system in systems]
        momenta = [fl.momentum(system, t, q, v) for system in systems]
        return residuals, accelerations, momenta[2] - momenta[0] - jax.grad(gauge, 1)(t, q)

    q, v = jnp.array([[0.5, -1.1], [2.0, 0.3]]), jnp.array([[0.9, 0.3], [-1.0, 0.4]])
    residuals, accelerations, shift = jax.jit(jax.vmap(at))(jnp.array([0.3, 4.0]), q, v)
    np.testing.assert_allclose(residuals, 0, atol=1e-14)
    for a in accelerations:
        np.testing.assert_allclose(a, field * np.stack([v[:, 1], -v[:, 0]], axis=1), rtol=1e-14)
    np.testing.assert_allclose(shift, 0, atol=1e-15)


def test_forces_stay_with_a_system_in_another_gauge():
    pushed = fl.Forced(fl.Separable(lambda t, q, v: v**2 / 2), lambda t, q, v: -2 * v)
    shifted = fl.gauge_transformed(pushed, lambda t, q: t * q**2)
    a = jax.jit(fl.acceleration, static_argnums=0)(shifted, 1.0, 3.0, 0.5)
    np.testing.assert_allclose(a, -1.0, rtol=1e-15)


def test_wrong_transformations_are_refused():
    held = fl.Constrained(driven, lambda q: q[0])
    with pytest.raises(TypeError, match="Constrained"):
        fl.point_transformation(held, lambda t, q: q)
    with pytest.raises(TypeError, match="Constrained"):
        fl.gauge_transformed(held, lambda t, q: q[0])
    with pytest.raises(ValueError, match="scalar"):
        fl.gauge_transformed(driven, lambda t, q: q)(0.0, jnp.ones(2), jnp.ones(2))
    with pytest.raises(TypeError, match=r"[Cc]allable"):
        fl.point_transformation(driven, 3.0)  # pyright: ignore[reportArgumentType]


def test_single_precision_stays_single():
    q = jnp.ones(2, jnp.float32)
    system = fl.gauge_transformed(fl.point_transformation(lambda t, q, v: v @ v, lambda t, q: q**2), lambda t, q: q[0])
    assert system(0.0, q, q).dtype == jnp.float32
