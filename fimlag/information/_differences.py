"""Functions of differences that keep their digits where the difference is small."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

NEAR = 0.05
"""Relative difference of two log-likelihoods below which their subtraction loses digits worth saving."""


def difference(function: Callable, start: Float[Array, " d"], end: Float[Array, " d"]) -> Float[Array, ""]:
    r"""`function(end) - function(start)` of a log-likelihood, to all digits also where the points nearly coincide.

    $$f(b) - f(a) = \int_0^1 \partial_{b - a} f(a + t (b - a))\, dt$$

    The integral, by three Gauss points, stands where it agrees with the subtraction to within the round-off of the
    latter; elsewhere the points are too far apart for it, and the subtraction loses nothing.

    **Arguments:** `function(vector)`: a scalar in nats; `start`, `end`: the two points.

    **Returns:** the difference, shape (); infinite where the function is at one end.

    **Reference:** Abramowitz & Stegun (1964), 25.4.30.
    """
    before, after = function(start), function(end)
    subtracted = after - before
    # A log-likelihood near 0 is a sum of terms that are not: it is known to a fraction of one nat.
    grain = 1.0 + jnp.abs(after) + jnp.abs(before)
    near = lax.stop_gradient(jnp.isfinite(subtracted) & (jnp.abs(subtracted) <= NEAR * grain))
    # Far apart, the points between may leave the domain: the derivatives are then taken at the start.
    step = jnp.where(near, end - start, 0.0)
    t, weights = gauss_points(3, start.dtype)
    slopes = jax.vmap(lambda t: jax.jvp(function, (start + t * step,), (step,))[1])(t)
    integral = weights @ slopes
    noise = 64.0 * float(jnp.finfo(start.dtype).eps) * grain
    agrees = near & lax.stop_gradient(jnp.abs(integral - subtracted) <= noise)
    return jnp.where(agrees, integral, subtracted)


def gauss_points(number: int, dtype) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Points and weights of Gauss's rule on the unit interval."""
    x, weights = np.polynomial.legendre.leggauss(number)
    return jnp.asarray(0.5 * (x + 1.0), dtype), jnp.asarray(0.5 * weights, dtype)


def exponential_quotient(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""$(e^z - 1) / z = \int_0^1 e^{v z}\, dv$ for $|z| \le 1$, with all its derivatives at 0."""
    return _mean_over_unit(lambda v: jnp.exp(v * z), 8, z.dtype)


def logarithm_quotient(z: Float[Array, ""]) -> Float[Array, ""]:
    r"""$-\log(1 - z) / z = \int_0^1 \frac{dv}{1 - v z}$, with all its derivatives at 0."""
    near = jnp.abs(z) < 0.3
    inner, outer = jnp.where(near, z, 0.0), jnp.where(near, 0.3, z)
    return jnp.where(near, _mean_over_unit(lambda v: 1.0 / (1.0 - v * inner), 8, z.dtype), -jnp.log1p(-outer) / outer)


def convexity_gap(d: Float[Array, "*shape"], s: Float[Array, ""]) -> Float[Array, "*shape"]:
    r"""What the exponential lacks of its chord, scaled: positive, and of second order in d, for $|d| \le 20$.

    $$\phi_s(d) = \frac{(1 - s) + s\, e^d - e^{s d}}{s (1 - s)}
    = d^2 \int_0^1 v \big(s\, e^{v s d} + (1 - s)\, e^{d - v (1 - s) d}\big)\, dv$$

    with the limits $\phi_0 = e^d - 1 - d$ and $\phi_1 = 1 - e^d + d\, e^d$.

    **Reference:** Amari & Nagaoka (2000), eq. 3.22.
    """

    def kernel(v):
        return v * (s * jnp.exp(v * s * d) + (1.0 - s) * jnp.exp(d - v * (1.0 - s) * d))

    return d**2 * _mean_over_unit(kernel, 20, d.dtype)


def _mean_over_unit(function, points, dtype):
    """The integral from 0 to 1 by Gauss's rule: a sum of smooth terms, whose derivatives compile quickly."""
    v, weights = gauss_points(points, dtype)
    return jnp.tensordot(weights, jax.vmap(function)(v), 1)
