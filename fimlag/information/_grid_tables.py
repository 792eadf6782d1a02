"""Orthonormal functions on reference intervals: their values and slopes at the nodes of a quadrature, in numpy."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


class Table(NamedTuple):
    """A quadrature and a nested orthonormal basis on a reference interval.

    `points`, `weights` (n,); `basis` (n, size): functions times the root of the weights; `slopes` (n, size): the same
    of their derivatives; `tail` (n, k): functions of the highest degrees that the nodes tell apart, all above five
    quarters of the basis; `ends` (k, size): derivatives at the ends where the line is cut; `coarse`: how many of the
    functions, the first ones, are the basis of three quarters of the degree.
    """

    points: np.ndarray
    weights: np.ndarray
    basis: np.ndarray
    slopes: np.ndarray
    tail: np.ndarray
    ends: np.ndarray
    coarse: int


class Recurrence(NamedTuple):
    r"""Orthonormal functions $\phi_{k+1} = (a_k x + b_k) \phi_k - c_k \phi_{k-1}$, one row of (a, b, c) a step."""

    first: Callable
    steps: np.ndarray

    def at(self, x: Float[Array, ""]) -> Float[Array, " size"]:
        """The functions at a point, those of a negative index being zero."""

        def step(pair, coefficients):
            before, now = pair
            a, b, c = coefficients
            return (now, (a * x + b) * now - c * before), now

        first = self.first(jnp, x)
        return lax.scan(step, (jnp.zeros_like(first), first), jnp.asarray(self.steps, x.dtype))[1]

    def table(self, x: np.ndarray, slope_of_first) -> tuple[np.ndarray, np.ndarray]:
        """Functions and derivatives at many points, shape (points, size)."""
        values, slopes = [self.first(np, x)], [slope_of_first(x)]
        for k, (a, b, c) in enumerate(self.steps[:-1]):
            before, slope_before = (values[k - 1], slopes[k - 1]) if k else (0.0 * x, 0.0 * x)
            values.append((a * x + b) * values[k] - c * before)
            slopes.append(a * values[k] + (a * x + b) * slopes[k] - c * slope_before)
        return np.stack(values, axis=1), np.stack(slopes, axis=1)


def hermite_functions(size: int) -> Recurrence:
    r"""Hermite functions, $\pi^{-1/4} e^{-x^2/2}$ the first."""
    k = np.arange(size)
    steps = np.stack([np.sqrt(2.0 / (k + 1)), 0.0 * k, np.sqrt(k / (k + 1))], axis=1)
    return Recurrence(lambda lib, x: np.pi**-0.25 * lib.exp(-0.5 * x * x), steps)


def laguerre_functions(size: int, power: int) -> Recurrence:
    r"""Laguerre functions $x^{\alpha/2} e^{-x/2} L_k^{(\alpha)}(x)$, normalised, for the power 0 or 2."""
    k = np.arange(size)
    root = np.sqrt((k + 1) * (k + 1 + power))
    steps = np.stack([-1.0 / root, (2 * k + 1 + power) / root, np.sqrt(k * (k + power)) / root], axis=1)
    scale = 2.0**-0.5 if power else 1.0
    return Recurrence(lambda lib, x: scale * x ** (power // 2) * lib.exp(-0.5 * x), steps)


def legendre_functions(size: int) -> Recurrence:
    """Legendre polynomials, normalised on (-1, 1)."""
    k = np.arange(size)
    norm = np.sqrt(2 * k + 3.0)
    steps = np.stack(
        [norm * np.sqrt(2 * k + 1.0) / (k + 1), 0.0 * k, k / (k + 1) * norm / np.sqrt(np.maximum(2 * k - 1, 1))], axis=1
    )
    return Recurrence(lambda lib, x: 0.5**0.5 + 0.0 * x, steps)


def _gauss(diagonal, beside, functions: Recurrence, slope_of_first) -> tuple[np.ndarray, np.ndarray]:
    """Nodes from a Jacobi matrix, sharpened by Newton's method, and Christoffel's weights for plain integrals."""
    x = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    for _ in range(2):
        values, slopes = functions.table(x, slope_of_first)
        x = x - values[:, -1] / slopes[:, -1]
    values, _ = functions.table(x, slope_of_first)
    return x, 1.0 / np.sum(values[:, :-1] ** 2, axis=1)


@functools.lru_cache(maxsize=32)
def line_table(size: int) -> Table:
    """Hermite functions with their Gauss rule."""
    count = size + size // 2 + 8

    def slope(x):
        return -x * np.pi**-0.25 * np.exp(-0.5 * x * x)

    beside = np.sqrt(np.arange(1, count) / 2.0)
    x, weights = _gauss(np.zeros(count), beside, hermite_functions(count + 1), slope)
    values, slopes = hermite_functions(count).table(x, slope)
    tail = values[:, 5 * size // 4 :]
    return _weighted(x, weights, values[:, :size], slopes[:, :size], tail, np.zeros((0, size)), 3 * size // 4)


@functools.lru_cache(maxsize=32)
def half_line_table(size: int) -> Table:
    """Laguerre functions that vanish at the end, and a Gauss rule that is exact for them over x and over x squared."""
    count = size + size // 2 + 8
    k = np.arange(count)
    x, weights = _gauss(
        2.0 * k + 1.0, k[1:].astype(float), laguerre_functions(count + 1, 0), lambda x: -0.5 * np.exp(-0.5 * x)
    )
    values, slopes = laguerre_functions(size, 2).table(x, lambda x: 0.5**0.5 * (1.0 - 0.5 * x) * np.exp(-0.5 * x))
    # A potential 1 / x leaves functions that do not vanish at the wall, which the rule integrates as well.
    tail = laguerre_functions(count, 0).table(x, lambda x: -0.5 * np.exp(-0.5 * x))[0][:, 5 * size // 4 :]
    return _weighted(x, weights, values, slopes, tail, np.zeros((0, size)), 3 * size // 4)


@functools.lru_cache(maxsize=32)
def circle_table(size: int) -> Table:
    """Sines and cosines of period 1 at equally spaced points."""
    count = 2 * size
    x = np.arange(count) / count
    turns = 2.0 * np.pi * np.arange(1, size)
    cosine, sine = (2.0**0.5 * f(x[:, None] * turns) for f in (np.cos, np.sin))
    values = np.concatenate([np.ones((count, 1)), _interleaved(cosine, sine)], axis=1)
    slopes = np.concatenate([np.zeros((count, 1)), _interleaved(-turns * sine, turns * cosine)], axis=1)
    weights, tail = np.full(count, 1.0 / count), values[:, 5 * size // 4 :]
    coarse = 3 * (size // 2) // 4 * 2 + 1
    return _weighted(x, weights, values[:, :size], slopes[:, :size], tail, np.zeros((0, size)), coarse)


def _interleaved(first, second):
    return np.stack([first, second], axis=2).reshape(first.shape[0], -1)


def _weighted(x, weights, values, slopes, tail, ends, coarse) -> Table:
    root = np.sqrt(weights)[:, None]
    return Table(x, weights, root * values, root * slopes, root * tail, ends, max(coarse, 1))


@functools.lru_cache(maxsize=32)
def pieces_table(size: int, breaks: tuple[float, ...], ends: tuple[str, str]) -> tuple[Table, np.ndarray]:
    """Continuous piecewise polynomials on (0, 1), and their coordinates in normalised Legendre polynomials.

    The functions are made orthonormal in the order of their degree, so that those of a lower degree come first.
    """
    edges = np.array([0.0, *breaks, 1.0])
    hats, bubbles = _hats(edges, size, ends), _bubbles(edges, size)
    raw = np.concatenate([hats, bubbles], axis=1)
    transform = np.linalg.qr(raw)[0]
    coarse = hats.shape[1] + (edges.size - 1) * max(3 * size // 4, 1)

    nodes, weights = np.polynomial.legendre.leggauss(size + size // 2 + 8)
    values, slopes = legendre_functions(nodes.size).table(nodes, lambda x: 0.0 * x)
    lengths = np.diff(edges)
    x = (edges[:-1, None] + 0.5 * lengths[:, None] * (nodes + 1.0)).ravel()
    weight = (0.5 * lengths[:, None] * weights).ravel()
    used, last = slice(size + 2), slice(5 * (size + 2) // 4, None)
    all_values = _block_diagonal([values[:, used] * (2.0 / length) ** 0.5 for length in lengths])
    all_slopes = _block_diagonal([slopes[:, used] * (2.0 / length) ** 1.5 for length in lengths])
    tail = _block_diagonal([values[:, last] * (2.0 / length) ** 0.5 for length in lengths])
    cut = _slopes_at_cuts(lengths, size, ends) @ transform
    return _weighted(x, weight, all_values @ transform, all_slopes @ transform, tail, cut, coarse), transform


def _bubbles(edges, size):
    """Differences of Legendre polynomials two degrees apart: they vanish at both ends of their piece."""
    pieces, degrees = edges.size - 1, size + 2
    columns = []
    for k in range(size):
        for piece in range(pieces):
            column = np.zeros((pieces, degrees))
            column[piece, k], column[piece, k + 2] = -1.0 / (2 * k + 1) ** 0.5, 1.0 / (2 * k + 5) ** 0.5
            columns.append(column.ravel())
    return np.stack(columns, axis=1)


def _hats(edges, size, ends):
    """Piecewise linear functions that are one at a break or at a free end."""
    pieces, degrees = edges.size - 1, size + 2
    lengths = np.diff(edges)
    nodes = list(range(1, pieces)) + [node for node, end in zip((0, pieces), ends, strict=True) if end == "free"]
    columns = np.zeros((len(nodes), pieces, degrees))
    for column, node in zip(columns, nodes, strict=True):
        for piece, sign in ((node - 1, 1.0), (node, -1.0)):
            if 0 <= piece < pieces:
                root = lengths[piece] ** 0.5
                column[piece, :2] = 0.5 * root, 0.5 * sign * root / 3.0**0.5
    return columns.reshape(len(nodes), pieces * degrees).T


def _slopes_at_cuts(lengths, size, ends):
    k = np.arange(size + 2)
    slope = np.sqrt(k + 0.5) * k * (k + 1) / 2.0
    rows = []
    for piece, sign, end in ((0, (-1.0) ** (k + 1), ends[0]), (len(lengths) - 1, 1.0 + 0.0 * k, ends[1])):
        if end == "cut":
            row = np.zeros((len(lengths), size + 2))
            row[piece] = sign * slope * (2.0 / lengths[piece]) ** 1.5
            rows.append(row.ravel())
    return np.stack(rows) if rows else np.zeros((0, len(lengths) * (size + 2)))


def _block_diagonal(blocks):
    rows, columns = blocks[0].shape
    whole = np.zeros((len(blocks) * rows, len(blocks) * columns))
    for i, block in enumerate(blocks):
        whole[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = block
    return whole
