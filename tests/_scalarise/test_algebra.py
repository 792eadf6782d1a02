"""Simplified formulas have the values of the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax import lax

from fimlag._scalarise import scalarised

WILD = np.array([0.0, -0.0, 1.0, -2.5, 1e-9, 3e7, np.inf, -np.inf, np.nan])
CONSTANTS = [0.0, 1.0, -1.0, 2.0, -0.5, 3.0, 256.0, 1 / 256, 1e5]
# No divisor is zero: the sign of a structural zero is lost, and with it that of the infinity.
BINARY = [lax.add, lax.sub, lax.mul, lambda x, y: x / (1 + y * y), lax.max, lax.min]
UNARY = [
    lax.neg,
    lax.abs,
    jnp.square,
    lambda x: x**3,
    lambda x: (2 + x * x) ** -2,
    jnp.sin,
    lambda x: jnp.where(x > 1, x, 2 * x),
]


def expressions():
    """Functions of two numbers: trees of operations, with constants and repeated parts."""
    leaves = st.sampled_from([lambda x, y: x, lambda x, y: y]) | st.sampled_from(CONSTANTS).map(
        lambda c: lambda x, y: jnp.asarray(c, x.dtype)
    )

    def grown(parts):
        unary = st.tuples(st.sampled_from(UNARY), parts).map(lambda p: lambda x, y: p[0](p[1](x, y)))
        binary = st.tuples(st.sampled_from(BINARY), parts, parts).map(
            lambda p: lambda x, y: p[0](p[1](x, y), p[2](x, y))
        )
        twice = st.tuples(st.sampled_from(BINARY), parts, st.sampled_from(CONSTANTS)).map(
            lambda p: lambda x, y: p[0](p[1](x, y), p[2] * p[1](x, y))
        )
        return unary | binary | twice

    return st.recursive(leaves, grown, max_leaves=12)


@settings(max_examples=5)
@given(st.lists(expressions(), min_size=10, max_size=10))
def test_formulas_have_the_values_of_formulas_as_written(functions):
    points = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (2, 8)))

    def values(by):
        return jax.jit(lambda x, y: jnp.stack([jax.vmap(by(function))(x, y) for function in functions]))(*points)

    wanted, found = values(lambda function: function), values(scalarised)
    # Differences of large terms, which one of the two compilations contracts to a single rounding, lose digits.
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12 * np.max(np.abs(wanted), initial=1e6))


FORMULAS = {
    "signs": lambda x, y: ((-x) * y, x * (-y), -(x - y), -x - y, (-x) / y, lax.neg(-x), x - (-y), (-x) * (-y)),
    "powers of two": lambda x, y: (
        2 * x + 2 * y,
        2 * x - y / 2,
        (x / 4) * (y * 8),
        4 / x,
        x / 0.25,
        3 / (4 * y),
        2 * x * 3,
    ),
    "equal terms": lambda x, y: (x + x, 2 * x + x, x * 3 + x * 3, jnp.maximum(x, x), jnp.where(x > 0, y, y)),
    "ones": lambda x, y: (x * 1, x + 0, 0 + x, x / 1, x**1, 1 * y, y - 0, x**0),
    "products": lambda x, y: (x**2, x**3, x**-2, x**7, jnp.square(x), x**16, x**17, x**-(1)),
    "comparisons": lambda x, y: (x > y, x == x, x != x, (x > 0) & True, (x > 0) | False, jnp.isfinite(x), jnp.sign(x)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_and_nans_come_out_as_written_where_no_zero_is_structural(dtype):
    x, y = (jnp.asarray(each.ravel(), dtype) for each in np.meshgrid(WILD, WILD))

    def values(by):
        return jax.jit(lambda x, y: {name: jax.vmap(by(f))(x, y) for name, f in FORMULAS.items()})(x, y)

    wanted, found = values(lambda function: function), values(scalarised)
    for name in FORMULAS:
        for number, pair in enumerate(zip(wanted[name], found[name], strict=True)):
            # products are multiplied in either order: two units in the last place
            np.testing.assert_allclose(*pair, rtol=4 * jnp.finfo(dtype).eps, err_msg=f"{name} {number}")


def test_structural_zeros_decide_alone():
    inf = jnp.asarray(np.inf)
    assert jax.jit(scalarised(lambda x: (0 * x, x - x, 0 / x, jnp.zeros(2) @ jnp.stack([x, x]))))(inf) == (0, 0, 0, 0)


def test_powers_with_half_integer_exponents_are_products_of_roots(compare):
    exponents = [n / 2 for n in range(-9, 10)]
    points = jnp.array([1e-3, 0.7, 5.0, 1e4])
    compare({"powers": (lambda x: [x**n for n in exponents], points)}, ulps=16)
    assert " pow " not in str(jax.make_jaxpr(scalarised(lambda x: [x**n for n in exponents]))(points[0]))


@pytest.mark.parametrize("exponent", [1.5, 2.5, 3.5])
def test_second_derivatives_of_powers_at_zero_are_those_of_powers(exponent):
    function = jax.jacfwd(jax.grad(scalarised(lambda x: x**exponent)))
    wanted = jax.jacfwd(jax.grad(lambda x: x**exponent))(0.0)
    np.testing.assert_array_equal(function(0.0), wanted)  # infinity, zero and zero


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_of_two_overflow_nothing_far_from_the_largest_numbers(dtype):
    largest, tiny = float(jnp.finfo(dtype).max), float(jnp.finfo(dtype).tiny)

    def scaled(x, y):
        known = jnp.asarray(largest, dtype)
        return (
            known * (256 * x),
            (256 * x) * (256 * y),
            (x / 256) * (y / 256),
            jnp.asarray(tiny, dtype) * (x / 256) * 2.0**20,
        )

    for x, y in [(largest / 2**17, 1.0), (tiny * 2**17, 1.0), (2.0**-40, 1.0)]:
        args = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
        np.testing.assert_array_equal(jax.jit(scalarised(scaled))(*args), jax.jit(scaled)(*args))
