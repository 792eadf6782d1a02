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

    def transform(q, v):
        p = fl.momentum(lagrangian, 0.0, q, v)
        return fl.hamiltonian(lagrangian)(0.0, q, p) - fl.energy(lagrangian, 0.0, q, v), fl.velocity(
            lagrangian, 0.0, q, p
        )

    difference, found = jax.jit(transform)(q, v)
    np.testing.assert_allclose(difference, 0, atol=1e-13)  # round-off
    np.testing.assert_allclose(found, v, rtol=1e-13)


@pytest.mark.parametrize("name", LAGRANGIANS)
def test_hamiltons_equations_are_lagranges(name):
    lagrangian = LAGRANGIANS[name]
    q, v = jnp.array([0.3, 1.2]), jnp.array([0.4, -0.7])
    p = fl.momentum(lagrangian, 0.0, q, v)
    force, velocity = jax.jit(jax.grad(fl.hamiltonian(lagrangian), argnums=(1, 2)))(0.0, q, p)
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

    @jax.jit
    def values(q, v):
        systems = fl.lagrangian(relativistic_hamiltonian), relativistic
        return [jnp.append(fl.acceleration(system, 0.0, q, v), system(0.0, q, v)) for system in systems]

    np.testing.assert_allclose(*values(q, v), rtol=1e-12)  # round-off times the condition of the mass


def test_a_momentum_without_velocity_is_nan_and_stays_alone():
    def bounded(t, q, v):
        return jnp.sqrt(1 + v @ v)

    momenta = jnp.array([[0.5, 0.0], [2.0, 0.0], [jnp.nan, 0.0]])
    velocities = jax.jit(jax.vmap(lambda p: fl.velocity(bounded, 0.0, jnp.zeros(2), p)))(momenta)
    # p = v / sqrt(1 + v^2) stays below one
    np.testing.assert_allclose(velocities[0], [0.5 / np.sqrt(0.75), 0.0], rtol=1e-14)
    assert np.isnan(velocities).any(axis=1).tolist() == [False, True, True]


def test_hamiltonian_takes_pytrees_and_float32():
    def lagrangian(t, q, v):
        return v["x"] ** 4 / 4 + v["y"] ** 2 - q["x"] * q["y"]

    q, p = (dict(zip("xy", jnp.array(row, jnp.float32), strict=True)) for row in ([1, 2], [8, 6]))
    value = jax.jit(fl.hamiltonian(lagrangian).__call__)(0.0, q, p)
    assert value.dtype == jnp.float32
    # H = 3/4 8^(4/3) + 6^2 / 4 + 2: at rest the mass of x is singular, so the search starts along the momentum
    np.testing.assert_allclose(value, 23.0, rtol=4 * np.finfo(np.float32).eps)


def test_quartic_kinetic_energy_is_reached_from_a_regular_start():
    value = jax.jit(fl.hamiltonian(lambda t, q, v: v**4 / 4 + v**2 / 2).__call__)(0.0, 0.0, 10.0)
    # v^3 + v = 10 at v = 2: H = 20 - 6
    np.testing.assert_allclose(value, 14.0, rtol=1e-14)


@pytest.mark.parametrize(("dtype", "largest"), [(jnp.float64, 1e8), (jnp.float32, 1e3)])
def test_relativistic_velocities_keep_all_digits_up_to_the_last_that_momenta_have(dtype, largest):
    direction = jnp.array([0.6, -0.8], dtype)
    sizes = jnp.asarray(np.append(np.geomspace(1e-6, largest, 15), 1e12), dtype)
    momenta = sizes[:, None] * direction[None]

    def transform(p):
        return fl.velocity(relativistic, 0.0, 0 * p, p), fl.hamiltonian(relativistic)(0.0, 0 * p, p)

    velocities, energies = jax.jit(jax.vmap(transform))(momenta)
    assert velocities.dtype == dtype
    gamma = np.sqrt(1 + np.asarray(sizes, float) ** 2)
    exact = np.asarray(momenta, float) / gamma[:, None]
    np.testing.assert_allclose(velocities[:-1], exact[:-1], rtol=4 * jnp.finfo(dtype).eps)
    np.testing.assert_allclose(energies[:-1], gamma[:-1], rtol=4 * jnp.finfo(dtype).eps)
    # velocities next to that of light have no digits left for this momentum
    assert np.isnan(velocities[-1]).all()
    assert np.isnan(energies[-1])


def finsler(t, q, v):
    """No derivative at rest, and a singular mass matrix in every direction there."""
    return (jnp.sqrt(v @ v) + 0.3 * v[0]) ** 3 / 3


def test_a_momentum_finds_its_velocity_where_rest_is_no_regular_start():
    v = jnp.array([[0.3, 0.4], [-2.0, 5.0], [1e-4, -3e-5]])
    found = jax.jit(jax.vmap(lambda v: fl.legendre_defect(finsler, 0.0, jnp.zeros(2), v)))(v)
    # round-off of a square root, times the condition of the mass matrix
    np.testing.assert_allclose(np.abs(found.velocity) / np.linalg.norm(v, axis=1)[:, None], 0, atol=1e-13)


