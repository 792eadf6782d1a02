"""Dense output: a trajectory as a function of time."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._types import LagrangianFn, RealScalarLike, as_field
from fimlag.integrators._first_order import derivatives_along, state_names
from fimlag.integrators._trajectory import Trajectory
from fimlag.mechanics._lagrangian import FlatLagrangian

_MOST = 4


class DenseTrajectory(eqx.Module):
    r"""A trajectory at every time, a polynomial of degree 2 m + 1 between two rows, as `dense_output` makes it.

    `dense(t)` is the point at a time of shape (), `dense.velocity(t)` its time derivative, both in the caller's
    structure; outside the trajectory's times they are NaN.

    **Attributes:** `t`, shape (rows,): the times of the rows, rising or falling, at any distances; `derivatives`,
    shape (rows, m + 1, d): flat points there and their first m time derivatives.
    """

    t: Float[Array, " rows"]
    derivatives: Float[Array, "rows orders d"]
    structure: Structure = eqx.field(static=True)

    @property
    def t0(self) -> Float[Array, ""]:
        """The time of the first row."""
        return self.t[0]

    @property
    def t1(self) -> Float[Array, ""]:
        """The time of the last row."""
        return self.t[-1]

    def __call__(self, t: RealScalarLike):
        """The point at time `t`, in the caller's structure."""
        left, displacement, *_ = self._between(t)
        return self.structure.unflatten(left + displacement)

    def velocity(self, t: RealScalarLike):
        """The time derivative at `t`, in the caller's structure (coordinates per unit of time)."""
        return self.structure.unflatten(self._between(t)[2])

    def _between(self, t):
        """`(left point, displacement from it, velocity)`."""
        t = jnp.asarray(t, self.t.dtype)
        sign = jnp.where(self.t1 >= self.t0, 1, -1).astype(t.dtype)
        row = jnp.searchsorted(sign * self.t, sign * t, side="right") - 1
        row = jnp.clip(row, 0, self.t.size - 2)
        h = self.t[row + 1] - self.t[row]
        ends = self.derivatives[row], self.derivatives[row + 1]
        x = (t - self.t[row]) / h
        displacement, slope = jax.jvp(lambda x: hermite(x, h, *ends), (x,), (jnp.ones_like(x),))
        slack = 8 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(self.t0), jnp.abs(self.t1))
        inside = (sign * (t - self.t0) >= -slack) & (sign * (t - self.t1) <= slack)
        return ends[0][0], jnp.where(inside, displacement, jnp.nan), jnp.where(inside, slope / h, jnp.nan)


def dense_output(system: LagrangianFn, trajectory: Trajectory, matched: int | None = None) -> DenseTrajectory:
    r"""A trajectory as a function of time, by Hermite interpolation along the equations of motion.

    $$q(t_i + x h) = (1 - x)^{m + 1} \sum_{j \le m} A_j x^j + x^{m + 1} \sum_{j \le m} B_j (1 - x)^j$$

    agrees with the rows on both sides in the point and its first m time derivatives: the velocity, the acceleration,
    and the derivatives of the acceleration along the motion. For rows a time h apart the error of the point is of
    order $h^{2 m + 2}$, that of the velocity $h^{2 m + 1}$.

    **Arguments:** `system`, `trajectory`: as given to `integrate` and returned by it; `matched`: m, from 1 (cubic,
    needs no acceleration) to 4; None for the least that interpolates to the order of the method, where 4 are enough.

    **Returns:** a `DenseTrajectory`, a callable `t -> q` with `velocity(t)`, which serves wherever a path is taken.

    **Raises:** `ValueError` for another number, and for several trajectories at once (use `jax.vmap`).

    **Reference:** Hairer, Norsett & Wanner (1993), section II.6.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> dense = fl.dense_output(L, fl.integrate(L, 1.0, 0.0, t1=3.0, steps=30, method=fl.GaussLegendre(4)))
    >>> bool(abs(dense(1.05) - jnp.cos(1.05)) < 1e-14), bool(abs(dense.velocity(1.05) + jnp.sin(1.05)) < 1e-12)
    (True, True)

    ```
    """
    if trajectory.t.ndim != 1:
        raise ValueError("dense_output takes one trajectory: use jax.vmap for several.")
    matched = min(_MOST, max(1, -(-(trajectory.method.order - 1) // 2))) if matched is None else matched
    if isinstance(matched, bool) or not isinstance(matched, int | np.integer) or not 1 <= matched <= _MOST:
        raise ValueError(f"matched must be an integer from 1 to {_MOST}, but is {matched!r}.")
    _, structure = flatten(jax.tree.map(lambda rows: rows[0], trajectory.q), "trajectory.q")
    return _dense(FlatLagrangian(as_field(system), structure), trajectory, int(matched))


@compiled
def _dense(flat: FlatLagrangian, trajectory: Trajectory, matched: int) -> DenseTrajectory:
    rows = {name: jax.vmap(flat.structure.flatten)(getattr(trajectory, name)) for name in ("q", "v")}
    states = tuple({**rows, "s": trajectory.s}[name] for name in state_names(flat.lagrangian))
    derivatives = jax.vmap(lambda t, state: derivatives_along(flat, t, state, matched))(trajectory.t, states)
    return DenseTrajectory(trajectory.t, derivatives, flat.structure)


def hermite(x, h, left, right):
    """The displacement from the left point: interpolating it, not the point, keeps the velocity's digits."""
    orders = left.shape[0]
    m = orders - 1
    origin = left[0]
    from_left = left.at[0].set(0) * _taylor(h, orders)[:, None]
    from_right = right.at[0].add(-origin) * _taylor(-h, orders)[:, None]
    # The coefficients of (1 - x)^-(m + 1), by which the Taylor polynomials of both ends are multiplied.
    table = [[math.comb(m + j - i, m) if j >= i else 0 for i in range(orders)] for j in range(orders)]
    weights = jnp.asarray(table, left.dtype)
    y = 1 - x
    return y**orders * _polynomial(x, weights @ from_left) + x**orders * _polynomial(y, weights @ from_right)


def _taylor(h, orders):
    return jnp.stack([h**k / math.factorial(k) for k in range(orders)])


def _polynomial(x, coefficients):
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value
