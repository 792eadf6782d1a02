"""Chernoff information and the exponent that attains it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._types import Coordinates
from fimlag.information._divergence_estimate import DivergenceEstimate
from fimlag.information._model import AbstractModel
from fimlag.information._scaled_gap import scaled_gap

STEPS = 24
"""Steps of the search: each squares or at least halves the error of the exponent."""


def chernoff_information(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""Chernoff information: the rate at which the error of the best test between two densities falls.

    $$C = \max_{0 < s < 1} -\log \int p_0^{1 - s}\, p_1^s\, dx$$

    The maximum of a concave function of s, by Newton's method between bounds; derivatives are those of the maximum.

    **Arguments:** `model`: a family, a `StatisticalModel`, or a product or regression of them. `theta0`, `theta1`:
    parameters in one structure.

    **Returns:** the information (nats an observation), shape (), an eighth of the squared line element near the
    diagonal; NaN where the rule fails: `divergence_estimate` tells why. `chernoff_exponent` gives the best s.

    **Raises:** `ValueError` where the parameters differ in structure; `TypeError` for a model without expectations.

    **Reference:** Chernoff (1952); Nielsen (2013), eq. 13.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> chernoff = jax.jit(lambda one, other: fl.chernoff_information(fl.families.Normal().model, one, other))
    >>> print(jnp.round(chernoff(jnp.array([0.0, 1.0]), jnp.array([2.0, 1.0])), 9))
    0.5

    ```
    """
    return chernoff_estimate(model, theta0, theta1).checked_value


def chernoff_exponent(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""The exponent at which Chernoff information is attained.

    $$s^* = \arg\max_{0 < s < 1} -\log \int p_0^{1 - s}\, p_1^s\, dx$$

    **Arguments:** as for `chernoff_information`.

    **Returns:** the exponent, shape (), differentiable; 1/2 where the two densities coincide. NaN where the rule fails.

    **Raises:** as for `chernoff_information`.

    **Reference:** Nielsen (2013), theorem 1 (the density equally far from both).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> exponent = jax.jit(lambda one, other: fl.chernoff_exponent(fl.families.Poisson(60).model, one, other))
    >>> print(f"{exponent(1.0, 4.0):.6f} {jnp.log(3.0 / jnp.log(4.0)) / jnp.log(4.0):.6f}")
    0.556864 0.556864

    ```
    """
    s = _best_exponent(_problem(model, theta0, theta1))
    return jnp.where(scaled_gap(model, theta0, theta1, s).succeeded, s, jnp.nan)


def chernoff_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """The Chernoff information with its error and result."""
    s = _best_exponent(_problem(model, theta0, theta1))
    return scaled_gap(model, theta0, theta1, s).mapped(lambda gap: s * (1.0 - s) * gap)


class _Problem(eqx.Module):
    """The negative logarithm of the affinity as a function of the exponent."""

    model: AbstractModel
    structure: Structure
    theta0: Float[Array, " d"]
    theta1: Float[Array, " d"]

    def exponential_rate(self, s):
        theta0, theta1 = (self.structure.unflatten(vector) for vector in (self.theta0, self.theta1))
        return s * (1.0 - s) * scaled_gap(self.model, theta0, theta1, s).value

    def slope(self, s):
        return jax.jvp(self.exponential_rate, (s,), (jnp.ones_like(s),))[1]

    def slope_and_curvature(self, s):
        return jax.jvp(self.slope, (s,), (jnp.ones_like(s),))


def _problem(model, theta0, theta1) -> _Problem:
    vector, structure = flatten(theta0, "theta0")
    return _Problem(model, structure, vector, structure.flatten(theta1, "theta1").astype(vector.dtype))


def _best_exponent(problem: _Problem):
    fixed = frozen(problem)
    s = _searched(fixed, jnp.full((), 0.5, fixed.theta0.dtype))
    return implicit_root(lax.stop_gradient(s), problem, gradient=_Problem.slope, factor=_divided_by_curvature)


def _searched(problem, middle):
    """Newton's method for the zero of a falling slope, by halves where a step leaves the bounds."""

    def step(_, state):
        s, lower, upper = state
        slope, curvature = problem.slope_and_curvature(s)
        lower, upper = jnp.where(slope > 0.0, s, lower), jnp.where(slope > 0.0, upper, s)
        newton = s - slope / jnp.where(curvature < 0.0, curvature, -jnp.inf)
        inside = (newton > lower) & (newton < upper) & (curvature < 0.0)
        flat = (slope == 0.0) | ~jnp.isfinite(slope)
        return jnp.where(flat, s, jnp.where(inside, newton, 0.5 * (lower + upper))), lower, upper

    return lax.fori_loop(0, STEPS, step, (middle, jnp.zeros_like(middle), jnp.ones_like(middle)))[0]


def _divided_by_curvature(problem, s):
    curvature = problem.slope_and_curvature(s)[1]
    # Between coincident densities every exponent is as good: the derivative of the chosen one is 0.
    inverse = jnp.where(curvature < 0.0, 1.0 / jnp.where(curvature < 0.0, curvature, 1.0), 0.0)
    return lambda right: inverse * right
