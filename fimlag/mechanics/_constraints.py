"""Constraints: holonomic ones by d'Alembert's principle, and those linear in the velocity."""

import abc
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._euler_lagrange import flat_equations
from fimlag.mechanics._forces import AbstractDynamics, AbstractMark, marks
from fimlag.mechanics._lagrangian import FlatLagrangian, flat_arguments


class AbstractConstraint(AbstractMark, AbstractDynamics):
    """A Lagrangian system whose velocities keep $A(q)\\, v = 0$; constraints nest, and all of them are kept."""

    @abc.abstractmethod
    def rates(self, structure: Structure, q: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, " m"]:
        """A(q) v on flat arguments."""

    def flat_acceleration(self, flat, t, q, v):
        return flat_constrained_acceleration(flat, t, q, v)[0]


class Constrained(AbstractConstraint):
    r"""A Lagrangian system kept on a surface.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} - \frac{\partial L}{\partial q}
    = A(q)^\top \lambda, \qquad c(q) = 0, \quad A = \partial c / \partial q$$

    Called, it is the Lagrangian alone. Constraints nest, with each other and with `Nonholonomic` ones. They do not
    depend on the time: for a surface that moves take coordinates on it, by `point_transformation`.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `constraint`: a callable from the point to a
    number or a vector (or any pytree), zero where the constraint is kept.

    **Returns:** a callable `(t, q, v) -> scalar`. Its `acceleration` is that of `constrained_acceleration`.

    **Reference:** Arnold (1989), section 21; Hairer, Lubich & Wanner (2006), section VII.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> pendulum = fl.Constrained(lambda t, q, v: v @ v / 2 - 9.8 * q[1], lambda q: q @ q - 1.0)
    >>> fl.acceleration(pendulum, 0.0, jnp.array([0.0, -1.0]), jnp.array([2.0, 0.0])).round(12).tolist()
    [0.0, 4.0]

    ```
    """

    lagrangian: LagrangianFn
    constraint: Callable

    def __init__(self, lagrangian: LagrangianFn, constraint: Callable):
        self.lagrangian = as_field(lagrangian)
        self.constraint = as_field(constraint)

    def values(self, structure: Structure, q: Float[Array, " d"]) -> Float[Array, " m"]:
        """c(q) on flat arguments."""
        return flatten(self.constraint(structure.unflatten(q)), "constraint(q)")[0].astype(q.dtype)

    def rates(self, structure, q, v):
        return jax.jvp(lambda q: self.values(structure, q), (q,), (v,))[1]


class Nonholonomic(AbstractConstraint):
    r"""A Lagrangian system whose velocities keep linear constraints, as wheels and skates do.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} - \frac{\partial L}{\partial q}
    = A(q)^\top \lambda, \qquad A(q)\, v = 0$$

    This is the principle of Lagrange and d'Alembert: the forces of the constraints do no work. The motions do
    not make the action stationary among the paths that keep the constraints; that would be another theory
    (vakonomic mechanics), with other motions unless the constraints can be integrated.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `one_forms`: a callable from the point to
    the matrix A, shape (m, d), its columns in the order of the flattened coordinates.

    **Returns:** a callable `(t, q, v) -> scalar`. Its `acceleration` is that of `constrained_acceleration`.

    **Raises:** `ValueError`, when used, for one-forms of another shape.

    **Reference:** Neimark & Fufaev (1972); Bloch (2003), section 1.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def skate(q): return jnp.array([[-jnp.sin(q[2]), jnp.cos(q[2]), 0.0]])
    >>> sliding = fl.Nonholonomic(lambda t, q, v: v @ v / 2, skate)
    >>> a = fl.acceleration(sliding, 0.0, jnp.zeros(3), jnp.array([2.0, 0.0, 3.0]))
    >>> a.round(12).tolist()
    [0.0, 6.0, 0.0]

    ```
    """

    lagrangian: LagrangianFn
    one_forms: Callable

    def __init__(self, lagrangian: LagrangianFn, one_forms: Callable):
        self.lagrangian = as_field(lagrangian)
        self.one_forms = as_field(one_forms)

    def rates(self, structure, q, v):
        matrix = jnp.asarray(self.one_forms(structure.unflatten(q)))
        if matrix.ndim != 2 or matrix.shape[1] != q.size:
            raise ValueError(f"one_forms(q) must have shape (m, {q.size}), but has shape {matrix.shape}.")
        return matrix.astype(q.dtype) @ v


