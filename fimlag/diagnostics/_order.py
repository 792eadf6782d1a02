"""The order of convergence that a method shows."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators import AbstractMethod, GaussLegendre
from fimlag.integrators._method import advanced
from fimlag.mechanics._lagrangian import flat_arguments


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
    v0: Coordinates,
    *,
    t1: RealScalarLike,
    t0: RealScalarLike = 0.0,
    steps: Sequence[int] = (32, 64, 128, 256, 512),
    reference: Coordinates | None = None,
) -> ObservedOrder:
    r"""The order of a method, fitted to its errors at the end of a motion.

    $$\max_i |q_i - q_i^{\mathrm{ref}}| \approx C\, h^{\mathtt{order}}$$

    Errors below a thousand units of round-off of the largest coordinate take no part.

    **Arguments:** `method`; `lagrangian`, `q0`, `v0`, `t0`, `t1`: as for `integrate`; `steps`: their numbers,
    in the range where the error has its asymptotic form; `reference`: the end point `q(t1)`, None to have it
    from `GaussLegendre(6)` with the largest number of steps.

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
    flat, start, q, v = flat_arguments(lagrangian, t0, q0, v0)
    end = jnp.asarray(t1, q.dtype)
    counts = jnp.asarray(steps)
    if reference is None:
        exact = _end_point(GaussLegendre(6), flat, start, end, q, v, jnp.max(counts))
    else:
        exact = flat.structure.flatten(reference, "reference").astype(q.dtype)
    ends = lax.map(lambda count: _end_point(method, flat, start, end, q, v, count), counts)
    errors = jnp.max(jnp.abs(ends - exact[None]), axis=1)
    weights = (errors > 1000 * jnp.finfo(q.dtype).eps * jnp.max(jnp.abs(exact))).astype(q.dtype)
    x = jnp.log(counts.astype(q.dtype))
    y = jnp.log(jnp.where(errors > 0, errors, 1))
    total = jnp.sum(weights)
    lever = x - weights @ x / total
    height = y - weights @ y / total
    slope = (weights * lever) @ height / ((weights * lever) @ lever)
    residual = jnp.sqrt(weights @ (height - slope * lever) ** 2 / total)
    return ObservedOrder(jnp.where(total > 1, -slope, jnp.nan), residual, counts, errors)


def _end_point(method, flat, t0, t1, q, v, count):
    """The last point of a motion, for a number of steps that compiled code learns only when it runs."""
    h = (t1 - t0) / count.astype(q.dtype)
    equations, _ = method.prepare(flat, t0, q, v, None)
    p = jax.grad(flat, argnums=2)(t0, q, v)

    def step(number, state):
        return advanced(method, equations, t0 + number.astype(q.dtype) * h, h, *state)[:3]

    return lax.fori_loop(0, count, step, (q, p, method.memory(equations, t0, q, p, v, None)))[0]
