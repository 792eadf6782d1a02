"""Projection onto constraints: the nearest state, in the metric of the mass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

RNG = np.random.default_rng(9)


def conic(masses, weights, level):
    """A point of two masses on the curve of weighted squares."""
    return fl.Constrained(
        lambda t, q, v: v @ (jnp.asarray(masses) * v) / 2, lambda q: q @ (jnp.asarray(weights) * q) - level
    )


MASSES, ELLIPSE = [1.0, 4.0], [1 / 9, 1.0]
ANGLES = np.linspace(0, 2 * np.pi, 200001)
CURVE = np.stack([3 * np.cos(ANGLES), np.sin(ANGLES)], axis=1)
NEAR, FAILING, KEPT, LORENTZIAN = slice(0, 20), slice(20, 26), slice(26, 28), 28
POINTS = np.concatenate(
    [
        CURVE[RNG.integers(len(CURVE), size=20)] + 0.2 * RNG.normal(size=(20, 2)),
        # The centre has no gradient, within the evolute the vertex is not nearest, NaN is NaN, level -1 is empty.
        [[2.9, 0.1], [0.0, 0.0], [0.01, 0.0], [np.nan, 1.0], [0.3, 0.4], [0.0, 1.5]],
        [[3.0, 0.0], [0.0, -1.0]],
        [[0.6, 1.1]],
    ]
)
VELOCITIES = np.concatenate([RNG.normal(size=(26, 2)), [[0.0, 0.4], [2.0, 0.0]], [[1.0, 1.0]]])


@pytest.fixture(scope="module")
def projected():
    """All states projected at once, as numpy arrays, with their defects."""
    masses, weights, level = np.tile(MASSES, (29, 1)), np.tile(ELLIPSE, (29, 1)), np.ones(29)
    level[24] = -1
    masses[LORENTZIAN] = weights[LORENTZIAN] = [-1, 1]

    def project(masses, weights, level, q, v):
        system = conic(masses, weights, level)
        state = fl.project_onto_constraints(system, 0.0, q, v, throw=False)
        return state, fl.constraint_defect(system, state.q, state.v)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(project))(masses, weights, level, POINTS, VELOCITIES))


def test_the_nearest_point_of_an_ellipse_in_the_metric_of_the_mass(projected):
    state, defects = projected
    q, v, masses = POINTS[NEAR], VELOCITIES[NEAR], np.array(MASSES)
    distances = (q[:, None] - CURVE) ** 2 @ masses
    np.testing.assert_allclose(state.q[NEAR], CURVE[np.argmin(distances, axis=1)], atol=1e-4)  # spacing of the curve
    assert np.all((state.q[NEAR] - q) ** 2 @ masses <= np.min(distances, axis=1) + 1e-12)
    np.testing.assert_allclose([each[NEAR] for each in defects], 0, atol=1e-14)
    # The change of the velocity is along the constraint's gradient, raised by the mass.
    change, gradient = masses * (state.v[NEAR] - v), state.q[NEAR] * np.array(ELLIPSE)
    np.testing.assert_allclose(change[:, 0] * gradient[:, 1], change[:, 1] * gradient[:, 0], atol=1e-13)


def test_a_failed_projection_stays_in_its_member(projected):
    state, _ = projected
    R = fl.RESULTS
    expected = [R.successful, R.dependent_constraints, R.not_nearest, R.nonfinite, R.max_steps_reached]
    expected += [R.successful]
    for k, result in enumerate(expected, start=FAILING.start):
        assert jax.tree.map(lambda leaf, k=k: leaf[k], state.result) == result
    failed = [result != R.successful for result in expected]
    np.testing.assert_array_equal(np.isnan(state.q[FAILING, 0]), failed)
    np.testing.assert_array_equal(np.isnan(state.v[FAILING, 0]), failed)


def test_a_consistent_state_is_kept(projected):
    state, _ = projected
    np.testing.assert_allclose(state.q[KEPT], POINTS[KEPT], atol=1e-15)
    np.testing.assert_allclose(state.v[KEPT], VELOCITIES[KEPT], atol=1e-15)
    np.testing.assert_array_equal(state.iterations[KEPT], 1)


def test_a_lorentzian_mass_projects_onto_a_hyperbola(projected):
    # Along the normal, which is the point itself: a rescaling.
    expected = POINTS[LORENTZIAN] / np.sqrt(1.1**2 - 0.6**2)
    np.testing.assert_allclose(projected[0].q[LORENTZIAN], expected, rtol=1e-13)


def test_the_derivative_of_a_projection_onto_a_circle():
    def project(level, q):
        circle = conic([1.0, 1.0], [1.0, 1.0], level)
        return fl.project_onto_constraints(circle, 0.0, q, jnp.zeros_like(q), throw=False).q

    n = np.array([0.6, 0.8])
    by_level, by_point = jax.jit(jax.jacrev(project, argnums=(0, 1)))(4.0, 5 * n)
    np.testing.assert_allclose(by_level, n / 4, rtol=1e-12)
    np.testing.assert_allclose(by_point, 2 / 5 * (np.eye(2) - np.outer(n, n)), rtol=1e-12, atol=1e-14)


def test_velocities_under_one_forms_are_projected_and_points_kept():
    skate = fl.Nonholonomic(
        lambda t, q, v: v @ v / 2, lambda q: jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2]), 0 * q[2]])[None]
    )
    q = jnp.array([1.0, 2.0, 0.5])
    state = jax.jit(lambda q, v: fl.project_onto_constraints(skate, 0.0, q, v))(q, jnp.array([1.0, -1.0, 3.0]))
    along = np.cos(0.5) - np.sin(0.5)
    np.testing.assert_array_equal(state.q, q)
    np.testing.assert_allclose(state.v, [along * np.cos(0.5), along * np.sin(0.5), 3.0], rtol=1e-14)


def test_what_cannot_be_reached_raises_with_its_cause(projected):
    state, _ = projected
    lost = jax.tree.map(lambda leaf: jnp.asarray(leaf[24]), state)
    with pytest.raises(RuntimeError, match="iteration limit"):
        fl._results.raise_unless_successful(lost, throw=True)
