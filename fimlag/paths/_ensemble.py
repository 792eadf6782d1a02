"""Batches of boundary-value problems: members side by side in lanes, in blocks that do not wait for one another."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree

from fimlag.paths._discrete_action import DiscreteAction, Unknowns

_LANES = 8, 32
"""Members solved together: enough to fill vector registers, few enough to stay in the cache."""
_ELEMENTS = 256
"""Elements of all members together that stay in the cache."""


def over_members(solve: Callable, problem: DiscreteAction, y: Unknowns) -> PyTree[Array]:
    """`solve(problem, y)`, called once with a lane for each member of all surrounding `vmap`s.

    **Arguments:** `solve`: takes a problem of any number of lanes and returns a pytree of arrays with lanes on the last
    axis; `problem`, `y`: of one lane, and not differentiated.
    """
    arrays, rest = eqx.partition(problem, eqx.is_array)
    leaves, treedef = jax.tree_util.tree_flatten((arrays, y))
    of_functionals = len(jax.tree_util.tree_leaves(arrays.functionals))

    def with_lanes(leaves, shared):
        arrays, y = jax.tree_util.tree_unflatten(treedef, leaves)
        return solve(replace(eqx.combine(arrays, rest), shared=shared), y)

    return _merging(with_lanes, leaves, (True,) * of_functionals)


def in_blocks(
    solve: Callable,
    problem: DiscreteAction,
    y: Unknowns,
    previous: PyTree[Array],
    needed: Bool[Array, " n"],
    elements: int,
) -> PyTree[Array]:
    """`solve(problem, y, previous, needed)` by blocks of lanes alike in difficulty, those that need nothing last.

    **Arguments:** `solve`: keeps `previous` in the lanes that are not `needed`; every array has lanes on its last axis;
    `elements`: those of a path.
    """

    def where_needed(problem, y, previous, needed):
        return lax.cond(jnp.any(needed), lambda: solve(problem, y, previous, needed), lambda: previous)

    count, lanes = needed.shape[0], _lanes_of(elements)
    if count <= lanes:
        return where_needed(problem, y, previous, needed)
    blocks = -(-count // lanes)
    difficulty = jnp.where(needed, problem.values(y), -jnp.inf)
    order = jnp.argsort(difficulty)[::-1][jnp.minimum(jnp.arange(blocks * lanes), count - 1)]

    def block(index):
        def taken(tree):
            return jax.tree_util.tree_map(lambda x: x[..., index], tree)

        return where_needed(problem.take(index), taken(y), taken(previous), needed[index])

    solved = lax.map(block, order.reshape(blocks, lanes))

    def replaced(old, new):
        return old.at[..., order].set(jnp.moveaxis(new, 0, -2).reshape(*old.shape[:-1], order.size))

    return jax.tree_util.tree_map(replaced, previous, solved)


def _lanes_of(elements: int) -> int:
    """How many members are solved together, by the elements of each."""
    fewest, most = _LANES
    return min(max(_ELEMENTS // elements, fewest), most)


def _merging(with_lanes: Callable, leaves, shared: tuple[bool, ...]):
    """`with_lanes(leaves, shared)` as a function that a `vmap` turns into a call with more lanes.

    The first leaves are those of the functionals, `shared` by the lanes or with lanes on axis 0; the others have lanes
    on their last axis.
    """

    @jax.custom_batching.custom_vmap
    def call(*leaves):
        return with_lanes(leaves, shared)

    @call.def_vmap
    def rule(size, batched, *leaves):
        lanes = leaves[-1].shape[-1]
        first = len(shared)
        kept = tuple(common and not own for common, own in zip(shared, batched[:first], strict=True))
        merged = [
            leaf if keep else _on_first_axis(leaf, own, common, size, lanes)
            for leaf, own, common, keep in zip(leaves[:first], batched[:first], shared, kept, strict=True)
        ]
        merged += [_on_last_axis(leaf, own, size) for leaf, own in zip(leaves[first:], batched[first:], strict=True)]
        results = _merging(with_lanes, merged, kept)
        split = jax.tree_util.tree_map(lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], size, lanes), -2, 0), results)
        return split, jax.tree_util.tree_map(lambda _: True, split)

    return call(*leaves)


def _on_first_axis(leaf, batched, common, size, lanes):
    """An array of the functionals with the lanes of the whole batch on axis 0."""
    if common:
        return jnp.repeat(leaf, lanes, axis=0)
    if not batched:
        leaf = jnp.broadcast_to(leaf[None], (size, *leaf.shape))
    return leaf.reshape(size * lanes, *leaf.shape[2:])


def _on_last_axis(leaf, batched, size):
    """Any other array with the lanes of the whole batch on its last axis."""
    leaf = leaf if batched else jnp.broadcast_to(leaf[None], (size, *leaf.shape))
    leaf = jnp.moveaxis(leaf, 0, -2)
    return leaf.reshape(*leaf.shape[:-2], size * leaf.shape[-1])
