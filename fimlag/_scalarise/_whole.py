"""Equations on whole arrays, and how a loop that a CPU runs as one function computes them."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from fimlag._scalarise._arrays import ELEMENTWISE, MOVES

_LARGEST = 2048  # entries: with some more, a library computes sums, and with many, threads share what is elementwise
_NARROW = 8  # rows or columns of a contraction that is written as so many products of a matrix and a vector
_WRITTEN = {
    *ELEMENTWISE,
    *MOVES,
    "argmax",
    "argmin",
    "copy",
    "dynamic_slice",
    "gather",
    "platform_index",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_prod",
    "reduce_sum",
}


class Whole:
    """An equation on whole arrays, left as it is; equal equations are one operation."""

    outside = ()

    def __init__(self, equation):
        self.equation = equation
        self._key = equation.primitive, tuple(sorted(equation.params.items()))

    def __eq__(self, other):
        return self is other or (isinstance(other, Whole) and self._key == other._key)

    def __hash__(self):
        try:
            return hash(self._key)
        except TypeError:  # it has an array or the like among its parameters
            return id(self)

    def __call__(self, *values):
        primitive, params = self.equation.primitive, self.equation.params
        made = primitive.bind(*map(jnp.asarray, values), **primitive.get_bind_params(params))
        return made if primitive.multiple_results else [made]

    @property
    def written(self) -> Callable | None:
        """The equation as the compiler writes it out for one thread, None where it calls a library."""
        name, avals = self.equation.primitive.name, self._avals
        if any(math.prod(aval.shape) > _LARGEST for aval in avals):
            return None
        plain = all(aval.dtype == avals[0].dtype and aval.dtype in (np.float32, np.float64) for aval in avals)
        if name == "dot_general" and plain:
            return self._contraction
        if name == "reduce_sum" and plain and avals[-1].shape == ():
            return _sum
        return self if name in _WRITTEN else None

    @property
    def _avals(self) -> list:
        return [atom.aval for atom in (*self.equation.invars, *self.equation.outvars)]

    @property
    def _contraction(self) -> Callable | None:
        """A contraction as products of matrices and vectors, None where these are many."""
        over, batch = self.equation.params["dimension_numbers"]
        *factors, product = self._avals
        shared = math.prod(factors[0].shape[axis] for axis in batch[0])
        length = math.prod(factors[0].shape[axis] for axis in over[0])
        if 0 in (shared, length, product.size):
            return None
        rows, columns = (factor.size // (shared * length) for factor in factors)
        if shared * min(rows, columns) > _NARROW:
            return None

        def contracted(left, right):
            left, right = (_matrices(*each, length) for each in zip((left, right), batch, over, strict=True))
            if rows < columns:
                made = [b @ row for a, b in zip(left, right, strict=True) for row in a]
            else:
                made = [jnp.stack([a @ column for column in b], axis=1) for a, b in zip(left, right, strict=True)]
            return [jnp.stack(made).reshape(product.shape)]

        return contracted


def _matrices(array, batch, over, length):
    """One matrix for each place on the shared axes, its rows to be contracted."""
    free = [axis for axis in range(array.ndim) if axis not in batch and axis not in over]
    shared = math.prod(array.shape[axis] for axis in batch)
    return jnp.transpose(array, (*batch, *free, *over)).reshape(shared, -1, length)


def _sum(array):
    """The sum of all entries as a product, which is compiled faster than a sum."""
    entries = jnp.ravel(array)
    return [entries @ jnp.ones_like(entries)]
