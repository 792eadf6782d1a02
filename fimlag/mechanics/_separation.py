"""Lagrangians that are a constant kinetic energy minus a potential: by their type, or as their formulas show."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fimlag._compiled import compiled
from fimlag._flat import flatten
from fimlag._scalarise import entries_of
from fimlag._types import Coordinates, LagrangianFn
from fimlag.geometry import EuclideanMetric
from fimlag.mechanics._contact import Herglotz
from fimlag.mechanics._degree import polynomial_degree
from fimlag.mechanics._forces import AbstractDynamics, AbstractMark, unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian, NaturalLagrangian, Separable
from fimlag.mechanics._phase_space import PhaseSpaceLagrangian


class Separation(NamedTuple):
    r"""What the formulas of $L = \tfrac12 v^\top M v + b \cdot v - V(t, q)$ show of M and b.

    **Attributes:** `mass`: M where it is known numbers, else None; `diagonal`: whether M is; `resting`: whether b is
    zero.
    """

    mass: np.ndarray | None
    diagonal: bool
    resting: bool


def is_separable(system: LagrangianFn, q0: Coordinates | None = None) -> bool | None:
    r"""Whether a Lagrangian is a constant kinetic energy minus a potential, as its type and its formulas tell.

    $$L(t, q, v) = \tfrac12\, v^\top M v + b \cdot v - V(t, q), \qquad M, b \text{ constant}$$

    **Arguments:** `system`: a Lagrangian; `q0`: a point, of which only structure and type count, for the formulas to
    be read; None to go by the type alone.

    **Returns:** True for `Separable(L)`, for a `NaturalLagrangian` with a `EuclideanMetric`, and where the formulas
    show it; False for a `NaturalLagrangian` with any other metric where they do not; None where nothing is known.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> pendulum = lambda t, q, v: v**2 / 2 + jnp.cos(q)
    >>> fl.is_separable(pendulum), fl.is_separable(pendulum, 0.0), fl.is_separable(lambda t, q, v: q**2 * v**2, 0.0)
    (None, True, None)

    ```
    """
    if isinstance(system, Separable):
        return True
    natural = isinstance(system, NaturalLagrangian)
    if natural and isinstance(system.metric, EuclideanMetric):
        return True
    if q0 is not None and _shown(system, q0):
        return True
    return False if natural else None


def separation(flat: FlatLagrangian, q) -> Separation | None:
    """What the formulas show where a Lagrangian on flat vectors like q is separable, None where they do not show it."""
    known = unmarked(flat.lagrangian)
    if isinstance(known, NaturalLagrangian):
        read = entries_of(lambda x: known.metric(flat.structure.unflatten(x)), jnp.zeros(q.shape, q.dtype))
        return None if read is None or any(entry.arguments for entry in read[0].flat) else _separation(read[0], True)
    t, x = jnp.zeros((), q.dtype), jnp.zeros(q.shape, q.dtype)
    if polynomial_degree(lambda v: flat(t, x, v), x) != 2:
        return None

    def parts(t, q, v):
        slope = jax.grad(flat, argnums=2)
        return (
            slope(t, q, v),
            jax.jacfwd(slope, argnums=2)(t, q, v),
            jax.grad(flat, argnums=1)(t, q, v),
            slope(t, q, 0 * v),
        )

    read = entries_of(parts, t, x, x)
    if read is None:
        return None
    momentum, mass, force, at_rest = read
    fixed = all(not {0, 1} & entry.arguments for entry in momentum) and not any(entry.arguments for entry in mass.flat)
    if not fixed or any(2 in entry.arguments for entry in force):
        return None
    return _separation(mass, all(map(_is_zero, at_rest)))


def _separation(mass: np.ndarray, resting: bool) -> Separation:
    numbers = None
    if all(entry.value is not None for entry in mass.flat):
        numbers = np.asarray([entry.value for entry in mass.flat]).reshape(mass.shape)
        numbers = (numbers + numbers.T) / 2
    diagonal = all(_is_zero(mass[i, j]) for i, j in np.ndindex(mass.shape) if i != j)
    return Separation(numbers, diagonal, resting)


def _shown(system: LagrangianFn, q0: Coordinates) -> bool:
    """Whether the formulas of a system show it to be separable; nothing is read of more than a Lagrangian."""
    if isinstance(system, AbstractMark | AbstractDynamics | Herglotz | PhaseSpaceLagrangian):
        return False
    vector, structure = flatten(q0, "q0")
    return _reading(FlatLagrangian(system, structure), vector)


@compiled
def _reading(flat, vector) -> bool:
    """Read once for each program, as jit does."""
    return separation(flat, vector) is not None


def _is_zero(entry) -> bool:
    return entry.value is not None and bool(entry.value == 0)
