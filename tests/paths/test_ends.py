"""Ends that are free, on surfaces or periodic, free durations, and way-points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

ORIGIN = jnp.zeros(2)


def free(t, q, v):
    return jnp.sum(v**2) / 2


def test_momentum_vanishes_at_a_free_end():
    """x'' = -1 with x(0) = 0, x'(1) = 0 is x = t - t^2 / 2, whose action is -1/6."""
    solution = fl.least_action_path(lambda t, q, v: free(t, q, v) - q[0], ORIGIN, None)
    assert float(solution.action) == pytest.approx(-1 / 6, rel=1e-13)
    assert jnp.allclose(solution.path(1.0), jnp.array([0.5, 0.0]), atol=1e-13)
    assert int(solution.morse_index) == int(solution.coarse_index) == 0


def test_momentum_is_normal_to_the_surface_of_an_end():
    """From the origin to the unit circle round (3, 4): straight to its nearest point, of length 4."""
    circle = fl.OnSurface(lambda q: (q[0] - 3.0) ** 2 + (q[1] - 4.0) ** 2 - 1.0)
    solution = fl.least_action_path(free, ORIGIN, circle, guess=jnp.array([[0.0, 0.0], [2.0, 4.0]]))
    assert float(solution.action) == pytest.approx(8.0, rel=1e-13)
    assert jnp.allclose(solution.path(1.0), jnp.array([2.4, 3.2]), atol=1e-12)
    assert float(solution.constraint_residual) < 1e-13


def test_both_ends_on_surfaces_meet_both_at_right_angles():
    """The common perpendicular of the line y = 0 and the circle round (0, 3) of radius 1 has length 2."""
    line, circle = fl.OnSurface(lambda q: q[1]), fl.OnSurface(lambda q: q[0] ** 2 + (q[1] - 3.0) ** 2 - 1.0)
    solution = fl.least_action_path(free, line, circle, guess=lambda t: jnp.array([0.3, 2.0 * t]))
    assert float(solution.action) == pytest.approx(2.0, rel=1e-13)
    assert jnp.allclose(solution.path(0.0), ORIGIN, atol=1e-11)


def test_farthest_point_of_a_circle_is_a_saddle():
    """Stationary, but turning the end along the circle shortens the path: index 1."""
    circle = fl.OnSurface(lambda q: (q[0] - 3.0) ** 2 + q[1] ** 2 - 1.0)
    guess = jnp.array([[0.0, 0.0], [3.9, 0.1]])
    solution = fl.least_action_path(free, ORIGIN, circle, guess=guess, stationary=True)
    assert float(solution.action) == pytest.approx(8.0, rel=1e-12)
    assert int(solution.morse_index) == 1


def test_energy_vanishes_at_the_end_of_a_free_duration():
    """L = (v^2 - q^2) / 2 + E from 0 takes the motion of energy E: q = sqrt(2 E) sin t, S = E (T + sin 2T / 2)."""
    energy, q1 = 1.3, jnp.array([1.1])
    solution = fl.least_action_path(
        lambda t, q, v: (v[0] ** 2 - q[0] ** 2) / 2 + energy, jnp.zeros(1), q1, 0.0, None, elements=4
    )
    duration = np.arcsin(1.1 / np.sqrt(2 * energy))
    assert float(solution.path.t1) == pytest.approx(duration, rel=1e-11)
    assert float(solution.action) == pytest.approx(energy * (duration + np.sin(2 * duration) / 2), rel=1e-12)


def test_free_duration_of_a_free_particle_and_its_derivative():
    """min over T of d^2 / 2T + c T is d sqrt(2 c), at T = d / sqrt(2 c)."""

    def action(distance, cost):
        return fl.least_action_path(
            lambda t, q, v: v**2 / 2 + cost, 0.0, distance, 0.0, None, throw=False, elements=2, degree=4
        ).action

    value, slopes = jax.value_and_grad(action, (0, 1))(jnp.asarray(3.0), jnp.asarray(2.0))
    assert float(value) == pytest.approx(6.0, rel=1e-13)
    assert slopes[0] == pytest.approx(2.0, rel=1e-12)
    assert slopes[1] == pytest.approx(1.5, rel=1e-12)


def test_way_point_at_a_time_makes_a_corner():
    solution = fl.least_action_path(free, ORIGIN, jnp.array([1.0, 0.0]), waypoints=[(0.25, jnp.array([0.5, 1.0]))])
    assert float(solution.action) == pytest.approx(1.25 / 0.5 + 1.25 / 1.5, rel=1e-13)
    assert jnp.allclose(solution.path(0.25), jnp.array([0.5, 1.0]), atol=1e-14)
    assert solution.path.elements == 16


