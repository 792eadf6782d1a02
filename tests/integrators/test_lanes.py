"""Many trajectories side by side make the steps that each would make alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fimlag.integrators._lanes import _blocks, lane_loop, lanes_in_cache

STEPS = 20


def leapfrog(number, carry, constants):
    """Drift, kick, drift in the potential of Henon and Heiles."""
    x, y, px, py = carry
    (h,) = constants
    x, y = x + h / 2 * px, y + h / 2 * py
    px, py = px - h * (x + 2 * x * y), py - h * (y + x * x - y * y)
    return x + h / 2 * px, y + h / 2 * py, px, py


def starts(lanes, dtype):
    return tuple(np.random.default_rng(0).uniform(-0.3, 0.3, (4, lanes)).astype(dtype))


def counted(number, carry, constants):
    """Sums of whole numbers, which no rounding blurs."""
    mine, every = constants
    total, steps = carry
    return total + mine * (number.astype(total.dtype) + every), steps + 1


@pytest.mark.parametrize(("dtype", "lanes", "block"), [("float64", 10, 4), ("float32", 3, None)])
def test_each_lane_makes_the_steps_of_its_own_trajectory(dtype, lanes, block):
    start = starts(lanes, dtype)
    h = np.linspace(0.01, 0.1, lanes).astype(dtype)
    run = jax.jit(lambda carry, h, steps: lane_loop(leapfrog, 0, carry, (h,), steps, block))
    ends = run(jax.tree.map(jnp.asarray, start), jnp.asarray(h), STEPS)
    expected = start
    for number in range(STEPS):
        expected = leapfrog(number, expected, (h,))
    for end, right in zip(ends, expected, strict=True):
        assert (end.dtype, end.shape) == (dtype, (lanes,))
        # Some ten roundings a step, on an orbit that does not amplify them.
        np.testing.assert_allclose(end, right, rtol=0, atol=10 * STEPS * np.finfo(dtype).eps)


@pytest.mark.parametrize(("lanes", "block"), [(0, 4), (1, 4), (4, 4), (5, 4), (7, 2), (9, 8), (12, 4)])
def test_no_lane_is_lost_whatever_the_block(lanes, block):
    mine, first, steps = 1 + jnp.arange(float(lanes)), 3, 5
    total, count = lane_loop(counted, first, (jnp.zeros(lanes), mine.astype(int)), (mine, 100.0), steps, block)
    np.testing.assert_array_equal(total, mine * (5 * 100 + 3 + 4 + 5 + 6 + 7))
    np.testing.assert_array_equal(count, np.arange(lanes) + 6)


def test_no_step_leaves_the_carry_as_it_is():
    carry = (jnp.arange(6.0), jnp.arange(6))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, lane_loop(counted, 0, carry, (1.0, 1.0), 0, 4), carry))


def test_leaves_may_have_further_axes():
    turn = jnp.array([[0.0, -1.0], [1.0, 0.0]])
    points = jnp.arange(14.0).reshape(7, 2)
    (turned,) = lane_loop(lambda number, carry, constants: (turn @ carry[0],), 0, (points,), (), 2, 3)
    np.testing.assert_array_equal(turned, -points)


def test_lanes_that_fill_a_block_hold_numbers_that_were_given():
    seen = set()

    def step(number, carry, constants):
        jax.debug.callback(lambda x, k: seen.add((float(x), float(k))), carry[0], constants[0])
        return carry

    numbers = jnp.arange(5.0) + 1
    jax.block_until_ready(lane_loop(step, 0, (numbers,), (10 * numbers,), 1, 4))
    jax.effects_barrier()
    assert seen == {(n, 10 * n) for n in (1.0, 2.0, 3.0, 4.0, 5.0)}


def test_a_block_is_smaller_where_its_carry_is_larger():
    def lanes(count, dtype, *axes):
        return lanes_in_cache(tuple(jnp.zeros((3, *axes), dtype) for _ in range(count)))

    assert lanes(4, "float64") == lanes(10, "float64") == 1000
    assert lanes(4, "float32") == 2000
    assert lanes(64, "float64") == 512
    assert lanes(1, "float64", 100, 100) == 1


def test_a_short_ensemble_is_one_block_without_a_loop_over_blocks():
    def loops(lanes):
        carry = jax.tree.map(jnp.asarray, starts(lanes, "float64"))
        return str(jax.make_jaxpr(lambda c: lane_loop(leapfrog, 0, c, (0.1,), jnp.int32(STEPS)))(carry)).count("scan[")

    assert loops(1000) == 0
    assert loops(1001) == 1


@pytest.mark.parametrize("block", [1, 4, 1000, 1024])
def test_blocks_hold_every_lane_and_are_nowhere_powers_of_two_apart(block):
    for lanes in (*range(1, 40), 256, 512, 1000, 1024, 10_000, 10_240, 2**20):
        count, size = _blocks(lanes, block)
        assert (count - 1) * size < lanes <= count * size
        assert size <= block + 8
        assert size % 256 != 0
