"""Models whose information is a formula: no expectation is taken, and none can fail."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS, first_failure
from fimlag._types import Coordinates
from fimlag.information._audit import BartlettGap
from fimlag.information._estimate import exact_estimate
from fimlag.information._model import AbstractDensity


class AbstractClosedModel(AbstractDensity):
    """A density whose Fisher matrix is known in closed form, and is used whatever `form` is asked for."""

    @abc.abstractmethod
    def fisher(self, theta: Coordinates) -> Float[Array, "d d"]:
        """The Fisher matrix in closed form, shape (d, d)."""

    def quadratic(self, theta: Coordinates, v: Coordinates) -> Float[Array, ""]:
        """The squared length of v: the sum of the squares of the roots' outputs along it."""
        direction = flatten(v, "v")[0]
        return jnp.sum(jnp.stack([root.quadratic(direction) for root in self.information_roots(theta)]))

    @property
    def smooth(self) -> bool:
        """Whether the information is one smooth function of theta: it is."""
        return True

    @property
    def is_expectation(self) -> bool:
        """Whether the information is an expectation: it is a formula."""
        return False

    def information_estimate(self, theta, form="score", errors=True, rtol=None):
        """The closed Fisher matrix."""
        return exact_estimate(self.fisher(theta), self.route(form))

    def information_quadratic(self, theta, v):
        """The squared length of v, by its formula."""
        vector, structure = flatten(theta, "theta")
        direction = structure.flatten(v, "v").astype(vector.dtype)
        length = self.quadratic(structure.unflatten(vector), structure.unflatten(direction))
        return length, first_failure((~jnp.isfinite(length), RESULTS.nonfinite))

    def sampling_variance(self, theta, linear):
        """Zero: the matrix is exact."""
        return jnp.zeros_like(linear(self.fisher(theta)))

    def bartlett_gap(self, theta, directions):
        """Zero: the closed form is no expectation."""
        zero = jnp.zeros(directions.shape[0], directions.dtype)
        return BartlettGap(zero, zero, jnp.einsum("ki,ij,kj->k", directions, self.fisher(theta), directions))

    def independent(self, number):
        """The model itself: it draws nothing."""
        return self
