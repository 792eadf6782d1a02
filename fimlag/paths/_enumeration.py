"""Several stationary paths between the same ends."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from fimlag._flat import flatten
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.paths._least_action import LeastActionSolution, least_action_path


def stationary_paths(
    lagrangian: LagrangianFn,
    q0: Coordinates,
    q1: Coordinates,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    key: Key[Array, ""],
    starts: int = 64,
    spread=1.0,
    modes: int = 4,
    elements: int = 8,
    degree: int = 8,
    max_iterations: int = 64,
) -> list[LeastActionSolution]:
    r"""The stationary paths that Newton's method finds from many random starts, the least action first.

    $$q(t) = q_0 + s\,(q_1 - q_0) + \sum_{k=1}^{K} \frac{\sigma \xi_k}{k} \sin(k \pi s), \qquad
    s = \frac{t - t_0}{t_1 - t_0},\quad \xi_k \sim \mathcal N(0, 1)$$

    The first start is the straight line. No list is ever known to be complete: draw more starts, or wider ones, to see
    whether it grows. The result depends on values, so the function runs outside `jax.jit`; all starts run together.

    **Arguments:** `lagrangian`, `q0`, `q1`, `t0`, `t1`, `elements`, `degree`, `max_iterations`: as for
    `least_action_path`; `key`: of `jax.random.key`; `starts`: how many; `spread`: $\sigma$, a number, or one for each
    coordinate in the structure of the ends; `modes`: K.

    **Returns:** a list of `LeastActionSolution`, each with its `morse_index`; empty where no start converged.

    **Raises:** `ValueError` for fewer than one start or mode.

    **Reference:** Milnor (1963), sec. 15 (the index); Farrell, Birkisson & Funke (2015) on the problem.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> pendulum = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: -jnp.cos(q[0]))
    >>> ends = jnp.array([0.0]), jnp.array([0.0])
    >>> found = fl.stationary_paths(pendulum, *ends, t1=5.0, key=jax.random.key(0), spread=3.0)
    >>> [int(solution.morse_index) for solution in found]
    [0, 0, 1]

    ```
    """
    if starts < 1 or modes < 1:
        raise ValueError(f"starts and modes must be at least 1, but are {starts} and {modes}.")
    start, structure = flatten(q0, "q0")
    begin, duration = jnp.asarray(t0, start.dtype), jnp.asarray(t1, start.dtype) - jnp.asarray(t0, start.dtype)
    end = structure.flatten(q1, "q1")
    widths = jnp.broadcast_to(
        jnp.asarray(spread, start.dtype) if jnp.ndim(spread) == 0 else structure.flatten(spread, "spread"), start.shape
    )
    numbers = jnp.arange(1, modes + 1, dtype=start.dtype)
    draws = jax.random.normal(key, (starts, modes, start.size), start.dtype) * (widths[None] / numbers[:, None])[None]
    amplitudes = draws.at[0].set(0.0)

    def solve(amplitude):
        def guess(t):
            share = (t - begin) / duration
            waves = jnp.sin(jnp.pi * numbers * share)
            return structure.unflatten(start + share * (end - start) + waves @ amplitude)

        return least_action_path(
            lagrangian,
            q0,
            q1,
            t0,
            t1,
            elements=elements,
            degree=degree,
            guess=guess,
            stationary=True,
            max_iterations=max_iterations,
            throw=False,
        )

    solutions = jax.jit(jax.vmap(solve))(amplitudes)
    return [jax.tree_util.tree_map(lambda x, i=i: x[i], solutions) for i in _distinct(solutions)]


def _distinct(solutions: LeastActionSolution) -> list[int]:
    """The numbers of the members that succeeded, one for each path, by their actions."""
    actions, found = np.asarray(solutions.action), np.asarray(solutions.succeeded)
    nodes = np.asarray(solutions.path.offsets)
    apart = float(np.finfo(nodes.dtype).eps) ** 0.4 * np.max(np.abs(nodes), where=found[:, None, None], initial=0.0)
    kept: list[int] = []
    for i in np.argsort(actions, kind="stable"):
        if found[i] and all(np.max(np.abs(nodes[i] - nodes[j])) > apart for j in kept):
            kept.append(int(i))
    return kept
