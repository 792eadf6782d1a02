"""The one loop that makes a trajectory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.integrators._adjoint import AbstractAdjoint, DirectAdjoint
from fimlag.integrators._explicit import StormerVerlet
from fimlag.integrators._implicit import ImplicitMidpoint
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._trajectory import Trajectory
from fimlag.mechanics import is_separable
from fimlag.mechanics._lagrangian import FlatLagrangian

_INSPECTED = 8  # rows at which a vouching is checked: enough that a closed orbit cannot hide a change


def integrate(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates,
    *,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    method: AbstractMethod | None = None,
    save_every: int = 1,
    adjoint: AbstractAdjoint | None = None,
    throw: bool = True,
) -> Trajectory:
    r"""The motion of a Lagrangian from an initial point and velocity, by a symplectic method of constant
    step.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} = \frac{\partial L}{\partial q}, \qquad
    h = \frac{t_1 - t_0}{\mathtt{steps}}$$

    **Arguments:** `system`: a Lagrangian `(t, q, v) -> scalar`; `q0`, `v0`: point and velocity in one
    structure; `t0`, `t1`: start and end (the user's time unit), `t1` may be earlier; `steps`: their number, a
    Python integer; `method`: None for `StormerVerlet()` where the system is known to be separable and
    `ImplicitMidpoint()` elsewhere; `save_every`: steps a row, a divisor of `steps`; `adjoint`: how gradients
    run back, None for `DirectAdjoint()`; `throw`: raise where the integration failed.

    **Returns:** a `Trajectory` of `steps / save_every + 1` rows, the start included. From a failed step on
    its rows are NaN.

    **Raises:** `ValueError` for steps that are no positive integer, a `save_every` that does not divide them,
    times that are not scalars, an explicit method with a system not known to be separable, q0 and v0 of
    different structures. Results: `nonfinite`, `indefinite_mass` (a singular mass matrix at the start),
    `implicit_step_failed`, `not_separable` (a `Separable` whose mass matrix changed).

    **Reference:** Hairer, Lubich & Wanner (2006).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> flow = fl.integrate(L, 1.0, 0.0, t1=2 * jnp.pi, steps=1000, save_every=500)
    >>> [round(float(q), 4) for q in flow.q], type(flow.method).__name__
    ([1.0, -1.0, 1.0], 'StormerVerlet')

    ```
    """
    _check_counts(steps, save_every)
    if method is None:
        method = StormerVerlet() if is_separable(system) else ImplicitMidpoint()
    adjoint = DirectAdjoint() if adjoint is None else adjoint
    adjoint.check(steps // save_every, save_every)
    q, structure = flatten(q0, "q0")
    v = structure.flatten(v0, "v0").astype(q.dtype)
    for name, time in (("t0", t0), ("t1", t1)):
        if jnp.shape(time) != ():
            raise ValueError(f"{name} must be a number, but has shape {jnp.shape(time)}.")
    times = jnp.asarray(t0, q.dtype), jnp.asarray(t1, q.dtype)
    trajectory = _run(as_field(system), structure, q, v, *times, method, adjoint, steps, save_every)
    return raise_unless_successful(trajectory, throw)


@eqx.filter_jit
def _run(system, structure: Structure, q, v, t0, t1, method, adjoint, steps, save_every) -> Trajectory:
    lagrangian = FlatLagrangian(system, structure)
    h = (t1 - t0) / steps
    p = jax.grad(lagrangian, argnums=2)(t0, q, v)
    equations, memory, regular = method.begin(lagrangian, t0, q, v)
    rows = steps // save_every

    def time(number):
        return t0 + number.astype(h.dtype) * h

    def step(state, number):
        q, p, memory, converged = state
        entered = jnp.all(jnp.isfinite(q)) & jnp.all(jnp.isfinite(p))
        q, p, memory, here = method.step(equations, time(number), h, q, p, memory)
        return (q, p, memory, converged & (here | ~entered)), None

    def row(state, number):
        first = number * save_every
        if save_every == 1:
            state, _ = step(state, first)
        else:
            state = adjoint.within_row(lambda s, n: step(s, first + n), state, rows, save_every)
        q, p, memory, _ = state
        return state, (q, p, method.velocity_guess(memory))

    (_, _, _, converged), (points, momenta, guesses) = adjoint.over_rows(row, (q, p, memory, jnp.array(True)), rows)
    times = time(jnp.arange(rows + 1) * save_every)
    velocities = jax.vmap(lambda *state: method.velocity(equations, *state))(times[1:], points, momenta, guesses)
    points, velocities, momenta = (
        jnp.concatenate([start[None], rest]) for start, rest in ((q, points), (v, velocities), (p, momenta))
    )
    inspected = np.unique(np.linspace(1, rows, min(rows, _INSPECTED)).round().astype(int))
    off_form = jax.vmap(lambda *state: method.off_form(equations, *state))(
        times[inspected], points[inspected], velocities[inspected]
    )
    result = first_failure(
        (~(_finite(t0) & _finite(t1) & _finite(q) & _finite(v) & _finite(p)), RESULTS.nonfinite),
        (~regular, RESULTS.indefinite_mass),
        (~converged, RESULTS.implicit_step_failed),
        (~(_finite(points) & _finite(velocities)), RESULTS.nonfinite),
        (jnp.any(off_form), RESULTS.not_separable),
    )
    q, v, p = (jax.vmap(structure.unflatten)(each) for each in (points, velocities, momenta))
    return Trajectory(times, q, v, p, result, method)


def _finite(array):
    return jnp.all(jnp.isfinite(array))


def _check_counts(steps, save_every):
    for name, count in (("steps", steps), ("save_every", save_every)):
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"{name} must be a positive integer known while tracing, but is {count!r}.")
    if steps % save_every:
        raise ValueError(f"steps must be divisible by save_every, but {steps} is not divisible by {save_every}.")
