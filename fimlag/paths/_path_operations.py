"""What becomes of whole paths: resampled, measured, set to constant speed, turned round and joined."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag._types import MetricFn
from fimlag.geometry import as_metric
from fimlag.mechanics._discrete import element_basis
from fimlag.paths._mesh import nodal_times, place_among

_NEWTON_STEPS = 64


@compiled
def resampled(path, knots: Float[Array, " edges"], degree: int):
    """The path that interpolates another at the nodes of another mesh, in the same free coordinates."""
    nodes = jax.vmap(path.displacement)(nodal_times(knots, degree))
    return replace(path, knots=knots, start=path.start + nodes[0], offsets=nodes - nodes[:1], degree=degree)


@compiled
def run_backward(path):
    """The path run backward through the same interval."""
    knots = jnp.append(path.t0 + (path.t1 - path.knots[:0:-1]), path.t1)
    offsets = path.offsets[::-1]
    return replace(path, knots=knots, start=path.start + offsets[0], offsets=offsets - offsets[:1])


@compiled
def length(path, metric: MetricFn, t: Float[Array, ""] | None, points: int) -> Float[Array, ""]:
    """The length of a path up to a time, or of all of it, NaN outside its interval."""
    speed = _speed_of(path, metric)
    whole = jax.vmap(lambda left, right: _integral(speed, left, right, points))(path.knots[:-1], path.knots[1:])
    if t is None:
        return jnp.sum(whole)
    element, share = place_among(path.knots, t)
    left, right = path.knots[element], path.knots[element + 1]
    before = jnp.sum(jnp.where(jnp.arange(path.elements) < element, whole, 0.0))
    return before + _integral(speed, left, left + share * (right - left), points)


@compiled
def with_constant_speed(path, metric: MetricFn, degree: int, points: int):
    """The path whose time is proportional to its length; each element becomes one."""
    speed = eqx.filter_closure_convert(_speed_of(path, metric), path.t0)
    left, right = path.knots[:-1], path.knots[1:]
    lengths = jax.vmap(lambda a, b: _integral(speed, a, b, points))(left, right)
    reached = jnp.cumsum(lengths)
    inner = path.t0 + (path.t1 - path.t0) * (reached[:-1] / reached[-1])
    knots = jnp.concatenate([path.t0[None], inner, path.t1[None]])

    def times(a, b, whole):
        shares = jnp.asarray(element_basis(degree).nodes[:-1], knots.dtype)
        return jax.vmap(lambda share: _time_at(speed, a, b, share * whole, share, points))(shares)

    nodes = jax.vmap(path.displacement)(jnp.append(jax.vmap(times)(left, right, lengths).ravel(), path.t1))
    return replace(path, knots=knots, offsets=nodes, degree=degree)


def joined(first, *rest):
    """Paths one after another, all of the highest degree among them."""
    degree = max(path.degree for path in (first, *rest))
    paths = [path if path.degree == degree else resampled(path, path.knots, degree) for path in (first, *rest)]
    whole = paths[0]
    for number, path in enumerate(paths[1:], start=2):
        whole = _two_joined(whole, path, number)
    return whole


def _two_joined(earlier, later, number):
    meet = _meet(earlier, later, number)
    if not isinstance(meet, Tracer) and not meet:
        raise ValueError(
            f"Path {number} does not start where the one before it ends, or their times run opposite ways."
        )
    knots = jnp.append(earlier.knots, later.knots[1:] + (earlier.t1 - later.t0))
    behind = later.offsets[1:] - later.offsets[:1] + earlier.offsets[-1:]
    return replace(earlier, knots=knots, offsets=jnp.where(meet, jnp.append(earlier.offsets, behind, axis=0), jnp.nan))


def _meet(earlier, later, number):
    """Whether one path starts where another ends, to eps^0.75 of their points, and both run the same way."""
    same_chart = eqx.tree_equal(earlier.chart, later.chart)
    if later.structure != earlier.structure or same_chart is False or earlier.start.dtype != later.start.dtype:
        raise ValueError(
            f"Path {number} is of another structure, precision or chart than those before it: paths of one solver and "
            "one Lagrangian can be joined."
        )
    scale = jnp.max(jnp.abs(jnp.concatenate([earlier.start[None], earlier.offsets, later.offsets])))
    gap = jnp.abs((later.start + later.offsets[0]) - (earlier.start + earlier.offsets[-1]))
    close = jnp.all(gap <= jnp.finfo(gap.dtype).eps ** 0.75 * scale)
    return same_chart & close & ((earlier.t1 > earlier.t0) == (later.t1 > later.t0))


def _speed_of(path, metric):
    metric = as_metric(metric)

    def speed(t):
        square = metric.quadratic(path(t), path.velocity(t))
        rest = square == 0.0  # where the root has no derivative
        return jnp.where(rest, 0.0, jnp.sqrt(jnp.where(rest, 1.0, square)))

    return speed


def _integral(speed, a, b, points):
    """The integral of the speed between two times of one element, by Gauss's rule."""
    basis = element_basis(1, points)
    times = a + (b - a) * jnp.asarray(basis.abscissae, a.dtype)
    return jnp.abs(b - a) * jnp.dot(jnp.asarray(basis.weights, a.dtype), jax.vmap(speed)(times))


def _time_at(speed, a, b, target, share, points):
    """The time in one element at which the length since its start is as given, near a share of its duration.

    Two steps of Newton's method from where the search ended carry derivatives, right to the second order.
    """
    c = _found((speed, a, b, target, share), points)
    for _ in range(2):
        left, rate = _missing(speed, a, b, target, points, c)
        c = c + jnp.where(rate > 0.0, left / jnp.where(rate > 0.0, rate, 1.0), 0.0)
    return a + c * (b - a)


def _missing(speed, a, b, target, points, c):
    """What is missing to the length at a fraction of the element, and its rate of change."""
    length = _integral(speed, a, a + c * (b - a), points)
    return target - length, jnp.abs(b - a) * speed(a + c * (b - a))


@eqx.filter_custom_jvp
def _found(problem, points):
    """The fraction of the element at which nothing is missing, as a number without derivatives."""
    speed, a, b, target, share = problem
    return _increasing_root(lambda c: _missing(speed, a, b, target, points, c), share)


@_found.def_jvp
def _found_jvp(primals, tangents):
    del tangents
    found = _found(*primals)
    return found, jnp.zeros_like(found)


def _increasing_root(missing, c):
    """Where in [0, 1] an increasing function has its value: Newton's method between what is too small and too large.

    `missing(c)` are what is missing to the value and the slope.
    """

    def step(state):
        low, high, c, _, number = state
        left, rate = missing(c)
        low, high = jnp.where(left > 0.0, c, low), jnp.where(left > 0.0, high, c)
        newton = c + left / rate
        following = jnp.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        return low, high, following, jnp.abs(following - c), number + 1

    def unfinished(state):
        return (state[3] > 4 * jnp.finfo(c.dtype).eps) & (state[4] < _NEWTON_STEPS)

    return lax.while_loop(unfinished, step, (jnp.zeros_like(c), jnp.ones_like(c), c, jnp.ones_like(c), 0))[2]