def constrained_acceleration(
    system: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates
) -> tuple[PyTree[Array], Float[Array, " m"]]:
    r"""The acceleration under constraints, and the multipliers that measure their forces.

    $$\begin{pmatrix} M & -A^\top \\ A & 0 \end{pmatrix} \begin{pmatrix} a \\ \lambda \end{pmatrix} =
    \begin{pmatrix} f \\ -\dot A v \end{pmatrix}, \qquad
    f = \frac{\partial L}{\partial q} + Q - \frac{\partial^2 L}{\partial v \partial q} v
    - \frac{\partial^2 L}{\partial v \partial t}$$

    The force of the constraints is $A^\top \lambda$, covariant. The mass matrix may be singular as long as the
    whole matrix is not. The state is taken to keep the constraints: `project_onto_constraints` makes it so.

    **Arguments:** `system`: a `Constrained` or `Nonholonomic`, nested or not, `Forced` or not; `t`: time;
    `q`, `v`: point and velocity in one structure.

    **Returns:** the acceleration in the structure of `q`, and the multipliers, shape (m,), those of the outermost
    constraint first; NaN where the constraints are dependent or the mass matrix is singular along the surface.

    **Raises:** `ValueError` for a system without constraints, and for more constraints than coordinates.

    **Reference:** Hairer, Lubich & Wanner (2006), section VII.1; Bloch (2003), chapter 5.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> pendulum = fl.Constrained(lambda t, q, v: v @ v / 2 - 9.8 * q[1], lambda q: jnp.hypot(*q) - 1.0)
    >>> a, tension = fl.constrained_acceleration(pendulum, 0.0, jnp.array([0.0, -1.0]), jnp.array([2.0, 0.0]))
    >>> a.round(12).tolist(), round(float(-tension[0]), 12)
    ([0.0, 4.0], 13.8)

    ```
    """
    flat, t, q, v = flat_arguments(system, t, q, v)
    a, multipliers = flat_constrained_acceleration(flat, t, q, v)
    return flat.structure.unflatten(a), multipliers


def constraint_defect(
    system: LagrangianFn, q: Coordinates, v: Coordinates
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""How far a state is from keeping its constraints.

    $$\max_k |c_k(q)|, \qquad \max_k |(A(q)\, v)_k|$$

    **Arguments:** `system`: a `Constrained` or `Nonholonomic`, nested or not; `q`, `v`: point and velocity.

    **Returns:** the defects of the point (zero without holonomic constraints) and of the velocity, in the units of
    the constraints and their rates.

    **Raises:** `ValueError` for a system without constraints.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> circle = fl.Constrained(lambda t, q, v: v @ v / 2, lambda q: q @ q - 1.0)
    >>> [float(defect) for defect in fl.constraint_defect(circle, jnp.array([2.0, 0.0]), jnp.array([0.5, 3.0]))]
    [3.0, 2.0]

    ```
    """
    flat, _, q, v = flat_arguments(system, 0, q, v)
    rates = constraint_rates(flat, q, v)
    values = constraint_values(flat, q)
    return jnp.max(jnp.abs(values), initial=0), jnp.max(jnp.abs(rates), initial=0)


def flat_constrained_acceleration(flat: FlatLagrangian, t, q, v) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    """Acceleration and multipliers on flat arguments."""
    mass, load = flat_equations(flat, t, q, v)
    matrix = constraint_matrix(flat, q)
    bend = jax.jvp(lambda q: constraint_rates(flat, q, v), (q,), (v,))[1]
    return saddle_solve(mass, matrix, load, -bend)


def saddle_solve(mass, matrix, load, rates) -> tuple[Float[Array, " d"], Float[Array, " m"]]:
    r"""The solution of $M a - A^\top \lambda = f$, $A a = r$; NaN where the constraints are dependent."""
    size, count = load.size, rates.size
    corner = jnp.zeros((count, count), load.dtype)
    solution = solve(jnp.block([[mass, -matrix.T], [matrix, corner]]), jnp.concatenate([load, rates]))
    solution = jnp.where(_independent(matrix), solution, jnp.nan)
    return solution[:size], solution[size:]


def _independent(matrix):
    """Whether no row is a combination of the others, by Gram-Schmidt; units of rows and columns do not matter."""
    rest = lax.stop_gradient(matrix)
    rest = rest / jnp.max(jnp.abs(rest), axis=1, keepdims=True)
    columns = jnp.max(jnp.abs(rest), axis=0, keepdims=True)
    rest = rest / jnp.where(columns > 0, columns, 1)
    rest = rest / jnp.linalg.norm(rest, axis=1, keepdims=True)
    regular = jnp.array(True)
    while rest.shape[0]:
        length = jnp.linalg.norm(rest[0])
        regular &= length > 64 * matrix.shape[1] * jnp.finfo(matrix.dtype).eps
        direction, rest = rest[0] / length, rest[1:]
        rest = rest - jnp.outer(rest @ direction, direction)
    return regular


def constraint_values(flat: FlatLagrangian, q) -> Float[Array, " k"]:
    """The values of all holonomic constraints of a system, outermost first; empty where it has none."""
    holonomic = [system for system in marks(flat.lagrangian) if isinstance(system, Constrained)]
    return jnp.concatenate([q[:0], *(system.values(flat.structure, q) for system in holonomic)])


def constraint_rates(flat: FlatLagrangian, q, v) -> Float[Array, " m"]:
    """A(q) v for all constraints of a system, outermost first."""
    constraints = [system for system in marks(flat.lagrangian) if isinstance(system, AbstractConstraint)]
    if not constraints:
        raise ValueError("The system has no constraints: wrap its Lagrangian in Constrained or Nonholonomic.")
    rates = jnp.concatenate([system.rates(flat.structure, q, v) for system in constraints])
    if rates.size > q.size:
        raise ValueError(f"{rates.size} constraints on {q.size} coordinates are dependent: leave some out.")
    return rates


def constraint_matrix(flat: FlatLagrangian, q) -> Float[Array, "m d"]:
    """The matrix A of all constraints at a point."""
    return jax.jacrev(lambda v: constraint_rates(flat, q, v))(jnp.zeros_like(q))
