"""Protocols of least dissipation: slow driving as motion in a friction metric."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import Coordinates, MetricFn, RealScalarLike
from fimlag.geometry import AbstractMetric, as_metric
from fimlag.information.families._family import root
from fimlag.mechanics import NaturalLagrangian
from fimlag.paths._action import action
from fimlag.paths._geodesic import MESHES
from fimlag.paths._least_action import least_action_path
from fimlag.paths._path import Path


class ProtocolCost(eqx.Module):
    r"""What a protocol of duration $\tau$ costs in a friction metric.

    **Attributes:** `length` $L$; `divergence` $J = \tau \int g(\dot q, \dot q)\, dt$; `excess_work` $J / \tau$; `bound`
    $L^2 / \tau$, the least work along the same route; `efficiency` $L^2 / J \leq 1$, 1 at constant speed; `duration`
    $\tau$. All have shape ().
    """

    length: Float[Array, ""]
    divergence: Float[Array, ""]
    duration: Float[Array, ""]

    @property
    def excess_work(self) -> Float[Array, ""]:
        """The work beyond the free energy, in linear response."""
        return self.divergence / self.duration

    @property
    def bound(self) -> Float[Array, ""]:
        """The least excess work along the same route."""
        return self.length**2 / self.duration

    @property
    def efficiency(self) -> Float[Array, ""]:
        """The bound over the work: 1 at constant speed, and where nothing moves."""
        moves = self.divergence != 0.0
        return jnp.where(moves, self.length**2 / jnp.where(moves, self.divergence, 1.0), 1.0)


def protocol_cost(
    metric: MetricFn,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    points: int = 8,
) -> ProtocolCost:
    r"""Length, divergence and excess work of a protocol in a friction metric, with the bound between them.

    $$W - \Delta F = \int_{t_0}^{t_1} \dot q^\top \zeta(q)\, \dot q\, dt = \frac J\tau \geq \frac{L^2}\tau, \qquad
    \tau = t_1 - t_0$$

    There is no factor 1/2: the excess work is TWICE the action of the free Lagrangian of the metric. The equality is
    that of linear response, for driving slow beside the relaxation of the system; the bound is Cauchy's and Schwarz's,
    and the quadrature keeps it.

    **Arguments:** `metric`: the friction $\zeta$, any callable `q -> (d, d)` (energy times time over the square of a
    parameter: kT times the Fisher metric times a relaxation time); `path`, `t0`, `t1`, `elements`, `points`: the
    protocol as for `action`, a function of time (the user's time unit).

    **Returns:** a `ProtocolCost`.

    **Raises:** as for `action`.

    **Reference:** Sivak & Crooks (2012) for friction, Crooks (2007) for the Fisher metric.

    ```python
    >>> import fimlag as fl
    >>> cost = fl.protocol_cost(fl.EuclideanMetric(), lambda t: t**2, 0.0, 2.0)
    >>> print(f"{cost.length:.6f} {cost.excess_work:.6f} {cost.bound:.6f} {cost.efficiency:.6f}")
    4.000000 10.666667 8.000000 0.750000

    ```
    """
    metric = as_metric(metric)
    length = action(_Speed(metric), path, t0, t1, elements=elements, points=points)
    squares = action(_SquaredSpeed(metric), path, t0, t1, elements=elements, points=points)
    if isinstance(path, Path):
        t0, t1 = path.t0, path.t1
    duration = jnp.asarray(t1, length.dtype) - jnp.asarray(t0, length.dtype)
    return ProtocolCost(length=length, divergence=duration * squares, duration=duration)


def thermodynamic_length(
    metric: MetricFn,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    points: int = 8,
) -> Float[Array, ""]:
    r"""The length of a path in a metric, whatever its speed.

    $$L = \int_{t_0}^{t_1} \sqrt{g_{ij}(q)\, \dot q^i \dot q^j}\, dt$$

    In the Fisher metric of the states of equilibrium it counts standard deviations of fluctuation passed on the way; in
    a friction metric its square over the duration is the least work lost.

    **Arguments:** as for `protocol_cost`. Where the speed vanishes between the ends the integrand has a corner: let an
    element end there.

    **Returns:** a scalar: dimensionless for a Fisher metric, the root of energy times time for a friction metric.

    **Raises:** as for `action`.

    **Reference:** Crooks (2007); Sivak & Crooks (2012).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> poisson = fl.FisherMetric(fl.families.Poisson())
    >>> print(jnp.round(fl.thermodynamic_length(poisson, lambda t: 1.0 + 3.0 * t), 9))    # 2 sqrt 4 - 2 sqrt 1
    2.0

    ```
    """
    return action(_Speed(as_metric(metric)), path, t0, t1, elements=elements, points=points)


def thermodynamic_divergence(
    metric: MetricFn,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    points: int = 8,
) -> Float[Array, ""]:
    r"""The duration times the integral of the squared speed: never below the square of the length.

    $$J = \tau \int_{t_0}^{t_1} g_{ij}(q)\, \dot q^i \dot q^j\, dt \geq L^2, \qquad \tau = t_1 - t_0$$

    **Arguments:** as for `protocol_cost`.

    **Returns:** a scalar, in the square of the unit of length.

    **Raises:** as for `action`.

    **Reference:** Crooks (2007).

    ```python
    >>> import fimlag as fl
    >>> print(f"{fl.thermodynamic_divergence(fl.EuclideanMetric(), lambda t: t**2):.6f}")
    1.333333

    ```
    """
    return protocol_cost(metric, path, t0, t1, elements=elements, points=points).divergence


class OptimalProtocol(AbstractSolution):
    """The protocol of least excess work in linear response, and what is known of it.

    **Attributes:** `path`: a `Path`, callable from time in [0, duration] to the parameters, with `.velocity(t)`;
    `length`: its thermodynamic length, shape (); `excess_work`: the work beyond the free energy (energy);
    `error_estimate`: of the excess work; `morse_index`: 0 where no protocol near it costs less; `iterations`: Newton
    steps; `result`: a `RESULTS` member.
    """

    path: Path
    length: Float[Array, ""]
    excess_work: Float[Array, ""]
    error_estimate: Float[Array, ""]
    morse_index: Int[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def optimal_protocol(
    friction: MetricFn,
    start: Coordinates,
    end: Coordinates,
    duration: RealScalarLike = 1.0,
    *,
    elements: int | Sequence[int] = MESHES,
    degree: int = 8,
    guess=None,
    throw: bool = True,
) -> OptimalProtocol:
    r"""The protocol between two settings that costs least work in linear response: a geodesic at constant speed.

    $$\min_{q(0) = q_0,\ q(\tau) = q_1} \int_0^\tau \dot q^\top \zeta(q)\, \dot q\, dt = \frac{d(q_0, q_1)^2}\tau$$

    It is optimal among slow protocols: for fast ones of an overdamped trap `OverdampedTrap` has the exact ones, which
    jump at both ends.

    **Arguments:** `friction`: the metric $\zeta$, as for `protocol_cost`; `start`, `end`: the settings, in one
    structure; `duration`: $\tau$, positive (the user's time unit); `elements`, `degree`, `guess`: as for `geodesic`;
    `throw`: whether a failure raises.

    **Returns:** an `OptimalProtocol`.

    **Raises:** as `least_action_path`.

    **Reference:** Sivak & Crooks (2012); Salamon & Berry (1983).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> friction = fl.Metric(lambda k: 0.25 / k[:, None] ** 3, chart=fl.CoordinatewiseChart((0.0,)))
    >>> protocol = fl.optimal_protocol(friction, jnp.array([1.0]), jnp.array([4.0]), 10.0)
    >>> print(jnp.round(protocol.excess_work, 9), jnp.round(protocol.path(5.0), 9))
    0.025 [1.77777778]

    ```
    """
    lagrangian = NaturalLagrangian(as_metric(friction))
    options = {"elements": elements, "degree": degree, "guess": guess, "max_iterations": 256, "throw": False}
    solution = least_action_path(lagrangian, start, end, 0.0, duration, **options)
    work = 2.0 * solution.action
    protocol = OptimalProtocol(
        path=solution.path,
        length=root(work * jnp.asarray(duration, work.dtype)),
        excess_work=work,
        error_estimate=2.0 * solution.error_estimate,
        morse_index=solution.morse_index,
        iterations=solution.iterations,
        result=solution.result,
    )
    return raise_unless_successful(protocol, throw)


class _Speed(eqx.Module):
    """The speed in a metric, as a Lagrangian."""

    metric: AbstractMetric

    def __call__(self, t, q, v):
        return root(self.metric.quadratic(q, v))


class _SquaredSpeed(eqx.Module):
    """The squared speed in a metric, as a Lagrangian."""

    metric: AbstractMetric

    def __call__(self, t, q, v):
        return self.metric.quadratic(q, v)
