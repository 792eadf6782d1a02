"""Projection onto constraints: the nearest state, in the metric of the mass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

RNG = np.random.default_rng(9)
MASSES = np.array([1.0, 4.0])


def heavy(t, q, v):
    return v @ (jnp.asarray(MASSES, v.dtype) * v) / 2


def ellipse(q):
    return q[0] ** 2 / 9 + q[1] ** 2 - 1


NEAR, FAILING, KEPT = slice(0, 20), slice(20, 25), slice(25, 27)
ANGLES = np.linspace(0, 2 * np.pi, 200001)
CURVE = np.stack([3 * np.cos(ANGLES), np.sin(ANGLES)], axis=1)
POINTS = np.concatenate(
    [
        CURVE[RNG.integers(len(CURVE), size=20)] + 0.2 * RNG.normal(size=(20, 2)),
        # The centre has no gradient, within the evolute the vertex is not nearest, and NaN is NaN.
        [[2.9, 0.1], [0.0, 0.0], [0.01, 0.0], [np.nan, 1.0], [0.0, 1.5]],
        [[3.0, 0.0], [0.0, -1.0]],
    ]
)
VELOCITIES = np.concatenate([RNG.normal(size=(25, 2)), [[0.0, 0.4], [2.0, 0.0]]])


@pytest.fixture(scope="module")
def onto_ellipse():
    """All states projected at once, as numpy arrays, with their defects."""
    system = fl.Constrained(heavy, ellipse)

    def project(q, v):
        state = fl.project_onto_constraints(system, 0.0, q, v, throw=False)
        return state, fl.constraint_defect(system, state.q, state.v)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(project))(POINTS, VELOCITIES))


def test_the_nearest_point_of_an_ellipse_in_the_metric_of_the_mass(onto_ellipse):
    state, defects = onto_ellipse
    q, v = POINTS[NEAR], VELOCITIES[NEAR]
    distances = (q[:, None] - CURVE) ** 2 @ MASSES
    np.testing.assert_allclose(state.q[NEAR], CURVE[np.argmin(distances, axis=1)], atol=1e-4)  # spacing of the curve
    assert np.all((state.q[NEAR] - q) ** 2 @ MASSES <= np.min(distances, axis=1) + 1e-12)
    np.testing.assert_allclose([each[NEAR] for each in defects], 0, atol=1e-14)
    # The change of the velocity is along the constraint's gradient, raised by the mass.
    change, gradient = MASSES * (state.v[NEAR] - v), state.q[NEAR] * np.array([2 / 9, 2])
    np.testing.assert_allclose(change[:, 0] * gradient[:, 1], change[:, 1] * gradient[:, 0], atol=1e-13)


def test_a_failed_projection_stays_in_its_member(onto_ellipse):
    state, _ = onto_ellipse
    R = fl.RESULTS
    expected = [R.successful, R.dependent_constraints, R.not_nearest, R.nonfinite, R.successful]
    for k, result in enumerate(expected, start=FAILING.start):
        assert jax.tree.map(lambda leaf, k=k: leaf[k], state.result) == result
    failed = [result != R.successful for result in expected]
    np.testing.assert_array_equal(np.isnan(state.q[FAILING, 0]), failed)
    np.testing.assert_array_equal(np.isnan(state.v[FAILING, 0]), failed)


def test_a_consistent_state_is_kept(onto_ellipse):
    state, _ = onto_ellipse
    np.testing.assert_allclose(state.q[KEPT], POINTS[KEPT], atol=1e-15)
    np.testing.assert_allclose(state.v[KEPT], VELOCITIES[KEPT], atol=1e-15)
    np.testing.assert_array_equal(state.iterations[KEPT], 1)


def test_the_derivative_of_a_projection_onto_a_circle():
    def project(radius, q):
        circle = fl.Constrained(lambda t, q, v: v @ v / 2, lambda q: q @ q - radius**2)
        return fl.project_onto_constraints(circle, 0.0, q, jnp.zeros_like(q), throw=False).q

    q = jnp.array([3.0, 4.0])
    n = np.array([0.6, 0.8])
    by_radius, by_point = jax.jit(jax.jacrev(project, argnums=(0, 1)))(2.0, q)
    np.testing.assert_allclose(by_radius, n, rtol=1e-12)
    np.testing.assert_allclose(by_point, 2 / 5 * (np.eye(2) - np.outer(n, n)), rtol=1e-12, atol=1e-14)
    forward = jax.jit(lambda q: jax.jvp(lambda q: project(2.0, q), (q,), (q[::-1],))[1])(q)
    np.testing.assert_allclose(forward, by_point @ q[::-1], rtol=1e-12)


def test_velocities_under_one_forms_are_projected_and_points_kept():
    skate = fl.Nonholonomic(
        lambda t, q, v: v @ v / 2, lambda q: jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2]), 0 * q[2]])[None]
    )
    q = jnp.array([1.0, 2.0, 0.5])
    state = jax.jit(lambda q, v: fl.project_onto_constraints(skate, 0.0, q, v))(q, jnp.array([1.0, -1.0, 3.0]))
    along = np.cos(0.5) - np.sin(0.5)
    np.testing.assert_array_equal(state.q, q)
    np.testing.assert_allclose(state.v, [along * np.cos(0.5), along * np.sin(0.5), 3.0], rtol=1e-14)


def test_a_lorentzian_mass_projects_onto_a_hyperboloid():
    signs = jnp.array([-1.0, 1.0, 1.0])
    system = fl.Constrained(lambda t, q, v: v @ (signs * v) / 2, lambda q: q @ (signs * q) - 1)
    q = jnp.array([0.6, 0.8, 1.1])
    state = jax.jit(lambda q: fl.project_onto_constraints(system, 0.0, q, jnp.ones(3), throw=False))(q)
    # Along the normal, which is the point itself: a rescaling.
    np.testing.assert_allclose(state.q, q / np.sqrt(-0.36 + 0.64 + 1.21), rtol=1e-13)


def test_what_cannot_be_reached_raises_with_its_cause():
    never = fl.Constrained(lambda t, q, v: v @ v / 2, lambda q: q @ q + 1)
    project = jax.jit(lambda q: fl.project_onto_constraints(never, 0.0, q, q))
    with pytest.raises(RuntimeError, match="iteration limit"):
        jax.block_until_ready(project(jnp.array([0.6, 0.8])).q)
