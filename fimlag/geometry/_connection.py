"""The Levi-Civita connection of a metric."""

import jax
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, MetricFn


def christoffel(metric: MetricFn, q: Coordinates) -> Float[Array, "d d d"]:
    r"""Christoffel symbols of the second kind of a metric at a point.

    $$\Gamma^k_{ij} = \tfrac12 g^{kl} (\partial_i g_{lj} + \partial_j g_{li} - \partial_l g_{ij})$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point.

    **Returns:** `[k, i, j]` $= \Gamma^k_{ij}$, shape (d, d, d), in the order of the flattened coordinates. NaN
    where the metric is singular.

    **Reference:** do Carmo (1992), ch. 2, eq. 10.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> float(fl.christoffel(half_plane, jnp.array([0.0, 2.0]))[1, 0, 0])
    0.5

    ```
    """
    vector, structure = flatten(q, "q")
    return flat_christoffel(lambda x: metric(structure.unflatten(x)), vector)


def flat_christoffel(metric, q):
    """`christoffel` for a metric of flat vectors."""
    matrix, derivative = metric(q), jax.jacfwd(metric)(q)  # derivative[i, j, k] = d_k g_ij
    first_kind = 0.5 * (derivative + derivative.swapaxes(1, 2) - derivative.transpose(2, 0, 1))
    return solve(matrix, first_kind.reshape(q.size, -1)).reshape(first_kind.shape)
