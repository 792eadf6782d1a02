"""What the families share: a density, its expectation and its closed Fisher matrix."""

import abc
import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart, IdentityChart
from fimlag._flat import flatten
from fimlag._types import RealScalarLike
from fimlag.information._closed import AbstractClosedModel
from fimlag.information._model import StatisticalModel
from fimlag.information._root import cholesky_root, factored_root

LINE = IdentityChart()
"""Every vector."""

HALF_LINE = CoordinatewiseChart((0.0,))
"""One positive number."""

UNIT_INTERVAL = CoordinatewiseChart((0.0,), (1.0,))
"""One probability."""

HALF_PLANE = CoordinatewiseChart((-math.inf, 0.0))
"""A location and a scale."""

QUADRANT = CoordinatewiseChart((0.0, 0.0))
"""Two positive numbers."""


class AbstractFamily(AbstractClosedModel):
    """A family of distributions: a model whose Fisher matrix is known in closed form, and is used.

    Outside its domain of parameters the log-likelihood is NaN. `.model` is the same density as a `StatisticalModel`,
    which knows nothing but the log-likelihood and the expectation rule.
    """

    @abc.abstractmethod
    def log_likelihood(self, theta: Float[Array, " d"], x) -> Float[Array, ""]:
        """The log-density of ONE observation (nats), -inf outside the support."""

    @property
    @abc.abstractmethod
    def expectation(self):
        """The rule that takes expectations."""

    @property
    @abc.abstractmethod
    def chart(self) -> AbstractChart:
        """Coordinates without bounds."""

    @abc.abstractmethod
    def fisher(self, theta: Float[Array, " d"]) -> Float[Array, "d d"]:
        """The Fisher matrix in closed form, shape (d, d)."""

    def fisher_root(self, theta) -> Float[Array, "d r"]:
        """A factor R of the Fisher matrix, $R R^\\top$, shape (d, r)."""
        return cholesky_root(self.fisher(theta))

    def quadratic(self, theta, v) -> Float[Array, ""]:
        """The squared length of v, $|R^\\top v|^2$."""
        return jnp.sum((self.fisher_root(theta).T @ flatten(v, "v")[0]) ** 2)

    @property
    def model(self) -> StatisticalModel:
        """The statistical model: everything about it follows from the log-likelihood alone."""
        return StatisticalModel(self.log_likelihood, self.expectation)

    def skewness(self, theta, u, w):
        """The third moments of the scores, by the generic route."""
        return self.model.skewness(theta, u, w)

    def bending(self, theta, v, a):
        """The covariance along the curve, by the generic route."""
        return self.model.bending(theta, v, a)

    def route(self, form: str) -> str:
        """How the information is computed, in words."""
        return f"closed form of {type(self).__name__}"

    def information_roots(self, theta):
        """The factor of the closed Fisher matrix."""
        vector, structure = flatten(theta, "theta")
        return (factored_root(self.fisher_root(theta), vector, structure),)


def positive(value: RealScalarLike) -> Float[Array, ""]:
    """The value where it is positive, else NaN: a density must not look legal outside its domain."""
    value = as_real(value)
    return jnp.where(value > 0.0, value, jnp.nan)


def log_rest(p: RealScalarLike) -> Float[Array, ""]:
    """The logarithm of 1 - p, to all digits also of small p; NaN where p is not below 1."""
    p = as_real(p)
    return jnp.log1p(-jnp.where(p < 1.0, p, jnp.nan))


def as_real(value, dtype=None) -> Array:
    """A number as a floating-point array."""
    value = jnp.asarray(value, dtype)
    return value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(jnp.result_type(float))


def scalar(theta) -> Float[Array, ""]:
    """The one parameter of a family, given as a number or a vector of length 1."""
    theta = as_real(theta)
    if theta.size != 1:
        raise ValueError(f"The family has one parameter, but theta has shape {theta.shape}.")
    return jnp.reshape(theta, ())


def pair(theta) -> Float[Array, "2"]:
    """The two parameters of a family."""
    theta = as_real(theta)
    if theta.shape != (2,):
        raise ValueError(f"The family has two parameters, but theta has shape {theta.shape}.")
    return theta


def positives(theta) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The two parameters of a family, each NaN where it is not positive."""
    before, after = pair(theta)
    return positive(before), positive(after)


def parameters(theta, number: int) -> Float[Array, " d"]:
    """The parameters of a family that has many."""
    theta = as_real(theta)
    if theta.shape != (number,):
        raise ValueError(f"The family has {number} parameters, but theta has shape {theta.shape}.")
    return theta


def at_least(least: int, number: int, name: str) -> int:
    """The number; a `ValueError` where it is less."""
    if number < least:
        raise ValueError(f"{name} must be at least {least}, but is {number}.")
    return number


def count(x, dtype) -> tuple[Bool[Array, "*shape"], Float[Array, "*shape"]]:
    """Whether each number is a count, and the count, 0 where it is none."""
    x = as_real(x, dtype)
    legal = (x >= 0.0) & (x == jnp.floor(x))
    return legal, jnp.where(legal, x, 0.0)


def first(theta):
    """The first parameter, as a location or scale of a rule."""
    return theta[0]


def second(theta):
    """The second parameter, likewise."""
    return theta[1]


def absolute(value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The absolute value, with derivative 0 at 0: what a distance has between coincident points."""
    return value * jnp.sign(value)


def log_one_plus_square(z: Float[Array, ""]) -> Float[Array, ""]:
    """$\\log(1 + z^2)$, whose value and derivatives do not overflow where the square does."""
    far = jnp.abs(z) > 1.0
    near, beyond = jnp.where(far, 0.0, z), jnp.where(far, z, 1.0)
    return jnp.where(far, 2.0 * jnp.log(jnp.abs(beyond)) + jnp.log1p(beyond**-2), jnp.log1p(near**2))


def root(square: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The square root, with derivative 0 at 0 for the same reason."""
    vanishing = square == 0.0
    return jnp.where(vanishing, 0.0, jnp.sqrt(jnp.where(vanishing, 1.0, square)))
