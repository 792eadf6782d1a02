"""Kernels compute what the loops do, and stand where a GPU will run them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.pallas import triton

from fimlag.integrators._fused import fused
from fimlag.integrators._kernel import Launch
from fimlag.integrators._lane_arithmetic import ELEMENTWISE

STEPS = 20
SHARES = 1 / (2 - 2 ** (1 / 3)), 1 - 2 / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3))
INTERPRETED = Launch(32, interpret=True)
needs_no_device = pytest.mark.skipif(
    hasattr(triton, "get_gpu_info"), reason="this jax lowers a kernel only where it finds a GPU"
)


def interpreted(function, axes=0):
    """The function in lanes, its loops by kernels as far as there can be some without a GPU."""
    return jax.jit(jax.vmap(fused(function, INTERPRETED), axes))


def lowered(function, *args):
    return jax.jit(jax.vmap(fused(function))).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


def force(x, y):
    """That of the potential of Henon and Heiles."""
    return -x - 2 * x * y, y * y - y - x * x


def leapfrog(h, carry):
    x, y, px, py = carry
    x, y = x + h / 2 * px, y + h / 2 * py
    fx, fy = force(x, y)
    px, py = px + h * fx, py + h * fy
    return x + h / 2 * px, y + h / 2 * py, px, py


def composed(h, carry):
    shares = jnp.asarray(np.array(SHARES), h.dtype)
    return lax.scan(lambda carry, share: (leapfrog(share * h, carry), None), carry, shares)[0]


def midpoint(h, carry):
    """Fixed-point iteration for the implicit midpoint rule, of as many turns as the lane needs."""

    def turn(state):
        after, _, count = state
        x, y, px, py = (0.5 * (old + new) for old, new in zip(carry, after, strict=True))
        slopes = px, py, *force(x, y)
        new = tuple(old + h * slope for old, slope in zip(carry, slopes, strict=True))
        change = jnp.maximum(*(abs(new[k] - after[k]) + abs(new[k + 2] - after[k + 2]) for k in range(2)))
        return new, change, count + 1

    def unsettled(state):
        _, change, count = state
        return (change > 4 * jnp.finfo(h.dtype).eps) & (count < 50)

    return lax.while_loop(unsettled, turn, (carry, jnp.ones_like(h), 0))[0]


def starts(lanes, dtype, count=4):
    return tuple(jnp.asarray(np.random.default_rng(0).uniform(-0.3, 0.3, (count, lanes)), dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("step", [leapfrog, composed, midpoint])
def test_a_kernel_makes_the_steps_of_the_loop(step, dtype):
    def rows(h, carry):
        """The states after every fourth step, and the last."""

        def row(carry, _):
            carry = lax.fori_loop(0, 4, lambda _, carry: step(h, carry), carry)
            return carry, carry

        return lax.scan(row, carry, length=STEPS // 4)

    h, carry = jnp.linspace(0.01, 0.1, 40, dtype=dtype), starts(40, dtype)
    ends, expected = (jax.tree.leaves(run(h, carry)) for run in (interpreted(rows), jax.jit(jax.vmap(rows))))
    for end, right in zip(ends, expected, strict=True):
        assert (end.dtype, end.shape) == (right.dtype, right.shape)
        # Some ten roundings a stage, on an orbit that does not amplify them.
        np.testing.assert_allclose(end, right, rtol=0, atol=30 * STEPS * jnp.finfo(dtype).eps)


@pytest.mark.parametrize("lanes", [1, 32, 33])
def test_whole_numbers_and_truth_values_pass_through_a_kernel(lanes):
    def march(first, steps, mine, total, count, parity):
        def step(number, carry):
            total, count, parity = carry
            return total + mine * (number.astype(total.dtype) + 100), count + 1, ~parity

        return lax.fori_loop(first, first + steps, step, (total, count, parity))

    mine, even = 1 + jnp.arange(float(lanes)), jnp.arange(lanes) % 2 == 0
    run = interpreted(march, (None, None, 0, 0, 0, 0))
    total, count, parity = run(3, 5, mine, jnp.zeros(lanes), jnp.arange(lanes), even)
    np.testing.assert_array_equal(total, mine * (5 * 100 + 3 + 4 + 5 + 6 + 7))
    np.testing.assert_array_equal(count, np.arange(lanes) + 5)
    np.testing.assert_array_equal(parity, ~even)


def test_lanes_may_make_different_numbers_of_turns():
    steps = jnp.array([0, 3, 1, 7])
    run = interpreted(lambda steps: lax.fori_loop(0, steps, lambda number, x: x + number, 0))
    np.testing.assert_array_equal(run(steps), steps * (steps - 1) // 2)


def test_what_surrounds_the_loops_is_computed_too():
    def function(point, shared):
        doubled = jnp.concatenate([point, point[::-1]])
        start = jax.jit(jnp.sum)(doubled)
        end, rows = lax.scan(lambda x, k: (x + k, x > 4), start, jnp.arange(3.0), reverse=True)
        end = lax.platform_dependent(end, shared, cpu=lambda x, y: x - y, default=lambda x, y: x + y)
        return {"end": lax.fori_loop(0, 2, lambda _, x: 2 * x, end)}, doubled, rows

    points = jnp.arange(6.0).reshape(3, 2)
    ends, doubled, rows = interpreted(function, (0, None))(points, jnp.asarray(0.5))
    np.testing.assert_array_equal(doubled, jnp.concatenate([points, points[:, ::-1]], axis=1))
    np.testing.assert_array_equal(ends["end"], 4 * (2 * points.sum(axis=1) + 3.5))
    np.testing.assert_array_equal(rows, [[True, False, False], [True, True, True], [True, True, True]])


def once(change):
    """A loop of one turn, to have its body in a kernel."""
    return lambda *values: lax.fori_loop(0, 1, lambda _, carry: change(*carry), values)


def test_what_a_gpu_does_otherwise_is_rewritten_to_what_jax_does():
    def functions(shared, x, y, *_):
        return (
            x,
            y,
            jnp.maximum(x, y),
            jnp.minimum(x, shared),
            jnp.clip(x, -1.0, shared),
            jnp.round(x),
            lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
            1 / -jnp.abs(y),
            lax.cond(x > 0, jnp.sin, jnp.cos, x),
            lax.cond(shared > 0, jnp.sin, jnp.cos, x),
            lax.select_n(jnp.where(x > y, 2, 1), x, y, x + y),
            jnp.where(jnp.maximum(x > 0, y > 0), x, 0.0),
            lax.fori_loop(0, 3, lambda k, z: z * z + k.astype(z.dtype), x),
            lax.platform_dependent(x, cpu=lambda x: -jnp.sin(-x), default=jnp.sin),
            jnp.where(jnp.isfinite(x), jax.nn.softplus(x), shared),
        )

    def turn(shared, *values):
        return once(partial(functions, shared))(*values)

    numbers = jnp.array([0.5, -0.5, 1.5, 2.5, -2.5, 0.3, -7.7, 2.0**52, jnp.nan, jnp.inf, -jnp.inf, 0.0])
    x, y = (grid.ravel() for grid in jnp.meshgrid(numbers, numbers))
    values = jnp.asarray(0.75), x, y, *(jnp.zeros_like(x) for _ in range(13))
    axes = (None, *(0 for _ in values[1:]))
    ends, expected = (run(*values) for run in (interpreted(turn, axes), jax.jit(jax.vmap(turn, axes))))
    for end, right in zip(ends, expected, strict=True):
        # One function, compiled twice: a rounding or two of difference.
        np.testing.assert_allclose(end, right, rtol=1e-15)


def test_the_greater_of_a_number_and_nan_is_nan_though_a_gpu_drops_it(monkeypatch):
    monkeypatch.setattr(lax, "max", jnp.fmax)
    monkeypatch.setattr(lax, "min", jnp.fmin)
    x, y = jnp.array([1.0, jnp.nan, 2.0]), jnp.array([jnp.nan, 1.0, 3.0])
    greater, smaller = interpreted(once(lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y))))(x, y)
    np.testing.assert_array_equal(greater, [jnp.nan, jnp.nan, 3.0])
    np.testing.assert_array_equal(smaller, [jnp.nan, jnp.nan, 2.0])


SECOND = {"add": lax.add, "sub": lax.sub, "mul": lax.mul, "div": lax.div, "pow": lax.pow, "atan2": lax.atan2}
SECOND |= {"nextafter": lax.nextafter, "add_any": lax.add}
TRUTHS = {"eq": lax.eq, "ne": lax.ne, "lt": lax.lt, "le": lax.le, "gt": lax.gt, "ge": lax.ge}
LOGIC = {"and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor}


@needs_no_device
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_all_that_passes_as_elementwise_lowers_for_cuda(dtype):
    firsts = {name: getattr(lax, name) for name in ELEMENTWISE - SECOND.keys() - TRUTHS.keys() - LOGIC.keys() - {"not"}}
    firsts |= {"integer_pow": lambda x: lax.integer_pow(x, -3), "not": lambda x: lax.bitwise_not(x > 0).astype(x.dtype)}
    firsts["convert_element_type"] = lambda x: x.astype(jnp.int32).astype(x.dtype)
    firsts["is_finite"] = lambda x: lax.is_finite(x).astype(x.dtype)

    def everything(x, y, *_):
        ones = [function(x) for function in firsts.values()]
        twos = [function(x, y) for function in SECOND.values()]
        truths = [function(x, y) for function in TRUTHS.values()]
        logic = [function(x > 0, y > 0) for function in LOGIC.values()]
        return x, y, *ones, *twos, *(truth.astype(x.dtype) for truth in (*truths, *logic))

    count = 2 + len(firsts) + len(SECOND) + len(TRUTHS) + len(LOGIC)
    text = lowered(once(everything), *starts(3, dtype, count))
    assert "triton" in text
    assert "while" not in text


@pytest.mark.parametrize(
    "change",
    [
        lax.lgamma,
        lax.erf,
        lambda x: x % 2.0,
        lambda x: jnp.sum(jnp.stack([x, x])),
        lambda x: lax.scan(lambda z, _: (z, z), x, length=3)[1][-1],
        lambda x: jnp.arange(3.0)[lax.convert_element_type(x, int)],
    ],
    ids=["lgamma", "erf", "rem", "arrays", "rows", "gather"],
)
def test_a_loop_that_no_kernel_can_compute_stays_a_loop(change):
    run, (x,) = once(lambda x: (change(x),)), starts(3, "float64", 1)
    text = lowered(run, x)
    assert "triton" not in text
    assert "while" in text
    np.testing.assert_array_equal(jax.vmap(fused(run))(x)[0], jax.vmap(run)(x)[0])
    with pytest.raises(NotImplementedError, match="A kernel has no"):
        interpreted(run)(x)


def test_a_loop_of_arrays_stays_a_loop():
    def run(point):
        return lax.fori_loop(0, 3, lambda _, point: 2 * point, point)

    assert "triton" not in lowered(run, jnp.ones((3, 2)))
    np.testing.assert_array_equal(jax.vmap(fused(run))(jnp.ones((3, 2))), 8 * jnp.ones((3, 2)))
