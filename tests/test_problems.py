"""The closed forms of the textbook cases agree with each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems


def test_the_oscillators_action_is_the_integral_of_its_lagrangian():
    case = problems.HarmonicOscillator(1.3, 0.7)
    q0, v0, duration = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0]), 2.0

    def integrand(t):
        q, v = jax.jvp(lambda s: case.solution(s, q0, v0), (t,), (1.0,))
        return case.lagrangian(t, q, v)

    nodes, weights = np.polynomial.legendre.leggauss(20)
    integral = duration / 2 * weights @ jax.vmap(integrand)(duration * (1 + nodes) / 2)
    end = case.solution(duration, q0, v0)
    np.testing.assert_allclose(case.action(q0, end, duration), integral, rtol=1e-13)


@pytest.mark.parametrize(("duration", "index"), [(1.0, 0), (3.0, 0), (4.0, 1), (7.0, 2), (10.0, 3), (20.0, 6)])
def test_the_oscillators_morse_index_counts_half_periods(duration, index):
    assert problems.HarmonicOscillator().morse_index(duration) == index


@pytest.mark.parametrize("eccentricity", [0.0, 0.6, 0.99])
def test_keplers_solution_starts_at_the_perihelion_and_closes(eccentricity):
    case = problems.Kepler(2.0)
    q0, v0 = case.start(eccentricity)
    found, velocity = jax.jvp(lambda t: case.solution(t, eccentricity), (0.0,), (1.0,))
    np.testing.assert_allclose(found, q0, atol=1e-15)
    np.testing.assert_allclose(velocity, v0, rtol=1e-13, atol=1e-13)
    period = 2 * np.pi / np.sqrt(2.0)
    # round-off of the time, times the speed at the perihelion
    np.testing.assert_allclose(case.solution(3 * period, eccentricity), q0, atol=1e-13)
    np.testing.assert_allclose(case.solution(0.3, eccentricity)[1], -case.solution(-0.3, eccentricity)[1])


def test_henon_heiles_has_its_triangle_of_saddles():
    system = problems.henon_heiles()
    for saddle in ([0.0, 1.0], [np.sqrt(3) / 2, -0.5], [-np.sqrt(3) / 2, -0.5]):
        q = jnp.array(saddle)
        np.testing.assert_allclose(fl.acceleration(system, 0.0, q, jnp.zeros(2)), 0, atol=1e-15)
        np.testing.assert_allclose(fl.energy(system, 0.0, q, jnp.zeros(2)), 1 / 6, rtol=1e-14)


def test_normal_geodesics_have_constant_speed_and_arrive_at_raos_distance():
    case = problems.NormalFisher()
    q0, v0 = jnp.array([0.3, 1.2]), jnp.array([0.7, -0.4])
    points, velocities = jax.vmap(lambda t: jax.jvp(lambda s: case.geodesic(s, q0, v0), (t,), (1.0,)))(
        jnp.linspace(0.0, 3.0, 7)
    )
    speeds = jax.vmap(case.quadratic)(points, velocities)
    np.testing.assert_allclose(speeds, case.quadratic(q0, v0), rtol=1e-12)
    near, far = ((points[-1, 0] - q0[0]) ** 2 + 2 * (points[-1, 1] + sign * q0[1]) ** 2 for sign in (-1, 1))
    distance = 2 * np.sqrt(2) * np.arcsinh(np.sqrt(near / (far - near)))  # Atkinson & Mitchell (1981)
    np.testing.assert_allclose(distance, 3 * np.sqrt(speeds[0]), rtol=1e-12)
