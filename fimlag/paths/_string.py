"""Minimum energy paths between the minima of a potential, by the string method and Newton's."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._implicit import frozen, implicit_root
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.mechanics._discrete import element_basis
from fimlag.paths._path import Path, as_path

_COARSE = 1e-3
"""The string has settled where no image moves by more than this share of the distance between images."""
_NEWTON_STEPS = 24
_POLISHING = 64


class MinimumEnergyPath(AbstractSolution):
    r"""A path along the bottom of the valleys of a potential, over its passes.

    **Attributes:** `path`: a `Path` over [0, 1], a cubic spline in the share of its length; `energies` (images,): the
    potential at the images, which are `path.nodes[::3]`; `start`, `end`: the minima at its ends, and `saddle`: the
    highest point, in the caller's structure; `barrier`: the potential there less that at the start; `saddle_index`: the
    number of negative directions there, 1 for a pass; `residual`: the largest force across the path at an image;
    `iterations`: steps taken by the string; `result`: a `RESULTS` member.
    """

    path: Path
    energies: Float[Array, " images"]
    start: PyTree[Array]
    end: PyTree[Array]
    saddle: PyTree[Array]
    barrier: Float[Array, ""]
    saddle_index: Int[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS


def minimum_energy_path(
    potential: Callable,
    q0: Coordinates,
    q1: Coordinates,
    *,
    images: int = 33,
    guess=None,
    max_iterations: int = 2000,
    throw: bool = True,
) -> MinimumEnergyPath:
    r"""The path between two minima of a potential along which the force is tangent, and its highest point.

    $$\left(1 - \tau \tau^\top\right) \nabla V(\phi) = 0, \qquad \tau = \phi' / |\phi'|, \quad \nabla V(q_s) = 0$$

    A string of images slides down the potential and is drawn out to equal distances, until it has settled; Newton's
    method then makes the force across its spline vanish, and finds the pass from the highest image. Under
    $dX = -\nabla V dt + \sqrt\varepsilon\, dW$ it is the most likely way, and the quasi-potential of the pass is twice
    the barrier. Derivatives in what the potential holds or closes over are implicit.

    **Arguments:** `potential`: a scalar function of the point, twice differentiable; `q0`, `q1`: points in the basins
    of the two minima, which are found first; `images`: points of the string, the ends included; `guess`: a first path:
    a `Path`, a callable on [0, 1], or nodes stacked on axis 0 (None: the chord); `max_iterations`: the limit on the
    string's steps; `throw`: whether a failure raises.

    **Returns:** a `MinimumEnergyPath`. The error of the images is of fourth order in their distance; that of the saddle
    and the barrier is round-off.

    **Raises:** `ValueError` for ends of different structure or fewer than five images. Results: `nonfinite`;
    `no_saddle`; `max_steps_reached`, where the force across the path does not vanish.

    **Reference:** E, Ren & Vanden-Eijnden (2007), sec. II.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> valley = lambda q: 0.25 * (q[0] ** 2 - 1) ** 2 + q[1] ** 2
    >>> found = fl.minimum_energy_path(valley, jnp.array([-0.9, 0.3]), jnp.array([1.2, 0.1]))
    >>> bool(jnp.isclose(found.barrier, 0.25)), int(found.saddle_index)
    (True, 1)

    ```
    """
    if images < 5:
        raise ValueError(f"A string needs at least five images, but images is {images}.")
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1")
    dtype = jnp.result_type(start, end)
    ends = start.astype(dtype), end.astype(dtype)
    solution = _solve(as_field(potential), structure, *ends, guess, images, max_iterations)
    return raise_unless_successful(solution, throw)


def eyring_kramers_rate(
    potential: Callable, minimum: Coordinates, saddle: Coordinates, noise: RealScalarLike
) -> Float[Array, ""]:
    r"""The rate of leaving a minimum of a potential over one pass under weak noise.

    $$k = \frac{|\lambda_-|}{2 \pi} \sqrt{\frac{\det \nabla^2 V(q_m)}{|\det \nabla^2 V(q_s)|}}\;
    e^{-2 (V(q_s) - V(q_m)) / \varepsilon}, \qquad dX = -\nabla V dt + \sqrt\varepsilon\, dW$$

    of relative error $O(\varepsilon)$; the mean time until the pass has been crossed is 1 / k. Several passes add.

    **Arguments:** `potential`: a scalar function of the point; `minimum`, `saddle`: critical points, such as those of a
    `MinimumEnergyPath`; `noise`: epsilon, twice the temperature in units of energy at unit mobility.

    **Returns:** a scalar (per unit of time); NaN where the Hessian at `minimum` is not positive definite or that at
    `saddle` has not exactly one negative eigenvalue.

    **Raises:** `ValueError` for points of different structure.

    **Reference:** Bovier, Eckhoff, Gayrard & Klein (2004), theorem 3.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> double_well = lambda q: 0.25 * (q[0] ** 2 - 1) ** 2
    >>> rate = fl.eyring_kramers_rate(double_well, jnp.array([-1.0]), jnp.array([0.0]), 0.1)
    >>> bool(jnp.isclose(rate, jnp.sqrt(2.0) / (2 * jnp.pi) * jnp.exp(-5.0)))
    True

    ```
    """
    low, structure = flatten(minimum, "minimum")
    high = structure.flatten(saddle, "saddle").astype(low.dtype)
    flat = _FlatPotential(as_field(potential), structure)
    at_low, at_high = jnp.linalg.eigvalsh(jax.hessian(flat)(low)), jnp.linalg.eigvalsh(jax.hessian(flat)(high))
    regular = (at_low[0] > 0) & (at_high[0] < 0) & jnp.all(at_high[1:] > 0)
    barrier = 2 * (flat(high) - flat(low)) / jnp.asarray(noise, low.dtype)
    logarithm = 0.5 * (jnp.sum(jnp.log(jnp.abs(at_low))) - jnp.sum(jnp.log(jnp.abs(at_high)))) - barrier
    return jnp.where(regular, -at_high[0] / (2 * jnp.pi) * jnp.exp(logarithm), jnp.nan)


class _FlatPotential(eqx.Module):
    """A potential on flat vectors: the caller's structure is restored before each call."""

    potential: Callable
    structure: Structure = eqx.field(static=True)

    def __call__(self, q: Float[Array, " d"]) -> Float[Array, ""]:
        value = self.potential(self.structure.unflatten(q))
        if jnp.shape(value) != ():
            raise ValueError(
                f"A potential returns a scalar of shape (), but this one returned shape {jnp.shape(value)}."
            )
        return jnp.asarray(value)


