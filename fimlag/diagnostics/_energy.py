"""Whether a motion and a method keep what they promise."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators import AbstractMethod, GaussLegendre, Trajectory
from fimlag.integrators._method import advanced
from fimlag.integrators._structure import Canonical
from fimlag.mechanics import energy
from fimlag.mechanics._lagrangian import flat_arguments

_BLOCKS = 16


class EnergyDrift(eqx.Module):
    """How the energy moves along a trajectory.

    **Attributes:** `energies`, one a row; `oscillation`: half their range about the line fitted; `drift`: the
    slope of that line, energy per unit of time; `standard_error` of the slope, from the scatter of the block means.
    """

    energies: Float[Array, " rows"]
    oscillation: Float[Array, ""]
    drift: Float[Array, ""]
    standard_error: Float[Array, ""]


def energy_drift(lagrangian: LagrangianFn, trajectory: Trajectory) -> EnergyDrift:
    r"""Oscillation and linear drift of the energy along a trajectory.

    $$E(t) \approx \bar E + r\, (t - \bar t)$$

    The line is fitted to the means of up to 16 blocks of rows, so that an oscillation within a block does not
    pass for scatter of independent errors.

    **Arguments:** `lagrangian`: without explicit time; `trajectory`: of at least three rows.

    **Returns:** an `EnergyDrift`.

    **Raises:** `ValueError` for fewer than three rows.

    **Reference:** Hairer, Lubich & Wanner (2006), section IX.8.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> drift = fl.energy_drift(L, fl.integrate(L, 1.0, 0.0, t1=100.0, steps=2000))
    >>> bool(abs(drift.drift) < 4 * drift.standard_error + 1e-6)
    True

    ```
    """
    t = trajectory.t
    if t.shape[0] < 3:
        raise ValueError(f"A drift needs at least three rows, but the trajectory has {t.shape[0]}.")
    energies = jax.vmap(lambda *state: energy(lagrangian, *state))(t, trajectory.q, trajectory.v)
    blocks = min(_BLOCKS, t.shape[0])
    length = t.shape[0] // blocks
    times = jnp.mean(t[: blocks * length].reshape(blocks, length), axis=1)
    means = jnp.mean(energies[: blocks * length].reshape(blocks, length), axis=1)
    lever = times - jnp.mean(times)
    drift = lever @ (means - jnp.mean(means)) / (lever @ lever)
    scatter = means - jnp.mean(means) - drift * lever
    standard_error = jnp.sqrt(scatter @ scatter / (blocks - 2) / (lever @ lever))
    flat = energies - drift * (t - jnp.mean(times))
    return EnergyDrift(energies, (jnp.max(flat) - jnp.min(flat)) / 2, drift, standard_error)


def symplecticity_defect(
    method: AbstractMethod,
    lagrangian: LagrangianFn,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates,
    h: RealScalarLike,
) -> Float[Array, ""]:
    r"""How far one step is from preserving the symplectic form.

    $$\max |J^\top \Omega J - \Omega|, \qquad J = \frac{\partial (q_1, p_1)}{\partial (q_0, p_0)}, \quad
    \Omega = \begin{pmatrix} 0 & 1 \\ -1 & 0 \end{pmatrix}$$

    **Arguments:** `method`; `lagrangian`; `t`, `q`, `v`: the state at the step's start; `h`: the step.

    **Returns:** the defect, shape (); round-off for a symplectic method, NaN where the step failed.

    **Reference:** Hairer, Lubich & Wanner (2006), definition VI.2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.problems.DoublePendulum()
    >>> bool(fl.symplecticity_defect(fl.GaussLegendre(2), L, 0.0, jnp.ones(2), jnp.ones(2), 0.1) < 1e-13)
    True

    ```
    """
    flat, t, q, v = flat_arguments(lagrangian, t, q, v)
    p = jax.grad(flat, argnums=2)(t, q, v)
    equations, _ = method.prepare(flat, t, q, v, None)
    structure = Canonical() if method.structure is None else method.structure
    return structure.defect(method, equations, t, jnp.asarray(h, q.dtype), q, p, v, None)


class ObservedOrder(eqx.Module):
    """The order of convergence that errors show.

    **Attributes:** `order`: minus the slope of log error over log steps; `residual`: the root mean square
    distance of the logarithms (natural) from the line; `steps` and `errors`, one a run.
    """

    order: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, " runs"]
    errors: Float[Array, " runs"]


def observed_order(
    method: AbstractMethod,
    lagrangian: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates,
    *,
    t1: RealScalarLike,
    t0: RealScalarLike = 0.0,
    steps: Sequence[int] = (32, 64, 128, 256, 512),
    reference: Coordinates | None = None,
) -> ObservedOrder:
    r"""The order of a method, fitted to its errors at the end of a motion.

    $$\max_i |q_i - q_i^{\mathrm{ref}}| \approx C\, h^{\mathtt{order}}$$

    Errors below a thousand units of round-off of the largest coordinate take no part.

    **Arguments:** `method`; `lagrangian`, `q0`, `v0`, `t0`, `t1`: as for `integrate`; `steps`: their numbers,
    in the range where the error has its asymptotic form; `reference`: the end point `q(t1)`, None to have it
    from `GaussLegendre(6)` with the largest number of steps.

    **Returns:** an `ObservedOrder`; NaN where fewer than two errors stand above round-off.

    **Reference:** Hairer, Lubich & Wanner (2006), section II.1.

    ```python
    >>> import fimlag as fl
    >>> case = fl.problems.Kepler()
    >>> fit = fl.observed_order(fl.StormerVerlet(), case.lagrangian, *case.start(0.3), t1=3.0)
    >>> round(float(fit.order), 1)
    2.0

    ```
    """
    flat, start, q, v = flat_arguments(lagrangian, t0, q0, v0)
    end = jnp.asarray(t1, q.dtype)
    counts = jnp.asarray(steps)
    if reference is None:
        exact = _end_point(GaussLegendre(6), flat, start, end, q, v, jnp.max(counts))
    else:
        exact = flat.structure.flatten(reference, "reference").astype(q.dtype)
    ends = lax.map(lambda count: _end_point(method, flat, start, end, q, v, count), counts)
    errors = jnp.max(jnp.abs(ends - exact[None]), axis=1)
    weights = (errors > 1000 * jnp.finfo(q.dtype).eps * jnp.max(jnp.abs(exact))).astype(q.dtype)
    x = jnp.log(counts.astype(q.dtype))
    y = jnp.log(jnp.where(errors > 0, errors, 1))
    total = jnp.sum(weights)
    lever = x - weights @ x / total
    height = y - weights @ y / total
    slope = (weights * lever) @ height / ((weights * lever) @ lever)
    residual = jnp.sqrt(weights @ (height - slope * lever) ** 2 / total)
    return ObservedOrder(jnp.where(total > 1, -slope, jnp.nan), residual, counts, errors)


def _end_point(method, flat, t0, t1, q, v, count):
    """The last point of a motion, for a number of steps that compiled code learns only when it runs."""
    h = (t1 - t0) / count.astype(q.dtype)
    equations, _ = method.prepare(flat, t0, q, v, None)
    p = jax.grad(flat, argnums=2)(t0, q, v)

    def step(number, state):
        return advanced(method, equations, t0 + number.astype(q.dtype) * h, h, *state)[:3]

    return lax.fori_loop(0, count, step, (q, p, method.memory(equations, t0, q, p, v, None)))[0]
