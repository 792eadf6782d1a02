"""Coordinates in and out of flat vectors: order, complex leaves, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from fimlag._flat import flatten

MIXED = {"a": jnp.array([1.0 + 2.0j, 3.0 - 4.0j]), "b": 5.0, "c": jnp.array(1j)}


def test_real_leaves_are_in_the_order_of_ravel_pytree():
    tree = {"b": jnp.arange(6.0).reshape(2, 3), "a": (1.0, jnp.array([2.0]))}
    vector, structure = flatten(tree)
    assert jnp.all(vector == ravel_pytree(tree)[0])
    assert structure.size == 8
    assert structure.complex_leaves == ()
    assert flatten(structure.unflatten(vector))[1] == structure


def test_a_complex_leaf_counts_as_its_real_parts_then_its_imaginary_parts():
    vector, structure = flatten(MIXED)
    assert vector.tolist() == [1.0, 3.0, 2.0, -4.0, 5.0, 0.0, 1.0]
    assert structure.size == 7
    back = structure.unflatten(2.0 * vector)
    assert back["a"].tolist() == [2.0 + 4.0j, 6.0 - 8.0j]
    assert (back["b"], back["c"]) == (10.0, 2j)


def test_complex_coordinates_keep_their_precision_under_jit():
    tree = (jnp.ones((2, 2), jnp.complex64), jnp.zeros(3, jnp.float32))
    structure = flatten(tree)[1]

    @jax.jit
    def there_and_back(tree):
        vector = structure.flatten(tree)
        return vector, structure.unflatten(vector)

    vector, back = there_and_back(tree)
    assert vector.dtype == jnp.float32
    assert [leaf.dtype for leaf in back] == [jnp.complex64, jnp.float32]


def test_real_and_complex_coordinates_are_two_structures():
    structure = flatten(jnp.zeros(2))[1]
    with pytest.raises(ValueError, match=r"velocity has structure complex array\(2,\), but array\(2,\)"):
        structure.flatten(jnp.zeros(2, complex), "velocity")
    # As many real numbers, in another order.
    with pytest.raises(ValueError, match="structure"):
        flatten(jnp.zeros(1, complex))[1].flatten(jnp.zeros(2))


@pytest.mark.parametrize("leaf", [np.array([True]), "word", np.array(["a"])])
def test_leaves_that_are_not_numbers_are_refused(leaf):
    with pytest.raises(TypeError):
        flatten([1.0, leaf])


def test_no_coordinates_are_refused():
    for tree in ((), jnp.zeros(0)):
        with pytest.raises(ValueError, match="holds no coordinates"):
            flatten(tree, "theta")
