"""The action of paths between two events solves the equation of Hamilton and Jacobi, and so do its derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

# q0, q1 (two coordinates each), t0, t1, a mass that the Lagrangian holds and a stiffness that it closes over
EVENTS = jnp.array([0.2, -0.4, 0.7, 0.3, 0.1, 1.2, 1.3, 0.8])
STEP = 1e-4
pytestmark = pytest.mark.slow


class Driven(eqx.Module):
    """A particle whose mass grows with its place, in a field that depends on time."""

    mass: jax.Array
    potential: jax.tree_util.Partial

    def __call__(self, t, q, v):
        return self.mass * (1 + q[0] ** 2) * (v @ v) / 2 + v[1] * q[0] - self.potential(t, q)


def lagrangian(events):
    mass, stiffness = events[6:]

    def potential(t, q):
        return stiffness * (q @ q) / 2 + jnp.sin(2 * t) * q[0] ** 3

    return Driven(mass, jax.tree_util.Partial(potential))


def between(events):
    """The action, and the path at the middle of its interval and its end's momentum."""
    q0, q1, t0, t1 = events[:2], events[2:4], events[4], events[5]
    system = lagrangian(events)
    solution = fl.least_action_path(system, q0, q1, t0, t1, elements=4, degree=8, throw=False)
    middle, momentum = solution.path(0.5 * (t0 + t1)), solution.path.momentum(system, t1)
    return jnp.where(solution.succeeded, jnp.concatenate([solution.action[None], middle, momentum]), jnp.nan)


@pytest.fixture(scope="module")
def derivatives():
    """Values and first derivatives at the events and at steps from them each way, and the action's Hessian there."""
    shifts = STEP * jnp.eye(EVENTS.size)
    points = EVENTS[None] + jnp.concatenate([jnp.zeros((1, EVENTS.size)), shifts, -shifts])
    values, slopes = jax.jit(jax.vmap(lambda events: (between(events), jax.jacrev(between)(events))))(points)
    hessian = jax.jit(jax.hessian(lambda events: between(events)[0]))(EVENTS)
    return np.asarray(values), np.asarray(slopes), np.asarray(hessian)


def differences(rows):
    n = EVENTS.size
    return np.moveaxis((rows[1 : n + 1] - rows[n + 1 :]) / (2 * STEP), 0, -1)


def test_gradients_agree_with_differences_in_ends_times_and_parameters(derivatives):
    values, slopes, _ = derivatives
    np.testing.assert_allclose(slopes[0], differences(values), atol=1e-7)  # step^2 times third derivatives of size 10


def test_second_derivatives_agree_with_differences_of_first(derivatives):
    _, slopes, hessian = derivatives
    np.testing.assert_allclose(hessian, differences(slopes[:, 0]), atol=1e-7)  # as above
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-12)


def test_the_slopes_in_the_ends_are_the_momenta(derivatives):
    values, slopes, _ = derivatives
    # The action errs by h^16, the velocity of the polynomials by h^8: below 1e-8 here.
    np.testing.assert_allclose(slopes[0, 0, 2:4], values[0, 3:], rtol=1e-7)


def equations(events, slope):
    """What Hamilton and Jacobi set to zero, at both ends."""
    hamiltonian = fl.hamiltonian(lagrangian(events))
    at_start = slope[4] - hamiltonian(events[4], events[:2], -slope[:2])
    at_end = slope[5] + hamiltonian(events[5], events[2:4], slope[2:4])
    return jnp.stack([at_start, at_end])


def test_the_action_solves_the_equation_of_hamilton_and_jacobi(derivatives):
    _, slopes, _ = derivatives
    np.testing.assert_allclose(equations(EVENTS, slopes[0, 0]), 0.0, atol=1e-10)  # the action's error, over the steps


def test_its_hessian_solves_the_equation_differentiated(derivatives):
    _, slopes, hessian = derivatives
    slope = jnp.asarray(slopes[0, 0])
    by_events, by_slope = jax.jit(jax.jacfwd(equations, (0, 1)))(EVENTS, slope)
    np.testing.assert_allclose(by_events + by_slope @ hessian, 0.0, atol=1e-9)  # as above


def test_the_mixed_derivatives_are_the_inverse_of_the_fields_that_leave_the_start(derivatives):
    _, slopes, hessian = derivatives
    system, (t0, t1), q0 = lagrangian(EVENTS), EVENTS[4:6], EVENTS[:2]

    def end(momentum):
        velocity = jax.grad(fl.hamiltonian(system), 2)(t0, q0, momentum)
        method, adjoint = fl.GaussLegendre(4), fl.DirectAdjoint()
        return fl.integrate(system, q0, velocity, t0=t0, t1=t1, steps=32, method=method, adjoint=adjoint).q[-1]

    fields = jax.jit(jax.jacfwd(end))(-jnp.asarray(slopes[0, 0, :2]))
    np.testing.assert_allclose(-hessian[:2, 2:4] @ fields, np.eye(2), atol=1e-9)  # van Vleck's matrix
