"""Parts and invariants of the curvature tensor."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry._connection import raised_first
from fimlag.geometry._curvature import flat_riemann, free_riemann, ricci_of
from fimlag.geometry._metric import flat_metric


def einstein_tensor(metric: MetricFn, q: Coordinates) -> Float[Array, "d d"]:
    r"""The Einstein tensor of a metric at a point: zero in two dimensions, and in empty space-time.

    $$G_{bd} = R_{bd} - \tfrac12 R\, g_{bd}$$

    **Arguments:** as for `riemann_curvature`.

    **Returns:** the symmetric matrix $G_{bd}$, shape (d, d).

    **Raises:** as `riemann_curvature`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.49.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> space = fl.Metric(lambda q: jnp.eye(3) / q[2] ** 2)
    >>> print(jax.jit(lambda q: fl.einstein_tensor(space, q))(jnp.array([0.0, 0.0, 1.0])) + 0.0)
    [[1. 0. 0.]
     [0. 1. 0.]
     [0. 0. 1.]]

    ```
    """
    matrix, riemann = flat_riemann(*flat_metric(metric, q))
    ricci = ricci_of(riemann)
    return ricci - 0.5 * jnp.trace(solve(matrix, ricci)) * matrix


def weyl_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, "d d d d"]:
    r"""The Weyl tensor of a metric at a point: what a conformal factor does not change.

    $$C^a{}_{bcd} = R^a{}_{bcd} - \delta^a_c P_{bd} + \delta^a_d P_{bc} - g_{bd} P^a{}_c + g_{bc} P^a{}_d, \qquad
    P_{bd} = \frac{1}{d - 2} \Big(R_{bd} - \frac{R\, g_{bd}}{2 (d - 1)}\Big)$$

    **Arguments:** as for `riemann_curvature`.

    **Returns:** `[a, b, c, d]` $= C^a{}_{bcd}$, shape (d, d, d, d), zero in three dimensions; NaN where the metric is
    singular.

    **Raises:** `ValueError` for fewer than three coordinates, where it is not defined; else as `riemann_curvature`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 13.50; Besse (1987), section 1.G.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> half_space = fl.Metric(lambda q: jnp.eye(4) / q[3] ** 2)  # conformal to flat space
    >>> weyl = jax.jit(lambda q: fl.weyl_curvature(half_space, q))
    >>> bool(jnp.all(jnp.abs(weyl(jnp.array([0.0, 0.0, 0.0, 2.0]))) < 1e-8))
    True

    ```
    """
    flat, q = flat_metric(metric, q)
    if q.size < 3:
        raise ValueError(f"The Weyl tensor needs at least three coordinates, but the point has {q.size}.")
    matrix, riemann = flat_riemann(flat, q)
    ricci, identity = ricci_of(riemann), jnp.eye(q.size, dtype=matrix.dtype)
    scalar = jnp.trace(solve(matrix, ricci))
    schouten = (ricci - scalar / (2.0 * (q.size - 1.0)) * matrix) / (q.size - 2.0)
    raised = solve(matrix, schouten)
    half = jnp.einsum("ac,bd->abcd", identity, schouten) + jnp.einsum("bd,ac->abcd", matrix, raised)
    return riemann - (half - half.swapaxes(2, 3))


def kretschmann(metric: MetricFn, q: Coordinates) -> Float[Array, ""]:
    r"""The Kretschmann invariant of a metric at a point: the squared size of its curvature.

    $$K = R_{abcd} R^{abcd}$$

    Taken in the chart of the metric, where it has one, as `scalar_curvature`.

    **Arguments:** as for `riemann_curvature`.

    **Returns:** a scalar; the square of the scalar curvature in two dimensions, NaN where the metric is singular.

    **Raises:** as `riemann_curvature`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 31.7.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> print(jnp.round(jax.jit(lambda q: fl.kretschmann(half_plane, q))(jnp.array([0.0, 2.0])), 9))
    4.0

    ```
    """
    matrix, riemann = free_riemann(*flat_metric(metric, q))
    raised = raised_first(matrix, jnp.moveaxis(riemann, 1, 0))  # [b, a, c, d] = R^ab_cd
    return jnp.einsum("bacd,dcab->", raised, raised)
