"""One boundary-value problem on finer and finer meshes, and the certificate of its solution."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fimlag._results import RESULTS
from fimlag.paths._block_tridiagonal import CondensedElements, invert_symmetric
from fimlag.paths._discrete_action import DiscreteAction, transferred
from fimlag.paths._ensemble import in_blocks
from fimlag.paths._newton import NewtonState, make_stationary, minimise

FAILURES = (
    RESULTS.empty_interval,
    RESULTS.nonfinite,
    RESULTS.indefinite_mass,
    RESULTS.not_a_minimum,
    RESULTS.stalled,
    RESULTS.max_steps_reached,
    RESULTS.unresolved,
)
"""What can be wrong with a path, the gravest first."""

_INCURABLE = 3
"""The first of them, which no finer mesh cures."""


@dataclass(frozen=True)
class Meshes:
    """The meshes to try in turn, the one that paths are given on, and when a path counts as found."""

    elements: tuple[int, ...]
    finest: int
    degree: int
    stationary: bool
    rtol: float | None
    max_iterations: int

    @classmethod
    def of(cls, elements: int | Sequence[int], degree: int, stationary: bool, rtol, max_iterations: int) -> "Meshes":
        """Those with one or several numbers of elements, paths being given on the last."""
        several = (elements,) if isinstance(elements, int) else tuple(elements)
        if not several or min(several) < 1 or min(several) * degree < 2:
            raise ValueError(
                f"A path needs a node between its ends: elements={elements}, degree={degree} leave none. Their product "
                "must be at least 2."
            )
        return cls(several, several[-1], degree, stationary, rtol, max_iterations)

    @property
    def points(self) -> int:
        """The Gauss points of an element: as many as one degree more needs."""
        return self.degree + 2

    @property
    def first(self) -> "Meshes":
        """The first mesh alone."""
        return replace(self, elements=self.elements[:1])

    def limit(self, elements: int) -> int:
        """The number of Newton steps allowed on one of the meshes: what takes long is done on the last."""
        return self.max_iterations if elements == self.finest else min(self.max_iterations, 32)

    def tolerance(self, elements: int, dtype) -> float:
        """The relative change of the action under refinement that is accepted on one of the meshes."""
        power = 0.4 if elements == self.finest else 0.75
        return float(jnp.finfo(dtype).eps) ** power if self.rtol is None else self.rtol


class Solved(eqx.Module):
    """What is known of the stationary path in each lane; `u` on the finest mesh, `failures` in their order."""

    u: Float[Array, "unknowns d lanes"]
    action: Float[Array, " lanes"]
    morse_index: Int[Array, " lanes"]
    residual: Float[Array, " lanes"]
    error_estimate: Float[Array, " lanes"]
    iterations: Int[Array, " lanes"]
    failures: Bool[Array, "kinds lanes"]


def solve_on_meshes(problem: DiscreteAction, u: Float[Array, "unknowns d lanes"], meshes: Meshes) -> Solved:
    """The stationary path on the first mesh that resolves it, or what is known of it on the last."""
    lanes = u.shape[-1]
    nothing, count = jnp.zeros(lanes, u.dtype), jnp.zeros(lanes, int)
    solved = Solved(u, nothing, count, nothing, nothing, count, jnp.zeros((len(FAILURES), lanes), bool))
    needed = jnp.ones(lanes, bool)
    for elements in meshes.elements:

        def attempt(problem, u, previous, needed, elements=elements):
            found = _on_mesh(problem, _guess(u, previous), elements, meshes)
            found = eqx.tree_at(lambda s: s.iterations, found, found.iterations + previous.iterations)
            return jax.tree_util.tree_map(lambda old, new: jnp.where(_over(needed, new), new, old), previous, found)

        solved = in_blocks(attempt, problem, u, solved, needed)
        needed = jnp.any(solved.failures[_INCURABLE:], axis=0) & ~jnp.any(solved.failures[:_INCURABLE], axis=0)
    return solved


def _guess(u, previous: Solved):
    """The last path where it was merely unresolved, else the first guess."""
    merely_rough = previous.failures[-1] & ~jnp.any(previous.failures[:-1], axis=0)
    return jnp.where(_over(merely_rough, u), previous.u, u)


def _on_mesh(problem: DiscreteAction, u, elements: int, meshes: Meshes) -> Solved:
    """Newton's method and its certificate on one mesh."""
    finest, mesh = (problem.elements, problem.degree), (elements, meshes.degree)
    coarse = problem.on_mesh(*mesh, problem.points)
    start = coarse.displacements(transferred(problem.offsets(u), finest, mesh))
    iterate = make_stationary if meshes.stationary else minimise
    state = iterate(coarse, start, meshes.limit(elements))
    action, morse_index, error, failures = _certificate(coarse, state, meshes)
    return Solved(
        u=problem.displacements(transferred(coarse.offsets(state.u), mesh, finest)),
        action=action,
        morse_index=morse_index,
        residual=jnp.max(jnp.abs(coarse.tested(state.expansion.slopes)), axis=(0, 1)),
        error_estimate=error,
        iterations=state.iterations,
        failures=failures,
    )


def _certificate(problem: DiscreteAction, state: NewtonState, meshes: Meshes):
    """Action, Morse index, error estimate and failures: what elements of one degree more make of the expansion."""
    expansion, points = state.expansion, problem.points
    finer = problem.on_mesh(problem.elements, problem.degree + 1, points)
    factor = CondensedElements(finer.assemble(expansion.hessians), finer.d)
    morse_index = factor.negative_directions()
    gradient = finer.tested(expansion.slopes)
    error = 0.5 * jnp.abs(jnp.sum(gradient * factor.solve(gradient), axis=(0, 1)))

    action = problem.integral(expansion.values)
    requadrature = problem.on_mesh(problem.elements, problem.degree, points + 2).values(state.u)
    quadrature_gap = jnp.abs(requadrature - action)
    scale = problem.integral(jnp.abs(expansion.values))
    tolerance = meshes.tolerance(problem.elements, action.dtype) * scale

    pivots = invert_symmetric(expansion.hessians[1, :, 1])[1]
    finite = jnp.isfinite(action) & jnp.all(jnp.isfinite(expansion.hessians), axis=tuple(range(6)))
    seeks_minimum = not meshes.stationary
    failures = (
        problem.t1 <= problem.t0,
        ~finite,
        seeks_minimum & ~jnp.all(pivots > 0, axis=(0, 1, 2)),
        seeks_minimum & (morse_index != 0),
        state.failed,
        ~state.converged,
        ~(jnp.maximum(error, quadrature_gap) <= tolerance),
    )
    return action, morse_index, error, jnp.stack(failures)


def _over(lanes, like):
    """A flag for each lane in a shape that broadcasts."""
    return jnp.reshape(lanes, (1,) * (like.ndim - 1) + lanes.shape)
