"""Block elimination against dense linear algebra."""

import jax.numpy as jnp
import numpy as np
import pytest

from fimlag.paths._block_tridiagonal import CondensedElements, invert_symmetric


def random_elements(elements, degree, d, shift, lanes=2, seed=0):
    """Symmetric element matrices, their nodes from left to right: (lanes, elements, nodes, d, nodes, d)."""
    rng = np.random.default_rng(seed)
    size = (degree + 1) * d
    blocks = rng.normal(size=(lanes, elements, size, size))
    blocks = blocks + blocks.swapaxes(2, 3) + shift * np.eye(size)
    return blocks.reshape(lanes, elements, degree + 1, d, degree + 1, d)


def condensed(blocks):
    lanes, elements, nodes, d = blocks.shape[:4]
    order = [*range(1, nodes - 1), 0, nodes - 1]
    matrices = blocks[:, :, order][:, :, :, :, order].reshape(lanes, elements, nodes * d, nodes * d)
    return CondensedElements(jnp.asarray(matrices.transpose(2, 3, 1, 0)), d)


def assembled(blocks):
    elements, nodes, d = blocks.shape[:3]
    degree = nodes - 1
    total = elements * degree + 1
    matrix = np.zeros((total, d, total, d))
    for e in range(elements):
        at = slice(e * degree, e * degree + nodes)
        matrix[at, :, at] += blocks[e]
    return matrix[1:-1, :, 1:-1].reshape((total - 2) * d, -1)


@pytest.mark.parametrize(
    ("elements", "degree", "d"), [(4, 8, 2), (40, 8, 2), (1, 3, 2), (2, 1, 3), (5, 1, 2), (3, 2, 1), (6, 2, 5)]
)
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_solution_and_inertia_agree_with_dense(elements, degree, d, shift):
    blocks = random_elements(elements, degree, d, shift)
    factor = condensed(blocks)
    right = np.random.default_rng(1).normal(size=(elements * degree - 1, d, len(blocks)))
    solution, indices = np.asarray(factor.solve(jnp.asarray(right))), factor.negative_directions()
    for lane, block in enumerate(blocks):
        dense = assembled(block)
        # no pivoting: an indefinite matrix loses what its smallest pivot takes
        found = dense @ solution[..., lane].ravel()
        np.testing.assert_allclose(found, right[..., lane].ravel(), atol=1e-8 if shift == 0 else 1e-13)
        assert int(indices[lane]) == int(np.sum(np.linalg.eigvalsh(dense) < 0))


@pytest.mark.parametrize("size", [3, 12])
def test_inverse_of_a_definite_matrix_is_accurate(size):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, size, size))
    matrices = root @ root.swapaxes(1, 2) + 0.1 * np.eye(size)
    inverses, pivots = invert_symmetric(jnp.asarray(matrices.transpose(1, 2, 0)))
    for lane, matrix in enumerate(matrices):
        np.testing.assert_allclose(inverses[..., lane] @ matrix, np.eye(size), atol=1e-11)
        np.testing.assert_allclose(np.prod(pivots[:, lane]), np.linalg.det(matrix), rtol=1e-11)


def test_singular_matrix_is_not_given_an_index():
    assert int(condensed(np.zeros((1, 2, 3, 1, 3, 1))).negative_directions()[0]) == -1
