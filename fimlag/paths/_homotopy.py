"""Newton's method along a family of problems, where the last of them is too hard to begin with."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag.paths import _lanes as lanes
from fimlag.paths._discrete_action import DiscreteAction, Unknowns
from fimlag.paths._functionals import Barrier
from fimlag.paths._newton import NewtonState

_SHORTEST = 1 / 64
"""The share of the way below which no step is tried."""
_ATTEMPTS = 64
_STAGES = 10
"""The steps in which a barrier is lowered, where all goes well."""


class _Progress(eqx.Module):
    """How far a lane has come: the unknowns `y` at the share `reached`, those at the one before, and what to try next.

    `state` is that of the last problem of the family where it was tried, else of the first.
    """

    y: Unknowns
    reached: Float[Array, " lanes"]
    earlier_y: Unknowns
    earlier: Float[Array, " lanes"]
    tried: Float[Array, " lanes"]
    stride: Float[Array, " lanes"]
    state: NewtonState
    iterations: Int[Array, " lanes"]
    attempts: Int[Array, " lanes"]
    finished: Bool[Array, " lanes"]


def solve_by_continuation(problem: DiscreteAction, y: Unknowns, iterate: Callable[..., NewtonState]) -> NewtonState:
    """The iterate `iterate(problem, y)`, or where it fails the one reached by letting go the stations step by step.

    They are drawn together at the first, where the path is short.

    **Reference:** Allgower & Georg (1990), ch. 6.
    """

    def stretched(share):
        return replace(problem, stations=problem.stations.towards_start(share))

    short = jax.tree_util.tree_map(jnp.zeros_like, y)
    return _follow(stretched, lambda share: share, iterate, short, y, first=1.0, stride=1.0)


def solve_by_barriers(
    problem: DiscreteAction, y: Unknowns, iterate: Callable[..., NewtonState]
) -> tuple[DiscreteAction, NewtonState]:
    """The iterate under the last of barriers whose weight falls from stage to stage, and the problem with it.

    **Reference:** Nocedal & Wright (2006), sec. 19.6; Hauser & Saccon (2006).
    """
    barriers = _barriers(problem, y)

    def lowered(share):
        return replace(problem, barrier=barriers(share))

    state = _follow(lowered, lambda share: barriers(share).weight, iterate, y, y, first=0.0, stride=1 / _STAGES)
    return lowered(jnp.ones_like(y.nodes[0, 0])), state


def _follow(
    family: Callable, parameter: Callable, iterate: Callable, y: Unknowns, at_end: Unknowns, *, first, stride
) -> NewtonState:
    """Newton's method at shares of the way, by strides that grow where it succeeds and shrink where it fails.

    Each begins on the secant through the last two, linear in the parameter of the family, at the beginning through `y`
    and a guess of the unknowns at the end.
    """
    nothing = jnp.zeros_like(y.nodes[0, 0])
    count, no = jnp.zeros(nothing.shape, int), jnp.zeros(nothing.shape, bool)
    blank = lanes.zeros_of(jax.eval_shape(lambda y: iterate(family(nothing), y), y))
    start = _Progress(y, nothing, at_end, nothing + 1, nothing + first, nothing + stride, blank, count, count, no)

    def predicted(now: _Progress) -> Unknowns:
        step, base = parameter(now.tried) - parameter(now.reached), parameter(now.earlier) - parameter(now.reached)
        ratio = jnp.where(base == 0, 0.0, step / jnp.where(base == 0, 1.0, base))
        return jax.tree_util.tree_map(lambda y, z: y + lanes.along(ratio, y) * (z - y), now.y, now.earlier_y)

    def attempt(now: _Progress) -> _Progress:
        state = iterate(family(now.tried), predicted(now))
        succeeded = state.converged & (state.morse_index == 0)
        reached = jnp.where(succeeded, now.tried, now.reached)
        grown = jnp.where(succeeded, jnp.minimum(1.5 * now.stride, 0.5), 0.5 * now.stride)
        decisive = (now.tried >= 1) | (now.attempts == 0)
        after = _Progress(
            y=lanes.where(succeeded, state.y, now.y),
            reached=reached,
            earlier_y=lanes.where(succeeded, now.y, now.earlier_y),
            earlier=jnp.where(succeeded, now.reached, now.earlier),
            tried=jnp.minimum(reached + grown, 1.0),
            stride=grown,
            state=lanes.where(decisive, state, now.state),
            iterations=now.iterations + state.iterations,
            attempts=now.attempts + 1,
            finished=(succeeded & (reached >= 1)) | (grown < _SHORTEST) | (now.attempts >= _ATTEMPTS),
        )
        return lanes.where(~now.finished, after, now)

    last = lax.while_loop(lambda now: ~jnp.all(now.finished), attempt, start)
    converged = last.state.converged & (last.reached >= 1)
    return eqx.tree_at(lambda s: (s.converged, s.iterations), last.state, (converged, last.iterations))


def _barriers(problem: DiscreteAction, y: Unknowns) -> Callable:
    """Barriers by the share of the way, in units that the first path has."""
    plain = replace(problem, barrier=None)
    stations = problem.stations_of(y)
    eps = jnp.finfo(y.nodes.dtype).eps
    lagrangian = jnp.abs(plain.evaluate(y)[0]) / (stations.times[-1] - stations.times[0])
    margins = jnp.max(jnp.abs(problem.margins(y)), axis=(1, 2))
    size = jnp.where(lagrangian > 0, lagrangian, 1.0)
    reach = jnp.where(margins > 0, margins, 1.0)

    def barrier(share) -> Barrier:
        weight = 0.1 * eps ** (0.6 * share)
        return Barrier(weight * size, 0.1 * weight[None] * reach)

    return barrier
