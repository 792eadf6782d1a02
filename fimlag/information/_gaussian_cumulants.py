"""Third moments of a Gaussian's scores in closed form: linear and quadratic forms of one standard normal vector."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._results import RESULTS, first_failure
from fimlag.information._cumulants import along_curve

Whitened = Callable[[Float[Array, " d"]], tuple[Float[Array, " n"], Float[Array, "*shape"]]]
"""Flat parameters to mean and covariance in units of the covariance at the point, which is then the identity."""


def gaussian_skewness(
    whitened: Whitened, vector: Float[Array, " d"], u: Float[Array, " d"], w: Float[Array, " d"]
) -> tuple[Float[Array, " d"], RESULTS]:
    r"""The vector $\mathrm{E}[s_u s_w s_k]$ for $s_i = a_i \cdot z + \tfrac12 (z \cdot B_i z - \operatorname{tr} B_i)$.

    $$a_u \cdot B_w a_k + a_w \cdot B_u a_k + a_u \cdot B_k a_w + \operatorname{tr}(B_u B_w B_k)$$

    The derivatives $a_k$ and $B_k$ of all parameters enter by one transposed product.
    """
    _, tangent = jax.linearize(whitened, vector)
    (a_u, b_u), (a_w, b_w) = tangent(u), tangent(w)
    mean = _times(b_w, a_u) + _times(b_u, a_w)
    if b_u.ndim == 2:
        product = jnp.outer(a_u, a_w) + b_u @ b_w
        spread = 0.5 * (product + product.T)
    else:
        spread = a_u * a_w + b_u * b_w
        spread = spread if b_u.ndim else jnp.sum(spread)
    skewness = jax.linear_transpose(tangent, vector)((mean, spread))[0]
    return skewness, first_failure((~jnp.all(jnp.isfinite(skewness)), RESULTS.nonfinite))


def gaussian_bending(
    whitened: Whitened, curve: Callable, vector: Float[Array, " d"]
) -> tuple[Float[Array, "2 2"], RESULTS]:
    r"""The covariance of $(\dot\ell, \ddot\ell)$, whose linear and quadratic parts along a curve are

    $$(a, B) = (\dot m, \dot S), \qquad (c, C) = (\ddot m - 2 \dot S \dot m,\; \ddot S - 2 \dot S^2), \qquad
    \operatorname{Cov} = a \cdot c + \tfrac12 \operatorname{tr}(B C)$$
    """
    (a, b), (m, s) = along_curve(lambda t: whitened(curve(t)), vector)
    linear = jnp.stack([a, m - 2.0 * _times(b, a)])
    quadratic = jnp.stack([b, s - 2.0 * (b @ b if b.ndim == 2 else b**2)])
    copies = 1.0 if b.ndim else float(a.size)
    traces = jnp.tensordot(quadratic, quadratic, axes=(tuple(range(1, quadratic.ndim)),) * 2)
    covariance = linear @ linear.T + (0.5 * copies) * traces
    return covariance, first_failure((~jnp.all(jnp.isfinite(covariance)), RESULTS.nonfinite))


def _times(covariance, vector):
    return covariance @ vector if covariance.ndim == 2 else covariance * vector
