"""The action of a Lagrangian along a path."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import LagrangianFn, RealScalarLike
from fimlag.mechanics._discrete import element_basis
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.paths._mesh import equal_knots
from fimlag.paths._path import Path, as_path


def action(
    lagrangian: LagrangianFn,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    points: int = 8,
) -> Float[Array, ""]:
    r"""The action of a Lagrangian along a path, by composite Gauss quadrature.

    $$S = \int_{t_0}^{t_1} L(t, q(t), \dot q(t))\, dt$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `path`: a `Path` (whose own interval and elements
    are used, with two Gauss points more than its degree), a callable of time, or nodes at equal intervals stacked
    on axis 0, joined by straight lines; `t0`, `t1`: the interval of a path that has none of its own; `elements`,
    `points`: the intervals and the Gauss points of each for a bare callable, exact for polynomials of degree
    2 points - 1.

    **Returns:** a scalar (energy times time).

    **Raises:** `ValueError` for a Lagrangian that is not scalar, or nodes of fewer than two points.

    **Reference:** Arnold (1989), sec. 13.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> free = fl.NaturalLagrangian(fl.EuclideanMetric(1.0))
    >>> round(float(jax.jit(lambda nodes: fl.action(free, nodes))(jnp.array([[0.0, 0.0], [1.0, 2.0]]))), 9)
    2.5

    ```
    """
    if not callable(path):
        path = as_path(path, t0, t1, elements, points)
    if isinstance(path, Path):
        t0, points = path.t0, path.degree + 2
    point, structure = flatten(path(t0), "the path's point")
    flat = FlatLagrangian(lagrangian, structure)
    knots = path.knots if isinstance(path, Path) else equal_knots(t0, t1, elements, point.dtype)

    def state(t):
        if isinstance(path, Path):
            return structure.flatten(path(t)), structure.flatten(path.velocity(t))
        return jax.jvp(lambda s: structure.flatten(path(s), "the path's point"), (t,), (jnp.ones_like(t),))

    basis = element_basis(1, points)
    steps = jnp.diff(knots)[:, None]
    times = knots[:-1, None] + steps * jnp.asarray(basis.abscissae, point.dtype)[None]
    values = steps * jax.vmap(jax.vmap(lambda t: flat(t, *state(t))))(times)
    return jnp.sum(values @ jnp.asarray(basis.weights, point.dtype))
