"""Loops over whole arrays, compiled as one function, give what they give as written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from fimlag._scalarise import scalarised
from fimlag._scalarise._arrays import ELEMENTWISE

TWO = {"add", "atan2", "div", "eq", "ge", "gt", "igamma", "igamma_grad_a", "igammac", "le", "lt", "max", "min", "mul"}
TWO |= {"ne", "nextafter", "pow", "rem", "sub"}
RANDOM = np.random.default_rng(0)
LONG, WIDE, CUBE = (jnp.asarray(RANDOM.normal(size=size)) for size in (2048, (500, 4), (2, 25, 8)))
BITS, WHOLE, SHARE, POSITIVE = LONG > 0, (9 * LONG).astype(int), 0.05 + 0.9 * jax.nn.sigmoid(LONG), jnp.exp(LONG)
OTHERS = {
    "acosh": (lax.acosh, 1 + POSITIVE),
    "clamp": (lax.clamp, -POSITIVE, LONG, POSITIVE),
    "integer_pow": (lambda x: (x**5, x**-3, x**2), LONG),
    "polygamma": (lax.polygamma, jnp.round(3 * SHARE), POSITIVE),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 5, 10), LONG),
    "regularized_incomplete_beta": (lax.betainc, POSITIVE, POSITIVE[::-1], SHARE),
    "zeta": (lax.zeta, 2 + POSITIVE, POSITIVE[::-1]),
    "stop_gradient": (lambda x: (lax.stop_gradient(x), x.astype(jnp.float32), jnp.where(x > 0, x, 0)), LONG),
}

REDUCTIONS = {
    "sums": (lambda a: (jnp.sum(a), jnp.sum(a, 0), jnp.sum(a, 1), jnp.mean(a), jnp.prod(a, 1)), WIDE),
    "extremes": (lambda a: (jnp.max(a), jnp.min(a, 0), jnp.argmax(a), jnp.argmin(a, 1), a[jnp.argmax(a, 0)]), WIDE),
    "logic": (lambda b: (jnp.all(b), jnp.any(b), jnp.all(~b), jnp.sum(b)), BITS),
    "whole numbers": (
        lambda a: (jnp.sum(a.astype(int)), jnp.max(a.astype(int)), jnp.sum(a.astype(int) % 5)),
        LONG,
    ),
    "single precision": (
        lambda a: (jnp.sum(a.astype(jnp.float32)), a.astype(jnp.float32).T @ a.astype(jnp.float32)),
        WIDE,
    ),
}
MOVES = {
    "shapes": (lambda a: (a.reshape(4, 500), a.ravel()[::3], a.T, a[None].squeeze(0), jnp.flip(a, 0), a[:, :2]), WIDE),
    "joins": (
        lambda a: (jnp.concatenate([a[3:], a[:3]]), jnp.stack([a[:250], a[250:]], 1), jnp.pad(a[1:], ((1, 0), (0, 0)))),
        WIDE,
    ),
    "places": (
        lambda a: (a[jnp.argmax(a[:, 0])], jnp.take(a, jnp.arange(9) * 7, 0), a[:, jnp.array([2, 0])]),
        WIDE,
    ),
}
CONTRACTIONS = {
    "vectors": (lambda a: (a @ a, jnp.outer(a[:40], a[40:90]), jnp.vdot(a[::2], a[1::2])), LONG),
    "matrices": (lambda a: (a.T @ a, a[:, 0] @ a, a @ a[0], a @ a[:4], a[:4] @ a[:4].T, a[:9].T @ a[9:18]), WIDE),
    "several axes": (
        lambda a: (
            jnp.tensordot(a, a, 3),
            jnp.einsum("abc,dbc->ad", a, a),
            jnp.einsum("abc,abd->acd", a[..., :4], a[..., 4:]),
            jnp.einsum("abc,cde->bade", a[:, :4], a.T[:, :3]),
            jnp.einsum("abc,abc->a", a, a),
        ),
        CUBE,
    ),
}
LIBRARIES = {
    "products": (lambda a: a @ a.T, WIDE),
    "products of whole numbers": (lambda i: i @ i, WHOLE),
    "orders": (lambda a: (jnp.sort(a), jnp.cumsum(a), jnp.fft.fft(a)), LONG),
    "systems": (lambda a: (jnp.linalg.solve(a.T @ a, a.T), jnp.linalg.cholesky(a[:9] @ a[:9].T + jnp.eye(9))), WIDE),
    "long": (lambda a: (jnp.sum(jnp.tile(a, 40)), jnp.exp(jnp.tile(a, 40))[::999]), LONG),
}


def looped(function, *args):
    """The function in a loop over rows of its arguments, and these, as a case for `compare`."""
    rows = [jnp.stack([arg, arg[::-1], arg]) for arg in args]
    return lambda *rows: lax.scan(lambda count, row: (count + 1, function(*row)), 0, rows), *rows


def marked(function, *rows) -> bool:
    """Whether a loop is to be compiled as one function."""
    return "xla_cpu_small_call" in jax.jit(scalarised(function)).lower(*rows).as_text()


def test_loops_over_arrays_give_what_they_give_as_written(compare):
    cases = REDUCTIONS | MOVES | CONTRACTIONS | LIBRARIES
    compare({name: looped(*case) for name, case in cases.items()}, ulps=2048)  # sums of as many terms


def test_loops_over_arrays_are_one_function_where_no_library_is_called():
    assert all(marked(*looped(*case)) for case in (REDUCTIONS | MOVES | CONTRACTIONS).values())
    assert not any(marked(*looped(*case)) for case in LIBRARIES.values())


def test_loops_that_carry_long_arrays_are_left_to_threads(compare):
    def exchanged(a, b):
        return lax.fori_loop(0, 5, lambda i, pair: (pair[1], pair[0], pair[2] + 0.1), (a, b, 0.0))

    pair = jnp.tile(LONG, 40), -jnp.tile(LONG, 40)
    compare({"exchanged": (exchanged, *pair)})
    assert not marked(exchanged, *pair)
    assert marked(exchanged, LONG, -LONG)


def test_loops_over_arrays_are_no_one_function_in_a_batch_or_where_they_are_differentiated():
    loop, *rows = looped(*CONTRACTIONS["matrices"])
    assert not marked(jax.vmap(loop), *(jnp.stack([row] * 2) for row in rows))
    lanes = jax.vmap(scalarised(loop))
    assert "xla_cpu_small_call" not in jax.jit(lanes).lower(*(jnp.stack([row] * 2) for row in rows)).as_text()
    gradient = jax.grad(lambda *rows: jnp.sum(scalarised(loop)(*rows)[1][0]))
    assert "xla_cpu_small_call" not in jax.jit(gradient).lower(*rows).as_text()


@pytest.mark.parametrize("first", "abcdefghijlnprstz")
def test_elementwise_operations_are_those_of_the_arrays(compare, first):
    cases = {}
    for name in ELEMENTWISE - {"add_any", "complex", "conj", "convert_element_type", "imag", "real", "select_n"}:
        if name[0] == first:
            cases[name] = looped(*_operation(name))
    compare(cases, ulps=64)


def _operation(name: str) -> tuple:
    """An operation of arrays of numbers where it is finite, and these."""
    if name in ("and", "or", "xor", "not", "population_count") or name.startswith("shift"):
        numbers = (WHOLE, WHOLE[::-1] % 7)
        function = getattr(lax, f"bitwise_{name}", None) or getattr(lax, name)
        return (function, *numbers[: 1 if name in ("not", "population_count") else 2])
    if name in OTHERS:
        return OTHERS[name]
    function = getattr(lax, name)
    return (function, POSITIVE, SHARE) if name in TWO else (function, SHARE)
