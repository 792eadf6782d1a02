"""Small linear systems are solved by arithmetic as the program solves them, and refused where it refuses them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from jax import lax

from fimlag._linear import solve
from fimlag._scalarise import scalarised


def symmetric(matrix):
    """The same numbers on both sides of the diagonal, as of a Hessian."""
    lower = jnp.tril(matrix)
    return lower + jnp.tril(matrix, -1).T


def systems(size, definite=True):
    rng = np.random.default_rng(size)
    factor = rng.normal(size=(size, size))
    matrix = factor @ factor.T + np.eye(size) if definite else factor + factor.T
    return jnp.asarray(matrix), jnp.asarray(rng.normal(size=size))


def by_symmetric(matrix, right):
    return solve(symmetric(matrix), right)


CASES = {f"definite {size}": (by_symmetric, *systems(size)) for size in (1, 2, 3, 5, 6, 8)}
CASES |= {f"indefinite {size}": (by_symmetric, *systems(size, definite=False)) for size in (2, 3, 5)}
CASES |= {
    "unsymmetric": (solve, *systems(3, definite=False)),
    "many sides": (lambda m, r: by_symmetric(m, jnp.outer(r, jnp.arange(1.0, 4.0))), *systems(3)),
    "two and many sides": (lambda m, r: by_symmetric(m, jnp.outer(r, jnp.arange(1.0, 4.0))), *systems(2)),
    "no diagonal": (lambda m, r: by_symmetric(m * (1 - jnp.eye(2)), r), *systems(2)),
    "blocks": (
        lambda m, r: by_symmetric(
            jnp.zeros((6, 6)).at[:3, :3].set(m).at[3:5, 3:5].set(m[:2, :2]).at[5, 5].set(2.0), jnp.tile(r, 2)
        ),
        *systems(3),
    ),
    "batched": (lambda m, r: jax.vmap(lambda s: by_symmetric(s * m, r))(jnp.arange(1.0, 4.0)), *systems(3)),
    "of the library": (lambda m, r: jnp.linalg.solve(symmetric(m), r), *systems(3)),
    "complex": (lambda m, r: jnp.linalg.solve(lax.complex(symmetric(m), jnp.eye(2)), r.astype(complex)), *systems(2)),
}


def test_systems_have_the_solutions_of_the_program(compare):
    compare(CASES, ulps=1000)  # conditions up to some hundreds


def test_derivatives_of_solutions_are_those_of_the_program(compare):
    chosen = {name: CASES[name] for name in ("definite 2", "definite 3", "indefinite 3", "unsymmetric")}
    compare(chosen, lambda function: jax.jacfwd(jax.jacrev(function)), ulps=1e5)  # conditions up to a hundred, cubed


SINGULAR = [
    np.zeros((1, 1)),
    np.full((1, 1), np.inf),
    np.full((1, 1), np.nan),
    np.ones((2, 2)),
    np.zeros((2, 2)),
    np.diag([1.0, 0.0]),
    np.diag([np.inf, 1.0]),
    np.array([[1e-30, 2e-30], [2e-30, 4e-30]]),
    np.ones((3, 3)),
    np.diag([1.0, 2.0, np.nan]),
    np.array([[1.0, 2, 3], [2, 4, 6], [3, 6, 10]]),
]
REGULAR = [
    np.full((1, 1), 1e-300),
    np.full((1, 1), -3.0),
    np.array([[0.0, 1.0], [1.0, 0.0]]),
    np.diag([1e-12, 1e9]),
    np.array([[1.0, 1.0], [1.0, 1.0 + 1e-13]]),
    np.diag([1e-12, 1.0, 1e12]),
    np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]),
]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_singular_systems_are_refused_as_the_program_refuses_them(size):
    matrices = [matrix for matrix in SINGULAR + REGULAR if len(matrix) == size]
    regular = [any(matrix is each for each in REGULAR) for matrix in matrices]
    batch, right = jnp.asarray(np.stack(matrices)), jnp.ones(size)
    for by in (lambda function: function, scalarised):
        solutions = jax.jit(jax.vmap(by(lambda matrix: by_symmetric(matrix, right))))(batch)
        assert np.isfinite(solutions).all(axis=1).tolist() == regular
        assert np.isnan(solutions).any(axis=1).tolist() == [not each for each in regular]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_unknowns_are_found_to_their_condition_whatever_the_units(dtype):
    eps, rng = float(jnp.finfo(dtype).eps), np.random.default_rng(0)
    run = jax.jit(jax.vmap(scalarised(by_symmetric)))
    ratios = rng.uniform(0.0, 1 - 1e-3, 200)
    units = 10.0 ** rng.uniform(-15, 15, (200, 2))
    off = ratios * units[:, 0] * units[:, 1]
    matrices = np.stack([units[:, 0] ** 2, off, off, units[:, 1] ** 2], -1).reshape(-1, 2, 2).astype(dtype)
    right = units.astype(dtype)
    found = np.asarray(run(jnp.asarray(matrices), jnp.asarray(right)))
    for (a, b, c, d), side, solution, ratio, unit in zip(
        matrices.reshape(-1, 4), right, found, ratios, units, strict=True
    ):
        (a, b, c, d), (first, second) = map(Fraction, map(float, (a, b, c, d))), map(Fraction, map(float, side))
        exact = (d * first - b * second) / (a * d - b * c), (a * second - c * first) / (a * d - b * c)
        errors = [abs(float(x) - float(y)) * u for x, y, u in zip(solution, exact, unit, strict=True)]
        assert max(errors) < 8 * eps / (1 - ratio**2)  # the condition once the units are taken out


def test_ill_conditioned_systems_are_solved_to_their_condition():
    hilbert = np.array([[1 / (i + j + 1) for j in range(5)] for i in range(5)])
    found = jax.jit(scalarised(by_symmetric))(jnp.asarray(hilbert), jnp.ones(5))
    with mp.workdps(40):
        exact = [float(x) for x in mp.lu_solve(mp.matrix(hilbert.tolist()), mp.ones(5, 1))]
    condition = np.linalg.cond(hilbert)  # 5e5
    np.testing.assert_allclose(found, exact, rtol=4 * condition * np.finfo(float).eps)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_no_system_is_left_to_a_library(size):
    text = str(jax.make_jaxpr(scalarised(by_symmetric))(*systems(size)))
    assert "custom_linear_solve" not in text
    assert "dot_general" not in text
