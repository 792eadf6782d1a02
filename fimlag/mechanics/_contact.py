"""Dissipation by a variational principle: Caldirola-Kanai and Herglotz (contact) Lagrangians."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._linear import solve
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._forces import AbstractMark, marks
from fimlag.mechanics._lagrangian import FlatLagrangian, flat_arguments


class CaldirolaKanai(eqx.Module):
    """The Lagrangian that `caldirola_kanai` returns: a callable `(t, q, v) -> scalar`."""

    lagrangian: LagrangianFn
    rate: RealScalarLike

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        value = _in_floating_point(self.lagrangian(t, q, v))
        rate, t = (jnp.asarray(each, value.dtype) for each in (self.rate, t))
        return jnp.exp(rate * t) * value


def caldirola_kanai(lagrangian: LagrangianFn, rate: RealScalarLike) -> CaldirolaKanai:
    r"""The Lagrangian whose motions are those of another with linear damping.

    $$L' = e^{\gamma t} L(t, q, v) \quad\Rightarrow\quad \frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v}
    - \frac{\partial L}{\partial q} = -\gamma \frac{\partial L}{\partial v}$$

    The momentum of $L'$ is the canonical one, $p' = e^{\gamma t} p$, and its energy is $e^{\gamma t} E$: what is
    measured is the physical $p = \partial L / \partial v$, the `momentum` of `lagrangian` itself. In the long run
    the factor overflows, near $\gamma t = 88$ in single and 709 in double precision: count the time from the start.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `rate`: $\gamma$, per unit of time.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Raises:** `ValueError` for a Lagrangian that carries forces or constraints.

    **Reference:** Caldirola (1941); Kanai (1948).

    ```python
    >>> import fimlag as fl
    >>> damped = fl.caldirola_kanai(lambda t, q, v: v**2 / 2 - q**2 / 2, rate=0.5)
    >>> float(fl.acceleration(damped, 0.0, 1.0, 2.0))
    -2.0

    ```
    """
    _refuse_marks(lagrangian, "Mark the Lagrangian returned; a force on it is the physical one times exp(rate t).")
    return CaldirolaKanai(as_field(lagrangian), rate)


class LinearHerglotz(eqx.Module):
    r"""The Lagrangian $L(t, q, v) - \gamma s$, as `Herglotz.linear` keeps it: a callable `(t, q, v, s)`."""

    lagrangian: LagrangianFn
    rate: RealScalarLike

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike) -> Float[Array, ""]:
        value = _in_floating_point(self.lagrangian(t, q, v))
        rate, s = (jnp.asarray(each, value.dtype) for each in (self.rate, s))
        return value - rate * s


class Herglotz(eqx.Module):
    r"""A Lagrangian that depends on the action accumulated: Herglotz's principle, contact mechanics.

    $$\dot s = L(t, q, \dot q, s), \qquad \frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v}
    - \frac{\partial L}{\partial q} = \frac{\partial L}{\partial s} \frac{\partial L}{\partial v}$$

    Its energy $E = v \cdot \partial L / \partial v - L$ changes at the rate
    $\dot E = (\partial L / \partial s) E - \partial L / \partial t$.

    **Arguments:** `lagrangian`: a callable `(t, q, v, s) -> scalar`.

    **Returns:** a callable `(t, q, v, s) -> scalar`.

    **Reference:** Herglotz (1930); Guenther, Guenther & Gottsch (1996); Bravetti (2017).

    ```python
    >>> import fimlag as fl
    >>> damped = fl.Herglotz(lambda t, q, v, s: v**2 / 2 - q**2 / 2 - 0.5 * s)
    >>> float(fl.contact_acceleration(damped, 0.0, 1.0, 2.0, 0.0))
    -2.0

    ```
    """

    lagrangian: Callable

    def __init__(self, lagrangian: Callable):
        self.lagrangian = as_field(lagrangian)

    @staticmethod
    def linear(lagrangian: LagrangianFn, rate: RealScalarLike) -> "Herglotz":
        r"""The Lagrangian $L(t, q, v) - \gamma s$, the motions of which are those of `caldirola_kanai(L, rate)`.

        **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `rate`: $\gamma$, per unit of time.

        **Raises:** `ValueError` for a Lagrangian that carries forces or constraints.
        """
        _refuse_marks(lagrangian, "Leave the action out, and give the damping -rate dL/dv as one more force.")
        return Herglotz(LinearHerglotz(as_field(lagrangian), rate))

    def __call__(
        self, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike | None = None
    ) -> Float[Array, ""]:
        if s is None:
            raise TypeError(
                "A Herglotz Lagrangian depends on the action s beside (t, q, v): use contact_acceleration, "
                "contact_energy, contact_hamiltonian and dissipation_defect, or integrate it from s0."
            )
        return self.lagrangian(t, q, v, s)


def contact_acceleration(
    lagrangian: Callable, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike
) -> PyTree[Array]:
    r"""The acceleration that Herglotz's equations prescribe.

    $$M a = \frac{\partial L}{\partial q} + \frac{\partial L}{\partial s} \frac{\partial L}{\partial v}
    - \frac{\partial^2 L}{\partial v \partial q} v - \frac{\partial^2 L}{\partial v \partial t}
    - \frac{\partial^2 L}{\partial v \partial s} L, \qquad M = \frac{\partial^2 L}{\partial v^2}$$

    **Arguments:** `lagrangian`: a `Herglotz`, or any callable `(t, q, v, s) -> scalar`; `t`: time; `q`, `v`:
    point and velocity in one structure; `s`: the action accumulated, a number.

    **Returns:** the acceleration in the structure of `q`; NaN where the mass matrix is singular.

    **Raises:** `ValueError` for an `s` that is no number, or a Lagrangian that is no scalar.

    **Reference:** Herglotz (1930); Guenther, Guenther & Gottsch (1996).

    ```python
    >>> import fimlag as fl
    >>> damped = fl.Herglotz.linear(lambda t, q, v: v**2 / 2 - q**2 / 2, rate=0.5)
    >>> float(fl.contact_acceleration(damped, 0.0, 1.0, 2.0, 0.0))
    -2.0

    ```
    """
    flat, t, q, v, s = contact_arguments(lagrangian, t, q, v, s)
    return flat.structure.unflatten(flat_contact_acceleration(flat, t, q, v, s))


def flat_contact_acceleration(flat: FlatLagrangian, t, q, v, s) -> Float[Array, " d"]:
    """The acceleration of a Herglotz Lagrangian on flat arguments."""
    value, (pull, p, leak) = jax.value_and_grad(flat, argnums=(1, 2, 3))(t, q, v, s)
    gradient = jax.grad(flat, argnums=2)
    rate = jax.jvp(lambda t, q, s: gradient(t, q, v, s), (t, q, s), (jnp.ones_like(t), v, value))[1]
    mass = jax.jacfwd(lambda v: gradient(t, q, v, s))(v)
    return solve((mass + mass.T) / 2, pull + leak * p - rate)


def _refuse_marks(lagrangian: LagrangianFn, cure: str):
    """Raise a `ValueError` for forces and constraints, which a function of the Lagrangian's value would drop."""
    dropped = [type(mark).__name__ for mark in marks(lagrangian) if isinstance(mark, AbstractMark)]
    if dropped:
        raise ValueError(f"This takes a Lagrangian alone, but the one given carries {', '.join(dropped)}. {cure}")


def _in_floating_point(value) -> Float[Array, ""]:
    """A value in a type in which a rate keeps its digits, where it was an integer."""
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(float)


def contact_arguments(lagrangian, t, q, v, s):
    """`(flat Lagrangian, t, q, v, s)` with q and v as vectors, all in the dtype of `q`."""
    if jnp.shape(s) != ():
        raise ValueError(f"The action s must be a number, but has shape {jnp.shape(s)}.")
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    return flat, t, q, v, jnp.asarray(s, q.dtype)
