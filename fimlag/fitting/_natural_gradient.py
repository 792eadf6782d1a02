"""Natural gradient descent as a gradient transformation of optax."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS, either_failure, first_failure
from fimlag._types import MetricFn, RealScalarLike
from fimlag.geometry import AbstractMetric, EuclideanMetric, FisherMetric, as_metric
from fimlag.information import AbstractModel, damped_solve, fisher_operator
from fimlag.information._damped_solve import AbstractDampedSolver
from fimlag.information._damping import known_damping

DENSE = 256
"""The most parameters for which the matrix is formed and factored where no method is named."""


class AdaptiveDamping(eqx.Module):
    r"""A damping that follows how well the quadratic model of the objective foretold the last step.

    $$\rho = \frac{f_{k-1} - f_k}{m_{k-1}}, \qquad m = \eta\, g \cdot n - \tfrac{\eta^2}{2}\, n \cdot F n, \quad
    n = (F + \lambda)^{-1} g$$

    The damping is divided by `factor` where $\rho > 3/4$, and multiplied by it where $\rho < 1/4$.

    **Arguments:** `initial`: the first $\lambda$, positive; `factor`: greater than 1; `least`, `most`: its bounds.

    **Raises:** `ValueError` for an `initial` known not to be positive, or a `factor` known not to exceed 1.

    **Reference:** Marquardt (1963); Martens & Grosse (2015), section 6.5.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> descent = fl.natural_gradient(None, 1.0, fl.AdaptiveDamping(3.0))
    >>> print(descent.update(jnp.ones(2), descent.init(jnp.ones(2)), jnp.ones(2), value=1.0)[0])
    [-0.25 -0.25]

    ```
    """

    initial: RealScalarLike
    factor: RealScalarLike = 2.0
    least: RealScalarLike = 1e-8
    most: RealScalarLike = 1e8

    def __check_init__(self):
        for name, number, bound in (("initial", self.initial, 0.0), ("factor", self.factor, 1.0)):
            if not isinstance(number, Tracer) and not float(np.asarray(number)) > bound:
                raise ValueError(f"{name} must be greater than {bound:.0f}, but is {number}.")


class NaturalGradientState(NamedTuple):
    r"""The state of `natural_gradient`.

    **Attributes:** `count`: the updates made; `decrement`: $\sqrt{g \cdot (F + \lambda)^{-1} g}$ of the last gradient,
    the length of the natural gradient in the damped metric, which vanishes at a point of rest; `damping`: the last
    $\lambda$; `value`: the last value of the objective, infinite where none came; `predicted`: by how much the last
    update should lower it; `result`: `successful`, or the first failure so far.
    """

    count: Int[Array, ""]
    decrement: Float[Array, ""]
    damping: Float[Array, ""]
    value: Float[Array, ""]
    predicted: Float[Array, ""]
    result: RESULTS


def natural_gradient(
    metric: AbstractModel | MetricFn | None,
    learning_rate: RealScalarLike | Callable,
    damping: RealScalarLike | Callable | AdaptiveDamping = 0.0,
    method: AbstractDampedSolver | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Steepest descent in the metric of a statistical model, as a transformation of optax.

    $$\Delta \theta = -\eta\, (F(\theta) + \lambda)^{-1} g$$

    The Fisher information must be that of the data whose negative log-likelihood the objective is: a `StatisticalModel`
    is that of ONE observation and goes with the gradient of the mean over observations, a `ConditionalModel` that of
    all its inputs and goes with the gradient of the sum.

    **Arguments:** `metric`: a model, for its Fisher information; a metric, or a function from the parameters to a
    symmetric (d, d) matrix; None for the Euclidean metric, where this is `optax.sgd`. `learning_rate`: $\eta$, a number
    or a schedule of the count. `damping`: $\lambda$, not negative: a number, a schedule, or an `AdaptiveDamping`.
    `method`: how the system is solved without a matrix, `ConjugateGradient(...)` or `SampleSpace(...)`, for models and
    positive damping; None factors the matrix of up to 256 parameters, and for models with more leaves the choice to
    `damped_solve`.

    **Returns:** an `optax.GradientTransformationExtraArgs` whose `update(gradient, state, params)` needs `params` and,
    for an `AdaptiveDamping`, `value=`, the objective there. Where the damped metric is not positive definite, the
    gradient not finite, the damping negative or the system not solved, the update is NaN and the `result` of its state,
    a `NaturalGradientState`, tells why.

    **Raises:** `ValueError` for a damping known to be negative, for a method without a model or without damping, and
    from `update` without `params` or `value`; `TypeError` for a metric that is none.

    **Reference:** Amari (1998), eq. 8 and theorem 1; Martens (2020), sections 6 and 8.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl, optax
    >>> rate, poisson = jnp.array(2.0), fl.FisherMetric(fl.families.Poisson())    # mean of the counts: 5
    >>> descent = fl.natural_gradient(poisson, learning_rate=1.0)
    >>> step, state = descent.update(1 - 5 / rate, descent.init(rate), rate)
    >>> print(optax.apply_updates(rate, step))
    5.0

    ```
    """
    adaptive = isinstance(damping, AdaptiveDamping)
    solver = _solver(metric, damping.initial if isinstance(damping, AdaptiveDamping) else damping, method)

    def init(params) -> Any:
        zero = jnp.zeros((), flatten(params, "params")[0].dtype)
        first = jnp.asarray(damping.initial, zero.dtype) if isinstance(damping, AdaptiveDamping) else zero
        return NaturalGradientState(jnp.zeros((), jnp.int32), zero, first, zero + jnp.inf, zero, RESULTS.successful)

    def update(updates, state, params=None, *, value=None, **extra) -> Any:
        del extra
        if params is None or (adaptive and value is None):
            raise ValueError(
                "natural_gradient takes the metric at the parameters, and an AdaptiveDamping the objective there: call "
                "update(gradient, state, params, value=...)."
            )
        point, structure = flatten(params, "params")
        gradient = structure.flatten(updates, "the gradient").astype(point.dtype)
        value = state.value if value is None else jnp.asarray(value, point.dtype)
        if isinstance(damping, AdaptiveDamping):
            shift = _adapted(damping, state, value)
        else:
            shift = scheduled(damping, state.count, point.dtype)
        natural, result = solver(params, structure, gradient, shift)
        squared, rate = gradient @ natural, scheduled(learning_rate, state.count, point.dtype)
        predicted = rate * squared - rate**2 / 2 * (squared - shift * (natural @ natural))
        failed = (~jnp.all(jnp.isfinite(gradient)), RESULTS.nonfinite), (shift < 0.0, RESULTS.out_of_range)
        result = either_failure(state.result, either_failure(first_failure(*failed), result))
        step = jnp.where(result == RESULTS.successful, -rate * natural, jnp.nan)
        count, decrement = jnp.asarray(optax.safe_increment(state.count)), jnp.sqrt(jnp.maximum(squared, 0.0))
        new = NaturalGradientState(count, decrement, shift, value, predicted, result)
        return like(structure.unflatten(step), updates), new

    return optax.GradientTransformationExtraArgs(init, update)


def _adapted(damping: AdaptiveDamping, state: NaturalGradientState, value):
    factor, least, most = (jnp.asarray(each, value.dtype) for each in (damping.factor, damping.least, damping.most))
    share = (state.value - value) / state.predicted
    moved = state.damping * jnp.where(share > 0.75, 1 / factor, jnp.where(share >= 0.25, 1.0, factor))
    return jnp.where(state.count > 0, jnp.clip(moved, least, most), state.damping)


def like(tree: PyTree, model: PyTree) -> PyTree:
    """A tree with the leaves in the types of another's."""
    return jax.tree_util.tree_map(lambda leaf, other: leaf.astype(jnp.result_type(other)), tree, model)


