"""The ground state of a Schroedinger problem in the functions of a grid, and multipliers that set its moments."""

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import lu_factor, lu_solve
from jaxtyping import Array, Bool, Float, Int

from fimlag._linear import solve
from fimlag.information._amplitude import along_axes, coefficients_of, sandwiched, wave_of
from fimlag.information._density_grids import AbstractGrid

_POLISHES = 4  # chord steps: each gains the accuracy of the start again


class Schroedinger(eqx.Module):
    r"""$-\tfrac12 \Delta \psi + (V + \lambda \cdot f) \psi = E \psi$ with $\langle f \rangle = 0$.

    `potential`: V at the nodes; `statistics`: f at the nodes, shape (m, n1, ..., nd).
    """

    grid: AbstractGrid
    potential: Float[Array, "..."]
    statistics: Float[Array, "m ..."]

    def effective_potential(self, multipliers: Float[Array, " m"]) -> Float[Array, "..."]:
        """The potential with the statistics added."""
        return self.potential + jnp.tensordot(multipliers, self.statistics, axes=1)

    def means(self, masses: Float[Array, "..."]) -> Float[Array, " m"]:
        """The means of the statistics."""
        return jnp.sum(self.statistics * masses[None], axis=tuple(range(1, self.statistics.ndim)))

    def applied(self, coefficients: Float[Array, "..."], multipliers: Float[Array, " m"]) -> Float[Array, "..."]:
        """The operator applied to an amplitude, by way of the nodes: no digits are lost to the largest eigenvalues."""
        axes = self.grid.axes
        wave = wave_of(self.grid, coefficients)
        total = coefficients_of(self.grid, self.effective_potential(multipliers) * wave.amplitude)
        bases = [axis.basis.T for axis in axes]
        for i, axis in enumerate(axes):
            total = total + 0.5 * along_axes([*bases[:i], axis.slopes.T, *bases[i + 1 :]], wave.slopes[i])
        return total

    def matrix(self, multipliers: Float[Array, " m"]) -> Float[Array, "size size"]:
        """The operator as a matrix."""
        axes = self.grid.axes
        bases = [axis.basis for axis in axes]
        matrix = sandwiched(bases, self.effective_potential(multipliers), bases)
        sizes = [basis.shape[1] for basis in bases]
        for i, axis in enumerate(axes):
            before, after = (jnp.eye(math.prod(part), dtype=matrix.dtype) for part in (sizes[:i], sizes[i + 1 :]))
            matrix = matrix + jnp.kron(jnp.kron(before, 0.5 * axis.slopes.T @ axis.slopes), after)
        return 0.5 * (matrix + matrix.T)


