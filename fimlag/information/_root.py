"""Square roots of the information: what products, spectra and solves are made of."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, LogLikelihood, as_field
from fimlag.information._root_quality import RuleFailures
from fimlag.information._sums import sum_blocks, take_block

FEW_ROWS = 4
"""Rows a parameter that are kept as they are."""

PARCEL = 2**26
"""Bytes of rows that are made together."""


class SquareRoot(eqx.Module):
    r"""Whitened outputs whose Jacobian is a square root of the information at one point.

    $$I(\theta) = \sum_i J_i^\top J_i, \qquad J_i = \partial_\theta\, g(\theta, x_i)$$

    **Attributes:** `of_item(vector, item)`: the outputs g of ONE item, shape (r,); `block(b)`: the items of block b,
    stacked along axis 0; `blocks`: how many blocks; `vector`: the point, flat, shape (d,); `structure`: the caller's;
    `failures(root)`: which of `FAILURES` befell the expectation that the items stand for, None for a closed form.
    Only the derivative of g at the point has a meaning: what g holds beside is frozen there.
    """

    of_item: Callable
    block: Callable
    blocks: int = eqx.field(static=True)
    vector: Float[Array, " d"]
    structure: Structure
    failures: Callable | None = None

    def outputs(self, vector: Float[Array, " d"], items: PyTree[Array]) -> Float[Array, "n r"]:
        """The outputs of each of the items."""
        return jax.vmap(self.of_item, (None, 0))(vector, items)

    def jacobian(self, items: PyTree[Array]) -> Float[Array, "n r d"]:
        """The rows of the root that belong to the items, a matrix for each."""
        outputs = jax.eval_shape(self.outputs, self.vector, items).shape[1]
        derivative = jax.jacrev if outputs < self.vector.size else jax.jacfwd
        return jax.vmap(derivative(self.of_item), (None, 0))(self.vector, items)

    def sum_over_blocks(self, part: Callable):
        """The sum over the blocks of `part(items)`, each rematerialised."""
        return sum_blocks(lambda number: part(self.block(number)), self.blocks)

    def sum_over_rows(self, part: Callable):
        """The sum of `part(rows)` over parcels of rows, shape (m, d), small enough for the memory."""

        def of_block(items):
            return sum_blocks(lambda number: part(self._parcel(items, number)), self._parcels)

        return self.sum_over_blocks(of_block)

    def fold_rows(self, step: Callable, carry):
        """`carry = step(carry, rows)`, parcel after parcel of rows, shape (m, d)."""

        def of_block(carry, number):
            items = self.block(number)
            return jax.lax.scan(lambda c, k: (step(c, self._parcel(items, k)), None), carry, jnp.arange(self._parcels))

        return jax.lax.scan(lambda c, b: (of_block(c, b)[0], None), carry, jnp.arange(self.blocks))[0]

    def stored_rows(self) -> Float[Array, "rows d"]:
        """All rows together, those of weight 0 in the last block included."""
        return jnp.reshape(self.map_blocks(self.jacobian), (-1, self.vector.size))

    def map_blocks(self, function: Callable):
        """`function(items)` of each block, stacked along axis 0."""
        if self.blocks == 1:
            return jax.tree_util.tree_map(lambda leaf: leaf[None], function(self.block(0)))
        return jax.lax.map(lambda number: function(self.block(number)), jnp.arange(self.blocks))

    def quadratic(self, direction: Float[Array, " d"]) -> Float[Array, ""]:
        """The squared length of a direction, $|J v|^2$."""

        def part(items):
            along = jax.jvp(lambda vector: self.outputs(vector, items), (self.vector,), (direction,))[1]
            return jnp.sum(along**2)

        return self.sum_over_blocks(part)

    @property
    def rows(self) -> int:
        """The number of rows, those of weight 0 in the last block included."""
        items = jax.eval_shape(self.block, 0)
        shape = jax.eval_shape(self.outputs, self.vector, items).shape
        return self.blocks * shape[0] * shape[1]

    @property
    def _parcels(self) -> int:
        """Parcels that the rows of one block are made in."""
        items = jax.tree_util.tree_leaves(jax.eval_shape(self.block, 0))[0].shape[0]
        size = self.rows // self.blocks * self.vector.size * self.vector.dtype.itemsize
        return min(items, math.ceil(size / PARCEL))

    def _parcel(self, items, number) -> Float[Array, "m d"]:
        chosen, inside = take_block(items, self._parcels, number)
        rows = jnp.where(inside[:, None, None], self.jacobian(chosen), 0.0)
        return jnp.reshape(rows, (-1, self.vector.size))


def root_over(rule, log_likelihood: LogLikelihood, theta: Coordinates) -> SquareRoot:
    """The root of a density: each weighted outcome brings the row $\\sqrt{w}\\, s$."""
    vector, structure = flatten(theta, "theta")
    point = structure.unflatten(vector)
    return SquareRoot(
        of_item=_WeightedLikelihood(log_likelihood, structure),
        block=_WeightedOutcomes(rule, log_likelihood, point),
        blocks=rule.blocks,
        vector=vector,
        structure=structure,
        failures=RuleFailures(rule),
    )


def single_item(of_item: Callable, item: PyTree[Array], vector: Float[Array, " d"], structure: Structure) -> SquareRoot:
    """The root of outputs that come from one item alone."""
    return SquareRoot(as_field(of_item), _Alone(item), 1, vector, structure)


def factored_root(factor: Float[Array, "d r"], vector: Float[Array, " d"], structure: Structure) -> SquareRoot:
    """The root of a matrix given as $R R^\\top$: the r rows of $R^\\top$."""
    return single_item(_transposed_times, factor, vector, structure)


def dense_factor(roots: tuple[SquareRoot, ...]) -> Float[Array, "d r"]:
    """A factor R of the information of FEW parameters, $R R^\\top$: the rows themselves, or d made from many."""
    rows = [root.stored_rows() for root in roots]
    size = roots[0].vector.size
    if sum(block.shape[0] for block in rows) <= FEW_ROWS * size:
        return jnp.concatenate(rows).T
    return cholesky_root(sum((block.T @ block for block in rows), start=jnp.zeros((size, size), rows[0].dtype)))


def cholesky_root(information: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The factor R of a positive definite matrix $R R^\\top$; NaN where it is not."""
    if information.shape[0] > 2:
        return jnp.linalg.cholesky(information)
    # A call of LAPACK would cost more than the whole factor.
    first = _root_of_pivot(information[0, 0])
    if information.shape[0] == 1:
        return jnp.reshape(first, (1, 1))
    below = information[1, 0] / first
    last = _root_of_pivot(information[1, 1] - below**2)
    return jnp.stack([jnp.stack([first, jnp.zeros_like(first)]), jnp.stack([below, last])])


def _root_of_pivot(pivot):
    return jnp.sqrt(jnp.where(pivot > 0.0, pivot, jnp.nan))


class _WeightedLikelihood(eqx.Module):
    log_likelihood: Callable
    structure: Structure

    def __call__(self, vector, item):
        x, root_weight = item
        return jnp.reshape(root_weight * self.log_likelihood(self.structure.unflatten(vector), x), (1,))


class _WeightedOutcomes(eqx.Module):
    rule: Any
    log_likelihood: Callable
    theta: Coordinates

    def __call__(self, number):
        x, weights = self.rule.outcomes(self.log_likelihood, self.theta, number)
        # Compared this way round, a weight that is NaN stays NaN.
        none = weights <= 0.0
        return x, jnp.where(none, 0.0, jnp.sqrt(jnp.where(none, 1.0, weights)))


class _Alone(eqx.Module):
    """The only block of a root of one item."""

    item: PyTree[Array]

    def __call__(self, number):
        return jax.tree_util.tree_map(lambda leaf: leaf[None], self.item)


def _transposed_times(vector, factor):
    return factor.T @ vector
