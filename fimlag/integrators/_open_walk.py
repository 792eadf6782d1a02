"""A walk that closes over nothing, so that whatever its steps depend on can be differentiated."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, PyTree

from fimlag.integrators._walk import State, Walk


class Given(NamedTuple):
    """What a motion depends on: its first state, and what its steps share."""

    state: State
    shared: list[Array]


class Watch(NamedTuple):
    """What is recorded on the way, and what its notes share; neither has a derivative."""

    record: PyTree
    shared: list[Array]


class OpenWalk(NamedTuple):
    """A walk whose steps are given what they share.

    **Attributes:** `walk`; `move(state, number, direction, after, *shared)`: the state after a step, whether its
    equations were solved, the state after a leap, and the change on a grid and its spacing, None for none;
    `note(record, state, number, solved, *watch)`: its record.
    """

    walk: Walk
    move: Callable
    note: Callable

    def stepped(self, given: Given, state: State, number, direction: float) -> State:
        """The state after a step, ahead or back."""
        return self._moved(given, state, number, direction)[0]

    def changed(self, given: Given, state: State, number, after) -> tuple[Array, Array, PyTree]:
        """How a step ahead on a grid changes point and momentum, and the memory after it."""
        return self._moved(given, state, number, 1.0, after)[3]

    def spacing(self, given: Given) -> tuple[Array, Array] | None:
        """The distances of the points and momenta of a grid, None where there is none."""
        return self._moved(given, given.state, jnp.asarray(0), 1.0)[4]

    def motion(self, given: Given, watch: Watch) -> tuple[PyTree, PyTree, State]:
        """The record, the rows and the last state."""

        def step(state, number, direction):
            return self._moved(given, state, number, direction)[:2]

        def leap(state, number):
            return self._moved(given, state, number, 1.0)[2]

        def note(*seen):
            return self.note(*seen, *watch.shared)

        walk = self.walk._replace(step=step, note=note, leap=self.walk.leap and leap)
        (end, record), rows = walk.through((given.state, watch.record))
        return record, rows, end

    def pull_row(self, state: State, row: PyTree) -> State:
        """The cotangents of a state from those of the row that shows it."""
        varied, rest = eqx.partition(state, eqx.is_inexact_array)

        def show(varied):
            return eqx.filter(self.walk.show(eqx.combine(varied, rest)), eqx.is_inexact_array)

        return jax.vjp(show, varied)[1](row)[0]

    def _moved(self, given, state, number, direction, after=None):
        after = state.q if after is None else after
        return self.move(state, number, direction * jnp.ones_like(state.q[0]), after, *given.shared)


def opened(walk: Walk, state: State, record: PyTree) -> tuple[OpenWalk, Given, Watch]:
    """A walk, its first state and its record, with what the steps and the notes close over taken out."""

    def move(state, number, direction, after):
        leap = walk.leap and walk.leap(state, number)
        on_grid = walk.grid and (walk.grid.change(state, number, after), walk.grid.spacing())
        return *walk.step(state, number, direction), leap, *(on_grid or (None, None))

    number = jnp.asarray(0)
    move, shared = _opened(move, state, number, jnp.ones_like(state.q[0]), state.q)
    note, watched = _opened(walk.note, record, state, number, jnp.array(True))
    return OpenWalk(walk, move, note), Given(state, shared), Watch(record, watched)


def _opened(function: Callable, *args) -> tuple[Callable, list[Array]]:
    """A function of its arguments and of all that is traced that it closes over, and this."""
    traced, shape = jax.make_jaxpr(function, return_shape=True)(*args)
    places = [place for place, const in enumerate(traced.consts) if isinstance(const, Tracer)]

    def of_all(*args):
        consts, count = list(traced.consts), len(args) - len(places)
        for place, value in zip(places, args[count:], strict=True):
            consts[place] = value
        outputs = jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, consts))(*jax.tree.leaves(args[:count]))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return of_all, [traced.consts[place] for place in places]
