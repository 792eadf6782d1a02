"""Sprays: second-order equations of geodesics of any connection, in free coordinates, and their flow."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, IdentityChart
from fimlag._flat import Structure
from fimlag._linear import solve
from fimlag.geometry import AbstractMetric, geodesic_acceleration

_SUBSTEPS = (2, 4, 6, 8)
ORDER = 2 * len(_SUBSTEPS)


class Spray(eqx.Module):
    r"""The acceleration of a connection's geodesics in the free coordinates x of a chart, $\theta = f(x)$.

    $$\ddot x = (f')^{-1} \big(a(\theta, \dot\theta) - f''(\dot x, \dot x)\big), \qquad
    a^k = -\Gamma^k_{ij} \dot\theta^i \dot\theta^j$$
    """

    acceleration: Callable
    chart: AbstractChart

    def __call__(self, x: Float[Array, " d"], u: Float[Array, " d"]) -> Float[Array, " d"]:
        def moving(y):
            return jax.jvp(self.chart.point, (y,), (u,))

        (theta, velocity), (_, bend) = jax.jvp(moving, (x,), (u,))
        pull = self.acceleration(theta, velocity)
        if isinstance(self.chart, IdentityChart):
            return pull
        return solve(jax.jacfwd(self.chart.point)(x), pull - bend)

    def state(self, theta, v):
        """Free coordinates and their velocity."""
        return jnp.stack(jax.jvp(self.chart.free, (theta,), (v,)))

    def motion(self, state):
        """Parameters and their velocity, from `(x, u)`."""
        return jnp.stack(jax.jvp(self.chart.point, (state[0],), (state[1],)))

    def contraction(self, theta, v, w):
        r"""$\Gamma^k_{ij} v^i w^j$ of the symmetric part of the connection, by one derivative."""
        return -0.5 * jax.jvp(lambda u: self.acceleration(theta, u), (v,), (w,))[1]


def levi_civita(metric: AbstractMetric, structure: Structure) -> Spray:
    """The spray of a metric."""

    def acceleration(q, v):
        return structure.flatten(geodesic_acceleration(metric, structure.unflatten(q), structure.unflatten(v)))

    return Spray(acceleration, chart_of(metric))


def chart_of(manifold) -> AbstractChart:
    """The free coordinates that a metric or model names, else its own."""
    chart = getattr(manifold, "chart", None)
    return IdentityChart() if chart is None else chart


def flow(spray: Spray, state: Float[Array, "2 d"], sizes: Float[Array, " steps"]):
    """The states of a motion after each of several steps, and an estimate of the last one's error.

    The same steps are taken in pairs beside them; the two ends differ by 255 times the error of the finer.

    **Returns:** states (steps + 1, 2, d), the start included, and the estimate (2, d).
    """
    pairs = sizes.reshape(-1, 2).sum(axis=1)
    both = jnp.stack([sizes, jnp.stack([pairs, jnp.zeros_like(pairs)], axis=1).ravel()], axis=1)
    advance = jax.vmap(lambda state, size: extrapolated_step(spray, state, size))

    def step(states, sizes):
        states = advance(states, sizes)
        return states, states[0]

    (fine, coarse), rows = lax.scan(step, jnp.stack([state, state]), both)
    return jnp.concatenate([state[None], rows]), jnp.abs(fine - coarse) / (2**ORDER - 1)


def extrapolated_step(spray: Spray, state: Float[Array, "2 d"], size: Float[Array, ""]) -> Float[Array, "2 d"]:
    r"""One step of order 8: the midpoint rule with 2, 4, 6 and 8 substeps, extrapolated in the square of their size.

    All substeps pass through one loop, so that the spray is compiled once.

    **Reference:** Hairer, Norsett & Wanner (1993), sec. II.9 (Gragg, Bulirsch & Stoer).
    """

    def substep(carry, row):
        before, now, total = carry
        length, first, weight = row
        before, now = jnp.where(first > 0, state, before), jnp.where(first > 0, state, now)
        rate = jnp.stack([now[1], spray(now[0], now[1])])
        after = before + (2 - first) * length * size * rate
        return (now, after, total + weight * (after - state)), None

    table = jnp.asarray(_midpoint_table(), state.dtype)
    return state + lax.scan(substep, (state, state, jnp.zeros_like(state)), table)[0][2]


def _midpoint_table():
    """Length, whether it is the first of its sequence, and extrapolation weight of each substep."""
    squares = np.array(_SUBSTEPS, float) ** 2
    rows = []
    for n, square in zip(_SUBSTEPS, squares, strict=True):
        others = squares[squares != square]
        weight = np.prod(square / (square - others))
        rows += [(1 / n, float(k == 0), weight * (k == n - 1)) for k in range(n)]
    return np.array(rows)
