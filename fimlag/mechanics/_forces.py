"""Generalised forces: what acts on a system beside its Lagrangian, and the power it brings."""

import abc
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._lagrangian import FlatLagrangian, Separable, flat_arguments


class AbstractMark(eqx.Module):
    """A Lagrangian with something known of it or added to it, called as the Lagrangian itself.

    **Attributes:** `lagrangian`: the one inside, which may be marked in turn.
    """

    lagrangian: eqx.AbstractVar[LagrangianFn]

    def __call__(
        self, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike | None = None
    ) -> Float[Array, ""]:
        if s is not None:
            raise TypeError(
                f"A {type(self).__name__} takes no action s: Herglotz's principle here knows no forces or constraints. "
                "For linear damping beside them give Forced(L, rayleigh(R)) with an L(t, q, v)."
            )
        return self.lagrangian(t, q, v)


class AbstractDynamics(eqx.Module):
    """A system whose accelerations follow from more than the Euler-Lagrange equations and the forces."""

    @abc.abstractmethod
    def flat_acceleration(
        self, flat: FlatLagrangian, t: Float[Array, ""], q: Float[Array, " d"], v: Float[Array, " d"]
    ) -> Float[Array, " d"]:
        """The acceleration; `flat` is the whole system, with the marks around this one."""


class Forced(AbstractMark):
    r"""A Lagrangian system on which a generalised force acts.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} - \frac{\partial L}{\partial q} = Q(t, q, v)$$

    Called, it is the Lagrangian alone; the equations of motion add the force. Forces nest, and add up.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `force`: a callable `(t, q, v)` returning
    covariant components (work per unit of each coordinate) in the structure of `q`.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Raises:** `TypeError` for a force that is not callable; `ValueError` from the functions that use it where
    its structure is not that of `q`.

    **Reference:** Goldstein, Poole & Safko (2002), eq. 1.53.

    ```python
    >>> import fimlag as fl
    >>> pushed = fl.Forced(lambda t, q, v: v**2, lambda t, q, v: 3.0)
    >>> float(fl.acceleration(pushed, 0.0, 0.0, 0.0))
    1.5

    ```
    """

    lagrangian: LagrangianFn
    force: Callable

    def __init__(self, lagrangian: LagrangianFn, force: Callable):
        self.lagrangian = as_field(lagrangian)
        self.force = as_field(force)


class RayleighForce(eqx.Module):
    """The force of a dissipation function, as `rayleigh` returns it: a callable `(t, q, v)`."""

    dissipation: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> PyTree[Array]:
        flat, t, q, v = flat_arguments(self.dissipation, t, q, v)
        return flat.structure.unflatten(-jax.grad(scalar_of(flat, "A dissipation function"), argnums=2)(t, q, v))


def rayleigh(dissipation: Callable) -> RayleighForce:
    r"""The force of a Rayleigh dissipation function.

    $$Q_i = -\frac{\partial R}{\partial v^i}(t, q, v)$$

    It takes energy at the rate $v^i\, \partial R / \partial v^i$: $2 R$ where $R$ is quadratic in the velocity.

    **Arguments:** `dissipation`: a callable `(t, q, v) -> scalar`.

    **Returns:** a force `(t, q, v)`, covariant, for `Forced` or `acceleration`.

    **Raises:** `ValueError` where the function returns anything but a scalar.

    **Reference:** Rayleigh (1873); Goldstein, Poole & Safko (2002), eq. 1.67.

    ```python
    >>> import fimlag as fl
    >>> float(fl.rayleigh(lambda t, q, v: 0.25 * v**2)(0.0, 1.0, 2.0))
    -1.0

    ```
    """
    return RayleighForce(as_field(dissipation))


def power(system: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
    r"""The rate at which the energy of a system changes along its motions.

    $$\frac{\mathrm d E}{\mathrm d t} = Q_i v^i - \frac{\partial L}{\partial t}$$

    Constraints that the velocity keeps bring no power.

    **Arguments:** `system`: a callable `(t, q, v) -> scalar`, `Forced` or not; `t`: time; `q`, `v`: point and
    velocity in one structure.

    **Returns:** the power, shape (), in the unit of the Lagrangian per unit of time.

    **Reference:** Landau & Lifshitz (1976), section 6; Goldstein, Poole & Safko (2002), section 2.7.

    ```python
    >>> import fimlag as fl
    >>> damped = fl.Forced(lambda t, q, v: v**2 / 2 - q**2 / 2, fl.rayleigh(lambda t, q, v: 0.25 * v**2))
    >>> float(fl.power(damped, 0.0, 1.0, 2.0))
    -2.0

    ```
    """
    flat, t, q, v = flat_arguments(system, t, q, v)
    work, explicit = flat_powers(flat, t, q, v)
    return work + explicit


def flat_powers(
    flat: FlatLagrangian, t: Float[Array, ""], q: Float[Array, " d"], v: Float[Array, " d"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The power of the forces and that of the explicit time, on flat arguments."""
    applied = flat_force(flat, t, q, v)
    work = jnp.zeros_like(t) if applied is None else applied @ v
    return work, -jax.grad(flat)(t, q, v)


def scalar_of(flat: FlatLagrangian, name: str) -> Callable:
    """A user's function on flat arguments; a `ValueError` under its own name where it returns no scalar."""

    def value(t, q, *rest):
        vectors = (each if each.ndim == 0 else flat.structure.unflatten(each) for each in rest)
        result = jnp.asarray(flat.lagrangian(t, flat.structure.unflatten(q), *vectors))
        if result.shape != ():
            raise ValueError(f"{name} returns a scalar of shape (), but this one returned shape {result.shape}.")
        return result

    return value


def marks(lagrangian: LagrangianFn) -> Iterator[LagrangianFn]:
    """A Lagrangian and those inside it, from the outermost mark to the bare one."""
    yield lagrangian
    while isinstance(lagrangian, AbstractMark | Separable):
        lagrangian = lagrangian.lagrangian
        yield lagrangian


def unmarked(lagrangian: LagrangianFn) -> LagrangianFn:
    """The Lagrangian inside all marks."""
    *_, bare = marks(lagrangian)
    return bare


def flat_force(
    flat: FlatLagrangian, t: Float[Array, ""], q: Float[Array, " d"], v: Float[Array, " d"]
) -> Float[Array, " d"] | None:
    """The sum of the forces that a system carries, on flat arguments; None where it carries none."""
    total = None
    for system in marks(flat.lagrangian):
        if isinstance(system, Forced):
            applied = system.force(t, flat.structure.unflatten(q), flat.structure.unflatten(v))
            applied = flat.structure.flatten(applied, "force").astype(q.dtype)
            total = applied if total is None else total + applied
    return total
