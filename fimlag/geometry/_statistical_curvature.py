"""How far a family of one parameter is from an exponential one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS
from fimlag._types import Coordinates
from fimlag.information import AbstractModel


def statistical_curvature(model: AbstractModel, theta: Coordinates) -> Float[Array, ""]:
    r"""Efron's statistical curvature of a family of one parameter: zero where it is exponential.

    $$\gamma^2 = \frac{\nu_{20} \nu_{02} - \nu_{11}^2}{\nu_{20}^3}, \qquad
    \begin{pmatrix} \nu_{20} & \nu_{11} \\ \nu_{11} & \nu_{02} \end{pmatrix} =
    \operatorname{Cov}(\dot\ell, \ddot\ell)$$

    It does not depend on the coordinate. With n independent observations it is $\gamma / \sqrt n$; the maximum of the
    likelihood loses $\gamma^2$ observations' worth of information, and from $\gamma^2 / n = 1/8$ on linear theory
    deserves mistrust.

    **Arguments:** `model`: a statistical model of one parameter: a curve in a larger family by its own
    log-likelihood, or by `GaussianModel` or `ConditionalModel`. `theta`: the parameter, a number or a vector of length
    1.

    **Returns:** $\gamma$, shape (); NaN where the expectation failed.

    **Raises:** `ValueError` for more parameters.

    **Reference:** Efron (1975), section 3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> model = fl.GaussianModel(lambda m: jnp.reshape(m, (1,)), lambda m: jnp.reshape(m**2, (1, 1)))
    >>> print(jnp.round(fl.statistical_curvature(model, 3.0) ** 2, 9))
    0.074074074

    ```
    """
    vector, structure = flatten(theta, "theta")
    if vector.size != 1:
        raise ValueError(f"Statistical curvature is of one parameter, but theta has {vector.size}.")

    def improved(state, _):
        """The covariance in a coordinate whose acceleration takes out what the score explains, free of cancellation."""
        rate, _, failed = state
        along = structure.unflatten(jnp.ones_like(vector)), structure.unflatten(-rate * jnp.ones_like(vector))
        covariance, result = model.bending(structure.unflatten(vector), *along)
        rate = rate + covariance[0, 1] / covariance[0, 0]
        return (rate, covariance, failed | (result != RESULTS.successful)), None

    start = (jnp.zeros_like(vector[0]), jnp.zeros((2, 2), vector.dtype), jnp.asarray(False))
    (_, covariance, failed), _ = jax.lax.scan(improved, start, length=2)
    squared = jnp.linalg.det(covariance) / covariance[0, 0] ** 3
    curved = squared > 0.0
    root = jnp.where(curved, jnp.sqrt(jnp.where(curved, squared, 1.0)), 0.0)
    return jnp.where(failed | jnp.isnan(squared), jnp.nan, root)
