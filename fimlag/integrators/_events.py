"""Events: where a function of a motion changes sign, and the state there."""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.integrators._bracket import bracketed_root
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import March, Phase, Start, begin, check_counts, checked_start


class Crossings(AbstractSolution):
    """The states at the crossings of an event, in the order in which the motion meets them; NaN in rows without one.

    **Attributes:** `t`, shape (count,): the times; `q`, `v`, `p`: points, velocities and momenta, each leaf of the
    caller's structure with the rows stacked on axis 0; `found`, shape (count,): which rows hold a crossing; `index`,
    shape (count,): the whole steps taken before each, -1 without one; `result`: a member of `RESULTS`; `method`: the
    method used; `s`: the action of a contact system, else None.
    """

    t: Float[Array, " count"]
    q: PyTree[Array]
    v: PyTree[Array]
    p: PyTree[Array]
    found: Bool[Array, " count"]
    index: Int[Array, " count"]
    result: RESULTS
    method: AbstractMethod
    s: Float[Array, " count"] | None = None


class EventSolution(AbstractSolution):
    """The state at an event; NaN where there is none.

    **Attributes:** `t`: its time, shape (); `q`, `v`, `p`: point, velocity and momentum in the caller's structure;
    `index`: the whole steps taken before it, -1 without one; `result`: a member of `RESULTS`; `method`: the method
    used; `s`: the action of a contact system, else None.
    """

    t: Float[Array, ""]
    q: PyTree[Array]
    v: PyTree[Array]
    p: PyTree[Array]
    index: Int[Array, ""]
    result: RESULTS
    method: AbstractMethod
    s: Float[Array, ""] | None = None


def integrate_to_event(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    event: Callable,
    *,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    direction: int = 0,
    method: AbstractMethod | None = None,
    s0: RealScalarLike = 0.0,
    throw: bool = True,
) -> EventSolution:
    r"""The motion of a Lagrangian up to the first sign change of an event.

    $$g(t, q, v) = 0, \qquad \mathrm d t = -\frac{\mathrm d g}{\partial_t g + \partial_q g \cdot v + \partial_v g \cdot a}$$

    The sign is looked at after every step; the last step is a part of one step of the method itself, its length
    solved for to round-off, so that the state at the event has the accuracy of the method and not of an
    interpolation. Nothing of the steps before is kept, and marching ends soon after the event. The time and the
    state differentiate by the implicit function theorem, in the start and in whatever system and event depend on.

    An event that touches zero without a change of sign at the ends of a step is not seen, nor are two crossings
    within one step: raise `steps`. Where the event is tangent to the motion its time has no derivative. A motion
    that starts at a zero of the event meets it at the next one; what round-off leaves of that zero counts: give a
    `direction`, or start a little away.

    **Arguments:** `system`, `q0`, `v0`, `t0`, `t1`, `steps`, `method`, `s0`, `throw`: as for `integrate`, with t1 the
    latest time; `event`: a callable `(t, q, v) -> scalar`, continuous; `direction`: 1 for crossings from negative to
    positive, -1 for those from positive to negative, 0 for both.

    **Returns:** an `EventSolution`.

    **Raises:** `ValueError` as `integrate`, for an event that is no scalar and for another direction. Results: as for
    `integrate`, `no_event`, and `discontinuous_event`.

    **Reference:** Henon (1982), for steps that end on a section; Chen, Amos & Nickel (2021), eq. 9, for the derivative.

    ```python
    >>> import fimlag as fl
    >>> falling = fl.Separable(lambda t, q, v: v**2 / 2 - 2.0 * q)
    >>> landing = fl.integrate_to_event(falling, 1.0, 0.0, lambda t, q, v: q, t1=3.0, steps=8)
    >>> round(float(landing.t), 12), round(float(landing.v), 12)
    (1.0, -2.0)

    ```
    """
    start = checked_start(system, q0, v0, t0, t1, steps, method, s0)
    crossing, failure = _seek(start, as_field(event), _checked(direction), 1)
    t, q, v, p, index, s = jax.tree.map(lambda row: row[0], _rows(start, crossing))
    result = RESULTS.where(
        failure == RESULTS.successful, first_failure((~crossing.found[0], RESULTS.no_event)), failure
    )
    return raise_unless_successful(EventSolution(t, q, v, p, index, result, start.method, s), throw)


def crossings(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    event: Callable,
    *,
    count: int,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    direction: int = 0,
    method: AbstractMethod | None = None,
    s0: RealScalarLike = 0.0,
    throw: bool = True,
) -> Crossings:
    r"""The first sign changes of an event along a motion, as many as there are, up to a number.

    $$g(t_k, q(t_k), v(t_k)) = 0, \qquad t_0 < t_1 < \dots$$

    Each is located as in `integrate_to_event`, at most one in a step.

    **Arguments:** as for `integrate_to_event`; `count`: the most that are looked for, a Python integer.

    **Returns:** `Crossings`; `found` tells how many there are, so that fewer than `count` are no failure.

    **Raises:** `ValueError` as `integrate_to_event`, and for a count that is no positive integer.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> turns = fl.crossings(L, 1.0, 0.0, lambda t, q, v: q, count=4, t1=10.0, steps=1000, method=fl.Yoshida4())
    >>> (turns.t / jnp.pi).round(6).tolist()
    [0.5, 1.5, 2.5, nan]

    ```
    """
    check_counts(count=count)
    start = checked_start(system, q0, v0, t0, t1, steps, method, s0)
    found, failure = _seek(start, as_field(event), _checked(direction), count)
    return raise_unless_successful(_crossings(start, found, failure), throw)


