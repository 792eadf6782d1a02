"""Operations on small arrays give entry by entry what they give on arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.scipy import special

from fimlag._scalarise import scalarised
from fimlag._scalarise._places import PLACED
from fimlag._scalarise._reader import RULES

X, Y, Z = jnp.array([0.3, 0.8]), jnp.array([0.6, 0.2]), jnp.array([0.3 + 1j, -2.0])
BIG, WHOLE, BOTH = jnp.array([1.4, -3.5]), jnp.array([-7, 5]), jnp.array([True, False])
WILD = jnp.array([np.nan, np.inf, -np.inf, -3.7, 300.0, -1e30, 0.0])
CUBE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)))
ROW, SQUARE = CUBE[0, 0], CUBE[0, :, :3]

UNARY = """
abs acos asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil cos cosh digamma erf erf_inv erfc exp exp2 expm1 floor
is_finite lgamma log log1p logistic neg rsqrt sign sin sinh sqrt square stop_gradient tan tanh
"""
BINARY = "add atan2 div eq ge gt igamma igamma_grad_a igammac le lt max min mul ne nextafter pow rem sub"
ELEMENTWISE_CASES = {name: (getattr(lax, name), X) for name in UNARY.split()}
ELEMENTWISE_CASES |= {name: (getattr(lax, name), X, Y) for name in BINARY.split()}
ELEMENTWISE_CASES |= {
    "acosh": (lax.acosh, 1 + X),
    "add_any": (jax.grad(lambda x: jnp.sum(x * jnp.sin(x))), X),
    "bits": (
        lambda i, j: (i & j, i | j, i ^ j, ~i, i & 1, i | 1, i & 0, i | 0, lax.population_count(i)),
        WHOLE,
        WHOLE[::-1],
    ),
    "logic": (lambda a, b: (a & b, a | b, a ^ b, ~a, a & True, a | True, a & False, a | False), BOTH, BOTH[::-1]),
    "shifts": (
        lambda i: (
            i << 2,
            i >> 1,
            lax.shift_right_logical(i, jnp.ones_like(i)),
            lax.shift_left(i, jnp.full_like(i, 99)),
        ),
        WHOLE,
    ),
    "clamp": (lambda x: (lax.clamp(0.4, x, 0.5), lax.clamp(x, X, x + 1)), X),
    "complex": (
        lambda x, z: (lax.complex(x, x), lax.conj(z), z.real, z.imag, z * z, jnp.abs(z), z**3, jnp.sign(z)),
        X,
        Z,
    ),
    "convert_element_type": (
        lambda x, i, b: (x.astype(int), i.astype(float), b.astype(float), x.astype(bool), i.astype(jnp.uint8)),
        BIG,
        WHOLE,
        BOTH,
    ),
    "convert known numbers": (
        lambda x: [(WILD + 0 * x[0]).astype(dtype) for dtype in (jnp.int8, jnp.uint16, int, bool, jnp.float32)],
        X,
    ),
    "integer_pow": (lambda x, i: (x**5, x**-3, x**0, x**17, i**3, i**2), BIG, WHOLE),
    "integer division": (
        lambda i, j: (lax.div(i, j), lax.rem(i, j), i // j, i % j, i // 3, i % 3, -i),
        WHOLE,
        WHOLE[::-1],
    ),
    "polygamma": (lax.polygamma, jnp.array([1.0, 2.0]), X),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 5, 10), BIG),
    "regularized_incomplete_beta": (lax.betainc, X, Y, X),
    "round": (lambda x: (lax.round(x), lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)), BIG),
    "select_n": (
        lambda b, i, x: (lax.select_n(b, x, -x), lax.select_n(i % 3, x, -x, 2 * x), jnp.where(b[0], x, 0)),
        BOTH,
        WHOLE,
        X,
    ),
    "zeta": (lax.zeta, 2 + X, Y),
    "accuracy": (lambda x: lax.exp(x, accuracy=lax.AccuracyMode.HIGHEST), X),
    "unsigned": (lambda i: (i.astype(jnp.uint8) - jnp.uint8(9), -i.astype(jnp.uint8)), WHOLE),
    "powers": (lambda x: [x ** (n / 2) for n in range(-7, 8)], X),
    "half precision": (
        lambda x: (x.astype(jnp.float16) * 2 + 1, x.astype(jnp.bfloat16) * 0 + x.astype(jnp.bfloat16)),
        X,
    ),
}
MOVES = {
    "shapes": (
        lambda a: (a.reshape(4, 6), a.ravel(), a[None].squeeze(0), jnp.broadcast_to(a[:, :1], a.shape), a.T),
        CUBE,
    ),
    "transposes": (lambda a: (a.transpose(2, 0, 1), jnp.flip(a, (0, 2)), jnp.moveaxis(a, 1, 0), jnp.rot90(a[0])), CUBE),
    "joins": (
        lambda a: (jnp.concatenate([a, a], 1), jnp.stack([a, a], 2), lax.tile(a, (1, 2, 1)), jnp.tile(a[0], 2)),
        CUBE,
    ),
    "slices": (
        lambda a: (a[:, 1:, ::2], a[-1, ::-1], a[1, 2, 3], jnp.roll(a, 1, 2), lax.slice(a, (0, 0, 1), (2, 3, 4))),
        CUBE,
    ),
    "splits": (lambda a: (jnp.split(a, [1, 3], 2), lax.split(a, (1, 2), 1), [*a]), CUBE),
    "pads": (
        lambda a: (
            jnp.pad(a, 1, constant_values=7.0),
            lax.pad(a, 0.5, [(-1, 2, 1), (1, -2, 2), (-1, -1, 0)]),
            lax.pad(a, 0.5, [(0, 0, 0), (-2, 0, 1), (0, 0, 0)]),
        ),
        CUBE[:1, :, :3],
    ),
    "counts": (
        lambda a: (jnp.arange(4.0) * a[0, 0], lax.broadcasted_iota(int, (2, 3), 1), jnp.eye(3, k=1) * a[0, 0, 0]),
        CUBE,
    ),
    "scalars": (lambda a: (a.reshape(1), a.reshape(1, 1).T, jnp.stack([a, a]), a[None][0], jnp.sum(a)), CUBE[0, 0, 0]),
}
COMBINATIONS = {
    "sums": (
        lambda a: (jnp.sum(a), jnp.sum(a, 1), jnp.prod(a, (0, 2)), jnp.max(a, 2), jnp.min(a, (0, 1)), jnp.mean(a)),
        CUBE,
    ),
    "logic": (lambda a: (jnp.all(a > 0, 1), jnp.any(a > 1, (0, 2)), lax.reduce_and(jnp.arange(3, 6), (0,))), CUBE),
    "cumulations": (
        lambda a: [
            f(a, axis, reverse=back)
            for f in (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin)
            for axis in (0, 2)
            for back in (False, True)
        ],
        CUBE,
    ),
    "whole numbers": (lambda i: (jnp.sum(i), jnp.prod(i), jnp.cumsum(i), i @ i, jnp.max(i), jnp.sum(i > 0)), WHOLE),
    "contractions": (
        lambda a: (
            jnp.einsum("abc,abd->acd", a, a),
            jnp.einsum("abc,dbc->ad", a, a),
            jnp.einsum("abc,abc->a", a, a),
            jnp.einsum("abc,cde->bade", a[:1, :2], a.T[:, :2]),
            a[0] @ a[1].T,
            jnp.tensordot(a, a, 3),
            jnp.kron(a[0, :2, :2], a[1, :2, :2]),
        ),
        CUBE,
    ),
    "types": (
        lambda x: (
            jnp.sum(x.astype(jnp.float32), dtype=float),
            lax.dot_general(
                x.astype(jnp.float32), x.astype(jnp.float32), (((0,), (0,)), ((), ())), preferred_element_type=float
            ),
            x.astype(jnp.float32) @ x.astype(jnp.float32),
        ),
        ROW,
    ),
}
FILL = jnp.array([0, 99, -99, 3])


def _placed(a, i):
    return (
        a[jnp.array([2, 0, 0])],
        a.at[FILL].get(mode="fill", fill_value=2.0),
        a.at[FILL].get(mode="fill"),
        a.at[FILL].get(mode="clip"),
        i.at[FILL].get(mode="fill"),
        i.astype(jnp.uint8).at[FILL].get(mode="fill"),
        (i > 0).at[FILL].get(mode="fill"),
        a[jnp.argmax(a)],
        a.at[FILL].set(9.0),
        a.at[FILL].set(9.0, mode="clip"),
        a.at[jnp.array([1, 1, 1])].add(jnp.arange(3.0)),
        a.at[jnp.array([1, 1, 2])].mul(3.0),
        a.at[jnp.array([1, 1, 2])].min(0.1),
        a.at[jnp.array([1, 1, 2])].max(jnp.arange(3.0)),
        a.at[1].subtract(2.0),
        a.at[1].apply(jnp.sin),
        a.at[jnp.argmax(a)].set(5.0),
        i.at[1:].add(1),
    )


PLACES = {
    "entries": (_placed, ROW, jnp.arange(4) - 2),
    "blocks": (
        lambda a: (
            a[:, jnp.array([[0, 2], [1, 1]])],
            a[jnp.array([0, 1]), :, jnp.array([3, 0])],
            a[jnp.array([1, 0]), jnp.array([2, 0])],
            a.at[:, jnp.array([0, 2]), 1].set(7.0),
            a.at[jnp.array([0, 1]), :, jnp.array([3, 0])].add(1.0),
            jnp.take_along_axis(a, jnp.argsort(jnp.arange(24).reshape(2, 3, 4) % 5, axis=2), axis=2),
            jax.vmap(lambda row, place: row[place])(a[0], jnp.array([3, 0, 2])),
            jax.vmap(lambda row, place: row.at[place].set(0.0))(a[0], jnp.array([3, 0, 2])),
            jnp.diagonal(a[0]),
            jnp.trace(a[0]),
            jnp.triu(a[0]),
        ),
        CUBE,
    ),
    "windows": (
        lambda a, i: [
            f(start)
            for start in (i, jnp.abs(i), 0, 2, 99, -1)
            for f in (
                lambda s: lax.dynamic_slice(a, (s,), (2,)),
                lambda s: lax.dynamic_update_slice(a, a[:2] * 2, (s,)),
            )
        ],
        ROW,
        jnp.asarray(-7),
    ),
    "windows of matrices": (
        lambda a: (lax.dynamic_slice(a, (1, 9), (2, 2)), lax.dynamic_update_slice(a, a[:2, :2], (-1, 1))),
        CUBE[0],
    ),
}
OTHERS = {
    "no rule": (
        lambda a: (jnp.sort(a), jnp.argmax(a), lax.top_k(a, 2), lax.cumlogsumexp(a), jnp.median(a), jnp.fft.fft(a)),
        ROW,
    ),
    "empty": (
        lambda a: (a[:0], jnp.sum(a[:0]), jnp.zeros((2, 0)) @ jnp.zeros((0, 2)) + a[0], jnp.concatenate([a[:0], a])),
        ROW,
    ),
    "large": (lambda a: (jnp.outer(jnp.arange(30.0), a), jnp.sum(jnp.arange(300.0)) * a, jnp.ones((100, 4)) @ a), ROW),
    "special functions": (
        lambda a: (special.logsumexp(a), special.gammaln(a), jax.nn.softmax(a), jnp.linalg.norm(a)),
        ROW,
    ),
    "factors": (
        lambda a: (jnp.linalg.cholesky(a @ a.T + jnp.eye(3)), jnp.linalg.det(a), jnp.linalg.inv(a), jnp.linalg.qr(a)),
        SQUARE,
    ),
}


def test_numbers_are_those_of_the_primitives(compare):
    compare(ELEMENTWISE_CASES, ulps=64)  # of special functions, whose code XLA arranges in its own way


def test_entries_are_those_of_the_arrays(compare):
    compare(MOVES | {f"combined: {name}": case for name, case in COMBINATIONS.items()}, ulps=24)  # sums of 24 terms


def test_places_are_those_of_the_arrays(compare):
    compare(PLACES)


def test_what_has_no_rule_is_left_as_it_is(compare):
    compare(OTHERS, ulps=64)  # condition of the 3 x 3 matrix


def test_single_precision_stays_single(compare):
    single = {
        name: (function, *(_single(arg) for arg in args))
        for name, (function, *args) in (MOVES | COMBINATIONS).items()
        if name not in ("types", "counts", "sums", "pads")
    }
    compare(single, ulps=24)


def _single(array):
    return array.astype(jnp.float32) if array.dtype == float else array


def primitives(program) -> set[str]:
    """The names of all primitives of a program, however deep."""
    names = set()
    for equation in getattr(program, "jaxpr", program).eqns:
        names.add(equation.primitive.name)
        values = [
            part for value in equation.params.values() for part in (value if isinstance(value, tuple) else [value])
        ]
        names |= {name for part in values if isinstance(part, Jaxpr | ClosedJaxpr) for name in primitives(part)}
    return names


def test_every_rule_has_a_case():
    cases = ELEMENTWISE_CASES | MOVES | {f"{name} ": case for name, case in (COMBINATIONS | PLACES).items()}
    met = {name for function, *args in cases.values() for name in primitives(jax.make_jaxpr(function)(*args))}
    rules = {*RULES, *PLACED}
    assert rules - met - {"stack", "unstack"} == set()  # these two are primitives of newer releases of jax alone


@pytest.mark.parametrize("name", ["shapes", "splits", "contractions", "cumulations"])
def test_what_has_a_rule_leaves_scalars_alone(name):
    function, *args = (MOVES | COMBINATIONS)[name]
    left = primitives(jax.make_jaxpr(scalarised(function))(*args))
    assert left <= {
        "custom_jvp_call",
        "slice",
        "squeeze",
        "reshape",
        "concatenate",
        "broadcast_in_dim",
        "add",
        "mul",
        "max",
        "min",
    }
