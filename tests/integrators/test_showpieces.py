"""Motions of textbooks, each from its Lagrangian alone, against closed forms and tight references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import fimlag as fl
from fimlag import problems
from fimlag.diagnostics._cases import textbook_cases

START, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.5, -0.3])


def reference(rate, t1, start):
    """The end of a motion of first order, by scipy's method of order 8 near round-off."""
    return scipy.integrate.solve_ivp(rate, (0, t1), start, "DOP853", rtol=3e-14, atol=1e-14).y[:, -1]


def second_order(acceleration):
    """The rate of (q, v) from an acceleration (q, v)."""
    compiled = jax.jit(lambda z: acceleration(*jnp.split(z, 2)))
    return lambda t, z: np.concatenate([z[z.size // 2 :], compiled(z)])


def test_a_damped_oscillator_is_one_motion_three_ways():
    case, method = problems.DampedOscillator(1.3, 2.0, 0.3), fl.GaussLegendre(4)
    flows = [
        fl.integrate(system, START, PUSH, t1=10.0, steps=100, method=method)
        for system in (case.forced, case.growing, case.contact)
    ]
    exact = jax.vmap(lambda t: case.solution(t, START, PUSH))(flows[0].t)
    for flow in flows:
        np.testing.assert_allclose(flow.q, exact, atol=1e-10)  # c h^8 with h omega = 0.2
        np.testing.assert_allclose(flow.v, flows[0].v, atol=1e-10)
    growth = jnp.exp(0.3 * flows[0].t)[:, None]
    np.testing.assert_allclose(flows[1].p, growth * flows[2].p, atol=1e-8)  # the two momenta of one motion


def test_a_charged_particle_does_not_feel_the_gauge():
    symmetric, landau = (problems.MagneticField(1.7, 0.6, gauge) for gauge in ("symmetric", "landau"))
    coarse = [
        fl.integrate(system, START, PUSH, t1=20.0, steps=60, method=fl.GaussLegendre(2))
        for system in (symmetric, landau)
    ]
    # The gauges differ by a linear canonical map, with which Gauss methods commute: equal at any step.
    np.testing.assert_allclose(coarse[0].q, coarse[1].q, atol=1e-12)
    gradient = 1.7 / 2 * coarse[0].q[:, ::-1]
    np.testing.assert_allclose(coarse[0].p - coarse[1].p, gradient, atol=1e-12)
    fine = fl.integrate(landau, START, PUSH, t1=20.0, steps=800, method=fl.GaussLegendre(4))
    exact = jax.vmap(lambda t: landau.solution(t, START, PUSH))(fine.t)
    np.testing.assert_allclose(fine.q, exact, atol=1e-12)


def test_kepler_closes_its_orbit_and_keeps_the_laplace_runge_lenz_vector():
    case, orbits, steps = problems.Kepler(), 100, 500
    q0, v0 = case.start(0.6)
    flow = fl.integrate(
        case.lagrangian,
        q0,
        v0,
        t1=2 * np.pi * orbits,
        steps=steps * orbits,
        save_every=steps,
        method=fl.KahanLi8(),
        compensated=True,
    )

    def vector(q, v):
        turning = q[0] * v[1] - q[1] * v[0]
        return turning * jnp.stack([v[1], -v[0]]) - q / jnp.linalg.norm(q)

    vectors = jax.vmap(vector)(flow.q, flow.v)
    np.testing.assert_allclose(vectors[0], [0.6, 0.0], atol=1e-15)
    np.testing.assert_allclose(vectors, np.broadcast_to(vectors[0], vectors.shape), atol=1e-10)
    np.testing.assert_allclose(flow.q, np.broadcast_to(q0, flow.q.shape), atol=1e-8)  # c h^8, growing with time


def test_the_perihelion_precesses_in_schwarzschilds_geometry():
    case = problems.Schwarzschild(1.0, 60.0, 100.0)
    proper, time, angle = case.revolution()
    flow = fl.integrate(case.lagrangian, *case.start(), t1=proper, steps=200, method=fl.GaussLegendre(4))
    np.testing.assert_allclose(flow.q[-1], [time, 60.0, angle], rtol=1e-11)
    precession = flow.q[-1, 2] - 2 * np.pi
    np.testing.assert_allclose(precession, case.leading_precession(), rtol=0.1)  # the next order, M / a
    speeds = jax.vmap(lambda q, v: 2 * case.lagrangian(0.0, q, v))(flow.q, flow.v)
    np.testing.assert_allclose(speeds, -1, rtol=1e-11)


def test_three_bodies_close_a_figure_of_eight():
    case = problems.FigureEight()
    flow = fl.integrate(case.lagrangian, *case.start(), t1=case.period, steps=600, method=fl.KahanLi8())
    np.testing.assert_allclose(flow.q[-1], flow.q[0], atol=3e-7)  # eight digits at the start, stretched by the motion
    np.testing.assert_allclose(flow.v[-1], flow.v[0], atol=3e-7)
    # One curve: after a third of the period each body is where another was.
    np.testing.assert_allclose(flow.q[200], jnp.roll(flow.q[0], 1, axis=0), atol=3e-7)
    energies = jax.vmap(lambda q, v: fl.energy(case.lagrangian, 0.0, q, v))(flow.q, flow.v)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-11)


def test_a_spherical_pendulum_pulls_its_rod():
    case = problems.SphericalPendulum(1.4, 0.8, 2.0)
    q0, v0 = case.start(-0.7, 0.3)
    flow = fl.integrate(case.lagrangian, q0, v0, t1=4.0, steps=400, method=fl.Composition(fl.Rattle(), 4))
    exact = jax.jit(jax.vmap(lambda t: case.solution(t, -0.7, 0.3)))(flow.t)
    np.testing.assert_allclose(flow.q, exact, atol=1e-7)  # c h^4 with h = 0.01
    np.testing.assert_allclose(jnp.linalg.norm(flow.q, axis=1), 0.8, rtol=1e-13)
    tension = jax.vmap(case.tension)(flow.q, flow.v)
    np.testing.assert_allclose(-0.8 * flow.multipliers[:, 0], tension, rtol=1e-11)
    assert jnp.argmax(tension) in (jnp.argmin(flow.q[:, 2]), 0, 400)  # it pulls most at the lowest point
    angles = fl.integrate(
        case.in_angles,
        jnp.array([np.arccos(0.7 / 0.8), 0.0]),
        jnp.array([0.0, v0[1] / q0[0]]),
        t1=4.0,
        steps=200,
        save_every=100,
        method=fl.GaussLegendre(4),
    )
    np.testing.assert_allclose(jax.vmap(case.point)(angles.q), exact[::200], atol=1e-10)


@pytest.mark.slow
def test_a_sleigh_on_ice_turns_until_it_runs_ahead_of_its_blade():
    case = problems.ChaplyginSleigh(1.5, 0.7, 0.4)
    q0, v0 = case.start(-0.6, 1.1)  # backward: unstable
    method = fl.Composition(fl.NonholonomicLeapfrog(), 4)
    flow = fl.integrate(case.lagrangian, q0, v0, t1=12.0, steps=600, method=method)
    exact = jax.jit(jax.vmap(lambda t: case.solution(t, -0.6, 1.1)))(flow.t)
    np.testing.assert_allclose(flow.q, exact, atol=1e-6)  # c h^4 with h = 0.02
    across = -jnp.sin(flow.q[:, 2]) * flow.v[:, 0] + jnp.cos(flow.q[:, 2]) * flow.v[:, 1]
    np.testing.assert_allclose(across, 0, atol=1e-13)
    ahead = jnp.cos(flow.q[-1, 2]) * flow.v[-1, 0] + jnp.sin(flow.q[-1, 2]) * flow.v[-1, 1]
    total = jnp.hypot(0.6, jnp.sqrt(0.7 / 1.5 + 0.16) * 1.1)
    np.testing.assert_allclose(ahead, total, rtol=0.02)  # all its energy, in the end
    assert abs(flow.v[-1, 2]) < 0.1 * v0[2]


def test_a_double_pendulum_follows_its_reference():
    case = problems.DoublePendulum((1.0, 0.7), (1.2, 0.8), 9.81)
    exact = reference(second_order(case.acceleration), 3.0, [*START, *PUSH])
    flow = fl.integrate(case, START, PUSH, t1=3.0, steps=600, save_every=600, method=fl.GaussLegendre(4))
    np.testing.assert_allclose([*flow.q[-1], *flow.v[-1]], exact, rtol=1e-9)  # round-off of chaos, some e^6


def test_henon_and_heiles_follow_their_reference():
    system, q0, v0 = problems.henon_heiles(), np.array([0.1, -0.2]), np.array([0.4, 0.2])

    def pull(q, v):
        return jnp.stack([-q[0] - 2 * q[0] * q[1], -q[1] - q[0] ** 2 + q[1] ** 2])

    exact = reference(second_order(pull), 100.0, [*q0, *v0])
    flow = fl.integrate(system, q0, v0, t1=100.0, steps=2000, save_every=2000, method=fl.KahanLi8())
    np.testing.assert_allclose([*flow.q[-1], *flow.v[-1]], exact, atol=1e-9)  # round-off of both, stretched


@pytest.mark.slow
def test_vortices_and_populations_move_by_equations_of_first_order():
    pair = problems.PointVortices(jnp.array([1.0, 2.5]))
    q0 = jnp.array([[0.0, 0.0], [1.0, 0.3]])
    flow = fl.integrate(pair.lagrangian, q0, None, t1=10.0, steps=200, method=fl.GaussLegendre(4))
    np.testing.assert_allclose(flow.q, jax.vmap(lambda t: pair.pair(t, q0))(flow.t), atol=1e-11)
    prey = problems.LotkaVolterra(jnp.array([1.1, 0.7, 0.9, 1.3]))

    def growth(t, z):
        return [1.1 - 0.7 * np.exp(z[1]), 0.9 * np.exp(z[0]) - 1.3]

    numbers = jnp.array([0.8, -0.4])
    flow = fl.integrate(prey.lagrangian, numbers, None, t1=20.0, steps=400, method=fl.GaussLegendre(4))
    np.testing.assert_allclose(flow.q[-1], reference(growth, 20.0, numbers), atol=1e-10)
    energies = jax.vmap(lambda q: prey.lagrangian.hamiltonian(0.0, q))(flow.q)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)


@pytest.mark.slow
def test_a_relativistic_particle_never_outruns_light():
    case = problems.RelativisticParticle(1.2, 1.5, 0.8)
    flow = fl.integrate(case, START, PUSH, t1=20.0, steps=400, method=fl.GaussLegendre(3))
    exact = jax.vmap(lambda t: case.solution(t, START, PUSH))(flow.t)
    np.testing.assert_allclose(flow.q, exact, rtol=1e-10)  # c h^6
    speeds = jnp.linalg.norm(flow.v, axis=1)
    assert 0.99 * 1.5 < speeds[-1] < 1.5
    # A steady force, so a steady gain of momentum
    np.testing.assert_allclose(flow.p[:, 0] - flow.p[0, 0], 0.8 * flow.t, rtol=1e-12, atol=1e-13)


def test_mathieus_motion_is_periodic_at_a_characteristic_value():
    system = fl.Separable(problems.Mathieu(scipy.special.mathieu_a(1, 0.5), 0.5))
    flow = fl.integrate(
        system, jnp.ones(1), jnp.zeros(1), t1=2 * np.pi, steps=400, save_every=400, method=fl.KahanLi8()
    )
    np.testing.assert_allclose([*flow.q[-1], *flow.v[-1]], [1.0, 0.0], atol=1e-11)


KINDS = [
    (fl.KahanLi8(), "separable"),
    (fl.Rattle(), "constrained"),
    pytest.param(fl.Tao(10.0), "not separable", marks=pytest.mark.slow),
    (fl.GaussLegendre(2), "not separable"),
    pytest.param(fl.Variational(fl.Galerkin(2)), "not separable", marks=pytest.mark.slow),
    pytest.param(fl.NonholonomicLeapfrog(), "nonholonomic", marks=pytest.mark.slow),
    pytest.param(fl.ContactLeapfrog(), "contact", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("method", "kind"), KINDS, ids=repr)
def test_what_fails_in_one_trajectory_stays_there_and_is_reported_there(method, kind):
    case = textbook_cases()[kind]
    points = jnp.stack([case.q0, case.q0 * jnp.nan, case.q0, case.q0])
    ends = jnp.array([1.0, 1.0, 1e4, 1.0])  # and one step far too long for an implicit method

    @jax.vmap
    def run(q0, t1):
        return fl.integrate(case.system, q0, case.v0, t1=t1, steps=20, save_every=5, method=method, throw=False)

    flows = run(points, ends)
    assert flows.succeeded[jnp.array([0, 1, 3])].tolist() == [True, False, True]
    assert (flows.result == fl.RESULTS.nonfinite)[1]
    assert np.isfinite(flows.q[jnp.array([0, 3])]).all()
    np.testing.assert_allclose(flows.q[0], flows.q[3], rtol=1e-13)
    if not method.explicit and not isinstance(method, fl.Variational):  # its equations have a root even there
        assert (flows.result == fl.RESULTS.implicit_step_failed)[2]
        assert np.isnan(flows.q[2, -1]).all()
