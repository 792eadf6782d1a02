"""Squared Fisher-Rao distances in closed form between normal distributions of vectors."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.information.families._normal_lift import Relative
from fimlag.information.families._spectral import log_square

SERIES = tuple((-1.0) ** (n + 1) * 4.0**n / (2.0 * n**2 * math.comb(2 * n, n)) for n in range(1, 15))
"""The coefficients of $\\operatorname{arsinh}^2 \\sqrt u$."""


def squared_arcsinh_of_root(u: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""The function $\operatorname{arsinh}^2 \sqrt u$ of $u \geq 0$, smooth at 0 as well."""
    small = u < 0.05
    near, far = jnp.where(small, u, 0.0), jnp.where(small, 1.0, u)
    series = near * jnp.polyval(jnp.asarray(SERIES[::-1], u.dtype), near)
    return jnp.where(small, series, jnp.arcsinh(jnp.sqrt(far)) ** 2)


def half_space_square(
    across: Float[Array, "*shape"], along: Float[Array, "*shape"], c: float
) -> Float[Array, "*shape"]:
    r"""The squared distance in the half-space of metric $(|d\mu|^2 + c\, d\sigma^2) / \sigma^2$.

    $$d^2 = 4 c \operatorname{arsinh}^2 \sqrt{\frac{|\mu_1 - \mu_0|^2}{4 c\, \sigma_0 \sigma_1}
    + \frac{(\sigma_1 - \sigma_0)^2}{4 \sigma_0 \sigma_1}}$$

    **Arguments:** `across`: $|\mu_1 - \mu_0|^2 / (4 \sigma_0 \sigma_1)$; `along`: the second fraction.

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 2.3.
    """
    return 4.0 * c * squared_arcsinh_of_root(across / c + along)


def embedded_square(end: Relative) -> Float[Array, ""]:
    """The squared distance between N(0, I) and a normal distribution among matrices of their second moments."""
    above = jnp.concatenate([end.factor, end.mean[:, None]], axis=1)
    excess = jnp.concatenate([end.excess, end.mean[:, None]], axis=1)
    inverse = jnp.concatenate([end.inverse, -(end.inverse @ end.mean)[:, None]], axis=1)
    below = jnp.zeros((1, above.shape[1]), above.dtype)
    one = below.at[0, -1].set(1.0)
    return log_square(*(jnp.concatenate(rows) for rows in ((above, one), (excess, below), (inverse, one))))
