"""How the energy moves along a trajectory."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import LagrangianFn
from fimlag.integrators import Trajectory
from fimlag.mechanics import energy

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
    return EnergyDrift(energies, *fitted_line(t, energies))


class Line(NamedTuple):
    """Half the range about the line fitted, its slope, and the standard error of the slope."""

    oscillation: Float[Array, ""]
    drift: Float[Array, ""]
    standard_error: Float[Array, ""]


def fitted_line(t: Float[Array, " rows"], values: Float[Array, " rows"]) -> Line:
    """The line through the means of blocks of rows."""
    blocks = min(_BLOCKS, t.shape[0])
    length = t.shape[0] // blocks
    times = jnp.mean(t[: blocks * length].reshape(blocks, length), axis=1)
    means = jnp.mean(values[: blocks * length].reshape(blocks, length), axis=1)
    lever = times - jnp.mean(times)
    drift = lever @ (means - jnp.mean(means)) / (lever @ lever)
    scatter = means - jnp.mean(means) - drift * lever
    standard_error = jnp.sqrt(scatter @ scatter / (blocks - 2) / (lever @ lever))
    flat = values - drift * (t - jnp.mean(times))
    return Line((jnp.max(flat) - jnp.min(flat)) / 2, drift, standard_error)
