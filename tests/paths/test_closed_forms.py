"""Least actions against the closed forms of the textbooks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import fimlag as fl


@pytest.mark.parametrize(("first", "last"), [(0.2, 2.2), (-2.0, 1.0)])
def test_kepler_arc(first, last):
    """In the eccentric anomaly u, of a unit mass and centre: S = sqrt(a) (3 u + e sin u) / 2 between two points."""
    a, e = 1.0, 0.3

    def point(u):
        return jnp.array([a * (np.cos(u) - e), a * np.sqrt(1 - e**2) * np.sin(u)])

    def time(u):
        return a**1.5 * (u - e * np.sin(u))

    def along(u):
        return np.sqrt(a) * (3 * u + e * np.sin(u)) / 2

    def guess(t):
        u = first + (last - first) * (t - time(first)) / (time(last) - time(first))
        return jnp.array([jnp.cos(u), jnp.sin(u)])

    solution = fl.least_action_path(
        lambda t, q, v: jnp.sum(v**2) / 2 + 1 / jnp.sqrt(jnp.sum(q**2)),
        point(first),
        point(last),
        time(first),
        time(last),
        guess=guess,
    )
    assert float(solution.action) == pytest.approx(along(last) - along(first), rel=1e-10)
    assert int(solution.morse_index) == 0


GRAVITY = 9.81


def slide(t, q, v):
    """The square of the time of descent, in coordinates (x, z) with depth z^2, in which the cycloid is smooth."""
    x_rate, z_rate = v
    return (x_rate**2 / q[1] ** 2 + 4 * z_rate**2) / (4 * GRAVITY)


def test_brachistochrone_to_a_point():
    angle, radius = 2.5, 0.8
    x, z = radius * (angle - np.sin(angle)), np.sqrt(radius * (1 - np.cos(angle)))
    solution = fl.least_action_path(
        slide, jnp.zeros(2), jnp.array([x, z]), guess=lambda t: jnp.array([x * t**3, z * t])
    )
    assert float(jnp.sqrt(2 * solution.action)) == pytest.approx(angle * np.sqrt(radius / GRAVITY), rel=1e-10)


def test_brachistochrone_to_a_vertical_line_arrives_level():
    x = 2.0
    solution = fl.least_action_path(
        slide,
        jnp.zeros(2),
        fl.OnSurface(lambda q: q[0] - x),
        guess=lambda t: jnp.array([x * t**3, 0.9 * t]),
    )
    assert float(jnp.sqrt(2 * solution.action)) == pytest.approx(np.pi * np.sqrt(x / np.pi / GRAVITY), rel=1e-10)
    assert float(solution.path(1.0)[1]) == pytest.approx(np.sqrt(2 * x / np.pi), rel=1e-8)


def soap_film(t, q, v):
    """The area over 2 pi of a surface of revolution."""
    return q * jnp.sqrt(1 + v**2)


def catenoid(c):
    return c * (1 + c / 2 * np.sinh(2 / c))


NECK = brentq(lambda c: 1 / c - 1 / np.tanh(1 / c), 0.5, 1.5, xtol=1e-15)
"""The parameter c of the catenoid between rings of the least radius that one spans, at x = -1 and 1."""


def film(radius, c, stationary):
    """The film from a guess near the catenoid of a parameter."""
    return fl.least_action_path(
        soap_film,
        radius,
        radius,
        -1.0,
        1.0,
        guess=lambda t: c * jnp.cosh(t / c) + 0.02 * (1 - t**2),
        stationary=stationary,
        elements=16,
        throw=False,
    )


def test_both_catenoids_between_two_rings():
    """The wide one is a minimum, the narrow one has index 1."""
    radius = 2.0
    wide, narrow = (brentq(lambda c: c * np.cosh(1 / c) - radius, *sides) for sides in ((NECK, 3.0), (0.3, NECK)))
    stable, unstable = film(radius, wide, False), film(radius, narrow, True)
    assert float(stable.action) == pytest.approx(catenoid(wide), rel=1e-11)
    assert float(unstable.action) == pytest.approx(catenoid(narrow), rel=1e-9)
    assert (int(stable.morse_index), int(unstable.morse_index)) == (0, 1)


def test_no_catenoid_beyond_the_last_separation():
    """Rings narrower than 1.5089 of half their distance span none: the failure is reported, and just above is not."""
    least = NECK * np.cosh(1 / NECK)
    assert least == pytest.approx(1.50888, abs=1e-5)
    wide = brentq(lambda c: c * np.cosh(1 / c) - 1.002 * least, NECK, 3.0)
    above, below = film(1.002 * least, wide, False), film(0.99 * least, NECK, False)
    assert bool(above.succeeded)
    assert float(above.action) == pytest.approx(catenoid(wide), rel=1e-9)
    assert not bool(below.succeeded)


def test_rao_distance_of_normals():
    family = fl.families.Normal()
    ends = jnp.array([0.0, 1.0]), jnp.array([3.0, 0.5])
    solution = fl.least_action_path(fl.FisherLagrangian(family.model), *ends)
    assert float(jnp.sqrt(2 * solution.action)) == pytest.approx(float(family.distance(*ends)), rel=1e-10)


def half_plane(t, q, v):
    return (v[0] ** 2 + 2 * v[1] ** 2) / q[1] ** 2 / 2


PLANE_ENDS = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5])


def test_newton_steps_do_not_grow_with_the_number_of_elements():
    counts = [
        int(
            fl.least_action_path(
                half_plane, *PLANE_ENDS, elements=elements, degree=1, rtol=None, throw=False
            ).iterations
        )
        for elements in (8, 64, 4096)
    ]
    assert max(counts) <= counts[0] + 1


@pytest.mark.parametrize(("degree", "several"), [(2, (4, 32)), (4, (4, 8))])
def test_error_lies_within_a_factor_two_of_its_estimate(degree, several):
    """Wherever the estimate is above the round-off of the action."""
    truth = float(fl.families.Normal().distance(*PLANE_ENDS)) ** 2 / 2
    for elements in several:
        solution = fl.least_action_path(half_plane, *PLANE_ENDS, elements=elements, degree=degree, throw=False)
        estimate = float(solution.error_estimate)
        assert estimate > 100 * np.finfo(float).eps * truth
        assert 0.5 < abs(float(solution.action) - truth) / estimate < 2


def test_elements_are_doubled_to_meet_a_tolerance():
    solution = fl.least_action_path(half_plane, *PLANE_ENDS, elements=2, degree=3, rtol=1e-7)
    assert bool(solution.succeeded)
    assert float(solution.error_estimate) < 1e-7 * float(solution.action)
    rough = fl.least_action_path(half_plane, *PLANE_ENDS, elements=2, degree=3, throw=False)
    assert float(rough.error_estimate) > 1e-7 * float(rough.action)


def test_quadrature_that_a_path_exploits_is_exposed():
    """A naive brachistochrone y(x), whose integrand is singular at the start: the gap between rules says so."""
    solution = fl.least_action_path(
        lambda t, q, v: jnp.sqrt((1 + v**2) / (2 * GRAVITY * q)),
        0.0,
        1.0,
        guess=lambda t: jnp.sqrt(jnp.maximum(t, 1e-12)),
        degree=2,
        throw=False,
    )
    assert float(solution.quadrature_gap) > 1e-3 * float(solution.action)
    assert not bool(solution.succeeded)


def test_path_that_the_chord_does_not_lead_to_is_reached_by_continuation():
    """A strong well in between: the chord's Newton steps fail, and letting the end go step by step does not."""

    def lagrangian(t, q, v):
        return jnp.sum(v**2) / 2 + 400.0 * jnp.sum((q[1] - jnp.sin(3 * q[0])) ** 2)

    ends = jnp.zeros(2), jnp.array([3.0, jnp.sin(9.0)])
    solution = fl.least_action_path(lagrangian, *ends, elements=16, throw=False)
    assert bool(solution.succeeded)
    assert float(solution.residual) < 1e-6


def test_conditions_at_a_free_end_batch_over_lagrangians():
    """x'' = -g with x(0) = 0 and a free end has the action -g^2 / 6."""

    def action(g):
        return fl.least_action_path(
            lambda t, q, v: v**2 / 2 - g * q, 0.0, None, elements=2, degree=3, throw=False
        ).action

    values = jnp.linspace(0.5, 3.0, 5)
    assert jnp.allclose(jax.vmap(action)(values), -(values**2) / 6, rtol=1e-12)
