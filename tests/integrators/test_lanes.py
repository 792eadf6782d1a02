"""Lanes in blocks are computed as each alone would be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fimlag.integrators._lanes import blocks, in_blocks, lanes_in_cache


def powers(x, count):
    """Whole numbers, which no rounding blurs, and rows of them."""
    return lax.scan(lambda y, _: (2 * y, y), x, length=3)[1], {"sum": x + count}


@pytest.mark.parametrize(("lanes", "block"), [(1, 4), (4, 4), (5, 4), (7, 2), (9, 8), (12, 4), (2000, None)])
def test_no_lane_is_lost_whatever_the_block(lanes, block):
    x = jnp.arange(float(lanes))
    rows, after = in_blocks(powers, (True, False), x, jnp.asarray(100.0), block=block)
    np.testing.assert_array_equal(rows, np.outer(np.arange(lanes), [1, 2, 4]))
    np.testing.assert_array_equal(after["sum"], np.arange(lanes) + 100)


def test_shared_arguments_may_come_before_and_between():
    def product(matrix, x, shift):
        return matrix @ x + shift

    turn, points = jnp.array([[0.0, -1.0], [1.0, 0.0]]), jnp.arange(14.0).reshape(7, 2)
    turned = in_blocks(product, (False, True, False), turn, points, jnp.array([0.0, 1.0]), block=3)
    np.testing.assert_array_equal(turned, points @ turn.T + jnp.array([[0.0, 1.0]]))


def test_lanes_that_fill_a_block_hold_numbers_that_were_given():
    seen = set()

    def spy(x, k):
        jax.debug.callback(lambda x, k: seen.add((float(x), float(k))), x, k)
        return x

    numbers = jnp.arange(5.0) + 1
    jax.block_until_ready(in_blocks(spy, (True, True), numbers, 10 * numbers, block=4))
    jax.effects_barrier()
    assert seen == {(n, 10 * n) for n in (1.0, 2.0, 3.0, 4.0, 5.0)}


def test_a_block_is_smaller_where_more_numbers_are_in_a_lane():
    def lanes(count, dtype, *axes):
        return lanes_in_cache([jnp.zeros((3, *axes), dtype) for _ in range(count)])

    assert lanes(4, "float64") == lanes(2, "float64", 2) == 512
    assert lanes(4, "float32") == 1024
    assert lanes(12, "float64") == 170
    # fewer lanes are written out as numbers, which takes longer than to fetch more from the next cache
    assert lanes(100, "float64") == lanes(2, "float64", 100) == 64
    assert lanes(1, "float64", 100, 100) == 3
    assert lanes(1, "float64", 200, 200) == 1


def test_few_lanes_are_one_block_without_a_loop_over_blocks():
    def loops(lanes):
        run = jax.make_jaxpr(lambda x: in_blocks(jnp.sin, (True,), x))
        return str(run(jnp.zeros(lanes))).count("scan[")

    assert loops(2048) == 0
    assert loops(2049) == 1


@pytest.mark.parametrize("block", [1, 4, 1000, 1024])
def test_blocks_hold_every_lane(block):
    for lanes in (*range(1, 40), 256, 512, 1000, 1024, 10_000, 10_240, 2**20):
        for whole in (1, 16):
            count, size = blocks(lanes, block, whole)
            assert (count - 1) * size < lanes <= count * size
            assert size < block + 2 * whole


def test_many_blocks_fill_vectors_and_are_nowhere_powers_of_two_apart():
    for lanes in (1025, 10_000, 10_240, 2**20):
        for block in (16, 64, 170, 512, 1024):
            size = blocks(lanes, block, 16)[1]
            assert size % 16 == 0
            assert size % 256 != 0
