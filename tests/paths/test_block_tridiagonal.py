"""Block elimination against dense linear algebra."""

import jax.numpy as jnp
import numpy as np
import pytest

from fimlag.paths._block_tridiagonal import CondensedElements, invert_symmetric


def random_elements(elements, degree, d, shift, seed=0):
    rng = np.random.default_rng(seed)
    size = (degree + 1) * d
    blocks = rng.normal(size=(elements, size, size))
    blocks = blocks + blocks.swapaxes(1, 2) + shift * np.eye(size)
    return blocks.reshape(elements, degree + 1, d, degree + 1, d)


def assembled(blocks):
    elements, nodes, d = blocks.shape[:3]
    degree = nodes - 1
    total = elements * degree + 1
    matrix = np.zeros((total, d, total, d))
    for e in range(elements):
        at = slice(e * degree, e * degree + nodes)
        matrix[at, :, at] += blocks[e]
    return matrix[1:-1, :, 1:-1].reshape((total - 2) * d, -1)


@pytest.mark.parametrize(("elements", "degree", "d"), [(4, 8, 2), (1, 3, 2), (2, 1, 3), (5, 1, 2), (3, 2, 1)])
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_solution_and_inertia_agree_with_dense(elements, degree, d, shift):
    blocks = random_elements(elements, degree, d, shift)
    dense = assembled(blocks)
    factor = CondensedElements(jnp.asarray(blocks))
    right = np.random.default_rng(1).normal(size=(elements * degree - 1, d))
    solution = np.asarray(factor.solve(jnp.asarray(right))).ravel()
    # no pivoting: an indefinite matrix loses what its smallest pivot takes
    np.testing.assert_allclose(dense @ solution, right.ravel(), atol=1e-8 if shift == 0 else 1e-13)
    assert int(factor.negative_directions()) == int(np.sum(np.linalg.eigvalsh(dense) < 0))


def test_inverse_of_a_definite_matrix_is_accurate():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 12))
    matrix = root @ root.T + 0.1 * np.eye(12)
    inverse, pivots = invert_symmetric(jnp.asarray(matrix))
    np.testing.assert_allclose(inverse @ matrix, np.eye(12), atol=1e-11)
    np.testing.assert_allclose(np.prod(pivots), np.linalg.det(matrix), rtol=1e-11)


def test_singular_matrix_is_not_given_an_index():
    blocks = np.zeros((2, 3, 1, 3, 1))
    assert int(CondensedElements(jnp.asarray(blocks)).negative_directions()) == -1
