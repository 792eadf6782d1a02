"""Minimum relative entropy under bounds on means: the dual problem, and the descent to its minimum."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._linear import solve

_HALVINGS = 24
_FIRST_BARRIER = 0.1


class MomentProblem(eqx.Module):
    r"""Minimise $\mathrm{KL}(p \Vert b)$ subject to $l \le \mathrm{E}_p f \le u$, where $p \propto b\, e^{\lambda f}$.

    The dual minimises $\log\sum_i b_i e^{\lambda f_i} - \sum_j (l_j \lambda_j^+ - u_j \lambda_j^-)$.
    """

    values: Float[Array, "n d"]
    log_mass: Float[Array, " n"]
    lower: Float[Array, " d"]
    upper: Float[Array, " d"]

    def log_weights(self, multipliers):
        return self.values @ multipliers + self.log_mass

    def log_partition(self, multipliers):
        return jax.nn.logsumexp(self.log_weights(multipliers))

    def probabilities(self, multipliers):
        return jax.nn.softmax(self.log_weights(multipliers))

    def deviations(self, multipliers):
        r"""The probabilities, the means of f, and the rows $\sqrt{p_i}\, (f_i - \mathrm{E} f)$, whose Gram is Cov f."""
        p = self.probabilities(multipliers)
        mean = p @ self.values
        return p, mean, jnp.sqrt(p)[:, None] * (self.values - mean[None])

    def bound(self, multipliers):
        """The bound that each multiplier pushes against: the lower one where it is positive."""
        pushed = jnp.where(multipliers > 0, self.lower, self.upper)
        return jnp.where(self.lower == self.upper, 0.5 * (self.lower + self.upper), pushed)

    def separation(self, multipliers):
        """How far the outcomes reach along the multipliers beyond the bounds, with its round-off.

        Where it is negative no distribution over the outcomes keeps the bounds.
        """
        inside = self.log_mass > -jnp.inf
        reach = jnp.max(jnp.where(inside, self.values @ multipliers, -jnp.inf))
        terms = jnp.where(multipliers != 0, multipliers * self.bound(multipliers), 0.0)
        size = jnp.abs(reach) + jnp.sum(jnp.abs(terms))
        return reach - jnp.sum(terms), 16.0 * float(jnp.finfo(size.dtype).eps) * size


class Barrier(eqx.Module):
    r"""$\psi(\lambda) = \max_{l < s < u} \mu \log (s - l) + \mu \log (u - s) - \lambda s$, coordinate by coordinate.

    It tends to the support function of the interval as $\mu \to 0$, and is it where $l = u$. A coordinate without
    bounds is drawn to 0. `slack`: the distance of s from the bound that $\lambda$ pushes against.
    """

    value: Float[Array, " d"]
    mean: Float[Array, " d"]
    curvature: Float[Array, " d"]
    slack: Float[Array, " d"]


def barrier_at(lower, upper, multipliers, barrier) -> Barrier:
    """The barrier of the interval; NaN where a one-sided bound forbids the sign of its multiplier."""
    two_sided = jnp.isfinite(lower) & jnp.isfinite(upper)
    free = ~(jnp.isfinite(lower) | jnp.isfinite(upper))
    low, high = jnp.where(jnp.isfinite(lower), lower, 0.0), jnp.where(jnp.isfinite(upper), upper, 0.0)
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    push = multipliers * half
    length = jnp.sqrt(barrier**2 + push**2)
    share = push / (barrier + length)
    closed = Barrier(
        value=-multipliers * middle + push * share + barrier * jnp.log(2.0 * barrier / (barrier + length)),
        mean=middle - half * share,
        curvature=half**2 * barrier / (length * (barrier + length)),
        slack=half * 2.0 * barrier / ((barrier + length) * (1.0 + jnp.abs(share))),
    )
    only, sign = jnp.where(jnp.isfinite(lower), low, high), jnp.where(jnp.isfinite(lower), 1.0, -1.0)
    size = jnp.where(sign * multipliers > 0, sign * multipliers, jnp.nan)
    half_open = Barrier(
        value=-multipliers * only - barrier * jnp.log(size),
        mean=only + barrier / multipliers,
        curvature=barrier / multipliers**2,
        slack=barrier / size,
    )
    pinned = Barrier(0.5 * multipliers**2, -multipliers, jnp.ones_like(multipliers), jnp.ones_like(multipliers))
    bounded = jax.tree_util.tree_map(lambda a, b: jnp.where(two_sided, a, b), closed, half_open)
    return jax.tree_util.tree_map(lambda a, b: jnp.where(free, a, b), pinned, bounded)


class Descent(eqx.Module):
    """Where the descent ended: `separated` where the multipliers prove that no distribution keeps the bounds."""

    multipliers: Float[Array, " d"]
    active: Bool[Array, " d"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    separated: Bool[Array, ""]
    at_infinity: Bool[Array, ""]


class _State(eqx.Module):
    x: Float[Array, " d"]
    barrier: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    separated: Bool[Array, ""]
    at_infinity: Bool[Array, ""]
    failed: Bool[Array, ""]


class _Whitened(eqx.Module):
    r"""The problem in coordinates $\lambda = T x$ in which the statistics start uncorrelated, of variance one."""

    problem: MomentProblem
    columns: Float[Array, "d d"]
    rows: Float[Array, "d d"]
    ridge: Float[Array, " d"]
    has_bounds: Bool[Array, ""]

    def value(self, x, barrier):
        multipliers = self.columns @ x
        wall = barrier_at(self.problem.lower, self.problem.upper, multipliers, barrier)
        return self.problem.log_partition(multipliers) + jnp.sum(wall.value)

    def gradient_and_hessian(self, x, barrier):
        multipliers = self.columns @ x
        wall = barrier_at(self.problem.lower, self.problem.upper, multipliers, barrier)
        _, mean, deviations = self.problem.deviations(multipliers)
        root = deviations @ self.columns
        hessian = root.T @ root + self.columns.T @ (wall.curvature[:, None] * self.columns) + jnp.diag(self.ridge)
        return self.columns.T @ (mean - wall.mean), hessian

    def reach(self, x, step):
        """The share of a step that one-sided bounds allow."""
        one_sided = jnp.isfinite(self.problem.lower) ^ jnp.isfinite(self.problem.upper)
        relative = -(self.columns @ step) / (self.columns @ x)
        return 0.99 / jnp.maximum(0.99, jnp.max(jnp.where(one_sided, relative, 0.0)))


def descend(problem: MomentProblem, start: Float[Array, " d"], max_iterations: int) -> Descent:
    """The dual minimum: Newton's steps along the central path, in coordinates that the start whitens.

    **Reference:** Boyd & Vandenberghe (2004), sections 5.7.2 and 11.3.
    """
    scaled, scales, first = _standardised(_without_free(problem), start)
    white = _whitened(scaled, first)
    eps = float(jnp.finfo(start.dtype).eps)
    last = jnp.asarray(eps**0.875, start.dtype)
    no = jnp.asarray(False)
    barrier = jnp.where(white.has_bounds, _FIRST_BARRIER, last)
    state = _State(white.rows @ first, barrier, jnp.asarray(0), no, no, no, no)

    def unfinished(state):
        return ~(state.converged | state.separated | state.at_infinity | state.failed) & (
            state.iterations < max_iterations
        )

    state = lax.while_loop(unfinished, lambda state: _advanced(white, last, state), state)
    multipliers = white.columns @ state.x
    wall = barrier_at(scaled.lower, scaled.upper, multipliers, state.barrier)
    unbounded = jnp.isneginf(scaled.lower) & jnp.isposinf(scaled.upper)
    active = ((scaled.lower == scaled.upper) | (jnp.abs(multipliers) > wall.slack)) & ~unbounded
    return Descent(multipliers / scales, active, state.iterations, state.converged, state.separated, state.at_infinity)


def _without_free(problem):
    """The problem with statistics that have no bound set to zero, so that nothing draws their multipliers from it."""
    free = jnp.isneginf(problem.lower) & jnp.isposinf(problem.upper)
    return eqx.tree_at(lambda p: p.values, problem, jnp.where(free[None], 0.0, problem.values))


def _standardised(problem, start):
    """The problem with its statistics centred, of variance one at the start; their scales; the start in these units."""
    _, mean, deviations = problem.deviations(start)
    spread = jnp.linalg.norm(deviations, axis=0)
    eps = float(jnp.finfo(spread.dtype).eps)
    scales = jnp.where(spread > 16.0 * eps * jnp.abs(mean), spread, jnp.maximum(jnp.abs(mean), 1.0))
    lower, upper = (problem.lower - mean) / scales, (problem.upper - mean) / scales
    scaled = MomentProblem((problem.values - mean[None]) / scales[None], problem.log_mass, lower, upper)
    first = start * scales
    up, down = jnp.isfinite(lower) & ~jnp.isfinite(upper), jnp.isfinite(upper) & ~jnp.isfinite(lower)
    first = jnp.where(up, jnp.maximum(first, 0.1), jnp.where(down, jnp.minimum(first, -0.1), first))
    return scaled, scales, first


def _whitened(problem, first) -> _Whitened:
    _, _, deviations = problem.deviations(first)
    _, singular, rotation = jnp.linalg.svd(deviations, full_matrices=False)
    count, size = problem.values.shape
    if count < size:
        deviations = jnp.concatenate([deviations, jnp.zeros((size - count, size), deviations.dtype)])
        _, singular, rotation = jnp.linalg.svd(deviations, full_matrices=False)
    eps = float(jnp.finfo(singular.dtype).eps)
    dependent = singular <= max(count, size) * eps * jnp.max(singular)
    widths = jnp.where(dependent, 1.0, singular)
    # Along a combination that never varies the constraints agree or exclude each other: no curvature tells.
    ridge = jnp.where(dependent, eps**0.5, 4.0 * eps)
    has_bounds = jnp.any(problem.lower != problem.upper)
    return _Whitened(problem, rotation.T / widths[None], widths[:, None] * rotation, ridge, has_bounds)


def _advanced(white, last, state):
    eps = float(jnp.finfo(state.x.dtype).eps)
    gradient, hessian = white.gradient_and_hessian(state.x, state.barrier)
    step = -solve(hessian, gradient)
    squared = -jnp.vdot(gradient, step)
    # The barrier is a straight line but for kinks as wide as itself: a step is judged on that scale.
    width = jnp.where(white.has_bounds, 0.1 * state.barrier, eps**0.8)
    close = (squared <= width) & (squared >= -eps)
    length, found = _search(white, state, step, squared)
    length = jnp.where(close & ~found, white.reach(state.x, step), length)
    accepted = (found | close) & jnp.all(jnp.isfinite(step))
    x = jnp.where(accepted, state.x + length * step, state.x)
    short = jnp.linalg.norm(step) <= 1e-3 * (1.0 + jnp.linalg.norm(state.x))
    bottom = state.barrier <= last
    margin, noise = white.problem.separation(white.columns @ x)
    barrier = jnp.where(accepted & close, jnp.maximum(last, 0.1 * state.barrier), state.barrier)
    return _State(
        x,
        barrier,
        state.iterations + 1,
        accepted & close & short & bottom,
        margin < -noise,
        close & ~short & bottom & (squared <= 64.0 * eps),
        ~accepted,
    )


def _search(white, state, step, squared):
    """The first of ever shorter lengths that lowers the value enough, and whether there is one."""
    eps = float(jnp.finfo(state.x.dtype).eps)
    lengths = white.reach(state.x, step) * 0.5 ** jnp.arange(_HALVINGS, dtype=state.x.dtype)
    value = white.value(state.x, state.barrier)
    trials = jax.vmap(lambda length: white.value(state.x + length * step, state.barrier))(lengths)
    noise = 16.0 * eps * (1.0 + jnp.abs(value))
    enough = jnp.isfinite(trials) & (trials <= value - 1e-4 * lengths * squared + noise)
    return lengths[jnp.argmax(enough)], jnp.any(enough)
