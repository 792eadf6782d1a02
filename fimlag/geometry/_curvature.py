"""Curvature of the Levi-Civita connection."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry._connection import flat_christoffel


def riemann_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, "d d d d"]:
    r"""The Riemann curvature tensor of a metric at a point.

    $$R^a{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb}
    + \Gamma^a_{ce} \Gamma^e_{db} - \Gamma^a_{de} \Gamma^e_{cb}$$

    **Arguments:** `metric`: any callable `q -> (d, d)`, three times differentiable; `q`: the point.

    **Returns:** `[a, b, c, d]` $= R^a{}_{bcd}$, shape (d, d, d, d); NaN where the metric is singular.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.44.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> sphere = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, jnp.sin(q[0]) ** 2])))
    >>> bool(jnp.isclose(fl.riemann_curvature(sphere, jnp.array([0.5, 0.0]))[0, 1, 0, 1], jnp.sin(0.5) ** 2))
    True

    ```
    """
    vector, structure = flatten(q, "q")

    def connection(x):
        return flat_christoffel(lambda y: metric(structure.unflatten(y)), x)

    gamma, derivative = (
        connection(vector),
        jax.jacfwd(connection)(vector),
    )  # derivative[a, i, j, k] = d_k Gamma^a_ij
    half = jnp.einsum("adbc->abcd", derivative) + jnp.einsum("ace,edb->abcd", gamma, gamma)
    return half - half.swapaxes(2, 3)


def ricci_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, "d d"]:
    r"""The Ricci tensor of a metric at a point; positive on spheres.

    $$R_{bd} = R^a{}_{bad}$$

    **Arguments:** as for `riemann_curvature`.

    **Returns:** the symmetric matrix $R_{bd}$, shape (d, d).

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.47.
    """
    return jnp.einsum("abad->bd", riemann_curvature(metric, q))


def scalar_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, ""]:
    r"""The scalar curvature of a metric at a point: twice the Gauss curvature in two dimensions.

    $$R = g^{bd} R_{bd}$$

    **Arguments:** as for `riemann_curvature`.

    **Returns:** a scalar; positive on spheres, -1 for the Fisher metric of univariate normals, NaN where the
    metric is singular.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.48; Amari (1985), ex. 2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> bool(jnp.isclose(fl.scalar_curvature(half_plane, jnp.array([0.0, 2.0])), -2.0))
    True

    ```
    """
    return jnp.trace(solve(metric(q), ricci_curvature(metric, q)))


def sectional_curvature(metric: MetricFn, q: Coordinates, u: Coordinates, w: Coordinates) -> Float[Array, ""]:
    r"""The sectional curvature of the plane that two tangent vectors span.

    $$K(u, w) = \frac{g(R(u, w)\, w, u)}{g(u, u)\, g(w, w) - g(u, w)^2}$$

    **Arguments:** `metric`, `q`: as for `riemann_curvature`; `u`, `w`: tangent vectors in the structure of `q`.

    **Returns:** a scalar, positive on spheres; NaN where the vectors are parallel.

    **Reference:** do Carmo (1992), ch. 4, prop. 3.1.
    """
    structure = flatten(q, "q")[1]
    u, w = structure.flatten(u, "u"), structure.flatten(w, "w")
    matrix = metric(q)
    image = jnp.einsum("abcd,b,c,d->a", riemann_curvature(metric, q), w, u, w)
    area = (u @ matrix @ u) * (w @ matrix @ w) - (u @ matrix @ w) ** 2
    return (u @ matrix @ image) / area


def volume_density(metric: MetricFn, q: Coordinates) -> Float[Array, ""]:
    r"""The Riemannian volume density of a metric; for a Fisher metric, the density of Jeffreys' prior.

    $$\sqrt{\det g(q)}$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point.

    **Returns:** a scalar; NaN where the metric is not positive definite.

    **Reference:** Jeffreys (1946).
    """
    factor = jnp.linalg.cholesky(metric(q))
    return jnp.exp(jnp.sum(jnp.log(jnp.diagonal(factor))))
