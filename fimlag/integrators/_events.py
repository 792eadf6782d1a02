"""Events: where a function of a motion changes sign, and the state there."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from fimlag._results import RESULTS, AbstractSolution, either_failure, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.integrators._crossing import Found, seek_crossings
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import Start, check_counts, checked_start


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

    $$g(t, q, v) = 0, \qquad
    \frac{\mathrm d t}{\mathrm d \alpha} = -\frac{\partial g}{\partial \alpha} \Big/ \frac{\mathrm d g}{\mathrm d t}$$

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
    found, failure = seek_crossings(start, as_field(event), _checked(direction), 1)
    one = _crossings(start, found, failure)
    t, q, v, p, index, s = jax.tree.map(lambda rows: rows[0], (one.t, one.q, one.v, one.p, one.index, one.s))
    result = either_failure(failure, first_failure((~one.found[0], RESULTS.no_event)))
    return raise_unless_successful(
        EventSolution(t=t, q=q, v=v, p=p, index=index, result=result, method=start.method, s=s), throw
    )


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
    found, failure = seek_crossings(start, as_field(event), _checked(direction), count)
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
    found, failure = seek_crossings(start, as_field(section), _checked(direction), count)
    points = _crossings(start, found, failure)
    result = either_failure(points.result, first_failure((~jnp.all(points.found), RESULTS.no_event)))
    return raise_unless_successful(eqx.tree_at(lambda points: points.result, points, result), throw)


def _crossings(start: Start, found: Found, failure: RESULTS) -> Crossings:
    q, v, p = (jax.vmap(start.lagrangian.structure.unflatten)(each) for each in (found.q, found.v, found.p))
    rows = {"t": found.t, "q": q, "v": v, "p": p, "s": found.s}
    return Crossings(**rows, found=found.found, index=found.index, result=failure, method=start.method)


def _checked(direction: int) -> int:
    if isinstance(direction, bool) or not isinstance(direction, int | np.integer) or direction not in (-1, 0, 1):
        raise ValueError(f"direction must be 1, -1 or 0, but is {direction!r}.")
    return int(direction)
