"""Curvature of the Levi-Civita connection."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._charts import IdentityChart
from fimlag._linear import solve
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry._connection import first_kind_of, raised_first
from fimlag.geometry._metric import FlatMetric, flat_metric


def riemann_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, "d d d d"]:
    r"""The Riemann curvature tensor of a metric at a point.

    $$R^a{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb}
    + \Gamma^a_{ce} \Gamma^e_{db} - \Gamma^a_{de} \Gamma^e_{cb}$$

    The tensor is taken in the coordinates given. Where the matrix, scaled to a unit diagonal, has the condition number
    k, round-off of its entries grows by about k (gamma distributions of shape a in coordinates shape and rate: k = 4a);
    the invariants are taken in the metric's own chart, where it has one, and keep their digits.

    **Arguments:** `metric`: any callable `q -> (d, d)`, twice differentiable, of any signature; `q`: the point.

    **Returns:** `[a, b, c, d]` $= R^a{}_{bcd}$, shape (d, d, d, d); NaN where the metric is singular.

    **Raises:** `ValueError` where the metric returns another shape.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.44.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> sphere = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, jnp.sin(q[0]) ** 2])))
    >>> bool(jnp.isclose(fl.riemann_curvature(sphere, jnp.array([0.5, 0.0]))[0, 1, 0, 1], jnp.sin(0.5) ** 2))
    True

    ```
    """
    return flat_riemann(*flat_metric(metric, q))[1]


def ricci_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, "d d"]:
    r"""The Ricci tensor of a metric at a point; positive on spheres.

    $$R_{bd} = R^a{}_{bad}$$

    **Arguments:** as for `riemann_curvature`.

    **Returns:** the symmetric matrix $R_{bd}$, shape (d, d).

    **Raises:** as `riemann_curvature`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.47.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> print(fl.ricci_curvature(half_plane, jnp.array([0.0, 2.0])) + 0.0)
    [[-0.25  0.  ]
     [ 0.   -0.25]]

    ```
    """
    return ricci_of(flat_riemann(*flat_metric(metric, q))[1])


def scalar_curvature(metric: MetricFn, q: Coordinates) -> Float[Array, ""]:
    r"""The scalar curvature of a metric at a point: twice the Gauss curvature in two dimensions.

    $$R = g^{bd} R_{bd}$$

    Taken in the chart of the metric, where it has one: gamma distributions keep all digits from shape 1e-3 to 1e6, in
    single precision too, and a point outside the domain is NaN.

    **Arguments:** as for `riemann_curvature`.

    **Returns:** a scalar; positive on spheres, -1 for the Fisher metric of univariate normals, NaN where the
    metric is singular.

    **Raises:** as `riemann_curvature`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 8.48; Amari (1985), ex. 2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> bool(jnp.isclose(fl.scalar_curvature(half_plane, jnp.array([0.0, 2.0])), -2.0))
    True

    ```
    """
    matrix, riemann = free_riemann(*flat_metric(metric, q))
    return jnp.trace(solve(matrix, ricci_of(riemann)))


def sectional_curvature(metric: MetricFn, q: Coordinates, u: Coordinates, w: Coordinates) -> Float[Array, ""]:
    r"""The sectional curvature of the plane that two tangent vectors span.

    $$K(u, w) = \frac{g(R(u, w)\, w, u)}{g(u, u)\, g(w, w) - g(u, w)^2}$$

    Its numerator is $\partial_u \partial_w g(u, w) - \tfrac12 \partial_u^2 g(w, w) - \tfrac12 \partial_w^2 g(u, u)
    + |\Gamma(u, w)|^2 - \langle \Gamma(u, u), \Gamma(w, w) \rangle$: derivatives along u and w alone, in the chart of
    the metric, where it has one.

    **Arguments:** `metric`, `q`: as for `riemann_curvature`; `u`, `w`: tangent vectors in the structure of `q`.

    **Returns:** a scalar, positive on spheres; NaN where the vectors are parallel to working precision, the metric is
    singular, or degenerate on the plane (one that touches a light cone).

    **Raises:** `ValueError` where the vectors or the metric differ in structure from the point.

    **Reference:** do Carmo (1992), ch. 4, prop. 3.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> float(fl.sectional_curvature(half_plane, jnp.array([0.0, 2.0]), jnp.array([1.0, 0.0]), jnp.array([1.0, 1.0])))
    -1.0

    ```
    """
    flat, point = flat_metric(metric, q)
    directions = [flat.vector(tree, name, point.dtype) for tree, name in ((u, "u"), (w, "w"))]
    free, q, *directions = in_free_coordinates(flat, point, *directions)
    matrix = free(q)
    plane = _plane(matrix, *directions)
    (uu, uw), (_, ww) = plane.T @ matrix @ plane
    bounds = jnp.abs(plane).T @ jnp.abs(matrix) @ jnp.abs(plane)
    area, scale = uu * ww - uw**2, bounds[0, 0] * bounds[1, 1]
    degenerate = jnp.abs(area) <= 8.0 * float(jnp.finfo(area.dtype).eps) * scale
    return jnp.where(degenerate, jnp.nan, _tidal_force(free, q, matrix, plane) / area)


def volume_density(metric: MetricFn, q: Coordinates) -> Float[Array, ""]:
    r"""The Riemannian volume density of a metric; for a Fisher metric, the density of Jeffreys' prior.

    $$\sqrt{\det g(q)}$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point.

    **Returns:** a scalar; NaN where the metric is not positive definite: an information matrix that is not must not
    look like one, so that Lorentzian metrics have no density here.

    **Raises:** as `riemann_curvature`.

    **Reference:** Jeffreys (1946).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> float(fl.volume_density(lambda q: jnp.eye(2) / q[1] ** 2, jnp.array([0.0, 2.0])))
    0.25

    ```
    """
    flat, q = flat_metric(metric, q)
    factor = jnp.linalg.cholesky(flat(q))
    return jnp.exp(jnp.sum(jnp.log(jnp.diagonal(factor))))


def lowered_curvature(
    matrix: Float[Array, "d d"],
    symbols: Float[Array, "d d d"],
    dual: Float[Array, "d d d"],
    slope: Float[Array, "d d d d"],
) -> Float[Array, "d d d d"]:
    r"""The curvature $R_{abcd}$ of a connection with its dual, from symbols of the first kind `[a, i, j]`.

    $$R_{abcd} = \partial_c \Gamma_{a,db} - \Gamma^*_{e,ca}\, g^{ef}\, \Gamma_{f,db} - (c \leftrightarrow d)$$

    where $\partial_c g_{ae} = \Gamma_{a,ce} + \Gamma^*_{e,ca}$; `slope`: `[a, i, j, k]` $= \partial_k \Gamma_{a,ij}$.
    """
    raised = raised_first(matrix, symbols)
    half = jnp.einsum("adbc->abcd", slope) - jnp.einsum("eca,edb->abcd", dual, raised)
    # A compiler may round the same number in two ways: where c = d the difference is to vanish all the same.
    return jnp.where(_differ(half.shape[0])[None, None], half - half.swapaxes(2, 3), 0.0)


def metric_jet(flat: Callable, q: Float[Array, " d"]):
    """The matrix, its derivative `[i, j, k]` and its second derivative `[i, j, k, l]`, in one nested pass."""

    def first(x):
        derivative, matrix = jax.jacfwd(lambda y: (flat(y),) * 2, has_aux=True)(x)
        return derivative, (matrix, derivative)

    second, (matrix, derivative) = jax.jacfwd(first, has_aux=True)(q)
    return matrix, derivative, second


def in_free_coordinates(
    flat: FlatMetric, q: Float[Array, " d"], *directions: Float[Array, " d"]
) -> tuple[Callable, *tuple[Float[Array, " d"], ...]]:
    """The metric, the point and tangent vectors in the free coordinates of the metric, where it has them.

    Invariants are taken there: a point outside the domain is NaN, and the matrix, made from squared lengths that keep
    their digits, is far better conditioned.
    """
    chart = flat.metric.chart
    if chart is None or isinstance(chart, IdentityChart):
        return flat, q, *directions

    def length(u, v):
        return flat.quadratic(*jax.jvp(chart.point, (u,), (v,)))

    def matrix(u):
        return 0.5 * jax.hessian(lambda v: length(u, v))(jnp.zeros_like(u))

    return matrix, chart.free(q), *(jax.jvp(chart.free, (q,), (direction,))[1] for direction in directions)


def free_riemann(flat: FlatMetric, q: Float[Array, " d"]) -> tuple[Float[Array, "d d"], Float[Array, "d d d d"]]:
    """The matrix of the metric and $R^a{}_{bcd}$, in free coordinates."""
    free, point = in_free_coordinates(flat, q)
    return flat_riemann(free, point)


def flat_riemann(flat: Callable, q: Float[Array, " d"]) -> tuple[Float[Array, "d d"], Float[Array, "d d d d"]]:
    """The matrix of the metric and $R^a{}_{bcd}$."""
    matrix, derivative, second = metric_jet(flat, q)
    first = first_kind_of(derivative)
    # Of the slope of the symbols, d_c d_d g_ab has no part in the curvature: it would cost digits.
    slope = 0.5 * (second - jnp.einsum("ijak->aijk", second))
    lowered = lowered_curvature(matrix, first, first, slope)
    return matrix, raised_first(matrix, jnp.where(_differ(len(q))[:, :, None, None], lowered, 0.0))


def ricci_of(riemann: Float[Array, "d d d d"]) -> Float[Array, "d d"]:
    """The Ricci tensor of $R^a{}_{bcd}$, symmetric by construction."""
    ricci = jnp.einsum("abad->bd", riemann)
    return 0.5 * (ricci + ricci.T)


def _differ(d: int) -> Bool[Array, "d d"]:
    """Where two indices differ."""
    return ~jnp.eye(d, dtype=bool)


def _plane(matrix, u, w):
    """Two columns that span the plane of u and w, orthogonal in the units of the coordinates; NaN where parallel."""
    units = jnp.max(jnp.abs(matrix), axis=1)
    u = u / jnp.sqrt(units @ u**2)
    w = w / jnp.sqrt(units @ w**2)
    rest = w - (units @ (u * w)) * u
    size = jnp.sqrt(units @ rest**2)
    independent = size > 8.0 * float(jnp.finfo(size.dtype).eps)
    return jnp.stack([u, jnp.where(independent, rest / size, jnp.nan)], axis=1)


def _tidal_force(flat, q, matrix, plane):
    """$R_{abcd} u^a w^b u^c w^d$, from the metric on the surface $q + s u + t w$ and the bending of its lines."""

    def columns(s):
        return flat(q + plane @ s) @ plane

    _, along, second = metric_jet(columns, jnp.zeros(2, q.dtype))
    surface = jnp.einsum("ai,ajkl->ijkl", plane, second)
    pairs = jax.jacrev(lambda x: plane.T @ flat(x) @ plane)(q)
    bending = 0.5 * (along + along.swapaxes(1, 2) - jnp.moveaxis(pairs, 2, 0))
    raised = raised_first(matrix, bending)
    intrinsic = surface[0, 1, 0, 1] - 0.5 * (surface[1, 1, 0, 0] + surface[0, 0, 1, 1])
    return intrinsic + bending[:, 0, 1] @ raised[:, 0, 1] - bending[:, 0, 0] @ raised[:, 1, 1]
