"""Conjugate points: where solutions of a linear Hamiltonian system that vanish at the start vanish again."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from fimlag.paths._spray import ORDER

_FIRST_STEP = 0.381966  # of the others: no multiple of a simple fraction of t1, at which conjugate points like to lie
_HALVINGS = 24


class Crossings(NamedTuple):
    """The zeros of a system's solutions, and what is known of them.

    `times` (max_points,) since the start, each as often as its multiplicity, NaN behind the last; `count`: of them all;
    `finite`; `definite`: whether the mass was positive at every step; `error`: by how much a zero may be missed.
    """

    times: Float[Array, " max_points"]
    count: Int[Array, ""]
    finite: Bool[Array, ""]
    definite: Bool[Array, ""]
    error: Float[Array, ""]


def uneven_steps(steps: int) -> np.ndarray:
    """The lengths of steps, all equal but the first, whose sum is 1."""
    sizes = np.append(_FIRST_STEP, np.ones(steps - 1))
    return sizes / sizes.sum()


def crossings(propagator, states: PyTree[Array], sizes: Float[Array, " steps"], max_points: int) -> Crossings:
    """The times at which some solution that vanishes at the start vanishes again.

    The broken solutions of each step are counted by the signature of a symmetric form, so a zero of even multiplicity,
    where the determinant keeps its sign, is not missed.

    **Arguments:** `propagator(state, size)`: the map (2 d, 2 d) of positions and momenta over a step of order 8 and the
    signs of the mass, in coordinates in which the mass is one; `states`: at the starts of the steps, on axis 0;
    `sizes`: their lengths, an even number; none holds two zeros of one solution; `max_points`: the most times found.
    """
    steps, pairs = sizes.shape[0], sizes.reshape(-1, 2).sum(axis=1)
    starts = jax.tree.map(lambda rows: jnp.concatenate([rows, rows[::2]]), states)
    both, signs = jax.vmap(propagator)(starts, jnp.concatenate([sizes, pairs]))
    pieces, coarse = both[:steps], both[steps:]
    fields = _fields_from_zero(pieces)

    forms = jax.vmap(_index_form)(pieces[1:], fields[1:-1])
    new = jnp.append(0, jnp.sum(jnp.linalg.eigvalsh(lax.stop_gradient(forms)) < 0, axis=1))
    reached = jnp.cumsum(new)
    slots = jnp.arange(max_points)
    rows = jnp.minimum(jnp.searchsorted(reached, slots, side="right"), steps - 1)
    ranks = jnp.minimum(slots - (reached[rows] - new[rows]), fields.shape[2] - 1)

    def within(row, rank):
        state = jax.tree.map(lambda each: each[row], states)
        return _zero_within(propagator, state, fields[row], sizes[row], rank)

    times = (jnp.cumsum(sizes) - sizes)[rows] + jax.vmap(within)(rows, ranks)
    return Crossings(
        times=jnp.where(slots < reached[-1], times, jnp.nan),
        count=reached[-1],
        finite=jnp.all(jnp.isfinite(forms)),
        definite=jnp.all(signs > 0),
        error=jnp.sum(_defects(pieces, coarse, pairs) * jnp.abs(pairs)),
    )


def _defects(pieces, coarse, sizes):
    """The error of each two steps, relative and free of units, from one step as long as both.

    Times its size it is the time by which the zero of a field may be missed.
    """
    d = pieces.shape[1] // 2
    fine = pieces[1::2] @ pieces[::2]
    unit = jnp.concatenate([jnp.repeat(sizes[:, None], d, axis=1), jnp.ones_like(coarse[:, 0, d:])], axis=1)
    balance = unit[:, None, :] / unit[:, :, None]
    error = jnp.max(jnp.abs(balance * (fine - coarse)), axis=(1, 2)) / (2**ORDER - 1)
    return lax.stop_gradient(error / jnp.max(jnp.abs(balance * fine), axis=(1, 2)))


def _fields_from_zero(pieces):
    """Bases of the Jacobi fields that vanish at the start, at every step's ends, shape (steps + 1, 2 d, d)."""
    d = pieces.shape[1] // 2
    identity = jnp.eye(d, dtype=pieces.dtype)

    def advance(fields, piece):
        fields = jnp.linalg.qr(piece @ fields)[0]  # fields that grow would all turn parallel
        return fields, fields

    start = jnp.concatenate([jnp.zeros_like(identity), identity])
    return jnp.concatenate([start[None], lax.scan(advance, start, pieces)[1]])


def _index_form(piece, fields):
    r"""The second variation of the energy on fields broken at a step's start: $X^\top B^{-1} A X + X^\top P$."""
    d = fields.shape[1]
    x, p = fields[:d], fields[d:]
    form = x.T @ jax.scipy.linalg.solve(piece[:d, d:], piece[:d, :d] @ x) + x.T @ p
    return 0.5 * (form + form.T)


def _zero_within(propagator, state, fields, size, rank):
    """The time from a step's start to the zero of given rank within it: halvings, then a step of Newton's method."""

    def halve(bracket, _):
        time = 0.5 * (bracket[0] + bracket[1])
        piece = propagator(state, time)[0]
        form = _index_form(*lax.stop_gradient((piece, fields)))
        passed = jnp.linalg.eigvalsh(form)[rank] < 0
        # At its zero a field leaves with the unit slope of J in DJ: this step is exact to third order.
        x, p = jnp.split(piece @ fields, 2)
        kernel = jnp.linalg.eigh(lax.stop_gradient(x.T @ x))[1][:, 0]
        rate = lax.stop_gradient(p @ kernel)
        improved = time - rate @ x @ kernel / (rate @ p @ kernel)
        return jnp.where(passed, jnp.stack([bracket[0], time]), jnp.stack([time, bracket[1]])), improved

    bracket = lax.stop_gradient(jnp.stack([jnp.zeros_like(size), size]))
    return lax.scan(halve, bracket, length=_HALVINGS)[1][-1]
