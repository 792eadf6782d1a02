"""Whether a rule resolves the integral of a function of the outcomes, and not of the density alone."""

import math

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from fimlag.information import Quadrature
from fimlag.information._sums import negligible_share


class Resolution(eqx.Module):
    """Sums, over the outcomes of an exact rule, of what tells whether c integrands are resolved.

    **Attributes:** `tails` (c,): the part of their sizes from outcomes so rare that still rarer ones were left out;
    `waves` (4, c): with cosine and sine of a period of three nodes and of five, zero where thirds and fifths of the
    nodes agree.
    """

    tails: Float[Array, " c"]
    waves: Float[Array, "four c"]

    def fails(self, scale: Float[Array, " c"]) -> Bool[Array, " c"]:
        """Which integrands are not resolved to the root of round-off, in units of a scale for each.

        What all nodes are wrong by is the cube of what thirds of them are, for a smooth integrand, whose fifths are
        then wrong by far more than thirds. Where they are not the integrand has a kink.
        """
        eps = float(jnp.finfo(self.tails.dtype).eps)
        live = scale > 0.0
        unit = jnp.where(live, scale, 1.0)
        thirds, fifths = (jnp.hypot(*pair) for pair in jnp.split(self.waves / unit[None], 2))
        kinked = (thirds > eps ** (1.0 / 3.0)) & (thirds > 0.15 * fifths)
        return live & (kinked | (thirds > eps ** (1.0 / 6.0)) | (self.tails > eps**0.5 * unit))


def resolution_of(rule, weights: Float[Array, " n"], values: Float[Array, "n c"]) -> Resolution:
    """The sums over one block of the outcomes of a rule; zero for a random sample, whose scatter is its error."""
    weights, values = lax.stop_gradient((weights, values))
    if getattr(rule, "sample_size", None) is not None:
        return Resolution(jnp.zeros_like(values[0]), jnp.zeros((4, values.shape[1]), values.dtype))
    rare = weights < math.exp(0.85 * negligible_share(weights.dtype)) * jnp.max(weights)
    tails = jnp.where(rare, weights, 0.0) @ jnp.abs(values)
    return Resolution(tails, (_waves(rule, weights) * weights[None]) @ values)


def _waves(rule, weights) -> Float[Array, "four n"]:
    """The waves for a quadrature, whose atoms come last; none for other rules."""
    if not isinstance(rule, Quadrature):
        return jnp.zeros((4, weights.size), weights.dtype)
    number = jnp.arange(weights.size)
    nodes = weights.size - (0 if rule.atoms is None else rule.atoms.shape[0])
    # A whole number of waves, so that they close on a circle.
    turns = [number * round(nodes / period) % nodes for period in (3, 5)]
    phases = [(2.0 * math.pi / nodes) * turn.astype(weights.dtype) for turn in turns]
    inside = number < nodes
    return jnp.where(inside[None], jnp.stack([wave(phase) for phase in phases for wave in (jnp.cos, jnp.sin)]), 0.0)
