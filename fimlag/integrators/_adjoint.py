"""How gradients run back through a trajectory."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree


class AbstractAdjoint(eqx.Module):
    """The loop over a trajectory's rows, and over the steps inside one row."""

    @abc.abstractmethod
    def check(self, rows: int, save_every: int):
        """Raise a `ValueError` where the steps cannot be divided as the adjoint needs."""

    @abc.abstractmethod
    def over_rows(self, body: Callable, carry: PyTree, rows: int) -> tuple[PyTree, PyTree]:
        """`lax.scan` of the body over the numbers of the rows."""

    @abc.abstractmethod
    def within_row(self, body: Callable, carry: PyTree, rows: int, save_every: int) -> PyTree:
        """The carry after a scan of the body over the numbers of the steps in one row."""


class DirectAdjoint(AbstractAdjoint):
    """Differentiate the loop as it stands, forward or reverse, with every step stored in reverse."""

    def check(self, rows, save_every):
        return None

    def over_rows(self, body, carry, rows):
        return lax.scan(body, carry, jnp.arange(rows))

    def within_row(self, body, carry, rows, save_every):
        return lax.fori_loop(0, save_every, lambda number, carry: body(carry, number)[0], carry)


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

    def check(self, rows, save_every):
        divides_rows = rows % self.n == 0
        divides_steps = self.n % rows == 0 and save_every % (self.n // rows) == 0
        if not (divides_rows or divides_steps):
            raise ValueError(
                f"CheckpointedAdjoint({self.n}) cannot divide {rows} rows of {save_every} steps each: n must "
                "divide the rows, or be a multiple of them that divides the steps."
            )

    def over_rows(self, body, carry, rows):
        return _segmented_scan(body, carry, rows, min(self.n, rows))

    def within_row(self, body, carry, rows, save_every):
        segments = self.n // rows
        if segments <= 1:
            return lax.scan(body, carry, jnp.arange(save_every))[0]
        return _segmented_scan(body, carry, save_every, segments)[0]


def _segmented_scan(body, carry, length, segments):
    @jax.checkpoint
    def segment(carry, numbers):
        return lax.scan(body, carry, numbers)

    carry, rows = lax.scan(segment, carry, jnp.arange(length).reshape(segments, length // segments))
    return carry, jax.tree.map(lambda leaf: leaf.reshape(length, *leaf.shape[2:]), rows)
