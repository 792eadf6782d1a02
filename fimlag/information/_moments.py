"""Weighted sums over the outcomes of a rule: scores, their Gram matrix, and what their errors need."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import Structure
from fimlag._types import LogLikelihood
from fimlag.information._sums import expectation, log_likelihoods

SMALLEST_SAMPLE = 100
"""Outcomes below which a standard error is too rough to judge by."""


class Moments(eqx.Module):
    """Weighted sums over the blocks of a rule, from which estimate, error and certificate follow."""

    blocks: Float[Array, ""]
    mass: Float[Array, ""]
    mass_squares: Float[Array, ""]
    score: Float[Array, " d"]
    score_squares: Float[Array, " d"]
    information: Float[Array, "d d"]
    information_squares: Float[Array, "d d"]


def score_moments(
    rule, log_likelihood: LogLikelihood, vector: Float[Array, " d"], structure: Structure, errors: bool, rtol
) -> Moments:
    """Moments with the Gram matrix of the scores as the information: $\\sum w\\, s s^\\top$."""

    def part(x, weights):
        scores = jax.vmap(jax.grad(of_vector(log_likelihood, structure)), (None, 0))(vector, x)
        return gram_moments(scores, weights, errors)

    return expectation(rule, log_likelihood, structure.unflatten(vector), part, _accurate(rule, rtol))


def hessian_moments(
    rule, log_likelihood: LogLikelihood, vector: Float[Array, " d"], structure: Structure, errors: bool, rtol
) -> Moments:
    """Moments with minus the mean Hessian as the information, from ONE Hessian of the weighted sum.

    The squares that give standard errors need the Hessian of each outcome: they are zero unless `errors`.
    """
    pointwise = of_vector(log_likelihood, structure)

    def part(x, weights):
        def weighted_sum(point):
            return weights @ log_likelihoods(log_likelihood, structure.unflatten(point), x)

        def square(outcome):
            return jax.hessian(pointwise)(vector, outcome[0]) ** 2 * outcome[1] ** 2

        scores = jax.vmap(jax.grad(pointwise), (None, 0))(vector, x)
        moments = gram_moments(scores, weights, errors=False)
        information = -jax.hessian(weighted_sum)(vector)
        squares = moments.information_squares
        if errors:
            squares = jnp.sum(jax.lax.map(square, (x, weights), batch_size=256), axis=0)
        return eqx.tree_at(lambda m: (m.information, m.information_squares), moments, (information, squares))

    return expectation(rule, log_likelihood, structure.unflatten(vector), part, _accurate(rule, rtol))


def gram_moments(scores: Float[Array, "n d"], weights: Float[Array, " n"], errors: bool) -> Moments:
    """Moments of the scores of one block of outcomes; the squares of the information only with `errors`."""
    weighted = weights[:, None] * scores
    information = symmetric(weighted.T @ scores)
    squares = (weighted**2).T @ scores**2 if errors else jnp.zeros_like(information)
    return Moments(
        blocks=jnp.ones((), scores.dtype),
        mass=jnp.sum(weights),
        mass_squares=jnp.sum(weights**2),
        score=weights @ scores,
        score_squares=jnp.sum(weighted**2, axis=0),
        information=information,
        information_squares=squares,
    )


def of_blocks_seen(rule, moments: Moments):
    """The sample size and the moments of what was visited: a sum that stopped early is a smaller sample."""
    size = sample_size(rule, moments.mass.dtype)
    whole = getattr(rule, "block_size", None)
    if size is None or whole is None:
        return size, moments
    seen = jnp.minimum(jax.lax.stop_gradient(moments.blocks) * whole, size)
    larger = size / seen
    return seen, Moments(
        blocks=moments.blocks,
        mass=larger * moments.mass,
        mass_squares=larger**2 * moments.mass_squares,
        score=larger * moments.score,
        score_squares=larger**2 * moments.score_squares,
        information=larger * moments.information,
        information_squares=larger**2 * moments.information_squares,
    )


def within(information, error, rtol):
    """Whether each entry's error is within `rtol` of the scale that its two parameters give it."""
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(information)))
    return jnp.all(error <= rtol * scale[:, None] * scale[None, :])


def error_of_mean(squares, mean, size):
    """Standard error of the mean of $z$, from $\\sum_i (z_i / n)^2$ and the mean.

    It is 0 for an exact rule, and infinite for a single outcome, which says nothing of its spread.
    """
    if size is None:
        return jnp.zeros_like(mean)
    variance = (squares - mean**2 / size) * (size / jnp.maximum(size - 1.0, 1.0))
    return jnp.where(size > 1, jnp.sqrt(jnp.maximum(variance, 0.0)), jnp.inf)


def sample_size(rule, dtype) -> Float[Array, ""] | None:
    """The number of random outcomes of a rule, None for an exact one."""
    size = getattr(rule, "sample_size", None)
    return None if size is None else jnp.asarray(size, dtype)


def of_vector(log_likelihood: LogLikelihood, structure: Structure) -> Callable:
    """The log-likelihood as a function of the flat parameters."""
    return lambda vector, x: log_likelihood(structure.unflatten(vector), x)


def symmetric(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """The symmetric part: what a product of floating-point matrices misses by round-off."""
    return 0.5 * (matrix + matrix.T)


def _accurate(rule, rtol) -> Callable | None:
    """Whether the moments so far meet the relative tolerance; None where all blocks are to be visited."""
    if rtol is None or getattr(rule, "block_size", None) is None:
        return None

    def enough(moments):
        size, moments = of_blocks_seen(rule, jax.lax.stop_gradient(moments))
        error = error_of_mean(moments.information_squares, moments.information, size)
        return (jnp.asarray(size) >= SMALLEST_SAMPLE) & within(moments.information, error, rtol)

    return enough
