"""Small dense solves: pivoting, singular matrices, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fimlag._linear import solve


@pytest.mark.parametrize("size", [1, 2, 3, 6, 9])
def test_solve_inverts_random_matrices(size):
    rng = np.random.default_rng(size)
    matrices = rng.normal(size=(50, size, size))
    inverses = jax.vmap(lambda matrix: solve(matrix, jnp.eye(size)))(matrices)
    # round-off times the condition number, with room for the growth of pairwise pivoting
    tolerance = 100 * np.finfo(float).eps * np.linalg.cond(matrices)
    errors = np.max(np.abs(matrices @ np.asarray(inverses) - np.eye(size)), axis=(1, 2))
    assert np.all(errors < tolerance)


def test_solve_takes_an_indefinite_matrix_with_zero_diagonal():
    light_cone = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    assert solve(light_cone, jnp.array([1.0, 2.0])).tolist() == [2.0, 1.0]


@pytest.mark.parametrize("size", [2, 3, 7])
def test_solve_of_a_singular_matrix_is_nan(size):
    factor = np.random.default_rng(0).normal(size=(size, size - 1))
    assert np.all(np.isnan(solve(jnp.asarray(factor @ factor.T), jnp.ones(size))))


def test_solve_judges_singularity_whatever_the_units():
    units = jnp.array([1.0, 1e-12, 1e9])
    matrix = jnp.array([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    scaled = matrix * units[:, None] * units[None, :]
    solution = solve(scaled, jnp.array([1.0, 0.0, 0.0]) * units) * units
    # [3, -2, 1] / 4 is the first column of the inverse; round-off
    np.testing.assert_allclose(solution, [0.75, -0.5, 0.25], rtol=1e-14)


def test_a_singular_member_of_a_batch_stays_alone():
    batch = jnp.stack([jnp.eye(2), jnp.ones((2, 2)), 2 * jnp.eye(2)])
    solutions = jax.vmap(lambda matrix: solve(matrix, jnp.ones(2)))(batch)
    assert np.isnan(solutions).all(axis=1).tolist() == [False, True, False]


def test_derivatives_of_a_solve_are_further_solves():
    matrix, rhs = jnp.array([[3.0, 1.0], [1.0, 2.0]]), jnp.array([1.0, -1.0])

    def value(scale):
        return solve(scale * matrix, rhs)[0]

    # x(s) = x(1) / s: first derivative -x, second 2 x
    at_one = value(1.0)
    np.testing.assert_allclose(jax.grad(value)(1.0), -at_one, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(jax.grad(value))(1.0), 2 * at_one, rtol=1e-14)
    np.testing.assert_allclose(jax.jacfwd(jax.jacrev(value))(1.0), 2 * at_one, rtol=1e-14)
