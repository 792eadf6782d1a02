"""How gradients run back through a trajectory."""

import abc
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

from fimlag._results import RESULTS
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import March, Phase
from fimlag.integrators._walk import State, Walk, by_scalars


class AbstractAdjoint(eqx.Module):
    """The loop over the steps of a trajectory, and how its gradients are computed."""

    @abc.abstractmethod
    def check(self, method: AbstractMethod, rows: int, save_every: int):
        """Raise a `ValueError` for a method, or numbers of rows and of steps between them, that do not suit."""

    @abc.abstractmethod
    def begin(self, march: March, phase: Phase, steps: int) -> tuple[March, Phase]:
        """The march and the first phase as the loop takes them."""

    @abc.abstractmethod
    def along(self, walk: Walk, state: State, record: PyTree, throw: bool) -> tuple[PyTree, PyTree, RESULTS]:
        """`(record, rows, result)` of a walk; `throw`: whether a gradient that failed raises, or else is NaN."""


class DirectAdjoint(AbstractAdjoint):
    """Differentiate the loop as it stands, forward or reverse, with every step stored in reverse."""

    def check(self, method, rows, save_every):
        return None

    def begin(self, march, phase, steps):
        return march, phase

    def along(self, walk, state, record, throw):
        (_, record), rows = by_scalars(lambda *carry: walk.through(carry))(state, record)
        return record, rows, RESULTS.successful


class CheckpointedAdjoint(AbstractAdjoint):
    """Store the state at n places and recompute the steps between them in reverse.

    With N steps the memory is that of n + N / n steps, least near the square root of N, for one more forward
    pass.

    **Arguments:** `n`: the number of segments. It divides the rows saved, or is a multiple of them that
    divides the steps.

    **Raises:** `ValueError` for an n below one, and from `integrate` where it divides nothing.

    **Reference:** Griewank (1992); Chen, Xu, Zhang & Guestrin (2016).
    """

    n: int = eqx.field(static=True)

    def __check_init__(self):
        if not isinstance(self.n, int) or self.n < 1:
            raise ValueError(f"The number of segments must be a positive integer, but is {self.n!r}.")

    def check(self, method, rows, save_every):
        divides_rows = rows % self.n == 0
        divides_steps = self.n % rows == 0 and save_every % (self.n // rows) == 0
        if not (divides_rows or divides_steps):
            raise ValueError(
                f"CheckpointedAdjoint({self.n}) cannot divide {rows} rows of {save_every} steps each: n must "
                "divide the rows, or be a multiple of them that divides the steps."
            )

    def begin(self, march, phase, steps):
        return march, phase

    def along(self, walk, state, record, throw):
        segments, walk = self.n // walk.rows, walk._replace(leap=None)  # a leap has no places to store a state at

        def within(body, carry):
            return _segmented_scan(body, carry, walk.save_every, max(segments, 1), segments > 1)[0]

        def through(*carry):
            rows = partial(walk.row, within=within)
            return _segmented_scan(rows, carry, walk.rows, min(self.n, walk.rows), True)

        (_, record), rows = by_scalars(through)(state, record)
        return record, rows, RESULTS.successful


def _segmented_scan(body, carry, length, segments, stored):
    """A scan that stores the carry at the start of its segments alone, or the whole scan where nothing is stored."""

    def segment(carry, numbers):
        return lax.scan(body, carry, numbers)

    if not stored:
        return segment(carry, jnp.arange(length))
    numbers = jnp.arange(length).reshape(segments, length // segments)
    carry, rows = lax.scan(jax.checkpoint(segment), carry, numbers)
    return carry, jax.tree.map(lambda leaf: leaf.reshape(length, *leaf.shape[2:]), rows)
