"""Lagrangians linear in the velocity: phase spaces, and equations of first order."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._forces import AbstractDynamics, flat_force, unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian, NaturalLagrangian, as_time


class PhaseSpaceLagrangian(AbstractDynamics):
    r"""A Lagrangian linear in the velocity: its coordinates are those of a phase space.

    $$L(t, q, v) = \theta_i(t, q)\, v^i - H(t, q)$$

    Its equations are of first order, `phase_velocity` gives them. Two one-forms that differ by a gradient, and
    two Hamiltonians that differ by a constant, have the same motions.

    **Arguments:** `one_form`: a callable `(t, q)` returning $\theta$ in the structure of `q`; `hamiltonian`: a
    callable `(t, q) -> scalar`, the energy.

    **Returns:** a callable `(t, q, v) -> scalar`. Its `acceleration` is the derivative of the phase velocity
    in the direction of the velocity given.

    **Raises:** `ValueError`, when called, for a one-form in another structure or a Hamiltonian that is no scalar.

    **Reference:** Faddeev & Jackiw (1988); Arnold (1989), sections 44-45.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> canonical = fl.PhaseSpaceLagrangian(lambda t, z: jnp.array([z[1], 0.0]), lambda t, z: z @ z / 2)
    >>> fl.phase_velocity(canonical, 0.0, jnp.array([3.0, 4.0])).tolist()
    [4.0, -3.0]

    ```
    """

    one_form: Callable
    hamiltonian: Callable

    def __init__(self, one_form: Callable, hamiltonian: Callable):
        self.one_form = as_field(one_form)
        self.hamiltonian = as_field(hamiltonian)

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        velocity, structure = flatten(v, "v")
        theta = self.flat_one_form(structure, t, structure.flatten(q, "q").astype(velocity.dtype))
        value = jnp.asarray(self.hamiltonian(t, q))
        if value.shape != ():
            raise ValueError(f"A Hamiltonian returns a scalar of shape (), but this one returned shape {value.shape}.")
        return theta @ velocity - value.astype(velocity.dtype)

    def flat_one_form(self, structure: Structure, t, q) -> Float[Array, " d"]:
        """The one-form on flat arguments."""
        return structure.flatten(self.one_form(t, structure.unflatten(q)), "one_form").astype(q.dtype)

    def flat_acceleration(self, flat, t, q, v):
        def velocity(t, q):
            return flat_phase_velocity(flat, t, q)

        return jax.jvp(velocity, (t, q), (jnp.ones_like(t), v))[1]


def symplectic_form(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates) -> Float[Array, "d d"]:
    r"""The exterior derivative of the one-form of a Lagrangian linear in the velocity.

    $$\omega_{ij} = \frac{\partial \theta_j}{\partial q^i} - \frac{\partial \theta_i}{\partial q^j}, \qquad
    \theta_i = \frac{\partial L}{\partial v^i}$$

    For $\theta = p\, \mathrm d q$ in the coordinates (q, p) this is $\begin{pmatrix} 0 & -1 \\ 1 & 0 \end{pmatrix}$.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`, linear in `v`; `t`: time; `q`: the point.

    **Returns:** the antisymmetric matrix, shape (d, d), in the order of the flattened coordinates; NaN where the
    Lagrangian is not linear in the velocity.

    **Raises:** `ValueError` for a `NaturalLagrangian`.

    **Reference:** Arnold (1989), section 37; Faddeev & Jackiw (1988).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.symplectic_form(lambda t, z, w: z[1] * w[0] - z @ z, 0.0, jnp.ones(2)).tolist()
    [[0.0, -1.0], [1.0, 0.0]]

    ```
    """
    flat, t, q = flat_place(lagrangian, t, q)
    slope = jax.jacfwd(_one_form(flat), argnums=1)(t, q)
    return jnp.where(is_linear(flat, t, q), slope.T - slope, jnp.nan)


def phase_velocity(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates) -> PyTree[Array]:
    r"""The velocity that the equations of a Lagrangian linear in the velocity prescribe.

    $$\omega\, \dot q = \frac{\partial H}{\partial q} + \frac{\partial \theta}{\partial t} - Q, \qquad
    \theta_i = \frac{\partial L}{\partial v^i}, \quad H = -L(t, q, 0), \quad \omega = \mathrm d \theta$$

    The forces Q that the system carries are at most linear in the velocity.

    **Arguments:** `lagrangian`: a `PhaseSpaceLagrangian` or any callable `(t, q, v) -> scalar` linear in `v`,
    `Forced` or not; `t`: time; `q`: the point.

    **Returns:** the velocity in the structure of `q`; NaN where the symplectic form is singular (its
    `phase_space_report` names the direction), or the Lagrangian or a force is not linear in the velocity.

    **Raises:** `ValueError` for a `NaturalLagrangian`, and for an odd number of coordinates without a force,
    where every form is singular.

    **Reference:** Faddeev & Jackiw (1988); Arnold (1989), section 37.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.phase_velocity(lambda t, z, w: z[1] * w[0] - z @ z / 2, 0.0, jnp.array([3.0, 4.0])).tolist()
    [4.0, -3.0]

    ```
    """
    flat, t, q = flat_place(lagrangian, t, q)
    return flat.structure.unflatten(flat_phase_velocity(flat, t, q))


def flat_phase_velocity(flat: FlatLagrangian, t: Float[Array, ""], q: Float[Array, " d"]) -> Float[Array, " d"]:
    """The phase velocity on flat arguments, with the forces that the system carries."""
    matrix, drive, force = first_order_equations(flat, t, q)
    if force is None and q.size % 2:
        raise ValueError(
            f"A Lagrangian linear in the velocity needs an even number of coordinates, but has {q.size}: "
            "the symplectic form of an odd number is singular."
        )
    v = solve(matrix, drive)
    regular = is_linear(flat, t, q)
    if force is not None:
        rest, slope = force
        applied = flat_force(flat, t, q, v)
        scale = jnp.abs(drive) + jnp.abs(matrix) @ jnp.abs(v)
        bend = jnp.abs(applied - rest - slope @ v)
        regular &= jnp.max(bend) <= jnp.finfo(q.dtype).eps ** (2 / 3) * jnp.max(scale)
    return jnp.where(regular, v, jnp.nan)


def first_order_equations(flat: FlatLagrangian, t, q):
    r"""`(K, f, force)` of $K \dot q = f$, with the force at rest and its slope in the velocity, or None."""
    rate, slope = jax.jacfwd(_one_form(flat), argnums=(0, 1))(t, q)
    drive = rate - jax.grad(flat, argnums=1)(t, q, jnp.zeros_like(q))
    if flat_force(flat, t, q, jnp.zeros_like(q)) is None:
        return slope.T - slope, drive, None
    rest, friction = _value_and_slope(lambda v: flat_force(flat, t, q, v), jnp.zeros_like(q))
    return slope.T - slope + friction, drive - rest, (rest, friction)


def _one_form(flat):
    """The one-form on flat arguments: the user's own where there is one, else the momentum at rest."""
    known = unmarked(flat.lagrangian)
    if not isinstance(known, PhaseSpaceLagrangian):
        return lambda t, q: jax.grad(flat, argnums=2)(t, q, jnp.zeros_like(q))
    return lambda t, q: known.flat_one_form(flat.structure, t, q)


