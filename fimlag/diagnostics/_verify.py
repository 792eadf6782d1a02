"""A method held to what it declares."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from fimlag._compiled import compiled
from fimlag._results import RESULTS, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.diagnostics._cases import default_case
from fimlag.diagnostics._conserved import conserved_quantities, round_off
from fimlag.diagnostics._energy import Line
from fimlag.diagnostics._march import Ends, Runs, march, one_span, prepared
from fimlag.diagnostics._order import ObservedOrder, fitted_order
from fimlag.diagnostics._report import Finding, VerificationReport
from fimlag.diagnostics._structure import declares_structure, structure_defect
from fimlag.integrators import AbstractMethod
from fimlag.integrators._choice import carries
from fimlag.integrators._motion import Start, checked_start
from fimlag.mechanics import Forced, Herglotz
from fimlag.mechanics._forces import unmarked

_LADDER = (16, 23, 32, 45, 64, 91, 128, 181, 256, 362)
_FINEST = 5
_ROWS_PER_SPAN = 4


def verify(
    method: AbstractMethod,
    system: LagrangianFn | None = None,
    q0: Coordinates | None = None,
    v0: Coordinates | None = None,
    *,
    t1: RealScalarLike | None = None,
    t0: RealScalarLike = 0.0,
    s0: RealScalarLike = 0.0,
    steps: Sequence[int] = _LADDER,
    spans: int = 50,
    reference: Coordinates | Callable | None = None,
    generators: Sequence[Callable] = (),
    throw: bool = True,
) -> VerificationReport:
    r"""Hold a method to the order, structure, symmetry and conservation that it declares.

    One compiled program fits the order to the five finest errors above round-off, differentiates one step, runs
    one span forth and back, and follows energy and charges over many spans, these last with the middle number of
    steps a span. What holds, and within which bound:

    - order: the fit within 0.15 of the declared order.
    - structure: the defect of `symplecticity_defect` within a thousand units of round-off, for entries of the step's
      Jacobian of order one.
    - reversal, of a symmetric method: back at the start within a hundred units of round-off for every step, of the
      largest coordinate or momentum.
    - energy, of a symplectic or symmetric method on a system without explicit time: it moves by the order of the
      method's error and no further for very long times, so the drift over the whole run is within the band of its
      oscillation, or the round-off of all steps.
    - charges of symmetries: the same; a symplectic method keeps a charge of linear transformations to round-off.

    **Arguments:** `method`; `system`, `q0`, `v0`, `t0`, `t1`, `s0`: a motion as for `integrate`, with coordinates of
    order one and nonlinear equations, None for a textbook case that the method takes; `steps`: rising numbers of them
    for the span from `t0` to `t1`; `spans`: length of the long run; `reference`: as for `observed_order`;
    `generators`: callables `(t, q)` of symmetries, as for `noether_charge`; `throw`: raise where a run failed.

    **Returns:** a `VerificationReport`.

    **Raises:** `ValueError` for a system without start or end, and for a method that takes no textbook case. Results:
    those of `integrate`, of the long run and the one forth and back.

    **Reference:** Hairer, Lubich & Wanner (2006), sections II.1, V.1, VI.2, IX.8; theorem VI.6.7 for the charges.

    ```python
    >>> import fimlag as fl
    >>> report = fl.verify(fl.StormerVerlet())
    >>> [(finding.name, bool(finding.held)) for finding in report.findings]
    [('order', True), ('structure', True), ('reversal', True), ('energy', True), ('charge 0', True)]

    ```
    """
    if system is None:
        system, q0, v0, t1, reference, generators = default_case(method)
    if q0 is None or t1 is None:
        raise ValueError("A system to verify a method on needs its start q0, v0 and the end t1 of a span.")
    start = checked_start(system, q0, v0, t0, t1, max(steps), method, s0)
    generators = tuple(as_field(generator) for generator in generators)
    if callable(reference):
        reference = as_field(reference)
    report = _verified(start, tuple(steps), spans, reference, generators)
    return raise_unless_successful(report, throw)


@compiled
def _verified(start: Start, steps, spans, reference, generators) -> VerificationReport:
    method, counts, middle = start.method, jnp.asarray(steps), steps[len(steps) // 2]
    equations, fitness = prepared(start)
    ends = march(equations, start, _plan(start, counts, middle, spans))
    ladder, trip, long = (
        jax.tree.map(lambda rows, part=part: rows[part], ends)
        for part in (slice(len(steps)), len(steps) + 1, slice(len(steps) + 2, None))
    )
    order = fitted_order(start, counts, ladder, reference, _FINEST)
    findings = [_order_finding(method, order)]
    if declares_structure(method, start.lagrangian.lagrangian):
        defect = structure_defect(equations, start, (start.t1 - start.t0) / middle)
        findings.append(_structure_finding(method, defect))
    if method.symmetric:
        findings.append(_reversal_finding(start, trip, middle))
    lines: list[Line] = []
    if (method.symplectic or method.symmetric) and not _dissipates(start.lagrangian.lagrangian):
        conserved = conserved_quantities(start, long, spans * middle, generators)
        lines = [line for line, _ in conserved]
        findings += [finding for _, finding in conserved]
    result = first_failure(
        (fitness != RESULTS.successful, fitness),
        (~(trip.converged & jnp.all(long.converged)), RESULTS.implicit_step_failed),
        (~jnp.all(jnp.isfinite(long.q)), RESULTS.nonfinite),
    )
    band, charges = (lines[0], tuple(lines[1:])) if lines else (None, ())
    return VerificationReport(
        method=method,
        system=_name(start.lagrangian.lagrangian),
        findings=tuple(findings),
        order=order,
        energy=band,
        charges=charges,
        result=result,
    )


def _plan(start: Start, counts, middle, spans) -> Runs:
    """The ladder, one span forth and back, and many spans in rows."""
    h, stride = (start.t1 - start.t0) / middle, max(1, middle // _ROWS_PER_SPAN)
    ladder = one_span(start.t0, start.t1, jnp.append(counts, middle))
    rows = jnp.arange(-(-spans * middle // stride))
    back = Runs(start.t1[None], -h[None], jnp.asarray([middle]), jnp.asarray([False]))
    times = start.t0 + (rows * stride).astype(h.dtype) * h
    long = Runs(times, jnp.broadcast_to(h, times.shape), jnp.full(rows.shape, stride), rows == 0)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), ladder, back, long)


def _order_finding(method, order: ObservedOrder) -> Finding:
    words = f"{method.order} declared, {{:.3f}} fitted"
    return Finding(
        "order", words, (order.order,), jnp.abs(order.order - method.order), jnp.asarray(0.15), jnp.array(True)
    )


def _structure_finding(method, defect) -> Finding:
    words = f"{type(method.structure).__name__} declared, defect {{:.1e}}"
    return Finding("structure", words, (defect,), defect, 1000 * round_off(defect), jnp.array(True))


def _reversal_finding(start: Start, trip: Ends, steps: int) -> Finding:
    largest = jnp.max(jnp.abs(jnp.concatenate([start.q, start.p])))
    apart = [trip.q - start.q, trip.p - start.p, (trip.seen.t - start.t0)[None]]
    if start.s is not None and trip.seen.s is not None:
        apart.append((trip.seen.s - start.s)[None])
    distance = jnp.max(jnp.abs(jnp.concatenate(apart)))
    tolerance = 200 * steps * round_off(distance) * largest
    return Finding("reversal", "symmetric, round trip {:.1e}", (distance,), distance, tolerance, jnp.array(True))


def _dissipates(system) -> bool:
    return carries(system, Forced) or isinstance(unmarked(system), Herglotz)


def _name(system) -> str:
    bare = system.func if isinstance(system, jax.tree_util.Partial) else type(system)
    return bare.__name__
