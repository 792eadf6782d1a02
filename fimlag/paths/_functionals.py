"""What a path is judged by: its Lagrangian, its integral constraints, and what it must keep clear of."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Functionals(eqx.Module):
    """Functions of (t, q, v) on flat vectors, and surfaces on which stations lie.

    **Attributes:** `lagrangian`; `integrals`: densities whose integrals are given; `inequalities`: functions that must
    not be negative; `surfaces`: functions of the point that vanish at the stations numbered in `at_stations`.
    """

    lagrangian: Callable
    integrals: tuple[Callable, ...] = ()
    inequalities: tuple[Callable, ...] = ()
    surfaces: tuple[Callable, ...] = ()
    at_stations: tuple[int, ...] = eqx.field(static=True, default=())

    def densities(self, t, q, v) -> Float[Array, " n"]:
        """The Lagrangian, then the densities of the integral constraints."""
        return jnp.stack([f(t, q, v) for f in (self.lagrangian, *self.integrals)])

    def margins(self, t, q, v) -> Float[Array, " n"]:
        """How far each inequality is from being violated."""
        return jnp.stack([f(t, q, v) for f in self.inequalities])


class Barrier(eqx.Module):
    r"""A relaxed logarithmic barrier, smooth on both sides of its wall.

    $$B(g) = -w \log \frac g\delta \quad (g > \delta), \qquad
    B(g) = \frac w2 \left[\left(\frac{g - 2\delta}{\delta}\right)^2 - 1\right] \quad (g \le \delta)$$

    **Attributes:** `weight` w (lanes,), in units of the Lagrangian; `widths` $\delta$ (inequalities, lanes).

    **Reference:** Hauser & Saccon (2006), eq. 9.
    """

    weight: Float[Array, "*lanes"]
    widths: Float[Array, "inequalities *lanes"]

    def __call__(self, margins: Float[Array, " inequalities"]) -> Float[Array, ""]:
        relative = margins / self.widths
        inside = relative > 1
        logarithmic = -jnp.log(jnp.where(inside, relative, 1.0))
        quadratic = 0.5 * ((relative - 2) ** 2 - 1)
        return self.weight * jnp.sum(jnp.where(inside, logarithmic, quadratic))

    def multipliers(self, margins: Float[Array, "inequalities n lanes"]) -> Float[Array, "inequalities n lanes"]:
        """How hard the walls push at many points of every lane: minus the derivative of the barrier."""
        at_points = jax.vmap(lambda barrier, margins: -jax.grad(barrier)(margins), (None, -1), -1)
        return jax.vmap(at_points, (-1, -1), -1)(self, margins)
