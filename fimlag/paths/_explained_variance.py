"""Variance explained: the share of a null's action that a model saves, and the action of sampled paths."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import LagrangianFn, RealScalarLike
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.paths._action import action
from fimlag.paths._path import Path, as_path


def explained_variance(
    lagrangian: LagrangianFn,
    path: Path | Callable | Float[Array, "knots ..."],
    null_path: Path | Callable | Float[Array, "knots ..."] | None = None,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    null_lagrangian: LagrangianFn | None = None,
    integral: Callable = action,
) -> Float[Array, ""]:
    r"""The variance explained: the share of the action of a null that a path, or a Lagrangian, does without.

    $$R^2 = 1 - \frac{S}{S_{null}}$$

    Where a path's probability goes as $e^{-S / \varepsilon}$ with S quadratic in the deviations, Gaussian noise, S is a
    sum of squared residuals and this is the coefficient of determination. Either the Lagrangian holds the data and two
    paths are compared (give `null_path`), or the path is the data and two drifts are (give `null_lagrangian`, with the
    same diffusion): $R^2$ of the regression of the path's velocity on the drift, about the origin for a null without
    drift, about the mean for the best constant one.

    It is a share, between 0 and 1, where both actions are integrals of squares and the null is one of the candidates
    among which S is least (nested, and fitted to the same data). It is negative where the null does better, as it may
    when not nested or nothing was fitted. It is not a share for a Lagrangian that is no square, such as
    `OnsagerMachlup` with its divergence.

    A sampled path of a diffusion is rough: along its polygon the drift and the velocity meet in Stratonovich's
    integral, which is no regression on what was known before each step. Give `integral=fl.ito_action` for that.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`, such as `FreidlinWentzell(drift, diffusion)`; `path`,
    `t0`, `t1`: as for `action`; `null_path`: another, the same path by default; `null_lagrangian`: another, the same
    one by default; `integral`: `action` or `ito_action`.

    **Returns:** a scalar, at most 1; NaN where the null's action is not positive, or an action is negative.

    **Raises:** `ValueError` where neither a null path nor a null Lagrangian is given, and as `action`.

    **Reference:** Freidlin & Wentzell (2012), ch. 3, for the action; Kvalseth (1985) for the kinds of $R^2$.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> misfit = lambda t, q, v: jnp.sum((q - t**2) ** 2)    # data t^2, its best line t - 1/6, its mean 1/3
    >>> line, mean = (lambda t: t - jnp.full(1, 1 / 6)), (lambda t: jnp.full(1, 1 / 3))
    >>> print(f"{fl.explained_variance(misfit, line, mean):.9f}")
    0.937500000

    ```
    """
    if null_path is None and null_lagrangian is None:
        raise ValueError("Give a null_path, a null_lagrangian, or both: a null that is the same explains nothing.")
    spent = integral(lagrangian, path, t0, t1)
    null = lagrangian if null_lagrangian is None else null_lagrangian
    base = integral(null, path if null_path is None else null_path, t0, t1)
    legal = (base > 0.0) & (spent >= 0.0)
    return jnp.where(legal, 1.0 - spent / jnp.where(legal, base, 1.0), jnp.nan)


def ito_action(
    lagrangian: LagrangianFn,
    path: Path | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
) -> Float[Array, ""]:
    r"""The action of a sampled path: its increments as velocities at the points from which they start.

    $$S = \sum_k (t_{k+1} - t_k)\, L\!\Big(t_k, q_k, \frac{q_{k+1} - q_k}{t_{k+1} - t_k}\Big)$$

    For `FreidlinWentzell(drift, diffusion)` it is minus epsilon times the logarithm of the transition densities of the
    Euler-Maruyama scheme, up to what the drift does not enter: a sum of squared residuals in which drift and increment
    meet in Ito's integral. The drift of least action is the likeliest, a weighted regression of increments. It tends
    to that of `path_log_likelihood`, which adds half a divergence to Stratonovich's integral, as the steps shorten; S
    itself grows without bound.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `path`: nodes at equal intervals stacked on axis 0,
    or a `Path` of degree 1, such as `Path.from_nodes(nodes, knots=times)`; `t0`, `t1`: the interval of nodes.

    **Returns:** a scalar.

    **Raises:** `ValueError` for a path of another degree, and as `action`; `TypeError` for a bare callable.

    **Reference:** Kloeden & Platen (1992), ch. 13; Durr & Bach (1978) for the difference to the smooth action.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.FreidlinWentzell(lambda q: -q, 1.0)
    >>> print(fl.ito_action(L, jnp.array([[2.0], [0.0], [1.0]]), 0.0, 2.0))    # (-2 + 2)^2 / 2 + (1 - 0)^2 / 2
    0.5

    ```
    """
    if not isinstance(path, Path):
        if callable(path):
            raise TypeError("ito_action takes sampled points, but a callable came: evaluate it, or use action.")
        path = as_path(path, t0, t1, 1, 1)
    if path.degree != 1:
        raise ValueError(f"ito_action takes points joined by straight lines, but a path of degree {path.degree} came.")
    flat = FlatLagrangian(lagrangian, path.structure)
    steps = jnp.diff(path.knots)
    velocities = jnp.diff(path.offsets if path.chart is None else path.nodes, axis=0) / steps[:, None]
    return steps @ jax.vmap(flat)(path.knots[:-1], path.nodes[:-1], velocities)
