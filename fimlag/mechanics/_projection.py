"""States brought onto their constraints."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int, PyTree

from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.mechanics._constraints import constraint_matrix, constraint_rates, constraint_values, saddle_solve
from fimlag.mechanics._euler_lagrange import flat_mass_matrix
from fimlag.mechanics._lagrangian import flat_arguments


class ConstrainedState(AbstractSolution):
    """A state that keeps its constraints, as `project_onto_constraints` returns it.

    **Attributes:** `q`, `v`: point and velocity in the caller's structure, NaN where none was found; `result`: a
    member of `RESULTS`; `iterations` of Newton's method, shape ().
    """

    q: PyTree[Array]
    v: PyTree[Array]
    result: RESULTS
    iterations: Int[Array, ""]


def project_onto_constraints(
    system: LagrangianFn,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates,
    max_iterations: int = 100,
    throw: bool = True,
) -> ConstrainedState:
    r"""The state nearest to a given one, in the metric of the mass matrix, that keeps the constraints.

    $$x = \operatorname{argmin}_{c(x) = 0} (x - q)^\top M (x - q), \qquad
    w = \operatorname{argmin}_{A(x)\, w = 0} (w - v)^\top M(x)\, (w - v)$$

    with M the mass matrix at the state given, and $M(x)$ that at the new point. Newton's method on the equations
    of both; derivatives are implicit. Where M is indefinite the point is a stationary one of the same kind.

    **Arguments:** `system`: a `Constrained` or `Nonholonomic`, nested or not; `t`: time; `q`, `v`: point and
    velocity in one structure; `max_iterations` of Newton's method; `throw`: raise where no state was found.

    **Returns:** a `ConstrainedState`.

    **Raises:** `ValueError` for a system without constraints. Results: `nonfinite`, `dependent_constraints`,
    `max_steps_reached`, `not_nearest`.

    **Reference:** Hairer, Lubich & Wanner (2006), section IV.4.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> circle = fl.Constrained(lambda t, q, v: v @ v / 2, lambda q: q @ q - 1.0)
    >>> state = fl.project_onto_constraints(circle, 0.0, jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0]))
    >>> [round(float(x), 12) for x in (*state.q, *state.v)]
    [0.6, 0.8, 0.64, -0.48]

    ```
    """
    flat, t, q, v = flat_arguments(system, t, q, v)
    point, iterations, found = _nearest_point(flat, t, q, v, max_iterations)
    matrix = constraint_matrix(flat, point)
    rates = constraint_rates(flat, point, v)
    change, _ = saddle_solve(flat_mass_matrix(flat, t, point, v), matrix, jnp.zeros_like(q), -rates)
    velocity = v + change
    finite = jnp.all(jnp.isfinite(q)) & jnp.all(jnp.isfinite(v)) & jnp.all(jnp.isfinite(constraint_values(flat, q)))
    result = first_failure(
        (~finite | (found == RESULTS.nonfinite), RESULTS.nonfinite),
        (found != RESULTS.successful, found),
        (~jnp.all(jnp.isfinite(velocity)), RESULTS.dependent_constraints),
    )
    solved = result == RESULTS.successful
    q, v = (flat.structure.unflatten(jnp.where(solved, each, jnp.nan)) for each in (point, velocity))
    return raise_unless_successful(ConstrainedState(q, v, result, iterations), throw)


def _nearest_point(flat, t, q, v, max_iterations):
    """`(point, iterations, result)` of the holonomic constraints; the point itself where there are none."""
    if constraint_values(flat, q).size == 0:
        return q, jnp.array(0), RESULTS.successful
    mass = flat_mass_matrix(flat, t, q, v)

    def equations(unknowns):
        x, multipliers = unknowns[: q.size], unknowns[q.size :]
        values, pull = jax.vjp(lambda x: constraint_values(flat, x), x)
        return jnp.concatenate([mass @ (x - q) - pull(multipliers)[0], values])

    def tangent_solve(linear, y):
        return solve(jax.vmap(linear, out_axes=1)(jnp.eye(y.size, dtype=y.dtype)), y)

    start = jnp.concatenate([q, jnp.zeros_like(constraint_values(flat, q))])
    search = functools.partial(_newton, max_iterations=max_iterations)
    unknowns, (iterations, converged, regular) = lax.custom_root(equations, start, search, tangent_solve, has_aux=True)
    result = first_failure(
        (regular == 0, RESULTS.dependent_constraints),
        (converged == 0, RESULTS.max_steps_reached),
        (_turned(jax.jacfwd(equations)(lax.stop_gradient(unknowns)), mass), RESULTS.not_nearest),
    )
    return unknowns[: q.size], iterations.astype(int), result


def _newton(equations, start, max_iterations):
    """`(root, (iterations, converged, regular))`: full steps, the last one below the root of round-off.

    The status is of floating-point numbers, which `lax.custom_root` can differentiate.
    """
    tolerance = jnp.finfo(start.dtype).eps ** (2 / 3)

    def advance(state):
        x, count, _, _ = state
        value, jacobian = equations(x), jax.jacfwd(equations)(x)
        inverse = solve(jacobian, jnp.eye(x.size, dtype=x.dtype))
        step = -inverse @ value
        # Round-off of each component is that of the sums which make it, not that of its value.
        scale = jnp.abs(x) + jnp.abs(inverse) @ (jnp.abs(jacobian) @ jnp.abs(x))
        return x + step, count + 1, jnp.all(jnp.abs(step) <= tolerance * scale), jnp.all(jnp.isfinite(inverse))

    def unfinished(state):
        _, count, converged, regular = state
        return ~converged & regular & (count < max_iterations)

    x, *status = lax.while_loop(unfinished, advance, (start, jnp.array(0), jnp.array(False), jnp.array(True)))
    return x, tuple(each.astype(start.dtype) for each in status)


def _turned(jacobian, mass):
    """Whether the second variation of the distance has other signs on the surface than the mass matrix."""
    size = mass.shape[0]
    bordered = jacobian.at[:size, size:].multiply(-1)
    flat = bordered.at[:size, :size].set(mass)
    negative = [jnp.sum(jnp.linalg.eigvalsh((each + each.T) / 2) < 0) for each in (bordered, flat)]
    return negative[0] != negative[1]
