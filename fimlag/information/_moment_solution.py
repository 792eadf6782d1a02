"""The tilted distribution that keeps bounds on means, with its certificate and its derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._compiled import compiled
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, first_failure
from fimlag.information._base_measure import BaseMeasure
from fimlag.information._moment_problem import MomentProblem, descend
from fimlag.information._sums import negligible_share

_POLISHES = 3  # each squares an error that starts below a thousandth


class MomentSolution(eqx.Module):
    """The solution in flat vectors: NaN where there is none, and where multipliers are infinite."""

    multipliers: Float[Array, " d"]
    probabilities: Float[Array, " n"]
    entropy: Float[Array, ""]
    log_partition: Float[Array, ""]
    moments: Float[Array, " d"]
    information: Float[Array, "d d"]
    residual: Float[Array, ""]
    gap: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


class ActiveEquations(eqx.Module):
    """The equations of the multipliers, once it is known which bounds hold with equality."""

    problem: MomentProblem
    bound: Float[Array, " d"]
    active: Array

    def kept(self, multipliers):
        return jnp.where(self.active, multipliers, 0.0)

    def gradient(self, multipliers):
        p = self.problem.probabilities(self.kept(multipliers))
        return jnp.where(self.active, p @ self.problem.values - self.bound, multipliers)

    def solver(self, multipliers):
        """The least-squares solver with the covariance of the active statistics, by its square root."""
        _, _, deviations = self.problem.deviations(self.kept(multipliers))
        spread = jnp.linalg.norm(deviations, axis=0)
        units = jnp.where(self.active & (spread > 0), spread, 1.0)
        root = jnp.where(self.active[None], deviations / units[None], 0.0)
        _, singular, rotation = jnp.linalg.svd(root, full_matrices=False)
        eps = float(jnp.finfo(singular.dtype).eps)
        varying = singular > max(root.shape) * eps * jnp.max(singular)
        inverse = jnp.where(varying, 1.0 / jnp.where(varying, singular, 1.0), 0.0)

        def solve(right):
            inner = rotation.T @ (inverse**2 * (rotation @ (right / units))) / units
            return jnp.where(self.active, inner, right)

        return solve


@compiled
def solve_moments(
    measure: BaseMeasure,
    lower: Float[Array, " d"],
    upper: Float[Array, " d"],
    guess: Float[Array, " d"] | None,
    max_iterations: int,
) -> MomentSolution:
    """The tilt of a measure whose means keep their bounds, from a guess of its multipliers or from none."""
    problem = MomentProblem(measure.values, measure.log_mass, lower, upper)
    fixed = frozen(problem)
    start = _start(fixed, frozen(measure), max_iterations) if guess is None else lax.stop_gradient(guess)
    descent = descend(fixed, start, max_iterations)
    equations = ActiveEquations(problem, problem.bound(descent.multipliers), descent.active)
    root = _polished(frozen(equations), jnp.where(descent.active, descent.multipliers, 0.0))
    multipliers = implicit_root(root, equations, gradient=ActiveEquations.gradient, factor=ActiveEquations.solver)
    probabilities, moments, deviations = problem.deviations(multipliers)
    log_partition = problem.log_partition(multipliers)
    violation = jnp.maximum(jnp.maximum(lower - moments, moments - upper), 0.0)
    spread = jnp.linalg.norm(deviations, axis=0)
    residual = jnp.max(violation / jnp.where(spread > 0, spread, 1.0))
    pulling = jnp.where(lower == upper, 0.0, -multipliers * jnp.sign(descent.multipliers) * spread)
    gap = jnp.abs(jnp.sum(jnp.where(equations.active, multipliers * (moments - equations.bound), 0.0)))
    arrays = (jnp.where(jnp.isfinite(measure.log_mass), 0.0, measure.log_mass), lower, upper)
    bad = jnp.any(jnp.isnan(jnp.concatenate(arrays))) | jnp.any(jnp.isposinf(measure.log_mass))
    bad = bad | ~jnp.all(jnp.isfinite(measure.values)) | jnp.any(jnp.isposinf(lower) | jnp.isneginf(upper))
    tolerance = float(jnp.finfo(residual.dtype).eps) ** 0.5
    result = first_failure(
        (bad, RESULTS.nonfinite),
        (jnp.any(lower > upper) | descent.separated, RESULTS.unattainable),
        (descent.at_infinity, RESULTS.infinite_multipliers),
        (~descent.converged & (descent.iterations >= max_iterations), RESULTS.max_steps_reached),
        (~descent.converged | ~(jnp.maximum(residual, jnp.max(pulling)) <= tolerance), RESULTS.stalled),
    )
    none = (result == RESULTS.nonfinite) | (result == RESULTS.unattainable)
    known, finite = jnp.where(none, jnp.nan, 1.0), jnp.where(none | descent.at_infinity, jnp.nan, 1.0)
    known, finite = known.astype(lower.dtype), finite.astype(lower.dtype)
    return MomentSolution(
        multipliers=finite * multipliers,
        probabilities=known * probabilities,
        entropy=known * (log_partition - multipliers @ moments),
        log_partition=finite * log_partition,
        moments=known * moments,
        information=known * (deviations.T @ deviations),
        residual=residual,
        gap=known * gap,
        iterations=descent.iterations,
        result=result,
    )


def _start(problem: MomentProblem, measure: BaseMeasure, max_iterations: int):
    """Zero; on an infinite range the solution where the nodes are dense, if that is better."""
    zero = jnp.zeros(problem.lower.shape, problem.values.dtype)
    if measure.bulk is None:
        return zero
    log_weights = problem.log_mass + measure.bulk
    weights = jax.nn.softmax(log_weights)
    root = jnp.sqrt(weights)
    height = jnp.where(weights > 0, measure.bulk, 0.0)
    columns = root[:, None] * (problem.values - (weights @ problem.values)[None])
    fitted = jnp.linalg.lstsq(columns, root * (height - weights @ height))[0]
    # Far out the least error of a multiplier outgrows all else: the nodes there come in when it is small.
    dense = log_weights > jnp.max(log_weights) + negligible_share(weights.dtype)
    near = eqx.tree_at(lambda p: p.log_mass, problem, jnp.where(dense, problem.log_mass, -jnp.inf))
    values = jnp.where(dense[:, None], problem.values, problem.values[jnp.argmax(weights)][None])
    near = eqx.tree_at(lambda p: p.values, near, values)
    descent = descend(near, fitted, max_iterations)

    def dual(multipliers):
        bound = problem.bound(multipliers)
        return problem.log_partition(multipliers) - multipliers @ jnp.where(jnp.isfinite(bound), bound, 0.0)

    first = jnp.where(descent.converged, descent.multipliers, fitted)
    return jnp.where(dual(first) < dual(zero), first, zero)


def _polished(equations: ActiveEquations, multipliers):
    def improved(_, point):
        better = point - equations.solver(point)(equations.gradient(point))
        before, after = (jnp.linalg.norm(equations.gradient(x)) for x in (point, better))
        return jnp.where(after < before, better, point)

    return lax.fori_loop(0, _POLISHES, improved, multipliers)
