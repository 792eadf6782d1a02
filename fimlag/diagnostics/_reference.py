"""Where a motion ends, by means that do not depend on the method tested."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag.diagnostics._march import march, one_span, prepared
from fimlag.integrators import GaussLegendre
from fimlag.integrators._choice import carries
from fimlag.integrators._motion import Start
from fimlag.mechanics import Constrained, Nonholonomic
from fimlag.mechanics._euler_lagrange import flat_acceleration

_TOLERANCE = 64  # units of round-off


def reference_point(start: Start, times: Float[Array, " runs"], reference) -> Float[Array, "#runs d"]:
    """The points at some times: as given, or by an integration with the start's number of steps."""
    if callable(reference):
        return jax.vmap(lambda t: _flattened(start, reference(t)))(times)
    if reference is not None:
        return _flattened(start, reference)[None]
    if carries(start.lagrangian.lagrangian, Constrained) or carries(start.lagrangian.lagrangian, Nonholonomic):
        return _adaptive(start, times)
    return _by_collocation(start, times)


def _flattened(start, point):
    return start.lagrangian.structure.flatten(point, "reference").astype(start.q.dtype)


def _by_collocation(start, times):
    start = eqx.tree_at(lambda start: start.method, start, GaussLegendre(6))
    equations, _ = prepared(start)
    count = jnp.asarray([start.steps])
    return lax.map(lambda t: march(equations, start, one_span(start.t0, t, count)).q[0], times)


def _adaptive(start, times):
    """The motion by its accelerations, which follow from constraints differentiated twice."""
    import diffrax

    size, tolerance = start.q.size, _TOLERANCE * float(jnp.finfo(start.q.dtype).eps)

    def rate(t, z, _):
        q, v = z[:size], z[size:]
        return jnp.concatenate([v, flat_acceleration(start.lagrangian, t, q, v)])

    def point(t):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rate),
            diffrax.Dopri8(),
            start.t0,
            t,
            (t - start.t0) / start.steps,
            jnp.concatenate([start.q, start.v]),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=100_000,
            throw=False,
        )
        return jnp.asarray(solution.ys)[-1, :size]

    return lax.map(point, times)
