"""Lagrangians in other coordinates, and those that differ by a total derivative."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._euler_lagrange import refuse_own_dynamics
from fimlag.mechanics._forces import Forced
from fimlag.mechanics._lagrangian import Separable, as_time, flat_arguments


class PointTransformation(eqx.Module):
    r"""New coordinates Q for a point, as functions of which the old ones are given.

    $$q = f(t, Q), \qquad v = \frac{\partial f}{\partial Q} V + \frac{\partial f}{\partial t}, \qquad
    P = p\, \frac{\partial f}{\partial Q}$$

    **Arguments:** `map`: a callable `(t, Q) -> q`, of any structures; fewer new coordinates than old ones are those
    of a surface that the system is kept on.

    **Raises:** `TypeError` for a map that is not callable.

    **Reference:** Arnold (1989), section 12D; Goldstein, Poole & Safko (2002), section 1.4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> parabola = fl.PointTransformation(lambda t, x: jnp.stack([x, x**2]))
    >>> point, velocity = parabola.state(0.0, 3.0, 1.0)
    >>> point.tolist(), velocity.tolist()
    ([3.0, 9.0], [1.0, 6.0])

    ```
    """

    map: Callable

    def __init__(self, map: Callable):
        self.map = as_field(map)

    def state(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> tuple[PyTree[Array], PyTree[Array]]:
        """Old point and velocity of a state in new coordinates, in the structure that the map returns."""
        flat, old, t, q, v = self._flat(t, q, v)
        point, velocity = jax.jvp(flat, (t, q), (jnp.ones_like(t), v))
        return old.unflatten(point), old.unflatten(velocity)

    def covector(self, t: RealScalarLike, q: Coordinates, covector: Coordinates) -> PyTree[Array]:
        """A momentum or force in new coordinates, from that in old ones, at a point in new ones."""
        flat, old, t, vector, _ = self._flat(t, q, q)
        pull = jax.vjp(lambda q: flat(t, q), vector)[1]
        (new,) = pull(old.flatten(covector, "covector").astype(vector.dtype))
        return flatten(q, "q")[1].unflatten(new)

    def _flat(self, t, q, v):
        """`(map of flat vectors, structure of the old coordinates, t, q, v)`."""
        vector, structure = flatten(q, "q")
        velocity = structure.flatten(v, "v").astype(vector.dtype)
        t = as_time(t, vector.dtype)
        old = flatten(self.map(t, structure.unflatten(vector)), "what the map returned")[1]

        def flat(t, q):
            return old.flatten(self.map(t, structure.unflatten(q)), "what the map returned").astype(q.dtype)

        return flat, old, t, vector, velocity


class TransformedLagrangian(eqx.Module):
    """A Lagrangian in new coordinates, as `point_transformation` returns it: a callable `(t, q, v) -> scalar`."""

    lagrangian: LagrangianFn
    transformation: PointTransformation

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        return self.lagrangian(t, *self.transformation.state(t, q, v))


class PulledBackForce(eqx.Module):
    r"""A force in new coordinates, $Q'_i = Q_j\, \partial q^j / \partial Q^i$: a callable `(t, q, v)`."""

    force: Callable
    transformation: PointTransformation

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> PyTree[Array]:
        applied = self.force(t, *self.transformation.state(t, q, v))
        return self.transformation.covector(t, q, applied)


class GaugeTransformed(eqx.Module):
    """A Lagrangian plus a total derivative, as `gauge_transformed` returns it: a callable `(t, q, v) -> scalar`."""

    lagrangian: LagrangianFn
    function: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        flat, t, q, v = flat_arguments(self.lagrangian, t, q, v)
        return flat(t, q, v) + total_derivative(self.function, flat.structure, t, q, v)


def point_transformation(lagrangian: LagrangianFn, map: Callable | PointTransformation) -> LagrangianFn:
    r"""A Lagrangian in new coordinates: the same motions, written otherwise.

    $$L'(t, Q, V) = L\Big(t,\ f(t, Q),\ \frac{\partial f}{\partial Q} V + \frac{\partial f}{\partial t}\Big)$$

    A map that depends on time brings the forces of inertia, as Coriolis's in a rotating frame.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; the forces that it carries (`Forced`) are transformed
    with it; `map`: the old coordinates as a function of the new ones, a callable `f(t, Q)` or a `PointTransformation`,
    whose `state` and `covector` carry velocities back and momenta forth.

    **Returns:** a callable `(t, Q, V) -> scalar`.

    **Raises:** `TypeError` for a map that is not callable, and for a system with constraints or a phase space, whose
    own equations do not follow the Lagrangian.

    **Reference:** Arnold (1989), section 12D.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> falling = lambda t, q, v: v @ v / 2 + q[1]
    >>> pendulum = fl.point_transformation(falling, lambda t, a: jnp.stack([jnp.sin(a), jnp.cos(a)]))
    >>> round(float(fl.acceleration(pendulum, 0.0, 0.5, 1.0) / jnp.sin(0.5)), 12)
    -1.0

    ```
    """
    refuse_own_dynamics(lagrangian)
    transformation = map if isinstance(map, PointTransformation) else PointTransformation(map)
    if isinstance(lagrangian, Forced):
        inner = point_transformation(lagrangian.lagrangian, transformation)
        return Forced(inner, PulledBackForce(lagrangian.force, transformation))
    if isinstance(lagrangian, Separable):
        return point_transformation(lagrangian.lagrangian, transformation)
    return TransformedLagrangian(as_field(lagrangian), transformation)


def gauge_transformed(lagrangian: LagrangianFn, function: Callable) -> LagrangianFn:
    r"""A Lagrangian plus the total derivative of a function: the same motions, with other momenta.

    $$L' = L + \frac{\partial f}{\partial t} + v^i \frac{\partial f}{\partial q^i}, \qquad
    p'_i = p_i + \frac{\partial f}{\partial q^i}$$

    The action changes by the difference of the function's values at its ends.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`, with the forces that it may carry (`Forced`);
    `function`: f, a callable `(t, q) -> scalar`.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Raises:** `TypeError` for a function that is not callable, and for a system with constraints or a phase space;
    when called, `ValueError` for a function that is no scalar.

    **Reference:** Landau & Lifshitz (1976), section 2.

    ```python
    >>> import fimlag as fl
    >>> free = lambda t, q, v: v**2 / 2
    >>> shifted = fl.gauge_transformed(free, lambda t, q: q**2)
    >>> float(fl.momentum(shifted, 0.0, 3.0, 1.0)), float(fl.acceleration(shifted, 0.0, 3.0, 1.0))
    (7.0, 0.0)

    ```
    """
    refuse_own_dynamics(lagrangian)
    if isinstance(lagrangian, Forced):
        return Forced(gauge_transformed(lagrangian.lagrangian, function), lagrangian.force)
    if isinstance(lagrangian, Separable):
        return gauge_transformed(lagrangian.lagrangian, function)
    return GaugeTransformed(as_field(lagrangian), as_field(function))


def total_derivative(function: Callable, structure: Structure, t, q, v) -> Float[Array, ""]:
    """The derivative of a scalar function of (t, q) in the direction (1, v), on flat arguments."""

    def value(t, q):
        out = jnp.asarray(function(t, structure.unflatten(q)), q.dtype)
        if out.shape != ():
            raise ValueError(f"A gauge function returns a scalar of shape (), but this one returned shape {out.shape}.")
        return out

    return jax.jvp(value, (t, q), (jnp.ones_like(t), v))[1]