def poincare_section(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    section: Callable,
    *,
    count: int,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    direction: int = 1,
    method: AbstractMethod | None = None,
    throw: bool = True,
) -> Crossings:
    r"""Successive points of a motion on a Poincaré section, crossed in one direction.

    $$g(t, q, v) = 0, \qquad \dot g > 0$$

    **Arguments:** as for `crossings`; `section`: a callable `(t, q, v) -> scalar`, zero on the section; `count`: the
    number of points; `direction`: 1 or -1.

    **Returns:** `Crossings`.

    **Raises:** `ValueError` as `crossings`, and for a direction of 0: the points of both directions are no one map.
    Results: as for `crossings`, and `no_event` where t1 comes before the last point.

    **Reference:** Henon & Heiles (1964); Henon (1982).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L, (q0, v0) = fl.problems.henon_heiles(), (jnp.array([0.0, 0.1]), jnp.array([0.35, 0.1]))
    >>> points = fl.poincare_section(L, q0, v0, lambda t, q, v: q[0], count=5, t1=50.0, steps=2000)
    >>> points.q.shape, bool(jnp.max(jnp.abs(points.q[:, 0])) < 1e-15)
    ((5, 2), True)

    ```
    """
    if direction == 0:
        raise ValueError("A Poincaré section is crossed in one direction: give 1 or -1.")
    check_counts(count=count)
    start = checked_start(system, q0, v0, t0, t1, steps, method, 0.0)
    found, failure = _seek(start, as_field(section), _checked(direction), count)
    points = _crossings(start, found, failure)
    missing = first_failure((~jnp.all(points.found), RESULTS.no_event))
    result = RESULTS.where(points.result == RESULTS.successful, missing, points.result)
    return raise_unless_successful(eqx.tree_at(lambda points: points.result, points, result), throw)


class _Watch(NamedTuple):
    """What is carried from step to step while sign changes are looked for.

    **Attributes:** `number`: of the step to be taken; `phase`: before it; `value`: of the event there; `bracket`:
    number, phase and the event's values around the steps in which it crossed; `found`: how many; `over`: whether
    there is nothing left to look for; `converged`: whether all steps were solved; `finite`: their states.
    """

    number: Int[Array, ""]
    phase: Phase
    value: Float[Array, ""]
    bracket: "_Bracket"
    found: Int[Array, ""]
    over: Bool[Array, ""]
    converged: Bool[Array, ""]
    finite: Bool[Array, ""]


class _Bracket(NamedTuple):
    number: Int[Array, "*count"]
    phase: Phase
    before: Float[Array, "*count"]
    after: Float[Array, "*count"]


class _Found(NamedTuple):
    """Flat rows of crossings."""

    t: Float[Array, " count"]
    q: Float[Array, "count d"]
    v: Float[Array, "count d"]
    p: Float[Array, "count d"]
    found: Bool[Array, " count"]
    index: Int[Array, " count"]
    s: Float[Array, " count"] | None


@eqx.filter_jit
def _seek(start: Start, event: Callable, direction: int, count: int) -> tuple[_Found, RESULTS]:
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
        (form != RESULTS.successful, form),
    )
    states = jax.tree.map(lambda row: _only(crossed, row), (rows.t, phases.q, rows.v, phases.p, rows.s))
    t, q, v, p, s = states
    return _Found(t, q, v, p, crossed, jnp.where(crossed, numbers, -1), s), failure


def _watch(march: March, phase: Phase, value: Callable, direction: int, count: int, steps: int) -> _Watch:
    """March until enough sign changes are seen, in blocks that are skipped once there is nothing left to see.

    When all is over the state stays before its last step, which is repeated and changes nothing: so no step is taken
    that could leave the domain and put NaN into a derivative.
    """

    def advance(watch, _):
        number, phase, before, bracket, found, over, converged, finite = watch
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
        return _Watch(number, phase, before, bracket, found, last, converged, finite), None

    length = math.isqrt(steps - 1) + 1
    blocks = -(-steps // length)

    @jax.checkpoint
    def block(watch, _):
        return lax.cond(watch.over, lambda w: w, lambda w: lax.scan(advance, w, None, length=length)[0], watch), None

    number = jnp.zeros((), int)
    first = value(number, phase)
    empty = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), _Bracket(number, phase, first, first)
    )
    begin = _Watch(number, phase, first, empty, number, jnp.array(False), jnp.array(True), jnp.array(True))
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


def _crossings(start: Start, found: _Found, failure) -> Crossings:
    t, q, v, p, index, s = _rows(start, found)
    return Crossings(t, q, v, p, found.found, index, failure, start.method, s)


def _rows(start: Start, found: _Found):
    q, v, p = (jax.vmap(start.lagrangian.structure.unflatten)(each) for each in (found.q, found.v, found.p))
    return found.t, q, v, p, found.index, found.s


def _only(mask, rows):
    return jnp.where(mask.reshape(-1, *[1] * (rows.ndim - 1)), rows, jnp.nan)


def _finite(array):
    return jnp.all(jnp.isfinite(array))


def _checked(direction: int) -> int:
    if isinstance(direction, bool) or not isinstance(direction, int | np.integer) or direction not in (-1, 0, 1):
        raise ValueError(f"direction must be 1, -1 or 0, but is {direction!r}.")
    return int(direction)
