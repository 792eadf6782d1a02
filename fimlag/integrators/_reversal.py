"""A motion run back, and with it the cotangents of what it depends on."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from fimlag.integrators._open_walk import Given, OpenWalk
from fimlag.integrators._walk import State

_BLOCKS = range(64, 257)  # steps run back before their states are used: the loop back has the body of the one ahead


class Pull(NamedTuple):
    """The cotangents of a state, and the sums of those of what all steps share, None for what has none.

    `state.lost`: what the cotangents of point and momentum have lost, where they are summed with compensation.
    """

    state: State
    shared: list


def reversal(
    walk: OpenWalk, given: Given, chosen: list[bool], end: State, rows: PyTree
) -> tuple[Pull, Float[Array, ""]]:
    """`(pull, gap)`: the cotangents of a motion's first state and of what its steps share, from those of its rows.

    **Arguments:** `walk`; `given`; `chosen`: whether each of what the steps share has a cotangent; `end`: the last
    state; `rows`: their cotangents.

    **Returns:** the cotangents, and how far from the start the motion run back has landed.
    """
    rows_after, every = walk.walk.rows, walk.walk.save_every
    moving, fixed = eqx.partition(given.shared, chosen)

    def pull_step(pull, state, number):
        varied, rest = eqx.partition(state, eqx.is_inexact_array)

        def ahead(varied, moving):
            shared = given._replace(shared=eqx.combine(moving, fixed))
            after = walk.stepped(shared, eqx.combine(varied, rest), number, 1.0)
            return eqx.filter(after, eqx.is_inexact_array)

        varied, shared = jax.vjp(ahead, varied, moving)[1](pull.state)
        return Pull(varied, jax.tree.map(jnp.add, pull.shared, shared))

    def pull_change(pull, state, number, after):
        cotangents, lost = pull.state[:3], pull.state.lost

        def ahead(q, p, memory, moving):
            shared = given._replace(shared=eqx.combine(moving, fixed))
            return walk.changed(shared, State(q, p, memory, state.lost), number, after)

        *more, memory, shared = jax.vjp(ahead, *state[:3], moving)[1](cotangents)
        (q, lost_q), (p, lost_p) = map(_compensated, cotangents, lost, more)
        return Pull(State(q, p, memory, (lost_q, lost_p)), jax.tree.map(jnp.add, pull.shared, shared))

    def pull_row(pull, state, number):
        count = jnp.full_like(number, every)
        place = jnp.maximum(lax.div(number, count) - 1, 0)
        row = jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, place, keepdims=False), rows)
        shown = (number > 0) & (lax.rem(number, count) == 0)
        more = jax.tree.map(lambda leaf: jnp.where(shown, leaf, 0), walk.pull_row(state, row))
        # No row shows what sums have lost.
        q, p, memory = jax.tree.map(jnp.add, pull.state[:3], more[:3])
        return pull._replace(state=State(q, p, memory, pull.state.lost))

    def visit(pull, state, number, after):
        pull = pull_change(pull, state, number, after) if walk.walk.grid else pull_step(pull, state, number)
        return pull_row(pull, state, number) if rows_after > 1 else pull

    last = walk.pull_row(end, jax.tree.map(lambda leaf: leaf[-1], rows))
    if walk.walk.grid:
        last = last._replace(lost=(jnp.zeros_like(last.q), jnp.zeros_like(last.p)))
    pull = Pull(last, jax.tree.map(jnp.zeros_like, moving))
    return run_back(walk, given, end, visit, pull)


def landing(walk: OpenWalk, given: Given, end: State) -> Float[Array, ""]:
    """How far from its start a motion run back lands, in units of its extent, or of a grid."""
    return run_back(walk, given, end, lambda carry, *_: carry, ())[1]


def run_back(
    walk: OpenWalk, given: Given, end: State, visit: Callable, carry: PyTree
) -> tuple[PyTree, Float[Array, ""]]:
    """A motion run back, `carry = visit(carry, state, number, after)` at the state before each step, the last one
    first, with the point after it.

    **Returns:** the carry, and the gap between the start and where the motion has landed: in units of its extent, or
    those of a grid.
    """
    start, spacing = given.state[:2], walk.spacing(given)

    def undo(carry, _):
        state, number = carry
        state = walk.stepped(given, state, number, -1.0)
        return (state, number - 1), state

    def look(carry, state):
        visited, extent, after, number = carry
        if spacing is None:
            extent = jax.tree.map(_farther, extent, state[:2], start)
        return (visit(visited, state, number - 1, after), extent, state.q, number - 1), None

    def block(carry, length):
        state, *rest, number = carry
        (state, _), states = lax.scan(undo, (state, number), length=length)
        (*rest, number), _ = lax.scan(look, (*rest, number), states)
        return state, *rest, number

    steps = walk.walk.rows * walk.walk.save_every
    length, rest = _blocks(steps)
    carry = end, carry, jax.tree.map(jnp.zeros_like, start), end.q, jnp.asarray(steps)
    carry = lax.fori_loop(0, steps // length, lambda _, carry: block(carry, length), carry)
    landed, carry, extent, *_ = block(carry, rest) if rest else carry
    gaps = map(_gap, landed[:2], start, extent) if spacing is None else map(_spaces, landed[:2], start, spacing)
    return carry, jnp.maximum(*gaps)


def _compensated(total, lost, increment):
    """`(sum, lost)`: a cotangent and what it has lost to rounding, after adding an increment."""
    increment = increment + lost
    raised = total + increment
    return raised, (total - raised) + increment


def _blocks(steps: int) -> tuple[int, int]:
    """`(length, rest)`: the steps of a block, and those that full blocks leave."""
    if steps <= _BLOCKS[-1]:
        return steps, 0
    length = min(_BLOCKS, key=lambda length: steps % length)
    return length, steps % length


def _farther(extent, place, start):
    distance = jnp.abs(place - start)
    # NaN needs no care here: from it on all states are NaN, up to the one where the motion lands.
    return jnp.where(distance > extent, distance, extent)


def _gap(landed, start, extent):
    """The largest distance of a coordinate in units of its extent, or of what round-off leaves of that."""
    floor = jnp.finfo(start.dtype).eps ** 0.25 * jnp.max(jnp.abs(start) + extent)
    distance = jnp.abs(landed - start)
    return jnp.max(jnp.where(distance == 0, 0, distance / (extent + floor)))


def _spaces(landed, start, spacing):
    """The largest distance of a coordinate in units of a grid."""
    return jnp.max(jnp.abs(landed - start) / spacing)
