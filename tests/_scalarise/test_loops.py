"""Loops, branches and calls give by scalar code what they give as written."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fimlag._scalarise import scalarised
from fimlag._scalarise._graph import Graph
from fimlag._scalarise._reader import Reader

X, S, TWO = jnp.array([0.3, 0.8, 1.1]), jnp.asarray(0.7), jnp.asarray(2)
LONG, MANY = jnp.arange(200.0), jnp.arange(300.0).reshape(100, 3)
KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 3)


@jax.custom_jvp
def ruled(x):
    return jnp.sin(x)


ruled.defjvp(lambda primals, tangents: (ruled(*primals), 7 * jnp.cos(primals[0]) * tangents[0]))


@jax.custom_vjp
def backwards(x):
    return jnp.sin(x)


backwards.defvjp(lambda x: (backwards(x), x), lambda x, ct: (5 * jnp.cos(x) * ct,))


@jax.custom_batching.custom_vmap
def batched(x):
    return 2 * x


@batched.def_vmap
def _(size, is_batched, x):
    return 3 * x, True  # so that it shows which is called


def partly_fixed(s):
    """Carries that change, that stay, that start with a known number, and a large one."""

    def body(carry, _):
        a, b, c, large, k = carry
        return (a + b, b, c * 1, large.at[0].add(a), k + 1), (large[1] + a, jnp.ones((2, 2)))

    return lax.scan(body, (s, s, jnp.asarray(2.0), LONG, 0), None, length=4)


def shifted(s):
    """Zeros move along the carry until all of them are what they were."""
    return lax.fori_loop(0, 12, lambda _, c: (*c[1:], c[-1] * s), (0.0,) * 9 + (s,))


LOOPS = {
    "turns": (lambda s, n: lax.fori_loop(0, n, lambda i, c: c * s + i.astype(float), s), S, TWO),
    "weak carry": (lambda s: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, 1.0)), S),
    "partly fixed": (partly_fixed, S),
    "shifted": (shifted, S),
    "no turn": (lambda x: lax.fori_loop(0, 0, lambda i, c: c / 0, x), X),
    "no turn, no row": (lambda x: lax.scan(lambda c, y: (c + y, c), x[0], x[:0]), X),
    "no turn, no rows": (lambda s: lax.scan(lambda c, _: (c * 2, c), s, None, length=0), S),
    "no carry": (lambda x: lax.scan(lambda c, y: (None, y * 2), None, x), X),
    "nothing": (lambda s: (lax.scan(lambda c, _: (c, None), None, None, length=4), s)[1], S),
    "reversed": (lambda s, x: lax.scan(lambda c, y: (c * y, (c, y + c)), s, x, reverse=True), S, X),
    "many rows": (lambda s: lax.scan(lambda c, y: (c + y[0], (y @ y, y * c)), s, MANY), S),
    "traced rows": (lambda s: lax.scan(lambda c, y: (c + y[0], y * c), s, MANY * s), S),
    "large rows": (lambda s: lax.map(lambda y: (y[0] * s, y), jnp.ones((5, 70))), S),
    "matrices": (lambda s: lax.map(lambda y: y @ y.T * s, jnp.arange(70.0).reshape(5, 2, 7)), S),
    "nested": (lambda x: lax.scan(lambda c, y: (lax.fori_loop(0, 3, lambda i, d: d * y + c, c), c), x[0], x), X),
    "condition": (lambda s: lax.while_loop(lambda c: jnp.sum(c) < 9 * s, lambda c: c + s, jnp.zeros(3)), S),
    "keys": (lambda s: lax.scan(lambda c, key: (c + jax.random.normal(key), key), s, KEYS), S),
    "carried key": (
        lambda s: lax.fori_loop(
            0, 3, lambda i, c: (jax.random.split(c[0])[0], c[1] + jax.random.uniform(c[0])), (KEY, s)
        ),
        S,
    ),
    "recomputed": (lambda x: lax.scan(jax.checkpoint(lambda c, y: (jnp.sin(c) * y, c)), x[0], x), X),
    "bool carry": (lambda x: lax.scan(lambda c, y: (c & (y > 0.5), c | (y > 1)), True, x), X),
}
BRANCHES = {
    "cond": (lambda s, x: lax.cond(s > 0.5, lambda x: x * 2, lambda x: x + 1, x), S, X),
    "switch": (lambda n, x: lax.switch(n, [lambda x: x, lambda x: -x, lambda x: x * 0], x), TWO, X),
    "out of range": (lambda n, x: [lax.switch(n + k, [lambda x: x, lambda x: -x], x) for k in (-9, 9)], TWO, X),
    "known": (
        lambda s: (lax.cond(True, lambda: s, lambda: 2 * s), lax.switch(jnp.int32(9), [lambda: s, lambda: s + 1])),
        S,
    ),
    "constants": (lambda s: lax.cond(s > 0, lambda c: (c, 1.0), lambda c: (c + 1, 2.0), 3.0), S),
    "types": (lambda s: lax.cond(s > 0, lambda: 1.0, lambda: s), S),
    "platforms": (
        lambda s: lax.platform_dependent(s, cpu=lambda s: s + 1, tpu=lambda s: s + 2, default=lambda s: -s),
        S,
    ),
    "large operand": (lambda s: lax.cond(s > 0, lambda a: a[:3] * s, lambda a: a[3:6], LONG), S),
}
CALLS = {
    "jit": (lambda x: jax.jit(lambda x: jax.jit(jnp.sin)(x) + X)(x), X),
    "ruled": (lambda x: ruled(x) * x, X),
    "in reverse": (lambda x: backwards(x) * x, X),
    "batched": (batched, X),
    "recomputed": (jax.checkpoint(lambda x: jnp.sin(x) * jnp.cos(x)), X),
    "policy": (jax.checkpoint(lambda x: x @ x, policy=jax.checkpoint_policies.dots_saveable), X),
    "itself": (lambda x: scalarised(lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x))(x), X),
    "random": (lambda s: jax.random.normal(KEY, (3,)) * s + jax.vmap(jax.random.uniform)(KEYS), S),
    "random in a call": (lambda s: jax.jit(lambda s: jax.random.normal(KEY, (3,)) * s)(s), S),
    "a key": (lambda key, s: (jax.random.split(key, 3), jax.random.uniform(key) * s), KEY, S),
    "callback": (lambda s: jax.pure_callback(lambda s: 2 * np.asarray(s), jax.ShapeDtypeStruct((), float), s), S),
    "constant": (lambda s: (1.0, jnp.arange(3), jnp.zeros((2, 0)), LONG), S),
    "implicit": (
        lambda s: lax.custom_root(
            lambda y: y**3 - s,
            s,
            lambda f, y: lax.fori_loop(0, 9, lambda i, y: y - f(y) / (3 * y**2), y),
            lambda g, y: y / g(1.0),
        ),
        S,
    ),
}


def test_loops_give_what_they_give_as_written(compare):
    compare(LOOPS, ulps=32)


def test_branches_and_calls_give_what_they_give_as_written(compare):
    compare(BRANCHES | CALLS)


def test_effects_happen_once(capfd):
    jax.jit(scalarised(lambda s: (jax.debug.print("seen {}", s), 2 * s)[1]))(S).block_until_ready()
    jax.effects_barrier()
    assert capfd.readouterr().out == "seen 0.7\n"


def test_a_branch_not_taken_is_not_run():
    def endless(s):
        return lax.cond(s > 9, lambda: lax.while_loop(lambda c: c > 0, lambda c: c + 1.0, 1.0), lambda: 2.0)

    assert jax.jit(scalarised(endless))(S) == 2.0


def nested(depth):
    """Loops in loops whose carries hold much that no turn changes."""

    def body(carry, level):
        a, b, zero = carry
        if level == 0:
            return a * b + zero, b, zero * a
        return lax.scan(lambda c, _: (body(c, level - 1), None), (a, b, zero), None, length=2)[0]

    return lambda x: body((x, x + 1, jnp.zeros(())), depth)


def test_loops_in_loops_are_read_in_proportion_to_their_depth():
    read = []
    for depth in (4, 8):
        graph = Graph(10_000)
        program = jax.make_jaxpr(nested(depth))(S)
        Reader(graph).read(program, [graph.input((), np.dtype(float), 0)])
        read.append(graph.input((), np.dtype(float), 0).order)
    assert read[1] < 3 * read[0]
    np.testing.assert_allclose(jax.jit(scalarised(nested(3)))(S), nested(3)(S), rtol=1e-14)  # 8 products


def test_a_program_too_large_is_left_alone():
    def long(x):
        for _ in range(300):
            x = jnp.sin(x) + x[::-1]
        return x

    left, written = (len(str(jax.make_jaxpr(function)(jnp.ones(64)))) for function in (scalarised(long), long))
    assert left < 2 * written