class GroundState(eqx.Module):
    """The lowest state that an eigenvalue solver finds, at the multipliers reached."""

    coefficients: Float[Array, "..."]
    energy: Float[Array, ""]
    gap: Float[Array, ""]
    multipliers: Float[Array, " m"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    dependent: Bool[Array, ""]


def first_multipliers(problem: Schroedinger) -> Float[Array, " m"]:
    """Multipliers with which the first function of the grid comes nearest to a solution, or zero, whichever parts the
    lowest two energies further.

    Where these two states cross, the energy as a function of the multipliers has a ridge that holds Newton's method
    up; the first function of a line, a normal density, has its multipliers far from one.
    """
    none = jnp.zeros(problem.statistics.shape[0], problem.grid.dtype)
    first = jnp.zeros([axis.basis.shape[1] for axis in problem.grid.axes], none.dtype).at[(0,) * len(problem.grid.axes)]
    first = first.set(1.0)
    amplitude = wave_of(problem.grid, first).amplitude
    moved = [coefficients_of(problem.grid, statistic * amplitude).reshape(-1) for statistic in problem.statistics]
    columns = jnp.stack([first.reshape(-1), *moved])
    fitted = -solve(columns @ columns.T, columns @ problem.applied(first, none).reshape(-1))[1:]
    gaps = [energies[1] - energies[0] for energies in (jnp.linalg.eigvalsh(problem.matrix(x)) for x in (fitted, none))]
    return jnp.where(gaps[0] > gaps[1], fitted, none)


class _Dual(NamedTuple):
    """The energy as a function of the multipliers: value, Newton step, and how much it promises."""

    multipliers: Array
    state: Array
    energy: Array
    gap: Array
    step: Array
    promise: Array


class _Ascent(NamedTuple):
    dual: _Dual
    share: Array
    iterations: Array


def lowest_state(problem: Schroedinger, start: Float[Array, " m"], max_iterations: int) -> GroundState:
    """The ground state whose moments are zero: Newton's ascent of the energy, which is concave in the multipliers."""
    eps = float(jnp.finfo(start.dtype).eps)

    def unfinished(ascent):
        dual = ascent.dual
        short = ascent.share > eps
        return (dual.promise > eps**0.5 * dual.gap) & short & (ascent.iterations < max_iterations)

    def advance(ascent):
        dual = ascent.dual
        trial = _dual(problem, dual.multipliers + ascent.share * dual.step)
        noise = 8.0 * eps * (jnp.abs(dual.energy) + dual.gap)
        better = trial.energy >= dual.energy + 1e-4 * ascent.share * dual.promise - noise
        kept = _Dual(*[jnp.where(better, new, old) for new, old in zip(trial, dual, strict=True)])
        return _Ascent(kept, jnp.where(better, 1.0, 0.25 * ascent.share), ascent.iterations + 1)

    ascent = _Ascent(_dual(problem, start), jnp.ones((), start.dtype), jnp.asarray(0))
    if start.size:
        ascent = lax.while_loop(unfinished, advance, ascent)
    dual = ascent.dual
    return GroundState(
        coefficients=dual.state,
        energy=dual.energy,
        gap=dual.gap,
        multipliers=dual.multipliers,
        iterations=ascent.iterations,
        converged=dual.promise <= eps**0.5 * dual.gap,
        dependent=~jnp.all(jnp.isfinite(dual.step)) & (ascent.iterations == 0),
    )


def _dual(problem: Schroedinger, multipliers) -> _Dual:
    """The lowest state at given multipliers, with the first and second derivative of its energy."""
    energies, states = jnp.linalg.eigh(problem.matrix(multipliers))
    lowest = states[:, 0].reshape([axis.basis.shape[1] for axis in problem.grid.axes])
    wave = wave_of(problem.grid, lowest)
    sign = jnp.where(jnp.sum(wave.amplitude * jnp.sqrt(problem.grid.weights)) < 0.0, -1.0, 1.0)
    slope = problem.means(wave.masses)
    moved = [coefficients_of(problem.grid, statistic * wave.amplitude).reshape(-1) for statistic in problem.statistics]
    couplings = jnp.stack(moved) @ states[:, 1:] if moved else jnp.zeros((0, 1), multipliers.dtype)
    curvature = 2.0 * (couplings / (energies[1:] - energies[0])[None]) @ couplings.T if moved else couplings
    step = solve(curvature, slope) if moved else slope
    return _Dual(multipliers, sign * lowest, energies[0], energies[1] - energies[0], step, jnp.sum(slope * step))


def stationarity(problem: Schroedinger, root):
    """Zero at an amplitude of unit mass that solves the equation and has the moments: coefficients, energy,
    multipliers. The derivative is a symmetric matrix."""
    coefficients, energy, multipliers = root
    masses = wave_of(problem.grid, coefficients).masses
    return (
        problem.applied(coefficients, multipliers) - energy * coefficients,
        0.5 * (1.0 - jnp.sum(coefficients**2)),
        0.5 * problem.means(masses),
    )


def bordered_solve(problem: Schroedinger, root):
    """A function that solves with the derivative of `stationarity`."""
    coefficients, energy, multipliers = root
    amplitude = wave_of(problem.grid, coefficients).amplitude
    moved = [coefficients_of(problem.grid, statistic * amplitude).reshape(-1) for statistic in problem.statistics]
    border = jnp.stack([-coefficients.reshape(-1), *moved])
    factors = _bordered(problem.matrix(multipliers), energy, border)

    def solution(right):
        flat = lu_solve(factors, jnp.concatenate([right[0].reshape(-1), right[1][None], right[2]]))
        size = coefficients.size
        return flat[:size].reshape(coefficients.shape), flat[size], flat[size + 1 :]

    return solution


def _bordered(matrix, energy, border):
    shifted = matrix - energy * jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    corner = jnp.zeros((border.shape[0], border.shape[0]), matrix.dtype)
    return lu_factor(jnp.block([[shifted, border.T], [border, corner]]))


def polished(problem: Schroedinger, root):
    """The root after steps of Newton's method with one factorisation, and the size of the last in the amplitude."""
    solution = bordered_solve(problem, root)

    def step(root, _):
        steps = solution(stationarity(problem, root))
        moved = tuple(part - step for part, step in zip(root, steps, strict=True))
        return moved, jnp.sqrt(jnp.sum(steps[0] ** 2))

    root, sizes = lax.scan(step, root, length=_POLISHES)
    return root, sizes[-1]


def coarse_energy(problem: Schroedinger, coefficients, energy, multipliers) -> Float[Array, ""]:
    """The ground energy with three quarters of the functions in each dimension, at the same multipliers."""
    axes = problem.grid.axes
    places = np.arange(coefficients.size).reshape(coefficients.shape)
    kept = places[np.ix_(*[np.arange(axis.table.coarse) for axis in axes])].ravel()

    def applied(part):
        whole = jnp.zeros(coefficients.size, part.dtype).at[kept].set(part).reshape(coefficients.shape)
        return problem.applied(whole, multipliers).reshape(-1)[kept]

    part = coefficients.reshape(-1)[kept]
    part = part / jnp.sqrt(jnp.sum(part**2))
    factors = _bordered(problem.matrix(multipliers)[kept][:, kept], energy, -part[None])

    def step(root, _):
        part, energy = root
        right = jnp.concatenate([applied(part) - energy * part, 0.5 * (1.0 - jnp.sum(part**2))[None]])
        moved = lu_solve(factors, right)
        return (part - moved[:-1], energy - moved[-1]), None

    (part, _), _ = lax.scan(step, (part, energy), length=_POLISHES)
    return jnp.sum(part * applied(part)) / jnp.sum(part**2)
