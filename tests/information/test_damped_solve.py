"""Damped systems: both methods solve them, say how well, and differentiate as the matrix does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag.information import _damped_solve

NORMAL = fl.families.Normal()
INPUTS = jax.random.normal(jax.random.key(0), (12, 30))
THETA = {"bias": jnp.array(0.1), "weights": 0.3 * jax.random.normal(jax.random.key(1), (30,))}
RHS = {"bias": jnp.array(1.0), "weights": jnp.cos(jnp.arange(30.0))}
METHODS = {"rows": fl.SampleSpace(), "products": fl.ConjugateGradient(rtol=1e-11)}


def predict(theta, x):
    return jnp.stack([jnp.tanh(x @ theta["weights"] + theta["bias"]), jnp.ones((), x.dtype)])


MODEL = fl.ConditionalModel(predict, NORMAL, INPUTS)


def flat(tree):
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree_util.tree_leaves(tree)])


def by_matrix(theta, rhs, damping):
    matrix = fl.fisher_information(MODEL, theta)
    return jnp.linalg.solve(matrix + damping * jnp.eye(31), flat(rhs))


@eqx.filter_jit
def solved(theta, rhs, damping, method=None, model=MODEL):
    return fl.damped_solve(fl.fisher_operator(model, theta, throw=False), rhs, damping, method, throw=False)


def route(model):
    return eqx.filter_eval_shape(solved, THETA, RHS, 1e-2, None, model).route


@pytest.mark.parametrize("name", METHODS)
def test_solution_and_its_derivatives_are_those_of_the_matrix(name):
    def ours(theta, rhs, damping):
        return flat(solved(theta, rhs, damping, METHODS[name]).value)

    def everything(function):
        primals = (THETA, RHS, jnp.array(1e-3))
        forward = jax.jvp(function, primals, (RHS, THETA, jnp.array(0.1)))
        backward = jax.vjp(function, *primals)[1](jnp.sin(jnp.arange(31.0)))
        second = jax.grad(lambda s: jax.grad(lambda d: jnp.sum(function(THETA, RHS, d)))(s))(primals[2])
        return *forward, flat(backward), second

    found, expected = jax.jit(lambda: everything(ours))(), jax.jit(lambda: everything(by_matrix))()
    for a, b in zip(found, expected, strict=True):
        # A residual of 1e-11 is an error of at most that times the condition number, 3e4.
        assert jnp.max(jnp.abs(a - b)) < 3e-7 * jnp.max(jnp.abs(b))
    solution = solved(THETA, RHS, 1e-3, METHODS[name])
    assert solution.succeeded
    assert solution.residual < 2e-11
    assert jax.tree_util.tree_structure(solution.value) == jax.tree_util.tree_structure(RHS)


def test_few_rows_are_solved_in_their_own_space_and_many_by_products(monkeypatch):
    many = fl.ConditionalModel(predict, NORMAL, jnp.concatenate([INPUTS, -INPUTS, 2.0 * INPUTS]))
    assert route(MODEL) == "SampleSpace"
    assert route(many) == "ConjugateGradient"
    monkeypatch.setattr(_damped_solve, "STORED", 0)
    large = fl.ConditionalModel(predict, NORMAL, INPUTS[:7])
    assert route(large) == "ConjugateGradient"


def test_kernel_by_products_is_that_of_the_rows(monkeypatch):
    stored = solved(THETA, RHS, 1e-3, fl.SampleSpace())
    monkeypatch.setattr(_damped_solve, "STORED", 0)
    again = fl.ConditionalModel(lambda theta, x: predict(theta, x), NORMAL, INPUTS)
    columns = solved(THETA, RHS, 1e-3, fl.SampleSpace(), again)
    assert columns.succeeded
    # The Cholesky factor loses the condition number 3e4, refinement regains it.
    assert jnp.max(jnp.abs(flat(columns.value) - flat(stored.value))) < 1e-11 * jnp.max(jnp.abs(flat(stored.value)))


def test_a_batch_of_systems_is_solved_member_by_member():
    dampings = jnp.array([1e-3, 1e-1, 10.0])
    expected = jax.jit(jax.vmap(by_matrix, (None, None, 0)))(THETA, RHS, dampings)
    for method in METHODS.values():
        batch = jax.vmap(lambda damping, method=method: solved(THETA, RHS, damping, method))(dampings)
        found = jax.vmap(flat)(batch.value)
        assert jnp.all(batch.succeeded)
        errors = jnp.max(jnp.abs(found - expected), axis=1) / jnp.max(jnp.abs(expected), axis=1)
        assert jnp.all(errors < 1e-8)


def test_steps_that_do_not_suffice_are_reported():
    solution = solved(THETA, RHS, 1e-6, fl.ConjugateGradient(max_steps=3))
    assert solution.result == fl.RESULTS.inaccurate_solution
    assert solution.iterations == 3
    assert solution.residual > 1e-8
    poisson = fl.fisher_operator(fl.families.Poisson(), 4.0)
    with pytest.raises(Exception, match="max_steps"):
        fl.damped_solve(poisson, 1.0, 1e-6, fl.ConjugateGradient(max_steps=0))


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_a_tiny_or_huge_right_hand_side_is_solved_in_single_precision(size):
    # its square is zero, or infinite
    operator = fl.fisher_operator(NORMAL, jnp.array([0.0, 0.5], jnp.float32))
    solution = fl.damped_solve(operator, jnp.array([5.0 * size, 9.0 * size], jnp.float32), 1.0)
    np.testing.assert_allclose(np.asarray(solution.value, float) / size, 1.0, rtol=1e-3)


def test_a_bad_damping_or_right_hand_side_is_refused():
    operator = fl.fisher_operator(fl.families.Poisson(), jnp.array(4.0))
    for damping in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="damping"):
            fl.damped_solve(operator, jnp.array(1.0), damping)
    with pytest.raises(TypeError, match="operator"):
        fl.damped_solve(jnp.eye(2), jnp.ones(2), 1.0)  # pyright: ignore[reportArgumentType]
    assert solved(THETA, RHS, jnp.array(-1.0)).result == fl.RESULTS.nonfinite
    with pytest.raises(ValueError, match="structure"):
        fl.damped_solve(operator, jnp.ones(31), 1.0)
    nothing = solved(THETA, jax.tree_util.tree_map(jnp.zeros_like, RHS), 1e-3, fl.ConjugateGradient())
    assert nothing.succeeded
    assert jnp.all(flat(nothing.value) == 0.0)


def test_a_failed_expectation_is_the_result_of_its_systems():
    bad = fl.StatisticalModel(NORMAL.log_likelihood, fl.Quadrature(-jnp.inf, jnp.inf, nodes=9))
    solution = solved(jnp.array([0.0, 0.5]), jnp.ones(2), 1.0, fl.SampleSpace(), bad)
    assert solution.result == fl.RESULTS.poor_quadrature


def test_single_precision_solves_with_many_parameters():
    # lineax would take curvatures below 100 d eps = 2.4 for a breakdown here.
    inputs = 0.01 * jax.random.normal(jax.random.key(2), (6, 200_000), jnp.float32)
    model = fl.ConditionalModel(lambda t, x: jnp.stack([x @ t, jnp.ones((), x.dtype)]), NORMAL, inputs)
    theta = jnp.zeros(200_000, jnp.float32)
    rhs = jnp.cos(jnp.arange(200_000, dtype=jnp.float32))
    for method in (fl.SampleSpace(), fl.ConjugateGradient(rtol=1e-5)):
        solution = solved(theta, rhs, 1.0, method, model)
        assert solution.residual < 2e-5
        assert solution.value.dtype == jnp.float32
