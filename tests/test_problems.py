"""The closed forms of the textbook cases agree with each other."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.integrate
import scipy.special

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


def residual(system, solution, t):
    """What a path leaves of the equations of motion, forces and constraints included."""
    q, v = jax.jvp(solution, (t,), (1.0,))
    _, a = jax.jvp(lambda t: jax.jvp(solution, (t,), (1.0,))[1], (t,), (1.0,))
    return a - fl.acceleration(system, t, q, v)


START, PUSH = jnp.array([0.3, -0.2]), jnp.array([0.5, 0.4])
KEPLER, SLEIGH = problems.Kepler(2.0), problems.ChaplyginSleigh(1.5, 0.7, 0.4)
DAMPED = problems.DampedOscillator(1.3, 2.0, 0.3)
PARTICLE = problems.RelativisticParticle(1.2, 1.5, 0.8)
MAGNET = problems.MagneticField(1.7, 0.6)
MOTIONS = {
    "polar": (KEPLER.in_polar, lambda t: KEPLER.polar_solution(t, 0.6)),
    "forced": (DAMPED.forced, lambda t: DAMPED.solution(t, START, PUSH)),
    "growing": (DAMPED.growing, lambda t: DAMPED.solution(t, START, PUSH)),
    "magnetic": (MAGNET, lambda t: MAGNET.solution(t, START, PUSH)),
    "relativistic": (PARTICLE, lambda t: PARTICLE.solution(t, START, PUSH)),
    "sleigh": (SLEIGH.lagrangian, lambda t: SLEIGH.solution(t, 0.4, -1.1)),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_a_closed_motion_solves_its_equations(name):
    system, solution = MOTIONS[name]
    left = jax.jit(jax.vmap(lambda t: residual(system, solution, t)))(jnp.array([0.2, 1.0, 2.5]))
    np.testing.assert_allclose(left, 0, atol=1e-12)  # round-off of second derivatives of order ten


def test_closed_motions_start_where_they_say():
    at_rest = [
        (KEPLER.polar_solution, (0.6,), KEPLER.polar_start(0.6)),
        (SLEIGH.solution, (0.4, -1.1), SLEIGH.start(0.4, -1.1)),
    ]
    at_rest += [(case.solution, (START, PUSH), (START, PUSH)) for case in (DAMPED, PARTICLE, MAGNET)]
    for solution, parameters, start in at_rest:
        found = jax.jvp(lambda t, f=solution, p=parameters: f(t, *p), (0.0,), (1.0,))
        np.testing.assert_allclose(found, start, rtol=1e-14, atol=1e-15)


def test_keplers_angle_counts_its_turns():
    period = 2 * np.pi / np.sqrt(2.0)
    there = jax.vmap(lambda t: KEPLER.polar_solution(t, 0.6))(period * jnp.array([0.25, 0.75, 2.25]))
    np.testing.assert_allclose(there[2] - there[0], [0, 4 * np.pi], atol=1e-13)
    np.testing.assert_allclose(there[0, 1] + there[1, 1], 2 * np.pi, rtol=1e-13)


def test_jacobis_functions_are_those_of_mpmath():
    from fimlag.problems._pendulum import jacobi_functions

    for u, m in ((0.7, 0.3), (-2.5, 0.9), (5.0, 1e-3)):
        exact = [float(mp.ellipfun(name, u, m=m)) for name in ("sn", "cn", "dn")]
        np.testing.assert_allclose(jacobi_functions(jnp.asarray(u), jnp.asarray(m)), exact, rtol=1e-13)


def test_the_spherical_pendulums_height_keeps_energy_and_momentum():
    case = problems.SphericalPendulum(1.4, 0.8, 2.0)
    (q0, v0), times = case.start(-0.7, 0.2), jnp.linspace(0.0, 5.0, 9)
    height, rate = jax.vmap(lambda t: case.height(t, -0.7, 0.2))(times)
    slope = jax.vmap(jax.grad(lambda t: case.height(t, -0.7, 0.2)[0]))(times)
    np.testing.assert_allclose(rate, slope, rtol=1e-12, atol=1e-13)
    energy, turning = v0 @ v0 / 2 + 2.0 * q0[2], q0[0] * v0[1]
    # by height alone: l^2 zdot^2 = (l^2 - z^2) 2 (E - g z) - h^2
    np.testing.assert_allclose(
        (0.8 * rate) ** 2, (0.64 - height**2) * 2 * (energy - 2.0 * height) - turning**2, atol=1e-12
    )
    assert float(jnp.max(height)) <= 0.2
    q, v = jax.jvp(lambda t: case.solution(t, -0.7, 0.2), (3.0,), (1.0,))
    np.testing.assert_allclose(v @ v / 2 + 2.0 * q[2], energy, rtol=1e-12)
    np.testing.assert_allclose(q[0] * v[1] - q[1] * v[0], turning, rtol=1e-12)


def test_the_pendulum_in_angles_is_the_one_in_space():
    case = problems.SphericalPendulum(1.4, 0.8, 2.0)
    angles, turns = jnp.array([0.9, 0.3]), jnp.array([-0.4, 1.3])
    q, v = jax.jvp(case.point, (angles,), (turns,))
    np.testing.assert_allclose(case.in_angles(0.0, angles, turns), case.lagrangian(0.0, q, v), rtol=1e-14)
    a, multipliers = fl.constrained_acceleration(case.lagrangian, 0.0, q, v)
    np.testing.assert_allclose(-multipliers[0] * 0.8, case.tension(q, v), rtol=1e-13)
    bend = jax.jvp(lambda x: jax.jvp(case.point, (x,), (turns,))[1], (angles,), (turns,))[1]
    swing = fl.acceleration(case.in_angles, 0.0, angles, turns)
    np.testing.assert_allclose(a, bend + jax.jvp(case.point, (angles,), (swing,))[1], rtol=1e-12)


def test_a_revolution_about_a_black_hole_is_the_integral_of_its_equations():
    case = problems.Schwarzschild(1.0, 12.0, 31.0)
    q0, v0 = (np.asarray(each) for each in case.start())
    np.testing.assert_allclose(2 * case.lagrangian(0.0, q0, v0), -1, rtol=1e-14)  # proper time
    proper, time, angle = case.revolution()

    def rate(tau, z):
        return np.concatenate([z[3:], acceleration(z[:3], z[3:])])

    acceleration = jax.jit(lambda q, v: fl.acceleration(case.lagrangian, 0.0, q, v))
    run = scipy.integrate.solve_ivp(rate, (0, float(proper)), [*q0, *v0], "DOP853", rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(run.y[:3, -1], [time, 12.0, angle], rtol=1e-9)


def test_distant_orbits_precess_as_einstein_says():
    far = problems.Schwarzschild(1.0, 1e5, 3e5)
    precession = far.revolution()[2] - 2 * jnp.pi
    np.testing.assert_allclose(precession, far.leading_precession(), rtol=1e-4)  # the next order is M / a
    axis, eccentricity = 2e5, 0.5
    np.testing.assert_allclose(far.leading_precession(), 6 * np.pi / (axis * (1 - eccentricity**2)), rtol=1e-14)


def test_two_vortices_turn_about_their_centre():
    case = problems.PointVortices(jnp.array([1.0, 2.5]))
    q0 = jnp.array([[0.0, 0.0], [1.0, 0.3]])
    q, v = jax.jvp(lambda t: case.pair(t, q0), (1.3,), (1.0,))
    np.testing.assert_allclose(fl.phase_velocity(case.lagrangian, 0.0, q), v, rtol=1e-13)
    turned = q[1] - q[0]
    assert turned[0] * v[1, 1] - turned[1] * v[1, 0] > 0  # anticlockwise, for positive strengths


def test_predators_grow_on_prey():
    case = problems.LotkaVolterra(jnp.array([1.1, 0.7, 0.9, 1.3]))
    x, y = 1.4, 0.6
    velocity = fl.phase_velocity(case.lagrangian, 0.0, jnp.log(jnp.array([x, y])))
    np.testing.assert_allclose(velocity, [1.1 - 0.7 * y, 0.9 * x - 1.3], rtol=1e-14)


def test_the_figure_eight_has_its_symmetries():
    case = problems.FigureEight()
    q, v = case.start()
    np.testing.assert_allclose(jnp.sum(q, axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(jnp.sum(v, axis=0), 0, atol=1e-15)
    turning = jnp.sum(q[:, 0] * v[:, 1] - q[:, 1] * v[:, 0])
    np.testing.assert_allclose(turning, 0, atol=1e-8)  # the digits printed


def test_mathieus_equation_is_the_one_of_its_functions():
    stiffness, swing = scipy.special.mathieu_a(1, 0.5), 0.5
    system = problems.Mathieu(stiffness, swing)
    value, slope = scipy.special.mathieu_cem(1, swing, np.degrees(0.7))
    ahead, behind = (scipy.special.mathieu_cem(1, swing, np.degrees(0.7 + d))[1] for d in (1e-4, -1e-4))
    acceleration = fl.acceleration(system, 0.7, jnp.array([value]), jnp.array([slope]))
    np.testing.assert_allclose(acceleration, [(ahead - behind) / 2e-4], rtol=1e-6)  # c d^2 of the difference


def test_gauges_and_options_are_checked():
    with pytest.raises((TypeError, ValueError), match="gauge"):
        problems.MagneticField(gauge="coulomb")
    landau = problems.MagneticField(1.7, 0.6, "landau")
    np.testing.assert_allclose(
        fl.acceleration(landau, 0.0, START, PUSH), fl.acceleration(MAGNET, 0.0, START, PUSH), rtol=1e-14
    )


def test_closed_forms_take_whole_numbers_and_keep_single_precision():
    np.testing.assert_array_equal(SLEIGH.solution(1.0, 1, 2), SLEIGH.solution(1.0, 1.0, 2.0))
    q = jnp.eye(2, dtype=jnp.float32)
    rates = fl.phase_velocity(problems.PointVortices().lagrangian, 0.0, q)
    growth = fl.phase_velocity(problems.LotkaVolterra().lagrangian, 0.0, q[0])
    assert {each.dtype for each in (problems.PointVortices().pair(1.0, q), rates, growth)} == {jnp.dtype("float32")}


def test_a_particle_without_a_field_moves_on_a_line():
    free = problems.MagneticField(0.0)
    np.testing.assert_allclose(free.solution(3.0, START, PUSH), START + 3 * PUSH, rtol=1e-15)
