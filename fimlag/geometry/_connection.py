"""The Levi-Civita connection of a metric."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._linear import solve
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry._metric import FlatMetric, flat_metric


def christoffel(metric: MetricFn, q: Coordinates) -> Float[Array, "d d d"]:
    r"""Christoffel symbols of the second kind of a metric at a point.

    $$\Gamma^k_{ij} = \tfrac12 g^{kl} (\partial_i g_{lj} + \partial_j g_{li} - \partial_l g_{ij})$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point.

    **Returns:** `[k, i, j]` $= \Gamma^k_{ij}$, shape (d, d, d), in the order of the flattened coordinates. NaN
    where the metric is singular.

    **Raises:** `ValueError` where the metric returns another shape.

    **Reference:** do Carmo (1992), ch. 2, eq. 10.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> float(fl.christoffel(half_plane, jnp.array([0.0, 2.0]))[1, 0, 0])
    0.5

    ```
    """
    flat, q = flat_metric(metric, q)
    return raised_first(flat(q), flat_christoffel_first_kind(flat, q))


def christoffel_first_kind(metric: MetricFn, q: Coordinates) -> Float[Array, "d d d"]:
    r"""Christoffel symbols of the first kind of a metric at a point: the upper index lowered.

    $$\Gamma_{k,ij} = g_{kl} \Gamma^l_{ij} = \tfrac12 (\partial_i g_{kj} + \partial_j g_{ki} - \partial_k g_{ij})$$

    **Arguments:** as for `christoffel`.

    **Returns:** `[k, i, j]` $= \Gamma_{k,ij}$, shape (d, d, d): the lowered index first, as in `christoffel`. Defined
    where the metric is singular, too.

    **Raises:** as `christoffel`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.24b.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> float(fl.christoffel_first_kind(half_plane, jnp.array([0.0, 2.0]))[1, 0, 0])
    0.125

    ```
    """
    return flat_christoffel_first_kind(*flat_metric(metric, q))


def geodesic_acceleration(metric: MetricFn, q: Coordinates, v: Coordinates) -> PyTree[Array]:
    r"""The acceleration of a geodesic with a velocity, without the Christoffel symbols.

    $$a^k = -\Gamma^k_{ij} v^i v^j, \qquad g a = \tfrac12 \nabla_q\, g(v, v) - (\partial_v g)\, v$$

    Both terms come from one derivative of the squared length, forward over reverse; no array larger than the matrix of
    the metric is formed. For a Fisher metric the squared length is $\mathrm E[(\partial_v \ell)^2]$.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point; `v`: a tangent vector in its structure.

    **Returns:** the acceleration in the structure of `q`; NaN where the metric is singular.

    **Raises:** `ValueError` where q and v differ in structure, or the metric returns another shape.

    **Reference:** do Carmo (1992), ch. 3, eq. 1; Arnold (1989), section 45 D.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> print(fl.geodesic_acceleration(half_plane, jnp.array([0.0, 2.0]), jnp.array([1.0, 0.0])))
    [ 0.  -0.5]

    ```
    """
    flat, q = flat_metric(metric, q)
    v = flat.vector(v, "v", q.dtype)
    return flat.structure.unflatten(solve(flat(q), -lowered_curving(flat, q, v)) + 0.0)


def flat_christoffel_first_kind(flat: FlatMetric, q: Float[Array, " d"]) -> Float[Array, "d d d"]:
    """`christoffel_first_kind` on flat vectors."""
    return first_kind_of(jax.jacfwd(flat)(q))


def first_kind_of(derivative: Float[Array, "d d d *more"]) -> Float[Array, "d d d *more"]:
    """The symbols `[k, i, j]` of a metric's derivative `[i, j, k]` $= \\partial_k g_{ij}$; linear."""
    return 0.5 * (derivative + jnp.swapaxes(derivative, 1, 2) - jnp.moveaxis(derivative, 2, 0))


def raised_first(matrix: Float[Array, "d d"], lowered: Float[Array, "d *more"]) -> Float[Array, "d *more"]:
    """A tensor with its first index raised."""
    return solve(matrix, lowered.reshape(lowered.shape[0], -1)).reshape(lowered.shape)


def lowered_curving(flat: FlatMetric, q: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, " d"]:
    """$\\Gamma_{k,ij} v^i v^j$, by derivatives of the squared length alone."""
    gradients = jax.grad(flat.quadratic, argnums=(0, 1))
    (slope, _), (_, rate) = jax.jvp(lambda x: gradients(x, v), (q,), (v,))
    return 0.5 * (rate - slope)


def derivatives_along(
    flat: FlatMetric, q: Float[Array, " d"], u: Float[Array, " d"], w: Float[Array, " d"]
) -> tuple[Float[Array, " d"], Float[Array, " d"], Float[Array, " d"]]:
    """$(\\partial_u g)\\, w$, $(\\partial_w g)\\, u$ and the gradient of $g(u, w)$: all that a contraction takes."""

    def along(direction):
        return jax.jvp(flat, (q,), (direction,))[1]

    by_u, by_w = jax.vmap(along)(jnp.stack([u, w]))
    return by_u @ w, by_w @ u, jax.grad(lambda x: u @ flat(x) @ w)(q)
