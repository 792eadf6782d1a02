"""The Legendre transform, both ways, and Hamilton's equations."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._euler_lagrange import refuse_own_dynamics
from fimlag.mechanics._forces import flat_force, unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian, NaturalLagrangian, Separable, as_time, flat_arguments
from fimlag.mechanics._legendre import conjugate_point

_NO_LAGRANGIAN = (
    "The Hamiltonian is linear in the momentum: its velocities do not depend on the momentum, and no Lagrangian of "
    "(t, q, v) belongs to it. Give PhaseSpaceLagrangian(one_form, hamiltonian) in the coordinates (q, p)."
)


class Hamiltonian(eqx.Module):
    """The Hamiltonian of a Lagrangian, as `hamiltonian` returns it: a callable `(t, q, p) -> scalar`."""

    lagrangian: LagrangianFn

    def __call__(self, t: RealScalarLike, q: Coordinates, p: Coordinates) -> Float[Array, ""]:
        flat, t, q, p = phase_arguments(self.lagrangian, t, q, p)
        v = flat_velocity(flat, t, q, p)
        known = unmarked(self.lagrangian)
        if isinstance(known, NaturalLagrangian):
            kinetic = p @ v / 2
            if known.potential is None:
                return kinetic
            value = known.potential(flat.structure.unflatten(q))
            if jnp.shape(value) != ():
                raise ValueError(f"A potential returns a scalar of shape (), but this one returned {jnp.shape(value)}.")
            return kinetic + value
        return p @ v - flat(t, q, v)


class ConjugateLagrangian(eqx.Module):
    """The Lagrangian of a Hamiltonian, as `lagrangian` returns it: a callable `(t, q, v) -> scalar`."""

    hamiltonian: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        flat, t, q, v = phase_arguments(self.hamiltonian, t, q, v)
        p = conjugate_point(lambda p: flat(t, q, p), v, jnp.zeros_like(v), _NO_LAGRANGIAN)
        return p @ v - flat(t, q, p)


def hamiltonian(lagrangian: LagrangianFn) -> Callable:
    r"""The Hamiltonian: the energy as a function of the momentum.

    $$H(t, q, p) = p_i v^i - L(t, q, v), \qquad p_i = \partial L / \partial v^i$$

    For a `NaturalLagrangian` this is $\tfrac12 g^{ij} p_i p_j + V$; for any other with a mass matrix that, as its
    traced program shows, does not depend on $v$, $v$ is one linear solve; else it is found by Newton's method and
    differentiated implicitly. The Hamiltonian of `lagrangian(H)` is H itself.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`. Forces and constraints that the system carries have
    no part in its Hamiltonian; `hamilton_equations` adds the forces.

    **Returns:** a callable `(t, q, p) -> scalar`; NaN where `velocity` is. Where several velocities share a momentum
    it takes the one that `velocity` finds.

    **Raises:** when called, `ValueError` for a Lagrangian linear in the velocity.

    **Reference:** Arnold (1989), section 15.

    ```python
    >>> import fimlag as fl
    >>> H = fl.hamiltonian(lambda t, q, v: v**2 - q**2)
    >>> float(H(0.0, 1.0, 4.0))
    5.0

    ```
    """
    bare = lagrangian.lagrangian if isinstance(lagrangian, Separable) else lagrangian
    return _given(bare.hamiltonian) if isinstance(bare, ConjugateLagrangian) else Hamiltonian(as_field(lagrangian))


def lagrangian(hamiltonian: Callable) -> LagrangianFn:
    r"""The Lagrangian whose energy is the Hamiltonian given.

    $$L(t, q, v) = p_i v^i - H(t, q, p), \qquad v^i = \partial H / \partial p_i$$

    For a Hamiltonian quadratic in $p$, as its traced program shows, $p$ is one linear solve; else it is found by
    Newton's method, from $p = 0$. The Lagrangian of `hamiltonian(L)` is L itself.

    **Arguments:** `hamiltonian`: a callable `(t, q, p) -> scalar`.

    **Returns:** a callable `(t, q, v) -> scalar`; NaN where no momentum with that velocity was found.

    **Raises:** when called, `ValueError` for a Hamiltonian linear in the momentum.

    **Reference:** Arnold (1989), section 15.

    ```python
    >>> import fimlag as fl
    >>> L = fl.lagrangian(lambda t, q, p: p**2 / 4 + q**2)
    >>> float(L(0.0, 1.0, 3.0))
    8.0

    ```
    """
    if isinstance(hamiltonian, Hamiltonian):
        return _given(hamiltonian.lagrangian)
    return ConjugateLagrangian(as_field(hamiltonian))


def velocity(
    lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, p: Coordinates, guess: Coordinates | None = None
) -> PyTree[Array]:
    r"""The velocity that has a given momentum.

    $$v: \quad \partial L / \partial v^i (t, q, v) = p_i$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `t`: time; `q`, `p`: point and momentum in
    one structure; `guess`: a velocity near the one sought, rest if left out. Where several velocities share a
    momentum, it decides.

    **Returns:** the velocity in the structure of `q`; NaN where the mass matrix is singular, where Newton's method did
    not converge, as from a momentum that no velocity has or beyond which velocities have no more digits (relativistic
    momenta near m c over the root of round-off).

    **Raises:** `ValueError` for a Lagrangian linear in the velocity, and for arguments of different structures.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.velocity(lambda t, q, v: v @ v, 0.0, jnp.zeros(2), jnp.array([2.0, 4.0])).tolist()
    [1.0, 2.0]

    ```
    """
    flat, t, q, p = phase_arguments(lagrangian, t, q, p)
    start = None if guess is None else flat.structure.flatten(guess, "guess").astype(q.dtype)
    return flat.structure.unflatten(flat_velocity(flat, t, q, p, start))


def hamilton_equations(
    hamiltonian: Callable, t: RealScalarLike, q: Coordinates, p: Coordinates
) -> tuple[PyTree[Array], PyTree[Array]]:
    r"""The rates of point and momentum by Hamilton's equations.

    $$\dot q^i = \frac{\partial H}{\partial p_i}, \qquad \dot p_i = -\frac{\partial H}{\partial q^i} + Q_i$$

    **Arguments:** `hamiltonian`: a callable `(t, q, p) -> scalar`; that of a Lagrangian system, as
    `hamiltonian(L)` returns it, brings along the forces Q that the system carries (`Forced`); `t`: time; `q`, `p`:
    point and momentum in one structure.

    **Returns:** `(dq, dp)`, both in the structure of `q`; NaN where `velocity` is.

    **Raises:** `ValueError` for arguments of different structures, and for a Hamiltonian that is not scalar;
    `TypeError` for the Hamiltonian of a system with constraints, or of a phase space.

    **Reference:** Arnold (1989), section 15; Goldstein, Poole & Safko (2002), eq. 8.18.

    ```python
    >>> import fimlag as fl
    >>> dq, dp = fl.hamilton_equations(lambda t, q, p: p**2 / 2 + q**4, 0.0, 1.0, 3.0)
    >>> float(dq), float(dp)
    (3.0, -4.0)

    ```
    """
    flat, t, q, p = phase_arguments(hamiltonian, t, q, p)
    return tuple(flat.structure.unflatten(rate) for rate in flat_hamilton_equations(flat, t, q, p))


def flat_hamilton_equations(flat: FlatLagrangian, t, q, p) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
    """Hamilton's equations on flat arguments: those of a Lagrangian without a derivative of its Legendre transform."""
    if not isinstance(flat.lagrangian, Hamiltonian):
        slope, v = jax.grad(flat, argnums=(1, 2))(t, q, p)
        return v, -slope
    refuse_own_dynamics(flat.lagrangian.lagrangian)
    system = FlatLagrangian(flat.lagrangian.lagrangian, flat.structure)
    v = flat_velocity(system, t, q, p)
    pull, applied = jax.grad(system, argnums=1)(t, q, v), flat_force(system, t, q, v)
    return v, pull if applied is None else pull + applied


