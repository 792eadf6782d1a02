"""Charges of symmetries, and Poisson brackets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

RNG = np.random.default_rng(3)
TIMES = jnp.asarray(RNG.uniform(0.5, 2.0, 10))
POINTS, VELOCITIES, MOMENTA = (jnp.asarray(RNG.normal(size=(10, 3)) + shift) for shift in (2.0, 0.0, 0.0))
AXIS = jnp.array([0.36, 0.48, 0.8])


def central(t, q, v):
    return v @ v * (1 + q @ q) / 2 - 1 / jnp.sqrt(q @ q)


def pair(t, q, v):
    """Bodies of mass 1, 2, 3 on a line, joined by springs that stiffen with time."""
    gaps = q - jnp.roll(q, 1)
    return v @ (jnp.array([1.0, 2.0, 3.0]) * v) / 2 - jnp.exp(t) * jnp.sum(gaps**4)


def inverse_square(t, q, v):
    return v @ v / 2 - 1 / (q @ q)


def magnetic(t, q, v):
    return v @ v / 2 + 0.7 * (q[0] * v[1] - q[1] * v[0]) - q[2] ** 2


def falling(t, q, v):
    return v @ v / 2 - 9.81 * q[2]


def constant(*vector):
    return lambda t, q: jnp.array(vector)


def masses(t, q):
    return q @ jnp.array([1.0, 2.0, 3.0])


SYMMETRIES = {
    "translation": (pair, constant(1.0, 1.0, 1.0), None, None),
    "rotation": (central, lambda t, q: jnp.cross(AXIS, q), None, None),
    "Galilean boost": (pair, lambda t, q: jnp.stack([t, t, t]), masses, None),
    "translation of time": (central, None, None, lambda t, q: 1.0),
    "scaling": (inverse_square, lambda t, q: q, None, lambda t, q: 2 * t),
    "conformal": (inverse_square, lambda t, q: t * q, lambda t, q: q @ q / 2, lambda t, q: t**2),
    "magnetic translation": (magnetic, constant(1.0, 0.0, 0.0), lambda t, q: 0.7 * q[1], None),
    "fall": (falling, constant(0.0, 0.0, 1.0), lambda t, q: -9.81 * t, None),
}
OTHERS = {
    "scaling of Kepler": (central, lambda t, q: q, None, lambda t, q: 1.5 * t),
    "translation of time": (pair, None, None, lambda t, q: 1.0),
    "boost without its gauge": (pair, lambda t, q: jnp.stack([t, t, t]), None, None),
    "twist": (
        central,
        lambda t, q: jnp.stack([q[1], q[0] * q[2], jnp.sin(t)]),
        lambda t, q: q[0] * t,
        lambda t, q: q[1],
    ),
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_symmetries_have_no_defect(name):
    lagrangian, generator, gauge, time = SYMMETRIES[name]

    def relative(*state):
        return fl.symmetry_defect(lagrangian, generator, *state, gauge, time).relative

    found = jax.jit(jax.vmap(relative))(TIMES, POINTS, VELOCITIES)
    np.testing.assert_allclose(found, 0, atol=1e-14)  # round-off of a dozen terms


@pytest.mark.parametrize("name", OTHERS)
def test_other_transformations_are_reported_by_the_rate_of_their_charge(name):
    lagrangian, generator, gauge, time = OTHERS[name]
    charge = fl.noether_charge(lagrangian, generator, gauge, time)

    def defect_and_rate(t, q, v):
        defect = fl.symmetry_defect(lagrangian, generator, t, q, v, gauge, time)
        a = fl.acceleration(lagrangian, t, q, v)
        rate = jax.jvp(charge, (t, q, v), (jnp.ones_like(t), v, a))[1]
        return defect.relative, defect.value / defect.scale, rate / defect.scale

    relative, value, rate = jax.jit(jax.vmap(defect_and_rate))(TIMES, POINTS, VELOCITIES)
    assert np.max(np.abs(relative)) > 0.1
    np.testing.assert_allclose(value, rate, atol=1e-12)  # round-off, also of the acceleration


def test_the_charge_of_time_is_the_energy():
    charge = fl.noether_charge(central, None, time=lambda t, q: 1.0)
    state = 0.3, POINTS[0], VELOCITIES[0]
    np.testing.assert_allclose(charge(*state), -fl.energy(central, *state), rtol=1e-15)


def test_angular_momentum_is_kept_on_keplers_ellipse():
    kepler = problems.Kepler()
    charge = fl.noether_charge(kepler.lagrangian, lambda t, q: jnp.stack([-q[1], q[0]]))

    def at(t):
        q, v = jax.jvp(lambda t: kepler.solution(t, 0.6), (t,), (jnp.ones_like(t),))
        return charge(t, q, v)

    # the angular momentum of the ellipse of half axis 1 is sqrt(1 - e^2)
    np.testing.assert_allclose(jax.jit(jax.vmap(at))(jnp.linspace(0.0, 6.0, 13)), 0.8, rtol=1e-13)


def test_charges_take_pytrees_and_single_precision():
    def lagrangian(t, q, v):
        return (v["x"] ** 2 + v["y"] @ v["y"]) / 2 - q["x"] ** 2

    def generator(t, q):
        return {"x": 0.0, "y": jnp.array([1.0, 2.0])}

    state = {"x": jnp.float32(3.0), "y": jnp.array([4.0, 5.0], jnp.float32)}
    charge = fl.noether_charge(lagrangian, generator)(0.0, state, state)
    defect = fl.symmetry_defect(lagrangian, generator, 0.0, state, state)
    assert (charge.dtype, defect.value.dtype) == (jnp.dtype("float32"),) * 2
    np.testing.assert_allclose([charge, defect.relative], [14.0, 0.0])


def test_wrong_transformations_are_refused():
    state = 0.0, jnp.ones(3), jnp.ones(3)
    with pytest.raises(ValueError, match="generator"):
        fl.noether_charge(central, constant(1.0, 2.0))(*state)
    with pytest.raises(ValueError, match="gauge returns a scalar"):
        fl.symmetry_defect(central, None, *state, gauge=lambda t, q: q)
    with pytest.raises(TypeError, match=r"[Cc]allable"):
        fl.noether_charge(central, 1.0)  # pyright: ignore[reportArgumentType]


def hamiltonian(t, q, p):
    return p @ p / (1 + q @ q) + jnp.cos(t) * jnp.sin(q[0] * p[1]) + q[2] ** 4


def first(t, q, p):
    return jnp.exp(q[0] * p[2]) * jnp.sin(q[1]) + t * p[0]


def second(t, q, p):
    return (q @ p) ** 2 + jnp.tanh(q[2]) * p[1]


def angular_momentum(t, q, p):
    return jnp.cross(q, p)


def test_brackets_obey_the_rules_of_poisson():
    def rules(t, q, p):
        def bracket(f, g):
            return fl.poisson_bracket(f, g)

        f, g, h = first, second, hamiltonian
        cyclic = [bracket(bracket(a, b), c)(t, q, p) for a, b, c in ((f, g, h), (g, h, f), (h, f, g))]
        product = bracket(lambda *z: f(*z) * g(*z), h)(t, q, p)
        leibniz = f(t, q, p) * bracket(g, h)(t, q, p) + g(t, q, p) * bracket(f, h)(t, q, p)
        antisymmetry = bracket(f, g)(t, q, p) + bracket(g, f)(t, q, p)
        return jnp.stack(cyclic), product - leibniz, antisymmetry, jnp.abs(product)

    cyclic, leibniz, antisymmetry, scale = jax.jit(jax.vmap(rules))(TIMES, POINTS / 2, MOMENTA)
    # round-off of the terms, which cancel
    np.testing.assert_allclose(cyclic.sum(axis=1) / np.abs(cyclic).max(axis=1), 0, atol=1e-13)
    np.testing.assert_allclose(leibniz / (1 + scale), 0, atol=1e-13)
    np.testing.assert_allclose(antisymmetry, 0, atol=1e-12)


def test_canonical_and_angular_brackets():
    def brackets(q, p):
        points, momenta = (
            fl.poisson_bracket(lambda t, q, p: (q, p), f) for f in (lambda t, q, p: p[0], lambda t, q, p: q[0])
        )
        turned = fl.poisson_bracket(angular_momentum, lambda t, q, p: angular_momentum(t, q, p)[1])
        return points(0.0, q, p), momenta(0.0, q, p), turned(0.0, q, p), angular_momentum(0.0, q, p)

    with_p, with_q, turned, momentum = jax.jit(brackets)(POINTS[0], MOMENTA[0])
    np.testing.assert_array_equal(with_p, [[1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(with_q, [[0, 0, 0], [-1, 0, 0]])
    # {l_x, l_y} = l_z, {l_y, l_y} = 0, {l_z, l_y} = -l_x
    np.testing.assert_allclose(turned, [momentum[2], 0, -momentum[0]], atol=1e-14)


def test_time_derivatives_are_those_along_motions():
    system = fl.Forced(central, lambda t, q, v: -0.2 * v + jnp.array([t, 0.0, 0.0]))

    def both(t, q, v):
        a = fl.acceleration(system, t, q, v)
        p = fl.momentum(central, t, q, v)
        rate = jax.jvp(lambda t, q, v: first(t, q, fl.momentum(central, t, q, v)), (t, q, v), (jnp.ones_like(t), v, a))[
            1
        ]
        return rate, fl.time_derivative(first, fl.hamiltonian(system))(t, q, p)

    expected, found = jax.jit(jax.vmap(both))(TIMES, POINTS / 2, VELOCITIES / 4)
    np.testing.assert_allclose(found, expected, rtol=1e-11)  # round-off of terms that cancel in part


def test_keplers_constants_commute_with_its_hamiltonian():
    def energy(t, q, p):
        return p @ p / 2 - 1 / jnp.sqrt(q @ q)

    def constants(t, q, p):
        turning = jnp.cross(q, p)
        return turning, jnp.cross(p, turning) - q / jnp.sqrt(q @ q)

    rates = jax.jit(jax.vmap(fl.time_derivative(constants, energy)))(TIMES, POINTS, MOMENTA)
    np.testing.assert_allclose(rates, 0, atol=1e-13)  # round-off of sums of order 10


def test_forces_and_constraints_move_a_charge_by_their_work_on_the_transformation():
    def force(t, q, v):
        return jnp.stack([-0.3 * v[0], q[0] * t])

    system = fl.Forced(fl.Constrained(lambda t, q, v: (1 + t) * v @ v / 2 - q[0] ** 3, lambda q: q @ q - 2), force)
    t, q, v = 0.4, jnp.array([1.0, 1.0]), jnp.array([0.7, -0.7])

    def generator(t, q):
        return jnp.stack([q[0] * q[1] + t, jnp.cos(q[0])])

    def time(t, q):
        return t + q[0] ** 2

    def rates(t, q, v):
        a, multipliers = fl.constrained_acceleration(system, t, q, v)
        charge = fl.noether_charge(system, generator, time=time)
        _, found = jax.jvp(charge, (t, q, v), (1.0, v, a))
        applied = force(t, q, v) + 2 * multipliers[0] * q
        defect = fl.symmetry_defect(system, generator, t, q, v, time=time).value
        return found, defect + applied @ (generator(t, q) - v * time(t, q))

    np.testing.assert_allclose(*jax.jit(rates)(t, q, v), rtol=1e-13)
