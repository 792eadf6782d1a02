"""Geodesic spheres lie at their distance, and balls are made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

NORMAL = fl.problems.NormalFisher()


def test_geodesic_sphere_of_normals_lies_at_its_distance():
    centre = jnp.array([0.3, 1.2])
    ball = jax.jit(lambda radius: fl.geodesic_ball(NORMAL, centre, radius, 12, rings=3))(1.5)
    assert ball.shape == (3, 12, 2)
    near = (ball[..., 0] - centre[0]) ** 2 + 2 * (ball[..., 1] - centre[1]) ** 2
    distances = 2 * np.sqrt(2) * np.arcsinh(np.sqrt(near / (8 * centre[1] * ball[..., 1])))
    # the tolerance of exp_map's flow
    np.testing.assert_allclose(distances, np.broadcast_to([[0.5], [1.0], [1.5]], (3, 12)), rtol=1e-9)


def test_directions_may_have_any_length_but_zero():
    flat = fl.EuclideanMetric(jnp.array([1.0, 4.0, 9.0]))
    directions = jnp.array([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    points = fl.geodesic_sphere(flat, jnp.zeros(3), 2.0, directions, steps=4)
    np.testing.assert_allclose(points[:3], np.diag([2.0, 1.0, 2 / 3]), atol=1e-14)
    assert bool(jnp.all(jnp.isnan(points[3])))


def test_wrong_directions_and_rings_are_refused():
    with pytest.raises(ValueError, match="directions"):
        fl.geodesic_sphere(fl.EuclideanMetric(1.0), jnp.zeros(3), 1.0, 12)
    with pytest.raises(ValueError, match="shape"):
        fl.geodesic_sphere(fl.EuclideanMetric(1.0), jnp.zeros(3), 1.0, jnp.eye(2))
    with pytest.raises(ValueError, match="ring"):
        fl.geodesic_ball(fl.EuclideanMetric(1.0), jnp.zeros(2), 1.0, rings=0)
