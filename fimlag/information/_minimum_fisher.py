"""Densities of least Fisher information: ground states of a Schroedinger problem."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag.information._amplitude import DensityLike, at_nodes, edge_of, tail_of, wave_of
from fimlag.information._density_grids import AbstractGrid
from fimlag.information._ground_state import (
    GroundState,
    Schroedinger,
    bordered_solve,
    coarse_energy,
    first_multipliers,
    lowest_state,
    polished,
    stationarity,
)


class MinimumFisherDensity(AbstractSolution):
    r"""A density of least Fisher information under a potential and constraints.

    `grid`, `coefficients` of the amplitude; `energy` $J/8 + \langle V \rangle$; `fisher_information` J;
    `potential_energy` $\langle V \rangle$; `multipliers` (m,); `gap`: to the first excited state of the problem with
    these multipliers; `residual`: the size of the last Newton step in the amplitude; `error_estimate`: by how much the
    energy differs with three quarters of the functions in each dimension, and how little of $V \psi$ the nodes see in
    their highest degrees, where a kink shows; `iterations`: steps taken for the
    multipliers; `result`.
    """

    grid: AbstractGrid
    coefficients: Float[Array, "..."]
    energy: Float[Array, ""]
    fisher_information: Float[Array, ""]
    potential_energy: Float[Array, ""]
    multipliers: Float[Array, " m"]
    gap: Float[Array, ""]
    residual: Float[Array, ""]
    error_estimate: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS

    def amplitude(self, x: ArrayLike) -> Float[Array, ""]:
        """The positive root of the density at a point, shape () in one dimension, (d,) in d."""
        x = jnp.asarray(x, self.coefficients.dtype)
        parts = [x] if x.ndim == 0 else list(x)
        if len(parts) != len(self.grid.axes):
            raise ValueError(f"A point of {len(self.grid.axes)} coordinates was expected, but shape {x.shape} came.")
        amplitude = self.coefficients
        for axis, coordinate in zip(self.grid.axes, parts, strict=True):
            amplitude = jnp.tensordot(axis.functions(coordinate), amplitude, axes=(0, 0))
        return amplitude

    def density(self, x: ArrayLike) -> Float[Array, ""]:
        """The density at a point."""
        return self.amplitude(x) ** 2

    @property
    def values(self) -> Float[Array, "..."]:
        """The density at the nodes of the grid."""
        return wave_of(self.grid, self.coefficients).masses / self.grid.weights


def minimum_fisher_density(
    potential: DensityLike | None,
    grid: AbstractGrid,
    *,
    statistics: Callable | None = None,
    moments: ArrayLike | None = None,
    guess: ArrayLike | None = None,
    rtol: float = 1e-6,
    max_iterations: int = 64,
    throw: bool = True,
) -> MinimumFisherDensity:
    r"""The density of least Fisher information under a potential, under moments that are given, or under both.

    $$E = \min_p \Big\{ \tfrac18 J[p] + \langle V \rangle_p \;:\; \langle f \rangle_p = c \Big\}, \qquad
    -\tfrac12 \Delta \psi + \big(V + \lambda \cdot (f - c)\big) \psi = E \psi, \quad p = \psi^2$$

    The minimiser is the ground state of a Schroedinger problem ($\hbar = m = 1$). Its energy is concave in the
    multipliers, with gradient $\langle f \rangle - c$, and the multipliers maximise it. J is the information about
    location of one density in x, no metric of a family; that ground states minimise it is an identity, and no claim
    that physics follows from information, which is disputed (Lavis & Streater 2002).

    Derivatives in the potential, the moments and the grid are those of the minimiser, to every order:
    $\partial E / \partial a = \langle \partial V / \partial a \rangle$ and $\partial E / \partial c = -\lambda$.

    **Arguments:** `potential`: V, a function of a point, its values at `grid.points`, or None for zero. `grid`: where
    the density lives, with what its ends ask. `statistics`: f, a function of a point that returns a number or an array
    (m,). `moments`: c, shape () or (m,). `guess`: of the multipliers; left out, those with which the grid's first
    function comes nearest to a solution, so that a line of about the right location and scale is a good start. `rtol`:
    the error of the energy accepted, as a share of the kinetic part J/8 and the gap. `max_iterations`: of the
    multipliers. `throw`: raise where the solve failed.

    **Returns:** a solution with `.density(x)`, `.amplitude(x)`, `.values`, `.energy`, `.fisher_information`,
    `.potential_energy`, `.multipliers`, `.gap`, `.residual`, `.error_estimate` and `.result`.

    **Raises:** `ValueError` for statistics without moments or of another length, for values of another shape than the
    nodes, or for more than 2500 functions. With `throw`: `nonfinite`; `unattainable`, where a moment lies outside the
    range of its statistic on the grid; `max_steps_reached`; `degenerate_ground_state`; `unresolved_density`, where the
    energy changes by more than `rtol` with the size of the basis, or with the place of a cut.

    **Reference:** Reginatto (1998) for the variational problem; Huber (1981), section 4.5; Feynman (1939) for the
    derivative of the energy; Lavis & Streater (2002) for what does not follow.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> solution = fl.minimum_fisher_density(lambda x: x**4, fl.LineGrid(scale=0.6, size=48))
    >>> print(f"{solution.energy:.9f}")                                    # of p^2 / 2 + x^4
    0.667986259

    ```
    """
    problem = _problem(potential, grid, statistics, moments)
    start = _start(guess, problem)
    held = frozen(problem)
    state = lowest_state(held, start, max_iterations)
    root, residual = polished(held, (state.coefficients, state.energy, state.multipliers))
    root = implicit_root(root, problem, gradient=stationarity, factor=bordered_solve)
    return raise_unless_successful(_solution(problem, state, root, residual, rtol), throw)


def _problem(potential, grid, statistics, moments) -> Schroedinger:
    if (statistics is None) != (moments is None):
        raise ValueError("statistics and moments belong together: give both, or neither.")
    shape = grid.weights.shape
    zero = jnp.zeros(shape, grid.dtype)
    energies = zero if potential is None else at_nodes(potential, grid, "potential")
    if statistics is None:
        return Schroedinger(grid, energies, jnp.zeros((0, *shape), grid.dtype))
    targets = jnp.atleast_1d(jnp.asarray(moments, grid.dtype))
    points = grid.points.reshape((-1, *grid.points.shape[len(shape) :]))
    values = jax.vmap(lambda x: jnp.atleast_1d(jnp.asarray(statistics(x))))(points).astype(grid.dtype)
    if targets.ndim != 1 or values.shape[1:] != targets.shape:
        raise ValueError(f"statistics have shape {values.shape[1:]} at a point, but moments {targets.shape}.")
    centred = values.T - targets[:, None]
    return Schroedinger(grid, energies, centred.reshape(-1, *shape))


def _start(guess, problem):
    count = problem.statistics.shape[0]
    if guess is None:
        return first_multipliers(frozen(problem)) if count else jnp.zeros(0, problem.grid.dtype)
    start = jnp.atleast_1d(jnp.asarray(guess))
    if start.shape != (count,):
        raise ValueError(f"guess must have shape ({count},), one multiplier a moment, but has shape {start.shape}.")
    return jax.lax.stop_gradient(start.astype(problem.grid.dtype))


def _solution(problem: Schroedinger, state: GroundState, root, residual, rtol) -> MinimumFisherDensity:
    coefficients, _, multipliers = root
    wave = wave_of(problem.grid, coefficients)
    information = 4.0 * jnp.sum(wave.slopes**2)
    potential_energy = jnp.sum(problem.potential * wave.masses)
    energy = information / 8.0 + potential_energy
    error, result = _verdict(problem, coefficients, energy, multipliers, information, state, residual, rtol)
    return MinimumFisherDensity(
        grid=problem.grid,
        coefficients=coefficients,
        energy=energy,
        fisher_information=information,
        potential_energy=potential_energy,
        multipliers=multipliers,
        gap=state.gap,
        residual=residual,
        error_estimate=error,
        iterations=state.iterations,
        result=result,
    )


def _verdict(problem, coefficients, energy, multipliers, information, state: GroundState, residual, rtol):
    """The error of the energy, and how the solve ended."""
    problem, coefficients, energy, multipliers, information = frozen(
        (problem, coefficients, energy, multipliers, information)
    )
    eps = float(jnp.finfo(coefficients.dtype).eps)
    hidden = problem.effective_potential(multipliers) * wave_of(problem.grid, coefficients).amplitude
    error = jnp.abs(coarse_energy(problem, coefficients, energy, multipliers) - energy) + tail_of(problem.grid, hidden)
    scale = information / 8.0 + state.gap
    tolerance = max(rtol, eps**0.5) * scale
    rough = ~(error <= tolerance) | (0.5 * edge_of(problem.grid, coefficients) > tolerance)
    nodes = tuple(range(1, problem.statistics.ndim))
    outside = jnp.any((jnp.min(problem.statistics, nodes) >= 0.0) | (jnp.max(problem.statistics, nodes) <= 0.0))
    parted = state.gap > 100.0 * eps * (state.gap + jnp.abs(state.energy))
    solved = residual <= eps**0.5
    constrained = jnp.asarray(multipliers.size > 0)
    result = first_failure(
        (~jnp.all(jnp.isfinite(problem.potential)) | ~jnp.all(jnp.isfinite(problem.statistics)), RESULTS.nonfinite),
        (~jnp.isfinite(problem.grid.weights).all(), RESULTS.nonfinite),
        (outside, RESULTS.unattainable),
        (state.dependent, RESULTS.degenerate_ground_state),
        (~state.converged, RESULTS.max_steps_reached),
        (constrained & parted & ~solved, RESULTS.unattainable),
        (~(parted & solved), RESULTS.degenerate_ground_state),
        (rough, RESULTS.unresolved_density),
    )
    return error, result
