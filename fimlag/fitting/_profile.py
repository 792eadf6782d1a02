"""The profile of a likelihood: its largest value at each value of one parameter."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure
from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.fitting._constrained import constrained_maximum
from fimlag.fitting._interest import estimate_of, one_position
from fimlag.fitting._joint_likelihood import JointLikelihood
from fimlag.fitting._likelihood import MaximumLikelihoodSolution
from fimlag.information import AbstractModel


class ProfileLikelihood(AbstractSolution):
    r"""The profile of one parameter at k values.

    **Attributes:** `values`: of the parameter, shape (k,); `log_likelihood`: the largest there (nats), shape (k,);
    `statistic`: twice its loss from the estimate, shape (k,); `signed_root`: the root of the statistic with the sign
    of the value less the estimate, a straight line for a quadratic likelihood, shape (k,); `theta`: all parameters,
    stacked along axis 0 of the structure of the estimate; `result`: one for each value, and NaN where it failed.
    """

    values: Float[Array, " k"]
    log_likelihood: Float[Array, " k"]
    statistic: Float[Array, " k"]
    signed_root: Float[Array, " k"]
    theta: PyTree
    result: RESULTS


def profile_likelihood(
    model: AbstractModel,
    data: PyTree,
    fit: MaximumLikelihoodSolution | Coordinates,
    index,
    values: ArrayLike,
    *,
    throw: bool = True,
) -> ProfileLikelihood:
    r"""The profile likelihood of one parameter: the others maximise the likelihood at each of its values.

    $$\ell_p(\theta_k) = \max_{\theta_j,\, j \ne k} \ell(\theta)$$

    Each value has its own safeguarded Newton search, from where the quadratic approximation at the estimate has its
    maximum. The profile differentiates implicitly in values, data and model.

    **Arguments:** `model`, `data`: as `maximum_likelihood` takes them. `fit`: its solution, or the estimate itself.
    `index`: the parameter, as in `profile_interval`. `values`: where, shape (k,). `throw`: whether a failure raises.

    **Returns:** a `ProfileLikelihood`.

    **Raises:** `ValueError` where the index is not that of one number, or the values are no vector; with `throw`, an
    error where a value has `nonfinite`, `stalled`, `max_steps_reached` or `not_a_maximum`, or the fit failed.

    **Reference:** Bates & Watts (1988), section 6.1 (profile t plots); Pawitan (2001), section 3.4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> data, model = jnp.array([1.0, 2.0, 6.0]), fl.families.Normal().model
    >>> profile = fl.profile_likelihood(model, data, jnp.array([3.0, jnp.sqrt(14 / 3)]), 0, jnp.array([1.0, 3.0]))
    >>> print(jnp.round(profile.theta[:, 1] ** 2, 3))
    [8.667 4.667]

    ```
    """
    vector, structure, fitted = estimate_of(fit)
    position = one_position(structure, index)
    values = jnp.asarray(values, vector.dtype)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"values must be a vector of shape (k,), but has shape {values.shape}.")
    return raise_unless_successful(_profile(model, data, vector, structure, position, fitted, values), throw)


@compiled
def _profile(model, data, estimate, structure: Structure, position: int, fitted, values) -> ProfileLikelihood:
    likelihood = JointLikelihood(model, data, structure, estimate)

    def at(value):
        theta, result = constrained_maximum(likelihood, estimate, (position,), value[None])
        result = RESULTS.where(fitted == RESULTS.successful, result, fitted)
        succeeded = result == RESULTS.successful
        theta = jnp.where(succeeded, theta, jnp.nan)
        return theta, jnp.where(succeeded, likelihood.log_likelihood(theta), jnp.nan), result

    thetas, heights, result = jax.vmap(at)(values)
    statistic = 2.0 * (likelihood.log_likelihood(estimate) - heights)
    side = jnp.sign(values - estimate[position])
    return ProfileLikelihood(
        values=values,
        log_likelihood=heights,
        statistic=statistic,
        signed_root=side * _root(statistic),
        theta=jax.vmap(structure.unflatten)(thetas),
        result=result,
    )


def _root(statistic):
    """The root, 0 with derivative 0 where round-off at the estimate leaves nothing positive."""
    vanishing = statistic <= 0.0
    return jnp.where(vanishing, 0.0, jnp.sqrt(jnp.where(vanishing, 1.0, statistic)))
