"""One boundary-value problem on finer and finer meshes, and the certificate of its solution."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fimlag._results import RESULTS
from fimlag.paths import _lanes as lanes
from fimlag.paths._block_tridiagonal import invert_symmetric
from fimlag.paths._bordered import SecondVariation
from fimlag.paths._discrete_action import DiscreteAction, Unknowns
from fimlag.paths._elements import Mesh
from fimlag.paths._ensemble import in_blocks
from fimlag.paths._functionals import Barrier
from fimlag.paths._homotopy import solve_by_barriers, solve_by_continuation
from fimlag.paths._methods import AbstractPathMethod
from fimlag.paths._newton import NewtonState, make_stationary, minimise

FAILURES = (
    RESULTS.empty_interval,
    RESULTS.nonfinite,
    RESULTS.indefinite_mass,
    RESULTS.infeasible,
    RESULTS.not_a_minimum,
    RESULTS.stalled,
    RESULTS.max_steps_reached,
    RESULTS.unresolved,
)
"""What can be wrong with a path, the gravest first."""

_INCURABLE = 3
"""The first of them, which no finer mesh cures."""
_REFINEMENTS = 3
"""How often the elements may be doubled to meet a tolerance."""


@dataclass(frozen=True)
class Meshes:
    """The numbers of elements of a segment to try in turn, and when a path counts as found."""

    elements: tuple[int, ...]
    finest: int
    degree: int
    stationary: bool
    rtol: float | None
    max_iterations: int
    method: AbstractPathMethod | None = None

    @classmethod
    def of(
        cls, elements: int | Sequence[int], degree: int, stationary: bool, rtol, max_iterations: int, method=None
    ) -> "Meshes":
        """Those with several numbers of elements, or one that is doubled until a tolerance is met.

        Paths are given on the last.
        """
        if isinstance(elements, int):
            several = (elements,) if rtol is None else tuple(elements * 2**k for k in range(_REFINEMENTS + 1))
        else:
            several = tuple(elements)
        if not several or min(several) < 1 or min(several) * degree < 2:
            raise ValueError(
                f"A path needs a node between its ends: elements={elements}, degree={degree} leave none. Their product "
                "must be at least 2."
            )
        return cls(several, several[-1], degree, stationary, rtol, max_iterations, method)

    @property
    def in_turn(self) -> tuple[int, ...]:
        """Those that are tried where all have to be compiled: half of the first, which do for many paths, before it."""
        halved = self.elements[0] // 2
        worth_a_try = len(self.elements) > 1 and halved * self.degree >= 2
        return (halved, *self.elements) if worth_a_try else self.elements

    def alone(self, elements: int) -> "Meshes":
        """One of the meshes alone."""
        return replace(self, elements=(elements,))

    def mesh(self, elements: int, segments: int) -> Mesh:
        """A mesh with as many Gauss points as one degree more needs."""
        return Mesh(segments, elements, self.degree, self.degree + 2)

    def limit(self, elements: int) -> int:
        """The number of Newton steps allowed on one of the meshes: what takes long is done on the last."""
        return self.max_iterations if elements == self.finest else min(self.max_iterations, 32)

    def tolerance(self, elements: int, dtype) -> float:
        """The relative change of the action under refinement that is accepted on one of the meshes."""
        power = 0.4 if elements == self.finest else 0.75
        return float(jnp.finfo(dtype).eps) ** power if self.rtol is None else self.rtol


class Solved(eqx.Module):
    """What is known of the stationary path in each lane; `y` on the finest mesh, `failures` in their order."""

    y: Unknowns
    barrier: Barrier | None
    action: Float[Array, " lanes"]
    morse_index: Int[Array, " lanes"]
    coarse_index: Int[Array, " lanes"]
    residual: Float[Array, " lanes"]
    constraint_residual: Float[Array, " lanes"]
    error_estimate: Float[Array, " lanes"]
    quadrature_gap: Float[Array, " lanes"]
    iterations: Int[Array, " lanes"]
    failures: Bool[Array, "kinds lanes"]


def solve_on_meshes(problem: DiscreteAction, y: Unknowns, meshes: Meshes) -> Solved:
    """The stationary path on the first mesh that resolves it, or what is known of it on the last."""
    nothing = jnp.zeros_like(y.nodes[0, 0])
    count, needed = jnp.zeros(nothing.shape, int), jnp.ones(nothing.shape, bool)
    none = jnp.zeros((len(FAILURES), *nothing.shape), bool)
    solved = Solved(
        y, problem.barrier, nothing, count, count, nothing, nothing, nothing, nothing, iterations=count, failures=none
    )
    for elements in meshes.in_turn:

        def attempt(problem, y, previous, needed, elements=elements):
            found = _on_mesh(problem, _guess(y, previous), elements, meshes)
            found = eqx.tree_at(lambda s: s.iterations, found, found.iterations + previous.iterations)
            return lanes.where(needed, found, previous)

        solved = in_blocks(attempt, problem, y, solved, needed, elements * problem.mesh.segments)
        needed = jnp.any(solved.failures[_INCURABLE:], axis=0) & ~jnp.any(solved.failures[:_INCURABLE], axis=0)
    return solved


def _guess(y: Unknowns, previous: Solved) -> Unknowns:
    """The last path where it was merely unresolved, else the first guess."""
    merely_rough = previous.failures[-1] & ~jnp.any(previous.failures[:-1], axis=0)
    return lanes.where(merely_rough, previous.y, y)


def _on_mesh(problem: DiscreteAction, y: Unknowns, elements: int, meshes: Meshes) -> Solved:
    """Newton's method and its certificate on one mesh."""
    mesh = meshes.mesh(elements, problem.mesh.segments)
    coarse = problem.on_mesh(mesh)
    start = problem.transferred(y, mesh)

    def iterate(problem, y):
        if meshes.method is not None:
            return meshes.method.iterate(problem, y, meshes.limit(elements))
        return (make_stationary if meshes.stationary else minimise)(problem, y, meshes.limit(elements))

    if meshes.method is not None:
        state = iterate(coarse, start)
    elif problem.barrier is not None:
        coarse, state = solve_by_barriers(coarse, start, iterate)
    elif elements == meshes.finest and not meshes.stationary and not y.border.shape[0]:
        state = solve_by_continuation(coarse, start, iterate)
    else:
        state = iterate(coarse, start)
    return certified(coarse, state, coarse.transferred(state.y, problem.mesh), meshes)