def test_legendre_defect_tells_the_branches_of_a_lagrangian_that_is_not_convex():
    def well(t, q, v):
        return (v**2 - 1) ** 2 / 4

    def defects(v):
        found = fl.legendre_defect(well, 0.0, 0.0, v)
        p = fl.momentum(well, 0.0, 0.0, v)
        return found.velocity, found.energy, fl.velocity(well, 0.0, 0.0, p, guess=v + 0.1) - v

    lost, energy, guided = jax.jit(jax.vmap(defects))(jnp.array([0.1, -0.4, 1.1, -1.05]))
    np.testing.assert_allclose([lost[:2], energy[:2]], 0, atol=1e-15)
    assert np.all(np.abs(lost[2:]) > 0.5)
    assert np.all(np.abs(energy[2:]) > 0.01)
    np.testing.assert_allclose(guided[2:], 0, atol=1e-15)


def test_legendre_transforms_of_legendre_transforms_are_the_functions_themselves():
    assert fl.hamiltonian(fl.lagrangian(relativistic_hamiltonian)) is relativistic_hamiltonian
    assert fl.lagrangian(fl.hamiltonian(relativistic)) is relativistic
    natural = LAGRANGIANS["normal"]
    assert fl.lagrangian(fl.hamiltonian(natural)) is natural


def slow_charge(t, q, v):
    mass = jnp.array([[2.0, 0.3], [0.3, 1.0 + 0.5]])
    return jnp.exp(t) * jnp.sum(v * (mass @ v)) / 2 * (1 + q[0] ** 2) + jnp.sin(t) * q[1] * v[0] - jnp.sum(q**4)


def test_quadratic_kinetic_energies_transform_by_one_linear_solve():
    q, p = jnp.array([0.3, 1.2]), jnp.array([0.4, -0.7])
    forth, back = fl.hamiltonian(jax.jit(slow_charge)), fl.lagrangian(lambda t, q, p: p @ p * (1 + q[0] ** 2) + q @ p)
    for function in (forth, back, fl.hamiltonian(fl.Separable(lambda t, q, v: v @ v + q[0] * v[1]))):
        assert "while" not in str(jax.make_jaxpr(function)(0.5, q, p))
    assert "while" in str(jax.make_jaxpr(fl.hamiltonian(relativistic))(0.5, q, p))


def test_a_function_linear_in_its_velocity_or_momentum_has_no_transform():
    with pytest.raises(ValueError, match="PhaseSpaceLagrangian"):
        fl.hamiltonian(lambda t, q, v: q[1] * v[0] - q @ q)(0.0, jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="Hamiltonian is linear"):
        fl.lagrangian(lambda t, q, p: q @ p)(0.0, jnp.ones(2), jnp.ones(2))


SYSTEMS = {
    "relativistic": relativistic,
    "quadratic": slow_charge,
    "forced": fl.Forced(slow_charge, lambda t, q, v: -0.3 * v + t * q),
    "natural": fl.Forced(LAGRANGIANS["normal"], lambda t, q, v: jnp.stack([q[1], v[0]])),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_hamilton_equations_are_the_euler_lagrange_equations(name):
    lagrangian = SYSTEMS[name]

    def both(t, q, v):
        a = fl.acceleration(lagrangian, t, q, v)
        p, rate = jax.jvp(lambda *state: fl.momentum(lagrangian, *state), (t, q, v), (1.0, v, a))
        return (v, rate), fl.hamilton_equations(fl.hamiltonian(lagrangian), t, q, p)

    expected, found = jax.jit(both)(0.4, jnp.array([0.3, 1.2]), jnp.array([0.4, -0.7]))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)  # round-off times the condition of the mass


def test_hamilton_equations_of_a_function_return_in_the_callers_structure():
    def energy(t, q, p):
        return p["x"] ** 2 / 2 + t * jnp.sum(q["y"] * p["y"]) + q["x"] ** 3

    q, p = ({"x": jnp.float32(x), "y": jnp.full(2, y, jnp.float32)} for x, y in ((2, 3), (5, 7)))
    dq, dp = fl.hamilton_equations(energy, 2.0, q, p)
    assert jax.tree.map(jnp.shape, (dq, dp)) == ({"x": (), "y": (2,)},) * 2
    assert {leaf.dtype for leaf in jax.tree.leaves((dq, dp))} == {jnp.dtype("float32")}
    np.testing.assert_allclose([dq["x"], *dq["y"], dp["x"], *dp["y"]], [5, 6, 6, -12, -14, -14])


def test_hamilton_equations_do_not_leave_out_constraints():
    held = fl.Constrained(lambda t, q, v: v @ v, lambda q: q[0])
    with pytest.raises(TypeError, match="acceleration"):
        fl.hamilton_equations(fl.hamiltonian(held), 0.0, jnp.ones(2), jnp.ones(2))


@pytest.mark.parametrize("p", [-3.0, 0.4, 3.0])
def test_a_kink_in_the_velocity_is_not_taken_for_quadratic(p):
    def edged(t, q, v):
        return v**2 / 2 + jnp.maximum(v, 0)

    back = fl.velocity(edged, 0.0, 0.0, p)
    if 0 < p < 1:  # no velocity has a momentum in the gap
        assert np.isnan(back)
    else:
        np.testing.assert_allclose(back, p - (p > 0), rtol=1e-15)


def test_a_potential_that_is_no_scalar_is_refused():
    bent = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: q[:1] ** 2)
    with pytest.raises(ValueError, match="scalar"):
        fl.hamiltonian(bent)(0.0, jnp.ones(2), jnp.ones(2))
