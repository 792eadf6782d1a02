"""Integral constraints, inequalities and obstacles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import fimlag as fl


def string(target=1.0, **options):
    """min of the integral of v^2 where that of q^2 is given: the modes of a string."""
    constraint = [(lambda t, q, v: q**2, target)]
    return fl.least_action_path(lambda t, q, v: v**2, 0.0, 0.0, integral_constraints=constraint, throw=False, **options)


def test_first_mode_of_a_string_is_a_minimum():
    solution = string(guess=lambda t: 6 * t * (1 - t))
    assert float(solution.action) == pytest.approx(np.pi**2, rel=1e-13)
    assert float(solution.multipliers[0]) == pytest.approx(-(np.pi**2), rel=1e-11)
    assert int(solution.morse_index) == 0
    assert bool(solution.succeeded)


@pytest.mark.parametrize("mode", [2, 3])
def test_higher_modes_have_the_index_of_the_modes_below_them(mode):
    solution = string(guess=lambda t: 1.3 * jnp.sin((mode + 0.02) * jnp.pi * t), stationary=True)
    assert float(solution.action) == pytest.approx((mode * np.pi) ** 2, rel=1e-11)
    assert int(solution.morse_index) == int(solution.coarse_index) == mode - 1


def test_multiplier_is_minus_the_derivative_in_the_constraint():
    def action(target):
        return string(target, guess=lambda t: 6 * t * (1 - t)).action

    assert float(jax.grad(action)(jnp.asarray(1.7))) == pytest.approx(np.pi**2, rel=1e-11)


def test_dido_encloses_most_by_an_arc_of_a_circle():
    """A rope of length l over a unit of shore: the segment of the circle with r = l / 2 arcsin(1 / 2r)."""
    length = 1.3
    radius = brentq(lambda r: 2 * r * np.arcsin(0.5 / r) - length, 0.5001, 5.0, xtol=1e-15)
    area = radius**2 * np.arcsin(0.5 / radius) - 0.5 * np.sqrt(radius**2 - 0.25)
    solution = fl.least_action_path(
        lambda t, q, v: -q,
        0.0,
        0.0,
        integral_constraints=[(lambda t, q, v: jnp.sqrt(1 + v**2), length)],
        guess=lambda t: 2 * t * (1 - t),
        elements=16,
    )
    assert float(solution.action) == pytest.approx(-area, rel=1e-9)
    assert abs(float(solution.action) + area) < 2 * float(solution.error_estimate) + 1e-13
    assert float(solution.multipliers[0]) == pytest.approx(radius, rel=1e-9)
    assert float(solution.constraint_residual) < 1e-12


def test_closed_curve_of_a_length_that_encloses_most_is_a_circle():
    """The isoperimetric problem by energy: among loops of constant speed and length 2 pi, the area is at most pi."""

    def minus_area(t, q, v):
        return (q[1] * v[0] - q[0] * v[1]) / 2

    def energy(t, q, v):
        return jnp.sum(v**2) / 2

    def ellipse(t):
        return jnp.array([1.3 * jnp.cos(2 * jnp.pi * t), 0.7 * jnp.sin(2 * jnp.pi * t)])

    solution = fl.least_action_path(
        minus_area,
        jnp.array([1.0, 0.0]),
        jnp.array([1.0, 0.0]),
        integral_constraints=[(energy, 2 * np.pi**2)],
        guess=ellipse,
        throw=False,
    )
    assert float(solution.action) == pytest.approx(-np.pi, rel=1e-9)
    assert float(solution.multipliers[0]) == pytest.approx(1 / (2 * np.pi), rel=1e-8)


ACROSS = jnp.array([-2.0, 0.0]), jnp.array([2.0, 0.0])
ROUND = 2 * np.sqrt(3) + np.pi / 3
"""The length of the shortest way from (-2, 0) to (2, 0) round the unit disc."""


def kinetic(t, q, v):
    return jnp.sum(v**2) / 2


def outside_disc(t, q, v):
    return jnp.sum(q**2) - 1.0


def over(t):
    return jnp.array([-2 + 4 * t, 1.5 * jnp.sin(jnp.pi * t)])


def test_geodesic_round_an_obstacle_with_nodes_where_it_touches():
    """Where the path touches the disc its acceleration jumps: way-points there, free in place, keep the order."""
    touch = np.sqrt(3) / ROUND
    solution = fl.least_action_path(
        kinetic,
        *ACROSS,
        inequality_constraints=[outside_disc],
        guess=over,
        waypoints=[(touch, None), (1 - touch, None)],
        elements=4,
    )
    error = abs(float(solution.action) - ROUND**2 / 2)
    assert error < 1e-9
    assert error < 2 * float(solution.error_estimate)
    assert jnp.allclose(solution.path(touch), jnp.array([-0.5, np.sqrt(0.75)]), atol=1e-5)


@pytest.mark.slow
def test_obstacle_without_such_nodes_is_approached_and_the_error_is_estimated():
    """The second derivative jumps inside an element: the error falls as h^3, and is said to be there."""
    solution = fl.least_action_path(
        kinetic, *ACROSS, inequality_constraints=[outside_disc], guess=over, elements=16, throw=False
    )
    error = abs(float(solution.action) - ROUND**2 / 2)
    assert error < 1e-4
    assert error < 2 * float(solution.error_estimate)


def test_inequality_that_does_not_bind_changes_nothing():
    ends = jnp.array([-2.0, 1.5]), jnp.array([2.0, 1.5])
    solution = fl.least_action_path(kinetic, *ends, inequality_constraints=[outside_disc], elements=2)
    assert float(solution.action) == pytest.approx(8.0, rel=1e-9)
    assert abs(float(solution.action) - 8.0) <= float(solution.error_estimate)


def test_speed_limit_binds():
    """Least integral of (q - 1)^2 / 2 from 0 to 1 under v <= 2: at full speed to 1, then at rest: 1/12."""
    solution = fl.least_action_path(
        lambda t, q, v: (q - 1) ** 2 / 2 + 1e-9 * v**2,
        0.0,
        1.0,
        inequality_constraints=[lambda t, q, v: 2.0 - v],
        waypoints=[(0.5, None)],
        elements=4,
        degree=4,
        throw=False,
    )
    assert float(solution.action) == pytest.approx(1 / 12, abs=1e-6)


def test_inequalities_of_a_saddle_are_refused():
    with pytest.raises(ValueError, match="barriers"):
        fl.least_action_path(kinetic, *ACROSS, inequality_constraints=[outside_disc], stationary=True)


def test_end_inside_an_obstacle_is_reported():
    ends = jnp.array([-2.0, 0.0]), jnp.array([0.5, 0.0])
    solution = fl.least_action_path(
        kinetic, *ends, inequality_constraints=[outside_disc], elements=2, degree=4, throw=False
    )
    assert solution.result == fl.RESULTS.infeasible
