"""The sum of a discrete Lagrangian over a path: value, gradient, second variation."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fimlag.paths._block_tridiagonal import BlockTridiagonal


class PairExpansion(eqx.Module):
    """The discrete Lagrangian of every step to second order in its two points."""

    values: Float[Array, " steps"]
    slopes: Float[Array, "steps two d"]
    hessians: Float[Array, "steps two d two d"]


class DivergencePath(eqx.Module):
    r"""The sum of a discrete Lagrangian over N steps, a function of the displacement from the chord.

    $$S(w) = \sum_k L_d(t_k, h, u_k, u_{k+1}), \qquad u_k = u_0 + \tfrac kN c + w_k$$

    The unknowns w are the displacements of the points between the ends, shape (N - 1, d), in the free coordinates of a
    chart.
    """

    lagrangian: Callable
    start: Float[Array, " d"]
    chord: Float[Array, " d"]
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    steps: int = eqx.field(static=True)

    @property
    def times(self) -> Float[Array, " points"]:
        """The times of the points, shape (N + 1,)."""
        return self.t0 + (self.t1 - self.t0) * self._fractions

    def points(self, w: Float[Array, "unknowns d"]) -> Float[Array, "points d"]:
        """All points in free coordinates, shape (N + 1, d)."""
        return self.start[None] + self._fractions[:, None] * self.chord[None] + jnp.pad(w, ((1, 1), (0, 0)))

    def displacements(self, offsets: Float[Array, "points d"]) -> Float[Array, "unknowns d"]:
        """The unknowns of points given relative to the first."""
        return (offsets - self._fractions[:, None] * self.chord[None])[1:-1]

    def value(self, w: Float[Array, "unknowns d"]) -> Float[Array, ""]:
        """The action, shape ()."""
        return self.values(w, (1,))[0]

    def values(self, w: Float[Array, "unknowns d"], strides: tuple[int, ...]) -> Float[Array, " strides"]:
        """The actions of every point, or of every so many alone: all steps in one pass."""
        u, h = self.points(w), (self.t1 - self.t0) / self.steps
        starts = np.concatenate([np.arange(0, self.steps, stride) for stride in strides])
        strides_of = np.repeat(strides, [self.steps // stride for stride in strides])
        lengths = h * jnp.asarray(strides_of, h.dtype)
        pairs = jax.vmap(self.lagrangian)(self.times[starts], lengths, u[starts], u[starts + strides_of])
        ends = np.cumsum([self.steps // stride for stride in strides])[:-1].tolist()
        return jnp.stack([jnp.sum(part) for part in jnp.split(pairs, ends)])

    def gradient(self, w: Float[Array, "unknowns d"]) -> Float[Array, "unknowns d"]:
        """The derivative of the action in its unknowns."""
        return jax.grad(self.value)(w)

    def expand(self, w: Float[Array, "unknowns d"]) -> PairExpansion:
        """Value, slope and second derivatives at every step, in one pass."""
        h = (self.t1 - self.t0) / self.steps

        def at_pair(t, pair):
            def value_and_slope(pair):
                value, slope = jax.value_and_grad(lambda pair: self.lagrangian(t, h, pair[0], pair[1]))(pair)
                return slope, value

            slope, tangent_map, value = jax.linearize(value_and_slope, pair, has_aux=True)
            directions = jnp.eye(pair.size, dtype=pair.dtype).reshape(-1, *pair.shape)
            # One direction after the other: side by side, each would repeat the work that they share.
            return value, slope, lax.map(tangent_map, directions).reshape(*pair.shape, *pair.shape)

        u = self.points(w)
        return PairExpansion(*jax.vmap(at_pair)(self.times[:-1], jnp.stack([u[:-1], u[1:]], axis=1)))

    def factor(self, w: Float[Array, "unknowns d"]):
        """The solver of linear systems with the second variation."""
        factor = factorised(self.expand(w).hessians)
        return lambda right: solved(factor, right)

    @property
    def _fractions(self):
        return jnp.arange(self.steps + 1, dtype=self.start.dtype) / self.steps


def factorised(hessians: Float[Array, "steps two d two d"]) -> BlockTridiagonal:
    """The factor of the second variation over the points between the ends."""
    diagonal = hessians[:-1, 1, :, 1] + hessians[1:, 0, :, 0]
    return BlockTridiagonal(diagonal[..., None], hessians[1:-1, 0, :, 1][..., None])


def solved(factor: BlockTridiagonal, right: Float[Array, "unknowns d"]) -> Float[Array, "unknowns d"]:
    """The solution of a linear system."""
    return factor.solve(right[..., None])[..., 0]


def at_unknowns(slopes: Float[Array, "steps two d"]) -> Float[Array, "unknowns d"]:
    """The gradient at the points between the ends."""
    return slopes[:-1, 1] + slopes[1:, 0]
