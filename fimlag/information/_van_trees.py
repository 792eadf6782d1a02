"""The Bayesian Cramér-Rao bound of van Trees."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from fimlag._flat import flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Outcomes
from fimlag.information._definite import definite_factor
from fimlag.information._expectation import Empirical
from fimlag.information._sums import count_blocks, count_outcomes, expectation, take_block

POINTS_AT_ONCE = 64
"""Points of a prior whose informations are held together."""


class VanTreesBound(AbstractSolution):
    """A bound on the mean squared error averaged over a prior.

    `value` (m, m): the bound; `standard_error` (m, m): its sampling error, 0 unless the points are a sample;
    `information` (d, d): the mean information of the experiment; `prior_information` (d, d): that of the prior;
    `result`: `successful`, `nonfinite`, `poor_quadrature`, `irregular_prior` or `singular_information`. Derivatives
    pass through all but the error.
    """

    value: Float[Array, "m m"]
    standard_error: Float[Array, "m m"]
    information: Float[Array, "d d"]
    prior_information: Float[Array, "d d"]
    result: RESULTS


def van_trees_bound(
    information: Callable,
    log_prior: Callable,
    points,
    weights: Inexact[Array, " n"] | None = None,
    transform: Callable | None = None,
    throw: bool = True,
) -> VanTreesBound:
    r"""The smallest mean squared error of any estimator, biased or not, averaged over a prior: the van Trees bound.

    $$\mathrm{E}\big[(\hat\psi - \psi)(\hat\psi - \psi)^\top\big] \succeq
    G \big(\mathrm{E}_\pi[I(\theta)] + \mathrm{E}_\pi[s s^\top]\big)^{-1} G^\top, \qquad
    s = \nabla \log \pi, \quad G = \mathrm{E}_\pi[\partial\psi / \partial\theta]$$

    It holds for priors that vanish at the ends of their support. This is tested by what follows from it,
    $\mathrm{E}[s] = 0$ and $\mathrm{E}[\theta s^\top] = -1$, and reported: a uniform prior is refused.

    **Arguments:** `information(theta)`: the information of the whole experiment, shape (d, d), such as
    `lambda theta: n * fl.fisher_information(model, theta)`. `log_prior(theta)`: the log-density of the prior at ONE
    theta; for a sample it need not be normalised. `points`: a sample of the prior, stacked on axis 0 of each leaf, or
    a rule over theta with `.blocks` and `.outcomes`, such as `Quadrature(lower, upper)` for one parameter; what the
    rule would be told as its theta is 0. `weights`: the probabilities that stacked points stand for, shape (n,),
    where they are the nodes of a quadrature and no sample. `transform(theta)`: the estimated quantity psi, theta
    itself if left out. `throw`: raise where it failed.

    **Returns:** a solution with `.value` and `.standard_error` (m, m), `.information` and `.prior_information` (d, d),
    `.result`.

    **Raises:** `ValueError` for an information of another shape or weights that do not fit the points; with `throw`,
    `nonfinite`; `poor_quadrature` where the probabilities do not sum to one, or more than a thousandth of the prior's
    information comes from probabilities below round-off, as where it is infinite; `irregular_prior` where the
    identities fail by more than 8 standard errors of a sample, or eps^0.5 of an exact rule; `singular_information`.

    **Reference:** van Trees (1968), eq. 2.4-227; Gill & Levit (1995), eq. 1 and 10.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def log_prior(mean): return -0.5 * (mean / 2.0) ** 2 - 0.5 * jnp.log(8.0 * jnp.pi)
    >>> prior = fl.Quadrature(-jnp.inf, jnp.inf, scale=2.0)
    >>> bound = fl.van_trees_bound(lambda mean: jnp.array([[0.75]]), log_prior, prior)       # 1 / (3 / 4 + 1 / 4)
    >>> print(jnp.round(bound.value, 9))
    [[1.]]

    ```
    """
    rule = _rule_over(points, weights)
    average = _Average(rule, log_prior, lambda theta: _at_point(information, log_prior, transform, theta))
    moments = average(_moments)
    total = moments["information"] + moments["prior"]
    inverse_root = jax.scipy.linalg.solve_triangular(definite_factor(total), moments["jacobian"].T, lower=True)
    value = inverse_root.T @ inverse_root
    errors = jax.lax.stop_gradient(_errors(average, getattr(rule, "sample_size", None), moments))
    bound = VanTreesBound(
        value=value,
        standard_error=errors["bound"],
        information=moments["information"],
        prior_information=moments["prior"],
        result=_judged(rule, moments, errors, total, value),
    )
    return raise_unless_successful(bound, throw)


class _Nodes(eqx.Module):
    """A rule of given points and their probabilities."""

    points: Outcomes
    weights: Array

    @property
    def blocks(self) -> int:
        return count_blocks(self.weights.size)

    def outcomes(self, log_likelihood, theta, block=0):
        (x, weights), inside = take_block((self.points, self.weights), self.blocks, block)
        return x, jnp.where(inside, weights, 0.0)


class _Average(eqx.Module):
    """The mean over a prior of a statistic of what is known at each point."""

    rule: Any
    log_prior: Callable
    at_point: Callable

    def __call__(self, statistic: Callable):
        def of_item(item):
            theta, weight = item
            known = self.at_point(theta)
            return statistic(*known, weight.astype(known[0].dtype))

        def part(theta, weights):
            values = jax.lax.map(of_item, (theta, weights), batch_size=POINTS_AT_ONCE)
            return jax.tree_util.tree_map(lambda leaf: jnp.sum(leaf, axis=0), values)

        # The rules expect parameters of the density: a prior has none.
        return expectation(self.rule, lambda _, theta: self.log_prior(theta), jnp.zeros(()), part)


def _rule_over(points, weights):
    if hasattr(points, "blocks") and hasattr(points, "outcomes"):
        if weights is not None:
            raise ValueError("A rule brings its own weights: give weights only with stacked points.")
        return points
    if weights is None:
        return Empirical(points)
    n = count_outcomes(points, "points")
    if jnp.shape(weights) != (n,):
        raise ValueError(f"weights must have shape ({n},), one for each point, but have {jnp.shape(weights)}.")
    return _Nodes(jax.tree_util.tree_map(jnp.asarray, points), jnp.asarray(weights))


def _at_point(information, log_prior, transform, theta):
    """Point, prior score, information, and Jacobian of the transformation, in flat coordinates."""
    vector, structure = flatten(theta, "theta")
    score = jax.grad(lambda v: log_prior(structure.unflatten(v)))(vector)
    matrix = jnp.asarray(information(theta))
    if matrix.shape != (vector.size, vector.size):
        raise ValueError(
            f"information(theta) returned an array of shape {matrix.shape}, but theta has {vector.size} coordinates."
        )
    if transform is None:
        return vector, score, matrix, jnp.eye(vector.size, dtype=vector.dtype)
    jacobian = jax.jacfwd(lambda v: flatten(transform(structure.unflatten(v)), "the transformed theta")[0])(vector)
    return vector, score, matrix, jacobian


def _moments(vector, score, information, jacobian, weight):
    unresolved = jnp.where(weight < float(jnp.finfo(weight.dtype).eps), weight, 0.0)
    return {
        "mass": weight,
        "mean": weight * vector,
        "squares": weight * vector**2,
        "score": weight * score,
        "cross": weight * jnp.outer(vector, score),
        "information": weight * information,
        "prior": weight * jnp.outer(score, score),
        "jacobian": weight * jacobian,
        "unresolved": unresolved * score**2,
    }


def _errors(average, size, moments):
    """Standard errors of the bound, of the mean score and of its product with theta; 0 unless over a sample."""
    total, jacobian = moments["information"] + moments["prior"], moments["jacobian"]
    factor = definite_factor(total)
    solved = jax.scipy.linalg.cho_solve((factor, True), jacobian.T)

    def deviations(vector, score, information, jacobian_here, weight):
        along = (jacobian_here - jacobian) @ solved
        bound = along + along.T - solved.T @ (information + jnp.outer(score, score) - total) @ solved
        cross = jnp.outer(vector - moments["mean"], score) - _centred(moments)
        parts = {"bound": bound, "score": score - moments["score"], "cross": cross}
        return jax.tree_util.tree_map(lambda part: (weight * part) ** 2, parts)

    if size is None:
        bound = jnp.zeros((jacobian.shape[0],) * 2, total.dtype)
        return {"bound": bound, "score": 0.0 * moments["score"], "cross": 0.0 * total}
    correction = size / max(size - 1, 1)
    return jax.tree_util.tree_map(lambda part: jnp.sqrt(correction * part), average(deviations))


def _centred(moments):
    """$\\mathrm{E}[(\\theta - \\bar\\theta)\\, s^\\top]$, minus one for a prior that vanishes at its ends."""
    return moments["cross"] - jnp.outer(moments["mean"], moments["score"])


def _judged(rule, moments, errors, total, value):
    moments = jax.lax.stop_gradient(moments)
    exact = getattr(rule, "sample_size", None) is None
    tolerance = float(jnp.finfo(total.dtype).eps) ** 0.5
    prior = jnp.diag(moments["prior"])
    spread = jnp.sqrt(jnp.maximum(moments["squares"] - moments["mean"] ** 2, 0.0))
    product = 1.0 + jnp.outer(spread, jnp.sqrt(prior))
    off_score = jnp.abs(moments["score"]) > 8.0 * errors["score"] + tolerance * jnp.sqrt(prior)
    identity = jnp.eye(prior.size, dtype=prior.dtype)
    off_cross = jnp.abs(_centred(moments) + identity) > 8.0 * errors["cross"] + tolerance * product
    poor = jnp.abs(moments["mass"] - 1.0) > tolerance
    if exact:
        poor = poor | jnp.any(moments["unresolved"] > 1e-3 * prior)
    return first_failure(
        (~(jnp.all(jnp.isfinite(total)) & jnp.all(jnp.isfinite(moments["jacobian"]))), RESULTS.nonfinite),
        (poor, RESULTS.poor_quadrature),
        (jnp.any(off_score) | jnp.any(off_cross), RESULTS.irregular_prior),
        (~jnp.all(jnp.isfinite(value)), RESULTS.singular_information),
    )