class LegendreDefect(eqx.Module):
    """What a state loses on its way from the velocity to the momentum and back.

    **Attributes:** `velocity`: the velocity found less the one given, in the structure of `q`; `energy`: H + L - p v,
    shape (), in the unit of the Lagrangian. Both are NaN where the way back was not found.
    """

    velocity: PyTree[Array]
    energy: Float[Array, ""]


def legendre_defect(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates) -> LegendreDefect:
    r"""How far a state is from itself after the Legendre transform and its inverse.

    $$v(p(v)) - v, \qquad H(t, q, p(v)) + L(t, q, v) - p(v) \cdot v, \qquad p(v) = \partial L / \partial v$$

    Both are round-off where the transform is one to one: large on another branch of a Lagrangian that is not convex in
    the velocity, NaN where the mass matrix is singular.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `t`: time; `q`, `v`: point and velocity in one
    structure.

    **Returns:** a `LegendreDefect`.

    **Reference:** Arnold (1989), section 14.

    ```python
    >>> import fimlag as fl
    >>> well = lambda t, q, v: (v**2 - 1) ** 2 / 4
    >>> [round(float(fl.legendre_defect(well, 0.0, 0.0, v).velocity), 3) for v in (0.2, 1.1)]
    [0.0, -1.346]

    ```
    """
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    value, p = jax.value_and_grad(flat, argnums=2)(t, q, v)
    system = hamiltonian(lagrangian)
    back = flat_hamilton_equations(FlatLagrangian(system, flat.structure), t, q, p)[0]
    energy = FlatLagrangian(system, flat.structure)(t, q, p)
    return LegendreDefect(flat.structure.unflatten(back - v), energy + value - p @ v)


def flat_velocity(flat: FlatLagrangian, t, q, p, guess=None) -> Float[Array, " d"]:
    """The velocity of a momentum on flat arguments, sought from `guess` or from rest where it is not closed."""
    known = unmarked(flat.lagrangian)
    if isinstance(known, NaturalLagrangian):
        metric = known.metric(flat.structure.unflatten(q))
        return solve((metric + metric.T) / 2, p)
    if isinstance(known, ConjugateLagrangian):
        return jax.grad(FlatLagrangian(known.hamiltonian, flat.structure), argnums=2)(t, q, p)
    return conjugate_point(lambda v: flat(t, q, v), p, jnp.zeros_like(p) if guess is None else guess)


def phase_arguments(function: Callable, t, q, p):
    """`(flat function, t, q, p)` of a function of the phase space, all in the dtype of `q`."""
    vector, structure = flatten(q, "q")
    conjugate = structure.flatten(p, "the momentum or velocity").astype(vector.dtype)
    return FlatLagrangian(function, structure), as_time(t, vector.dtype), vector, conjugate


def _given(function: Callable) -> Callable:
    """A callable as the user gave it, before it became a field."""
    plain = isinstance(function, jax.tree_util.Partial) and not function.args and not function.keywords
    return function.func if plain else function