@compiled
def _solve(potential, structure: Structure, q0, q1, guess, images, max_iterations) -> MinimumEnergyPath:
    flat = eqx.filter_closure_convert(_FlatPotential(potential, structure), q0)
    fixed, first = frozen(flat), lax.stop_gradient(_first_images(guess, structure, q0, q1, images))
    settled, iterations = _settle(fixed, first, max_iterations)
    highest = jnp.argmax(jax.vmap(fixed)(settled))
    reach = jnp.linalg.norm(settled[1] - settled[0])
    found = jnp.stack([settled[0], settled[-1], settled[highest]])
    critical = jax.vmap(lambda x, flips: _critical_point(fixed, x, reach, flips))(found, jnp.array([0, 0, 1]))
    start, end, saddle = (
        implicit_root(x, flat, gradient=lambda v, x: jax.grad(v)(x), factor=_curvature_solver) for x in critical
    )
    string = _converged_string(flat, settled.at[0].set(critical[0]).at[-1].set(critical[1]), start, end)

    slopes = jax.vmap(jax.grad(flat))(string)
    residual = jnp.max(jnp.linalg.norm(_across(slopes, _tangents(string)), axis=1))
    index = jnp.sum(jnp.linalg.eigvalsh(jax.hessian(fixed)(critical[2])) < 0)
    sizes = jnp.max(jnp.linalg.norm(slopes, axis=1))
    remaining = jax.vmap(lambda x: jnp.linalg.norm(jax.grad(fixed)(x)))(critical)
    tolerance = jnp.finfo(q0.dtype).eps ** 0.5 * sizes
    inner = (highest > 0) & (highest < images - 1)
    result = first_failure(
        (~(jnp.all(jnp.isfinite(settled)) & jnp.isfinite(sizes)), RESULTS.nonfinite),
        (~inner | (index != 1) | ~(remaining[2] <= tolerance), RESULTS.no_saddle),
        (~((residual <= tolerance) & jnp.all(remaining <= tolerance)), RESULTS.max_steps_reached),
    )
    nodes = jnp.asarray(_spline(images)[0], string.dtype) @ string
    knots = jnp.arange(images, dtype=string.dtype) / (images - 1)
    return MinimumEnergyPath(
        path=Path(knots, start, nodes - nodes[:1], 3, structure),
        energies=jax.vmap(flat)(string),
        start=structure.unflatten(start),
        end=structure.unflatten(end),
        saddle=structure.unflatten(saddle),
        barrier=flat(saddle) - flat(start),
        saddle_index=index,
        residual=residual,
        iterations=iterations,
        result=result,
    )


def _first_images(guess, structure, q0, q1, images):
    shares = jnp.arange(images, dtype=q0.dtype) / (images - 1)
    if guess is None:
        return q0[None] + shares[:, None] * (q1 - q0)[None]
    path = as_path(guess, 0.0, 1.0, images - 1, 1)
    times = path.t0 + (path.t1 - path.t0) * shares
    points = jax.vmap(lambda t: structure.flatten(path(t), "the guess"))(times).astype(q0.dtype)
    return points.at[0].set(q0).at[-1].set(q1)


