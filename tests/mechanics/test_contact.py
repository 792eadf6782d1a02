"""Dissipative Lagrangians: equal motions three ways, and what decays along them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

RATE = 0.3
STATES = np.random.default_rng(6).normal(size=(2, 40, 2))
TIMES, ACTIONS = np.linspace(-1, 2, 40), np.linspace(-2, 2, 40)


def central(t, q, v):
    """A plane motion with a position-dependent mass, symmetric under rotation."""
    return (1 + q @ q) * (v @ v) / 2 - q @ q


def driven(t, q, v, s):
    """Explicit time, and the action mixed with point and velocity."""
    return jnp.exp(0.2 * s) * (1 + q[0] ** 2) * (v @ v) / 2 + s * q[1] * v[0] - jnp.cos(t) * q @ q - 0.1 * s**2


def test_the_damped_oscillator_three_ways():
    mass, stiffness = 1.5, 2.0
    free = fl.NaturalLagrangian(fl.EuclideanMetric(mass), lambda q: stiffness * q @ q / 2)
    rayleigh = fl.Forced(free, fl.rayleigh(lambda t, q, v: RATE * mass * v @ v / 2))
    exponential, contact = fl.caldirola_kanai(free, RATE), fl.Herglotz.linear(free, RATE)

    @jax.jit
    @jax.vmap
    def three(t, q, v, s):
        return (
            fl.acceleration(rayleigh, t, q, v),
            fl.acceleration(exponential, t, q, v),
            fl.contact_acceleration(contact, t, q, v, s),
        )

    q, v = STATES
    for found in three(TIMES, q, v, ACTIONS):
        np.testing.assert_allclose(found, -stiffness / mass * q - RATE * v, rtol=1e-13, atol=1e-14)  # round-off


def test_linear_contact_and_exponential_damping_agree_for_any_lagrangian():
    def with_action(t, q, v, s):
        return central(t, q, v) - RATE * s

    systems = fl.Herglotz.linear(central, RATE), fl.Herglotz(with_action), with_action

    @jax.jit
    @jax.vmap
    def each(t, q, v, s):
        expected = fl.acceleration(fl.caldirola_kanai(central, RATE), t, q, v)
        return expected, *(fl.contact_acceleration(system, t, q, v, s) for system in systems)

    expected, *found = each(TIMES, *STATES, ACTIONS)
    for each in found:
        np.testing.assert_allclose(each, expected, rtol=1e-12, atol=1e-13)  # round-off of a solve


def test_physical_and_canonical_momentum_of_caldirola_and_kanai():
    t, q, v = 2.0, jnp.array([0.5, -1.0]), jnp.array([1.0, 2.0])
    damped = fl.caldirola_kanai(central, RATE)
    factor = np.exp(RATE * t)
    canonical, physical = (
        jax.jit(lambda *state, L=L: (fl.momentum(L, *state), fl.energy(L, *state)))(t, q, v) for L in (damped, central)
    )
    np.testing.assert_allclose(canonical[0], factor * physical[0], rtol=1e-15)
    np.testing.assert_allclose(canonical[1], factor * physical[1], rtol=1e-15)


def test_a_lagrangian_exponential_in_the_action():
    # e^s v^2 / 2 - V: e^s (a + v L) + V' = (e^s v^2 / 2) (e^s v), so a = V v - V' e^-s.
    system = fl.Herglotz(lambda t, q, v, s: jnp.exp(s) * v**2 / 2 - jnp.sin(q))
    q, v, s = 0.7, 1.3, -0.4
    expected = np.sin(q) * v - np.cos(q) * np.exp(-s)
    found = jax.jit(lambda *state: fl.contact_acceleration(system, 0.0, *state))(q, v, s)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_energy_is_dissipated_but_for_explicit_time():
    @jax.jit
    @jax.vmap
    def defects(t, q, v, s):
        defect = fl.dissipation_defect(driven, lambda *state: fl.contact_energy(driven, *state), t, q, v, s)
        return defect, -jax.grad(driven)(t, q, v, s)

    found, expected = defects(TIMES, *STATES, ACTIONS)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)  # round-off of terms up to 1e2


def test_momentum_along_a_symmetry_is_dissipated():
    system = fl.Herglotz(lambda t, q, v, s: central(t, q, v) - 0.2 * s * q @ q - 0.1 * s**2)

    def angular_momentum(t, q, v, s):
        return (1 + q @ q) * (q[0] * v[1] - q[1] * v[0])

    @jax.jit
    @jax.vmap
    def defects(t, q, v, s):
        return (
            fl.dissipation_defect(system, angular_momentum, t, q, v, s),
            fl.dissipation_defect(system, lambda t, q, v, s: q[0], t, q, v, s),
        )

    symmetric, other = defects(TIMES, *STATES, ACTIONS)
    np.testing.assert_allclose(symmetric, 0, atol=1e-11)  # round-off of terms up to 1e2
    assert np.min(np.abs(other)) > 1e-3


def test_the_contact_hamiltonian_gives_the_same_motion():
    H = fl.contact_hamiltonian(fl.Herglotz(driven))

    @jax.jit
    @jax.vmap
    def both(t, q, v, s):
        value, (p, leak) = jax.value_and_grad(driven, argnums=(2, 3))(t, q, v, s)
        energy, (by_q, by_p, by_s) = jax.value_and_grad(H, argnums=(1, 2, 3))(t, q, p, s)
        a = fl.contact_acceleration(driven, t, q, v, s)
        p_rate = jax.jvp(jax.grad(driven, argnums=2), (t, q, v, s), (jnp.ones_like(t), v, a, value))[1]
        contact = by_p, -by_q - p * by_s, p @ by_p - energy, energy, by_s
        return contact, (v, p_rate, value, fl.contact_energy(driven, t, q, v, s), -leak)

    contact, variational = both(TIMES, *STATES, ACTIONS)
    for found, expected in zip(contact, variational, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)  # the Legendre transform's Newton steps


def test_the_contact_hamiltonian_of_linear_damping_is_closed():
    free = fl.NaturalLagrangian(fl.EuclideanMetric(2.0), lambda q: q**2)
    H = fl.contact_hamiltonian(fl.Herglotz.linear(free, RATE))
    value, rate = jax.jit(jax.value_and_grad(H, argnums=3))(0.0, 1.5, 3.0, -2.0)
    np.testing.assert_allclose([value, rate], [9 / 4 + 2.25 - 2 * RATE, RATE], rtol=1e-15)


def test_contact_functions_keep_structure_and_precision():
    system = fl.Herglotz.linear(lambda t, q, v: v["a"] ** 2 - q["b"] * v["b"] + v["b"] ** 2 / 2, 0.5)
    state = {"a": jnp.float32(1), "b": jnp.float32(2)}

    @jax.jit
    def each(q):
        exponential = fl.caldirola_kanai(system.lagrangian.lagrangian, 0.5)
        return (
            fl.contact_acceleration(system, 0.0, q, q, 1.0),
            fl.acceleration(exponential, 0.0, q, q),
            fl.contact_energy(system, 0.0, q, q, 1.0),
        )

    *accelerations, energy = each(state)
    assert energy == 3.5
    assert energy.dtype == jnp.float32
    for a in accelerations:
        assert {leaf.dtype.name for leaf in jax.tree.leaves(a)} == {"float32"}
        np.testing.assert_allclose([a["a"], a["b"]], [-0.5, 0.0], atol=1e-6)  # round-off in single precision


def test_the_derivative_in_the_rate():
    def acceleration(rate):
        return fl.contact_acceleration(fl.Herglotz.linear(lambda t, q, v: v**2 / 2, rate), 0.0, 1.0, 3.0, 0.0)

    assert float(jax.jit(jax.grad(acceleration))(0.7)) == -3.0


def test_damping_drops_no_force_and_no_constraint():
    def free(t, q, v):
        return v @ v / 2

    for system in (fl.Separable(fl.Forced(free, lambda t, q, v: -v)), fl.Constrained(free, lambda q: q[0])):
        for damp in (fl.caldirola_kanai, fl.Herglotz.linear):
            with pytest.raises(ValueError, match="takes a Lagrangian alone, but the one given carries"):
                damp(system, 0.1)


def test_a_contact_lagrangian_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match="scalar"):
        jax.eval_shape(lambda q: fl.contact_energy(lambda t, q, v, s: v, 0.0, q, q, 0.0), jnp.ones(2))
    with pytest.raises(ValueError, match="A quantity returns a scalar"):
        jax.eval_shape(
            lambda q: fl.dissipation_defect(lambda t, q, v, s: v @ v - s, lambda t, q, v, s: v, 0.0, q, q, 0.0),
            jnp.ones(2),
        )


def test_whole_numbers_do_not_round_the_rate():
    def oscillator(t, q, v):
        return v**2 - q**2

    assert float(fl.Herglotz.linear(oscillator, 0.5)(0, 1, 2, 1)) == 2.5
    np.testing.assert_allclose(fl.caldirola_kanai(oscillator, 0.5)(1, 1, 2), 3 * np.exp(0.5), rtol=1e-15)


@pytest.mark.parametrize("of_state", [fl.energy, fl.momentum, fl.mass_matrix, fl.acceleration, fl.inertia, fl.power])
def test_what_lacks_the_action_names_what_takes_it(of_state):
    damped = fl.Herglotz.linear(lambda t, q, v: v**2 / 2, 0.5)
    with pytest.raises(TypeError, match=r"depends on the action s .* use contact_acceleration"):
        of_state(damped, 0.0, 1.0, 2.0)
