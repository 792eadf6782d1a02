"""Conjugate times: how long a stationary path stays a minimum of its action, and its index behind."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fimlag._charts import IdentityChart
from fimlag._compiled import compiled
from fimlag._linear import solve
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import LagrangianFn
from fimlag.integrators._implicit import gauss_tableau
from fimlag.mechanics._lagrangian import FlatLagrangian, InChart
from fimlag.paths._crossings import crossings, uneven_steps
from fimlag.paths._frame import frame_of
from fimlag.paths._jacobi import check_steps
from fimlag.paths._least_action import _refuse_without_action
from fimlag.paths._path import Path
from fimlag.paths._spray import ORDER


class ConjugateTimes(AbstractSolution):
    """The conjugate times of a stationary path.

    **Attributes:** `times` (max_times,): in order, each as often as its multiplicity, NaN behind the last;
    `multiplicities` (max_times,): of each of them, 0 behind the last; `count`: the number of them all, which is the
    Morse index of the path between fixed ends; `result`: a `RESULTS` member.
    """

    times: Float[Array, " max_times"]
    multiplicities: Int[Array, " max_times"]
    count: Int[Array, ""]
    result: RESULTS


def conjugate_times(
    lagrangian: LagrangianFn,
    path: Path,
    *,
    steps: int = 64,
    max_times: int = 8,
    morse_index: int | Int[Array, ""] | None = None,
    throw: bool = True,
) -> ConjugateTimes:
    r"""The times at which the second variation of the action along a stationary path degenerates.

    $$\frac{d}{dt}\big(L_{vv} \dot\eta + L_{vq} \eta\big) = L_{qv} \dot\eta + L_{qq} \eta, \qquad
    \eta(t_0) = \eta(t) = 0, \qquad t_0 < t < t_1$$

    has a solution other than zero. Up to the first of them the path is a minimum among its neighbours with the same
    ends; behind each the action falls in as many more directions as its multiplicity. Times of even multiplicity, where
    the determinant of the solutions keeps its sign, are counted too. The times are differentiable in the path and the
    Lagrangian.

    **Arguments:**

    - `lagrangian`: a callable `(t, q, v) -> scalar` whose mass matrix is positive definite along the path.
    - `path`: a stationary one, as `least_action_path` finds it; times are as good as its velocities.
    - `steps`: of order 8, an even number, spread over the elements of the path; each far shorter than the way between
      two conjugate times of one solution.
    - `max_times`: the most times returned.
    - `morse_index`: of the solver for this path between fixed ends, with which the count is compared.
    - `throw`: whether a failure raises.

    **Returns:** a `ConjugateTimes`; whether a time at `t1` itself counts is left to round-off.

    **Raises:** `TypeError` for a system without an action, `ValueError` for steps that are no positive even number.
    Results: `empty_interval`, `nonfinite`, `indefinite_mass`, `unresolved_variation`, `index_disagrees`.

    **Reference:** Gelfand & Fomin (1963), sec. 26-29; Milnor (1963), sec. 15.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> oscillator = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q[0] ** 2 / 2)
    >>> solution = fl.least_action_path(oscillator, jnp.array([1.0]), jnp.array([0.0]), t1=7.0, stationary=True)
    >>> found = fl.conjugate_times(oscillator, solution.path, max_times=3, morse_index=solution.morse_index)
    >>> print(found.times / jnp.pi)
    [ 1.  2. nan]

    ```
    """
    _refuse_without_action(lagrangian)
    check_steps(steps)
    index = None if morse_index is None else jnp.asarray(morse_index)
    return raise_unless_successful(_conjugate_times(lagrangian, path, steps, max_times, index), throw)


@compiled
def _conjugate_times(lagrangian, path: Path, steps, max_times, morse_index) -> ConjugateTimes:
    chart = IdentityChart() if path.chart is None else path.chart
    propagator = _Propagator(InChart(FlatLagrangian(lagrangian, path.structure), chart), path)
    # Equal shares of the elements' numbers, so that graded elements are followed; no step ends at a knot.
    shares = path.elements * np.append(0.0, np.cumsum(uneven_steps(steps)))
    numbers = jnp.arange(path.elements + 1, dtype=path.knots.dtype)
    times = jnp.interp(jnp.asarray(shares, path.knots.dtype), numbers, path.knots)
    found = crossings(propagator, times[:-1], jnp.diff(times), max_times)

    duration = path.t1 - path.t0
    eps = jnp.finfo(times.dtype).eps
    apart = jnp.abs(found.times[:, None] - found.times[None])
    resolved = found.error <= eps**0.4 * duration
    disagrees = jnp.zeros((), bool) if morse_index is None else (found.count != morse_index) & (morse_index >= 0)
    result = first_failure(
        (~(duration > 0.0), RESULTS.empty_interval),
        (~found.finite, RESULTS.nonfinite),
        (~found.definite, RESULTS.indefinite_mass),
        (~resolved, RESULTS.unresolved_variation),
        (disagrees, RESULTS.index_disagrees),
    )
    return ConjugateTimes(
        times=path.t0 + found.times,
        multiplicities=jnp.sum(apart <= jnp.sqrt(eps) * duration, axis=1),
        count=found.count,
        result=result,
    )


class _Propagator(eqx.Module):
    """Jacobi's equation over a step, by Gauss's method, in coordinates in which the mass is one at its ends."""

    lagrangian: InChart
    path: Path

    def __call__(self, t, size):
        """`(matrix, signs)`: the map of displacements and their momenta, (2 d, 2 d), and the signs of the mass."""
        tableau = gauss_tableau(ORDER // 2)
        c, a, b = (jnp.asarray(each, t.dtype) for each in (tableau.c, tableau.a, tableau.b))
        generators = jax.vmap(lambda share: _generator(self._second_derivatives(t + share * size)))(c)
        n = generators.shape[1]
        coupled = jnp.einsum("ij,ikl->ikjl", a, generators).reshape(c.size * n, c.size * n)
        system = jnp.eye(c.size * n, dtype=t.dtype) - size * coupled
        slopes = jnp.linalg.solve(system, generators.reshape(c.size * n, n)).reshape(c.size, n, n)
        step = jnp.eye(n, dtype=t.dtype) + size * jnp.tensordot(b, slopes, 1)
        (enter, leave), signs = jax.vmap(self._frame)(jnp.stack([t, t + size]))
        return _to_unit_mass(leave) @ step @ _from_unit_mass(enter), jnp.min(signs, axis=0)

    def _second_derivatives(self, t):
        """The Hessian of the Lagrangian in point and velocity at a time of the path, shape (2 d, 2 d)."""
        x, u = jax.jvp(self.path.displacement, (t,), (jnp.ones_like(t),))
        state = jnp.concatenate([self.path.start + x, u])
        return jax.hessian(lambda state: self.lagrangian(t, *jnp.split(state, 2)))(state)

    def _frame(self, t):
        d = self.path.start.size
        return frame_of(self._second_derivatives(t)[d:, d:])


def _generator(hessian):
    r"""The matrix of $\dot\eta = L_{vv}^{-1} (p - L_{vq} \eta)$ and $\dot p = L_{qv} \dot\eta + L_{qq} \eta$."""
    d = hessian.shape[0] // 2
    identity = jnp.eye(d, dtype=hessian.dtype)
    rate = solve(hessian[d:, d:], jnp.concatenate([-hessian[d:, :d], identity], axis=1))
    force = hessian[:d, d:] @ rate
    return jnp.concatenate([rate, force.at[:, :d].add(hessian[:d, :d])])


def _to_unit_mass(frame):
    r"""$\eta \mapsto C^\top \eta$, $p \mapsto C^{-1} p$ for the mass $C C^\top$."""
    inverse = jax.scipy.linalg.solve_triangular(frame, jnp.eye(frame.shape[0], dtype=frame.dtype), lower=True)
    return jax.scipy.linalg.block_diag(frame.T, inverse)


def _from_unit_mass(frame):
    inverse = jax.scipy.linalg.solve_triangular(frame, jnp.eye(frame.shape[0], dtype=frame.dtype), lower=True)
    return jax.scipy.linalg.block_diag(inverse.T, frame)
