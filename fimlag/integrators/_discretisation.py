"""Discrete Lagrangians, from which variational integrators follow."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import as_field
from fimlag.mechanics._discrete import DiscreteLagrangian, element_basis
from fimlag.mechanics._forces import flat_force
from fimlag.mechanics._lagrangian import FlatLagrangian


class AbstractDiscretisation(eqx.Module):
    r"""A rule that makes a discrete Lagrangian of the nodes of one step, $L_d(t, h, q_0, \ldots, q_N)$.

    **Attributes:** `degree` N: the number of nodes beside the first; `order`: the order with which $L_d$ approximates
    the action of a motion, which is that of the integrator; `symmetric`: whether it is self-adjoint,
    $L_d(t, h, q_0 \ldots q_N) = -L_d(t + h, -h, q_N \ldots q_0)$.
    """

    degree: eqx.AbstractVar[int]
    order: eqx.AbstractVar[int]
    symmetric: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def action(self, lagrangian: FlatLagrangian, t, h, q, offsets: Float[Array, "nodes d"]) -> Float[Array, ""]:
        """The discrete Lagrangian of the nodes `q + offsets`."""

    @abc.abstractmethod
    def impulses(self, lagrangian: FlatLagrangian, t, h, q, offsets) -> Float[Array, "nodes d"]:
        """What the forces of the system do to each node: the integral of force times basis function.

        **Raises:** `ValueError` for a rule that knows of no points at which to take a force.
        """


class Galerkin(AbstractDiscretisation):
    r"""The action of a polynomial through the nodes, by Gauss quadrature.

    $$L_d = h \sum_g w_g\, L\Big(t + c_g h,\ \sum_a \phi_a(c_g) q_a,\ \tfrac1h \sum_a \phi_a'(c_g) q_a\Big)$$

    with $\phi_a$ the Lagrange polynomials of the degree at Gauss-Lobatto nodes. `Galerkin(1, 1)` is the midpoint rule.

    **Arguments:** `degree` of the polynomial; `points`: number of Gauss points, at least the degree (fewer leave some
    polynomials without kinetic energy) and by default equal to it, where the method is `GaussLegendre(degree)`. With
    more points the order is the same, `2 degree`.

    **Raises:** `ValueError` for a degree below 1, or fewer points than the degree.

    **Reference:** Marsden & West (2001), section 2.6; Ober-Blöbaum & Saake (2015).
    """

    degree: int = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def __init__(self, degree: int, points: int | None = None):
        self.degree, self.points = degree, degree if points is None else points
        if degree < 1 or self.points < degree:
            raise ValueError(
                f"A Galerkin method needs degree >= 1 and points >= degree, but {degree} and {self.points} came."
            )

    @property
    def order(self) -> int:
        return 2 * self.degree

    @property
    def symmetric(self) -> bool:
        return True

    def action(self, lagrangian, t, h, q, offsets):
        return self._discrete(lagrangian)(t, h, q, offsets)

    def impulses(self, lagrangian, t, h, q, offsets):
        discrete = self._discrete(lagrangian)
        forces = jax.vmap(lambda *state: flat_force(lagrangian, *state))(*discrete.points(t, h, q, offsets))
        weights = discrete.basis.weights[:, None] * discrete.basis.values
        return h * jnp.asarray(weights.T, q.dtype) @ forces

    def _discrete(self, lagrangian):
        return DiscreteLagrangian(lagrangian, element_basis(self.degree, self.points))


class Trapezoidal(AbstractDiscretisation):
    r"""The action of a straight line by the trapezoidal rule; on a separable Lagrangian the leapfrog.

    $$L_d = \tfrac h2 L(t, q_0, v) + \tfrac h2 L(t + h, q_1, v), \qquad v = \frac{q_1 - q_0}h$$

    **Reference:** Marsden & West (2001), example 2.3.2.
    """

    degree: int = eqx.field(static=True, default=1, init=False)
    order: int = eqx.field(static=True, default=2, init=False)
    symmetric: bool = eqx.field(static=True, default=True, init=False)

    def action(self, lagrangian, t, h, q, offsets):
        start, end = offsets
        v = (end - start) / h
        return h / 2 * (lagrangian(t, q + start, v) + lagrangian(t + h, q + end, v))

    def impulses(self, lagrangian, t, h, q, offsets):
        v = (offsets[1] - offsets[0]) / h
        times = jnp.stack([t, t + h])
        return h / 2 * jax.vmap(lambda time, point: flat_force(lagrangian, time, point, v))(times, q[None] + offsets)


class TwoPoint(AbstractDiscretisation):
    """The user's own discrete Lagrangian of two points, `function(t, h, q0, q1)`."""

    function: Callable
    order: int = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True)
    degree: int = eqx.field(static=True, default=1, init=False)

    def action(self, lagrangian, t, h, q, offsets):
        start, end = offsets
        points = lagrangian.structure.unflatten(q + start), lagrangian.structure.unflatten(q + end)
        value = jnp.asarray(self.function(t, h, *points))
        if value.shape != ():
            raise ValueError(f"A discrete Lagrangian returns a scalar of shape (), but this one {value.shape}.")
        return value

    def impulses(self, lagrangian, t, h, q, offsets):
        raise ValueError(
            "A discrete Lagrangian of two points does not tell where a force acts. Use Variational(Galerkin(degree)) "
            "or Variational(Trapezoidal())."
        )


