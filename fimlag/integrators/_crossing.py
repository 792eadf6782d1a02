"""The search for sign changes along a march, and the partial steps that end on them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._compiled import compiled
from fimlag._results import RESULTS, either_failure, first_failure
from fimlag.integrators._bracket import bracketed_root
from fimlag.integrators._motion import March, Phase, Start, begin


class _Watch(NamedTuple):
    """What is carried from step to step while sign changes are looked for.

    **Attributes:** `number`: of the step to be taken; `phase`: before it; `value`: of the event there; `bracket`:
    number, phase and the event's values around the steps in which it crossed; `found`: how many; `over`: whether
    there is nothing left to look for; `converged`: whether all steps were solved; `finite`: their states; `form`: what
    the method found wrong on the way.
    """

    number: Int[Array, ""]
    phase: Phase
    value: Float[Array, ""]
    bracket: "_Bracket"
    found: Int[Array, ""]
    over: Bool[Array, ""]
    converged: Bool[Array, ""]
    finite: Bool[Array, ""]
    form: RESULTS


class _Bracket(NamedTuple):
    number: Int[Array, "*count"]
    phase: Phase
    before: Float[Array, "*count"]
    after: Float[Array, "*count"]


class Found(NamedTuple):
    """The rows of crossings on flat vectors, NaN where there are fewer."""

    t: Float[Array, " count"]
    q: Float[Array, "count d"]
    v: Float[Array, "count d"]
    p: Float[Array, "count d"]
    found: Bool[Array, " count"]
    index: Int[Array, " count"]
    s: Float[Array, " count"] | None


@compiled
def seek_crossings(start: Start, event: Callable, direction: int, count: int) -> tuple[Found, RESULTS]:
    """The crossings of an event, and what went wrong while marching or locating them."""
    march, phase, regular = begin(start, start.q, start.p, start.v, start.s)

    def value(number, phase, share=0.0):
        return _event_value(event, start, march.observe(number, phase, share), phase)

    seen = _watch(march, phase, value, direction, count, start.steps)
    crossed = jnp.arange(count) < seen.found
    numbers = seen.bracket.number
    shares = jax.vmap(lambda bracket, found: _locate(march, value, bracket, found))(seen.bracket, crossed)
    phases, solved = jax.vmap(march.step)(numbers, seen.bracket.phase, shares)
    rows = jax.vmap(march.observe)(numbers, phases, shares)
    residuals = jax.vmap(lambda row, phase: _event_value(event, start, row, phase))(rows, phases)
    kept = jax.vmap(march.method.kept)(phases.memory)
    form = march.method.inspect(march.equations, rows.t, phases.q, rows.v, kept)
    scale = jnp.maximum(jnp.abs(seen.bracket.before), jnp.abs(seen.bracket.after))
    jumps = ~(jnp.abs(residuals) <= jnp.finfo(scale.dtype).eps ** 0.25 * scale)
    failure = first_failure(
        (~start.finite, RESULTS.nonfinite),
        (regular != RESULTS.successful, regular),
        (~seen.converged | jnp.any(crossed & ~solved), RESULTS.implicit_step_failed),
        (~seen.finite, RESULTS.nonfinite),
        (jnp.any(crossed & jumps), RESULTS.discontinuous_event),
        (seen.form != RESULTS.successful, seen.form),
        (form != RESULTS.successful, form),
    )
    states = jax.tree.map(lambda row: _only(crossed, row), (rows.t, phases.q, rows.v, phases.p, rows.s))
    t, q, v, p, s = states
    return Found(t, q, v, p, crossed, jnp.where(crossed, numbers, -1), s), failure


def _watch(march: March, phase: Phase, value: Callable, direction: int, count: int, steps: int) -> _Watch:
    """March until enough sign changes are seen, in blocks that are skipped once there is nothing left to see.

    When all is over the state stays before its last step, which is repeated and changes nothing: so no step is taken
    that could leave the domain and put NaN into a derivative.
    """

    def advance(watch, _):
        number, phase, before, bracket, found, over, converged, finite, form = watch
        following, solved = march.step(number, phase)
        after = value(number + 1, following)
        sound = _finite(following.q) & _finite(following.p)
        crossed = ~over & sound & _crosses(before, after, direction)
        slot = jnp.minimum(found, count - 1)
        bracket = jax.tree.map(
            lambda kept, now: kept.at[slot].set(now), bracket, _Bracket(number, phase, before, after)
        )
        found = jnp.where(crossed, found + 1, found)
        last = over | (found == count) | (number + 1 == steps) | ~sound
        number, phase, before = jax.tree.map(
            lambda now, then: jnp.where(last, now, then), (number, phase, before), (number + 1, following, after)
        )
        converged, finite = converged & (over | solved), finite & (over | sound | ~solved)
        return _Watch(number, phase, before, bracket, found, last, converged, finite, form), None

    length = math.isqrt(steps - 1) + 1
    blocks = -(-steps // length)

    @jax.checkpoint
    def block(watch, _):
        watch = lax.cond(watch.over, lambda w: w, lambda w: lax.scan(advance, w, None, length=length)[0], watch)
        # Where the motion is, not where it crosses: on a section what a method relies on may never differ.
        return watch._replace(form=either_failure(watch.form, march.inspect(watch.number, watch.phase))), None

    number = jnp.zeros((), int)
    first = value(number, phase)
    empty = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), _Bracket(number, phase, first, first)
    )
    begin = _Watch(
        number, phase, first, empty, number, jnp.array(False), jnp.array(True), jnp.array(True), RESULTS.successful
    )
    return lax.scan(block, begin, None, length=blocks)[0]


def _locate(march, value, bracket: _Bracket, found):
    """The share of a step at which the event vanishes, differentiable implicitly; the whole where it does not."""
    number, phase, before, after = bracket

    def at_share(share):
        following, _ = march.step(number, phase, share)
        return jnp.where(found, value(number, following, share), share - 1)

    def root(function, _):
        return bracketed_root(function, jnp.where(found, before, -1), jnp.where(found, after, 0))

    return lax.custom_root(at_share, jnp.ones_like(before), root, lambda linear, y: y / linear(jnp.ones_like(y)))


def _event_value(event, start: Start, seen, phase):
    structure = start.lagrangian.structure
    value = jnp.asarray(event(seen.t, structure.unflatten(phase.q), structure.unflatten(seen.v)))
    if value.shape != ():
        raise ValueError(f"An event returns a scalar of shape (), but this one returned shape {value.shape}.")
    return value.astype(phase.q.dtype)


def _crosses(before, after, direction):
    rises = (before < 0) & (after >= 0)
    falls = (before > 0) & (after <= 0)
    return {0: rises | falls, 1: rises, -1: falls}[direction]


def _only(mask, rows):
    return jnp.where(mask.reshape(-1, *[1] * (rows.ndim - 1)), rows, jnp.nan)


def _finite(array):
    return jnp.all(jnp.isfinite(array))
