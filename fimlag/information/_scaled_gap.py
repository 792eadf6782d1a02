"""The one quantity of which the divergences of the alpha family are functions."""

import jax.numpy as jnp
from jax import lax

from fimlag._types import Coordinates
from fimlag.information._density_pair import DensityPair
from fimlag.information._differences import convexity_gap, exponential_quotient, logarithm_quotient
from fimlag.information._divergence_estimate import DivergenceEstimate
from fimlag.information._divergence_parts import concluded_divergence, density_pair, rule_name, sum_over_parts
from fimlag.information._model import AbstractModel

FARTHEST = 20.0
"""Log-ratio beyond which the near form is not used: its terms would cancel."""

FEWEST = 10.0
"""Effective outcomes below which a tilted sample says nothing."""


def scaled_gap(model: AbstractModel, theta0: Coordinates, theta1: Coordinates, s) -> DivergenceEstimate:
    r"""Minus the logarithm of the affinity over its dependence on the exponent: half the squared line element nearby.

    $$K_s = -\frac{1}{s (1 - s)} \log \int p_0^{1 - s} p_1^s\, dx, \qquad
    K_0 = \mathrm{KL}(p_0 \Vert p_1), \quad K_1 = \mathrm{KL}(p_1 \Vert p_0)$$

    It adds over independent experiments, and is smooth in s.

    **Arguments:** `s`: a Python number or a traced scalar.

    **Reference:** Nielsen (2011), eq. 6 and 22.
    """

    def of_density(density, theta0, theta1):
        if hasattr(density, "scaled_gap"):
            return density.scaled_gap(theta0, theta1, s)
        return _over_rule(density_pair(density, theta0, theta1), s, rule_name(density))

    return sum_over_parts(model, theta0, theta1, of_density)


def _over_rule(pair: DensityPair, s, name: str) -> DivergenceEstimate:
    """By outcomes of the density of larger weight: s is at most 1/2 after an exchange of the two."""
    entropic = isinstance(s, float | int) and s in (0, 1)
    s = jnp.asarray(s, pair.a.dtype)
    exchanged = s > 0.5
    pair = pair.exchanged(exchanged)
    s = jnp.where(exchanged, 1.0 - s, s)
    sums = pair.sums(lambda d, _: _statistics(d, s))
    near_form = near_wins(pair, sums)
    tilted = jnp.asarray(False) if entropic or not pair.exact else _needs_tilt(sums, near_form, s)
    near = jnp.where(near_form & ~tilted, sums.mean[0], 0.0)
    direct = jnp.where(near_form | tilted, 0.0, sums.mean[1])
    # An infinite divergence in its limit, s = 0.
    share = s * jnp.where(jnp.isinf(direct), 0.0, direct)
    product = s * (1.0 - s)
    value = near * logarithm_quotient(product * near) + direct * logarithm_quotient(share) / (1.0 - s)

    errors, form = pair.errors(sums), jnp.where(near_form, 0, 1)
    slopes = 1.0 / (1.0 - product * near), 1.0 / ((1.0 - s) * (1.0 - share))
    error = jnp.where(near_form, errors[0] * slopes[0], errors[1] * slopes[1])
    resolution, cut_off = sums.resolution[form], sums.tail[form] > _root_eps(s)
    cut_off = cut_off | (~near_form & ~tilted & lost(sums, value))
    few = jnp.asarray(False)
    if pair.exact and not entropic:
        log_affinity, tilted_resolution, beyond = pair.log_affinity(s)
        value = jnp.where(tilted, -log_affinity / jnp.where(tilted, product, 1.0), value)
        resolution, cut_off = jnp.where(tilted, tilted_resolution, resolution), jnp.where(tilted, beyond, cut_off)
    elif not pair.exact:
        few = ~near_form & (sums.mean[7] ** 2 < FEWEST * sums.squares[7])
    return concluded_divergence(pair, value, error, sums, sums.mean[4], resolution, few, pair.exact & cut_off, name)


def _needs_tilt(sums, near_form, s):
    """Whether outcomes of the tilted density itself are needed: those of the first do not resolve it.

    Of a small divergence they would lose more digits, in the logarithm of an affinity near 1, than a rough sum.
    """
    form = jnp.where(near_form, 0, 1)
    value = lax.stop_gradient(sums.mean)[form]
    smooth = jnp.maximum(sums.resolution[form], sums.tail[form]) < _root_eps(s)
    small_affinity = ~near_form & (jnp.abs(s * value) > 0.5)
    return lax.stop_gradient((s != 0.0) & (small_affinity | ~smooth) & ~(jnp.abs(value) < 0.01))


def _root_eps(value):
    return float(jnp.finfo(value.dtype).eps) ** 0.5


def _statistics(d, s):
    """The near form, the direct form, what tells which is better, the weight itself and the tilt."""
    bounded = jnp.clip(d, -FARTHEST, FARTHEST)
    near = convexity_gap(bounded, s)
    exponent = jnp.where((s == 0.0) & jnp.isinf(d), 0.0, s * d)
    flat = jnp.abs(exponent) < 0.5
    # Squares of the exponential must not overflow.
    exponent = jnp.minimum(exponent, 0.4 * jnp.log(jnp.finfo(d.dtype).max).astype(d.dtype))
    inner = jnp.where(flat, exponent, 0.0)
    steep = -jnp.expm1(exponent) / jnp.where(flat, 1.0, s)
    direct = jnp.where(flat, -jnp.where(flat, d, 0.0) * exponential_quotient(inner), steep)
    clipped = (bounded != d).astype(d.dtype)
    return near, direct, jnp.expm1(bounded), clipped, jnp.ones_like(d), near**2, direct**2, jnp.exp(exponent)


def lost(sums, value):
    """Whether a divergence in its direct form may be nothing but round-off of the log-likelihoods.

    That round-off is what the sum of the second density differs from 1 by, where both have the same support.
    """
    surplus, eps = jnp.abs(lax.stop_gradient(sums.mean[2])), float(jnp.finfo(value.dtype).eps)
    return (surplus < eps**0.5) & (surplus > eps ** (1.0 / 3.0) * jnp.abs(lax.stop_gradient(value)))


def near_wins(pair, sums):
    """Whether the form of second order has the smaller integrand, and holds: both densities have the same support."""
    surplus, clipped, _, near_square, direct_square = lax.stop_gradient(sums.mean)[2:7]
    eps = float(jnp.finfo(surplus.dtype).eps)
    tolerance = 8.0 * pair.errors(sums)[2] + eps**0.5 * jnp.sqrt(direct_square) + 100.0 * eps
    return (near_square <= direct_square) & (jnp.abs(surplus) <= tolerance) & (clipped == 0.0)
