"""Bridges of a diffusion: its paths between two points, drawn with weights."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.paths._guided_proposals import guided_proposals, log_weight, most_likely_guide, second_order_tilts

FEWEST = 32
"""The effective number of paths below which their averages are not to be trusted."""


class DiffusionBridge(AbstractSolution):
    r"""Weighted paths of a diffusion between two points, and its transition density.

    **Attributes:** `t`: the times, shape (knots,); `paths`: the states there, of shape (n, knots, ...) in the structure
    of a point; `log_weights`: of the paths, shape (n,), normalised so that the weights sum to one; `log_density`: the
    log of the transition density, shape () (nats, per unit volume); `standard_error`: of it, from the scatter of the
    weights; `error_estimate`: the change of it when the weights are integrated over steps twice as long;
    `effective_sample_size`: $1 / \sum_i w_i^2$, n for a linear drift; `guide`: the path that the proposals follow, by
    default the one of least action, shape (knots, ...); `result`: a `RESULTS` member.
    """

    t: Float[Array, " knots"]
    paths: PyTree[Array]
    log_weights: Float[Array, " n"]
    log_density: Float[Array, ""]
    standard_error: Float[Array, ""]
    error_estimate: Float[Array, ""]
    effective_sample_size: Float[Array, ""]
    guide: PyTree[Array]
    result: RESULTS

    @property
    def weights(self) -> Float[Array, " n"]:
        """The weights of the paths; they sum to one."""
        return jnp.exp(self.log_weights)

    def expectation(self, function: Callable) -> PyTree[Array]:
        """The mean of a function of a path, its states stacked along axis 0, under the bridge."""
        values = jax.vmap(function)(self.paths)
        return jax.tree_util.tree_map(lambda x: jnp.tensordot(self.weights.astype(x.dtype), x, 1), values)

    def resample(self, key: Key[Array, ""], count: int) -> PyTree[Array]:
        """Paths of equal weight, drawn with replacement."""
        chosen = jax.random.categorical(key, self.log_weights, shape=(count,))
        return jax.tree_util.tree_map(lambda x: x[chosen], self.paths)


def diffusion_bridge(
    drift: Callable,
    diffusion: ArrayLike | Callable,
    noise: RealScalarLike,
    q0: Coordinates,
    q1: Coordinates,
    *,
    key: Key[Array, ""],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    paths: int = 1024,
    steps: int = 128,
    guide: PyTree[ArrayLike] | None = None,
    linearisations: int = 8,
    throw: bool = True,
) -> DiffusionBridge:
    r"""The diffusion $dX = b(X)\, dt + \sqrt\varepsilon\, \sigma\, dW$ conditioned on both ends (Doob's transform).

    $$dX = \big( b + \varepsilon\, a \nabla \log h(t, X) \big) dt + \sqrt\varepsilon\, \sigma\, dW, \qquad
    h(t, x) = p(X_{t_1} = q_1 | X_t = x)$$

    No backward equation is solved: paths are drawn from the bridge of a linear diffusion that touches b along a guide,
    tilted by the second variation of the action, and weighted by their likelihood ratio. For a linear drift the weights
    are equal and all is exact. The guide is by default a path of least action, to which the bridge contracts as the
    noise falls: then the weights become equal, and $-\varepsilon \log p(q_1 | q_0)$ tends to the Freidlin-Wentzell
    action.

    The estimate of the density (not of its logarithm) has no bias from the number of paths; that of the steps is first
    order in their length. Both differentiate for fixed numbers drawn and a fixed guide, in everything that a Module
    given as `drift` holds.

    **Arguments:** `drift(q)`: b, in the structure of a point. `diffusion`: $a = \sigma \sigma^\top$, a constant
    definite matrix of shape (d, d); where it varies, take coordinates in which it does not. `noise`:
    $\varepsilon > 0$. `q0`, `q1`: the ends, vectors or any pytrees. `key`: of the random numbers. `t0`, `t1`: the
    interval (the user's time unit). `paths`: how many. `steps`: of each path, an even number. `guide`: the states of a
    path to follow at the steps + 1 times; None seeks one by repeated linearisation from the chord. `linearisations`:
    how often. `throw`: whether a failure raises.

    **Returns:** a `DiffusionBridge`.

    **Raises:** `TypeError` for a diffusion that is no matrix; `ValueError` for shapes or counts that do not fit; with
    `throw`, an error for `nonfinite`, `empty_interval`, `out_of_range` (noise), `degenerate_noise` or
    `poor_proposals` (an effective number of paths below 32, or half their number). As under `jax.jit`, what a plain
    function reads from outside at its first call is kept for later calls.

    **Reference:** Schauer, van der Meulen & van Zanten (2017) for proposals guided by a linear diffusion; Kappen (2005)
    for the control problem that the bridge solves; Freidlin & Wentzell (2012), section 4.1.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> bridge = fl.diffusion_bridge(lambda q: -q, jnp.eye(1), 0.5, jnp.zeros(1), jnp.ones(1), key=jax.random.key(0))
    >>> print(bridge.effective_sample_size.round(6), bridge.log_density.round(6))
    1024.0 -2.46612

    ```
    """
    if callable(diffusion):
        raise TypeError(
            "diffusion must be a constant matrix, but a callable came: give its value, or, where it varies, the drift "
            "in coordinates in which it does not."
        )
    if paths < 2 or steps < 2 or steps % 2 or linearisations < 0:
        raise ValueError(
            f"At least 2 paths and an even number of steps are needed, but paths = {paths}, steps = {steps} and "
            f"linearisations = {linearisations} came."
        )
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1")
    dtype = jnp.result_type(start, end)
    start, end, noise, t0, t1, a = (jnp.asarray(x, dtype) for x in (start, end, noise, t0, t1, diffusion))
    if a.shape != 2 * start.shape:
        raise ValueError(f"diffusion must have shape {2 * start.shape}, but has {a.shape}.")
    knots = None if guide is None else _flat_guide(guide, structure, steps, dtype)
    ends = (start, end, t0, t1)
    solution = _solve(
        as_field(drift), 0.5 * (a + a.T), noise, ends, knots, key, structure, paths, steps, linearisations
    )
    return raise_unless_successful(solution, throw)


def _flat_guide(guide, structure: Structure, steps: int, dtype):
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree_util.tree_leaves(guide)}
    if lengths != {(steps + 1,)}:
        raise ValueError(f"The guide must hold {steps + 1} points, stacked along axis 0.")
    return jax.vmap(lambda point: structure.flatten(point, "the guide"))(guide).astype(dtype)


@compiled
def _solve(
    drift, diffusion, noise, ends, guide, key, structure: Structure, paths: int, steps: int, linearisations: int
):
    start, end, t0, t1 = ends
    step = (t1 - t0) / steps

    def flat_drift(x):
        return structure.flatten(drift(structure.unflatten(x)), "the drift")

    if guide is None:
        guide = most_likely_guide(flat_drift, diffusion, start, end, step, steps, linearisations)
    guide = lax.stop_gradient(guide)
    tilts = _allowed_tilts(flat_drift, diffusion, guide, end, step)
    proposals = guided_proposals(flat_drift, diffusion, guide, end, step, tilts)

    def draw(normals):
        path = proposals.path(start, noise, normals)
        ratio = proposals.log_ratio(path, noise, normals)
        return path, *(ratio + x for x in log_weight(proposals, flat_drift, diffusion, noise, path, step, (1, 2)))

    normals = jax.random.normal(key, (paths, steps - 1, start.shape[0]), start.dtype)
    drawn, fine, coarse = jax.vmap(draw)(normals)
    total = jax.nn.logsumexp(fine)
    log_weights = fine - total
    effective = jnp.exp(-jax.nn.logsumexp(2 * lax.stop_gradient(log_weights)))
    variance = jnp.maximum(1 / effective - 1 / paths, 0.0)
    return DiffusionBridge(
        t=t0 + step * jnp.arange(steps + 1, dtype=start.dtype),
        paths=jax.vmap(jax.vmap(structure.unflatten))(drawn),
        log_weights=log_weights,
        log_density=total - math.log(paths),
        standard_error=jnp.sqrt(variance),
        error_estimate=lax.stop_gradient(jnp.abs(total - jax.nn.logsumexp(coarse))),
        effective_sample_size=effective,
        guide=jax.vmap(structure.unflatten)(guide),
        result=first_failure(
            (~(jnp.all(jnp.isfinite(jnp.concatenate([start, end]))) & jnp.isfinite(noise)), RESULTS.nonfinite),
            (~(t1 > t0), RESULTS.empty_interval),
            (~(noise > 0), RESULTS.out_of_range),
            (~jnp.all(jnp.isfinite(jnp.linalg.cholesky(diffusion))), RESULTS.degenerate_noise),
            (~jnp.isfinite(total), RESULTS.nonfinite),
            (effective < min(FEWEST, paths / 2), RESULTS.poor_proposals),
        ),
    )


def _allowed_tilts(drift, diffusion, guide, end, step):
    """The second-order tilts, zero where a density would not survive them."""
    tilts = second_order_tilts(drift, diffusion, guide, step)
    tried = guided_proposals(drift, diffusion, guide, end, step, lax.stop_gradient(tilts))
    return jnp.where(jnp.all(jnp.isfinite(lax.stop_gradient(tried.factors))), tilts, 0.0)
