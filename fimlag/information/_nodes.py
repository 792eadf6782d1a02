"""Changes of variable that place the nodes of a trapezoid rule where a density may be singular or far away."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Nodes = tuple[Float[Array, " n"], Float[Array, " n"]]
"""Positions and weights."""


def line(nodes: int, location: Float[Array, ""], scale: Float[Array, ""], dtype) -> Nodes:
    r"""Nodes $x = m + s \sinh(\tfrac\pi2 \sinh t)$ on the line.

    **Reference:** Takahasi & Mori (1974), eq. 3.4.
    """
    # t up to 3.9 reaches 1e16 scales: beyond lies less than round-off of a Cauchy density.
    t, step = np.linspace(-3.9, 3.9, nodes, retstep=True)
    inner = np.pi / 2 * np.sinh(t)
    unit = jnp.asarray(np.sinh(inner), dtype)
    slope = jnp.asarray(step * np.pi / 2 * np.cosh(t) * np.cosh(inner), dtype)
    return location + scale * unit, scale * slope


def half_line(nodes: int, distance: Float[Array, ""], spread: Float[Array, ""], dtype) -> Nodes:
    r"""Distances $d$ from the end of a half-line, $\log d = \log d_0 + c \sinh t$."""
    u, slope = _logarithms(nodes, jnp.log(distance), spread, dtype)
    return jnp.exp(u), jnp.exp(u) * slope


def interval(
    nodes: int, length: Float[Array, ""], left: Float[Array, ""], spread: Float[Array, ""], dtype
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    r"""Distances d and d' from the ends of an interval, both to full precision, and the weights.

    $$\log\frac{d}{d'} = \log\frac{l}{r} + c \sinh t, \qquad d + d' = l + r$$
    """
    u, slope = _logarithms(nodes, jnp.log(left / (length - left)), spread, dtype)
    lower, upper = jax.nn.sigmoid(u), jax.nn.sigmoid(-u)
    return length * lower, length * upper, length * lower * upper * slope


def circle(nodes: int, location: Float[Array, ""], scale: Float[Array, ""], period: float, dtype) -> Nodes:
    r"""Equally spaced nodes, drawn together about the location by a Moebius map of the circle.

    $$x = m + \frac{P}{\pi} \arctan\Big(s \tan\frac t2\Big), \qquad
    x'(t) = \frac{P}{2\pi} \frac{s}{\cos^2(t/2) + s^2 \sin^2(t/2)}$$

    At $s = 4\pi\, \mathtt{scale} / P$, at most 1, half of the nodes lie within four scales of the location.

    **Reference:** Trefethen & Weideman (2014), section 2 (the trapezoid rule on a circle).
    """
    half = np.pi * ((np.arange(nodes) + 0.5) / nodes - 0.5)
    cosine, sine = jnp.asarray(np.cos(half), dtype), jnp.asarray(np.sin(half), dtype)
    contraction = jnp.minimum(4.0 * np.pi / period * scale, 1.0)
    x = location + period / np.pi * jnp.arctan2(contraction * sine, cosine)
    return x, period / nodes * contraction / (cosine**2 + (contraction * sine) ** 2)


def _logarithms(nodes, centre, spread, dtype) -> Nodes:
    # t up to 5 reaches 74 spreads in the logarithm: 1e-32 of a length, where x^-0.5 still holds 1e-16.
    t, step = np.linspace(-5.0, 5.0, nodes, retstep=True)
    return centre + spread * jnp.asarray(np.sinh(t), dtype), spread * jnp.asarray(step * np.cosh(t), dtype)
