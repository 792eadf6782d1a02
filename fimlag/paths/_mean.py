"""Frechet means: centres of points on a manifold, and whether there is but one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Int, PyTree, Real

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry import as_metric, riemann_curvature
from fimlag.geometry._metric import FlatMetric
from fimlag.paths._frame import frame_of, whitened
from fimlag.paths._spray import chart_of, levi_civita
from fimlag.paths._star import Star, solve_star, star_root


class FrechetMean(AbstractSolution):
    """The Frechet mean of points, and what is known of it.

    **Attributes:** `mean`: in the structure of one point; `variance`: the weighted mean of squared distances to it,
    shape (); `gradient_norm`: the length of the weighted mean of the logarithms there, 0 at the mean; `convexity`: the
    least eigenvalue of the Hessian of half the mean squared distance, in the metric: 1 in flat space, more where
    geodesics part, below 1 where they meet again, positive at a minimum; `radius`: the largest distance to a point of
    positive weight; `curvature`: the largest sectional curvature, given or found at the mean and the points;
    `iterations`: Newton steps; `result`: a `RESULTS` member.
    """

    mean: PyTree[Array]
    variance: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    convexity: Float[Array, ""]
    radius: Float[Array, ""]
    curvature: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def frechet_mean(
    metric: MetricFn,
    points: Coordinates,
    weights: Real[ArrayLike, " n"] | None = None,
    *,
    curvature: float | None = None,
    elements: int = 4,
    nodes: int = 8,
    max_iterations: int = 64,
    throw: bool = True,
) -> FrechetMean:
    r"""The Frechet mean of points: the point of least mean squared distance.

    $$\bar q = \arg\min_q f(q), \qquad f(q) = \tfrac12 \sum_i w_i\, d(q, q_i)^2, \qquad
    \operatorname{grad} f = -\sum_i w_i \log_q(q_i)$$

    The mean and its geodesics to all points are found together, by collocation in the free coordinates of the metric
    and Newton's method. The mean is differentiable in the points, the weights and the metric, by the implicit function
    theorem.

    It is the only one where no sectional curvature is above $K$ and every point lies nearer to it than
    $\pi / (2 \sqrt K)$ (any distance for $K \le 0$), if no closed geodesic is shorter than $2 \pi / \sqrt K$, which is
    taken for granted.

    **Arguments:** `metric`: any callable `q -> (d, d)`, positive definite; `points`: n of them, stacked on axis 0 of
    each leaf; `weights` (n,): not negative, of any sum (None: all equal); `curvature`: an upper bound K of the
    sectional curvature (None: the largest at the mean and the points, an estimate for the space between them);
    `elements`, `nodes`: the pieces of each geodesic and the Gauss points of each; `max_iterations`: of Newton;
    `throw`: raise where the mean failed.

    **Returns:** a `FrechetMean`.

    **Raises:** `ValueError` for leaves or weights of different numbers. Results: `nonfinite`, `stalled`,
    `max_steps_reached`, `indefinite_mass`, `unresolved_geodesic`, `mean_not_unique`.

    **Reference:** Karcher (1977), theorem 1.2; Afsari (2011), theorem 2.1 (uniqueness); Pennec (2006), sec. 4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> rates = fl.FisherMetric(fl.families.Exponential())
    >>> print(fl.frechet_mean(rates, jnp.array([[1.0], [4.0]])).mean)  # the geometric mean
    [2.]

    ```
    """
    flat, structure = _flat_points(points)
    n = flat.shape[0]
    weights = jnp.ones(n, flat.dtype) if weights is None else jnp.asarray(weights, flat.dtype)
    if weights.shape != (n,):
        raise ValueError(f"weights must hold one number for each of {n} points, but have shape {weights.shape}.")
    return raise_unless_successful(
        _solve(as_metric(metric), structure, flat, weights, curvature, elements, nodes, max_iterations), throw
    )


def _flat_points(points):
    """Points stacked on axis 0 of each leaf as an array (n, d), and the structure of one."""
    leaves = jax.tree_util.tree_leaves(points)
    counts = {np.shape(leaf)[:1] for leaf in leaves}
    if len(counts) != 1 or counts == {()} or counts == {(0,)}:
        raise ValueError(f"points must be stacked on axis 0 of every leaf, but their shapes start with {counts}.")
    structure = flatten(jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf)[0], points), "points")[1]
    return jax.vmap(lambda point: flatten(point)[0])(jax.tree_util.tree_map(jnp.asarray, points)), structure


@compiled
def _solve(metric, structure: Structure, points, weights, bound, elements, nodes, max_iterations) -> FrechetMean:
    chart = chart_of(metric)
    legal = jnp.all(weights >= 0) & jnp.all(jnp.isfinite(points))
    weights = jnp.where(legal, weights / jnp.sum(weights), jnp.nan)
    reference = chart.free(points[0])
    displacements = jax.vmap(lambda point: chart.displacement(points[0], point))(points)
    spray = eqx.filter_closure_convert(levi_civita(metric, structure), reference, reference)
    star = Star(spray, reference, displacements, weights, elements, nodes)
    fixed = frozen(star)
    state = solve_star(fixed, max_iterations)
    y, accelerations = star_root(lax.stop_gradient((state.y, state.accelerations)), star)

    x = reference + y
    mean = chart.point(x)
    jacobian = jax.jacfwd(chart.point)(x)
    matrix = jacobian.T @ metric(structure.unflatten(mean)) @ jacobian
    logarithms = star.velocities(y, accelerations)
    squares = jnp.einsum("ni,ij,nj->n", logarithms, matrix, logarithms)
    frame, signs = frame_of(lax.stop_gradient(matrix))
    convexity = jnp.linalg.eigvalsh(_symmetric(whitened(frame, frame @ frame.T @ state.hessian)))[0]
    radius = jnp.sqrt(jnp.max(jnp.where(fixed.weights > 0, lax.stop_gradient(squares), 0.0)))
    if bound is None:
        places = lax.stop_gradient(jnp.concatenate([mean[None], points]))
        largest = jnp.max(jax.vmap(lambda q: _largest_curvature(FlatMetric(metric, structure), q))(places))
    else:
        largest = jnp.asarray(bound, points.dtype)

    unique = (convexity > 0) & (radius * jnp.sqrt(jnp.maximum(largest, 0.0)) < jnp.pi / 2)
    rough = ~(fixed.error(state.y, state.accelerations) <= jnp.finfo(x.dtype).eps ** 0.4 * _size(displacements))
    result = first_failure(
        (~(legal & _finite(weights) & _finite(displacements) & _finite(reference)), RESULTS.nonfinite),
        (state.failed, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
        (~jnp.all(signs > 0), RESULTS.indefinite_mass),
        (rough, RESULTS.unresolved_geodesic),
        (~unique, RESULTS.mean_not_unique),
    )
    return FrechetMean(
        mean=structure.unflatten(mean),
        variance=weights @ squares,
        gradient_norm=jnp.linalg.norm(frame.T @ lax.stop_gradient(weights @ logarithms)),
        convexity=convexity,
        radius=radius,
        curvature=largest,
        iterations=state.iterations,
        result=result,
    )


def _largest_curvature(metric, q):
    """The largest eigenvalue of the curvature operator on planes: in two dimensions the curvature, else a bound."""
    d = q.size
    first, second = np.triu_indices(d, 1)
    if first.size == 0:
        return jnp.zeros((), q.dtype)
    matrix = metric(q)
    frame = jax.scipy.linalg.solve_triangular(frame_of(matrix)[0].T, jnp.eye(d, dtype=q.dtype), lower=False)
    lowered = jnp.einsum("ea,abcd->ebcd", matrix, riemann_curvature(metric, q))
    operator = jnp.einsum("abcd,ai,bj,ck,dl->ijkl", lowered, frame, frame, frame, frame)
    pairs = operator[first[:, None], second[:, None], first[None], second[None]]
    return jnp.linalg.eigvalsh(_symmetric(pairs))[-1]


def _symmetric(matrix):
    return 0.5 * (matrix + matrix.T)


def _finite(array):
    return jnp.all(jnp.isfinite(array))


def _size(array):
    return lax.stop_gradient(jnp.max(jnp.abs(array)))
