"""Products of drifts and kicks, the machinery of all explicit symplectic methods."""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fimlag._results import RESULTS, first_failure
from fimlag.integrators._method import AbstractMethod, Observation, Step
from fimlag.integrators._separable import separable_equations
from fimlag.integrators._structure import Canonical


class Splitting(NamedTuple):
    """The shares of the step in a product of drifts and kicks, kicks and drifts in turn.

    **Attributes:** `kick_first`: whether the product starts and ends with kicks; `drifts`, `kicks`: each sums
    to one; the outer kind has one more than the inner.
    """

    kick_first: bool
    drifts: tuple[float, ...]
    kicks: tuple[float, ...]


def composed_leapfrog(weights: tuple[float, ...]) -> Splitting:
    """Leapfrog steps, kick-drift-kick, of these shares of the step one after another, their kicks joined."""
    padded = np.asarray([0.0, *weights, 0.0])
    return Splitting(True, tuple(weights), tuple(((padded[1:] + padded[:-1]) / 2).tolist()))


class AbstractSplitting(AbstractMethod):
    """Methods made of drifts and kicks; their memory is the force at the state, or nothing."""

    structure: ClassVar[Canonical] = Canonical()
    explicit: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def splitting(self) -> Splitting:
        """The drifts and kicks of a step."""

    @property
    def forces_at_end(self) -> bool:
        """Whether a step computes one force, at its end."""
        return self.splitting.kick_first and len(self.splitting.drifts) == 1

    def prepare(self, lagrangian, t, q, v, s):
        equations = separable_equations(lagrangian, t, q, v, type(self).__name__)
        regular = jnp.all(jnp.isfinite(equations.inverse))
        return equations, first_failure((~regular, RESULTS.singular_mass))

    def memory(self, equations, t, q, p, v, s):
        return equations.force(t, q) if self.splitting.kick_first else None

    def step(self, equations, t, h, q, p, memory):
        march = _kicks_outside if self.splitting.kick_first else _drifts_outside
        return march(self.splitting, equations, t, h, q, p, memory)

    def leap(self, equations, time: Callable, h, q, p, memory, first, count: int):
        """`(q, p, memory)` after a count of steps, the last flow of each joined with the first of the next.

        **Arguments:** `time(number)`: when a step starts; `first`: the number of the first step; the others as for
        `step`.
        """
        march = _kicks_joined if self.splitting.kick_first else _drifts_joined
        return march(self.splitting, equations, time, h, q, p, memory, first, count)

    def kept(self, memory):
        return None

    def observe(self, equations, t, q, p, kept):
        return Observation(t, equations.velocity(p))

    def inspect(self, equations, t, q, v, kept):
        return first_failure((jnp.any(jax.vmap(equations.differ)(t, q, v)), RESULTS.not_separable))


def _kicks_outside(splitting, equations, t, h, q, p, force):
    """Kick, drift, kick, ..., kick; the last force is the next step's first."""
    dp = equations.kick(splitting.kicks[0] * h, force)

    def drift_and_kick(state, share):
        dq, dp, _ = state
        drift, kick, elapsed = share
        dq = dq + equations.drift(drift * h, p + dp)
        force = equations.force(t + elapsed * h, q + dq)
        return (dq, dp + equations.kick(kick * h, force), force), None

    start = (jnp.zeros_like(q), dp, force)
    elapsed = np.cumsum(splitting.drifts)
    dq, dp, force = _rolled(drift_and_kick, start, splitting.drifts, splitting.kicks[1:], elapsed)
    return Step(dq, dp, force, jnp.array(True))


def _drifts_outside(splitting, equations, t, h, q, p, memory):
    """Drift, kick, drift, ..., drift."""
    dq = equations.drift(splitting.drifts[0] * h, p)

    def kick_and_drift(state, share):
        dq, dp = state
        kick, drift, elapsed = share
        dp = dp + equations.kick(kick * h, equations.force(t + elapsed * h, q + dq))
        return (dq + equations.drift(drift * h, p + dp), dp), None

    elapsed = np.cumsum(splitting.drifts)[:-1]
    shares = splitting.kicks, splitting.drifts[1:], elapsed
    dq, dp = _rolled(kick_and_drift, (dq, jnp.zeros_like(p)), *shares)
    return Step(dq, dp, memory, jnp.array(True))


def _kicks_joined(splitting, equations, time, h, q, p, force, first, count):
    """Kick; drift, kick, ..., drift and a joined kick for each step but the last; drift, kick, ..., kick."""
    drifts, kicks, elapsed = splitting.drifts, splitting.kicks, np.cumsum(splitting.drifts)

    def stages(number, q, p, *shares):
        def drift_and_kick(state, share):
            dq, dp = state
            drift, kick, elapsed = share
            dq = dq + drift * h * equations.velocity(p + dp)
            return (dq, dp + kick * h * equations.force(time(number) + elapsed * h, q + dq)), None

        return _rolled(drift_and_kick, (jnp.zeros_like(q), jnp.zeros_like(p)), *shares)

    def step(ahead, state):
        q, p = state
        dq, dp = stages(first + ahead, q, p, drifts, (*kicks[1:-1], kicks[-1] + kicks[0]), elapsed)
        return q + dq, p + dp

    q, p = lax.fori_loop(0, count - 1, step, (q, p + kicks[0] * h * force))
    last = first + count - 1
    dq, dp = stages(last, q, p, drifts[:-1], kicks[1:-1], elapsed[:-1])
    q = q + (dq + drifts[-1] * h * equations.velocity(p + dp))
    force = equations.force(time(last) + h, q)
    return q, p + (dp + kicks[-1] * h * force), force


def _drifts_joined(splitting, equations, time, h, q, p, memory, first, count):
    """Drift; kick, drift, ..., kick and a joined drift for each step but the last; kick, drift, ..., drift."""
    drifts, kicks, elapsed = splitting.drifts, splitting.kicks, np.cumsum(splitting.drifts)[:-1]

    def step(ahead, state, last=drifts[-1] + drifts[0]):
        q, p = state

        def kick_and_drift(state, share):
            dq, dp = state
            kick, drift, elapsed = share
            dp = dp + kick * h * equations.force(time(first + ahead) + elapsed * h, q + dq)
            return (dq + drift * h * equations.velocity(p + dp), dp), None

        start = jnp.zeros_like(q), jnp.zeros_like(p)
        dq, dp = _rolled(kick_and_drift, start, kicks, (*drifts[1:-1], last), elapsed)
        return q + dq, p + dp

    state = lax.fori_loop(0, count - 1, step, (q + drifts[0] * h * equations.velocity(p), p))
    return *step(count - 1, state, drifts[-1]), memory


def _rolled(body, state, *shares):
    """A scan over the shares: copies of the force in line would outgrow the loops that XLA compiles as one."""
    dtype = jax.tree.leaves(state)[0].dtype
    if len(shares[0]) == 0:
        return state
    if len(shares[0]) == 1:
        return body(state, [float(share[0]) for share in shares])[0]
    return lax.scan(body, state, [jnp.asarray(share, dtype) for share in shares])[0]
