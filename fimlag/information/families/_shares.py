"""The Fisher metric of shares of sum 1, those of the beta and Dirichlet distributions, free of cancellation."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag.information.families._polygamma import trigamma, trigamma_excess


def shares_fisher(shapes: Float[Array, " d"]) -> Float[Array, "d d"]:
    r"""The Fisher matrix $\operatorname{diag} \psi'(\alpha) - \psi'(\alpha_0)$ with $\alpha_0 = \sum_i \alpha_i$."""
    total, here = jnp.sum(shapes), np.eye(shapes.size, dtype=bool)
    rest = jnp.sum(jnp.where(here, 0.0, jnp.broadcast_to(shapes, here.shape)), axis=1)
    # Of a share that outweighs the others the trigamma functions would cancel.
    diagonal = trigamma_excess(shapes) - trigamma_excess(total) + rest / shapes / total
    return jnp.where(here, jnp.diag(diagonal), -trigamma(total))


def shares_root(shapes: Float[Array, " d"]) -> Float[Array, "d r"]:
    r"""A root of it in two parts, for $\operatorname{diag} e(\alpha) - e(\alpha_0)$ and for the rest of it.

    Both are of the form $\operatorname{diag} m - w$, and with $s = \sum_i 1 / m_i$

    $$\operatorname{diag} m - w = R R^\top, \qquad R = \operatorname{diag} \sqrt m
    - \frac{1 - \sqrt{1 - s w}}{s}\, 1\, (m^{-1/2})^\top$$
    """
    excess, whole = trigamma_excess(shapes), trigamma_excess(jnp.sum(shapes))
    # It is positive, but round-off where one share outweighs the others, and then lost beside the rest.
    left = jnp.maximum(1.0 - jnp.sum(1.0 / excess) * whole, float(jnp.finfo(shapes.dtype).eps))
    return jnp.concatenate([_reduced_root(1.0 / shapes, 1.0), _reduced_root(excess, 1.0 - jnp.sqrt(left))], axis=1)


def _reduced_root(m, reduction):
    scale = reduction / jnp.sum(1.0 / m)
    return jnp.diag(jnp.sqrt(m)) - jnp.broadcast_to(scale / jnp.sqrt(m), (m.size, m.size))


def shares_quadratic(shapes: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
    r"""The squared length in it, which keeps its digits where the shapes are large.

    $$I(v, v) = \sum_i e(\alpha_i) v_i^2 - e(\alpha_0) v_0^2
    + \sum_i \alpha_i \Big(\frac{v_i}{\alpha_i} - \frac{v_0}{\alpha_0}\Big)^2, \qquad
    v_0 = \sum_i v_i, \quad e(\alpha) = \psi'(\alpha) - \frac1\alpha$$
    """
    total, speed = jnp.sum(shapes), jnp.sum(v)
    # One call: the series is compiled once for shares and total alike.
    excess = trigamma_excess(jnp.append(shapes, total)) @ jnp.append(v**2, -(speed**2))
    return excess + jnp.sum(shapes * (v / shapes - speed / total) ** 2)
