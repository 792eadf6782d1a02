"""The Cramér-Rao bound: against inverses, transformations, nuisances, bias and constraints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings, strategies as st

import fimlag as fl

ROOT = np.random.default_rng(0).normal(size=(4, 4))
INFORMATION = jnp.asarray(ROOT @ ROOT.T + np.eye(4))


def test_bound_is_the_inverse_of_the_information():
    bound = fl.cramer_rao_bound(INFORMATION)
    # Round-off times a condition number of about 20.
    assert np.max(np.abs(bound @ INFORMATION - np.eye(4))) < 1e-13
    assert jnp.all(bound == bound.T)


def test_integer_information_does_not_round_the_jacobians():
    whole, jacobian = np.array([[2, 1], [1, 1]]), np.array([[0.5, 1.5]])
    # Half integers and an inverse of integers: exact.
    expected = (jacobian @ np.linalg.inv(whole) @ jacobian.T)[0, 0]
    assert abs(fl.cramer_rao_bound(whole, jacobian)[0, 0] - expected) < 1e-14
    assert abs(fl.cramer_rao_bound(whole, 0.5 * jacobian, 0.5 * jacobian)[0, 0] - expected) < 1e-14
    assert jnp.isfinite(fl.cramer_rao_bound(whole, constraint_jacobian=jacobian)).all()


@pytest.mark.parametrize("nuisance", [[1, 3], np.array([False, True, False, True]), np.array([-1, 1])])
def test_nuisance_parameters_give_the_block_of_the_inverse(nuisance):
    expected = np.linalg.inv(INFORMATION)[np.ix_([0, 2], [0, 2])]
    bound = fl.cramer_rao_bound(INFORMATION, nuisance=nuisance)
    assert np.max(np.abs(bound - expected)) < 1e-13
    jacobian = jnp.array([[1.0, 2.0]])
    bound = fl.cramer_rao_bound(INFORMATION, jacobian, nuisance=nuisance)
    assert np.max(np.abs(bound - jacobian @ expected @ jacobian.T)) < 1e-12


def test_transformation_and_bias_act_on_both_sides():
    jacobian, bias = jnp.ones((2, 4)), jnp.arange(8.0).reshape(2, 4)
    expected = (jacobian + bias) @ jnp.linalg.inv(INFORMATION) @ (jacobian + bias).T
    bound = fl.cramer_rao_bound(INFORMATION, jacobian, bias)
    assert jnp.max(jnp.abs(bound - expected)) < 1e-12 * jnp.max(expected)


@settings(max_examples=20)
@given(st.lists(st.floats(-6.0, 6.0), min_size=4, max_size=4))
def test_bound_does_not_depend_on_units(exponents):
    units = 10.0 ** jnp.array(exponents)
    scaled = fl.cramer_rao_bound(INFORMATION * units[:, None] * units[None, :])
    expected = fl.cramer_rao_bound(INFORMATION) / units[:, None] / units[None, :]
    # Diagonal scaling leaves the condition of a Cholesky solve as it is.
    assert jnp.max(jnp.abs(scaled / expected - 1.0)) < 1e-10


@pytest.mark.parametrize(
    "information",
    [jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.ones((2, 2)), jnp.full((2, 2), jnp.nan), jnp.zeros((2, 2))],
)
def test_information_that_is_not_positive_definite_gives_nan(information):
    assert jnp.all(jnp.isnan(fl.cramer_rao_bound(information)))
    assert jnp.all(jnp.isnan(fl.cramer_rao_bound(jnp.ones((3, 3)), nuisance=[0, 1])))
    singular = jnp.array([[1.0, 1.0 / 3.0], [1.0 / 3.0, 1.0 / 9.0]])
    assert jnp.all(jnp.isnan(fl.cramer_rao_bound(singular)))


def test_wrong_shapes_raise():
    wrong = [
        {"information": jnp.ones((2, 3))},
        {"information": INFORMATION, "transform_jacobian": jnp.ones((2, 3))},
        {"information": INFORMATION, "transform_jacobian": jnp.ones((2, 4)), "nuisance": [0]},
        {
            "information": INFORMATION,
            "transform_jacobian": jnp.ones((2, 4)),
            "bias_jacobian": jnp.ones((4, 4)),
        },
        {"information": INFORMATION, "nuisance": [4]},
        {"information": INFORMATION, "nuisance": [0.5]},
        {"information": INFORMATION, "nuisance": [True, False]},
        {"information": INFORMATION, "nuisance": [0, 1, 2, 3]},
    ]
    for arguments in wrong:
        # The annotations, checked in the tests, may refuse a shape before the function does.
        with pytest.raises(Exception, match=r"shape|nuisance|Type-check"):
            fl.cramer_rao_bound(**arguments)


def test_bound_differentiates_as_the_inverse_does():
    gradient = jax.grad(lambda m: jnp.trace(fl.cramer_rao_bound(0.5 * (m + m.T))))(INFORMATION)
    inverse = jnp.linalg.inv(INFORMATION)
    assert jnp.max(jnp.abs(gradient + inverse @ inverse)) < 1e-12


def constrained(information, jacobian):
    """The bound by the null space that scipy finds."""
    free = scipy.linalg.null_space(jacobian)
    return free @ np.linalg.solve(free.T @ information @ free, free.T)


def test_efficient_information_inverts_to_the_block_of_the_inverse():
    expected = np.linalg.inv(np.linalg.inv(INFORMATION)[np.ix_([0, 2], [0, 2])])
    found = fl.efficient_information(INFORMATION, [1, 3])
    assert np.max(np.abs(found - expected)) < 1e-12
    assert jnp.all(fl.efficient_information(INFORMATION, []) == INFORMATION)


def test_constraints_leave_the_bound_of_the_free_directions():
    jacobian = np.array([[1.0, -1.0, 2.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
    bound = fl.cramer_rao_bound(INFORMATION, constraint_jacobian=jnp.asarray(jacobian))
    assert np.max(np.abs(bound - constrained(np.asarray(INFORMATION), jacobian))) < 1e-13
    assert np.max(np.abs(jacobian @ bound)) < 1e-14
    # A constraint never raises the bound.
    assert np.min(np.linalg.eigvalsh(fl.cramer_rao_bound(INFORMATION) - bound)) > -1e-13


def test_a_constraint_on_one_parameter_is_knowing_it():
    known = fl.cramer_rao_bound(INFORMATION, constraint_jacobian=jnp.array([[0.0, 0.0, 5.0, 0.0]]))
    expected = jnp.linalg.inv(jnp.delete(jnp.delete(INFORMATION, 2, 0), 2, 1))
    assert jnp.max(jnp.abs(jnp.delete(jnp.delete(known, 2, 0), 2, 1) - expected)) < 1e-13
    assert jnp.max(jnp.abs(known[2])) < 1e-15


def test_constraints_make_up_for_information_that_is_missing():
    # Counts of a multinomial in d cells, each probability free: their sum must be told.
    probabilities = jnp.array([0.2, 0.3, 0.5])
    bound = fl.cramer_rao_bound(jnp.diag(1.0 / probabilities), constraint_jacobian=jnp.ones((1, 3)))
    covariance = jnp.diag(probabilities) - jnp.outer(probabilities, probabilities)
    assert jnp.max(jnp.abs(bound - covariance)) < 1e-15
    singular = jnp.array([[1.0, 1.0], [1.0, 1.0]])
    bound = fl.cramer_rao_bound(singular, constraint_jacobian=jnp.array([[1.0, -1.0]]))
    assert jnp.max(jnp.abs(bound - 0.25)) < 1e-15
    unseen = jnp.diag(jnp.array([4.0, 0.0]))
    bound = fl.cramer_rao_bound(unseen, constraint_jacobian=jnp.array([[0.0, 1.0]]))
    assert jnp.max(jnp.abs(bound - jnp.diag(jnp.array([0.25, 0.0])))) < 1e-15


def test_constraints_go_together_with_nuisances_transformation_and_bias():
    jacobian, transform = np.array([[1.0, 2.0, 0.0, -1.0]]), np.array([[1.0, 0.5], [0.0, 1.0], [2.0, 0.0]])
    bound = fl.cramer_rao_bound(
        INFORMATION, jnp.asarray(transform), jnp.asarray(0.1 * transform), [1, 3], jnp.asarray(jacobian)
    )
    block = constrained(np.asarray(INFORMATION), jacobian)[np.ix_([0, 2], [0, 2])]
    assert np.max(np.abs(bound - 1.21 * transform @ block @ transform.T)) < 1e-12


@settings(max_examples=10)
@given(st.lists(st.floats(-6.0, 6.0), min_size=5, max_size=5))
def test_constrained_bound_does_not_depend_on_units(exponents):
    *exponents, of_constraint = exponents
    units = 10.0 ** jnp.array(exponents)
    jacobian = jnp.array([[1.0, -1.0, 2.0, 0.5]])
    expected = fl.cramer_rao_bound(INFORMATION, constraint_jacobian=jacobian)
    scaled = fl.cramer_rao_bound(
        INFORMATION * units[:, None] * units[None, :],
        constraint_jacobian=10.0**of_constraint * jacobian * units[None, :],
    )
    error = scaled * units[:, None] * units[None, :] - expected
    # Parameters are scaled to one standard error: round-off as without units.
    assert jnp.max(jnp.abs(error)) < 1e-12


def test_constraints_that_say_the_same_twice_give_nan():
    redundant = jnp.array([[1.0, 1.0 / 3.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]])
    assert jnp.all(jnp.isnan(fl.cramer_rao_bound(INFORMATION, constraint_jacobian=redundant)))
    assert jnp.all(jnp.isnan(fl.cramer_rao_bound(INFORMATION, constraint_jacobian=jnp.zeros((1, 4)))))
    # The free direction (1, 1) is one that carries no information.
    blind = jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    assert jnp.all(jnp.isnan(fl.cramer_rao_bound(blind, constraint_jacobian=jnp.array([[1.0, -1.0]]))))


@pytest.mark.parametrize("shape", [(1, 3), (4, 4), (5, 4), (0, 4), (4,)])
def test_constraints_of_another_shape_raise(shape):
    with pytest.raises(Exception, match=r"constraint_jacobian must have shape|Type-check"):
        fl.cramer_rao_bound(INFORMATION, constraint_jacobian=jnp.ones(shape))


@pytest.mark.slow
def test_derivatives_of_the_constrained_bound_follow_the_constraints():
    def bound(angle):
        jacobian = jnp.stack([jnp.cos(angle), jnp.sin(angle)])[None]
        return fl.cramer_rao_bound(jnp.diag(jnp.array([1.0, 4.0])), constraint_jacobian=jacobian)

    def closed(angle):
        free = jnp.stack([-jnp.sin(angle), jnp.cos(angle)])
        return jnp.outer(free, free) / (free @ (jnp.array([1.0, 4.0]) * free))

    second = jax.jit(lambda angle: jax.jacfwd(jax.jacrev(bound))(angle))
    assert jnp.max(jnp.abs(jax.jit(jax.jacfwd(bound))(0.7) - jax.jacfwd(closed)(0.7))) < 1e-13
    assert jnp.max(jnp.abs(second(0.7) - jax.jacfwd(jax.jacrev(closed))(0.7))) < 1e-13


def test_constrained_bound_keeps_single_precision_under_vmap():
    jacobians = jnp.array([[[1.0, 0.0, 0.0, 1.0]], [[0.0, 1.0, -1.0, 0.0]]], jnp.float32)
    information = INFORMATION.astype(jnp.float32)
    bounds = jax.jit(jax.vmap(lambda c: fl.cramer_rao_bound(information, constraint_jacobian=c)))(jacobians)
    assert bounds.dtype == jnp.float32
    for bound, jacobian in zip(bounds, jacobians, strict=True):
        # Round-off times a condition number of about 20.
        expected = constrained(np.asarray(INFORMATION), np.asarray(jacobian))
        assert np.max(np.abs(np.asarray(bound) - expected)) < 1e-5
