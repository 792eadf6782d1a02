"""The rate-distortion function of a discrete memoryless source, with a certificate."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int

from fimlag._compiled import compiled
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.information._convex_program import AbstractConvexProgram, solve_program, with_derivatives_of
from fimlag.information._mutual_information import is_distribution, relative_terms


class RateDistortion(AbstractSolution):
    r"""A point of the rate-distortion function and the test channel that attains it.

    **Attributes:** `rate`: the mutual information (nats a symbol) that `test_channel` takes, an upper bound of R(D).
    `lower_bound`: $\sum_x p_x \log \alpha_x - s D$, a lower bound of it for every $s \ge 0$ and $\alpha$ with $\sum_x
    p_x \alpha_x e^{-s d_{xy}} \le 1$. `gap`: their difference. `slope`: $s = -R'(D) \ge 0$, nats per unit of
    distortion, infinite at the least distortion. `test_channel`: $Q(y | x)$, shape (n, m). `reproduction`: the
    distribution of the reproduction, shape (m,). `distortion`: $\mathrm{E} d$ of the test channel, at most the level.
    `iterations`; `result`.
    """

    rate: Float[Array, ""]
    lower_bound: Float[Array, ""]
    gap: Float[Array, ""]
    slope: Float[Array, ""]
    test_channel: Float[Array, "n m"]
    reproduction: Float[Array, " m"]
    distortion: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def rate_distortion(
    source: ArrayLike,
    distortion: ArrayLike,
    level: RealScalarLike,
    *,
    tol: float | None = None,
    max_iterations: int = 256,
    throw: bool = True,
) -> RateDistortion:
    r"""The least rate at which a source can be described within a mean distortion.

    $$R(D) = \min_{Q} \sum_{xy} p_x Q_{y|x} \log\frac{Q_{y|x}}{r_y}, \quad r = p\, Q, \quad
    \sum_{xy} p_x Q_{y|x} d_{xy} \le D; \qquad Q_{y|x} \propto r_y\, e^{-s d_{xy}}, \quad s = -R'(D)$$

    The multiplier s is an inverse temperature: the test channel is a Gibbs distribution over reproductions. The
    geometric program that is dual to it is solved by an interior-point method, and both bounds are computed from its
    solution, whatever its quality. `jax.vmap` over the level gives the curve.

    Rate, slope and test channel differentiate implicitly in source, distortion and level; not in the level at the least
    distortion, where the slope is infinite and the derivative comes out as zero.

    **Arguments:** `source`: p, shape (n,), of sum one. `distortion`: $d_{xy}$ of the reproduction y for the symbol x,
    shape (n, m), infinite where one is forbidden. `level`: D, in the same units; at the least distortion $\sum_x p_x
    \min_y d_{xy}$ the rate is that of the best reproductions alone. `tol`: the largest gap, relative to 1 + R; left
    out, $\epsilon^{0.7}$, 1e-11 in double precision. `max_iterations`: the limit on Newton's steps. `throw`: whether a
    failure raises.

    **Returns:** a `RateDistortion`.

    **Raises:** `ValueError` for shapes or options that do not fit; with `throw`, an error for `nonfinite`,
    `out_of_range` (the source is no distribution), `unattainable` (the level is below the least distortion),
    `max_steps_reached` or `stalled` (the gap did not close).

    **Reference:** Shannon (1959); Blahut (1972), theorems 5 and 6, for the bounds; Chiang & Boyd (2004), section IV,
    for the program.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fair_coin = fl.rate_distortion(jnp.array([0.5, 0.5]), 1.0 - jnp.eye(2), 0.1)
    >>> print(fair_coin.rate.round(6), fair_coin.slope.round(6), jnp.log(9.0).round(6))
    0.368064 2.197225 2.197225

    ```
    """
    dtype = precision_of(source, distortion, level)
    source, distortion, level = (jnp.asarray(x, dtype) for x in (source, distortion, level))
    if distortion.ndim != 2 or 0 in distortion.shape or source.shape != distortion.shape[:1] or level.shape != ():
        raise ValueError(
            "source must have shape (n,), distortion (n, m) and level (), but they have shapes "
            f"{source.shape}, {distortion.shape} and {level.shape}."
        )
    if (tol is not None and not tol > 0) or max_iterations < 1:
        raise ValueError(f"tol and max_iterations must be positive, but are {tol} and {max_iterations}.")
    tolerance = float(jnp.finfo(dtype).eps) ** 0.7 if tol is None else float(tol)
    return raise_unless_successful(_solve(source, distortion, level, tolerance, max_iterations), throw)


class _DualProgram(AbstractConvexProgram):
    r"""Unknown: $\log \alpha$ and s, for distortions above the least; the multipliers are the reproduction.

    At the least distortion s is infinite: only the best reproductions remain, and the unknown is idle.
    """

    source: Float[Array, " n"]
    excess: Float[Array, "n m"]
    level: Float[Array, ""]
    forbidden: Array
    at_least: Array

    def objective(self, v):
        logarithms, slope = v[:-1], v[-1]
        idle = 0.5 * jnp.sum(jnp.where(self.source > 0, 0.0, logarithms) ** 2)
        price = jnp.where(self.at_least, 0.5 * (slope - 1.0) ** 2, slope * self.level)
        return price - self.source @ logarithms + idle

    def factors(self, v):
        r"""$\alpha_x e^{-s d_{xy}}$."""
        logarithms, slope = v[:-1], jnp.where(self.at_least, 0.0, v[-1])
        return jnp.where(self.forbidden, 0.0, jnp.exp(logarithms[:, None] - slope * self.excess))

    def constraints(self, v):
        return jnp.append(self.source @ self.factors(v) - 1.0, -v[-1])


@compiled
def _solve(source, distortion, level, tolerance: float, max_iterations: int) -> RateDistortion:
    symbols, letters = distortion.shape
    program, floor, scale = _program(source, distortion, level)
    eps = float(jnp.finfo(source.dtype).eps)
    start = jnp.append(jnp.full(symbols, -1.0, source.dtype), jnp.ones((), source.dtype))
    barrier = max(0.2 * tolerance / (letters + 1), 16.0 * eps)
    solution = solve_program(program, start, barrier, max_iterations)
    channel = solution.multipliers[None, :letters] * program.factors(solution.point)
    channel = channel / jnp.sum(channel, axis=1, keepdims=True)
    channel = _within(program, channel)
    reproduction = source @ channel
    rate = with_derivatives_of(_rate(source, channel, reproduction), -solution.lagrangian)
    lower = jnp.maximum(-program.objective(solution.point), 0.0)
    gap = rate - lower
    finite = jnp.all(jnp.isfinite(source)) & ~jnp.isnan(level) & ~jnp.any(jnp.isnan(distortion))
    finite = finite & jnp.all(jnp.isfinite(jnp.min(distortion, axis=1)))
    below = level < floor - 8.0 * symbols * eps * (jnp.abs(floor) + scale)
    open_gap = ~(gap <= tolerance * (1.0 + rate))
    result = first_failure(
        (~finite, RESULTS.nonfinite),
        (~is_distribution(source), RESULTS.out_of_range),
        (below, RESULTS.unattainable),
        (open_gap & (solution.iterations >= max_iterations), RESULTS.max_steps_reached),
        (open_gap, RESULTS.stalled),
    )
    none = ~finite | below | (result == RESULTS.out_of_range)
    known = jnp.where(none, jnp.nan, 1.0).astype(source.dtype)
    mean = jnp.sum(source[:, None] * channel * jnp.where(program.forbidden, 0.0, program.excess))
    return RateDistortion(
        rate=known * rate,
        lower_bound=known * lower,
        gap=known * gap,
        slope=known * jnp.where(program.at_least, jnp.inf, solution.point[-1] / scale),
        test_channel=known * channel,
        reproduction=known * reproduction,
        distortion=known * (floor + scale * mean),
        iterations=solution.iterations,
        result=result,
    )


def _program(source, distortion, level):
    """The program in units of the range of the distortion above the least; that least, and the unit."""
    allowed = jnp.isfinite(distortion)
    least = jnp.min(distortion, axis=1)
    excess = jnp.where(allowed, distortion - least[:, None], 0.0)
    floor = source @ jnp.where(source > 0, least, 0.0)
    spread = lax.stop_gradient(jnp.max(excess))
    scale = jnp.where(spread > 0, spread, 1.0)
    room = (level - floor) / scale
    eps = float(jnp.finfo(source.dtype).eps)
    at_least = room <= 8.0 * source.size * eps * (1.0 + jnp.abs(floor) / scale)
    forbidden = ~allowed | (at_least & (excess > 0))
    room = jnp.where(at_least, 0.0, room)
    # More room than the whole range changes nothing.
    return _DualProgram(source, excess / scale, jnp.minimum(room, 2.0), forbidden, at_least), floor, scale


def _within(program, channel):
    """The channel, mixed with the best reproductions where its distortion exceeds the level in the last digits."""
    excess = jnp.where(program.forbidden, 0.0, program.excess)
    mean = program.source @ jnp.sum(channel * excess, axis=1)
    over = ~program.at_least & (mean > program.level)
    share = jnp.where(over, (mean - program.level) / jnp.where(over, mean, 1.0), 0.0)
    best = jnp.where((program.excess <= 0) & ~program.forbidden, channel, 0.0)
    total = jnp.sum(best, axis=1, keepdims=True)
    best = jnp.where(total > 0, best / jnp.where(total > 0, total, 1.0), channel)
    return (1.0 - share) * channel + share * best


def _rate(source, channel, reproduction):
    used = source > 0
    terms = relative_terms(channel, jnp.broadcast_to(reproduction[None], channel.shape))
    return jnp.sum(jnp.where(used, source, 0.0) * jnp.sum(terms, axis=1))
