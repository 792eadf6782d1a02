"""Dissipation by a variational principle: Caldirola-Kanai and Herglotz (contact) Lagrangians."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field


class LinearHerglotz(eqx.Module):
    r"""The Lagrangian $L(t, q, v) - \gamma s$, as `Herglotz.linear` keeps it: a callable `(t, q, v, s)`."""

    lagrangian: LagrangianFn
    rate: RealScalarLike

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike) -> Float[Array, ""]:
        value = jnp.asarray(self.lagrangian(t, q, v))
        return value - jnp.asarray(self.rate, value.dtype) * jnp.asarray(s, value.dtype)


class Herglotz(eqx.Module):
    r"""A Lagrangian that depends on the action accumulated: Herglotz's principle, contact mechanics.

    $$\dot s = L(t, q, \dot q, s), \qquad \frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v}
    - \frac{\partial L}{\partial q} = \frac{\partial L}{\partial s} \frac{\partial L}{\partial v}$$

    **Arguments:** `lagrangian`: a callable `(t, q, v, s) -> scalar`.

    **Returns:** a callable `(t, q, v, s) -> scalar`.

    **Reference:** Herglotz (1930); Guenther, Guenther & Gottsch (1996).
    """

    lagrangian: Callable

    def __init__(self, lagrangian: Callable):
        self.lagrangian = as_field(lagrangian)

    @staticmethod
    def linear(lagrangian: LagrangianFn, rate: RealScalarLike) -> "Herglotz":
        r"""The Lagrangian $L(t, q, v) - \gamma s$, whose momentum decays at the rate $\gamma$.

        **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `rate`: $\gamma$, per unit of time.
        """
        return Herglotz(LinearHerglotz(as_field(lagrangian), rate))

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike) -> Float[Array, ""]:
        return self.lagrangian(t, q, v, s)
