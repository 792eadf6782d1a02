"""From a Lagrangian to its equations of motion."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.mechanics._degree import depends
from fimlag.mechanics._forces import AbstractDynamics, Forced, flat_force, marks, unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian, NaturalLagrangian, flat_arguments
from fimlag.mechanics._legendre import FIRST_ORDER


def momentum(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates) -> PyTree[Array]:
    r"""The momentum conjugate to the coordinates.

    $$p_i = \partial L / \partial v^i$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `t`: time; `q`, `v`: point and velocity in
    one structure.

    **Returns:** the momentum in the structure of `q`.

    **Reference:** Arnold (1989), section 12.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.momentum(lambda t, q, v: v @ v - q @ q, 0.0, jnp.zeros(2), jnp.array([1.0, 2.0])).tolist()
    [2.0, 4.0]

    ```
    """
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    return flat.structure.unflatten(jax.grad(flat, argnums=2)(t, q, v))


def energy(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
    r"""The energy, conserved by a Lagrangian without explicit time.

    $$E = v^i\, \partial L / \partial v^i - L$$

    **Arguments:** as in `momentum`.

    **Returns:** the energy, shape (), in the unit of the Lagrangian.

    **Reference:** Landau & Lifshitz (1976), eq. 6.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> float(fl.energy(lambda t, q, v: v @ v / 2 - q @ q, 0.0, jnp.ones(2), jnp.ones(2)))
    3.0

    ```
    """
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    value, p = jax.value_and_grad(flat, argnums=2)(t, q, v)
    return v @ p - value


def mass_matrix(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, "d d"]:
    r"""The mass matrix: the Hessian of the Lagrangian in the velocity.

    $$M_{ij} = \partial^2 L / \partial v^i \partial v^j$$

    **Arguments:** as in `momentum`.

    **Returns:** the symmetric matrix, shape (d, d), in the order of the flattened coordinates.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.mass_matrix(lambda t, q, v: v @ v, 0.0, jnp.zeros(2), jnp.zeros(2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]

    ```
    """
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    return flat_mass_matrix(flat, t, q, v)


def acceleration(
    lagrangian: LagrangianFn,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates,
    force: Callable | None = None,
) -> PyTree[Array]:
    r"""The acceleration that the Euler-Lagrange equations prescribe.

    $$M a = \frac{\partial L}{\partial q} + Q - \frac{\partial^2 L}{\partial v \partial q} v
    - \frac{\partial^2 L}{\partial v \partial t}, \qquad M = \frac{\partial^2 L}{\partial v^2}$$

    **Arguments:** `lagrangian`, `t`, `q`, `v`: as in `momentum`; `force`: an external force
    `force(t, q, v)` with covariant components (work per unit of each coordinate) in the structure of `q`, or
    None. It is added to the forces that the system carries (`Forced`).

    **Returns:** the acceleration in the structure of `q`; NaN where the mass matrix is singular:
    `acceleration_estimate` tells in which direction.

    **Raises:** `ValueError` for a Lagrangian that the program shows to be linear in the velocity, whose equations are
    of first order (`PhaseSpaceLagrangian`), and for a force of another structure.

    **Reference:** Arnold (1989), section 12; Goldstein, Poole & Safko (2002), eq. 1.53.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.acceleration(lambda t, q, v: v @ v / 2 - 2 * q @ q, 0.0, jnp.ones(1), jnp.zeros(1)).tolist()
    [-4.0]

    ```
    """
    system = lagrangian if force is None else Forced(lagrangian, force)
    flat, t, q, v = flat_arguments(system, t, q, v)
    return flat.structure.unflatten(flat_acceleration(flat, t, q, v))


def euler_lagrange_residual(lagrangian: LagrangianFn, path: Callable, t: RealScalarLike) -> PyTree[Array]:
    r"""What is left of the Euler-Lagrange equations along any path; zero on a motion.

    $$R_i(t) = \frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v^i}
    - \frac{\partial L}{\partial q^i} - Q_i, \qquad q = \mathtt{path}(t), \quad v = \dot q$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`, with the forces Q that it carries (`Forced`);
    `path`: a twice differentiable callable `t -> q`; `t`: the time.

    **Returns:** the residual in the structure of the point `path(t)`. On the motion of a system with constraints it is
    their force.

    **Reference:** Arnold (1989), section 12.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> float(fl.euler_lagrange_residual(lambda t, q, v: v**2 / 2 - q, lambda t: -(t**2) / 2, 1.0))
    0.0

    ```
    """
    t = jnp.asarray(t, jnp.result_type(float, t))
    structure = flatten(path(t), "path(t)")[1]

    def position(s):
        return structure.flatten(path(s), "path")

    flat = FlatLagrangian(lagrangian, structure)

    def along(s):
        q, v = jax.jvp(position, (s,), (jnp.ones_like(s),))
        state = s.astype(q.dtype), q, v
        pull, p = jax.grad(flat, argnums=(1, 2))(*state)
        return p, _with_forces(flat, pull, *state)

    (_, pull), (rate, _) = jax.jvp(along, (t,), (jnp.ones_like(t),))
    return structure.unflatten(rate - pull)


def flat_acceleration(flat: FlatLagrangian, t, q, v) -> Float[Array, " d"]:
    """The acceleration on flat arguments: by the system's own equations where it has them."""
    for system in marks(flat.lagrangian):
        if isinstance(system, AbstractDynamics):
            return system.flat_acceleration(flat, t, q, v)
    return solve(*flat_equations(flat, t, q, v))


