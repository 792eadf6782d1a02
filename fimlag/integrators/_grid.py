"""Explicit steps on a grid of numbers, on which sums are exact, so that a step back undoes a step bit for bit."""

from typing import TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import March, Phase
from fimlag.integrators._separable import SeparableEquations
from fimlag.integrators._splitting import AbstractSplitting


class Grid(eqx.Module):
    """Multiples of a power of two for each coordinate.

    **Attributes:** `spacing`: the powers of two.
    """

    spacing: Float[Array, " d"]

    def nearest(
        self, duration: Float[Array, ""] | float, x: Float[Array, " d"], held: bool = False
    ) -> Float[Array, " d"]:
        """The points of the grid next to a duration times x, differentiated as the product itself.

        `held`: whether no loop changes the duration, so that what is to be known of it is kept from before the loop.
        """
        rate = duration / self.spacing
        return _nearest(duration * x, lax.optimization_barrier(rate) if held else rate, x, self.spacing)


class GridEquations(eqx.Module):
    """The drifts and kicks of a separable system, each rounded to a grid; time is counted in steps.

    `held`: whether no loop changes their shares of a step.
    """

    separable: SeparableEquations
    q: Grid
    p: Grid
    t0: Float[Array, ""]
    h: Float[Array, ""]
    held: bool = eqx.field(static=True)

    def force(self, number, q):
        """The kick at a point, a number of steps after the start."""
        return self.separable.force(self.t0 + number * self.h, q)

    def velocity(self, p):
        """The drift at a momentum."""
        return self.separable.velocity(p)

    def drift(self, share, p):
        """How far a drift takes in a share of a step."""
        return self.q.nearest(share * self.h, self.separable.velocity(p), self.held)

    def kick(self, share, force):
        """How much a force kicks in a share of a step."""
        return self.p.nearest(share * self.h, force, self.held)


class AtPoint(eqx.Module):
    """The drifts and kicks of a step whose one force is at its end, which is known."""

    equations: GridEquations
    end: Float[Array, " d"]

    def force(self, number, q):
        """The kick at the end, differentiated as that where the drift leads."""
        return self.equations.force(number, self.end + (q - lax.stop_gradient(q)))

    def drift(self, share, p):
        """How far a drift takes in a share of a step."""
        return self.equations.drift(share, p)

    def kick(self, share, force):
        """How much a force kicks in a share of a step."""
        return self.equations.kick(share, force)


def changes(march: March, after: Float[Array, " d"], number, phase: Phase) -> tuple[Array, Array, Array | None]:
    """How a step on a grid changes point and momentum, and the memory after it, where the point after it is known."""
    # The long way to this point need not be gone again.
    known = AtPoint(march.equations, after) if has_one_force(march.method) else march.equations
    return march.method.step(known, march.time(number), march.h, *phase)[:3]


def leap_on_grid(march: March, kicks: tuple[float, ...], phase: Phase, first, count: int) -> Phase:
    """The phase after a count of steps of one force, between two kicks of these shares.

    It is to the bit what it is after one step after the other: sums are exact.
    """
    equations, (before, after) = march.equations, kicks

    def drift_and_force(number, q, p):
        q = q + equations.drift(march.h, p)
        return q, equations.force(march.time(number) + march.h, q)

    def step(ahead, state):
        q, force = drift_and_force(first + ahead, *state)
        return q, state[1] + (equations.kick(after * march.h, force) + equations.kick(before * march.h, force))

    state = phase.q, phase.p + equations.kick(before * march.h, phase.memory)
    q, p = lax.fori_loop(0, count - 1, step, state)
    q, force = drift_and_force(first + count - 1, q, p)
    return Phase(q, p + equations.kick(after * march.h, force), force)


def has_one_force(method: AbstractMethod) -> TypeGuard[AbstractSplitting]:
    """Whether the steps of a method are products of drifts and kicks with one force, at its end."""
    return isinstance(method, AbstractSplitting) and method.forces_at_end


def on_grid(march: March, phase: Phase, steps: int, reach: float) -> tuple[March, Phase]:
    """A march, its time counted in steps, and its first phase on a grid that reaches so many times as far as the motion
    is taken to go.

    A coordinate is taken to go as far as its start is from the origin, or as its velocity takes it in the time of a
    small oscillation; a momentum likewise.
    """
    sizes = lax.stop_gradient(_sizes(march.equations, march.t0, jnp.abs(march.h * steps), phase))
    q, p = (Grid(_spacing(size, reach)) for size in sizes)
    equations = GridEquations(march.equations, q, p, march.t0, march.h, has_one_force(march.method))
    counted = March(march.method, equations, jnp.zeros_like(march.t0), jnp.ones_like(march.h))
    return counted, phase._replace(q=q.nearest(1.0, phase.q), p=p.nearest(1.0, phase.p))


def _sizes(separable, t0, duration, phase):
    """How far coordinates and momenta are taken to go."""
    q, p, _ = phase
    curvature = jax.jacfwd(separable.force, argnums=1)(t0, q)
    accelerations = jax.vmap(lambda force: separable.velocity(force) - separable.velocity(jnp.zeros_like(force)))
    rates = accelerations(curvature.T)
    period = jnp.minimum(duration, jnp.abs(jnp.sum(rates * rates.T)) ** -0.25)
    return _size(q, period * separable.velocity(p)), _size(p, period * separable.force(t0, q))


def _size(place, way):
    """The larger of two lengths in each coordinate, and in one where both vanish the largest of all."""
    size = jnp.maximum(jnp.abs(place), jnp.abs(way))
    largest = jnp.max(size)
    return jnp.where(size > 0, size, jnp.where(largest > 0, largest, 1))


def _spacing(size, reach):
    """The powers of two whose multiples reach so many times a size, with all the digits of a number at its end."""
    largest = 2 * reach * size * jnp.finfo(size.dtype).eps
    mantissa, _ = jnp.frexp(largest)
    return largest / mantissa


@jax.custom_jvp
def _nearest(product, rate, x, spacing):
    # The product in units of the grid: powers of two are divided by exactly, and before the loop over steps.
    return jnp.round(rate * x) * spacing


@_nearest.defjvp
def _(primals, tangents):
    return _nearest(*primals), tangents[0]
