"""The order of convergence that a method shows."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.diagnostics._march import Ends, march, one_span, prepared
from fimlag.diagnostics._reference import reference_point
from fimlag.integrators import AbstractMethod
from fimlag.integrators._motion import Start, checked_start


class ObservedOrder(eqx.Module):
    """The order of convergence that errors show.

    **Attributes:** `order`: minus the slope of log error over log steps; `residual`: the root mean square
    distance of the logarithms (natural) from the line; `steps` and `errors`, one a run.
    """

    order: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, " runs"]
    errors: Float[Array, " runs"]


def observed_order(
    method: AbstractMethod,
    lagrangian: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    *,
    t1: RealScalarLike,
    t0: RealScalarLike = 0.0,
    s0: RealScalarLike = 0.0,
    steps: Sequence[int] = (32, 64, 128, 256, 512),
    finest: int | None = None,
    reference: Coordinates | Callable | None = None,
) -> ObservedOrder:
    r"""The order of a method, fitted to its errors at the end of a motion.

    $$\max_i |q_i - q_i^{\mathrm{ref}}| \approx C\, h^{\mathtt{order}}$$

    Errors below a thousand units of round-off of the largest coordinate take no part, nor do runs that failed.

    **Arguments:** `method`; `lagrangian`, `q0`, `v0`, `t0`, `t1`, `s0`: as for `integrate`; `steps`: their numbers,
    rising, in the range where the error has its asymptotic form; `finest`: how many of the errors above round-off
    are fitted, those of most steps, None for all; `reference`: the end point `q(t1)`, a callable from the time to
    the point, or None to have it from `GaussLegendre(6)`, or from diffrax's `Dopri8` where there are constraints.

    **Returns:** an `ObservedOrder`; NaN where fewer than two errors stand above round-off.

    **Reference:** Hairer, Lubich & Wanner (2006), section II.1.

    ```python
    >>> import fimlag as fl
    >>> case = fl.problems.Kepler()
    >>> fit = fl.observed_order(fl.StormerVerlet(), case.lagrangian, *case.start(0.3), t1=3.0)
    >>> round(float(fit.order), 1)
    2.0

    ```
    """
    start = checked_start(lagrangian, q0, v0, t0, t1, max(steps), method, s0)
    counts = jnp.asarray(steps)
    equations, _ = prepared(start)
    ends = march(equations, start, one_span(start.t0, start.t1, counts))
    return fitted_order(start, counts, ends, reference, counts.size if finest is None else finest)


def fitted_order(start: Start, counts: Int[Array, " runs"], ends: Ends, reference, finest: int) -> ObservedOrder:
    """The order that the ends of runs with rising numbers of steps show."""
    exact = reference_point(start, ends.seen.t, reference)
    errors = jnp.max(jnp.abs(ends.q - exact), axis=1)
    counted = ends.converged & (errors > 1000 * jnp.finfo(errors.dtype).eps * jnp.max(jnp.abs(exact)))
    counted &= jnp.cumsum(counted[::-1])[::-1] <= finest
    weights = counted.astype(errors.dtype)
    x = jnp.log(counts.astype(errors.dtype))
    y = jnp.log(jnp.where(counted, errors, 1))
    total = jnp.sum(weights)
    lever = x - weights @ x / total
    height = y - weights @ y / total
    slope = (weights * lever) @ height / ((weights * lever) @ lever)
    residual = jnp.sqrt(weights @ (height - slope * lever) ** 2 / total)
    return ObservedOrder(jnp.where(total > 1, -slope, jnp.nan), residual, counts, errors)
