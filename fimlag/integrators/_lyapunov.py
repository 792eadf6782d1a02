"""Lyapunov exponents: the rates at which neighbouring motions part."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag._results import RESULTS, AbstractSolution, either_failure, first_failure, raise_unless_successful
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._motion import Phase, Start, begin, check_counts, checked_start
from fimlag.integrators._tangent import PhaseCoordinates, refuse_constrained

_BLOCKS = 16


class LyapunovExponents(AbstractSolution):
    """The exponents of a motion, from the largest down once they have converged.

    **Attributes:** `exponents`, shape (count,), per unit of time; `standard_error` of each, from the scatter of the
    means of up to 16 blocks of time: of use for chaotic motions, whose blocks are nearly independent; `history`, shape
    (rows, count): the estimates up to each renormalisation; `t`, shape (rows,): its time; `result`: a member of
    `RESULTS`; `method`: the method used.
    """

    exponents: Float[Array, " count"]
    standard_error: Float[Array, " count"]
    history: Float[Array, "rows count"]
    t: Float[Array, " rows"]
    result: RESULTS
    method: AbstractMethod


def lyapunov_exponents(
    system: LagrangianFn,
    q0: Coordinates,
    v0: Coordinates | None,
    *,
    t1: RealScalarLike,
    steps: int,
    t0: RealScalarLike = 0.0,
    method: AbstractMethod | None = None,
    renormalise_every: int = 10,
    count: int | None = None,
    s0: RealScalarLike = 0.0,
    throw: bool = True,
) -> LyapunovExponents:
    r"""The Lyapunov exponents of a motion in phase space, largest first.

    $$\lambda_i = \lim_{t \to \infty} \frac1t \sum_k \log R^{(k)}_{ii}, \qquad
    J_k\, Q^{(k - 1)} = Q^{(k)} R^{(k)}$$

    with $J_k$ the derivative of the steps between two renormalisations. The sum is zero for a Hamiltonian system, and
    the exponents come in pairs of opposite sign; friction shifts the sum by its rate. On a regular motion the
    estimates fall to zero like $\log t / t$.

    **Arguments:** `system`, `q0`, `v0`, `t0`, `t1`, `steps`, `method`, `s0`, `throw`: as for `integrate`;
    `renormalise_every`: steps between renormalisations, a divisor of `steps` with at least two quotients, short
    against the time of parting; `count`: how many exponents, None for all 2d.

    **Returns:** `LyapunovExponents`.

    **Raises:** as `integrate`, and `ValueError` for counts that do not fit and for a system with constraints.

    **Reference:** Benettin, Galgani, Giorgilli & Strelcyn (1980); Shimada & Nagashima (1979).

    ```python
    >>> import fimlag as fl
    >>> hill = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: -(q**2) / 2)
    >>> parting = fl.lyapunov_exponents(hill, 1e-9, 0.0, t1=20.0, steps=2000)
    >>> parting.exponents.round(1).tolist()
    [1.0, -1.0]

    ```
    """
    refuse_constrained(system, "lyapunov_exponents")
    check_counts(steps=steps, renormalise_every=renormalise_every, **({} if count is None else {"count": count}))
    if steps % renormalise_every or steps == renormalise_every:
        raise ValueError(
            f"renormalise_every must divide steps into two parts at least, but is {renormalise_every} of {steps}."
        )
    start = checked_start(system, q0, v0, t0, t1, steps, method, s0)
    size = PhaseCoordinates(start).at_start.size
    if count is not None and count > size:
        raise ValueError(f"The phase space has {size} dimensions, so count cannot be {count}.")
    growth, times, result = _growth(start, int(renormalise_every), size if count is None else int(count))
    elapsed = jnp.abs(times[1:] - times[0])[:, None]
    history = jnp.cumsum(growth, axis=0) / elapsed
    error = _standard_error(growth, elapsed)
    ends = {"t": times[1:], "result": result, "method": start.method}
    solution = LyapunovExponents(exponents=history[-1], standard_error=error, history=history, **ends)
    return raise_unless_successful(solution, throw)


@compiled
def _growth(start: Start, every: int, count: int):
    """The logarithms of the growth between renormalisations, shape (rows, count), their times, and the result."""
    coordinates = PhaseCoordinates(start)
    march, phase, regular = begin(start, start.q, start.p, start.v, start.s)
    state, rest, restored = _varied(phase)
    tangents = _directions(coordinates.at_start.size, count).astype(state.dtype)
    rows = start.steps // every

    def along(direction):
        return jax.jvp(lambda z: _varied(coordinates.begin(z)[1])[0], (coordinates.at_start,), (direction,))[1]

    def block(carry, row):
        state, rest, tangents, converged, form = carry
        first = row * every

        def push(state):
            def step(carry, number):
                phase, converged = carry
                phase, here = march.step(first + number, phase)
                return (phase, converged & here), None

            (phase, solved), _ = lax.scan(step, (restored(state, rest), jnp.array(True)), jnp.arange(every))
            after, others, _ = _varied(phase)
            return (after, coordinates.of(march, first + every, phase)), (others, solved)

        def pushed(tangent):
            return jax.jvp(push, (state,), (tangent,), has_aux=True)

        (state, _), (tangents, moved), (rest, solved) = jax.vmap(pushed, out_axes=(None, 0, None))(tangents)
        triangle = jnp.linalg.qr(moved.T)[1]
        # The same combinations of all that moves along: the coordinates, and what the method carries beside them.
        tangents = lax.linalg.triangular_solve(triangle.T, tangents, left_side=True, lower=True)
        phase = restored(state, rest)
        t, form = march.observe(first + every, phase).t, either_failure(form, march.inspect(first + every, phase))
        return (state, rest, tangents, converged & solved, form), (jnp.log(jnp.abs(jnp.diagonal(triangle))), t)

    carry = (state, rest, jax.vmap(along)(tangents), jnp.array(True), RESULTS.successful)
    (state, rest, _, converged, form), (growth, times) = lax.scan(block, carry, jnp.arange(rows))
    result = first_failure(
        (~start.finite, RESULTS.nonfinite),
        (regular != RESULTS.successful, regular),
        (~converged, RESULTS.implicit_step_failed),
        (~(jnp.all(jnp.isfinite(growth)) & jnp.all(jnp.isfinite(state))), RESULTS.nonfinite),
        (form != RESULTS.successful, form),
    )
    return growth, jnp.concatenate([start.t0[None], times]), result


def _varied(phase: Phase):
    """`(vector, rest, restored)`: the real numbers of a phase, what else it holds, and the phase of both."""
    numbers, rest = eqx.partition(phase, eqx.is_inexact_array)
    vector, unravel = ravel_pytree(numbers)
    return vector, rest, lambda vector, rest: eqx.combine(unravel(vector), rest)


def _directions(size: int, count: int) -> Float[Array, "count size"]:
    """Orthonormal directions in general position, so that no symmetry of a system keeps one from growing."""
    return jnp.asarray(np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0][:count])


def _standard_error(growth, elapsed):
    rows = growth.shape[0]
    blocks = min(_BLOCKS, rows)
    length = rows // blocks
    spans = jnp.diff(elapsed, axis=0, prepend=jnp.zeros_like(elapsed[:1]))
    sums = (each[-blocks * length :].reshape(blocks, length, -1).sum(axis=1) for each in (growth, spans))
    growths, durations = sums
    return jnp.std(growths / durations, axis=0, ddof=1) / blocks**0.5
