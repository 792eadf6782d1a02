"""The Cramér-Rao bound: against inverses, transformations, nuisances and bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

ROOT = np.random.default_rng(0).normal(size=(4, 4))
INFORMATION = jnp.asarray(ROOT @ ROOT.T + np.eye(4))


def test_bound_is_the_inverse_of_the_information():
    bound = fl.cramer_rao_bound(INFORMATION)
    # Round-off times a condition number of about 20.
    assert np.max(np.abs(bound @ INFORMATION - np.eye(4))) < 1e-13
    assert jnp.all(bound == bound.T)


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
