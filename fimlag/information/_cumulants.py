"""Moments of scores beyond the information: skewness, and the bending of a curve of densities."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, LogLikelihood
from fimlag.information._estimate import concluded
from fimlag.information._moments import gram_moments, of_vector
from fimlag.information._sums import expectation, log_likelihoods


def skewness_over(rule, log_likelihood: LogLikelihood, theta: Coordinates, u: Coordinates, w: Coordinates):
    """$\\mathrm{E}[(\\partial_u \\ell)(\\partial_w \\ell)\\, s]$ by a rule, flat, and its result."""
    vector, structure = flatten(theta, "theta")
    u, w = tangents(structure, vector, u, w)

    def part(x, weights):
        scores = jax.vmap(jax.grad(of_vector(log_likelihood, structure)), (None, 0))(vector, x)
        return (weights * (scores @ u) * (scores @ w)) @ scores, gram_moments(scores, weights, errors=False)

    skewness, moments = expectation(rule, log_likelihood, structure.unflatten(vector), part)
    return skewness, concluded(rule, moments, "").result


def bending_over(rule, log_likelihood: LogLikelihood, theta: Coordinates, v: Coordinates, a: Coordinates):
    """The covariance of $(\\dot\\ell, \\ddot\\ell)$ along a curve of velocity v and acceleration a, and its result."""
    vector, structure = flatten(theta, "theta")
    curve = curve_of(vector, *tangents(structure, vector, v, a))

    def derivatives(x):
        return along_curve(lambda t: log_likelihoods(log_likelihood, structure.unflatten(curve(t)), x), vector)

    def mean(x, weights):
        first, second = derivatives(x)
        return weights @ second, gram_moments(first[:, None], weights, errors=False)

    def part(x, weights):
        first, second = derivatives(x)
        pair = jnp.stack([first, second - level])
        return (weights[None, :] * pair) @ pair.T

    point = structure.unflatten(vector)
    level, moments = expectation(rule, log_likelihood, point, mean)
    return expectation(rule, log_likelihood, point, part), concluded(rule, moments, "").result


def tangents(structure: Structure, vector: Float[Array, " d"], *trees: Coordinates) -> list[Float[Array, " d"]]:
    """Tangent vectors in the caller's structure as flat ones, in the dtype of the point."""
    return [structure.flatten(tree, "a tangent vector").astype(vector.dtype) for tree in trees]


def curve_of(vector: Float[Array, " d"], v: Float[Array, " d"], a: Float[Array, " d"]) -> Callable:
    """The parabola with a point, velocity and acceleration at 0."""
    return lambda t: vector + t * v + 0.5 * t**2 * a


def along_curve(function: Callable, like: Float[Array, " d"]) -> tuple[PyTree[Array], PyTree[Array]]:
    """The first two derivatives of a function of one number at 0."""
    zero, one = jnp.zeros((), like.dtype), jnp.ones((), like.dtype)

    def first(t):
        return jax.jvp(function, (t,), (one,))[1]

    return jax.jvp(first, (zero,), (one,))
