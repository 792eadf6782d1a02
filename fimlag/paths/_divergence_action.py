"""Divergences summed along a path: discrete actions of the metric to which they expand."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._charts import AbstractChart, IdentityChart
from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, MetricFn, RealScalarLike
from fimlag.geometry import AbstractMetric, as_metric
from fimlag.integrators import DivergenceLagrangian


def divergence_action(
    divergence: Callable,
    points: Coordinates,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    metric: MetricFn | None = None,
) -> Float[Array, ""]:
    r"""The sum of a divergence over the steps of a path: a discrete action.

    $$S = \sum_{k=0}^{N-1} \frac{D(p_k, p_{k+1})}h, \qquad h = \frac{t_1 - t_0}N$$

    Of a divergence whose Hessian where its arguments coincide is the metric g it approximates
    $\int \tfrac12 g_{ij} \dot p^i \dot p^j\, dt$. For the Fisher metric these are the relative entropy, HALF of
    Jeffreys' divergence, FOUR times the squared Hellinger distance, Renyi's divergence OVER its order, and Amari's
    alpha-divergence. Jeffreys' and Hellinger's, and every other symmetric one, err by $O(h^2)$; the others by

    $$S - \int \tfrac12 g_{ij} \dot p^i \dot p^j\, dt = \frac{\alpha h}{12} \int T_{ijk}\, \dot p^i \dot p^j \dot p^k\,
    dt + O(h^2)$$

    with T the Amari-Chentsov tensor and $\alpha$ that of Amari's divergence, -1 for the relative entropy, $1 - 2a$ for
    Renyi's of order a. The sum of relative entropies is, in units of kT over h, the work lost by a system that relaxes
    after each of N sudden steps.

    **Arguments:** `divergence`: a callable `(q0, q1) -> scalar`, or a `DivergenceLagrangian`, whose potential is then
    taken along; `points`: N + 1 of them, at equal intervals of time, stacked on axis 0 of each leaf; `t0`, `t1`: the
    interval (the user's time unit); `metric`: the metric that the divergence is claimed to expand to, or None. Where it
    does not, a factor forgotten for instance, the result is NaN.

    **Returns:** a scalar (nats over time), shape (); NaN for an interval that is empty or runs backward.

    **Raises:** `ValueError` for fewer than two points, or leaves that hold different numbers of them.

    **Reference:** Leok & Zhang (2017); Amari & Nagaoka (2000), section 3.2; Nulton, Salamon, Andresen & Anmin
    (1985) for sudden steps.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> poisson = fl.families.Poisson()
    >>> def symmetric(a, b): return fl.jeffreys_divergence(poisson, a, b) / 2
    >>> path = jnp.linspace(1.0, 2.0, 1001)[:, None] ** 2          # a geodesic of length 2, so the action is 2
    >>> round(float(fl.divergence_action(symmetric, path)), 6)
    2.0

    ```
    """
    flat, structure = flat_points(points)
    t0, t1 = (jnp.asarray(t, flat.dtype) for t in (t0, t1))
    lagrangian = FreeDivergence(as_discrete(divergence), structure, chart_of_claim(metric))
    return _action(lagrangian, flat, t0, t1, metric)


@compiled
def _action(lagrangian: "FreeDivergence", points: Float[Array, "points d"], t0, t1, metric) -> Float[Array, ""]:
    free = jax.vmap(lagrangian.chart.free)(points)
    steps = points.shape[0] - 1
    h = (t1 - t0) / steps
    times = t0 + h * jnp.arange(steps, dtype=points.dtype)
    value = jnp.sum(jax.vmap(lagrangian, (0, None, 0, 0))(times, h, free[:-1], free[1:]))
    refused = h <= 0.0
    if metric is not None:
        refused = refused | belongs_to_another_metric(lagrangian, metric, jax.lax.stop_gradient(free))
    return jnp.where(refused, jnp.nan, value)


class FreeDivergence(eqx.Module):
    r"""The discrete Lagrangian of a divergence between flat points in the free coordinates of a chart.

    $$L_d(t, h, u_0, u_1) = D(\theta(u_0), \theta(u_1)) / h$$

    **Raises:** `ValueError` where the divergence returns anything but a scalar.
    """

    lagrangian: DivergenceLagrangian
    structure: Structure
    chart: AbstractChart

    def __call__(self, t, h, u0: Float[Array, " d"], u1: Float[Array, " d"]) -> Float[Array, ""]:
        start, end = (self.structure.unflatten(self.chart.point(u)) for u in (u0, u1))
        value = jnp.asarray(self.lagrangian(t, h, start, end))
        if value.shape != ():
            raise ValueError(f"A divergence returns a scalar of shape (), but this one returned shape {value.shape}.")
        return value


def belongs_to_another_metric(
    lagrangian: FreeDivergence, metric: MetricFn, points: Float[Array, "points d"]
) -> Bool[Array, ""]:
    r"""Whether the divergence expands to another metric than the one claimed, at any of several points.

    $$g_{ij}(u) = -\partial_{u_0^i} \partial_{u_1^j} D(u_0, u_1) + O(r), \qquad u_0 = u,\ u_1 = u + r e$$

    The pair is parted a little, by $r = \epsilon^{1/4}$ in the metric: on the diagonal itself the square of a distance
    computed as such has no derivatives.

    **Reference:** Eguchi (1983).
    """
    claimed = as_metric(metric)
    unit = jnp.ones((), points.dtype)
    apart = float(jnp.finfo(points.dtype).eps) ** 0.25

    def gap(u):
        jacobian = jax.jacfwd(lagrangian.chart.point)(u)
        point = lagrangian.structure.unflatten(lagrangian.chart.point(u))
        matrix = jacobian.T @ claimed(point).astype(u.dtype) @ jacobian
        end = u + apart / jnp.sqrt(jnp.sum(matrix))
        found = -mixed_derivatives(lagrangian, unit, unit, u, end)
        factor = jnp.linalg.cholesky(matrix)
        white = jax.scipy.linalg.solve_triangular(factor, 0.5 * (found + found.T), lower=True)
        white = jax.scipy.linalg.solve_triangular(factor, white.T, lower=True)
        return jnp.max(jnp.abs(white - jnp.eye(u.size, dtype=u.dtype)))

    return ~(jnp.max(jax.vmap(gap)(points)) <= 16 * apart)


def mixed_derivatives(lagrangian: Callable, t, h, u0, u1) -> Float[Array, "d d"]:
    """The derivatives of a discrete Lagrangian in both points."""
    return jax.jacfwd(jax.grad(lagrangian, 2), 3)(t, h, u0, u1)


def as_discrete(divergence: Callable) -> DivergenceLagrangian:
    """The discrete Lagrangian itself, or that of a divergence."""
    return divergence if isinstance(divergence, DivergenceLagrangian) else DivergenceLagrangian(divergence)


def chart_of_claim(metric: MetricFn | None, chart: AbstractChart | None = None) -> AbstractChart:
    """The chart given, else that of the metric, else the coordinates as they are."""
    if chart is None and isinstance(metric, AbstractMetric):
        chart = metric.chart
    return IdentityChart() if chart is None else chart


def flat_points(points: Coordinates) -> tuple[Float[Array, "points d"], Structure]:
    """Points stacked on axis 0 of each leaf as one array, and the structure of one of them."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree_util.tree_leaves(points)]
    counts = {leaf.shape[:1] for leaf in leaves}
    if len(counts) != 1 or counts == {()} or min(counts)[0] < 2:
        raise ValueError(
            f"points must hold two or more, as many on axis 0 of every leaf, but the shapes start with {counts}."
        )
    structure = flatten(jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf)[0], points), "points")[1]
    return jax.vmap(lambda point: flatten(point, "points")[0])(jax.tree_util.tree_map(jnp.asarray, points)), structure
