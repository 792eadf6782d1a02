"""Jacobi fields are derivatives of the exponential map, and vanish at conjugate points as often as they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

SPHERE = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
NORMAL = fl.FisherMetric(fl.families.Normal())
POINT, VELOCITY = jnp.array([1.2, 0.0]), jnp.array([0.3, 1.0])
EQUATOR, EAST = jnp.array([np.pi / 2, 0.0]), jnp.array([0.0, 1.0])


def stereographic(q):
    """The unit sphere in three dimensions."""
    return 4 * jnp.eye(3, dtype=q.dtype) / (1 + q @ q) ** 2


def speed(q, v):
    return jnp.sqrt(SPHERE.quadratic(q, v))


@pytest.fixture(scope="module")
def fields():
    """Fields along a geodesic of normals, of curvature -1/2, from several starts; the last along one too fast."""

    @jax.jit
    @jax.vmap
    def field(j0, dj0, pace):
        velocity = pace * jnp.array([1.0, -0.7])
        return fl.jacobi_field(NORMAL, jnp.array([0.3, 1.2]), velocity, j0, dj0, throw=False)

    starts = np.random.default_rng(0).normal(size=(2, 5, 2))
    starts[0, 0], starts[1, 1] = 0.0, 0.0
    return starts, field(*starts, np.array([1.0, 1.0, 1.0, 1.0, 60.0]))


def test_field_solves_the_equation_of_constant_curvature(fields):
    (j0, dj0), found = fields
    q, v = np.asarray(found.q)[0], np.asarray(found.v)[0]
    g = [np.diag([1.0, 2.0]) / s**2 for s in q[:, 1]]
    normal = [np.array([-2 * b, a]) for a, b in v]  # orthogonal to v in g
    normal = [n / np.sqrt(n @ m @ n) for n, m in zip(normal, g, strict=True)]
    length, rate = np.sqrt(v[0] @ g[0] @ v[0]), np.sqrt(v[0] @ g[0] @ v[0] / 2)
    t = np.asarray(found.t[0])
    for k in range(4):
        across = [n @ m @ j for n, m, j in zip(normal, g, np.asarray(found.j)[k], strict=True)]
        along = [w @ m @ j / length for w, m, j in zip(v, g, np.asarray(found.j)[k], strict=True)]
        start, slope = (n0 @ normal[0] for n0 in (g[0] @ j0[k], g[0] @ dj0[k]))
        # round-off of the flow and its derivative
        np.testing.assert_allclose(across, start * np.cosh(rate * t) + slope * np.sinh(rate * t) / rate, rtol=1e-11)
        start, slope = (n0 @ v[0] / length for n0 in (g[0] @ j0[k], g[0] @ dj0[k]))
        np.testing.assert_allclose(along, start + slope * t, rtol=1e-11, atol=1e-13)
        derivative = [n @ m @ dj for n, m, dj in zip(normal, g, np.asarray(found.dj)[k], strict=True)]
        start, slope = (n0 @ normal[0] for n0 in (g[0] @ j0[k], g[0] @ dj0[k]))
        expected = start * rate * np.sinh(rate * t) + slope * np.cosh(rate * t)
        np.testing.assert_allclose(derivative, expected, rtol=1e-11, atol=1e-13)


def test_error_estimate_of_a_resolved_field_is_small(fields):
    assert bool(jnp.all(fields[1].succeeded[:4]))
    assert float(jnp.max(fields[1].error_estimate[:4])) < 1e-12


def test_steps_too_long_are_reported(fields):
    assert jax.tree.map(lambda leaf: leaf[4], fields[1]).result == fl.RESULTS.unresolved_flow


def polar(curvature):
    """A surface of curvature 1 or -1, by the distance from a point and an angle."""

    def matrix(q):
        across = jnp.where(curvature > 0, jnp.sin(q[0]), jnp.sinh(q[0]))
        return jnp.diag(jnp.stack([jnp.ones_like(across), across**2]))

    return fl.Metric(matrix)


@pytest.fixture(scope="module")
def conjugate():
    """Conjugate points within three and a half half-circles, on a sphere and a hyperbolic plane, and of an equator."""

    def points(curvature, start, velocity, length):
        return fl.conjugate_points(polar(curvature), start, velocity, length, throw=False, max_points=5)

    length = 3.5 * jnp.pi / speed(POINT, VELOCITY)
    starts, velocities = (jnp.stack(rows) for rows in ((POINT, POINT, EQUATOR), (VELOCITY, VELOCITY, EAST)))
    lengths = jnp.stack([length, length, jnp.asarray(100.0)])
    return jax.jit(jax.vmap(points))(jnp.array([1.0, -1.0, 1.0]), starts, velocities, lengths)


@pytest.mark.slow
def test_conjugate_points_of_the_sphere_lie_half_circles_apart(conjugate):
    assert int(conjugate.count[0]) == 3
    expected = np.arange(1, 4) * np.pi / speed(POINT, VELOCITY)
    np.testing.assert_allclose(conjugate.times[0, :3], expected, rtol=1e-10)  # truncation, h^8
    assert np.all(np.isnan(conjugate.times[0, 3:]))


@pytest.mark.slow
def test_negative_curvature_has_no_conjugate_points(conjugate):
    assert bool(jnp.all(conjugate.succeeded[:2]))
    assert int(conjugate.count[1]) == 0
    assert np.all(np.isnan(conjugate.times[1]))


@pytest.mark.slow
def test_steps_too_long_for_the_fields_are_reported_though_the_geodesic_is_exact(conjugate):
    assert jax.tree.map(lambda leaf: leaf[2], conjugate).result == fl.RESULTS.unresolved_flow


@pytest.mark.slow
def test_conjugate_times_are_differentiable():
    def first(v):
        return fl.conjugate_points(SPHERE, POINT, v, 6.5 / speed(POINT, VELOCITY), throw=False, max_points=2).times

    expected = jax.jacfwd(lambda v: jnp.pi / speed(POINT, v))(VELOCITY)
    for derivative in (jax.jacfwd, jax.jacrev):
        slope = jax.jit(derivative(first))(VELOCITY)
        np.testing.assert_allclose(slope, [expected, 2 * expected], rtol=1e-8)  # truncation, h^7


@pytest.mark.slow
def test_points_of_even_multiplicity_are_found_twice():
    start, velocity = jnp.array([0.5, 0.1, 0.0]), jnp.array([0.1, 0.5, 0.3])
    length = float(jnp.sqrt(velocity @ stereographic(start) @ velocity))
    found = fl.conjugate_points(fl.Metric(stereographic), start, velocity, 2 * np.pi / length - 0.1, max_points=3)
    assert int(found.count) == 2
    np.testing.assert_allclose(found.times[:2] * length, np.pi, rtol=1e-8)  # truncation, h^8


def ellipsoid(q):
    across = jnp.sin(q[0])
    return jnp.stack([across * jnp.cos(q[1]), 1.2 * across * jnp.sin(q[1]), 0.8 * jnp.cos(q[0])])


@pytest.mark.slow
def test_morse_index_of_geodesics_of_an_ellipsoid_counts_the_conjugate_points_before_their_ends():
    metric = fl.PullbackMetric(fl.EuclideanMetric(1.0), ellipsoid)
    found = fl.conjugate_points(metric, POINT, VELOCITY, 5.0, max_points=3)
    assert int(found.count) == 2
    times = np.asarray(found.times[:2])

    @jax.jit
    @jax.vmap
    def index(t):
        way = fl.jacobi_field(metric, POINT, VELOCITY, jnp.zeros(2), VELOCITY, t1=t, throw=False).q
        return fl.geodesic(metric, POINT, way[-1], guess=way, elements=8, stationary=True, throw=False)

    # paths that end a hundredth before and after each: far beyond truncation, h^8
    solution = index(np.append(0.99 * times, 1.01 * times))
    assert bool(jnp.all(solution.succeeded))
    assert solution.morse_index.tolist() == [0, 1, 1, 2]


def test_vectors_of_another_structure_and_odd_steps_are_refused():
    with pytest.raises(ValueError, match="j0"):
        fl.jacobi_field(SPHERE, POINT, VELOCITY, jnp.ones(3), VELOCITY)
    with pytest.raises(ValueError, match="steps"):
        fl.conjugate_points(SPHERE, POINT, VELOCITY, 1.0, steps=7)
