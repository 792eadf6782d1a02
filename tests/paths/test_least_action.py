"""Paths of least action against closed forms of mechanics; their certificates and derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

Q0, Q1 = jnp.array([1.0]), jnp.array([0.3])


def oscillator(t, q, v):
    return 0.5 * jnp.sum(v**2) - 0.5 * jnp.sum(q**2)


def oscillator_action(duration, q0=1.0, q1=0.3):
    return ((q0**2 + q1**2) * np.cos(duration) - 2 * q0 * q1) / (2 * np.sin(duration))


def plane(t, q, v):
    return 0.5 * (v[0] ** 2 + 2 * v[1] ** 2) / q[1] ** 2


START, END = jnp.array([0.0, 1.0]), jnp.array([2.0, 0.5])


@pytest.fixture(scope="module")
def plane_solution():
    return fl.least_action_path(plane, START, END)


@pytest.mark.parametrize(("duration", "index"), [(1.0, 0), (4.0, 1), (10.0, 3)])
def test_oscillator_action_and_morse_index(duration, index):
    solution = fl.least_action_path(oscillator, Q0, Q1, t1=duration, stationary=True)
    expected = oscillator_action(duration)
    np.testing.assert_allclose(solution.action, expected, rtol=1e-10)
    assert int(solution.morse_index) == index == int(duration // np.pi)
    middle = 0.5 * duration
    exact = (np.sin(duration - middle) + 0.3 * np.sin(middle)) / np.sin(duration)
    np.testing.assert_allclose(solution.path(middle)[0], exact, rtol=1e-9)


def test_a_minimum_past_a_conjugate_point_is_not_claimed():
    solution = fl.least_action_path(oscillator, Q0, Q1, t1=4.0, throw=False)
    assert solution.result == fl.RESULTS.not_a_minimum
    assert int(solution.morse_index) == 1
    with pytest.raises(RuntimeError, match="conjugate point"):
        fl.least_action_path(oscillator, Q0, Q1, t1=4.0)


def test_gradient_of_action_in_its_ends_is_the_momentum(plane_solution):
    at_start, at_end = jax.grad(lambda a, b: fl.least_action_path(plane, a, b).action, (0, 1))(START, END)
    path = plane_solution.path
    np.testing.assert_allclose(at_end, fl.momentum(plane, 1.0, path(1.0), path.velocity(1.0)), rtol=1e-8)
    np.testing.assert_allclose(at_start, -fl.momentum(plane, 0.0, path(0.0), path.velocity(0.0)), rtol=1e-8)


def test_gradient_of_action_in_time_is_minus_the_energy(plane_solution):
    slope = jax.grad(lambda t1: fl.least_action_path(plane, START, END, t1=t1).action)(1.0)
    path = plane_solution.path
    np.testing.assert_allclose(slope, -fl.energy(plane, 1.0, path(1.0), path.velocity(1.0)), rtol=1e-8)


def test_second_derivatives_agree_with_differences_of_first():
    gradient = jax.jit(jax.grad(lambda b: fl.least_action_path(plane, START, b).action))
    hessian = jax.hessian(lambda b: fl.least_action_path(plane, START, b).action)(END)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9)
    step = 1e-5
    columns = [(gradient(END + step * e) - gradient(END - step * e)) / (2 * step) for e in jnp.eye(2)]
    np.testing.assert_allclose(hessian, jnp.stack(columns, axis=1), rtol=1e-7)  # step^2 and eps / step


class Tilted(eqx.Module):
    """A Lagrangian that holds its parameter, as an equinox module does."""

    slope: jax.Array

    def __call__(self, t, q, v):
        return plane(t, q, v) - self.slope**2 * q[0]


def test_closure_and_module_differentiate_alike():
    def through_closure(k):
        return fl.least_action_path(lambda t, q, v: plane(t, q, v) - k**2 * q[0], START, END).path(0.5)

    def through_module(k):
        return fl.least_action_path(Tilted(k), START, END).path(0.5)

    k, step = jnp.array(0.7), 1e-5
    forward = jax.jacfwd(through_closure)(k)
    np.testing.assert_allclose(jax.jacrev(through_module)(k), forward, rtol=1e-9)
    differences = (through_module(k + step) - through_module(k - step)) / (2 * step)
    np.testing.assert_allclose(forward, differences, rtol=1e-7)


def test_path_is_the_motion_from_its_initial_velocity(plane_solution):
    path = plane_solution.path
    flow = fl.integrate(plane, START, path.velocity(0.0), t1=1.0, steps=64, method=fl.GaussLegendre(4))
    np.testing.assert_allclose(flow.q[-1], END, rtol=1e-9)
    residual = jax.vmap(lambda t: fl.euler_lagrange_residual(plane, path, t))(jnp.linspace(0.05, 0.95, 7))
    assert float(jnp.max(jnp.abs(residual))) < 1e-5  # second derivatives of the path lose two orders in 1 / E


def test_gradient_of_the_discrete_action_vanishes(plane_solution):
    assert float(plane_solution.residual) < 1e-9
    np.testing.assert_allclose(fl.action(plane, plane_solution.path), plane_solution.action, rtol=1e-12)


@pytest.mark.parametrize(("degree", "coarse", "fine"), [(1, 8, 32), (2, 4, 16), (3, 3, 9)])
def test_error_of_the_action_falls_as_twice_the_degree(degree, coarse, fine):
    exact = float(fl.least_action_path(plane, START, END, elements=16, degree=8).action)
    error = [
        abs(float(fl.least_action_path(plane, START, END, elements=e, degree=degree, rtol=1.0).action) - exact)
        for e in (coarse, fine)
    ]
    order = np.log(error[0] / error[1]) / np.log(fine / coarse)
    assert abs(order - 2 * degree) < 0.35  # the coarse meshes still feel the next order


def test_unresolved_path_is_reported():
    solution = fl.least_action_path(plane, START, END, elements=3, degree=1, throw=False)
    assert solution.result == fl.RESULTS.unresolved


def test_projectile_with_gravity_in_a_pytree():
    def projectile(t, q, v):
        return 0.5 * (v["x"] ** 2 + v["y"] ** 2) - 9.81 * q["y"]

    ends = {"x": 0.0, "y": 0.0}, {"x": 3.0, "y": 1.0}
    solution = fl.least_action_path(projectile, *ends, t1=2.0, elements=2, degree=3)
    middle = solution.path(1.0)
    np.testing.assert_allclose(middle["x"], 1.5, rtol=1e-12)
    np.testing.assert_allclose(middle["y"], 0.5 + 0.5 * 9.81, rtol=1e-12)
    assert set(solution.path.velocity(0.5)) == {"x", "y"}


def test_guess_may_be_path_callable_or_nodes(plane_solution):
    nodes = jnp.stack([START, jnp.array([1.0, 1.2]), END])
    for guess in (plane_solution.path, lambda t: (1 - t) * START + t * END, nodes):
        solution = fl.least_action_path(plane, START, END, guess=guess)
        np.testing.assert_allclose(solution.action, plane_solution.action, rtol=1e-12)
    assert int(fl.least_action_path(plane, START, END, guess=plane_solution.path).iterations) <= 2


def test_failing_member_of_a_batch_fails_alone():
    solve = jax.vmap(lambda duration: fl.least_action_path(oscillator, Q0, Q1, t1=duration, throw=False))
    solutions = solve(jnp.array([1.0, 4.0, 2.0]))
    assert list(np.asarray(solutions.succeeded)) == [True, False, True]
    np.testing.assert_allclose(solutions.action[jnp.array([0, 2])], oscillator_action(np.array([1.0, 2.0])), rtol=1e-10)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_input_that_is_not_finite_is_reported(bad):
    solution = fl.least_action_path(plane, START, jnp.array([bad, 1.0]), throw=False)
    assert solution.result == fl.RESULTS.nonfinite


def test_point_outside_the_domain_is_reported():
    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda th: th[0], scale=lambda th: th[1])
    model = fl.StatisticalModel(lambda th, x: jax.scipy.stats.norm.logpdf(x, th[0], th[1]), rule)
    solution = fl.least_action_path(fl.FisherLagrangian(model), START, jnp.array([2.0, -0.5]), throw=False)
    assert solution.result == fl.RESULTS.nonfinite


@pytest.mark.parametrize("end_time", [0.0, -1.0])
def test_interval_that_runs_backward_is_reported(end_time):
    solution = fl.least_action_path(plane, START, END, t1=end_time, throw=False)
    assert solution.result == fl.RESULTS.empty_interval


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="node between"):
        fl.least_action_path(plane, START, END, elements=1, degree=1)
    with pytest.raises(ValueError, match="scalar"):
        fl.least_action_path(lambda t, q, v: v, START, END)


def test_action_of_a_callable_and_of_nodes():
    exact = oscillator_action(1.0)

    def motion(t):
        return (jnp.sin(1.0 - t) * Q0 + jnp.sin(t) * Q1) / jnp.sin(1.0)

    np.testing.assert_allclose(fl.action(oscillator, motion), exact, rtol=1e-12)
    times = jnp.linspace(0.0, 1.0, 201)
    np.testing.assert_allclose(fl.action(oscillator, jax.vmap(motion)(times)), exact, rtol=1e-4)  # h^2


def test_single_precision_path_keeps_its_dtype():
    solution = fl.least_action_path(plane, START.astype(jnp.float32), END.astype(jnp.float32))
    assert solution.action.dtype == jnp.float32
    exact = fl.least_action_path(plane, START, END).action
    np.testing.assert_allclose(solution.action, exact, rtol=100 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    "mark",
    [
        lambda free: fl.Forced(free, lambda t, q, v: -v),
        lambda free: fl.Constrained(free, lambda q: q[0]),
        lambda free: fl.Nonholonomic(fl.Separable(free), lambda q: jnp.ones((1, 2))),
        lambda free: fl.Herglotz.linear(free, 0.1),
        lambda free: fl.PhaseSpaceLagrangian(lambda t, q: q, lambda t, q: q @ q),
    ],
)
def test_systems_whose_motions_make_no_action_stationary_are_refused(mark):
    with pytest.raises(TypeError, match="integrate"):
        fl.least_action_path(mark(lambda t, q, v: v @ v), jnp.zeros(2), jnp.ones(2))
