"""Where the energy of a motion comes from and goes to."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import LagrangianFn
from fimlag.integrators._dense import hermite
from fimlag.integrators._first_order import derivatives_along
from fimlag.integrators._trajectory import Trajectory
from fimlag.mechanics import Herglotz, energy
from fimlag.mechanics._forces import flat_powers, unmarked
from fimlag.mechanics._lagrangian import FlatLagrangian


class EnergyBudget(eqx.Module):
    r"""The energy along a trajectory and what changed it, one entry a row.

    **Attributes:** `energies`; `gained` since the first row; `work` of the forces and `explicit`, the part of the
    explicit time, since then; `defect`: gained - work - explicit, the error of the method and of the quadrature.
    """

    energies: Float[Array, " rows"]
    gained: Float[Array, " rows"]
    work: Float[Array, " rows"]
    explicit: Float[Array, " rows"]
    defect: Float[Array, " rows"]


def energy_budget(system: LagrangianFn, trajectory: Trajectory) -> EnergyBudget:
    r"""The energy gained along a trajectory against the work done on it.

    $$E(t) - E(t_0) = \int_{t_0}^t Q \cdot v\, \mathrm d t - \int_{t_0}^t \frac{\partial L}{\partial t}\, \mathrm d t$$

    The integrals are taken by Gauss quadrature with three points between two rows, on the polynomial of degree 5
    through their points, velocities and accelerations: of order 6 in the distance of the rows. Constraint forces
    do no work and have no entry.

    **Arguments:** `system`: the system integrated, a callable `(t, q, v) -> scalar`, `Forced` or not;
    `trajectory`: its motion.

    **Returns:** an `EnergyBudget`; NaN from the first row on that is NaN.

    **Raises:** `ValueError` for a `Herglotz` system, whose energy decays with its action: `dissipation_defect`
    is its test.

    **Reference:** Landau & Lifshitz (1976), section 6; quintic Hermite interpolation, Hairer, Norsett & Wanner
    (1993), section II.6.

    ```python
    >>> import fimlag as fl
    >>> damped = fl.Forced(lambda t, q, v: v**2 / 2 - q**2 / 2, lambda t, q, v: -0.1 * v)
    >>> motion = fl.integrate(damped, 1.0, 0.0, t1=10.0, steps=200, method=fl.GaussLegendre(3))
    >>> budget = fl.energy_budget(damped, motion)
    >>> round(float(budget.work[-1]), 4), bool(abs(budget.defect).max() < 1e-9)
    (-0.3075, True)

    ```
    """
    if isinstance(unmarked(system), Herglotz):
        raise ValueError("The energy of a Herglotz system decays with its action: use `dissipation_defect`.")
    structure = flatten(jax.tree.map(lambda rows: rows[0], trajectory.q), "q")[1]
    flat = FlatLagrangian(system, structure)
    q, v = (jax.vmap(structure.flatten)(each) for each in (trajectory.q, trajectory.v))
    t = trajectory.t.astype(q.dtype)
    derivatives = jax.vmap(lambda t, *state: derivatives_along(flat, t, state, 2))(t, q, v)
    starts, ends = ((t[rows], derivatives[rows]) for rows in (slice(None, -1), slice(1, None)))
    work, explicit = (_summed(each) for each in jax.vmap(lambda *pair: _integrals(flat, *pair))(starts, ends))
    energies = jax.vmap(lambda *state: energy(flat, *state))(t, q, v)
    gained = energies - energies[0]
    return EnergyBudget(energies, gained, work, explicit, gained - work - explicit)


def _integrals(flat, start, end):
    """The work and the part of explicit time between two rows."""
    nodes, weights = np.polynomial.legendre.leggauss(3)
    nodes, weights = (jnp.asarray(each, start[0].dtype) for each in ((1 + nodes) / 2, weights / 2))
    h = end[0] - start[0]
    states = jax.vmap(lambda share: _between(start, end, share))(nodes)
    powers = jax.vmap(lambda *state: flat_powers(flat, *state))(*states)
    return tuple(h * (weights @ each) for each in powers)


def _between(start, end, share):
    """The state at a share of the way between two, on the polynomial of degree 5 through both."""
    (t0, left), (t1, right) = start, end
    h = t1 - t0
    move, slope = jax.jvp(lambda x: hermite(x, h, left, right), (share,), (jnp.ones_like(share),))
    return t0 + share * h, left[0] + move, slope / h


def _summed(parts):
    return jnp.concatenate([jnp.zeros_like(parts[:1]), jnp.cumsum(parts)])
