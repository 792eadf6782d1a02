"""Protocols of an overdamped particle in a harmonic trap that moves and changes its stiffness, in closed form."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from fimlag._charts import CoordinatewiseChart
from fimlag._types import RealScalarLike
from fimlag.geometry import Metric
from fimlag.information._differences import convexity_gap


class TrapProtocol(eqx.Module):
    r"""A protocol of `OverdampedTrap`, whose mean and standard deviation move in straight lines.

    $$c = m + \frac\gamma k\, \dot m, \qquad k = \frac{kT}{\sigma^2} - \gamma\, \frac{\dot\sigma}\sigma$$

    hold the particle on that motion; in linear response the terms with a velocity are left out. `protocol(t)` is
    (centre, stiffness), shape (2,): `start` until time 0, `end` from the duration on, and between them what holds the
    motion, to and from which it jumps. The stiffness of a fast protocol may be negative on the way, and the centre is
    infinite where it vanishes; the force is not.

    **Attributes:** `start`, `end`: the settings (2,); `duration`; `mean`, `spread`: the first and the last mean and
    standard deviation, each (2,), those of equilibrium for linear response; `excess_work`: the mean work beyond the
    free energy, shape (): as predicted by linear response, exact for the others; `drag`, `temperature`; `quasistatic`:
    whether it is that of linear response.
    """

    start: Float[Array, " 2"]
    end: Float[Array, " 2"]
    duration: Float[Array, ""]
    mean: Float[Array, " 2"]
    spread: Float[Array, " 2"]
    excess_work: Float[Array, ""]
    drag: Float[Array, ""]
    temperature: Float[Array, ""]
    quasistatic: bool = eqx.field(static=True)

    def __call__(self, t: RealScalarLike) -> Float[Array, " 2"]:
        """Centre and stiffness at a time."""
        t = jnp.asarray(t, self.start.dtype)
        after = jnp.where(t >= self.duration, self.end, self._inside(t))
        return jnp.where(t <= 0.0, self.start, after)

    @property
    def jumps(self) -> Float[Array, "2 2"]:
        """By how much (centre, stiffness) jump at the start, and at the end."""
        first, last = self._inside(jnp.zeros_like(self.duration)), self._inside(self.duration)
        return jnp.stack([first - self.start, self.end - last])

    def _inside(self, t):
        rise, growth = ((x[1] - x[0]) / self.duration for x in (self.mean, self.spread))
        mean, spread = self.mean[0] + rise * t, self.spread[0] + growth * t
        stiffness = self.temperature / spread**2
        if self.quasistatic:
            return jnp.stack([mean, stiffness])
        stiffness = stiffness - self.drag * growth / spread
        return jnp.stack([mean + self.drag * rise / stiffness, stiffness])


class OverdampedTrap(eqx.Module):
    r"""An overdamped particle in a harmonic trap of centre c and stiffness k.

    $$\gamma\, dx = -k\, (x - c)\, dt + \sqrt{2 \gamma\, kT}\, dW$$

    A setting is (centre, stiffness), shape (2,). Three protocols lead from one to another, each the best of its kind:
    `linear_response`, `transport` and `least_work`.

    **Arguments:** `drag`: $\gamma$ (energy times time over length squared); `temperature`: kT (energy).

    **Raises:** `ValueError` for a drag or temperature that is not one number.

    **Reference:** Schmiedl & Seifert (2007); Sivak & Crooks (2012); Aurell, Mejia-Monasterio & Muratore-Ginanneschi
    (2011).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> trap = fl.OverdampedTrap()
    >>> start, end = jnp.array([0.0, 1.0]), jnp.array([0.0, 4.0])
    >>> for protocol in (trap.linear_response, trap.transport, trap.least_work):
    ...     print(jnp.round(protocol(start, end, 2.0).excess_work, 6))
    0.125
    0.125
    0.110659

    ```
    """

    drag: Float[Array, ""]
    temperature: Float[Array, ""]

    def __init__(self, drag: RealScalarLike = 1.0, temperature: RealScalarLike = 1.0):
        self.drag, self.temperature = (jnp.asarray(x, jnp.result_type(float, x)) for x in (drag, temperature))
        if self.drag.shape != () or self.temperature.shape != ():
            raise ValueError("drag and temperature must be single numbers: use jax.vmap for several.")

    @property
    def friction(self) -> Metric:
        r"""The friction metric of slow driving, in (centre, stiffness).

        $$\zeta = \operatorname{diag}\Big(\gamma,\ \frac{\gamma\, kT}{4 k^3}\Big)$$

        It is $\gamma$ times the Wasserstein metric of the states of equilibrium, and flat in (c, $\sqrt{kT / k}$); kT
        times the Fisher metric, diag(k / kT, 1 / (2 k^2)), only with the relaxation times of either: $\gamma / k$ of
        the mean, half of that of the variance.

        **Reference:** Sivak & Crooks (2012), and there the example of a trap.
        """

        def matrix(setting):
            drag, temperature = (x.astype(setting.dtype) for x in (self.drag, self.temperature))
            return jnp.diag(drag * jnp.stack([jnp.ones_like(setting[1]), temperature / (4.0 * setting[1] ** 3)]))

        return Metric(matrix, CoordinatewiseChart((-jnp.inf, 0.0)))

    def linear_response(
        self, start: Real[ArrayLike, "..."], end: Real[ArrayLike, "..."], duration: RealScalarLike
    ) -> TrapProtocol:
        r"""The protocol best for SLOW driving: the geodesic of the friction metric, without jumps.

        $$W - \Delta F \approx \frac{L^2}\tau = \frac{\gamma\, W_2^2}\tau, \qquad
        W_2^2 = (c_1 - c_0)^2 + kT\, \big(k_1^{-1/2} - k_0^{-1/2}\big)^2$$

        What it truly costs differs by $O(\tau^{-2})$.

        **Reference:** Sivak & Crooks (2012).
        """
        return self._equilibria(start, end, duration, quasistatic=True)

    def transport(
        self, start: Real[ArrayLike, "..."], end: Real[ArrayLike, "..."], duration: RealScalarLike
    ) -> TrapProtocol:
        r"""The best protocol that ENDS IN EQUILIBRIUM, at any speed: optimal transport of the density.

        $$W - \Delta F = \frac{\gamma\, W_2^2}\tau$$

        exactly, the least of any force that carries the one density to the other. The number is that of linear
        response; the protocol jumps at both ends.

        **Reference:** Aurell, Mejia-Monasterio & Muratore-Ginanneschi (2011); Nakazato & Ito (2021).
        """
        return self._equilibria(start, end, duration, quasistatic=False)

    def least_work(
        self, start: Real[ArrayLike, "..."], end: Real[ArrayLike, "..."], duration: RealScalarLike
    ) -> TrapProtocol:
        r"""The protocol of least mean work at any speed, which ends OUT OF equilibrium.

        $$W - \Delta F = \frac{\gamma\, (\Delta c)^2}{\tau + 2 \gamma / k_1}
        + \frac{\gamma\, (\sigma_\tau - \sigma_0)^2}\tau + \frac{kT}2 (y - 1 - \log y), \qquad
        y = \frac{k_1 \sigma_\tau^2}{kT}, \qquad \frac{\sigma_\tau}{\sigma_0}
        = 1 + \frac{(k_0 - k_1)\, \tau}{\gamma + k_1 \tau + \sqrt{\gamma^2 + 2 \gamma k_0 \tau + k_0 k_1 \tau^2}}$$

        **Reference:** Schmiedl & Seifert (2007), case studies I (the moving trap) and II (its stiffness).
        """
        start, end, tau, drag, heat = self._typed(start, end, duration)
        (c0, k0), (c1, k1) = start, end
        first = jnp.sqrt(heat / k0)
        denominator = drag + k1 * tau + jnp.sqrt(drag**2 + 2.0 * drag * k0 * tau + k0 * k1 * tau**2)
        growth = (k0 - k1) * tau / denominator
        last = first * (1.0 + growth)
        lag = 2.0 * drag / k1
        unrelaxed = 2.0 * jnp.log1p(growth) + jnp.log(k1 / k0)
        work = drag * (c1 - c0) ** 2 / (tau + lag) + drag * (first * growth) ** 2 / tau
        return TrapProtocol(
            start=start,
            end=end,
            duration=tau,
            mean=jnp.stack([c0, c0 + (c1 - c0) * tau / (tau + lag)]),
            spread=jnp.stack([first, last]),
            excess_work=_where_legal(start, end, tau, work + 0.5 * heat * _lack(unrelaxed)),
            drag=drag,
            temperature=heat,
            quasistatic=False,
        )

    def _equilibria(self, start, end, duration, quasistatic: bool) -> TrapProtocol:
        """The protocol between the states of equilibrium of both settings."""
        start, end, tau, drag, heat = self._typed(start, end, duration)
        mean, spread = (jnp.stack(pair) for pair in zip(start, end, strict=True))
        spread = jnp.sqrt(heat / spread)
        square = (mean[1] - mean[0]) ** 2 + (spread[1] - spread[0]) ** 2
        return TrapProtocol(
            start=start,
            end=end,
            duration=tau,
            mean=mean,
            spread=spread,
            excess_work=_where_legal(start, end, tau, drag * square / tau),
            drag=drag,
            temperature=heat,
            quasistatic=quasistatic,
        )

    def _typed(self, start, end, duration):
        start, end = (jnp.asarray(x, jnp.result_type(float, x)) for x in (start, end))
        if start.shape != (2,) or end.shape != (2,):
            raise ValueError(f"A setting is (centre, stiffness), shape (2,), but {start.shape} and {end.shape} came.")
        dtype = jnp.result_type(start, end)
        return tuple(jnp.asarray(x, dtype) for x in (start, end, duration, self.drag, self.temperature))


def _lack(d):
    """`exp(d) - 1 - d`, to all digits also for small d."""
    near = jnp.abs(d) < 1.0
    return jnp.where(near, convexity_gap(jnp.where(near, d, 0.0), jnp.zeros_like(d)), jnp.expm1(d) - d)


def _where_legal(start, end, duration, work):
    """The work, NaN for a duration or a stiffness that is not positive."""
    return jnp.where((duration > 0.0) & (start[1] > 0.0) & (end[1] > 0.0), work, jnp.nan)
