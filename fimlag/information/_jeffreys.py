"""Jeffreys' prior: the volume that a family of distributions fills."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.information._definite import definite_factor
from fimlag.information._fisher import fisher_information
from fimlag.information._model import AbstractModel
from fimlag.information._sums import sum_over_data

POINTS_AT_ONCE = 64
"""Points of a box whose densities are held together."""


def log_jeffreys_density(model: AbstractModel, theta: Coordinates) -> Float[Array, ""]:
    r"""The logarithm of Jeffreys' density: the volume element of the Fisher metric.

    $$\log \sqrt{\det I(\theta)}$$

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree.

    **Returns:** the logarithm, shape (); NaN where the information is not positive definite to working precision, or
    its expectation failed.

    **Reference:** Jeffreys (1946).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> density = jax.jit(lambda theta: fl.log_jeffreys_density(fl.families.Normal().model, theta))
    >>> print(jnp.round(density(jnp.array([0.0, 0.5])), 9))                # log sqrt(32)
    1.732867951

    ```
    """
    return jnp.sum(jnp.log(jnp.diag(definite_factor(fisher_information(model, theta)))))


def jeffreys_density(model: AbstractModel, theta: Coordinates) -> Float[Array, ""]:
    r"""Jeffreys' density, not normalised.

    $$\sqrt{\det I(\theta)}$$

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree.

    **Returns:** the density with respect to the flattened parameters, shape (); NaN as for `log_jeffreys_density`.

    **Reference:** Jeffreys (1946).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> density = jax.jit(lambda p: fl.jeffreys_density(fl.families.Bernoulli().model, p))
    >>> print(density(0.5))                                                # 1 / sqrt(p (1 - p))
    2.0

    ```
    """
    return jnp.exp(log_jeffreys_density(model, theta))


class JeffreysVolume(AbstractSolution):
    """The integral of Jeffreys' density over a box.

    `value`: the volume, shape (); `error_estimate`: its difference from a rule of fewer nodes, shape (); `result`:
    `successful`, `nonfinite` or `unresolved_integral`.
    """

    value: Float[Array, ""]
    error_estimate: Float[Array, ""]
    result: RESULTS


def jeffreys_volume(
    model: AbstractModel,
    lower: Coordinates,
    upper: Coordinates,
    nodes: int = 32,
    rtol: float = 1e-6,
    throw: bool = True,
) -> JeffreysVolume:
    r"""The volume of a box of parameters in the Fisher metric.

    $$\int_{\mathtt{lower}}^{\mathtt{upper}} \sqrt{\det I(\theta)}\, \mathrm{d}\theta$$

    It counts the distinguishable distributions: $\log \int \sqrt{\det I} + \tfrac d2 \log \tfrac{n}{2\pi}$ nats is
    the complexity of a model of n observations. In each coordinate $\theta = a + (b - a) \sin^2(\phi / 2)$, with Gauss
    nodes in $\phi$: the infinity $1 / \sqrt{s}$ at distance s from an end, where a probability vanishes, becomes
    smooth, and what was smooth remains so.

    **Arguments:** `model`: a statistical model of at most three parameters. `lower`, `upper`: the ends, finite,
    each in theta's structure. `nodes`: in each coordinate. `rtol`: the relative error accepted. `throw`: raise where
    the integral failed.

    **Returns:** a solution with `.value`, `.error_estimate` (against three quarters of the nodes) and `.result`.

    **Raises:** `ValueError` for more than three parameters, fewer than four nodes, ends that are infinite or out of
    order; with `throw`, `nonfinite` (also where a traced end is infinite or out of order) and `unresolved_integral`,
    as where the volume is infinite: a scale from 0, say, or any improper prior.

    **Reference:** Jeffreys (1946); Rissanen (1996) and Balasubramanian (1997) for the volume.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> volume = jax.jit(lambda lower, upper: fl.jeffreys_volume(fl.families.Bernoulli().model, lower, upper))
    >>> print(jnp.round(volume(0.0, 1.0).value, 9))
    3.141592654

    ```
    """
    start, structure = flatten(lower, "lower")
    end = structure.flatten(upper, "upper").astype(start.dtype)
    _check_box(start, end, nodes)

    def density(point):
        return jeffreys_density(model, structure.unflatten(point))

    value = _integral(density, start, end, nodes)
    error = jax.lax.stop_gradient(jnp.abs(value - _integral(density, start, end, nodes * 3 // 4)))
    tolerance = max(rtol, float(jnp.finfo(value.dtype).eps) ** 0.5)
    result = first_failure(
        (~jnp.isfinite(error), RESULTS.nonfinite),
        (error > tolerance * jnp.abs(value), RESULTS.unresolved_integral),
    )
    return raise_unless_successful(JeffreysVolume(value=value, error_estimate=error, result=result), throw)


def _check_box(start, end, nodes):
    if start.size > 3:
        raise ValueError(
            f"A box of {start.size} parameters would need {nodes}^{start.size} points; at most three are integrated. "
            "Average exp(log_jeffreys_density) over a sample of your own."
        )
    if nodes < 4:
        raise ValueError(f"nodes must be at least 4, but is {nodes}.")
    if isinstance(start, Tracer) or isinstance(end, Tracer):
        return
    if not np.all(np.isfinite(start) & np.isfinite(end)):
        raise ValueError(
            f"The ends must be finite, but are {start} and {end}: on an infinite box Jeffreys' prior may be improper. "
            "Change to parameters on a finite box, such as log(sigma) between bounds or p = 1 / (1 + exp(-x))."
        )
    if not np.all(start < end):
        raise ValueError(f"lower must be less than upper, but they are {start} and {end}.")


def _integral(density, start, end, nodes):
    x, weights = np.polynomial.legendre.leggauss(nodes)
    half_angle = math.pi / 4 * (x + 1.0)
    from_start, from_end = np.sin(half_angle) ** 2, np.cos(half_angle) ** 2
    slopes = math.pi / 4 * weights * np.sin(2.0 * half_angle)
    dtype, d = start.dtype, start.size

    def grid(values):
        return np.stack(np.meshgrid(*[values] * d, indexing="ij"), axis=-1).reshape(-1, d)

    from_start, from_end = jnp.asarray(grid(from_start), dtype), jnp.asarray(grid(from_end), dtype)
    length = jnp.where(end > start, end - start, jnp.nan)[None, :]
    # Measured from the nearer end, so that a distance from an end at 0 keeps its digits.
    points = jnp.where(from_start < 0.5, start[None, :] + length * from_start, end[None, :] - length * from_end)
    weights = jnp.asarray(np.prod(grid(slopes), axis=1), dtype) * jnp.prod(length)
    return sum_over_data(lambda x: x[1] * jax.vmap(density)(x[0]), (points, weights), POINTS_AT_ONCE)
