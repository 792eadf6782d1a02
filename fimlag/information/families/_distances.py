"""Pieces of which closed Fisher-Rao distances are made, accurate for near and far pairs."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.information.families._family import root


def half_plane_distance(
    gap: Float[Array, ""],
    rise: Float[Array, ""],
    scale0: Float[Array, ""],
    scale1: Float[Array, ""],
    a: float,
    c: float,
) -> Float[Array, ""]:
    r"""The distance in the half-plane of metric $(a\, d\mu^2 + c\, d\sigma^2) / \sigma^2$.

    $$d = 2 \sqrt c \operatorname{arsinh}
    \sqrt{\frac{(a / c) (\mu_1 - \mu_0)^2 + (\sigma_1 - \sigma_0)^2}{4 \sigma_0 \sigma_1}}$$

    **Arguments:** `gap`: $\mu_1 - \mu_0$; `rise`: $\sigma_1 - \sigma_0$; the two scales; `a`, `c`: positive numbers.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 3.
    """
    scale = 2.0 * jnp.sqrt(scale0) * jnp.sqrt(scale1)
    across, along = gap / scale, rise / scale
    return 2.0 * math.sqrt(c) * jnp.arcsinh(root((a / c) * across**2 + along**2))


def log_ratio(start: Float[Array, ""], end: Float[Array, ""]) -> Float[Array, ""]:
    """The logarithm of end over start, without cancellation between near numbers or overflow between far ones."""
    return 2.0 * jnp.arcsinh((end - start) / (2.0 * jnp.sqrt(start) * jnp.sqrt(end)))
