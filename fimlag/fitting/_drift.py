r"""How a point drifts between two pulls of the objective, in the geometries of a Bregman Lagrangian.

Without an objective the motions of $e^{\alpha + \gamma} D_h(x + e^{-\alpha} v, x)$ keep $\nabla h(x + e^{-\alpha} v)$.
The momentum is carried as $w = e^{-\gamma} p = \nabla h(x + e^{-\alpha} v) - \nabla h(x)$, which does not grow.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import Structure
from fimlag._results import RESULTS, first_failure
from fimlag._types import Coordinates, as_field
from fimlag.geometry import AbstractMetric, EuclideanMetric, FisherMetric
from fimlag.information import AbstractModel
from fimlag.information._legendre import ConvexProblem, convex_minimum
from fimlag.integrators import GeneralisedLeapfrog
from fimlag.mechanics import NaturalLagrangian
from fimlag.mechanics._lagrangian import FlatLagrangian


class MirrorMap(eqx.Module):
    r"""A convex potential with the inverse of its gradient: a mirror geometry for many parameters.

    $$h(x), \qquad (\nabla h)^{-1}(y)$$

    **Arguments:** `potential`: h, a strictly convex scalar function of the point; `inverse`: from a gradient to the
    point that has it, in one structure.

    **Returns:** a callable `x -> h(x)`.

    **Reference:** Nemirovski & Yudin (1983); Beck & Teboulle (2003), section 3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> entropy = fl.MirrorMap(lambda x: jnp.sum(x * jnp.log(x) - x), inverse=jnp.exp)
    >>> print(entropy(jnp.ones(3)), entropy.inverse(jnp.zeros(1)))
    -3.0 [1.]

    ```
    """

    potential: Callable
    inverse: Callable

    def __init__(self, potential: Callable, inverse: Callable):
        self.potential, self.inverse = as_field(potential), as_field(inverse)

    def __call__(self, x: Coordinates) -> Float[Array, ""]:
        return self.potential(x)


class Drift(NamedTuple):
    """The displacement of the point, the momentum after it, and what befell them."""

    dx: Float[Array, " d"]
    w: Float[Array, " d"]
    result: RESULTS


class AbstractGeometry(eqx.Module):
    """A geometry in which points drift, exactly or by a symplectic step of second order."""

    @abc.abstractmethod
    def drift(self, structure: Structure, x, w, share: Float[Array, ""]) -> Drift:
        r"""The drift in the time in which $e^{-\gamma}$ shrinks by the factor `1 - share`."""


class ConstantGeometry(AbstractGeometry):
    r"""A constant metric: $x_1 = x_0 + s\, g^{-1} w_0$ and $w_1 = (1 - s)\, w_0$, exact."""

    metric: EuclideanMetric

    def drift(self, structure, x, w, share):
        mass = self.metric.mass.astype(x.dtype)
        if mass.ndim < 2:
            definite, velocity = jnp.all(mass > 0.0), w / mass
        else:
            definite, velocity = _inverse_times(self.metric(structure.unflatten(x)), w)
        return Drift(share * velocity, (1.0 - share) * w, first_failure((~definite, RESULTS.indefinite_mass)))


class MirrorGeometry(AbstractGeometry):
    r"""A convex potential: $x_1 = x_0 + s (z - x_0)$ with $\nabla h(z) = \nabla h(x_0) + w_0$, exact.

    The momentum afterwards is $w_1 = \nabla h(z) - \nabla h(x_1)$.
    """

    potential: Callable

    def drift(self, structure, x, w, share):
        gradient = jax.grad(lambda x: jnp.asarray(self.potential(structure.unflatten(x))))
        target = gradient(x) + w
        ahead, failures = self._inverse(structure, x, target, gradient)
        dx = share * (ahead - x)
        return Drift(dx, target - gradient(x + dx), first_failure(*failures))

    def _inverse(self, structure: Structure, x, target, gradient):
        if isinstance(self.potential, MirrorMap):
            ahead = structure.flatten(self.potential.inverse(structure.unflatten(target)), "the inverse").astype(
                x.dtype
            )
            gap, scale = jnp.abs(gradient(ahead) - target), jnp.max(jnp.abs(target)) + jnp.max(jnp.abs(gradient(x)))
            wrong = jnp.any(gap > float(jnp.finfo(x.dtype).eps) ** 0.5 * scale)
            return ahead, ((~jnp.all(jnp.isfinite(gap)), RESULTS.stalled), (wrong, RESULTS.not_inverse))
        eye = jnp.eye(x.size, dtype=x.dtype)
        problem = ConvexProblem(_Flat(as_field(self.potential), structure), jnp.zeros_like(x), eye, target)
        ahead, found = convex_minimum(problem, x)
        return ahead, ((~found, RESULTS.stalled),)


class RiemannianGeometry(AbstractGeometry):
    r"""A metric: the momentum $s\, w_0$ follows a geodesic for a unit of time, by one step of the leapfrog."""

    metric: AbstractMetric

    def drift(self, structure, x, w, share):
        p, zero = share * w, jnp.zeros((), x.dtype)
        definite, v = _inverse_times(self.metric(structure.unflatten(x)), p)
        method, flat = GeneralisedLeapfrog(), FlatLagrangian(NaturalLagrangian(self.metric), structure)
        equations, _ = method.prepare(flat, zero, x, v, None)
        step = method.step(equations, zero, zero + 1.0, x, p, v)
        after = (1.0 - share) * (w + step.dp / jnp.where(share > 0.0, share, 1.0))
        failures = (~definite, RESULTS.indefinite_mass), (~step.converged, RESULTS.implicit_step_failed)
        return Drift(step.dq, after, first_failure(*failures))


def as_geometry(geometry) -> AbstractGeometry:
    """The geometry of a model, a metric, a convex potential, or None."""
    if isinstance(geometry, AbstractModel):
        geometry = FisherMetric(geometry)
    if geometry is None or isinstance(geometry, EuclideanMetric):
        return ConstantGeometry(EuclideanMetric(1.0) if geometry is None else geometry)
    if isinstance(geometry, AbstractMetric):
        return RiemannianGeometry(geometry)
    return MirrorGeometry(as_field(geometry))


class _Flat(eqx.Module):
    """A scalar function of the point, of flat vectors."""

    function: Callable
    structure: Structure

    def __call__(self, x):
        return jnp.asarray(self.function(self.structure.unflatten(x)))


def _inverse_times(matrix, vector):
    """Whether a matrix is positive definite, and its inverse times a vector."""
    factor = jnp.linalg.cholesky((matrix + matrix.T) / 2)
    return jnp.all(jnp.isfinite(factor)), jax.scipy.linalg.cho_solve((factor, True), vector)
