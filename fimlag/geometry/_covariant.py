"""Derivatives of functions and fields that do not depend on coordinates."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure
from fimlag._linear import solve
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry._connection import derivatives_along
from fimlag.geometry._metric import flat_metric


def covariant_derivative(metric: MetricFn, field: Callable, q: Coordinates, direction: Coordinates) -> PyTree[Array]:
    r"""The covariant derivative of a vector field along a direction.

    $$(\nabla_u X)^k = \partial_u X^k + \Gamma^k_{ij} u^i X^j$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `field(q)`: the vector field X, in the structure of the point;
    `q`: the point; `direction`: the tangent vector u, in its structure.

    **Returns:** a tangent vector in the structure of `q`; NaN where the metric is singular.

    **Raises:** `ValueError` where q, the direction and the field differ in structure.

    **Reference:** do Carmo (1992), ch. 2, eq. 1; Misner, Thorne & Wheeler (1973), eq. 10.18.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> polar = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, q[0] ** 2])))
    >>> turning = lambda q: jnp.array([0.0, 1.0])
    >>> print(fl.covariant_derivative(polar, turning, jnp.array([2.0, 0.0]), jnp.array([0.0, 1.0])))
    [-2.  0.]

    ```
    """
    flat, q = flat_metric(metric, q)
    u = flat.vector(direction, "direction", q.dtype)
    value, slope = jax.jvp(_flat_field(field, flat.structure, "field(q)"), (q,), (u,))
    by_u, by_value, gradient = derivatives_along(flat, q, u, value)
    return flat.structure.unflatten(slope + solve(flat(q), 0.5 * (by_u + by_value - gradient)))


def covariant_derivative_of_one_form(
    metric: MetricFn, form: Callable, q: Coordinates, direction: Coordinates
) -> PyTree[Array]:
    r"""The covariant derivative of a one-form, such as the differential of a function, along a direction.

    $$(\nabla_u \omega)_j = \partial_u \omega_j - \Gamma^k_{ij} u^i \omega_k$$

    **Arguments:** as for `covariant_derivative`, with `form(q)`: the covariant components $\omega_j$.

    **Returns:** a one-form in the structure of `q`; NaN where the metric is singular.

    **Raises:** as `covariant_derivative`.

    **Reference:** Misner, Thorne & Wheeler (1973), eq. 10.17.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> polar = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, q[0] ** 2])))
    >>> angle = lambda q: jnp.array([0.0, 1.0])
    >>> print(fl.covariant_derivative_of_one_form(polar, angle, jnp.array([2.0, 0.0]), jnp.array([0.0, 1.0])))
    [-0.5  0. ]

    ```
    """
    flat, q = flat_metric(metric, q)
    u = flat.vector(direction, "direction", q.dtype)
    value, slope = jax.jvp(_flat_field(form, flat.structure, "form(q)"), (q,), (u,))
    by_u, by_dual, gradient = derivatives_along(flat, q, u, solve(flat(q), value))
    return flat.structure.unflatten(slope - 0.5 * (by_u + gradient - by_dual))


def riemannian_gradient(metric: MetricFn, function: Callable, q: Coordinates) -> PyTree[Array]:
    r"""The gradient of a function as a tangent vector: for a Fisher metric, the natural gradient.

    $$(\operatorname{grad} f)^i = g^{ij} \partial_j f$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `function`: f, a scalar function of the point; `q`: the point.

    **Returns:** a tangent vector in the structure of `q`; NaN where the metric is singular.

    **Raises:** `ValueError` where the function returns no scalar.

    **Reference:** do Carmo (1992), ch. 3, ex. 8; Amari (1998), theorem 1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> print(fl.riemannian_gradient(half_plane, lambda q: q[0] + q[1], jnp.array([0.0, 2.0])))
    [4. 4.]

    ```
    """
    flat, q = flat_metric(metric, q)
    return flat.structure.unflatten(solve(flat(q), jax.grad(_flat_function(function, flat.structure))(q)))


def covariant_hessian(metric: MetricFn, function: Callable, q: Coordinates) -> Float[Array, "d d"]:
    r"""The covariant Hessian of a function.

    $$(\nabla \mathrm d f)_{ij} = \partial_i \partial_j f - \Gamma^k_{ij}\, \partial_k f$$

    **Arguments:** as for `riemannian_gradient`.

    **Returns:** the symmetric matrix, shape (d, d), in the order of the flattened coordinates; NaN where the metric is
    singular.

    **Raises:** as `riemannian_gradient`.

    **Reference:** do Carmo (1992), ch. 6, ex. 11.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> polar = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, q[0] ** 2])))
    >>> print(fl.covariant_hessian(polar, lambda q: q[0] ** 2 / 2, jnp.array([2.0, 0.0])))
    [[1. 0.]
     [0. 4.]]

    ```
    """
    flat, q = flat_metric(metric, q)
    function = _flat_function(function, flat.structure)
    gradient = solve(flat(q), jax.grad(function)(q))
    lowered = jax.jacfwd(lambda x: flat(x) @ gradient)(q)
    along = jax.jvp(flat, (q,), (gradient,))[1]
    return jax.hessian(function)(q) - 0.5 * (lowered + lowered.T - along)


def laplace_beltrami(metric: MetricFn, function: Callable, q: Coordinates) -> Float[Array, ""]:
    r"""The Laplace-Beltrami operator on a function; of a Lorentzian metric, the wave operator.

    $$\Delta f = g^{ij} \big(\partial_i \partial_j f - \Gamma^k_{ij}\, \partial_k f\big)
    = \frac{1}{\sqrt{|g|}}\, \partial_i \big(\sqrt{|g|}\, g^{ij} \partial_j f\big)$$

    **Arguments:** as for `riemannian_gradient`.

    **Returns:** a scalar; NaN where the metric is singular.

    **Raises:** as `riemannian_gradient`.

    **Reference:** do Carmo (1992), ch. 3, ex. 9.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> float(fl.laplace_beltrami(half_plane, lambda q: q[1] ** 3, jnp.array([0.0, 2.0])))
    48.0

    ```
    """
    flat, vector = flat_metric(metric, q)
    return jnp.trace(solve(flat(vector), covariant_hessian(metric, function, q)))


def lie_derivative(metric: MetricFn, field: Callable, q: Coordinates) -> Float[Array, "d d"]:
    r"""The Lie derivative of a metric along a vector field: zero where the field is a Killing field, a symmetry.

    $$(\mathcal L_X g)_{ij} = X^k \partial_k g_{ij} + g_{kj}\, \partial_i X^k + g_{ik}\, \partial_j X^k$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `field(q)`: the vector field X, in the structure of the point;
    `q`: the point.

    **Returns:** the symmetric matrix, shape (d, d), in the order of the flattened coordinates.

    **Raises:** `ValueError` where q and the field differ in structure.

    **Reference:** do Carmo (1992), ch. 3, ex. 5; Misner, Thorne & Wheeler (1973), section 25.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> print(fl.lie_derivative(half_plane, lambda q: q, jnp.array([1.0, 2.0])))
    [[0. 0.]
     [0. 0.]]

    ```
    """
    flat, q = flat_metric(metric, q)
    field = _flat_field(field, flat.structure, "field(q)")
    matrix, along = jax.jvp(flat, (q,), (field(q),))
    stretched = matrix @ jax.jacfwd(field)(q)
    return along + stretched + stretched.T


def _flat_field(field: Callable, structure: Structure, name: str) -> Callable:
    return lambda x: structure.flatten(field(structure.unflatten(x)), name).astype(x.dtype)


def _flat_function(function: Callable, structure: Structure) -> Callable:
    def flat(x):
        value = jnp.asarray(function(structure.unflatten(x)))
        if value.shape != ():
            raise ValueError(f"function(q) must return a scalar, but the result has shape {value.shape}.")
        return value

    return flat