class DivergenceLagrangian(eqx.Module):
    r"""A divergence as a discrete Lagrangian, for `Variational`.

    $$L_d(t, h, q_0, q_1) = \frac1h D(q_0, q_1) - \frac h2 \big(V(q_0) + V(q_1)\big)$$

    Near coincident points $D = \tfrac12 g_{ij} dq^i dq^j + \ldots$ with g its Hessian there, so that this approximates
    the action of `NaturalLagrangian(g, potential)`: pass that Lagrangian to `integrate`, which takes from it momenta
    and velocities. For the relative entropy of a model, half of Jeffreys' divergence, and four times the squared
    Hellinger distance, it is `FisherLagrangian(model, potential)`. Steps shorter than need be lose digits: the momentum
    carries the round-off of D over the distance of two points.

    **Arguments:** `divergence`: a callable `(q0, q1) -> scalar`, zero with its gradient where the points coincide;
    `potential`: a scalar function of the point, or None; `symmetric`: whether $D(q_0, q_1) = D(q_1, q_0)$. A symmetric
    divergence gives a symmetric method of order 2, any other one of order 1.

    **Returns:** a callable `(t, h, q0, q1) -> scalar`.

    **Reference:** Leok & Zhang (2017).

    ```python
    >>> import fimlag as fl
    >>> euclidean = fl.DivergenceLagrangian(lambda a, b: (b - a) ** 2 / 2, symmetric=True)
    >>> float(euclidean(0.0, 0.5, 1.0, 2.0)), fl.Variational(euclidean).order
    (1.0, 2)

    ```
    """

    divergence: Callable
    potential: Callable | None
    symmetric: bool = eqx.field(static=True)

    def __init__(self, divergence: Callable, potential: Callable | None = None, *, symmetric: bool = False):
        self.divergence = as_field(divergence)
        self.potential = None if potential is None else as_field(potential)
        self.symmetric = symmetric

    @property
    def order(self) -> int:
        """The order of the integrator."""
        return 2 if self.symmetric else 1

    def __call__(self, t, h, q0, q1) -> Float[Array, ""]:
        kinetic = jnp.asarray(self.divergence(q0, q1)) / h
        if self.potential is None:
            return kinetic
        return kinetic - h / 2 * (jnp.asarray(self.potential(q0)) + jnp.asarray(self.potential(q1)))
