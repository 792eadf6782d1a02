"""The optimal map between centred normal distributions, and its cost: to all digits for near pairs."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


@jax.custom_jvp
def bures_square(first: Float[Array, "d d"], second: Float[Array, "d d"]) -> Float[Array, ""]:
    r"""The squared distance of covariances, a sum of squares.

    $$\operatorname{tr} X \Sigma_0 X = \sum_{ij}
    \Big(\frac{(V^\top \Sigma_0^{1/2} (\Sigma_1 - \Sigma_0) W)_{ij}}{\sigma_i + g_j}\Big)^2,
    \qquad X = T - I$$

    with $\Sigma_0 = W g W^\top$ and $(\Sigma_0^{1/2} \Sigma_1 \Sigma_0^{1/2})^{1/2} = V \sigma V^\top$. Its derivatives
    are $-X$ in the first and that of the inverse map in the second.
    """
    frames = _Frames.of(first, second)
    return jnp.sum(frames.seen(second - first) ** 2) * frames.legal


@bures_square.defjvp
def _bures_square_jvp(primals, tangents):
    first, second = primals
    slopes = -transport_excess(first, second), -transport_excess(second, first)
    return bures_square(first, second), jnp.sum(slopes[0] * tangents[0]) + jnp.sum(slopes[1] * tangents[1])


@jax.custom_jvp
def transport_excess(first: Float[Array, "d d"], second: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The matrix X = T - I of the optimal map, accurate for near pairs.

    Its derivative solves `dX M + M^T dX = dS1 - T dS0 T` with `M = S0 T`.
    """
    frames = _Frames.of(first, second)
    roots = jnp.sqrt(frames.stretches)
    inner = frames.right @ frames.seen(second - first) @ (frames.axes * roots[None, :]).T
    inverse_root = (frames.axes / roots[None, :]) @ frames.axes.T
    shift = inverse_root @ inner @ inverse_root
    return 0.5 * (shift + shift.T) * frames.legal


@transport_excess.defjvp
def _transport_excess_jvp(primals, tangents):
    first, second = primals
    shift = transport_excess(first, second)
    move = jnp.eye(shift.shape[0], dtype=shift.dtype) + shift
    change = tangents[1] - move @ tangents[0] @ move
    product = first @ move
    frames = lax.stop_gradient(_Frames.of(first, second))

    def matvec(x):
        return x @ product + product.T @ x

    def direct(_, right):
        return frames.sylvester(right, -1)

    def transposed(_, right):
        return frames.sylvester(right, 1)

    rate = lax.custom_linear_solve(matvec, change, direct, transposed)
    return shift, 0.5 * (rate + rate.T)


class _Frames(eqx.Module):
    r"""Two covariances seen through the root of the first: `stretches` g and `axes` W of the first, `lengths`
    $\sigma$ and `right` V of the product of roots, and `legal`, NaN where an eigenvalue is negative."""

    stretches: Float[Array, " d"]
    axes: Float[Array, "d d"]
    lengths: Float[Array, " d"]
    right: Float[Array, "d d"]
    legal: Float[Array, ""]

    @classmethod
    def of(cls, first, second) -> "_Frames":
        """Those of two symmetric matrices."""
        stretches, axes = jnp.linalg.eigh(0.5 * (first + first.T))
        others, other_axes = jnp.linalg.eigh(0.5 * (second + second.T))
        eps = float(jnp.finfo(first.dtype).eps)
        size = jnp.maximum(jnp.max(jnp.abs(stretches)), jnp.max(jnp.abs(others)))
        noise = 8 * first.shape[0] * eps * size
        legal = jnp.where((stretches[0] >= -noise) & (others[0] >= -noise), 1.0, jnp.nan).astype(first.dtype)
        # A direction of no extent is given as much as round-off may have taken from it.
        stretches = jnp.maximum(stretches, eps * size)
        root0 = (axes * jnp.sqrt(stretches)[None, :]) @ axes.T
        root1 = (other_axes * jnp.sqrt(jnp.maximum(others, 0.0))[None, :]) @ other_axes.T
        _, lengths, right = jnp.linalg.svd(root1 @ root0)
        return cls(stretches, axes, lengths, right.T, legal)

    @property
    def first_root(self):
        """The square root of the first covariance."""
        return (self.axes * jnp.sqrt(self.stretches)[None, :]) @ self.axes.T

    def seen(self, change):
        """What a change of the first covariance moves, in the two frames."""
        seen = self.right.T @ self.first_root @ change @ self.axes
        sums = self.lengths[:, None] + self.stretches[None, :]
        return jnp.where(sums > 0, seen / jnp.where(sums > 0, sums, 1.0), 0.0)

    def sylvester(self, right_hand_side, power: int):
        """The solution of `X M + M^T X = R`, with M the first covariance times the optimal map, and for the power 1 of
        the same with M transposed."""
        scale = (self.axes * (jnp.sqrt(self.stretches) ** -power)[None, :]) @ self.axes.T
        unscale = (self.axes * (jnp.sqrt(self.stretches) ** power)[None, :]) @ self.axes.T
        inner = self.right.T @ scale @ right_hand_side @ scale @ self.right
        inner = inner / (self.lengths[:, None] + self.lengths[None, :])
        return unscale @ self.right @ inner @ self.right.T @ unscale
