"""Quadrature of one-dimensional densities by double-exponential trapezoid rules."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from fimlag._types import Coordinates, LogLikelihood, RealScalarLike, as_field
from fimlag.information._sums import dtype_of, weighted_by_density


class Quadrature(eqx.Module):
    r"""Quadrature of a density on an interval, a half-line or the line.

    $$\mathrm{E}_\theta[f] \approx \sum_k h\, x'(t_k)\, e^{\ell(\theta, x(t_k))} f(x(t_k))$$

    The trapezoid rule converges exponentially after the change of variable $x = m + s \sinh(\tfrac\pi2 \sinh
    t)$ on the line, and $\log(x - a)$ or $\log\frac{x - a}{b - x} = u_0 + c \sinh t$ on a half-line or
    interval, with $u_0$ at the location and $c$ the scale in that logarithm. Singular ends and heavy tails
    are met exactly; a kink or jump inside is not.

    **Arguments:** `lower`, `upper`: the ends, numbers, possibly infinite. `nodes`: 200 give relative errors
    below 1e-12 where location and scale are near the mean and the standard deviation (or the median and the
    half-width of a heavy-tailed density), and below 1e-9 where the location is off by one scale or the scale
    by a factor of 2. `location`, `scale`: numbers or functions of theta; left out, they are 0 and 1 on the
    line, distance 1 from the end of a half-line, and the middle of an interval. `atoms`: points, stacked on
    axis 0, where $e^{\ell}$ is a probability instead of a density.

    A density that is infinite at a finite end $b \ne 0$ loses digits, since $b - x$ is rounded:
    $(b - x)^{-0.3}$ keeps 8. Shift such an end to 0.

    **Raises:** `ValueError` for ends out of order, fewer than 3 nodes, or a location or scale that is not a
    scalar. A rule that does not resolve the density is seen in the sum of its weights.

    **Reference:** Takahasi & Mori (1974); Tanaka, Sugihara, Murota & Mori (2009).
    """

    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    nodes: int = eqx.field(static=True)
    location: Callable | RealScalarLike | None
    scale: Callable | RealScalarLike | None
    atoms: Array | None

    def __init__(
        self,
        lower: float | int,
        upper: float | int,
        nodes: int = 200,
        location: Callable | RealScalarLike | None = None,
        scale: Callable | RealScalarLike | None = None,
        atoms=None,
    ):
        self.lower, self.upper, self.nodes = float(lower), float(upper), nodes
        if not self.lower < self.upper:
            raise ValueError(f"lower must be less than upper, but they are {self.lower} and {self.upper}.")
        if nodes < 3:
            raise ValueError(f"nodes must be at least 3, but is {nodes}.")
        self.location = as_field(location) if callable(location) else location
        self.scale = as_field(scale) if callable(scale) else scale
        self.atoms = None if atoms is None else jnp.atleast_1d(jnp.asarray(atoms))

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return 1

    def outcomes(
        self, log_likelihood: LogLikelihood, theta: Coordinates, block=0
    ) -> tuple[Inexact[Array, " n"], Inexact[Array, " n"]]:
        """The nodes, atoms last, and the probability that each stands for."""
        dtype = dtype_of(theta)
        location = _number(self.location, theta, dtype, "location")
        scale = _number(self.scale, theta, dtype, "scale")
        if scale is not None:
            # A negative scale would mirror the nodes; NaN lets the failure be seen.
            scale = jnp.where(scale > 0.0, scale, jnp.nan)
        if math.isinf(self.lower) and math.isinf(self.upper):
            x, weights = _line(self.nodes, location, scale, dtype)
        elif math.isinf(self.upper):
            x, weights = _half_line(self.nodes, self.lower, 1, location, scale, dtype)
        elif math.isinf(self.lower):
            x, weights = _half_line(self.nodes, self.upper, -1, location, scale, dtype)
        else:
            x, weights = _interval(self.nodes, self.lower, self.upper, location, scale, dtype)
        if self.atoms is not None:
            x = jnp.concatenate([x, self.atoms.astype(dtype)])
            weights = jnp.concatenate([weights, jnp.ones(self.atoms.shape[0], dtype)])
        x, weights = jax.lax.stop_gradient((x, weights))
        return weighted_by_density(log_likelihood, theta, x, weights)


def _line(nodes, location, scale, dtype):
    # t up to 3.9 reaches 1e16 scales: beyond lies less than round-off of a Cauchy density.
    t, step = np.linspace(-3.9, 3.9, nodes, retstep=True)
    inner = np.pi / 2 * np.sinh(t)
    unit = jnp.asarray(np.sinh(inner), dtype)
    slope = jnp.asarray(step * np.pi / 2 * np.cosh(t) * np.cosh(inner), dtype)
    location = 0.0 if location is None else location
    scale = 1.0 if scale is None else scale
    return location + scale * unit, scale * slope


def _half_line(nodes, end, direction, location, scale, dtype):
    one = jnp.ones((), dtype)
    scale_or_one = one if scale is None else scale
    distance = scale_or_one if location is None else direction * (location - end)
    spread = one if scale is None else scale / distance
    u, slope = _logarithmic(nodes, jnp.log(distance), spread, dtype)
    return end + direction * jnp.exp(u), jnp.exp(u) * slope


def _interval(nodes, lower, upper, location, scale, dtype):
    length = upper - lower
    left = jnp.asarray(length / 2, dtype) if location is None else location - lower
    right = length - left
    spread = jnp.asarray(2.0, dtype) if scale is None else scale * length / (left * right)
    u, slope = _logarithmic(nodes, jnp.log(left / right), spread, dtype)
    from_lower, from_upper = jax.nn.sigmoid(u), jax.nn.sigmoid(-u)
    return lower + length * from_lower, length * from_lower * from_upper * slope


def _logarithmic(nodes, centre, spread, dtype):
    # t up to 5 reaches 74 spreads in the logarithm: 1e-32 of a length, where x^-0.5 still holds 1e-16.
    t, step = np.linspace(-5.0, 5.0, nodes, retstep=True)
    return centre + spread * jnp.asarray(np.sinh(t), dtype), spread * jnp.asarray(step * np.cosh(t), dtype)


def _number(value, theta, dtype, name):
    """A location or scale at theta, held constant: nodes do not move under derivatives."""
    if value is None:
        return None
    number = jnp.asarray(value(theta) if callable(value) else value)
    if number.shape != ():
        raise ValueError(f"{name} must be a number or a function of theta returning one, but has shape {number.shape}.")
    return jax.lax.stop_gradient(number.astype(dtype))
