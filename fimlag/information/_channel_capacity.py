"""The capacity of a discrete memoryless channel, with a certificate."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int

from fimlag._compiled import compiled
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.information._convex_program import AbstractConvexProgram, solve_program
from fimlag.information._mutual_information import is_distribution, relative_terms


class ChannelCapacity(AbstractSolution):
    r"""The capacity and the inputs that attain it.

    **Attributes:** `capacity`: the mutual information (nats a use) that `inputs` attain, a lower bound of the capacity.
    `upper_bound`: $\max_x D(W_x \Vert q) - \gamma (c_x - \Gamma)$ at a distribution q of the outputs, an upper bound of
    it, whatever q and $\gamma \ge 0$. `gap`: their difference. `inputs`: the best distribution p of the inputs, shape
    (n,); useless inputs keep about the tolerance, and where several are best it is the one that spreads most.
    `outputs`: $q = p W$, shape (m,). `divergences`: $D(W_x \Vert q)$ of each input (nats), shape (n,), equal to $C +
    \gamma (c_x - \Gamma)$ where p > 0 and at most that elsewhere. `expected_cost`: $\mathrm{E} c$, 0 without a cost.
    `cost_multiplier`: $\gamma = \partial C / \partial \Gamma \ge 0$, 0 without a cost. `iterations`; `result`.
    """

    capacity: Float[Array, ""]
    upper_bound: Float[Array, ""]
    gap: Float[Array, ""]
    inputs: Float[Array, " n"]
    outputs: Float[Array, " m"]
    divergences: Float[Array, " n"]
    expected_cost: Float[Array, ""]
    cost_multiplier: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def channel_capacity(
    channel: ArrayLike,
    *,
    cost: ArrayLike | None = None,
    budget: RealScalarLike | None = None,
    tol: float | None = None,
    max_iterations: int = 256,
    throw: bool = True,
) -> ChannelCapacity:
    r"""The capacity of a discrete memoryless channel, under a limit on the expected cost of its inputs if one is given.

    $$C = \max_p \sum_{xy} p_x W_{xy} \log\frac{W_{xy}}{q_y} = \min_q \max_x D(W_x \Vert q), \qquad q = p W, \quad
    \mathrm{E}_p c \le \Gamma$$

    The geometric program that is dual to it, $\min \log \sum_y e^{u_y}$ subject to $\sum_y W_{xy} (\log W_{xy} - u_y)
    \le \gamma (c_x - \Gamma)$, is solved by an interior-point method, whose steps do not grow in number where an input
    is all but useless, as those of Blahut's and Arimoto's algorithm do. Both bounds are computed from the solution,
    whatever its quality.

    Capacity and inputs differentiate implicitly in channel, cost and budget: $\partial C / \partial W_{xy} = p_x \log
    (W_{xy} / q_y)$ along changes that keep the rows normalised. Entries that are zero are held impossible: the
    derivative along them, infinite in truth, is given as zero. Where several inputs are best, only the capacity has a
    derivative.

    **Arguments:** `channel`: $W_{xy}$, the probability of output y for input x, shape (n, m), rows of sum one. `cost`,
    `budget`: c of each input, shape (n,), and the limit $\Gamma$ on its mean, in the same units; both or neither.
    `tol`: the largest gap, relative to 1 + C; left out, $\epsilon^{0.7}$, 1e-11 in double precision. `max_iterations`:
    the limit on Newton's steps. `throw`: whether a failure raises.

    **Returns:** a `ChannelCapacity`.

    **Raises:** `ValueError` for shapes or options that do not fit; with `throw`, an error for `nonfinite`,
    `out_of_range` (a row is no distribution), `unattainable` (the budget is below the least cost),
    `max_steps_reached` or `stalled` (the gap did not close).

    **Reference:** Shannon (1948), section 12; Blahut (1972) and Arimoto (1972) for the bounds; Chiang & Boyd (2004),
    section III, for the program.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> z_channel = fl.channel_capacity(jnp.array([[1.0, 0.0], [0.5, 0.5]]))
    >>> print(f"{z_channel.capacity:.9f} {jnp.log(1.25):.9f}", z_channel.inputs.round(6))
    0.223143551 0.223143551 [0.6 0.4]

    ```
    """
    dtype = precision_of(channel, cost, budget)
    channel = jnp.asarray(channel, dtype)
    if channel.ndim != 2 or 0 in channel.shape:
        raise ValueError(f"channel must be a matrix of shape (inputs, outputs), but has shape {channel.shape}.")
    if (cost is None) != (budget is None):
        raise ValueError("cost and budget belong together: give both or neither.")
    if (tol is not None and not tol > 0) or max_iterations < 1:
        raise ValueError(f"tol and max_iterations must be positive, but are {tol} and {max_iterations}.")
    if cost is not None:
        cost, budget = jnp.asarray(cost, dtype), jnp.asarray(budget, dtype)
        if cost.shape != channel.shape[:1] or budget.shape != ():
            raise ValueError(
                f"cost must have shape ({channel.shape[0]},) and budget shape (), but they have shapes {cost.shape} "
                f"and {budget.shape}."
            )
    tolerance = float(jnp.finfo(dtype).eps) ** 0.7 if tol is None else float(tol)
    return raise_unless_successful(_solve(channel, cost, budget, tolerance, max_iterations), throw)


class _DualProgram(AbstractConvexProgram):
    """Unknown: the logarithms of the outputs, and the price of cost; the multipliers are the inputs."""

    channel: Float[Array, "n m"]
    excess: Float[Array, " n"]
    allowed: Array
    priced: bool = eqx.field(static=True)

    def parts(self, v):
        size = self.channel.shape[1]
        return v[:size], v[size] if self.priced else None

    def objective(self, v):
        logarithms, _ = self.parts(v)
        reached = jnp.any(self.channel > 0, axis=0)
        idle = 0.5 * jnp.sum(jnp.where(reached, 0.0, logarithms) ** 2)
        return jax.nn.logsumexp(jnp.where(reached, logarithms, -jnp.inf)) + idle

    def divergences(self, logarithms):
        entropies = jnp.sum(relative_terms(self.channel, jnp.ones_like(self.channel)), axis=1)
        return entropies - self.channel @ logarithms

    def constraints(self, v):
        logarithms, price = self.parts(v)
        over = self.divergences(logarithms)
        if price is not None:
            over = over - price * self.excess
        over = jnp.where(self.allowed, over, -1.0)
        return over if price is None else jnp.concatenate([over, -price[None]])


@compiled
def _solve(channel, cost, budget, tolerance: float, max_iterations: int) -> ChannelCapacity:
    inputs, outputs = channel.shape
    allowed, excess, scale = _costs(channel, cost, budget)
    program = _DualProgram(channel, excess, allowed, cost is not None)
    eps = float(jnp.finfo(channel.dtype).eps)
    flat = jnp.full(outputs, -jnp.log(jnp.asarray(outputs, channel.dtype)))
    start = flat + jnp.max(program.divergences(flat)) + 1.0
    if cost is not None:
        start = start + 0.1 * jnp.max(jnp.abs(excess))
        start = jnp.append(start, jnp.asarray(0.1, channel.dtype))
    barrier = max(0.2 * tolerance / inputs, 16.0 * eps)
    solution = solve_program(program, start, barrier, max_iterations)
    p = jnp.where(allowed, solution.multipliers[:inputs], 0.0)
    p = p / jnp.sum(p)
    q = p @ channel
    divergences = jnp.sum(relative_terms(channel, jnp.broadcast_to(q[None], channel.shape)), axis=1)
    capacity = p @ divergences
    upper = program.objective(solution.point) + jnp.max(program.constraints(solution.point)[:inputs])
    gap = upper - capacity
    finite = jnp.all(jnp.isfinite(channel))
    checks = [(~finite, RESULTS.nonfinite), (~is_distribution(channel, axis=1), RESULTS.out_of_range)]
    if cost is not None:
        bad = ~jnp.all(jnp.isfinite(cost)) | jnp.isnan(budget)
        checks = [(bad, RESULTS.nonfinite), *checks, (~jnp.any(allowed), RESULTS.unattainable)]
    open_gap = ~(gap <= tolerance * (1.0 + capacity))
    checks.append((open_gap & (solution.iterations >= max_iterations), RESULTS.max_steps_reached))
    checks.append((open_gap, RESULTS.stalled))
    result = first_failure(*checks)
    none = ~finite | (result == RESULTS.unattainable) | (result == RESULTS.out_of_range)
    known = jnp.where(none, jnp.nan, 1.0).astype(channel.dtype)
    zero = jnp.zeros((), channel.dtype)
    return ChannelCapacity(
        capacity=known * capacity,
        upper_bound=known * upper,
        gap=known * gap,
        inputs=known * p,
        outputs=known * q,
        divergences=known * divergences,
        expected_cost=known * (zero if cost is None else p @ cost),
        cost_multiplier=known * (zero if cost is None else solution.point[outputs] / scale),
        iterations=solution.iterations,
        result=result,
    )


def _costs(channel, cost, budget):
    """The inputs that may be used, their costs over the budget in units of the spread, and the spread."""
    if cost is None or budget is None:
        return jnp.ones(channel.shape[0], bool), jnp.zeros(channel.shape[0], channel.dtype), jnp.ones((), channel.dtype)
    least = jnp.min(cost)
    # At the least cost no mixture has a cost below the budget: only the cheapest inputs remain.
    tight = budget <= least
    allowed = jnp.where(tight, cost <= budget, jnp.ones(cost.shape, bool))
    spread = lax.stop_gradient(jnp.max(cost) - least)
    scale = jnp.where(spread > 0, spread, 1.0)
    return allowed, jnp.where(tight, -1.0, (cost - budget) / scale), scale
