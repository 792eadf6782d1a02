"""Systems and methods handed to diffrax."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

import fimlag as fl
from fimlag import problems

PENDULUM = problems.DoublePendulum()
SYSTEM = problems.henon_heiles()
START = jnp.array([0.1, 0.2]), jnp.array([0.3, 0.1])
TIGHT = diffrax.PIDController(rtol=1e-11, atol=1e-11)


@pytest.fixture(autouse=True)
def standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # diffrax mixes dtypes
        yield


def solve(system, solver, y0, t1=2.0, dt0=0.02, **options):
    return diffrax.diffeqsolve(fl.diffrax_terms(system), solver, 0.0, t1, dt0, y0, **options)


def test_an_adaptive_solver_agrees_with_gauss_on_the_double_pendulum():
    start = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
    flow = fl.integrate(PENDULUM, *start, t1=2.0, steps=100, method=fl.GaussLegendre(4))
    (q,), (v,) = solve(PENDULUM, diffrax.Dopri8(), start, stepsize_controller=TIGHT).ys
    # a few hundred steps of the controller's tolerance, stretched by the motion
    np.testing.assert_allclose(q, flow.q[-1], atol=1e-9)
    np.testing.assert_allclose(v, flow.v[-1], atol=1e-9)


@pytest.mark.parametrize("method", [fl.StormerVerlet(), fl.GaussLegendre(2)], ids=repr)
def test_a_method_as_a_solver_is_the_method(method):
    flow = fl.integrate(SYSTEM, *START, t1=2.0, steps=100, method=method)
    solution = solve(SYSTEM, fl.diffrax_solver(method), START, saveat=diffrax.SaveAt(steps=True), max_steps=100)
    np.testing.assert_allclose(solution.ys[0], flow.q[1:], atol=1e-14)  # round-off of a hundred steps
    np.testing.assert_allclose(solution.ys[1], flow.v[1:], atol=1e-14)


@pytest.mark.slow
def test_times_asked_for_lie_on_the_cubic_through_the_steps_backward_too():
    times = jnp.linspace(0.0, -2.0, 7)
    solver = fl.diffrax_solver(fl.Yoshida4())
    solution = solve(SYSTEM, solver, START, t1=-2.0, dt0=-0.02, saveat=diffrax.SaveAt(ts=times))
    flow = fl.integrate(SYSTEM, *START, t1=-2.0, steps=100, method=fl.Yoshida4())
    dense = fl.dense_output(SYSTEM, flow, matched=1)
    np.testing.assert_allclose(solution.ys[0], jax.vmap(dense)(times), atol=1e-14)
    np.testing.assert_allclose(solution.ys[1], jax.vmap(dense.velocity)(times), atol=1e-13)  # round-off over h


def test_an_event_of_diffrax_falls_where_ours_does():
    event = diffrax.Event(lambda t, y, args, **_: y[0][0], optimistix.Newton(1e-12, 1e-12))
    method = fl.Yoshida4()
    solution = solve(SYSTEM, fl.diffrax_solver(method), START, t1=20.0, event=event)
    ours = fl.integrate_to_event(SYSTEM, *START, lambda t, q, v: q[0], t1=20.0, steps=1000, method=method)
    # c h^4 of the cubic: h = 0.02
    np.testing.assert_allclose(solution.ts[0], ours.t, atol=1e-7)


def test_steps_adapt_by_doubling_and_not_without_an_error_estimate():
    method = fl.diffrax_solver(fl.Yoshida4())
    controller = diffrax.PIDController(rtol=1e-9, atol=1e-9)
    solution = solve(SYSTEM, diffrax.HalfSolver(method), START, stepsize_controller=controller)
    flow = fl.integrate(SYSTEM, *START, t1=2.0, steps=400, method=fl.Yoshida4())
    np.testing.assert_allclose(solution.ys[0][0], flow.q[-1], atol=1e-7)  # tolerance times the number of steps
    with pytest.raises(RuntimeError, match="error estimates"):
        solve(SYSTEM, method, START, stepsize_controller=controller)


@pytest.mark.parametrize("adjoint", [diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint()])
@pytest.mark.slow
def test_gradients_run_back_through_diffrax(adjoint):
    solver = fl.diffrax_solver(fl.StormerVerlet())

    def ours(q0):
        return fl.integrate(SYSTEM, q0, START[1], t1=2.0, steps=100).q[-1] @ jnp.array([1.0, -2.0])

    def theirs(q0):
        y0 = q0, START[1]
        return solve(SYSTEM, solver, y0, adjoint=adjoint, max_steps=128).ys[0][0] @ jnp.array([1.0, -2.0])

    # round-off of a hundred steps
    np.testing.assert_allclose(jax.grad(theirs)(START[0]), jax.grad(ours)(START[0]), rtol=1e-13)


@pytest.mark.slow
def test_forces_contact_phase_spaces_and_constraints_reach_diffrax():
    oscillator = fl.Separable(lambda t, q, v: v**2 / 2 - q**2 / 2)
    damped = fl.Forced(oscillator, lambda t, q, v: -0.2 * v)
    contact = fl.Herglotz.linear(oscillator, 0.2)
    gauss = fl.diffrax_solver(fl.GaussLegendre(3))
    ends = [
        solve(damped, diffrax.Tsit5(), (1.0, 0.0), stepsize_controller=TIGHT),
        solve(contact, diffrax.Tsit5(), (1.0, 0.0, 0.0), stepsize_controller=TIGHT),
        solve(contact, gauss, (1.0, 0.0, 0.0)),
    ]
    decay, omega = 0.1, np.sqrt(0.99)
    exact = np.exp(-0.2) * (np.cos(2 * omega) + decay / omega * np.sin(2 * omega))
    np.testing.assert_allclose([end.ys[0][0] for end in ends], exact, atol=1e-9)  # the controller's tolerance
    np.testing.assert_allclose(ends[1].ys[2], ends[2].ys[2], atol=1e-9)

    plane = fl.PhaseSpaceLagrangian(lambda t, z: jnp.array([z[1], 0.0]), lambda t, z: z @ z / 2)
    (z,) = solve(plane, gauss, (jnp.array([1.0, 0.0]),), saveat=diffrax.SaveAt(ts=[1.0])).ys
    np.testing.assert_allclose(z[0], [np.cos(1.0), -np.sin(1.0)], atol=1e-12)

    rod = fl.Constrained(lambda t, q, v: v @ v / 2 - q[1], lambda q: q @ q - 1.0)
    (q,), _ = solve(rod, diffrax.Tsit5(), (jnp.array([1.0, 0.0]), jnp.zeros(2)), stepsize_controller=TIGHT).ys
    np.testing.assert_allclose(q @ q, 1.0, atol=1e-9)


def test_a_failed_step_is_a_result_of_diffrax():
    solver = fl.diffrax_solver(fl.GaussLegendre(2, max_iterations=1))
    start = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
    solution = solve(PENDULUM, solver, start, dt0=0.5, throw=False)
    assert solution.result == diffrax.RESULTS.nonlinear_divergence


def test_a_false_vouching_is_a_result_of_diffrax():
    false = fl.Separable(lambda t, q, v: (1 + q @ q) * (v @ v) / 2)
    solution = solve(false, fl.diffrax_solver(fl.StormerVerlet()), START, throw=False)
    assert solution.result == diffrax.RESULTS.nonlinear_divergence


def test_wrong_terms_states_and_methods_are_refused():
    solver = fl.diffrax_solver(fl.StormerVerlet())
    with pytest.raises(ValueError, match="diffrax_terms"):
        diffrax.diffeqsolve(diffrax.ODETerm(lambda t, y, args: y), solver, 0.0, 1.0, 0.1, START)
    with pytest.raises(ValueError, match="tuple"):
        fl.diffrax_terms(SYSTEM).vf(0.0, START[0], None)
    with pytest.raises(TypeError, match="method"):
        fl.diffrax_solver("leapfrog")
    for method in (fl.TimeTransformedLeapfrog(), fl.Composition(fl.Composition(fl.ReversibleAdaptive()), order=6)):
        with pytest.raises(ValueError, match="fictive time"):
            fl.diffrax_solver(method)
