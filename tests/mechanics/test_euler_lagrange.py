"""Momentum, energy and acceleration against formulas solved by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl
from fimlag import problems

ANGLES = st.floats(-3, 3)
PENDULUM = problems.DoublePendulum(masses=(1.5, 0.7), lengths=(1.2, 0.8), gravity=9.81)


def damped_charge(t, q, v):
    """Explicit time, a velocity-linear term and a position-dependent mass at once."""
    mass = jnp.exp(0.3 * t) * (1 + q[0] ** 2)
    return mass * (v @ v) / 2 + 0.7 * (q[0] * v[1] - q[1] * v[0]) - q @ q * jnp.cos(t)


def damped_charge_acceleration(t, q, v):
    mass = np.exp(0.3 * t) * (1 + q[0] ** 2)
    pull = np.array([np.exp(0.3 * t) * q[0] * (v @ v) + 0.7 * v[1], -0.7 * v[0]]) - 2 * q * np.cos(t)
    mass_rate = 0.3 * mass + np.exp(0.3 * t) * 2 * q[0] * v[0]
    return (pull - mass_rate * v - 0.7 * np.array([-v[1], v[0]])) / mass


@settings(max_examples=25)
@given(ANGLES, ANGLES, ANGLES, ANGLES)
def test_acceleration_of_the_double_pendulum_is_the_one_solved_by_hand(a, b, x, y):
    q, v = jnp.array([a, b]), jnp.array([x, y])
    # round-off times the condition of the mass matrix, below 100 here
    np.testing.assert_allclose(
        jax.jit(fl.acceleration, static_argnums=0)(_pendulum, 0.0, q, v),
        PENDULUM.acceleration(q, v),
        rtol=1e-11,
        atol=1e-11,
    )


def _pendulum(t, q, v):
    return PENDULUM(t, q, v)


def test_acceleration_knows_explicit_time_and_magnetic_terms():
    t, q, v = 0.4, np.array([0.5, -1.1]), np.array([0.9, 0.3])
    found = jax.jit(fl.acceleration, static_argnums=0)(damped_charge, t, jnp.asarray(q), jnp.asarray(v))
    np.testing.assert_allclose(found, damped_charge_acceleration(t, q, v), rtol=1e-13)


def test_force_is_covariant():
    lagrangian = fl.NaturalLagrangian(fl.EuclideanMetric(jnp.array([2.0, 4.0])))
    found = fl.acceleration(
        lagrangian, 0.0, jnp.zeros(2), jnp.ones(2), force=lambda t, q, v: -jnp.array([1.0, 2.0]) * v
    )
    np.testing.assert_allclose(found, [-0.5, -0.5], rtol=1e-15)


def test_acceleration_of_a_singular_mass_is_nan():
    found = fl.acceleration(lambda t, q, v: (v[0] + v[1]) ** 2 - q @ q, 0.0, jnp.ones(2), jnp.ones(2))
    assert np.all(np.isnan(found))


def test_acceleration_of_a_free_metric_is_the_geodesic_equation():
    q, v = jnp.array([0.3, 1.4]), jnp.array([0.7, -0.2])
    metric = problems.NormalFisher()
    christoffel = fl.christoffel(metric, q)
    expected = -jnp.einsum("kij,i,j->k", christoffel, v, v)
    np.testing.assert_allclose(fl.acceleration(metric.lagrangian, 0.0, q, v), expected, rtol=1e-13)  # round-off


def test_energy_and_momentum_of_a_charge():
    t, q, v = 0.4, jnp.array([0.5, -1.1]), jnp.array([0.9, 0.3])
    mass = jnp.exp(0.3 * t) * (1 + q[0] ** 2)
    p = mass * v + 0.7 * jnp.array([-q[1], q[0]])
    np.testing.assert_allclose(fl.momentum(damped_charge, t, q, v), p, rtol=1e-14)
    np.testing.assert_allclose(fl.energy(damped_charge, t, q, v), mass * v @ v / 2 + q @ q * jnp.cos(t), rtol=1e-14)
    np.testing.assert_allclose(fl.mass_matrix(damped_charge, t, q, v), mass * jnp.eye(2), rtol=1e-14)


def test_mass_matrix_of_a_natural_lagrangian_is_its_metric():
    lagrangian = problems.NormalFisher().lagrangian
    q, v = jnp.array([0.3, 1.4]), jnp.array([0.7, -0.2])

    def plain(t, q, v):
        return lagrangian(t, q, v)

    np.testing.assert_allclose(fl.mass_matrix(lagrangian, 0.0, q, v), fl.mass_matrix(plain, 0.0, q, v), rtol=1e-14)


OSCILLATOR, KEPLER, NORMAL = problems.HarmonicOscillator(1.3, 0.7), problems.Kepler(), problems.NormalFisher()
MOTIONS = {
    "oscillator": (
        OSCILLATOR.lagrangian,
        lambda t: OSCILLATOR.solution(t, jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])),
    ),
    "kepler": (KEPLER.lagrangian, lambda t: KEPLER.solution(t, 0.6)),
    "normal": (
        NORMAL.lagrangian,
        lambda t: NORMAL.geodesic(t, jnp.array([0.0, 1.0]), jnp.array([1.0, 0.3])),
    ),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_euler_lagrange_residual_vanishes_along_exact_motions(name):
    lagrangian, path = MOTIONS[name]
    residuals = jax.vmap(lambda t: fl.euler_lagrange_residual(lagrangian, path, t))(jnp.linspace(0.1, 5, 20))
    np.testing.assert_allclose(residuals, 0, atol=1e-12)  # round-off of second derivatives of order 10


def test_euler_lagrange_residual_sees_a_wrong_motion():
    residual = fl.euler_lagrange_residual(lambda t, q, v: v @ v / 2, lambda t: jnp.stack([t**2, t]), 1.0)
    np.testing.assert_allclose(residual, [2.0, 0.0], atol=1e-15)


def test_pytree_coordinates_return_in_their_structure():
    def lagrangian(t, q, v):
        return v["a"] ** 2 + v["b"] @ v["b"] / 2 - q["a"] * q["b"][0]

    q, v = {"a": 1.0, "b": jnp.array([2.0, 3.0])}, {"a": 0.5, "b": jnp.array([1.0, -1.0])}
    a = jax.jit(fl.acceleration, static_argnums=0)(lagrangian, 0, q, v)
    assert jax.tree.map(jnp.shape, a) == {"a": (), "b": (2,)}
    np.testing.assert_allclose([a["a"], *a["b"]], [-1.0, -1.0, 0.0], atol=1e-15)
    assert fl.mass_matrix(lagrangian, 0, q, v).shape == (3, 3)


def test_float32_arguments_give_float32():
    q, v = jnp.ones(2, jnp.float32), jnp.ones(2, jnp.float32)
    outputs = [f(PENDULUM, 0.0, q, v) for f in (fl.momentum, fl.energy, fl.mass_matrix, fl.acceleration)]
    assert {output.dtype for output in outputs} == {jnp.dtype("float32")}


def test_a_lagrangian_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match="scalar"):
        fl.energy(lambda t, q, v: v**2, 0.0, jnp.ones(2), jnp.ones(2))


def test_point_and_velocity_of_different_structures_are_refused():
    with pytest.raises(ValueError, match="structure"):
        fl.energy(lambda t, q, v: v @ v, 0.0, jnp.ones(2), jnp.ones(3))


def charged(t, q, v):
    """Unit charge and mass in the field of the vector potential (z y, z x^2, 0) and a potential."""
    return v @ v / 2 + q[2] * (q[1] * v[0] + q[0] ** 2 * v[1]) - q[0] * q[1] * jnp.cos(t)


def charged_acceleration(t, q, v):
    x, y, z = q
    magnetic = jnp.stack([-(x**2), y, 2 * z * x - z])
    electric = -jnp.stack([y, x, 0 * x]) * jnp.cos(t)
    return electric + jnp.cross(v, magnetic)


def schwarzschild(t, q, v):
    lapse = 1 - 2 / q[1]
    angular = v[2] ** 2 + (jnp.sin(q[2]) * v[3]) ** 2
    return (-lapse * v[0] ** 2 + v[1] ** 2 / lapse + q[1] ** 2 * angular) / 2


def schwarzschild_acceleration(t, q, v):
    r, sine, cosine = q[1], jnp.sin(q[2]), jnp.cos(q[2])
    radial = -(r - 2) / r**3 * v[0] ** 2 + v[1] ** 2 / (r * (r - 2)) + (r - 2) * (v[2] ** 2 + (sine * v[3]) ** 2)
    polar = -2 / r * v[1] * v[2] + sine * cosine * v[3] ** 2
    azimuthal = -2 / r * v[1] * v[3] - 2 * cosine / sine * v[2] * v[3]
    return jnp.stack([-2 / (r * (r - 2)) * v[0] * v[1], radial, polar, azimuthal])


def relativistic(t, q, v):
    return -jnp.sqrt(1 - v @ v) + 0.7 * q[0]


def relativistic_acceleration(t, q, v):
    force = jnp.array([0.7, 0.0])
    return jnp.sqrt(1 - v @ v) * (force - v * (v @ force))


def atwood(t, q, v):
    return (3.0 + 1.2) / 2 * v[0] ** 2 + (3.0 - 1.2) * 9.81 * q[0]


def swung_pendulum(t, q, v):
    """A pendulum of length 1.5 whose support moves as (cos 2t, sin 3t), by angle from the vertical."""
    x, y = 1.5 * jnp.cos(q[0]) * v[0] - 2 * jnp.sin(2 * t), 1.5 * jnp.sin(q[0]) * v[0] + 3 * jnp.cos(3 * t)
    return (x**2 + y**2) / 2 + 9.81 * 1.5 * jnp.cos(q[0])


def swung_pendulum_acceleration(t, q, v):
    lift, drag = 9.81 - 9 * jnp.sin(3 * t), -4 * jnp.cos(2 * t)
    return -(lift * jnp.sin(q) + drag * jnp.cos(q)) / 1.5


def growing(t, q, v):
    """A body that gains mass as e^t and feels drag by a velocity-linear term with its own clock."""
    return jnp.exp(t) * (v @ v) / 2 + jnp.sin(t) * (q @ v) - jnp.exp(t) * q[0]


def growing_acceleration(t, q, v):
    return -v - jnp.array([1.0, 0.0]) - jnp.exp(-t) * jnp.cos(t) * q


TEXTBOOK = {
    "charge in a magnetic field": (charged, charged_acceleration, 3),
    "Schwarzschild geodesic": (schwarzschild, schwarzschild_acceleration, 4),
    "relativistic particle": (relativistic, relativistic_acceleration, 2),
    "Atwood's machine": (atwood, lambda t, q, v: jnp.full(1, 1.8 / 4.2 * 9.81), 1),
    "pendulum on a moving support": (swung_pendulum, swung_pendulum_acceleration, 1),
    "growing mass": (growing, growing_acceleration, 2),
}


@pytest.mark.parametrize("name", TEXTBOOK)
def test_accelerations_are_those_of_textbooks(name):
    lagrangian, expected, size = TEXTBOOK[name]
    rng = np.random.default_rng(1)
    q, v = rng.uniform(3, 5, size=(2, 20, size))
    times, q, v = jnp.asarray(rng.uniform(0, 2, 20)), jnp.asarray(q - (size < 4) * 4), jnp.asarray((v - 4) / 2)
    found = jax.jit(jax.vmap(lambda *state: fl.acceleration(lagrangian, *state)))(times, q, v)
    # round-off of sums of a dozen terms of size below 100
    np.testing.assert_allclose(found, jax.vmap(expected)(times, q, v), rtol=1e-12, atol=1e-12)


def test_euler_lagrange_residual_vanishes_along_hyperbolic_motion():
    def hyperbolic(t):
        return jnp.stack([(jnp.sqrt(1 + (0.7 * t) ** 2) - 1) / 0.7, 0.0 * t])

    times = jnp.linspace(0.0, 20.0, 9)
    residuals = jax.vmap(lambda t: fl.euler_lagrange_residual(relativistic, hyperbolic, t))(times)
    # round-off times gamma^3, with gamma up to 14
    np.testing.assert_allclose(residuals, 0, atol=1e-12)


def test_euler_lagrange_residual_counts_the_forces_that_a_system_carries():
    damped = fl.Forced(lambda t, q, v: v**2 / 2 - q**2 / 2, lambda t, q, v: -2 * v)
    residual = fl.euler_lagrange_residual(damped, lambda t: (1 + t) * jnp.exp(-t), 0.7)
    np.testing.assert_allclose(residual, 0, atol=1e-15)


@pytest.mark.parametrize(
    "lagrangian", [lambda t, q, v: q[1] * v[0] - q @ q, jax.jit(lambda t, q, v: q @ v), lambda t, q, v: q @ q]
)
def test_a_lagrangian_linear_in_the_velocity_is_referred_to_its_first_order_equations(lagrangian):
    with pytest.raises(ValueError, match="PhaseSpaceLagrangian"):
        fl.acceleration(lagrangian, 0.0, jnp.ones(2), jnp.ones(2))
