"""Maximum entropy under constraints on means, and minimum relative entropy to a base measure."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

from fimlag._flat import Structure, flatten
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, Outcomes, as_field
from fimlag.information._base_measure import BaseMeasure, base_measure, is_rule, unresolved
from fimlag.information._expectation import ExactSum
from fimlag.information._moment_solution import solve_moments
from fimlag.information.families._exponential_family import ExponentialFamily


class MomentBounds(eqx.Module):
    r"""Bounds on means in place of targets: $l \le \mathrm{E} f \le u$.

    **Arguments:** `lower`, `upper`: numbers or pytrees in the structure of the statistics, or None for no bound at
    all; an infinite entry is no bound, equal entries are a target.
    """

    lower: Coordinates | None = None
    upper: Coordinates | None = None


class MaximumEntropy(AbstractSolution):
    r"""The distribution of maximum entropy, $p_i = b_i\, e^{\lambda \cdot f(x_i)} / Z$.

    **Attributes:** `multipliers`: $\lambda$, the natural parameters, in the structure of the statistics: the derivative
    of the relative entropy $-H$ in the targets, minus that of the entropy; positive where a mean is held up to a lower
    bound, negative where it is held down to an upper one, zero where a bound is slack. `probabilities`: of each
    outcome, or node of a quadrature, shape (n,). `entropy`: $H = -\sum_i p_i \log (p_i / b_i)$ (nats): Shannon's
    without a base, the differential entropy over a quadrature, minus the Kullback-Leibler divergence from a base that
    is a distribution. `log_partition`: $\log Z$. `moments`: $\mathrm{E} f$, in the structure of the statistics.
    `information`: the Fisher information of the multipliers, $\operatorname{Cov} f$, shape (d, d) flat; its inverse is
    the derivative of the multipliers in the targets. `residual`: the largest violation of a constraint, in standard
    deviations of its statistic under p. `gap`: what the entropy can be below the maximum at most, were the constraints
    kept exactly. `outcomes`: those summed over. `iterations`; `result`.
    """

    multipliers: Coordinates
    probabilities: Float[Array, " n"]
    entropy: Float[Array, ""]
    log_partition: Float[Array, ""]
    moments: Coordinates
    information: Float[Array, "d d"]
    residual: Float[Array, ""]
    gap: Float[Array, ""]
    outcomes: Outcomes
    iterations: Int[Array, ""]
    result: RESULTS
    measure: BaseMeasure
    statistics: Callable
    base: Callable | ArrayLike | None
    rule: Any

    def log_density(self, x) -> Float[Array, ""]:
        r"""The log-density of ONE outcome $\lambda \cdot f(x) - \log Z + \log b(x)$; b a function, or left out as 1."""
        multipliers, structure = flatten(self.multipliers, "multipliers")
        values = structure.flatten(self.statistics(x), "statistics(x)").astype(multipliers.dtype)
        base = jnp.asarray(self.base(x), multipliers.dtype) if callable(self.base) else 0.0
        return values @ multipliers - self.log_partition + base

    def expectation(self, function: Callable):
        """The mean of a function of ONE outcome."""
        values = jax.vmap(function)(self.outcomes)
        p = self.probabilities
        return jax.tree_util.tree_map(lambda leaf: jnp.tensordot(p.astype(leaf.dtype), leaf, 1), values)

    @property
    def family(self) -> ExponentialFamily:
        """The exponential family that the distribution belongs to; its natural parameters are the multipliers."""
        if self.base is not None and not callable(self.base):
            raise ValueError("A base listed outcome by outcome has no density elsewhere: give it as a function of x.")
        rule = ExactSum(self.outcomes) if self.rule is None else self.rule
        _, structure = flatten(self.multipliers, "multipliers")
        return ExponentialFamily(_LogPartition(self.measure, structure), self.statistics, self.base, rule)


class _LogPartition(eqx.Module):
    measure: BaseMeasure
    structure: Structure

    def __call__(self, natural):
        vector = self.structure.flatten(natural, "natural parameters")
        return jax.nn.logsumexp(self.measure.values.astype(vector.dtype) @ vector + self.measure.log_mass)


def maximum_entropy(
    statistics: Callable,
    targets: Coordinates | MomentBounds,
    outcomes: PyTree[ArrayLike] | Any,
    *,
    base: Callable | ArrayLike | None = None,
    guess: Coordinates | None = None,
    max_iterations: int = 256,
    throw: bool = True,
) -> MaximumEntropy:
    r"""The distribution of maximum entropy whose statistics have given means, or means within bounds.

    $$\max_p -\sum_i p_i \log\frac{p_i}{b_i}, \quad \mathrm{E}_p f = c \;\text{ or }\; l \le \mathrm{E}_p f \le u
    \qquad\Rightarrow\qquad p_i = \frac{b_i}{Z} e^{\lambda \cdot f(x_i)}, \quad
    \frac{\partial H}{\partial c} = -\lambda, \quad \frac{\partial \lambda}{\partial c} = \operatorname{Cov}(f)^{-1}$$

    The sign is that of natural parameters: a Boltzmann factor $e^{-E / T}$ has the multiplier $-1 / T$. The multipliers
    are conjugate to the means by Legendre's transformation, as momenta are to velocities.

    The convex dual problem is solved by Newton's steps, bounds by an interior-point method. Everything in the solution
    differentiates implicitly in the targets or bounds, the outcomes, the base, and what `statistics` holds. Statistics
    may be dependent where the targets agree: the multipliers then are the shortest in units of the standard deviations
    at the start, and have no derivative out of the subspace that the statistics span.

    **Arguments:** `statistics(x)`: f of ONE outcome, a number, vector or any pytree. `targets`: the means, in the same
    structure, or `MomentBounds`. `outcomes`: stacked along axis 0 of every leaf; or a rule of expectations: a
    `Quadrature`, whose lengths give the differential entropy (without a base its location and scale must be near those
    of the solution on an infinite range), an `ExactSum`, or a sample as base measure. `base`: b, a weight for each
    listed outcome, or the log-density $\log b(x)$ of ONE outcome; left out 1. It need not be normalised. `guess`: the
    multipliers to start from. `max_iterations`: the limit on Newton's steps. `throw`: whether a failure raises.

    **Returns:** a `MaximumEntropy`.

    **Raises:** `ValueError` for structures or shapes that do not fit; with `throw`, an error for `nonfinite`,
    `out_of_range` (a negative base), `unattainable` (targets outside the convex hull of the statistics),
    `infinite_multipliers` (targets on its boundary), `unresolved_integral` (the density found has mass at the last node
    of the quadrature, as where none is normalisable, or varies between its nodes), `max_steps_reached` or `stalled`.

    **Reference:** Jaynes (1957), section 3; Csiszar (1975), section 3; Dudik, Phillips & Schapire (2007), section 3,
    for means within bounds; Boyd & Vandenberghe (2004), section 5.2.4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> dice = fl.maximum_entropy(lambda x: x, 4.5, jnp.arange(1.0, 7.0))
    >>> print(f"{dice.multipliers:.5f}", dice.probabilities.round(5))
    0.37105 [0.05435 0.07877 0.11416 0.16545 0.23977 0.34749]

    ```
    """
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1, but is {max_iterations}.")
    dtype = precision_of(targets, None if is_rule(outcomes) else outcomes, None if callable(base) else base)
    measure, structure = base_measure(statistics, outcomes, base, dtype)
    lower, upper = _bounds(targets, structure, dtype)
    first = None if guess is None else _vector(guess, structure, "guess", dtype)
    solution = solve_moments(measure, lower, upper, first, max_iterations)
    negative = jnp.asarray(False) if base is None or callable(base) else jnp.any(jnp.asarray(base) < 0)
    rule = outcomes if is_rule(outcomes) else None
    result = first_failure(
        (negative, RESULTS.out_of_range),
        (solution.result != RESULTS.successful, solution.result),
        (unresolved(rule, solution.probabilities), RESULTS.unresolved_integral),
    )
    complete = MaximumEntropy(
        multipliers=structure.unflatten(solution.multipliers),
        probabilities=solution.probabilities,
        entropy=solution.entropy,
        log_partition=solution.log_partition,
        moments=structure.unflatten(solution.moments),
        information=solution.information,
        residual=solution.residual,
        gap=solution.gap,
        outcomes=measure.outcomes,
        iterations=solution.iterations,
        result=result,
        measure=measure,
        statistics=as_field(statistics),
        base=as_field(base) if callable(base) else base,
        rule=rule,
    )
    return raise_unless_successful(complete, throw)


def _vector(tree, structure: Structure, name: str, dtype):
    """A tree of numbers in the structure of the statistics, flat; a list of numbers serves for a vector."""
    leaf = jax.tree_util.tree_structure(0)
    tree = jnp.asarray(tree) if isinstance(tree, list | tuple) and structure.treedef == leaf else tree
    return structure.flatten(tree, name).astype(dtype)


def _bounds(targets, structure: Structure, dtype):
    if not isinstance(targets, MomentBounds):
        vector = _vector(targets, structure, "targets", dtype)
        return vector, vector
    if targets.lower is None and targets.upper is None:
        raise ValueError("MomentBounds must have a lower or an upper bound.")
    infinite = jnp.full(structure.size, jnp.inf, dtype)
    lower = -infinite if targets.lower is None else _vector(targets.lower, structure, "lower", dtype)
    upper = infinite if targets.upper is None else _vector(targets.upper, structure, "upper", dtype)
    return lower, upper
