"""Gradients of a motion by running it back, in memory that does not grow with the steps."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fimlag._results import RESULTS, first_failure
from fimlag.integrators._adjoint import AbstractAdjoint, DirectAdjoint
from fimlag.integrators._choice import carries
from fimlag.integrators._composition import Composition
from fimlag.integrators._grid import on_grid
from fimlag.integrators._motion import Start
from fimlag.integrators._open_walk import Given, opened
from fimlag.integrators._reversal import landing, reversal
from fimlag.integrators._splitting import AbstractSplitting
from fimlag.integrators._walk import by_scalars
from fimlag.mechanics import Forced


class ReversibleAdjoint(AbstractAdjoint):
    r"""Run the motion back by the method itself, and its derivatives with it: no step is stored.

    $$z_n = \Phi_{-h}(z_{n+1}), \qquad \lambda_n = \Big(\frac{\partial \Phi_h}{\partial z}(z_n)\Big)^\top \lambda_{n+1},
    \qquad \bar a \leftarrow \bar a + \Big(\frac{\partial \Phi_h}{\partial a}(z_n)\Big)^\top \lambda_{n+1}$$

    for everything a that the steps depend on. A gradient takes three to four times the time of the motion, whatever the
    number of steps. Forward mode runs ahead as with `DirectAdjoint()`; second derivatives are right, but store every
    step as those of `DirectAdjoint()` do.

    In floating point the motion run back parts from the motion as any neighbour does: slowly where this is regular,
    exponentially where it is chaotic or loses energy. Where it lands is compared with the start at run time: off by
    more than the root of round-off, in units of the motion's extent, the gradient raises, or is NaN with
    `throw=False`. With `exact=True` states are kept on a grid, increments are rounded to it and sums are exact, so that
    the motion run back lands on the start bit for bit, and the gradient is that of the motion on the grid, rounding
    passed through. On a chaotic orbit that is the gradient of an orbit of the grid; no method computes the one of the
    true flow from this start there.

    **Arguments:** `exact`: for products of drifts and kicks, and their `Composition`s; `reach`: how many times as far
    as its start is from the origin (or as it goes in the time of a small oscillation) a coordinate may go on the
    grid: the grid is finer the smaller the reach; `audit`: run back with the values already, and report in the
    `result` where this does not land.

    **Raises:** `ValueError` for a reach below one, and from `integrate` for a method that is not symmetric, or with
    `exact=True` no product of drifts and kicks. Results: `reversal_missed`.

    **Reference:** Hairer, Lubich & Wanner (2006), section V.1; the grid, Levesque & Verlet (1993); the reversal,
    Rein & Tamayo (2018).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> end = lambda q: fl.integrate(L, q, 0.0, t1=1.0, steps=1000, adjoint=fl.ReversibleAdjoint(exact=True)).q[-1]
    >>> bool(abs(jax.grad(end)(1.0) - jnp.cos(1.0)) < 1e-6)
    True

    ```
    """

    exact: bool = eqx.field(static=True, default=False)
    reach: float = eqx.field(static=True, default=64.0)
    audit: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if not 1 <= self.reach < np.inf:
            raise ValueError(f"The reach of the grid must be a number not below one, but is {self.reach!r}.")

    def check(self, method, rows, save_every):
        if not method.symmetric:
            raise ValueError(
                f"ReversibleAdjoint runs a motion back by the method itself, but {type(method).__name__} is not "
                "symmetric. Use CheckpointedAdjoint(n) or DirectAdjoint()."
            )
        bare = method.method if isinstance(method, Composition) else method
        if self.exact and not isinstance(bare, AbstractSplitting):
            raise ValueError(
                "ReversibleAdjoint(exact=True) is for products of drifts and kicks such as StormerVerlet(), but not "
                f"for {type(bare).__name__}. Use ReversibleAdjoint(), CheckpointedAdjoint(n) or DirectAdjoint()."
            )

    def begin(self, march, phase, steps):
        return on_grid(march, phase, steps, self.reach) if self.exact else (march, phase)

    def along(self, walk, state, record, throw):
        walk, given, watch = opened(walk, state, record)
        record, rows, end = _motion(given, watch, walk=walk, adjoint=self, throw=throw)
        if not self.audit:
            return record, rows, RESULTS.successful
        gap = by_scalars(partial(landing, walk))(*lax.stop_gradient((given, end)))
        return record, rows, first_failure((~self.landed(gap), RESULTS.reversal_missed))

    def landed(self, gap):
        """Whether a motion run back has landed on its start."""
        # On the grid the force at the start, made outside of the loop, may differ from that inside by its last bit.
        return gap <= (4 if self.exact else jnp.finfo(gap.dtype).eps ** 0.5)


def default_adjoint(start: Start) -> AbstractAdjoint:
    """The adjoint that `integrate` takes where none is named."""
    conserves = start.s is None and not carries(start.lagrangian.lagrangian, Forced)
    return ReversibleAdjoint() if start.method.symmetric and conserves else DirectAdjoint()


@eqx.filter_custom_jvp
def _motion(given, watch, *, walk, adjoint, throw):
    """`(record, rows, end)` of a walk; the rows alone have derivatives."""
    return by_scalars(walk.motion)(given, watch)


@_motion.def_jvp
def _(primals, tangents, *, walk, adjoint, throw):
    given, watch = primals
    record, rows, end = _motion(given, watch, walk=walk, adjoint=adjoint, throw=throw)
    along, back = _both_ways(walk, given, watch, end, tangents[0])

    def pulled(rows):
        cotangents, gap = back(rows)
        landed = adjoint.landed(gap)
        if throw:
            cotangents = RESULTS.reversal_missed.error_if(cotangents, ~landed)
        return [jnp.where(landed, cotangent, jnp.nan) for cotangent in cotangents]

    varied, rest = eqx.partition(rows, eqx.is_inexact_array)
    change = _linear_map(along, pulled, jax.tree.leaves(tangents[0]), varied)
    fixed = [jax.tree.map(lambda _: None, each) for each in (record, rest, end)]
    return (record, rows, end), (fixed[0], eqx.combine(change, fixed[1]), fixed[2])


def _both_ways(walk, given, watch, end, moved):
    """`(along, back)`: the change of the rows by the leaves that have moved of what is given, as it is and by scalar
    code; and the cotangents of these leaves, with the gap where the motion run back lands, from those of the rows."""
    places = jax.tree.structure(moved)
    chosen = [leaf is not None for leaf in moved.shared]

    def along(given, leaves):
        def rows(*leaves):
            there = eqx.combine(places.unflatten(leaves), given)
            return eqx.filter(walk.motion(there, watch)[1], eqx.is_inexact_array)

        return jax.jvp(rows, _those_moved(moved, given), leaves)[1]

    def back(given, end, rows):
        pull, gap = reversal(walk, given, chosen, end, rows)
        return _those_moved(moved, Given(pull.state, pull.shared)), gap

    return (partial(along, given), partial(by_scalars(along), given)), partial(by_scalars(back), given, end)


def _those_moved(moved, given):
    def leaf(change, leaf):
        return None if change is None else leaf

    return jax.tree.leaves(jax.tree.map(leaf, moved, given, is_leaf=lambda change: change is None))


def _linear_map(along, back, leaves, like):
    """A linear function of the leaves by its values, and by the cotangents that its transpose makes.

    It is the solution of a triangular system, which jax takes both ways; differentiated again, the system is.
    """
    as_written, along = along

    def solve(_, sides):
        leaves, rows = sides
        return leaves, jax.tree.map(jnp.add, rows, along(leaves))

    def transpose_solve(_, sides):
        leaves, rows = sides
        return jax.tree.map(jnp.add, leaves, back(rows)), rows

    def system(sides):
        leaves, rows = sides
        return leaves, jax.tree.map(jnp.subtract, rows, as_written(leaves))

    # Zero, as a linear function of the leaves: a constant has no transpose.
    zero = jnp.where(False, jnp.ravel(leaves[0])[0], 0)
    nothing = jax.tree.map(lambda leaf: jnp.broadcast_to(zero.astype(leaf.dtype), leaf.shape), like)
    return lax.custom_linear_solve(system, (leaves, nothing), solve, transpose_solve)[1]
