"""A step of one trajectory, rewritten for a block of lanes in what a GPU kernel can compute."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from fimlag.integrators._lane_arithmetic import ARITHMETIC, ELEMENTWISE, alike, refuse, select_n, spread

_IDENTITIES = ("broadcast_in_dim", "copy", "copy_p", "optimization_barrier", "reshape", "squeeze")
INNER = {
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "remat2": "jaxpr",
}
"""Primitives that compute a jaxpr, and the parameter that holds it."""


class Table(NamedTuple):
    """Numbers that all lanes share and a scan takes one after another, where a kernel reads them."""

    ref: Any


def lanewise(jaxpr: Jaxpr, consts: Sequence, values: Sequence, block: int) -> list:
    """The results of a jaxpr of numbers at arrays of lanes, computed by what the Triton lowering of Pallas knows.

    What all lanes share keeps the shape (); what may differ between lanes has the shape (block,). A loop goes on
    until its last lane is through, and the others keep their numbers meanwhile.

    **Raises:** `NotImplementedError` for what a kernel cannot compute, or only with another result.
    """
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *values), strict=True))

    def read(atom):
        return valued(atom) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        if any(var.aval.shape for var in eqn.outvars):  # pyright: ignore[reportAttributeAccessIssue]
            refuse(f"{eqn.primitive.name} of arrays")
        results = _results(eqn, [read(atom) for atom in eqn.invars], block)
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def loop_of_lanes(eqn: JaxprEqn, values: Sequence, block: int, rows: Sequence) -> list:
    """What a loop of numbers carries to its end; what a scan stacks is written to `rows`, of a reference each."""
    loop = _scan if eqn.primitive.name == "scan" else _while
    return loop(values, block, rows=rows, **eqn.params)


def on_cuda(platforms: Sequence) -> int:
    """Which of these groups of platforms CUDA belongs to, None standing for all others."""
    return next(place for place, group in enumerate(platforms) if group is None or "cuda" in group)


def _results(eqn, values, block):
    """What an equation of numbers computes."""
    name = eqn.primitive.name
    if name in ELEMENTWISE:
        return [eqn.primitive.bind(*alike(values, block), **eqn.params)]
    if name in _IDENTITIES:
        return values
    if name in INNER:
        return _inner(eqn.params[INNER[name]], values, block)
    if name in _RULES:
        return _RULES[name](values, block, **eqn.params)
    return refuse(name)


def _inner(jaxpr, values, block):
    if not isinstance(jaxpr, ClosedJaxpr):
        return lanewise(jaxpr, (), values, block)
    return lanewise(jaxpr.jaxpr, [_uniform(const) for const in jaxpr.consts], values, block)


def _scan(values, block, *, jaxpr, length, reverse, rows=(), **_):
    stacked = [isinstance(value, Table) and not aval.shape for value, aval in zip(values, jaxpr.in_avals, strict=True)]
    carried = len(jaxpr.out_avals) - len(rows)
    end = len(values) - sum(stacked)
    consts, start, tables = values[: end - carried], values[end - carried : end], values[end:]

    def turn(number, carry):
        place = length - 1 - number if reverse else number
        after = _inner(jaxpr, [*consts, *carry, *(table.ref[place] for table in tables)], block)
        for ref, value in zip(rows, after[carried:], strict=True):
            ref[place, :] = spread(value, block).astype(ref.dtype)
        return _like(carry, after[:carried], block)

    start = _settled(lambda carry: turn(np.int32(0), carry), start, block)
    return lax.fori_loop(np.int32(0), np.int32(length), turn, start)


def _while(values, block, *, cond_jaxpr, cond_nconsts, body_jaxpr, body_nconsts, **_):
    tested, advanced = values[:cond_nconsts], values[cond_nconsts : cond_nconsts + body_nconsts]

    def going(carry):
        return _inner(cond_jaxpr, [*tested, *carry], block)[0]

    def turn(carry):
        return _like(carry, _inner(body_jaxpr, [*advanced, *carry], block), block)

    def turn_of_those_going(state):
        here, carry = state
        carry = [jnp.where(here, new, old) for new, old in zip(turn(carry), carry, strict=True)]
        return going(carry), carry

    start = _settled(turn, values[cond_nconsts + body_nconsts :], block)
    if not jax.eval_shape(going, start).shape:
        return lax.while_loop(going, turn, start)
    start = [spread(value, block) for value in start]
    begin = going(start), start
    return lax.while_loop(lambda state: jnp.max(state[0].astype(jnp.int32)) > 0, turn_of_those_going, begin)[1]


def _settled(turn, start, block):
    """The start of a loop, its values as lanes wherever a turn makes lanes of them."""
    lanes = [bool(jnp.ndim(value)) for value in start]
    while True:
        wide = [spread(value, block) if own else value for value, own in zip(start, lanes, strict=True)]
        after = [bool(value.shape) for value in jax.eval_shape(turn, wide)]
        if after == lanes:
            return wide
        lanes = after


def _cond(values, block, *, branches, **_):
    index, *operands = values
    if isinstance(index, int):
        return _inner(branches[index], operands, block)
    run = [lambda branch=branch: [spread(x, block) for x in _inner(branch, operands, block)] for branch in branches]
    if not jnp.ndim(index):
        return lax.switch(index, run)
    return [select_n([index, *cases], block)[0] for cases in zip(*(each() for each in run), strict=True)]


_RULES = {
    "cond": _cond,
    "platform_index": lambda values, block, platforms: [on_cuda(platforms)],
    "scan": _scan,
    "while": _while,
    **ARITHMETIC,
}


def _like(carry, after, block):
    """The values after a turn, as lanes where the loop carries lanes."""
    return [spread(new, block) if jnp.ndim(old) else new for old, new in zip(carry, after, strict=True)]


def valued(literal: Literal) -> Any:
    """The number of a literal, of its type."""
    return np.asarray(literal.val, literal.aval.dtype)[()]  # pyright: ignore[reportAttributeAccessIssue]


def _uniform(const):
    """A constant as a kernel may hold it, which takes no arrays from outside."""
    return np.asarray(const)[()] if const.ndim == 0 else refuse("arrays of constants")