def _value_and_slope(function, x):
    value, tangent = jax.linearize(function, x)
    return value, jax.vmap(tangent, out_axes=1)(jnp.eye(x.size, dtype=x.dtype))


def is_linear(flat, t, q):
    """Whether the mass matrix vanishes at rest and at a velocity of no symmetry; autodiff leaves exact zeros."""
    if isinstance(unmarked(flat.lagrangian), PhaseSpaceLagrangian):
        return jnp.array(True)
    masses = jax.vmap(lambda v: jax.jacfwd(jax.grad(flat, argnums=2), argnums=2)(t, q, v))
    asymmetric = jnp.cos(jnp.arange(1, q.size + 1, dtype=q.dtype))
    return jnp.all(masses(jnp.stack([jnp.zeros_like(q), asymmetric])) == 0)


def flat_place(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates):
    """`(flat Lagrangian, t, q)` with q as a vector; a `ValueError` for what is quadratic in the velocity."""
    if isinstance(unmarked(lagrangian), NaturalLagrangian):
        raise ValueError(
            "A NaturalLagrangian is quadratic in the velocity: use `acceleration`, its equations are of second order."
        )
    vector, structure = flatten(q, "q")
    return FlatLagrangian(lagrangian, structure), as_time(t, vector.dtype), vector