def test_mirror_reflects_at_equal_angles():
    """From (0, 1) over the mirror y = 0 to (2, 2): as long as the straight line from (0, -1)."""
    mirror = fl.OnSurface(lambda q: q[1])
    solution = fl.least_action_path(free, jnp.array([0.0, 1.0]), jnp.array([2.0, 2.0]), waypoints=[(None, mirror)])
    assert float(solution.action) == pytest.approx(13 / 2, rel=1e-13)
    touched = solution.path.knots[8]
    assert float(touched) == pytest.approx(1 / 3, rel=1e-11)
    assert jnp.allclose(solution.path(touched), jnp.array([2 / 3, 0.0]), atol=1e-11)


def test_light_refracts_by_snells_law():
    """Fermat's principle across y = 0 with indices 1 and 1.5, as the energy of the optical metric."""
    slow = 1.5

    def lagrangian(t, q, v):
        return jnp.where(q[1] > 0, 1.0, slow**2) * jnp.sum(v**2) / 2

    face = fl.OnSurface(lambda q: q[1])
    ends = jnp.array([0.0, 1.0]), jnp.array([2.0, -1.0])
    solution = fl.least_action_path(lagrangian, *ends, waypoints=[(None, face)])
    x = solution.path(solution.path.knots[8])[0]
    sines = x / jnp.hypot(x, 1.0), (2 - x) / jnp.hypot(2 - x, 1.0)
    assert float(sines[0]) == pytest.approx(slow * float(sines[1]), rel=1e-11)
    length = jnp.hypot(x, 1.0) + slow * jnp.hypot(2 - x, 1.0)
    assert float(solution.action) == pytest.approx(float(length**2 / 2), rel=1e-12)


def test_periodic_path_is_the_forced_oscillation():
    """q'' = q + F cos(2 pi t) has the periodic solution -F cos(2 pi t) / (1 + 4 pi^2)."""
    drive = 3.0

    def lagrangian(t, q, v):
        return (v**2 + q**2) / 2 + drive * jnp.cos(2 * jnp.pi * t) * q

    solution = fl.least_action_path(lagrangian, None, fl.Periodic(), guess=lambda t: jnp.asarray(0.3))
    amplitude = -drive / (1 + 4 * np.pi**2)
    assert float(solution.path(0.0)) == pytest.approx(amplitude, rel=1e-9)
    assert float(solution.action) == pytest.approx(drive * amplitude / 4, rel=1e-12)


def test_periodic_orbit_of_an_autonomous_system_may_begin_anywhere():
    """A rotor's turn: shifting the time changes nothing, and the solver finds one member of the family."""
    rotor = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: 0.1 * jnp.cos(q))
    solution = fl.least_action_path(rotor, None, fl.Periodic(2 * jnp.pi), guess=lambda t: 0.3 + 2 * jnp.pi * t)
    first, last = solution.path.velocity(0.0), solution.path.velocity(1.0)
    assert float(first) == pytest.approx(float(last), abs=1e-9)
    assert float(solution.residual) < 1e-9


def test_ends_batch_and_a_bad_member_fails_alone():
    def end(radius):
        circle = fl.OnSurface(lambda q: q[0] ** 2 + q[1] ** 2 - radius**2)
        guess = jnp.array([[5.0, 1.0], [1.0, 1.0]])
        solution = fl.least_action_path(free, jnp.array([5.0, 0.0]), circle, guess=guess, throw=False, elements=2)
        return solution.action, solution.succeeded

    radii = jnp.linspace(1.0, 4.0, 40).at[7].set(jnp.nan)
    actions, succeeded = jax.vmap(end)(radii)
    good = jnp.arange(40) != 7
    assert jnp.array_equal(succeeded, good)
    assert jnp.allclose(actions[good], (5 - radii[good]) ** 2 / 2, rtol=1e-12)


@pytest.mark.slow
def test_derivative_in_a_surface_is_that_of_the_nearest_point():
    """The distance from (5, 0) to a circle of radius r is 5 - r."""

    def action(radius):
        circle = fl.OnSurface(lambda q: q[0] ** 2 + q[1] ** 2 - radius**2)
        guess = jnp.array([[5.0, 1.0], [1.0, 1.0]])
        return fl.least_action_path(free, jnp.array([5.0, 0.0]), circle, guess=guess, elements=2, throw=False).action

    assert float(jax.grad(action)(jnp.asarray(2.0))) == pytest.approx(-3.0, rel=1e-11)
    assert float(jax.grad(jax.grad(action))(jnp.asarray(2.0))) == pytest.approx(1.0, rel=1e-10)


def test_wrong_ends_are_refused():
    with pytest.raises(TypeError, match="Periodic"):
        fl.least_action_path(free, fl.Periodic(), ORIGIN)
    with pytest.raises(ValueError, match="guess"):
        fl.least_action_path(free, None, fl.Periodic())
    in_chart = fl.NaturalLagrangian(
        fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2, fl.CoordinatewiseChart((-jnp.inf, 0.0)))
    )
    with pytest.raises(ValueError, match="chart"):
        fl.least_action_path(in_chart, jnp.ones(2), fl.Periodic(jnp.ones(2)))
    with pytest.raises(Exception, match="interval"):
        fl.least_action_path(free, ORIGIN, jnp.ones(2), waypoints=[(1.5, None)])
