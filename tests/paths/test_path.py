"""Piecewise-polynomial paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import fimlag as fl


def curve(t):
    return jnp.stack([jnp.sin(t), jnp.exp(0.5 * t)])


@pytest.fixture(scope="module")
def path():
    return fl.Path.from_function(curve, 0.5, 2.5, elements=6, degree=9)


def test_interpolation_reproduces_the_function_and_its_velocity(path):
    times = jnp.linspace(0.5, 2.5, 41)
    np.testing.assert_allclose(jax.vmap(path)(times), jax.vmap(curve)(times), rtol=1e-11)
    velocity = jax.vmap(jax.jacfwd(curve))(times)
    np.testing.assert_allclose(jax.vmap(path.velocity)(times), velocity, rtol=1e-8)


def test_polynomials_of_the_degree_are_exact():
    cubic = fl.Path.from_function(lambda t: jnp.array([1.0, -2.0, 0.5]) * t**3, elements=2, degree=3)
    np.testing.assert_allclose(cubic(0.77), np.array([1.0, -2.0, 0.5]) * 0.77**3, rtol=1e-13)


def test_interpolation_converges_at_degree_plus_one():
    times = jnp.linspace(0.0, 1.0, 97)
    errors = [
        float(
            jnp.max(
                jnp.abs(jax.vmap(fl.Path.from_function(curve, elements=e, degree=3))(times) - jax.vmap(curve)(times))
            )
        )
        for e in (4, 16)
    ]
    assert abs(np.log(errors[0] / errors[1]) / np.log(4) - 4) < 0.2


def test_outside_its_interval_a_path_is_nan(path):
    outside, inside = (jax.vmap(path)(jnp.array(times)) for times in ([0.4, 2.6], [0.5, 2.5]))
    assert bool(jnp.all(jnp.isnan(outside)))
    assert bool(jnp.all(jnp.isfinite(inside)))


def test_nodes_are_joined_by_straight_lines():
    path = fl.Path.from_nodes(jnp.array([[0.0, 0.0], [1.0, 2.0], [1.0, 4.0]]))
    np.testing.assert_allclose(path(0.25), [0.5, 1.0])
    np.testing.assert_allclose(path.velocity(0.75), [0.0, 4.0])
    with pytest.raises(ValueError, match="two points"):
        fl.Path.from_nodes(jnp.zeros((1, 2)))


@pytest.mark.parametrize("elements", [1, 7, 90])
@pytest.mark.parametrize("way", [1, -1])
def test_elements_of_unequal_length_hold_their_own_polynomials(elements, way):
    knots = (np.linspace(0.5, 1.0, elements + 1) ** 3)[::way]  # the last is up to four times as long as the first
    path = fl.Path.from_function(curve, degree=11, knots=jnp.asarray(knots))
    times = np.concatenate([np.linspace(path.t0, path.t1, 301), knots, path.times])
    values, rates = jax.jit(jax.vmap(lambda t: (path(t), path.velocity(t))))(times)
    # Interpolation errs by (h / 4)^12 / 12! < 1e-16; the derivative multiplies round-off by up to 2 degree^2 / h.
    shortest = np.min(np.abs(np.diff(knots)))
    np.testing.assert_allclose(values, jax.vmap(curve)(times), rtol=1e-14)
    np.testing.assert_allclose(
        rates, jax.vmap(jax.jacfwd(curve))(times), rtol=1e-14, atol=2 * np.finfo(float).eps * 11**2 / shortest
    )
    assert np.all(np.isnan(jax.vmap(path)(path.t0 + way * np.array([-1e-6, np.ptp(knots) + 1e-6]))))


def test_a_path_is_differentiable_in_time_knots_and_nodes():
    path = fl.Path.from_function(curve, degree=3, knots=jnp.linspace(0.3, 1.2, 41) ** 2)
    arguments = (jnp.array(0.8), path.knots, path.offsets)

    def point(t, knots, offsets):
        return fl.Path(jnp.asarray(knots), path.start, jnp.asarray(offsets), path.degree, path.structure)(t)

    check_grads(point, arguments, order=2, eps=1e-6, atol=1e-6, rtol=1e-6)  # of differences: (eps / h)^2, 1e-16 / eps
    flat = fl.Path.from_nodes(jnp.array([0.0, 2.0, 0.0]), knots=jnp.array([0.0, 1.0, 4.0]))
    by_knots = jax.grad(lambda knots: fl.Path(knots, flat.start, flat.offsets, 1, flat.structure)(2.0)[()])(flat.knots)
    np.testing.assert_allclose(by_knots, [0.0, 4 / 9, 2 / 9], rtol=1e-14)  # q = 2 (k_2 - t) / (k_2 - k_1)


def test_knots_that_do_not_fit_the_nodes_are_refused():
    with pytest.raises(ValueError, match="3 nodes"):
        fl.Path.from_nodes(jnp.eye(2), knots=jnp.array([0.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="must rise, or fall"):
        fl.Path.from_function(curve, knots=jnp.array([0.0, 2.0, 1.0]))
    with pytest.raises(ValueError, match="at least 1"):
        fl.Path.from_function(curve, elements=0)


def test_short_path_keeps_its_velocity():
    start = jnp.array([1e6, 1.0])
    path = fl.Path(jnp.array([0.0, 1.0]), start, jnp.array([[0.0, 0.0], [1e-9, 0.0]]), 1, _structure(start))
    np.testing.assert_allclose(path.velocity(0.3), [1e-9, 0.0], rtol=1e-14)


def _structure(point):
    return fl.Path.from_nodes(jnp.stack([point, point])).structure
