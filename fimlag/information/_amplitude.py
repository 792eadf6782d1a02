"""The amplitude of a density in the functions of a grid, and what tells whether they resolve it."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from fimlag._results import RESULTS, AbstractSolution, first_failure
from fimlag.information._density_grids import AbstractGrid

DensityLike = Callable | ArrayLike
"""A density: a function of a point, or its values at the nodes of a grid."""


LARGEST = 2500
"""The most functions for which dense matrices are made."""


class DensityCertificate(eqx.Module):
    """What tells a density that a grid holds from one that it does not.

    `mass`: the integral of the density over the grid, 1 where it holds all of it. `negative`: the mass of negative
    values, 0 for a density. `unresolved`: the share of the mass that the functions of the grid do not represent.
    `edge`: the square of the amplitude's slope at ends where the line is cut, times the distance between the ends.
    """

    mass: Float[Array, ""]
    negative: Float[Array, ""]
    unresolved: Float[Array, ""]
    edge: Float[Array, ""]


class FunctionalEstimate(AbstractSolution):
    """A functional of a density and what is known about its error.

    `value`; `error_estimate`: its difference from three quarters of the functions in each dimension; `certificate`;
    `result`: `successful`, `nonfinite` or `unresolved_density`. Derivatives pass through `value` alone.
    """

    value: Float[Array, "..."]
    error_estimate: Float[Array, ""]
    certificate: DensityCertificate
    result: RESULTS

    @property
    def checked_value(self) -> Float[Array, "..."]:
        """The value, NaN where the result is a failure."""
        return jnp.where(self.succeeded, self.value, jnp.nan)


class Wave(eqx.Module):
    """An amplitude at the nodes and its gradient there, both times the root of the weights."""

    amplitude: Float[Array, "..."]
    slopes: Float[Array, "d ..."]

    @property
    def masses(self) -> Float[Array, "..."]:
        """The mass that each node stands for."""
        return self.amplitude**2


def along_axes(matrices, tensor: Float[Array, "..."]) -> Float[Array, "..."]:
    """A tensor multiplied by one matrix along each of its axes."""
    for i, matrix in enumerate(matrices):
        tensor = jnp.moveaxis(jnp.tensordot(matrix, tensor, axes=(1, i)), 0, i)
    return tensor


def coefficients_of(grid: AbstractGrid, amplitude: Float[Array, "..."]) -> Float[Array, "..."]:
    """The coefficients of a function given at the nodes, times the root of the weights."""
    return along_axes([axis.basis.T for axis in grid.axes], amplitude)


def wave_of(grid: AbstractGrid, coefficients: Float[Array, "..."]) -> Wave:
    """The amplitude with these coefficients."""
    bases = [axis.basis for axis in grid.axes]
    slopes = [along_axes([*bases[:i], axis.slopes, *bases[i + 1 :]], coefficients) for i, axis in enumerate(grid.axes)]
    return Wave(along_axes(bases, coefficients), jnp.stack(slopes))


def sandwiched(left, values: Float[Array, "..."], right) -> Float[Array, "size size"]:
    r"""The matrix $A^\top \mathrm{diag}(\mathtt{values}) B$ for products A, B of one matrix on each axis."""
    pairs = [(a[:, :, None] * b[:, None, :]).reshape(a.shape[0], -1).T for a, b in zip(left, right, strict=True)]
    d, sizes = len(pairs), [matrix.shape[1] for matrix in left]
    size = math.prod(sizes)
    if size > LARGEST:
        raise ValueError(f"The grid has {size} functions, but matrices are dense: at most {LARGEST} can be had.")
    whole = along_axes(pairs, values).reshape([n for n in sizes for _ in range(2)])
    return whole.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)]).reshape(size, size)


def coarse(grid: AbstractGrid, coefficients: Float[Array, "..."]) -> Float[Array, "..."]:
    """The coefficients with the last quarter in each dimension put to zero."""
    for i, axis in enumerate(grid.axes):
        shape = (1,) * i + (-1,) + (1,) * (len(grid.axes) - 1 - i)
        kept = jnp.arange(coefficients.shape[i]) < axis.table.coarse
        coefficients = jnp.where(kept.reshape(shape), coefficients, 0.0)
    return coefficients


def edge_of(grid: AbstractGrid, coefficients: Float[Array, "..."]) -> Float[Array, ""]:
    """The square of the slope at ends where the line is cut."""
    bases = [axis.basis for axis in grid.axes]
    total = jnp.zeros((), coefficients.dtype)
    for i, axis in enumerate(grid.axes):
        if axis.table.ends.shape[0]:
            total = total + jnp.sum(along_axes([*bases[:i], axis.ends, *bases[i + 1 :]], coefficients) ** 2)
    return total


def tail_of(grid: AbstractGrid, function: Float[Array, "..."]) -> Float[Array, ""]:
    """The norm of what a function at the nodes, times the root of the weights, has in the highest degrees.

    Integrals of it with functions of the basis are off by about as much where its coefficients fall off like a power,
    and by less where they fall off faster.
    """
    total = jnp.zeros((), function.dtype)
    for i, axis in enumerate(grid.axes):
        total = total + jnp.sum(jnp.tensordot(jnp.asarray(axis.table.tail, function.dtype), function, axes=(0, i)) ** 2)
    return jnp.sqrt(total)


def at_nodes(function: DensityLike, grid: AbstractGrid, name: str) -> Float[Array, "..."]:
    """A function, or the array of its values, at the nodes."""
    shape = grid.weights.shape
    if callable(function):
        points = grid.points.reshape((-1, *grid.points.shape[len(shape) :]))
        values = jax.vmap(function)(points)
        if values.shape != points.shape[:1]:
            raise ValueError(f"{name} must return a number at a point, but an array of shape {values.shape[1:]} came.")
        return values.reshape(shape).astype(grid.dtype)
    values = jnp.asarray(function)
    if values.shape != shape:
        raise ValueError(f"{name} must be a function or values at the nodes, {shape}, but has shape {values.shape}.")
    return values.astype(grid.dtype)


def gradients_at_nodes(potential: DensityLike, grid: AbstractGrid) -> Float[Array, "d ..."]:
    """The gradient of a function at the nodes, shape (d, n1, ..., nd)."""
    if not callable(potential):
        raise TypeError("potential must be a differentiable function of a point, but values came.")
    shape = grid.weights.shape
    points = grid.points.reshape((-1, *grid.points.shape[len(shape) :]))
    gradients = jax.vmap(jax.grad(potential))(points).reshape((*shape, -1)).astype(grid.dtype)
    return jnp.moveaxis(gradients, -1, 0)


def root_of(density: DensityLike, grid: AbstractGrid, log: bool) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """The root of the density at the nodes, times the root of the weights, and its mass of negative values."""
    values = at_nodes(density, grid, "density")
    if log:
        return jnp.exp(0.5 * values) * jnp.sqrt(grid.weights), jnp.zeros((), grid.dtype)
    positive = ~(values <= 0.0)
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, values, 1.0)), 0.0)
    return root * jnp.sqrt(grid.weights), -jnp.sum(grid.weights * jnp.where(positive, 0.0, values))


def evaluated(
    functional: Callable[[Wave], Array], density, grid, log, rtol, noise, flawed: Array | bool = False
) -> FunctionalEstimate:
    """A functional of a density with its error, certificate and result.

    `noise(wave)`: the absolute error accepted beside the relative one; `flawed`: another reason to call the density
    unresolved.
    """
    root, negative = root_of(density, grid, log)
    coefficients = coefficients_of(grid, root)
    wave = wave_of(grid, coefficients)
    value = functional(wave)
    mass = jnp.sum(root**2) - negative
    held = jax.lax.stop_gradient(
        (value, functional(wave_of(grid, coarse(grid, coefficients))), mass, negative, root, coefficients, wave)
    )
    return _concluded(value, grid, rtol, noise, flawed, *held)


def _concluded(value, grid, rtol, noise, flawed, held, rough, mass, negative, root, coefficients, wave):
    eps = float(jnp.finfo(grid.dtype).eps)
    error = jnp.max(jnp.abs(held - rough))
    certificate = DensityCertificate(
        mass=mass,
        negative=negative,
        unresolved=jnp.sum((root - wave.amplitude) ** 2) / jnp.sum(root**2),
        edge=edge_of(grid, coefficients),
    )
    tolerance = max(rtol, eps**0.5)
    unresolved = (
        (jnp.abs(mass - 1.0) > eps**0.5)
        | (negative > eps**0.5)
        | (certificate.unresolved > eps**0.5)
        | (certificate.edge > tolerance * jnp.sum(wave.slopes**2))
        | (error > tolerance * jnp.max(jnp.abs(held)) + noise(wave))
        | jnp.asarray(flawed)
    )
    finite = jnp.all(jnp.isfinite(held)) & jnp.isfinite(error) & jnp.isfinite(mass)
    result = first_failure((~finite, RESULTS.nonfinite), (unresolved, RESULTS.unresolved_density))
    return FunctionalEstimate(value=value, error_estimate=error, certificate=certificate, result=result)
