"""The Bregman Lagrangian, whose motions are accelerated minimisation."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.geometry import AbstractMetric, EuclideanMetric, FisherMetric
from fimlag.information import AbstractModel, bregman_divergence
from fimlag.information._bregman import chord_curvature
from fimlag.mechanics._lagrangian import as_time


class ScalingDefect(NamedTuple):
    r"""How far the three functions of a Bregman Lagrangian are from ideal scaling at a time.

    **Attributes:** `rate`: $\dot\beta - e^\alpha$, ideal where it is not positive, shape (); `damping`:
    $\dot\gamma - e^\alpha$, ideal where it is zero, shape ().
    """

    rate: Float[Array, ""]
    damping: Float[Array, ""]


class BregmanLagrangian(eqx.Module):
    r"""The Lagrangian whose motions minimise an objective, at a rate that three functions of time set.

    $$L(t, x, v) = e^{\alpha + \gamma} \big(D_h(x + e^{-\alpha} v,\ x) - e^\beta f(x)\big), \qquad
    D_h(y, x) = h(y) - h(x) - \nabla h(x) \cdot (y - x)$$

    Where f is convex and the scaling is ideal, $\dot\beta \le e^\alpha$ and $\dot\gamma = e^\alpha$, the motions obey
    $f(x_t) - \min f \le E_0\, e^{-\beta_t}$ with $E_0$ the `lyapunov` function at the start. For a metric g in place of
    the potential h it is $L = \tfrac12 e^{\gamma - \alpha}\, v \cdot g(x)\, v - e^{\alpha + \beta + \gamma} f(x)$. A
    motion makes the action stationary; over a long time it need not make it least.

    **Arguments:** `objective`: f, a scalar function of the point; `alpha`, `beta`, `gamma`: functions of the time;
    `potential`: h, a convex scalar function of the point (mirror geometry), or a metric, or a statistical model for its
    Fisher metric; None for $|x|^2 / 2$. A plain function that returns matrices becomes a metric by `Metric`.

    **Returns:** a callable `(t, x, v) -> scalar`. Its kinetic energy depends on time, so that `integrate` takes an
    implicit method.

    **Raises:** `TypeError` for functions that are none; when called, `ValueError` for an objective that is no scalar.

    **Reference:** Wibisono, Wilson & Jordan (2016), eq. 1.5 and theorem 1.1; for a metric, Duruisseaux & Leok (2022);
    for the index of the action, Zhang, Orvieto & Daneshmand (2021).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.BregmanLagrangian.polynomial(lambda x: x**2 / 2, p=2, C=0.25)        # x'' + 3 x' / t + x = 0
    >>> print(jnp.round(fl.acceleration(L, 2.0, 1.0, -2.0), 9))
    2.0

    ```
    """

    objective: Callable
    alpha: Callable
    beta: Callable
    gamma: Callable
    potential: Callable | None

    def __init__(
        self,
        objective: Callable,
        alpha: Callable,
        beta: Callable,
        gamma: Callable,
        potential: Callable | AbstractModel | None = None,
    ):
        self.objective = as_field(objective)
        self.alpha, self.beta, self.gamma = as_field(alpha), as_field(beta), as_field(gamma)
        geometry = FisherMetric(potential) if isinstance(potential, AbstractModel) else potential
        self.potential = None if geometry is None else as_field(geometry)

    @staticmethod
    def polynomial(
        objective: Callable,
        p: RealScalarLike,
        C: RealScalarLike,
        potential: Callable | AbstractModel | None = None,
        *,
        distortion: RealScalarLike = 1.0,
    ) -> "BregmanLagrangian":
        r"""The family that converges as $t^{-p}$, of which Nesterov's method with p = 2 is a discretisation.

        $$\alpha = \log p - \log t, \quad \beta = p \log t + \log C, \quad \gamma = \zeta\, p \log t \quad
        \Rightarrow \quad \ddot x + \tfrac{\zeta p + 1}{t} \dot x + C p^2 t^{p - 2}\, \nabla^2 h(x + \tfrac tp \dot
        x)^{-1} \nabla f(x) = 0$$

        It is singular at t = 0: `start` gives a state shortly afterwards.

        **Arguments:** `p`, `C`: positive; `distortion`: $\zeta$, 1 in flat geometry and for metrics of no negative
        curvature, else more: $\kappa D \coth \kappa D$ for curvatures down to $-\kappa^2$ and points no more than D
        apart.

        **Reference:** Wibisono, Wilson & Jordan (2016), section 2; Su, Boyd & Candes (2016), eq. 3, for p = 2, C = 1/4;
        Duruisseaux & Leok (2022) for the distortion.
        """
        p, C, distortion = (jnp.asarray(each, jnp.result_type(float, each)) for each in (p, C, distortion))
        times = (_LogTime(jnp.log(p), -1.0), _LogTime(jnp.log(C), p), _LogTime(0.0, distortion * p))
        return BregmanLagrangian(objective, *times, potential)

    @staticmethod
    def exponential(
        objective: Callable, c: RealScalarLike, potential: Callable | AbstractModel | None = None
    ) -> "BregmanLagrangian":
        r"""The family that converges as $e^{-c t}$.

        $$\alpha = \log c, \quad \beta = \gamma = c t \quad \Rightarrow \quad
        \ddot x + c \dot x + c^2 e^{c t}\, \nabla^2 h(x + \dot x / c)^{-1} \nabla f(x) = 0$$

        **Arguments:** `c`: positive, per unit of time.

        **Reference:** Wibisono, Wilson & Jordan (2016), section 3.
        """
        c = jnp.asarray(c, jnp.result_type(float, c))
        times = (_Linear(jnp.log(c), 0.0), _Linear(0.0, c), _Linear(0.0, c))
        return BregmanLagrangian(objective, *times, potential)

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        point, structure = flatten(q, "q")
        velocity = structure.flatten(v, "v").astype(point.dtype)
        alpha, beta, gamma = self._at(as_time(t, point.dtype))
        kinetic = self._kinetic(structure, alpha, point, velocity)
        return jnp.exp(gamma - alpha) * kinetic - jnp.exp(alpha + beta + gamma) * self._value(structure, point)

    def scaling_defect(self, t: RealScalarLike) -> ScalingDefect:
        r"""$\dot\beta - e^\alpha$ and $\dot\gamma - e^\alpha$ at a time.

        The rate $e^{-\beta}$ is proved where the first is not positive and the second is zero.
        """
        t = as_time(t, jnp.result_type(float, t))
        (alpha, _, _), (_, rate, damping) = self._rates(t)
        return ScalingDefect(rate - jnp.exp(alpha), damping - jnp.exp(alpha))

    def lyapunov(self, t: RealScalarLike, q: Coordinates, v: Coordinates, minimiser: Coordinates) -> Float[Array, ""]:
        r"""The function that no motion lets increase where the objective is convex and the scaling ideal.

        $$E_t = D_h(x_*,\ x + e^{-\alpha} v) + e^\beta (f(x) - f(x_*))$$

        So $f(x_t) - f(x_*) \le E_0\, e^{-\beta_t}$.

        **Arguments:** `t`, `q`, `v`: a state; `minimiser`: $x_*$, in the structure of `q`.

        **Returns:** $E_t$, shape ().

        **Raises:** `TypeError` for a metric that is not a `EuclideanMetric`, where distances would be needed.

        **Reference:** Wibisono, Wilson & Jordan (2016), theorem 1.1.
        """
        point, structure = flatten(q, "q")
        velocity, target = (
            structure.flatten(tree, name).astype(point.dtype) for tree, name in ((v, "v"), (minimiser, "minimiser"))
        )
        alpha, beta, _ = self._at(as_time(t, point.dtype))
        ahead = point + jnp.exp(-alpha) * velocity
        gap = self._value(structure, point) - self._value(structure, target)
        return self._divergence(structure, target, ahead) + jnp.exp(beta) * gap

    def start(self, q0: Coordinates, t: RealScalarLike) -> tuple[PyTree[Array], PyTree[Array]]:
        r"""The state at an early time of the motion that begins at rest where $e^\beta$ vanishes.

        $$x = x_0 - a\, e^\beta w, \quad v = -a\, \dot\beta\, e^\beta w, \qquad w = G(x_0)^{-1} \nabla f(x_0), \quad
        a = \frac{e^{2 \alpha}}{\dot\beta\, (\dot\beta + \dot\gamma)}$$

        with G the metric, or the Hessian of h. For the polynomial family the motion begins at t = 0, where its equation
        is singular, for the exponential one in the infinite past. The error is $O(e^{2 \beta})$ where
        $\dot\beta / e^\alpha$ and $\dot\gamma / e^\alpha$ are constant.

        **Arguments:** `q0`: the point of rest; `t`: the time, such that $e^{\beta} w$ is small.

        **Returns:** `(x, v)` in the structure of `q0`; NaN where G is singular.
        """
        point, structure = flatten(q0, "q0")
        (alpha, beta, _), (_, rate, damping) = self._rates(as_time(t, point.dtype))
        slope = jax.grad(lambda x: self._value(structure, x))(point)
        share = jnp.exp(2 * alpha + beta) / (rate * (rate + damping))
        shift = -share * solve(self._metric(structure, point), slope)
        return structure.unflatten(point + shift), structure.unflatten(rate * shift)

    def dilated(self, clock: Callable) -> "BregmanLagrangian":
        r"""The Bregman Lagrangian whose motions are those of this one at another speed, $y(t) = x(\tau(t))$.

        $$\tilde\alpha(t) = \alpha(\tau(t)) + \log \dot\tau(t), \qquad \tilde\beta(t) = \beta(\tau(t)), \qquad
        \tilde\gamma(t) = \gamma(\tau(t))$$

        Ideal scaling is kept. All polynomial families are one curve at different speeds.

        **Arguments:** `clock`: $\tau$, an increasing function of the time.

        **Reference:** Wibisono, Wilson & Jordan (2016), theorem 1.2.
        """
        clock = as_field(clock)
        faster = _Dilated(self.alpha, clock, True)
        beta, gamma = (_Dilated(f, clock, False) for f in (self.beta, self.gamma))
        return BregmanLagrangian(self.objective, faster, beta, gamma, self.potential)

    def _at(self, t):
        return tuple(jnp.asarray(f(t), t.dtype) for f in (self.alpha, self.beta, self.gamma))

    def _rates(self, t):
        return jax.jvp(self._at, (t,), (jnp.ones_like(t),))

    def _value(self, structure: Structure, x):
        value = jnp.asarray(self.objective(structure.unflatten(x)))
        if value.shape != ():
            raise ValueError(f"An objective returns a scalar of shape (), but this one returned shape {value.shape}.")
        return value

    def _kinetic(self, structure: Structure, alpha, x, v):
        r"""$e^{2 \alpha} D_h(x + e^{-\alpha} v, x)$, which stays finite for $e^{-\alpha} \to 0$."""
        if self.potential is None:
            return v @ v / 2
        if isinstance(self.potential, AbstractMetric):
            return self.potential.quadratic(structure.unflatten(x), structure.unflatten(v)) / 2
        return chord_curvature(_flat(self.potential, structure), x, v, jnp.exp(-alpha))

    def _divergence(self, structure: Structure, a, b):
        if self.potential is None:
            return (a - b) @ (a - b) / 2
        if isinstance(self.potential, EuclideanMetric):
            return self.potential.quadratic(structure.unflatten(b), structure.unflatten(a - b)) / 2
        if isinstance(self.potential, AbstractMetric):
            raise TypeError(
                "The Lyapunov function is known for a convex potential and for a EuclideanMetric, but not for a "
                f"{type(self.potential).__name__}: where the metric is the Hessian of a potential, give that instead."
            )
        return bregman_divergence(_flat(self.potential, structure), a, b)

    def _metric(self, structure: Structure, x):
        if self.potential is None:
            return jnp.eye(x.size, dtype=x.dtype)
        if isinstance(self.potential, AbstractMetric):
            return self.potential(structure.unflatten(x))
        return jax.hessian(_flat(self.potential, structure))(x)


def _flat(function: Callable, structure: Structure) -> Callable:
    """A scalar function of the point, of flat vectors."""
    return lambda x: jnp.asarray(function(structure.unflatten(x)))


class _LogTime(eqx.Module):
    """A constant and a multiple of the logarithm of the time."""

    constant: RealScalarLike
    factor: RealScalarLike

    def __call__(self, t):
        constant, factor = (jnp.asarray(each, t.dtype) for each in (self.constant, self.factor))
        return constant + factor * jnp.log(t)


class _Linear(eqx.Module):
    """A constant and a multiple of the time."""

    constant: RealScalarLike
    factor: RealScalarLike

    def __call__(self, t):
        constant, factor = (jnp.asarray(each, t.dtype) for each in (self.constant, self.factor))
        return constant + factor * t


class _Dilated(eqx.Module):
    """A function of the time by another clock, with the logarithm of its pace where that is asked for."""

    function: Callable
    clock: Callable
    paced: bool = eqx.field(static=True)

    def __call__(self, t):
        time, pace = jax.jvp(lambda t: jnp.asarray(self.clock(t), t.dtype), (t,), (jnp.ones_like(t),))
        value = jnp.asarray(self.function(time), t.dtype)
        return value + jnp.log(pace) if self.paced else value
