"""Signs of mass matrices, and accelerations that say where they are not determined."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

SIGNS = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=4, max_size=4)
UNITS = st.lists(st.integers(-12, 12), min_size=4, max_size=4)


@jax.jit
def signs_of(matrix):
    return fl.inertia(lambda t, q, v: v @ (matrix @ v) / 2, 0.0, jnp.zeros(4), jnp.zeros(4))


@settings(max_examples=40)
@given(SIGNS, UNITS, st.integers(0, 1000))
def test_inertia_is_sylvesters_in_any_coordinates_and_units(signs, units, seed):
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.normal(size=(4, 4)))[0] * rng.uniform(0.5, 2.0, size=4)
    scale = 10.0 ** np.array(units)
    matrix = scale[:, None] * (frame @ np.diag(signs) @ frame.T) * scale
    found = signs_of(jnp.asarray((matrix + matrix.T) / 2))
    counts = [int(found.positive), int(found.negative), int(found.zero)]
    assert counts == [signs.count(1.0), signs.count(-1.0), signs.count(0.0)]
    null = np.asarray(found.null_directions)
    assert not null[counts[2] :].any()
    for n in null[: counts[2]]:
        np.testing.assert_allclose(np.linalg.norm(n), 1, rtol=1e-12)
        # M n = 0 up to the round-off of its sums, magnified by eigenvalues that lie up to a factor 1e2 apart
        assert np.all(
            np.abs(matrix @ n) <= 1e-12 * (np.max(np.abs(matrix), axis=1) * np.max(np.abs(n * scale) / scale))
        )


def estimated(lagrangian, q, v):
    """Compiled as one program, which is quicker than its parts."""
    return jax.jit(lambda q, v: fl.acceleration_estimate(lagrangian, 0.0, q, v, throw=False))(q, v)


def schwarzschild(t, q, v):
    """Coordinates (time, radius, polar angle, azimuth), mass 1."""
    lapse = 1 - 2 / q[1]
    angular = v[2] ** 2 + (jnp.sin(q[2]) * v[3]) ** 2
    return (-lapse * v[0] ** 2 + v[1] ** 2 / lapse + q[1] ** 2 * angular) / 2


def test_a_lorentzian_metric_has_one_negative_direction_and_determined_accelerations():
    q, v = jnp.array([0.0, 7.0, 1.1, 0.3]), jnp.array([1.3, -0.2, 0.05, 0.1])
    found = estimated(schwarzschild, q, v)
    assert (int(found.inertia.positive), int(found.inertia.negative), int(found.inertia.zero)) == (3, 1, 0)
    assert float(found.residual) < 1e-14  # a few units of round-off
    assert bool(found.succeeded)


def rod(t, q, v):
    """Two points whose difference carries no kinetic energy, and a third that does."""
    return (v["a"] + 2 * v["b"][0]) ** 2 + v["b"][1] ** 2 - q["a"] ** 2


ROD = {"a": 1.0, "b": jnp.array([0.5, 0.2])}


def test_a_singular_mass_matrix_names_its_null_direction_in_the_callers_coordinates():
    with pytest.raises(eqx.EquinoxRuntimeError, match=r"0\.894 q\['a'\] - 0\.447 q\['b'\]\[0\]"):
        fl.acceleration_estimate(rod, 0.0, ROD, ROD)
    found = estimated(rod, ROD, ROD)
    assert found.result == fl.RESULTS.singular_mass
    assert np.isnan(found.value["a"])
    direction = jax.tree.map(lambda rows: rows[0], found.inertia.null_directions)
    # unit length along (2, -1) / sqrt(5)
    np.testing.assert_allclose(np.abs([direction["a"], *direction["b"]]), [2 / 5**0.5, 5**-0.5, 0], atol=1e-15)


def test_a_lagrangian_of_paths_without_a_clock_leaves_the_direction_of_its_velocity_undetermined():
    def length(t, q, v):
        return jnp.sqrt(v @ v) * (1 + q @ q)

    v = jnp.array([3.0, 4.0])
    found = estimated(length, jnp.ones(2), v)
    assert int(found.inertia.zero) == 1
    np.testing.assert_allclose(np.abs(found.inertia.null_directions[0]), v / 5, rtol=1e-12)


def test_compiled_estimates_keep_a_singular_member_to_itself_and_raise_when_asked():
    def lagrangian(t, q, v):
        return q[0] * v[0] ** 2 / 2 + v[1] ** 2 / 2 - q[1]

    def estimate(x, throw):
        return fl.acceleration_estimate(lagrangian, 0.0, jnp.stack([x, 0.0 * x]), jnp.ones(2), throw=throw)

    members = jax.jit(jax.vmap(lambda x: estimate(x, throw=False)))(jnp.array([2.0, 0.0, jnp.nan]))
    np.testing.assert_allclose(members.value[0], [-0.25, -1.0], rtol=1e-15)
    assert np.isnan(members.value[1:]).all(axis=1).tolist() == [True, True]
    assert np.asarray(members.succeeded).tolist() == [True, False, False]
    assert (members.result == fl.RESULTS.singular_mass).tolist() == [False, True, False]
    assert (members.result == fl.RESULTS.nonfinite).tolist() == [False, False, True]
    assert np.asarray(members.inertia.zero).tolist() == [0, 1, 0]
    with pytest.raises(eqx.EquinoxRuntimeError, match="mass matrix is singular"):
        eqx.filter_jit(lambda x: estimate(x, throw=True).value)(jnp.zeros(()))


def test_an_estimate_adds_every_force_and_is_differentiable():
    def lagrangian(t, q, v):
        return (1 + q**2) * v**2 / 2

    def value(q):
        pushed = fl.Forced(lagrangian, lambda t, q, v: q)
        return fl.acceleration_estimate(pushed, 0.0, q, 2.0, force=lambda t, q, v: 3.0).value

    # (1 + q^2) a = 3 + q - q v^2 at v = 2
    found, rate = jax.jit(jax.value_and_grad(value))(0.5)
    np.testing.assert_allclose(found, (3 - 3 * 0.5) / 1.25, rtol=1e-15)
    np.testing.assert_allclose(rate, -3 / 1.25 - 1.5 / 1.25**2, rtol=1e-14)


def test_single_precision_stays_single():
    q = jnp.ones(2, jnp.float32)
    found = estimated(lambda t, q, v: v[0] * v[1] - q @ q, q, q)
    assert (found.value.dtype, found.residual.dtype, found.inertia.eigenvalues.dtype) == (jnp.dtype("float32"),) * 3
    np.testing.assert_allclose(found.value, [-2.0, -2.0], rtol=1e-6)


def test_systems_with_their_own_equations_are_referred_to_acceleration():
    held = fl.Constrained(lambda t, q, v: v @ v, lambda q: q[0])
    with pytest.raises(TypeError, match="acceleration"):
        fl.acceleration_estimate(held, 0.0, jnp.ones(2), jnp.ones(2))
