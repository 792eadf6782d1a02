"""Intervals by the likelihood ratio, and the profile they are read from."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure
from fimlag._implicit import frozen
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, as_field
from fimlag.fitting._constrained import local_coordinates
from fimlag.fitting._interest import chi_square_quantile, estimate_of, one_position
from fimlag.fitting._joint_likelihood import JointLikelihood
from fimlag.fitting._likelihood import MaximumLikelihoodSolution
from fimlag.fitting._walk import ProfileEnd, profile_end
from fimlag.information import AbstractModel


class LikelihoodInterval(AbstractSolution):
    r"""The values of a function of the parameters that the likelihood ratio does not reject.

    **Attributes:** `lower`, `upper`: the ends; minus or plus infinity where the likelihood stays above the threshold,
    NaN where the walk failed: the result then is no success. `estimate`: the value at the maximum of the likelihood.
    `theta_lower`, `theta_upper`: the parameters at the ends, in the structure of the estimate, the others at their
    constrained maximum. `threshold`: the quantile of the chi-square distribution that twice the loss of
    log-likelihood reaches at the ends. `iterations`: steps along the profile, the larger number of the two sides;
    `result`.
    """

    lower: Float[Array, ""]
    upper: Float[Array, ""]
    estimate: Float[Array, ""]
    theta_lower: PyTree
    theta_upper: PyTree
    threshold: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def profile_interval(
    model: AbstractModel,
    data: PyTree,
    fit: MaximumLikelihoodSolution | Coordinates,
    index,
    level: float = 0.95,
    *,
    max_iterations: int = 128,
    throw: bool = True,
) -> LikelihoodInterval:
    r"""The confidence interval of one parameter by its profile likelihood.

    $$\{\theta_k : 2\,(\hat\ell - \ell_p(\theta_k)) \le \chi^2_{1;\,\mathtt{level}}\}, \qquad
    \ell_p(\theta_k) = \max_{\theta_j,\, j \ne k} \ell(\theta)$$

    See `likelihood_ratio_interval`, of which it is the case of a coordinate function.

    **Arguments:** `model`, `data`, `fit`: as there. `index`: the parameter: a position in the flattened parameters,
    the name of a leaf, or a tuple of names and indices that leads to one number. `level`, `max_iterations`, `throw`:
    as there.

    **Returns:** a `LikelihoodInterval`.

    **Raises:** as there; `ValueError` where the index is not that of one number.

    **Reference:** Venzon & Moolgavkar (1988); Bates & Watts (1988), section 6.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> data, model = jnp.array([1.0, 2.0, 6.0]), fl.families.Normal().model
    >>> fit = fl.maximum_likelihood(model, data, jnp.array([2.0, 1.0]))
    >>> interval = fl.profile_interval(model, data, fit, 0)
    >>> print(f"{interval.lower:.3f} {interval.upper:.3f}")
    -0.482 6.482

    ```
    """
    vector, structure, fitted = estimate_of(fit)
    function = _Coordinate(structure, one_position(structure, index), vector.dtype)
    solution = _solve(model, data, vector, structure, function, fitted, _threshold(level, vector), max_iterations)
    return raise_unless_successful(solution, throw)


def likelihood_ratio_interval(
    model: AbstractModel,
    data: PyTree,
    fit: MaximumLikelihoodSolution | Coordinates,
    function: Callable | None = None,
    level: float = 0.95,
    *,
    max_iterations: int = 128,
    throw: bool = True,
) -> LikelihoodInterval:
    r"""The confidence interval of a function of the parameters by the likelihood ratio.

    $$\Big[\min \psi(\theta),\; \max \psi(\theta)\Big] \quad\text{over}\quad
    2\,(\hat\ell - \ell(\theta)) \le \chi^2_{1;\,\mathtt{level}}$$

    The same as inverting the likelihood-ratio test of $\psi = \psi_0$, hence invariant under changes of parameters.
    From the estimate both ends are followed along the profile by Newton's method, in steps of the root of the
    likelihood ratio that are halved where they fail; a step must keep to the maximum of the likelihood given $\psi$.
    The ends differentiate implicitly in the data, the fit, and all that model and function hold.

    **Arguments:** `model`, `data`: as `maximum_likelihood` takes them. `fit`: its solution, or the estimate itself.
    `function(theta)`: the quantity of interest, a scalar, smooth; may be left out where theta is one number. `level`:
    the coverage in large samples. `max_iterations`: the limit on steps to each end. `throw`: whether a failure raises.

    **Returns:** a `LikelihoodInterval`.

    **Raises:** `ValueError` for a level outside (0, 1) or a function that is no scalar; with `throw`, an error for
    `open_interval` (a likelihood that stays above the threshold on one side), `not_an_estimate`, `not_a_maximum`,
    `nonfinite`, `stalled` (also where the function is stationary at the estimate),
    `max_steps_reached`, or the failure of the fit.

    **Reference:** Venzon & Moolgavkar (1988), equation 4; Cox & Hinkley (1974), section 9.3; Pawitan (2001),
    section 3.4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> data, model = jnp.array([1.0, 2.0, 6.0]), fl.families.Normal().model
    >>> fit = fl.maximum_likelihood(model, data, jnp.array([2.0, 1.0]))
    >>> interval = fl.likelihood_ratio_interval(model, data, fit, lambda theta: theta[0] / theta[1])
    >>> print(f"{interval.lower:.3f} {interval.upper:.3f}")
    -0.121 3.039

    ```
    """
    vector, structure, fitted = estimate_of(fit)
    if function is None and vector.shape[0] != 1:
        raise ValueError(f"theta has {vector.shape[0]} coordinates: give the function of them that is of interest.")
    kept = _Coordinate(structure, 0, vector.dtype) if function is None else as_field(function)
    solution = _solve(model, data, vector, structure, kept, fitted, _threshold(level, vector), max_iterations)
    return raise_unless_successful(solution, throw)


def _threshold(level, vector):
    return jnp.asarray(chi_square_quantile(level, 1), vector.dtype)


class _Coordinate(eqx.Module):
    """One flat coordinate as a function of the parameters: by its unit vector, one compilation serves all."""

    structure: Structure
    unit: Float[Array, " d"]

    def __init__(self, structure: Structure, position: int, dtype):
        self.structure = structure
        self.unit = jnp.zeros(structure.size, dtype).at[position].set(1.0)

    def __call__(self, theta):
        return jnp.vdot(self.unit, self.structure.flatten(theta, "theta"))


@compiled
def _solve(
    model, data, estimate, structure: Structure, function, fitted, threshold, max_iterations: int
) -> LikelihoodInterval:
    likelihood = JointLikelihood(model, data, structure, estimate)
    of_vector = _scalar_function(function, structure, estimate)
    root, unfit = local_coordinates(frozen(likelihood), lax.stop_gradient(estimate))

    def end(sign):
        return profile_end(ProfileEnd(likelihood, of_vector, estimate, sign, threshold), root, max_iterations)

    thetas, values, failures, iterations = jax.vmap(end)(jnp.array([-1.0, 1.0], estimate.dtype))
    flat, limited, failed = (jnp.any(failure) for failure in failures)
    result = first_failure(
        (fitted != RESULTS.successful, fitted),
        *unfit,
        (flat, RESULTS.open_interval),
        (limited, RESULTS.max_steps_reached),
        (failed, RESULTS.stalled),
    )
    answered = (result == RESULTS.successful) | (result == RESULTS.open_interval)
    values = jnp.where(answered, values, jnp.nan)
    thetas = jnp.where(answered, thetas, jnp.nan)
    return LikelihoodInterval(
        lower=values[0],
        upper=values[1],
        estimate=of_vector(estimate),
        theta_lower=structure.unflatten(thetas[0]),
        theta_upper=structure.unflatten(thetas[1]),
        threshold=threshold,
        iterations=jnp.max(iterations),
        result=result,
    )


def _scalar_function(function, structure, estimate):
    """The function of the flat parameters, what it closes over in its fields; a `ValueError` unless a scalar."""

    def of_vector(vector):
        value = jnp.asarray(function(structure.unflatten(vector)))
        if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(f"function(theta) must return one real number, but returned {value.dtype}{value.shape}.")
        return value

    return eqx.filter_closure_convert(of_vector, estimate)