def flat_equations(flat: FlatLagrangian, t, q, v) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    """`(M, f)` of the Euler-Lagrange equations M a = f, the forces that the system carries included.

    **Raises:** `ValueError` where the program shows that the mass matrix is zero.
    """
    (pull, _), tangent = jax.linearize(jax.grad(flat, argnums=(1, 2)), t, q, v)
    zero, zeros, identity = jnp.zeros_like(t), jnp.zeros_like(q), jnp.eye(q.size, dtype=q.dtype)
    if not depends(lambda direction: tangent(zero, zeros, direction)[1], v):
        raise ValueError(FIRST_ORDER)
    times = jnp.concatenate([jnp.ones_like(q[:1]), zeros])
    points = jnp.concatenate([v[None], jnp.zeros_like(identity)])
    velocities = jnp.concatenate([zeros[None], identity])
    # Row 0 is the momentum's rate at constant velocity, the others are the mass matrix.
    rates = jax.vmap(lambda *direction: tangent(*direction)[1])(times, points, velocities)
    return (rates[1:] + rates[1:].T) / 2, _with_forces(flat, pull, t, q, v) - rates[0]


def refuse_own_dynamics(system: LagrangianFn):
    """Raise a `TypeError` for a system that does not move by the Euler-Lagrange equations of its Lagrangian alone."""
    for mark in marks(system):
        if isinstance(mark, AbstractDynamics):
            raise TypeError(
                f"A {type(mark).__name__} moves by more than the Euler-Lagrange equations of its Lagrangian: use "
                "`acceleration`."
            )


def _with_forces(flat, pull, t, q, v):
    applied = flat_force(flat, t, q, v)
    return pull if applied is None else pull + applied


def flat_mass_matrix(flat: FlatLagrangian, t, q, v) -> Float[Array, "d d"]:
    """The mass matrix on flat arguments: the metric where it is known, else the Hessian in the velocity."""
    known = unmarked(flat.lagrangian)
    if isinstance(known, NaturalLagrangian):
        matrix = known.metric(flat.structure.unflatten(q))
    else:
        matrix = jax.jacfwd(jax.grad(flat, argnums=2), argnums=2)(t, q, v)
    return (matrix + matrix.T) / 2
