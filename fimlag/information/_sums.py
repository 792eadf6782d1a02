"""Sums over weighted outcomes, in blocks: the arithmetic under every expectation."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact, PyTree

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, LogLikelihood, Outcomes

BLOCK = 8192
"""Outcomes in one block at most: the size at which the scan over blocks is fastest and memory small."""

DENSE_LIMIT = 2**33
"""Bytes that a dense matrix may take."""


def expectation(
    rule, log_likelihood: LogLikelihood, theta: Coordinates, integrand: Callable, enough: Callable | None = None
):
    r"""The sum of `integrand(x, weights)` over the rule's blocks: how every expectation is taken.

    Blocks beyond the first are scanned and rematerialised, so memory does not grow with their number, forward
    or backward.

    **Arguments:** `integrand(x, weights)`: any pytree of sums over ONE block of outcomes `x` with `weights`.
    `enough(sums)`: whether the sums so far suffice; blocks after that are not visited.

    **Returns:** the pytree, summed.
    """

    def part(block):
        return integrand(*rule.outcomes(log_likelihood, theta, block))

    return sum_blocks(part, rule.blocks, enough)


def sum_blocks(part: Callable, blocks: int, enough: Callable | None = None):
    """`part(0) + ... + part(blocks - 1)`, each rematerialised, or as many as are `enough`.

    The parts are pytrees of equal shapes.
    """
    if blocks == 1:
        return part(0)
    rematerialised = jax.checkpoint(part, prevent_cse=False)  # pyright: ignore[reportPrivateImportUsage]

    def added(total, block):
        return jax.tree_util.tree_map(jnp.add, total, rematerialised(block))

    def step(total, block):
        if enough is None:
            return added(total, block), None
        return jax.lax.cond(enough(total), lambda total, _: total, added, total, block), None

    shapes = jax.eval_shape(part, jnp.zeros((), jnp.arange(1).dtype))
    zero = jax.tree_util.tree_map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(step, zero, jnp.arange(blocks))[0]


def sum_over_data(values: Callable, data: PyTree[ArrayLike], block_size: int = BLOCK):
    """The sum over stacked data of `values(block of data)`, a pytree of values stacked likewise."""
    blocks = math.ceil(count_outcomes(data, "data") / block_size)

    def part(block):
        x, inside = take_block(data, blocks, block)
        return jax.tree_util.tree_map(
            lambda leaf: jnp.sum(jnp.where(_column(inside, leaf), leaf, 0.0), axis=0), values(x)
        )

    return sum_blocks(part, blocks)


def sum_over_scores(
    log_likelihood: LogLikelihood,
    vector: Float[Array, " d"],
    structure: Structure,
    labelled: tuple[PyTree[ArrayLike], Array],
    statistic: Callable,
):
    """The sum over blocks of stacked `(data, labels)` of `statistic(scores, labels)`; scores beyond the data are 0."""
    blocks = math.ceil(count_outcomes(labelled, "data") / BLOCK)

    def part(block):
        (x, labels), inside = take_block(labelled, blocks, block)
        scores = jax.vmap(jax.grad(lambda p, x: log_likelihood(structure.unflatten(p), x)), (None, 0))(vector, x)
        return statistic(jnp.where(inside[:, None], scores, 0.0), labels)

    return sum_blocks(part, blocks)


def weighted_by_density(
    log_likelihood: LogLikelihood, theta: Coordinates, x: Outcomes, node_weights: Inexact[Array, " n"]
) -> tuple[Outcomes, Float[Array, " n"]]:
    """Outcomes and their weights `node_weights * exp(log_likelihood)`, differentiable in theta.

    Far in the tails the derivatives of a log-density overflow where its weight has long vanished. An outcome
    whose share is far below round-off is therefore replaced by the heaviest one, with weight exactly 0.
    """
    log_mass = jnp.log(node_weights) + log_likelihoods(log_likelihood, jax.lax.stop_gradient(theta), x)
    log_mass = jax.lax.stop_gradient(jnp.where(jnp.isfinite(log_mass), log_mass, -jnp.inf))
    largest = jnp.max(log_mass)
    # Two plain reductions are several times faster on a CPU than one of pairs, as which argmax is compiled.
    heaviest = jnp.max(jnp.where(log_mass == largest, jnp.arange(log_mass.size), 0))
    live = log_mass > largest + negligible_share(log_mass.dtype)
    live = live | jnp.all(~live)
    x = jax.tree_util.tree_map(lambda leaf: jnp.where(_column(live, leaf), leaf, leaf[heaviest][None]), x)
    density = jnp.exp(log_likelihoods(log_likelihood, theta, x))
    return x, jnp.where(live, node_weights, 0.0) * density


def negligible_share(dtype) -> float:
    """The logarithm of the share of the heaviest outcome's weight below which an outcome is left out."""
    limits = jnp.finfo(dtype)
    # In single precision round-off alone would let x ** -0.5 reach values whose inverse squares overflow.
    return max(1.5 * math.log(limits.eps), 0.23 * math.log(limits.tiny))


def log_likelihoods(log_likelihood: LogLikelihood, theta: Coordinates, x: Outcomes) -> Float[Array, " n"]:
    """The log-likelihood of each outcome stacked along axis 0."""
    values = jax.vmap(log_likelihood, (None, 0))(theta, x)
    if jnp.ndim(values) != 1:
        raise ValueError(
            f"log_likelihood(theta, x) returned an array of shape {jnp.shape(values)[1:]} for one outcome: "
            "write it for ONE observation, returning a scalar."
        )
    return values


def count_outcomes(x: PyTree[ArrayLike], name: str) -> int:
    """The common length of axis 0; a `ValueError` where leaves disagree, have no axis or are empty."""
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree_util.tree_leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        raise ValueError(
            f"{name} must be stacked along axis 0, the same length in every leaf and at least 1, but the "
            f"leaves have shapes {[jnp.shape(leaf) for leaf in jax.tree_util.tree_leaves(x)]}."
        )
    return lengths.pop()[0]


def take_block(x: PyTree[ArrayLike], blocks: int, block) -> tuple[Outcomes, Array]:
    """Block number `block` of `blocks` equal ones, and which of its entries lie inside the data."""
    n = count_outcomes(x, "outcomes")
    x = jax.tree_util.tree_map(jnp.asarray, x)
    if blocks == 1:
        return x, jnp.ones(n, bool)
    size = math.ceil(n / blocks)
    index = jnp.arange(size) + block * size
    return jax.tree_util.tree_map(lambda leaf: leaf[jnp.minimum(index, n - 1)], x), index < n


def dtype_of(theta: Coordinates):
    """The floating-point dtype in which theta is computed with."""
    return flatten(theta, "theta")[0].dtype


def count_blocks(n: int, chunk: int = BLOCK) -> int:
    """How many blocks of at most `chunk` n outcomes fall into."""
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, but is {chunk}.")
    return math.ceil(n / chunk)


def check_dense(vector: Float[Array, " d"]) -> None:
    """A `ValueError` where the (d, d) matrix of these parameters would not fit."""
    size = vector.size**2 * vector.dtype.itemsize
    if size > DENSE_LIMIT:
        raise ValueError(
            f"The dense Fisher matrix of {vector.size} parameters would take {size / 2**30:.0f} GiB. Use "
            "fisher_operator(model, theta) for products, diagonal, damped solves, spectrum and log-determinant, or "
            "fisher_quadratic(model, theta, v) for one squared length."
        )


def _column(live, leaf):
    return jnp.reshape(live, (-1,) + (1,) * (leaf.ndim - 1))
