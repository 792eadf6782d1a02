"""Lagrangians linear in the velocity: vortices, and prey with predators."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.mechanics import PhaseSpaceLagrangian


class PointVortices(eqx.Module):
    r"""Point vortices in the plane, each drifting in the flow of the others.

    $$L = \sum_i \tfrac{\Gamma_i}2 (y_i \dot x_i - x_i \dot y_i)
    + \frac{1}{4 \pi} \sum_{i < j} \Gamma_i \Gamma_j \log |q_i - q_j|^2$$

    **Arguments:** `strengths` $\Gamma$, shape (n,).

    **Reference:** Kirchhoff (1876), lecture 20; Newton (2001), section 2.1.
    """

    strengths: Float[Array, " n"] = eqx.field(default=(1.0, 1.0), converter=jnp.asarray)

    @property
    def lagrangian(self) -> PhaseSpaceLagrangian:
        """The Lagrangian on arrays of shape (n, 2)."""
        return PhaseSpaceLagrangian(_VortexForm(self.strengths), _VortexEnergy(self.strengths))

    def pair(self, t: RealScalarLike, q0: Float[Array, "2 2"]) -> Float[Array, "2 2"]:
        r"""The points of two vortices a time `t` after a start.

        They turn about their centre at the rate $(\Gamma_1 + \Gamma_2) / (2 \pi d^2)$, d their distance; NaN where
        the strengths have the sum zero, and no centre.
        """
        strengths = self.strengths.astype(q0.dtype)
        apart, total = q0[0] - q0[1], jnp.sum(strengths)
        centre = strengths @ q0 / total
        angle = total / (2 * jnp.pi * (apart @ apart)) * t
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        turn = jnp.stack([jnp.stack([cosine, -sine]), jnp.stack([sine, cosine])])
        return centre[None] + (q0 - centre[None]) @ turn.T


class LotkaVolterra(eqx.Module):
    r"""Prey and predators, in the logarithms of their numbers: a phase space of populations.

    $$L = q_1 \dot q_2 - \big(c\, e^{q_1} - d\, q_1 + b\, e^{q_2} - a\, q_2\big), \qquad
    \dot x = x (a - b y), \quad \dot y = y (c x - d)$$

    with $x = e^{q_1}$, $y = e^{q_2}$.

    **Arguments:** `rates` (a, b, c, d).

    **Reference:** Hairer, Lubich & Wanner (2006), section I.1.1; the form, example VII.2.5.
    """

    rates: Float[Array, "4"] = eqx.field(default=(1.0, 1.0, 1.0, 1.0), converter=jnp.asarray)

    @property
    def lagrangian(self) -> PhaseSpaceLagrangian:
        """The Lagrangian on vectors of shape (2,)."""
        return PhaseSpaceLagrangian(_first_times_second, _PopulationEnergy(self.rates))


class _VortexForm(eqx.Module):
    strengths: Float[Array, " n"]

    def __call__(self, t, q):
        return self.strengths.astype(q.dtype)[:, None] / 2 * jnp.stack([q[:, 1], -q[:, 0]], axis=1)


class _VortexEnergy(eqx.Module):
    strengths: Float[Array, " n"]

    def __call__(self, t, q):
        strengths, (i, j) = self.strengths.astype(q.dtype), np.triu_indices(q.shape[0], 1)
        squares = jnp.sum((q[i] - q[j]) ** 2, axis=1)
        return -(strengths[i] * strengths[j]) @ jnp.log(squares) / (4 * jnp.pi)


def _first_times_second(t, q):
    return jnp.stack([jnp.zeros_like(q[0]), q[0]])


class _PopulationEnergy(eqx.Module):
    rates: Float[Array, "4"]

    def __call__(self, t, q):
        a, b, c, d = self.rates.astype(q.dtype)
        return c * jnp.exp(q[0]) - d * q[0] + b * jnp.exp(q[1]) - a * q[1]
