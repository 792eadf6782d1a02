"""Quadrature of one-dimensional densities by trapezoid rules."""

import itertools
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from fimlag._types import Coordinates, LogLikelihood, Outcomes, RealScalarLike, as_field
from fimlag.information._nodes import circle, half_line, interval, line
from fimlag.information._sums import dtype_of, weighted_by_density


class Quadrature(eqx.Module):
    r"""Quadrature of a density on an interval, a half-line, the line or a circle.

    $$\mathrm{E}_\theta[f] \approx \sum_k h\, x'(t_k)\, e^{\ell(\theta, x(t_k))} f(x(t_k))$$

    The trapezoid rule converges exponentially after the change of variable $x = m + s \sinh(\tfrac\pi2 \sinh
    t)$ on the line, and $\log(x - a)$ or $\log\frac{x - a}{b - x} = u_0 + c \sinh t$ on a half-line or
    interval, with $u_0$ at the location and $c$ the scale in that logarithm. Singular ends and heavy tails
    are met exactly; a kink or jump inside is met only where `breaks` names it.

    **Arguments:** `lower`, `upper`: the ends, numbers, possibly infinite. `nodes`: 200 give relative errors
    below 1e-12 where location and scale are near the mean and the standard deviation (or the median and the
    half-width of a heavy-tailed density), below 1e-9 where the location is off by one scale or the scale by a
    factor of 2, and below 1e-8 where a tail on the line falls off double exponentially, as Gumbel's does.
    `location`, `scale`: numbers or functions of theta; left out, they are 0 and 1 on the line, distance 1 from the
    end of a half-line, and the middle of an interval. Towards a singular end $d^{a - 1}$ with $a < 0.3$ the scale
    in the logarithm must be near $1 / (2a)$. `atoms`: points, stacked on axis 0, where $e^{\ell}$ is a probability
    instead of a density.

    `distances`: on a finite interval each outcome is the pair $(x - a, b - x)$, both to full relative precision.
    A density that is infinite at a finite end $b \ne 0$ needs it, since the difference $b - x$ of rounded numbers
    has no digits there: $(b - x)^{-0.3}$ keeps 8.

    `periodic`: the interval is one turn of a circle; the nodes are equally spaced ones drawn together about the
    location by a Moebius map, which meets smooth periodic densities with all digits.

    `breaks`: points where the density has a kink or jump, one number, an array (k,), or a function of theta
    returning either; each piece between them has its own `nodes`, and `scale` is the distance from a break over
    which an infinite piece falls off.

    **Raises:** `ValueError` for ends out of order, fewer than 3 nodes, a location or scale that is not a
    scalar, distances or a period of an infinite interval, or both breaks and a period. A rule that does not resolve
    the density is seen in the sum of its weights.

    **Reference:** Takahasi & Mori (1974); Tanaka, Sugihara, Murota & Mori (2009); Trefethen & Weideman (2014).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def semicircle(theta, x): return 0.5 * jnp.log(x[0] * x[1]) + jnp.log(2.0 / (jnp.pi * theta**2))
    >>> rule = fl.Quadrature(-1.0, 1.0, distances=True)
    >>> print(jnp.round(jnp.sum(rule.outcomes(semicircle, jnp.array(1.0))[1]), 12))
    1.0

    ```
    """

    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    nodes: int = eqx.field(static=True)
    location: Callable | RealScalarLike | None
    scale: Callable | RealScalarLike | None
    atoms: Array | None
    distances: bool = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)
    breaks: Callable | ArrayLike | None

    def __init__(
        self,
        lower: float | int,
        upper: float | int,
        nodes: int = 200,
        location: Callable | RealScalarLike | None = None,
        scale: Callable | RealScalarLike | None = None,
        atoms=None,
        distances: bool = False,
        periodic: bool = False,
        breaks: Callable | ArrayLike | list | None = None,
    ):
        self.lower, self.upper, self.nodes = float(lower), float(upper), nodes
        self.distances, self.periodic = distances, periodic
        self.location = as_field(location) if callable(location) else location
        self.scale = as_field(scale) if callable(scale) else scale
        self.atoms = None if atoms is None else jnp.atleast_1d(jnp.asarray(atoms))
        self.breaks = None if breaks is None else as_field(breaks) if callable(breaks) else jnp.asarray(breaks)
        self._check()

    def _check(self):
        if not self.lower < self.upper:
            raise ValueError(f"lower must be less than upper, but they are {self.lower} and {self.upper}.")
        if self.nodes < 3:
            raise ValueError(f"nodes must be at least 3, but is {self.nodes}.")
        if (self.distances or self.periodic) and math.isinf(self.upper - self.lower):
            raise ValueError(f"distances and a period need finite ends, but they are {self.lower} and {self.upper}.")
        if self.periodic and (self.distances or self.breaks is not None):
            raise ValueError("A circle has no ends: with periodic=True give neither distances nor breaks.")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return 1

    def outcomes(self, log_likelihood: LogLikelihood, theta: Coordinates, block=0) -> tuple[Outcomes, Array]:
        """The nodes, atoms last, and the probability that each stands for."""
        x, weights = self.weighted_nodes(theta)
        return weighted_by_density(log_likelihood, theta, x, weights)

    def weighted_nodes(self, theta: Coordinates) -> tuple[Outcomes, Array]:
        """The nodes, atoms last, and the length that each stands for, 1 for an atom."""
        dtype = dtype_of(theta)
        pieces = self._pieces(theta, dtype)
        if self.atoms is not None:
            pieces.append((self._on_the_line(self.atoms.astype(dtype)), jnp.ones(self.atoms.shape[0], dtype)))
        x, weights = jax.tree_util.tree_map(lambda *leaves: jnp.concatenate(leaves), *pieces)
        return jax.lax.stop_gradient((x, weights))

    def _pieces(self, theta, dtype) -> list:
        """Nodes and weights of each piece between the breaks."""
        location = _number(self.location, theta, dtype, "location")
        scale = _number(self.scale, theta, dtype, "scale")
        if scale is not None:
            # A negative scale would mirror the nodes; NaN lets the failure be seen.
            scale = jnp.where(scale > 0.0, scale, jnp.nan)
        if self.periodic:
            return [self._turn(location, scale, dtype)]
        if self.breaks is None:
            return [self._piece(self.lower, self.upper, location, scale, dtype)]
        ends = [self.lower, *_points(self.breaks, theta, dtype), self.upper]
        return [
            self._piece(a, b, None, scale if _infinite(a) or _infinite(b) else None, dtype)
            for a, b in itertools.pairwise(ends)
        ]

    def _piece(self, lower, upper, location, scale, dtype):
        """Nodes and weights between two ends: the infinite ones are Python's, the others may be traced."""
        one = jnp.ones((), dtype)
        unit = one if scale is None else scale
        if _infinite(lower) and _infinite(upper):
            return line(self.nodes, 0.0 * one if location is None else location, unit, dtype)
        if not _infinite(lower) and not _infinite(upper):
            return self._between(lower, upper, location, scale, dtype)
        end, direction = (upper, -1.0) if _infinite(lower) else (lower, 1.0)
        distance = unit if location is None else direction * (location - end)
        distances, weights = half_line(self.nodes, distance, one if scale is None else scale / distance, dtype)
        return end + direction * distances, weights

    def _between(self, lower, upper, location, scale, dtype):
        length = jnp.asarray(upper - lower, dtype)
        left = 0.5 * length if location is None else location - lower
        spread = jnp.asarray(2.0, dtype) if scale is None else scale * length / (left * (length - left))
        below, above, weights = interval(self.nodes, length, left, spread, dtype)
        if self.distances:
            return (below + (lower - self.lower), above + (self.upper - upper)), weights
        return lower + below, weights

    def _turn(self, location, scale, dtype):
        period = self.upper - self.lower
        location = jnp.asarray(self.lower, dtype) if location is None else location
        # At a scale of one period the nodes are equally spaced.
        scale = jnp.asarray(period, dtype) if scale is None else scale
        x, weights = circle(self.nodes, location, scale, period, dtype)
        return self.lower + (x - self.lower) % period, weights

    def _on_the_line(self, x):
        """Points as outcomes."""
        return (x - self.lower, self.upper - x) if self.distances else x


def _infinite(end) -> bool:
    return isinstance(end, float) and math.isinf(end)


def _number(value, theta, dtype, name):
    """A location or scale at theta, held constant: nodes do not move under derivatives."""
    if value is None:
        return None
    number = jnp.asarray(value(theta) if callable(value) else value)
    if number.shape != ():
        raise ValueError(f"{name} must be a number or a function of theta returning one, but has shape {number.shape}.")
    return jax.lax.stop_gradient(number.astype(dtype))


def _points(value, theta, dtype) -> list:
    """The breaks at theta, held constant, in order."""
    points = jnp.asarray(value(theta) if callable(value) else value)
    if points.ndim > 1 or points.size == 0:
        raise ValueError(f"breaks must be a number or an array of them, but have shape {points.shape}.")
    return list(jnp.sort(jax.lax.stop_gradient(jnp.ravel(points).astype(dtype))))
