"""Maximum likelihood."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.fitting._joint_likelihood import JointLikelihood
from fimlag.information import AbstractModel, cramer_rao_bound


class MaximumLikelihoodSolution(AbstractSolution):
    r"""A maximum-likelihood estimate and its precision.

    **Attributes:** `theta`: the estimate, in the structure of the first guess; `log_likelihood`: of all data, there
    (nats); `information`: the (d, d) Fisher information of all data there; `covariance`: its inverse, the Cramer-Rao
    bound; `standard_errors`: the roots of its diagonal, in the structure of the guess; `decrement`: the remaining
    score in units of its own standard deviation, $\sqrt{s^\top I^{-1} s}$; `iterations`; `result`.
    """

    theta: PyTree
    log_likelihood: Float[Array, ""]
    information: Float[Array, "d d"]
    covariance: Float[Array, "d d"]
    standard_errors: PyTree
    decrement: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def maximum_likelihood(
    model: AbstractModel, data: PyTree, theta0: Coordinates, *, max_iterations: int = 64, throw: bool = True
) -> MaximumLikelihoodSolution:
    r"""The maximum-likelihood estimate by Fisher scoring with step halving.

    $$\theta \leftarrow \theta + \alpha\, I(\theta)^{-1} s(\theta), \qquad
    s = \partial_\theta \sum_i \log p(x_i \mid \theta)$$

    Each step is the natural gradient at the length that raises the likelihood; the estimate differentiates implicitly
    with respect to the data and to everything that the model holds.

    **Arguments:** `model`: a `StatisticalModel` (data: observations on axis 0) or a `ConditionalModel` (data: all
    responses); `theta0`: the first guess; `max_iterations`: the limit on scoring steps; `throw`: whether a failure
    raises.

    **Returns:** a `MaximumLikelihoodSolution`. The parameters are not confined: outside its domain a log-likelihood
    should be -inf or NaN (or theta be free coordinates, such as logarithms), or a step may pass through its edge.

    **Raises:** with `throw`, an error for `nonfinite` (the guess or the data), `unknown_information` (its expectation
    failed at the point reached), `singular_information`, `stalled`, `max_steps_reached` or `not_a_maximum`.

    **Reference:** Fisher (1925); Bates & Watts (1988), sec. 2.2; Amari (1998) for the natural gradient.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> normal = fl.families.Normal().model
    >>> fit = fl.maximum_likelihood(normal, jnp.array([1.0, 2.0, 6.0]), jnp.array([0.0, 1.0]))
    >>> bool(jnp.allclose(fit.theta, jnp.array([3.0, jnp.sqrt(14 / 3)])))
    True

    ```
    """
    start, structure = flatten(theta0, "theta0")
    solution = _solve(model, data, start, structure, max_iterations)
    return raise_unless_successful(solution, throw)


class _Problem(eqx.Module):
    """The likelihood of all data and the expected information of their experiment."""

    likelihood: JointLikelihood
    information: Callable

    def __init__(self, model: AbstractModel, data: PyTree, structure: Structure, theta: Float[Array, " d"]):
        def information(vector):
            return model.joint_information(structure.unflatten(vector), data)

        self.likelihood = JointLikelihood(model, data, structure, theta)
        self.information = eqx.filter_closure_convert(information, theta)

    def log_likelihood(self, theta):
        return self.likelihood.log_likelihood(theta)

    def score(self, theta):
        return self.likelihood.score(theta)


class _State(eqx.Module):
    theta: Float[Array, " d"]
    iterations: Int[Array, ""]
    converged: Array
    stalled: Array


@compiled
def _solve(model, data, start, structure: Structure, max_iterations: int) -> MaximumLikelihoodSolution:
    problem = _Problem(model, data, structure, start)
    fixed = frozen(problem)
    state = _scoring(fixed, lax.stop_gradient(start), max_iterations)
    theta = implicit_root(_polished(fixed, state), problem, gradient=_Problem.score, factor=_observed_information)
    information = problem.information(theta)
    covariance = cramer_rao_bound(information)
    value = problem.log_likelihood(theta)
    score = fixed.score(lax.stop_gradient(theta))
    observed = -jax.jacfwd(fixed.score)(lax.stop_gradient(theta))
    result = first_failure(
        (~(jnp.isfinite(value) & jnp.all(jnp.isfinite(score))), RESULTS.nonfinite),
        (~jnp.all(jnp.isfinite(information)), RESULTS.unknown_information),
        (~jnp.all(jnp.isfinite(covariance)), RESULTS.singular_information),
        (state.stalled, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
        (~jnp.all(jnp.isfinite(cramer_rao_bound(observed))), RESULTS.not_a_maximum),
    )
    errors = structure.unflatten(jnp.sqrt(jnp.diagonal(covariance)))
    decrement = jnp.sqrt(score @ covariance @ score)
    return MaximumLikelihoodSolution(
        theta=structure.unflatten(theta),
        log_likelihood=value,
        information=information,
        covariance=covariance,
        standard_errors=errors,
        decrement=decrement,
        iterations=state.iterations,
        result=result,
    )


def _scoring(problem: _Problem, start, max_iterations) -> _State:
    """Fisher scoring; the step is halved until the likelihood rises enough (Armijo)."""
    lengths = 0.5 ** jnp.arange(12, dtype=start.dtype)
    eps = jnp.finfo(start.dtype).eps

    def advance(state: _State) -> _State:
        value, score = jax.value_and_grad(problem.log_likelihood)(state.theta)
        information = problem.information(state.theta)
        factor = jnp.linalg.cholesky(information)
        step = jax.scipy.linalg.cho_solve((factor, True), score)
        squared = jnp.vdot(score, step)
        trials = lax.map(lambda length: problem.log_likelihood(state.theta + length * step), lengths)
        noise = 8 * eps * jnp.abs(value)
        enough = jnp.isfinite(trials) & (trials >= value + 1e-4 * lengths * squared - noise)
        accepted, length = jnp.any(enough), lengths[jnp.argmax(enough)]
        # Parameters far from zero in units of their errors are themselves known to some digits only.
        grain = eps * jnp.sum(jnp.abs(state.theta) * jnp.sqrt(jnp.diagonal(information)))
        converged = accepted & (squared <= jnp.maximum(eps * jnp.maximum(jnp.abs(value), 1.0), grain**2))
        return _State(
            jnp.where(accepted, state.theta + length * step, state.theta),
            state.iterations + 1,
            converged,
            ~accepted,
        )

    no = jnp.array(False)
    state = _State(start, jnp.array(0), no, no)
    return lax.while_loop(lambda s: ~s.converged & ~s.stalled & (s.iterations < max_iterations), advance, state)


def _polished(problem: _Problem, state: _State):
    """One Newton step with the observed information: scoring converges linearly, this squares its error."""
    step = -_observed_information(problem, state.theta)(problem.score(state.theta))
    return jnp.where(state.converged & jnp.all(jnp.isfinite(step)), state.theta + step, state.theta)


def _observed_information(problem: _Problem, theta):
    """The solver of linear systems with the Hessian of the log-likelihood."""
    return functools.partial(solve, jax.jacfwd(problem.score)(theta))