def _settle(potential, images, max_iterations):
    """The string slid down the potential and drawn out to equal distances, until its images rest."""

    def slide(state):
        x, iterations, _ = state
        reach = jnp.mean(jnp.linalg.norm(jnp.diff(x, axis=0), axis=1))

        def step(q):
            slope, values = jax.grad(potential)(q), jnp.linalg.eigvalsh(jax.hessian(potential)(q))
            size = jnp.max(jnp.abs(values)) + jnp.linalg.norm(slope) / reach  # no step is longer than `reach`
            return slope / jnp.where(size > 0, size, 1.0)

        moved = _drawn_out(x - jax.vmap(step)(x))
        return moved, iterations + 1, jnp.max(jnp.linalg.norm(moved - x, axis=1)) / reach

    def unsettled(state):
        return (state[1] < max_iterations) & ~(state[2] <= _COARSE)

    start = (images, jnp.zeros((), int), jnp.full((), jnp.inf, images.dtype))
    x, iterations, _ = lax.while_loop(unsettled, slide, start)
    return x, iterations


def _downhill(potential, q, reach, flips=0):
    """Newton's step with the eigenvalues of the Hessian made positive, the least `flips` of them negative.

    The slope over `reach` adds to every curvature: no step is longer.
    """
    values, vectors = jnp.linalg.eigh(jax.hessian(potential)(q))
    slope = jax.grad(potential)(q)
    size = jnp.abs(values) + jnp.linalg.norm(slope) / reach
    signs = jnp.where(jnp.arange(values.size) < flips, -1.0, 1.0).astype(q.dtype)
    return -vectors @ (signs / jnp.where(size > 0, size, 1.0) * (vectors.T @ slope))


def _critical_point(potential, q, reach, flips):
    """The critical point near a point, reached down the potential, or up its softest direction."""
    return lax.fori_loop(0, _POLISHING, lambda _, q: q + _downhill(potential, q, reach, flips), q)


def _curvature_solver(potential, q):
    hessian = jax.hessian(potential)(q)
    return lambda right: jnp.linalg.solve(hessian, right)


def _drawn_out(x):
    """The images at equal distances along their polygon."""
    lengths = jnp.append(0.0, jnp.cumsum(jnp.linalg.norm(jnp.diff(x, axis=0), axis=1)))
    wanted = lengths[-1] * jnp.arange(x.shape[0], dtype=x.dtype) / (x.shape[0] - 1)
    moved = jax.vmap(lambda column: jnp.interp(wanted, lengths, column), 1, 1)(x)
    return moved.at[0].set(x[0]).at[-1].set(x[-1])


def _converged_string(potential, images, start, end):
    """The string whose forces across its spline vanish, its images at equal distances: an implicit function."""

    def equations(inner):
        x = jnp.concatenate([start[None], inner, end[None]])
        tangents = _tangents(x)[1:-1]
        squares = jnp.sum(jnp.diff(x, axis=0) ** 2, axis=1)
        spread = (squares[1:] - squares[:-1]) / lax.stop_gradient(jnp.mean(squares))
        force = _across(jax.vmap(jax.grad(potential))(inner), tangents)
        return force / scale + spread[:, None] * tangents

    def newton(equations, inner):
        def jacobian_solve(x, right):
            matrix = jax.jacfwd(equations)(x).reshape(x.size, x.size)
            return jnp.linalg.solve(matrix, right.ravel()).reshape(x.shape)

        def step(state):
            x, count, _ = state
            now = equations(x)
            change = jacobian_solve(x, now)
            lengths = jnp.asarray((1.0, 0.5, 0.25, 0.0625), x.dtype)
            sizes = lax.map(lambda length: jnp.linalg.norm(equations(x - length * change)), lengths)
            best = jnp.nanargmin(jnp.where(jnp.isfinite(sizes), sizes, jnp.inf))
            better = sizes[best] < jnp.linalg.norm(now)
            return jnp.where(better, x - lengths[best] * change, x), count + 1, better

        going = (inner, jnp.zeros((), int), jnp.ones((), bool))
        return lax.while_loop(lambda s: s[2] & (s[1] < _NEWTON_STEPS), step, going)[0]

    def tangent_solve(linear, right):
        matrix = jax.jacfwd(linear)(right).reshape(right.size, right.size)
        return jnp.linalg.solve(matrix, right.ravel()).reshape(right.shape)

    scale = jnp.max(jnp.linalg.norm(jax.vmap(jax.grad(frozen(potential)))(images), axis=1))
    inner = lax.custom_root(equations, images[1:-1], newton, tangent_solve)
    return jnp.concatenate([start[None], inner, end[None]])


def _tangents(x: Float[Array, "images d"]) -> Float[Array, "images d"]:
    """The unit tangents at the images of the cubic spline through them."""
    slopes = jnp.asarray(_spline(x.shape[0])[1], x.dtype) @ x
    return slopes / jnp.linalg.norm(slopes, axis=1, keepdims=True)


def _across(vectors, tangents):
    """The components of vectors across tangents."""
    return vectors - jnp.sum(vectors * tangents, axis=1, keepdims=True) * tangents


@functools.cache
def _spline(images: int) -> tuple[np.ndarray, np.ndarray]:
    """The cubic spline through equidistant values: the nodes of its pieces, four each, and its slopes at the values."""
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(np.arange(images), np.eye(images))
    inner = np.arange(images - 1)[:, None] + element_basis(3).nodes[None, :-1]
    return spline(np.append(inner.ravel(), images - 1.0)), spline(np.arange(images), 1)