def scheduled(value, count, dtype):
    """A number, or that which a schedule has for the count of updates."""
    return jnp.asarray(value(count) if callable(value) else value, dtype)


def _solver(metric, damping, method) -> Callable:
    """The function from a gradient to the natural gradient and what befell it."""
    known = float("nan") if callable(damping) else known_damping(damping)
    model = metric.model if isinstance(metric, FisherMetric) else metric
    if isinstance(model, AbstractModel):
        return _model_solver(model, method, known)
    if method is not None:
        raise ValueError(
            f"{type(method).__name__} works on the Fisher information of a model: pass a model, or no method."
        )
    metric = EuclideanMetric(1.0) if metric is None else as_metric(metric)
    return lambda params, structure, gradient, shift: _by_metric(metric, params, gradient, shift)


def _model_solver(model: AbstractModel, method, known: float) -> Callable:
    if method is not None and known == 0.0:
        raise ValueError("A method without a matrix needs a positive damping: the undamped system may be singular.")

    def solver(params, structure, gradient, shift):
        if method is None and gradient.size <= DENSE:
            estimate = model.information_estimate(params, errors=False)
            natural, result = _by_matrix(estimate.value, gradient, shift, RESULTS.singular_information)
            return natural, either_failure(estimate.result, result)
        if known == 0.0:
            raise ValueError(f"{gradient.size} parameters are too many for a matrix: give a positive damping.")
        operator = fisher_operator(model, params, throw=False)
        rhs = structure.unflatten(gradient)
        solution = damped_solve(operator, rhs, shift, method, throw=False)
        return structure.flatten(solution.value), solution.result

    return solver


def _by_metric(metric: AbstractMetric, params, gradient, shift):
    if isinstance(metric, EuclideanMetric) and metric.mass.ndim < 2:
        mass = metric.mass.astype(gradient.dtype) + shift
        failed = ~jnp.all(mass > 0.0)
        return gradient / mass, first_failure((failed, RESULTS.indefinite_mass))
    return _by_matrix(metric(params), gradient, shift, RESULTS.indefinite_mass)


def _by_matrix(matrix, gradient, shift, failure: RESULTS):
    """The solution by Cholesky's factor, which exists where the damped matrix is positive definite."""
    matrix = (matrix + matrix.T) / 2 + shift * jnp.eye(gradient.size, dtype=gradient.dtype)
    factor = jnp.linalg.cholesky(matrix)
    natural = jax.scipy.linalg.cho_solve((factor, True), gradient)
    known = jnp.all(jnp.isfinite(matrix))
    definite = jnp.all(jnp.isfinite(factor))
    return natural, first_failure((~known, RESULTS.nonfinite), (~definite, failure))
