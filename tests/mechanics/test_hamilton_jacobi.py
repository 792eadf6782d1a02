"""The action as a generating function."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

OSCILLATOR = problems.HarmonicOscillator(1.3, 0.7)
STARTS, ENDS = jnp.array([[0.4, -0.2], [1.0, 0.5]]), jnp.array([[1.1, 0.3], [-0.7, 2.0]])


def test_the_action_of_the_oscillator_solves_the_hamilton_jacobi_equation():
    def residual(t, q0, q1):
        hamiltonian = fl.hamiltonian(OSCILLATOR.lagrangian)
        return fl.hamilton_jacobi_residual(hamiltonian, lambda t, q: OSCILLATOR.action(q0, q, t), t, q1)

    residuals = jax.jit(jax.vmap(residual))(jnp.array([0.5, 3.0]), STARTS, ENDS)
    np.testing.assert_allclose(residuals, 0, atol=1e-13)  # round-off of terms of order 10


def test_a_function_that_is_no_action_leaves_a_residual():
    residual = fl.hamilton_jacobi_residual(lambda t, q, p: p**2 / 2 + q, lambda t, q: t * q, 2.0, 3.0)
    np.testing.assert_allclose(residual, 3.0 + 2.0 + 3.0)


def test_the_action_of_the_oscillator_generates_its_motion():
    duration = 0.9

    def both(q0, q1):
        action = functools.partial(OSCILLATOR.action, duration=duration)
        p0, p1 = fl.boundary_momenta(action, q0, q1)
        v0 = p0 / OSCILLATOR.mass
        end, v1 = jax.jvp(lambda t: OSCILLATOR.solution(t, q0, v0), (duration,), (1.0,))
        return (end, OSCILLATOR.mass * v1), (q1, p1), fl.generated_map(action, q0, p0)

    motion, boundary, generated = jax.jit(jax.vmap(both))(STARTS, ENDS)
    np.testing.assert_allclose(boundary, motion, rtol=1e-13)  # round-off
    np.testing.assert_allclose(generated, motion, rtol=1e-13)


def test_any_action_generates_a_symplectic_map():
    def action(q0, q1):
        step = q1["x"] - q0["x"]
        return 5 * step @ step + jnp.sum(step**4) - jnp.cos(q0["x"][0] * q1["x"][1])

    def advance(z):
        q, p = fl.generated_map(action, {"x": z[:2]}, {"x": z[2:]})
        return jnp.concatenate([q["x"], p["x"]])

    jacobian = jax.jit(jax.jacrev(advance))(jnp.array([0.4, 0.7, -1.0, 2.0]))
    form = np.kron([[0, 1], [-1, 0]], np.eye(2))
    np.testing.assert_allclose(jacobian.T @ form @ jacobian, form, atol=1e-13)  # round-off, times entries of order 1


def test_ends_of_different_structure_and_actions_that_are_no_scalars_are_refused():
    with pytest.raises(ValueError, match="structure"):
        fl.boundary_momenta(lambda q0, q1: q0 @ q0, jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match="scalar"):
        fl.generated_map(lambda q0, q1: q0, jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="scalar"):
        fl.hamilton_jacobi_residual(lambda t, q, p: p, lambda t, q: q, 0.0, jnp.ones(2))


@pytest.mark.slow
def test_least_actions_solve_the_hamilton_jacobi_equation():
    def lagrangian(stiffening, t, q, v):
        return v @ v / 2 - q @ q / 2 - stiffening * jnp.sum(q**4) / 4

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None, None))
    def slopes(stiffening, q0, q1, t1):
        system = functools.partial(lagrangian, stiffening)

        def solve(q0, q1, t1):
            solution = fl.least_action_path(system, q0, q1, t1=t1, elements=6, throw=False)
            return solution.action, solution.path

        (value, path), (by_start, by_end, by_time) = jax.value_and_grad(solve, argnums=(0, 1, 2), has_aux=True)(
            q0, q1, t1
        )
        v0, v1 = path.velocity(0.0), path.velocity(t1)
        residual = by_time + fl.hamiltonian(system)(t1, q1, by_end)
        return value, residual, by_start + v0, by_end - v1, by_time + fl.energy(system, t1, q1, v1)

    q0, q1 = STARTS[0], ENDS[0]
    value, residual, at_start, at_end, of_energy = slopes(jnp.array([0.0, 0.8]), q0, q1, 1.2)
    np.testing.assert_allclose(value[0], problems.HarmonicOscillator().action(q0, q1, 1.2), rtol=1e-12)
    # the elements resolve the action to round-off, the path's velocity at its ends to the root of that error
    np.testing.assert_allclose(residual, 0, atol=1e-11)
    np.testing.assert_allclose(at_start, 0, atol=1e-8)
    np.testing.assert_allclose(at_end, 0, atol=1e-8)
    np.testing.assert_allclose(of_energy, 0, atol=1e-8)
