"""A motion as a loop of steps, as what runs it and what runs it back see it."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from fimlag._scalarise import scalarised
from fimlag.integrators._ensemble import ensemble


class State(NamedTuple):
    """What passes from step to step: a phase, and what compensated sums have lost, None where they are not."""

    q: Float[Array, " d"]
    p: Float[Array, " d"]
    memory: PyTree
    lost: tuple[Float[Array, " d"], Float[Array, " d"]] | None


class OnGrid(NamedTuple):
    """What the steps of a walk on a grid have beside.

    **Attributes:** `change(state, number, after)`: how a step ahead changes point and momentum, and the memory after
    it, where the point after it is known; `spacing()`: the distances of the grid's points and momenta.
    """

    change: Callable
    spacing: Callable


class Walk(NamedTuple):
    """The steps of a motion, what is recorded on the way, and what the rows show.

    **Attributes:** `step(state, number, direction)`: the state after the step that starts at a number of steps and
    leads ahead (direction 1) or back (-1), and whether its equations were solved; `note(record, state, number,
    solved)`: the record, which has no derivative, with what is seen after the step of this number; `show(state)`: what
    a row keeps of a state, of this alone; `rows` after the start; `save_every`: steps from row to row;
    `leap(state, number)`: the state after all steps of a row from a number of steps on, where the method makes them
    faster together than one by one, and nothing is recorded of them; `grid`: what those on a grid have beside.
    """

    step: Callable
    note: Callable
    show: Callable
    rows: int
    save_every: int
    leap: Callable | None = None
    grid: OnGrid | None = None

    def advance(self, carry, number):
        """State and record after the step of a number."""
        state, record = carry
        state, solved = self.step(state, number, 1.0)
        return state, self.note(record, state, number, solved)

    def row(self, carry, number, within: Callable):
        """State and record after the steps up to the next row, and this; `within` loops over the steps of a row."""
        first = number * self.save_every
        if self.leap is not None:
            state = self.leap(carry[0], first)
            return (state, carry[1]), self.show(state)
        carry = within(lambda carry, ahead: (self.advance(carry, first + ahead), None), carry)
        return carry, self.show(carry[0])

    def through(self, carry, first: int | Int[Array, ""] = 0):
        """State and record at the end, and the rows, of which `first` are behind already."""
        numbers = first + jnp.arange(self.rows)
        return lax.scan(lambda carry, number: self.row(carry, number, self._within), carry, numbers)

    def _within(self, body, carry):
        if self.save_every == 1:
            return body(carry, 0)[0]
        return lax.fori_loop(0, self.save_every, lambda number, carry: body(carry, number)[0], carry)


def by_scalars(function: Callable) -> Callable:
    """A function of arrays evaluated by scalar code, many trajectories by what is fast on the device."""
    return scalarised(function, ensemble)
