"""A motion as a march of steps, for what reads its states without storing a trajectory."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS
from fimlag._scalarise import entries_of
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.integrators._choice import refuse_marked_contact
from fimlag.integrators._default import default_method
from fimlag.integrators._method import AbstractMethod, Observation, advanced, inspected
from fimlag.mechanics import Herglotz, PhaseSpaceLagrangian
from fimlag.mechanics._forces import unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.mechanics._phase_space import flat_phase_velocity

_INSPECTED = 8


class Phase(NamedTuple):
    """A state of a march: point, momentum, and what the method carries beside them."""

    q: Float[Array, " d"]
    p: Float[Array, " d"]
    memory: PyTree


class Start(eqx.Module):
    """Where a motion starts and how it is marched, checked and on flat vectors."""

    lagrangian: FlatLagrangian
    method: AbstractMethod
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    q: Float[Array, " d"]
    v: Float[Array, " d"]
    s: Float[Array, ""] | None
    steps: int = eqx.field(static=True)

    @property
    def p(self) -> Float[Array, " d"]:
        """The momentum at the start."""
        return jax.grad(self.lagrangian, argnums=2)(self.t0, self.q, self.v, *([] if self.s is None else [self.s]))

    @property
    def finite(self) -> Bool[Array, ""]:
        """Whether all of it is finite."""
        numbers = (self.t0, self.t1, self.q, self.v, self.p, 0.0 if self.s is None else self.s)
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(number)) for number in numbers]))


class March(eqx.Module):
    """The steps of a motion, of one length h."""

    method: AbstractMethod
    equations: PyTree
    t0: Float[Array, ""]
    h: Float[Array, ""]

    def time(self, number: Int[Array, "*rows"]) -> Float[Array, "*rows"]:
        """The time at which a step starts, in the method's own count of time."""
        return self.t0 + number.astype(self.h.dtype) * self.h

    def step(self, number, phase: Phase, share: RealScalarLike = 1.0) -> tuple[Phase, Bool[Array, ""]]:
        """The phase after a share of a step, and whether its equations were solved."""
        *after, converged = advanced(self.method, self.equations, self.time(number), share * self.h, *phase)
        return Phase(*after), jnp.asarray(converged)

    def observe(self, number, phase: Phase, share: RealScalarLike = 0.0) -> Observation:
        """The row of a phase, a share of a step after the start of a step."""
        t = self.time(number) + share * self.h
        return self.observe_at(t, phase.q, phase.p, self.method.kept(phase.memory))

    def observe_at(self, t, q, p, kept) -> Observation:
        """The row of a state at a time, in the method's own count of time."""
        return self.method.observe(self.equations, t, q, p, kept)

    def relies(self, phase: Phase) -> bool:
        """Whether the method relies on what its formulas do not show, so that `inspect` may find something."""

        def sound():
            return self.inspect(jnp.asarray(0), phase) == RESULTS.successful

        read = entries_of(sound)
        return read is None or read[0].item().value is None

    def inspect(self, number, phase: Phase) -> RESULTS:
        """What the method finds wrong with a phase at the start of a step."""
        kept = self.method.kept(phase.memory)
        return inspected(self.method, self.equations, self.observe(number, phase), phase.q, kept)


def checked_start(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    t0: RealScalarLike,
    t1: RealScalarLike,
    steps: int,
    method: AbstractMethod | None,
    s0: RealScalarLike,
) -> Start:
    """The arguments of a motion as `integrate` takes them, checked."""
    check_counts(steps=steps)
    for name, number in (("t0", t0), ("t1", t1), ("s0", s0)):
        if jnp.shape(number) != ():
            raise ValueError(f"{name} must be a number, but has shape {jnp.shape(number)}.")
    refuse_marked_contact(system)
    method = default_method(system, q0) if method is None else method
    system = as_field(system)
    q, v, structure = starting_state(system, q0, v0, t0)
    s = jnp.asarray(s0, q.dtype) if isinstance(unmarked(system), Herglotz) else None
    times = jnp.asarray(t0, q.dtype), jnp.asarray(t1, q.dtype)
    return Start(FlatLagrangian(system, structure), method, *times, q, v, s, steps)


def begin(start: Start, q, p, v, s) -> tuple[March, Phase, RESULTS]:
    """The march from a state, its first phase, and what is wrong with them; the state may differ from the start's."""
    equations, result = start.method.prepare(start.lagrangian, start.t0, q, v, s)
    memory = start.method.memory(equations, start.t0, q, p, v, s)
    h = (start.t1 - start.t0) / start.steps
    return March(start.method, equations, start.t0, h), Phase(q, p, memory), result


def starting_state(system: LagrangianFn, q0, v0, t0):
    """`(q, v, structure)` of a start on flat vectors; the velocity of a system of first order follows from q0."""
    q, structure = flatten(q0, "q0")
    first_order = isinstance(unmarked(system), PhaseSpaceLagrangian)
    if first_order and v0 is not None:
        raise ValueError("The points of a PhaseSpaceLagrangian determine its velocity: give v0 as None.")
    if first_order:
        return q, flat_phase_velocity(FlatLagrangian(system, structure), jnp.asarray(t0, q.dtype), q), structure
    if v0 is None:
        raise ValueError("v0 may be None for a PhaseSpaceLagrangian only: this motion needs an initial velocity.")
    return q, structure.flatten(v0, "v0").astype(q.dtype), structure


def inspected_steps(steps: int) -> np.ndarray:
    """The counts of steps (or rows) after which a motion is inspected: at its end, and before it in no rhythm.

    So neither a closed orbit nor a driving force in step with the rows hides what changed on the way.
    """
    shares = np.arange(1, _INSPECTED) * (5**0.5 - 1) / 2 % 1
    return np.unique([*np.ceil(shares * steps).astype(int), steps])


def check_counts(**counts: int):
    """Raise a `ValueError` for a count that is no positive integer known while tracing."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be a positive integer known while tracing, but is {count!r}.")
