"""The inertia of a mass matrix, and accelerations that say where they are not determined."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure
from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.mechanics._euler_lagrange import flat_equations, flat_mass_matrix, refuse_own_dynamics
from fimlag.mechanics._forces import Forced
from fimlag.mechanics._lagrangian import FlatLagrangian, flat_arguments

_NARROWINGS = 50  # each halves the logarithm of what the scales lack


class Inertia(eqx.Module):
    """The signs of a mass matrix; a report, without derivatives.

    **Attributes:** `positive`, `negative`, `zero`: the numbers of directions whose kinetic energy is positive,
    negative and absent, each of shape (); their sum is d, or 0 where the matrix is not finite. `eigenvalues`
    (d,): of the matrix scaled to unit rows and columns, the smallest in size first; `null_directions`: velocities
    of length 1 that carry no kinetic energy, in the structure of `q`, stacked along axis 0: the first `zero` of
    d rows, the others are 0.
    """

    positive: Int[Array, ""]
    negative: Int[Array, ""]
    zero: Int[Array, ""]
    eigenvalues: Float[Array, " d"]
    null_directions: PyTree[Array]


class AccelerationEstimate(AbstractSolution):
    """An acceleration and what is known of it.

    **Attributes:** `value`: in the structure of `q`, NaN where it failed; `inertia`: the `Inertia` of the mass matrix;
    `residual`: $|M a - f|$ over $|M| |a| + |f|$, the largest of all components, shape (); `result`: a `RESULTS` member.
    """

    value: PyTree[Array]
    inertia: Inertia
    residual: Float[Array, ""]
    result: RESULTS


def inertia(
    lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, v: Coordinates, rtol: float | None = None
) -> Inertia:
    r"""The inertia of the mass matrix: how many directions have positive, negative and no kinetic energy.

    $$M = \partial^2 L / \partial v^2, \qquad M n = 0 \ \text{for null directions}\ n$$

    By Sylvester's law the numbers do not depend on coordinates. Rows and columns are scaled to size one first, so that
    the verdict on zero does not depend on the units of single coordinates either.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `t`: time; `q`, `v`: point and velocity in one
    structure; `rtol`: the share of the largest eigenvalue below which one counts as zero, 64 d times round-off if left
    out.

    **Returns:** an `Inertia`.

    **Reference:** Sylvester (1852); Horn & Johnson (2013), theorem 4.5.8.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> signs = fl.inertia(lambda t, q, v: v[0] * v[1], 0.0, jnp.zeros(3), jnp.zeros(3))
    >>> int(signs.positive), int(signs.negative), int(signs.zero), signs.null_directions[0].tolist()
    (1, 1, 1, [0.0, 0.0, 1.0])

    ```
    """
    return _inertia_at(*flat_arguments(lagrangian, t, q, v), rtol)


def acceleration_estimate(
    lagrangian: LagrangianFn,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates,
    force: Callable | None = None,
    *,
    rtol: float | None = None,
    throw: bool = True,
) -> AccelerationEstimate:
    r"""The acceleration of the Euler-Lagrange equations, with the inertia of the mass matrix that it rests on.

    $$M a = f, \qquad M = \frac{\partial^2 L}{\partial v^2}$$

    The mass matrix may be indefinite, as that of a Lorentzian metric, but not singular.

    **Arguments:** `lagrangian`, `t`, `q`, `v`, `force`: as in `acceleration`; `rtol`: as in `inertia`; `throw`: whether
    a failure raises.

    **Returns:** an `AccelerationEstimate`.

    **Raises:** `ValueError` for a Lagrangian linear in the velocity; `TypeError` for a system with equations of its
    own, a phase space or constraints; with `throw`, an error for `nonfinite`, and for `singular_mass`, which names the
    null directions unless it comes from compiled code.

    **Reference:** Arnold (1989), section 12.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> null_coordinates = lambda t, q, v: v[0] * v[1] - q[1]
    >>> fl.acceleration_estimate(null_coordinates, 0.0, jnp.zeros(2), jnp.zeros(2)).value.tolist()
    [-1.0, 0.0]

    ```
    """
    refuse_own_dynamics(lagrangian)
    system = lagrangian if force is None else Forced(lagrangian, force)
    flat, t, q, v = flat_arguments(system, t, q, v)
    estimate = _estimate(flat, t, q, v, rtol)
    singular = estimate.inertia.zero > 0
    if throw and not isinstance(singular, Tracer) and bool(singular):
        estimate = eqx.error_if(estimate, singular, _in_words(estimate.inertia, flat.structure))
    return raise_unless_successful(estimate, throw)


@compiled
def _inertia_at(flat: FlatLagrangian, t, q, v, rtol) -> Inertia:
    return _inertia(flat_mass_matrix(flat, t, q, v), flat.structure, rtol)


@compiled
def _estimate(flat: FlatLagrangian, t, q, v, rtol) -> AccelerationEstimate:
    mass, drive = flat_equations(flat, t, q, v)
    signs = _inertia((mass + mass.T) / 2, flat.structure, rtol)
    singular = signs.zero > 0
    a = jnp.where(singular, jnp.nan, solve(mass, drive))
    return AccelerationEstimate(
        value=flat.structure.unflatten(a),
        inertia=signs,
        residual=_residual(*lax.stop_gradient((mass, a, drive))),
        result=first_failure(
            (~(jnp.all(jnp.isfinite(mass)) & jnp.all(jnp.isfinite(drive))), RESULTS.nonfinite),
            (singular, RESULTS.singular_mass),
            (~jnp.all(jnp.isfinite(a)), RESULTS.nonfinite),
        ),
    )


def _inertia(matrix, structure: Structure, rtol) -> Inertia:
    """The inertia of a symmetric matrix."""
    matrix = lax.stop_gradient(matrix)
    scales = _scales(matrix)
    values, vectors = jnp.linalg.eigh(scales[:, None] * matrix * scales[None, :])
    order = jnp.argsort(jnp.abs(values))
    values, directions = values[order], (scales[:, None] * vectors).T[order]
    rtol = 64 * matrix.shape[0] * float(jnp.finfo(matrix.dtype).eps) if rtol is None else rtol
    finite = jnp.all(jnp.isfinite(values))
    null = finite & (jnp.abs(values) <= rtol * jnp.max(jnp.abs(values)))
    lengths = jnp.sqrt(jnp.sum(directions**2, axis=1, keepdims=True))
    return Inertia(
        positive=jnp.sum(~null & (values > 0)),
        negative=jnp.sum(~null & (values < 0)),
        zero=jnp.sum(null),
        eigenvalues=values,
        null_directions=jax.vmap(structure.unflatten)(jnp.where(null[:, None], directions / lengths, 0)),
    )


def _scales(matrix):
    r"""Scales s for which the largest $|s_i M_{ij} s_j|$ of each row is 1.

    **Reference:** Ruiz (2001).
    """
    size = jnp.abs(matrix)
    diagonal = jnp.diagonal(size)

    def narrow(_, s):
        largest = jnp.max(s[:, None] * size * s[None, :], axis=1)
        return s / jnp.sqrt(jnp.where(largest > 0, largest, 1))

    return lax.fori_loop(0, _NARROWINGS, narrow, 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1)))


def _residual(mass, a, drive):
    defect = jnp.abs(mass @ a - drive)
    scale = jnp.abs(mass) @ jnp.abs(a) + jnp.abs(drive)
    return jnp.max(jnp.where(defect == 0, 0, defect / scale))


def _in_words(signs: Inertia, structure: Structure) -> str:
    """The failure of a singular mass matrix, with its null directions in the caller's coordinates."""
    rows = np.asarray(jax.vmap(structure.flatten)(signs.null_directions))[: int(signs.zero)]
    names = _names(structure)
    directions = "; ".join(_combination(row, names) for row in rows)
    return f"{RESULTS[RESULTS.singular_mass]} Here no kinetic energy lies in the velocity along: {directions}."


def _combination(row, names) -> str:
    """A direction as a combination of coordinates, its first coefficient positive."""
    kept = np.flatnonzero(np.abs(row) > 1e-6 * np.max(np.abs(row)))
    row = row * np.sign(row[kept[0]])
    sizes = ["" if abs(row[k]) > 1 - 1e-6 else f"{abs(row[k]):.3g} " for k in kept]
    terms = [f"{'-' if row[k] < 0 else '+'} {size}{names[k]}" for k, size in zip(kept, sizes, strict=True)]
    return " ".join(terms).removeprefix("+ ")


def _names(structure: Structure) -> list[str]:
    """The name of each coordinate: the path of its leaf, and its index there."""
    shapes = [jax.ShapeDtypeStruct(shape, bool) for shape in structure.shapes]
    leaves = jax.tree_util.tree_flatten_with_path(jax.tree_util.tree_unflatten(structure.treedef, shapes))[0]
    names = []
    for i, (path, leaf) in enumerate(leaves):
        parts = (".real", ".imag") if i in structure.complex_leaves else ("",)
        indices = [str(list(index)) if index else "" for index in np.ndindex(leaf.shape)]
        names += [f"q{jax.tree_util.keystr(path)}{index}{part}" for part in parts for index in indices]
    return names
