"""Grids on which densities live: the nodes of a quadrature, and orthonormal functions that resolve an amplitude."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.information._grid_tables import (
    Table,
    circle_table,
    half_line_table,
    hermite_functions,
    laguerre_functions,
    legendre_functions,
    line_table,
    pieces_table,
)


class AbstractGrid(eqx.Module):
    """What densities are computed on: a line, half-line, interval, circle, or a product of them."""

    @property
    @abstractmethod
    def axes(self) -> tuple["AbstractAxis", ...]:
        """The one-dimensional grids of which this one is the product."""

    @property
    @abstractmethod
    def points(self) -> Float[Array, "..."]:
        """The nodes: shape (n,) in one dimension, (n1, ..., nd, d) in d."""

    @property
    def weights(self) -> Float[Array, "..."]:
        """The weights of the nodes, shape (n1, ..., nd): an integral is the sum of values times weights."""
        weights = jnp.ones((), self.dtype)
        for axis in self.axes:
            weights = weights[..., None] * axis.node_weights.reshape((1,) * weights.ndim + (-1,))
        return weights

    @property
    def dtype(self) -> np.dtype:
        """The precision that the ends, location and scale were given in."""
        return jnp.result_type(*[axis.unit for axis in self.axes])


class AbstractAxis(AbstractGrid):
    """One dimension: a reference table, moved and scaled."""

    origin: eqx.AbstractVar[Float[Array, ""]]
    unit: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abstractmethod
    def table(self) -> Table:
        """Nodes and functions on the reference interval, in numpy."""

    @abstractmethod
    def reference_functions(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """The functions at a point of the reference interval, 0 outside it."""

    @property
    def axes(self) -> tuple["AbstractAxis", ...]:
        """The grid itself."""
        return (self,)

    @property
    def points(self) -> Float[Array, " n"]:
        """The nodes, shape (n,)."""
        return self.origin + self.unit * jnp.asarray(self.table.points, self.unit.dtype)

    @property
    def node_weights(self) -> Float[Array, " n"]:
        """The weights of the nodes."""
        return self.unit * jnp.asarray(self.table.weights, self.unit.dtype)

    @property
    def basis(self) -> Float[Array, "n size"]:
        """The functions at the nodes, times the root of the weights: orthonormal columns."""
        return jnp.asarray(self.table.basis, self.unit.dtype)

    @property
    def slopes(self) -> Float[Array, "n size"]:
        """The derivatives of the functions at the nodes, times the root of the weights."""
        return jnp.asarray(self.table.slopes, self.unit.dtype) / self.unit

    @property
    def ends(self) -> Float[Array, "k size"]:
        """The derivatives at the ends where the line is cut, times the root of the length."""
        return jnp.asarray(self.table.ends, self.unit.dtype) / self.unit

    def functions(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """The functions at any point."""
        return self.reference_functions((x - self.origin) / self.unit) / jnp.sqrt(self.unit)


class LineGrid(AbstractAxis):
    r"""The line, by Hermite functions.

    $$\phi_k(x) \propto H_k(u)\, e^{-u^2 / 2}, \qquad u = \frac{x - \mathtt{location}}{\sqrt2\, \mathtt{scale}}$$

    The amplitude of a normal density with this location and standard deviation is the first function. Amplitudes
    that are smooth and fall off like Gaussians or exponentials are met with all digits as `size` grows; of heavier
    tails the certificates say that they are not. For a kink use an `IntervalGrid` with a break there.

    **Arguments:** `location`, `scale`: of the densities meant, as numbers or arrays of shape (); `size`: the number of
    functions. There are about half as many nodes again.

    **Raises:** `ValueError` for a scale that is not positive, or a size below 4 or above 400.

    **Reference:** Boyd (2001), chapter 17.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> grid = fl.LineGrid(size=32)
    >>> print(jnp.round(jnp.sum(grid.weights * jnp.exp(-(grid.points**2))) ** 2, 9))
    3.141592654

    ```
    """

    origin: Float[Array, ""]
    unit: Float[Array, ""]
    size: int = eqx.field(static=True)

    def __init__(self, location: RealScalarLike = 0.0, scale: RealScalarLike = 1.0, size: int = 64):
        _check_size(size)
        self.origin, unit = _floats(location, scale)
        self.unit, self.size = _positive(unit, "scale") * math.sqrt(2.0), size

    @property
    def table(self) -> Table:
        """Hermite functions."""
        return line_table(self.size)

    def reference_functions(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """Hermite functions at a point."""
        return hermite_functions(self.size).at(x)


class HalfLineGrid(AbstractAxis):
    r"""A half-line from a wall on to infinity, by Laguerre functions: the amplitude vanishes at the wall.

    $$\phi_k(x) \propto u\, e^{-u / 2} L_k^{(2)}(u), \qquad u = \frac{x - \mathtt{wall}}{\mathtt{scale}}$$

    **Arguments:** `wall`: the end, a number; `scale`: the length u = 1, a number: an amplitude that falls off like
    $e^{-x / 2 s}$, as that of a gamma density of scale s, wants this scale; `size`: the number of functions.

    **Raises:** `ValueError` for a scale that is not positive, or a size below 4 or above 400.

    **Reference:** Boyd (2001), section 17.4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def gamma(x): return 0.5 * x**2 * jnp.exp(-x)                      # J = 1 / (k - 2) for the shape k = 3
    >>> print(jnp.round(fl.fisher_functional(gamma, fl.HalfLineGrid()), 9))
    1.0

    ```
    """

    origin: Float[Array, ""]
    unit: Float[Array, ""]
    size: int = eqx.field(static=True)

    def __init__(self, wall: RealScalarLike = 0.0, scale: RealScalarLike = 1.0, size: int = 64):
        _check_size(size)
        self.origin, unit = _floats(wall, scale)
        self.unit, self.size = _positive(unit, "scale"), size

    @property
    def table(self) -> Table:
        """Laguerre functions."""
        return half_line_table(self.size)

    def reference_functions(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """Laguerre functions at a point, 0 behind the wall."""
        inside = x > 0.0
        return jnp.where(inside, laguerre_functions(self.size, 2).at(jnp.where(inside, x, 1.0)), 0.0)


class IntervalGrid(AbstractAxis):
    r"""An interval, by continuous piecewise polynomials in the order of their degree.

    $$\phi_k \in C[a, b], \quad \phi_k \text{ a polynomial of degree at most } \mathtt{size} + 1
    \text{ between the breaks}$$

    **Arguments:** `lower`, `upper`: the ends, finite numbers. `size`: the number of functions on each piece. `breaks`:
    points inside where the amplitude or the potential may have a kink or a jump, numbers. `ends`: what becomes of the
    amplitude there, one word for both or a pair:
    `"wall"`: it vanishes, since the density is confined; `"cut"`: it vanishes because the line is cut off there, and
    a slope left at the end is reported as a failure; `"free"`: nothing is asked, and nothing beyond the end is
    counted.

    **Raises:** `ValueError` for ends out of order, breaks outside them, another word, or a size below 4 or above 400;
    `TypeError` for breaks of an interval with traced ends.

    **Reference:** Szabo & Babuska (1991), chapter 6 (the hierarchic functions).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> grid = fl.IntervalGrid(-1.0, 1.0, size=24)
    >>> print(jnp.round(fl.fisher_functional(lambda x: jnp.cos(jnp.pi * x / 2) ** 2, grid), 9))   # pi squared
    9.869604401

    ```
    """

    origin: Float[Array, ""]
    unit: Float[Array, ""]
    size: int = eqx.field(static=True)
    breaks: tuple[float, ...] = eqx.field(static=True)
    ends_kept: tuple[str, str] = eqx.field(static=True)

    def __init__(
        self,
        lower: RealScalarLike,
        upper: RealScalarLike,
        size: int = 64,
        breaks: Sequence[float] = (),
        ends: str | tuple[str, str] = "wall",
    ):
        _check_size(size)
        self.origin, upper = _floats(lower, upper)
        self.unit, self.size = _positive(upper - self.origin, "upper less lower"), size
        self.ends_kept = (ends, ends) if isinstance(ends, str) else ends
        if not set(self.ends_kept) <= {"wall", "cut", "free"}:
            raise ValueError(f"ends must be 'wall', 'cut' or 'free', or a pair of them, but are {ends}.")
        self.breaks = _fractions(breaks, self.origin, self.unit) if breaks else ()

    @property
    def table(self) -> Table:
        """Piecewise polynomials."""
        return pieces_table(self.size, self.breaks, self.ends_kept)[0]

    def reference_functions(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """Piecewise polynomials at a point, 0 outside the interval."""
        transform = pieces_table(self.size, self.breaks, self.ends_kept)[1]
        edges = jnp.asarray([0.0, *self.breaks, 1.0], x.dtype)
        piece = jnp.sum(x >= edges[1:-1])
        length = edges[piece + 1] - edges[piece]
        local = 2.0 * (x - edges[piece]) / length - 1.0
        inside = (x >= 0.0) & (x <= 1.0)
        powers = legendre_functions(self.size + 2).at(jnp.where(inside, local, 0.0)) * jnp.sqrt(2.0 / length)
        blocks = jnp.asarray(transform, x.dtype).reshape(edges.size - 1, self.size + 2, -1)
        return jnp.where(inside, powers @ blocks[piece], 0.0)


class CircleGrid(AbstractAxis):
    r"""A circle, by sines and cosines.

    $$\phi_k \in \big\{1, \cos\tfrac{2 \pi j (x - \mathtt{lower})}{\mathtt{period}},
    \sin\tfrac{2 \pi j (x - \mathtt{lower})}{\mathtt{period}}\big\}$$

    **Arguments:** `lower`: where the nodes begin, a number; `period`: one turn; `size`: the number of functions, odd.

    **Raises:** `ValueError` for a period that is not positive, or a size that is even, below 4 or above 400.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def density(x): return (1.0 + jnp.cos(x)) ** 2 / (3.0 * jnp.pi)    # J = 4/3
    >>> print(f"{fl.fisher_functional(density, fl.CircleGrid()):.9f}")
    1.333333333

    ```
    """

    origin: Float[Array, ""]
    unit: Float[Array, ""]
    size: int = eqx.field(static=True)

    def __init__(self, lower: RealScalarLike = 0.0, period: RealScalarLike = 2.0 * math.pi, size: int = 65):
        _check_size(size)
        if size % 2 == 0:
            raise ValueError(f"size must be odd, a constant with pairs of sines and cosines, but is {size}.")
        self.origin, unit = _floats(lower, period)
        self.unit, self.size = _positive(unit, "period"), size

    @property
    def table(self) -> Table:
        """Sines and cosines."""
        return circle_table(self.size)

    def reference_functions(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """Sines and cosines at a point."""
        angles = 2.0 * math.pi * x * jnp.arange(1, self.size // 2 + 1, dtype=x.dtype)
        pairs = math.sqrt(2.0) * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
        return jnp.concatenate([jnp.ones(1, x.dtype), pairs.reshape(-1)])


class ProductGrid(AbstractGrid):
    r"""The product of one-dimensional grids.

    $$\phi_{k_1 \dots k_d}(x) = \phi_{k_1}(x_1) \cdots \phi_{k_d}(x_d)$$

    **Arguments:** `axes`: the grids of the coordinates, in order, of one precision.

    **Raises:** `ValueError` for no axis, or more than three; `TypeError` for an axis that is no one-dimensional grid.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> grid = fl.ProductGrid(fl.LineGrid(size=16), fl.LineGrid(size=16))
    >>> print(grid.points.shape, grid.weights.shape)
    (32, 32, 2) (32, 32)

    ```
    """

    factors: tuple[AbstractAxis, ...]

    def __init__(self, *axes: AbstractGrid):
        if not 1 <= len(axes) <= 3:
            raise ValueError(f"A product of one to three grids was expected, but {len(axes)} came.")
        for axis in axes:
            if not isinstance(axis, AbstractAxis):
                raise TypeError(f"Each axis must be a one-dimensional grid, but {type(axis).__name__} came.")
        self.factors = axes  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def axes(self) -> tuple[AbstractAxis, ...]:
        """The grids of the coordinates."""
        return self.factors

    @property
    def points(self) -> Float[Array, "..."]:
        """The nodes, shape (n1, ..., nd, d)."""
        return jnp.stack(jnp.meshgrid(*[axis.points for axis in self.factors], indexing="ij"), axis=-1)


def _check_size(size):
    if not 4 <= size <= 400:
        raise ValueError(f"size must be from 4 to 400, but is {size}.")


def _floats(*numbers):
    """Numbers as arrays of one floating precision, that of the arrays among them."""
    arrays = [number for number in numbers if hasattr(number, "dtype")]
    dtype = jnp.result_type(*arrays, 1.0) if arrays else jnp.result_type(float)
    return tuple(jnp.asarray(number, dtype) for number in numbers)


def _positive(number, name):
    """The number, NaN where it is traced and not positive, so that the failure is seen."""
    if not isinstance(number, Tracer) and not 0.0 < float(number) < math.inf:
        raise ValueError(f"{name} must be positive and finite, but is {number}.")
    return jnp.where(number > 0.0, number, jnp.nan)


def _fractions(breaks, origin, unit):
    """Breaks as fractions of the interval."""
    if isinstance(origin, Tracer) or isinstance(unit, Tracer):
        raise TypeError("An interval with breaks needs ends that are not traced: make it outside `jit` or `grad`.")
    fractions = sorted((float(point) - float(origin)) / float(unit) for point in breaks)
    if not 0.0 < fractions[0] <= fractions[-1] < 1.0 or len(set(fractions)) < len(fractions):
        raise ValueError(f"breaks must be different points inside the interval, but are {breaks}.")
    return tuple(fractions)
