"""Geodesics: paths of least energy of a metric, their lengths, and the exponential and logarithm maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS
from fimlag._types import Coordinates, MetricFn
from fimlag.geometry import as_metric
from fimlag.integrators import GaussLegendre, integrate
from fimlag.mechanics import NaturalLagrangian, energy
from fimlag.paths._least_action import LeastActionSolution, least_action_path


def geodesic(
    metric: MetricFn,
    q0: Coordinates,
    q1: Coordinates,
    *,
    elements: int = 8,
    degree: int = 8,
    guess=None,
    stationary: bool = False,
    rtol: float | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> LeastActionSolution:
    r"""The geodesic between two points, at constant speed on [0, 1].

    $$\min_{q(0) = q_0,\ q(1) = q_1} \tfrac12 \int_0^1 g_{ij}(q)\, \dot q^i \dot q^j\, dt = \tfrac12 d(q_0, q_1)^2$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q0`, `q1`: the ends; the rest as for `least_action_path`.

    **Returns:** a `LeastActionSolution`, whose action is half the squared length. Morse index 0 says that the path is
    shortest among its neighbours.

    **Raises:** as `least_action_path`.

    **Reference:** do Carmo (1992), ch. 9, lemma 2.3; Rao (1945) for the metric of a statistical model.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> solution = fl.geodesic(half_plane, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
    >>> bool(jnp.allclose(solution.path(0.5), jnp.array([0.0, jnp.sqrt(2.0)])))
    True

    ```
    """
    return least_action_path(
        NaturalLagrangian(as_metric(metric)),
        q0,
        q1,
        elements=elements,
        degree=degree,
        guess=guess,
        stationary=stationary,
        rtol=rtol,
        max_iterations=max_iterations,
        throw=throw,
    )


def distance(
    metric: MetricFn, q0: Coordinates, q1: Coordinates, *, elements: int = 8, degree: int = 8
) -> Float[Array, ""]:
    r"""The geodesic distance between two points.

    $$d(q_0, q_1) = \min \int_0^1 \sqrt{g_{ij}(q)\, \dot q^i \dot q^j}\, dt$$

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q0`, `q1`: the points; `elements`, `degree`: the
    discretisation of the path.

    **Returns:** a length, shape (): the Fisher-Rao distance (in standard deviations) for a Fisher metric. NaN where no
    minimum was found, or the elements resolve its square no better than to eps^0.4 (5e-7 in double precision);
    `geodesic(..., throw=False)` tells why, and how accurate it is. Its gradient at coincident
    points is 0.

    **Raises:** `ValueError` for points of different structure.

    **Reference:** Rao (1945); Atkinson & Mitchell (1981).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> bool(jnp.isclose(fl.distance(half_plane, jnp.array([0.0, 1.0]), jnp.array([0.0, 2.0])), jnp.log(2.0)))
    True

    ```
    """
    solution = geodesic(metric, q0, q1, elements=elements, degree=degree, throw=False)
    squared = 2 * solution.action
    positive = squared > 0
    length = jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)
    return jnp.where(solution.result == RESULTS.successful, length, jnp.nan)


def log_map(metric: MetricFn, q0: Coordinates, q1: Coordinates, *, elements: int = 8, degree: int = 8):
    r"""The initial velocity of the geodesic from one point to another: the inverse of `exp_map`.

    $$\log_{q_0}(q_1) = \dot q(0), \qquad |\log_{q_0}(q_1)|_g = d(q_0, q_1)$$

    **Arguments:** as for `distance`.

    **Returns:** a tangent vector at `q0`, in its structure; NaN where the geodesic failed.

    **Reference:** do Carmo (1992), ch. 3, sec. 2.
    """
    solution = geodesic(metric, q0, q1, elements=elements, degree=degree, throw=False)
    velocity = solution.path.velocity(solution.path.t0)
    return _nan_where(solution.result != RESULTS.successful, velocity)


def exp_map(metric: MetricFn, q: Coordinates, v: Coordinates, *, steps: int = 32):
    r"""The point that the geodesic from `q` with velocity `v` reaches after unit time.

    $$\exp_q(v) = q(1), \qquad \ddot q^k + \Gamma^k_{ij} \dot q^i \dot q^j = 0,\quad q(0) = q,\ \dot q(0) = v$$

    The motion of the free Lagrangian, by Gauss-Legendre collocation of order 8.

    **Arguments:** `metric`: any callable `q -> (d, d)`; `q`: the point; `v`: a tangent vector in its structure;
    `steps`: the number of time steps.

    **Returns:** a point in the structure of `q`; NaN where a step failed or the speed, which a geodesic keeps, changed
    by more than eps^0.4 relative (5e-7 in double precision): raise `steps`.

    **Reference:** do Carmo (1992), ch. 3, sec. 2; Hairer, Lubich & Wanner (2006), sec. II.1.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    >>> end = fl.exp_map(half_plane, jnp.array([0.0, 1.0]), jnp.array([0.0, jnp.log(2.0)]))
    >>> bool(jnp.allclose(end, jnp.array([0.0, 2.0])))
    True

    ```
    """
    free = NaturalLagrangian(as_metric(metric))
    flow = integrate(free, q, v, t1=1.0, steps=steps, save_every=steps, method=GaussLegendre(4), throw=False)
    end, velocity = (jax.tree_util.tree_map(lambda x: x[-1], tree) for tree in (flow.q, flow.v))
    at_start, at_end = energy(free, 0.0, q, v), energy(free, 0.0, end, velocity)
    tolerance = jnp.finfo(at_start.dtype).eps ** 0.4
    lost = ~(jnp.abs(at_end - at_start) <= 2 * tolerance * jnp.abs(at_start))
    return _nan_where((flow.result != RESULTS.successful) | lost, end)


def _nan_where(failed, tree):
    vector, structure = flatten(tree)
    return structure.unflatten(jnp.where(failed, jnp.nan, vector))