def certified(problem: DiscreteAction, state: NewtonState, y: Unknowns, meshes: Meshes) -> Solved:
    """Action, Morse index, error estimate and failures: what elements of one degree more make of the expansion."""
    expansion = state.expansion
    finer = problem.on_mesh(problem.mesh.finer)
    factor = SecondVariation(finer, state.y, expansion)
    morse_index = factor.negative_directions()
    gradient = finer.tested(state.y, expansion)
    plain = replace(problem, barrier=None)
    action, constraints = plain.evaluate(state.y)
    multipliers = state.y.border[problem.stations.count :]
    error = 0.5 * jnp.abs(_inner(gradient, factor.solve(gradient))) + _cost_of_barriers(problem, state.y)
    error = error + jnp.sum(jnp.abs(multipliers * constraints), axis=0)
    closer = replace(problem.mesh, points=problem.mesh.points + 2)
    quadrature_gap = jnp.abs(plain.on_mesh(closer).evaluate(state.y)[0] - action)
    scale = problem.integral(state.y, jnp.abs(expansion.values))
    tolerance = meshes.tolerance(problem.mesh.elements, action.dtype) * scale

    pivots = invert_symmetric(expansion.hessians[1, :, 1])[1]
    finite = jnp.isfinite(action) & jnp.all(jnp.isfinite(expansion.hessians), axis=tuple(range(6)))
    seeks_minimum = not meshes.stationary
    failures = (
        ~problem.stations_of(state.y).in_order(),
        ~finite,
        seeks_minimum & ~jnp.all(pivots > 0, axis=(0, 1, 2)),
        _violated(problem, state.y),
        seeks_minimum & (morse_index != 0),
        state.failed,
        ~state.converged,
        ~(jnp.maximum(error, quadrature_gap) <= tolerance),
    )
    return Solved(
        y=y,
        barrier=problem.barrier,
        action=action,
        morse_index=morse_index,
        coarse_index=state.morse_index,
        residual=jnp.max(jnp.abs(problem.tested(state.y, expansion).nodes), axis=(0, 1)),
        constraint_residual=jnp.max(jnp.abs(constraints), axis=0, initial=0.0),
        error_estimate=error,
        quadrature_gap=quadrature_gap,
        iterations=state.iterations,
        failures=jnp.stack(failures),
    )


def _violated(problem: DiscreteAction, y: Unknowns) -> Bool[Array, " lanes"]:
    """Whether an inequality is violated at a Gauss point, by more than what a barrier gives way."""
    if problem.barrier is None:
        return jnp.zeros(y.nodes.shape[2:], bool)
    margins = problem.margins(y)
    slack = jnp.finfo(margins.dtype).eps ** 0.5 * jnp.max(jnp.abs(margins), axis=(1, 2), keepdims=True)
    return jnp.any(margins < -slack, axis=(0, 1, 2))


def _cost_of_barriers(problem: DiscreteAction, y: Unknowns) -> Float[Array, " lanes"]:
    """What barriers may change the action by: the duality gap, and what a path gains between the Gauss points.

    **Reference:** Nocedal & Wright (2006), sec. 19.1.
    """
    if problem.barrier is None:
        return jnp.zeros_like(y.nodes[0, 0])
    margins = problem.margins(y)
    pushes = problem.barrier.multipliers(margins.reshape(margins.shape[0], -1, margins.shape[-1])).reshape(
        margins.shape
    )
    gap = problem.integral(y, jnp.sum(jnp.abs(pushes * margins), axis=0))
    closer = problem.on_mesh(replace(problem.mesh, points=problem.mesh.points + 2))
    violation = jnp.max(jnp.maximum(-closer.margins(y), 0.0), axis=1)
    steps = problem.stations_of(y).steps(problem.mesh)
    return gap + jnp.sum(jnp.max(pushes, axis=1) * violation * steps[None], axis=(0, 1))


def _inner(a: Unknowns, b: Unknowns):
    return jnp.sum(a.nodes * b.nodes, axis=(0, 1)) + jnp.sum(a.border * b.border, axis=0)
