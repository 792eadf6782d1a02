"""Fluctuations about a path: the second variation of its action, determinant and covariance."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag._flat import flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._discrete import ElementBasis, element_basis
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.paths._mesh import equal_knots
from fimlag.paths._path import Path, as_path


class PathUncertainty(AbstractSolution):
    r"""How far a noisy path between fixed ends strays from the most likely one.

    **Attributes:** `times` (knots,): where; `covariance` (knots, d, d): of the point, over the flat coordinates, zero
    at the fixed ends; `result`: a `RESULTS` member.
    """

    times: Float[Array, " knots"]
    covariance: Float[Array, "knots d d"]
    result: RESULTS


def fluctuation_determinant(
    lagrangian: LagrangianFn,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    degree: int = 8,
) -> Float[Array, ""]:
    r"""The determinant of the second variation of an action about a path, relative to that of free motion.

    $$D = \frac{\det \delta^2 S}{\det \delta^2 S_0}
    = \frac{\det(-\partial^2 S_0 / \partial q_0 \partial q_1)}{\det(-\partial^2 S / \partial q_0 \partial q_1)}, \qquad
    \delta^2 S_0 = \int \eta' \cdot L_{vv}\, \eta'\, dt$$

    with fixed ends, from the pivots of the second variation; it is $\sin(\omega T) / \omega T$ for the harmonic
    oscillator, zero at a conjugate point, and its sign is $(-1)^m$ with m the Morse index. A Gaussian integral over
    paths has the prefactor $D^{-1/2}$.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `path`: a stationary path, such as the `path` of a
    `LeastActionSolution`: a `Path`, a callable of time, or nodes stacked on axis 0; `t0`, `t1`: the interval of one
    that is no `Path`; `elements`, `degree`: the mesh of the fluctuations.

    **Returns:** a scalar, with error of order `elements**(-2 * degree)`; NaN where L_vv is singular.

    **Raises:** `ValueError` for a Lagrangian that is not scalar.

    **Reference:** Gelfand & Yaglom (1960); Kleinert (2009), sec. 2.4 and eq. 4.119.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> oscillator = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: 0.5 * jnp.sum(q**2))
    >>> value = fl.fluctuation_determinant(oscillator, lambda t: jnp.zeros(1), t1=2.0)
    >>> bool(jnp.isclose(value, jnp.sin(2.0) / 2.0, rtol=1e-12))
    True

    ```
    """
    return _determinant(*_as_fields(lagrangian, path, t0, t1), elements, degree)


def path_uncertainty(
    lagrangian: LagrangianFn,
    path: Path | Callable | Float[Array, "knots ..."],
    noise: RealScalarLike,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    degree: int = 8,
    throw: bool = True,
) -> PathUncertainty:
    r"""The covariance of the points of a noisy path between fixed ends, by Laplace's method in the space of paths.

    $$\mathrm{Cov}[q(t)] = \varepsilon\, (\delta^2 S)^{-1}(t, t)$$

    where the probability of a path goes as $e^{-S / \varepsilon}$: exact for a linear drift and constant diffusion, of
    relative error $O(\varepsilon)$ elsewhere.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`, such as `FreidlinWentzell(drift, diffusion)`; `path`,
    `t0`, `t1`: a path of least action, as for `fluctuation_determinant`; `noise`: epsilon; `elements`: equal intervals,
    at whose ends the covariance is given; `degree`: of the fluctuations inside; `throw`: whether a failure raises.

    **Returns:** a `PathUncertainty`.

    **Raises:** `ValueError` for a Lagrangian that is not scalar. Results: `nonfinite`; `not_a_minimum`, where the
    covariance would not be positive.

    **Reference:** Freidlin & Wentzell (2012), ch. 2; Zinn-Justin (2002), sec. 2.5.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> brownian = fl.FreidlinWentzell(lambda q: 0.0 * q, 1.0)
    >>> spread = fl.path_uncertainty(brownian, lambda t: jnp.zeros(1), noise=0.2, elements=4)
    >>> bool(jnp.allclose(spread.covariance[:, 0, 0], 0.2 * spread.times * (1 - spread.times)))
    True

    ```
    """
    arguments = _as_fields(lagrangian, path, t0, t1)
    dtype = jnp.result_type(float, noise)
    return raise_unless_successful(_uncertainty(*arguments, jnp.asarray(noise, dtype), elements, degree), throw)


@compiled
def _determinant(lagrangian, path, t0, t1, elements, degree):
    condensed = _condensed(lagrangian, path, t0, t1, elements, degree)
    sign, size = _mixed(condensed.blocks)
    free_sign, free_size = _mixed(condensed.free)
    return sign * free_sign * jnp.exp(free_size - size)


@compiled
def _uncertainty(lagrangian, path, t0, t1, noise, elements, degree) -> PathUncertainty:
    condensed = _condensed(lagrangian, path, t0, t1, elements, degree)
    diagonal, coupling = _assembled(condensed.blocks)
    forward = _pivots(diagonal, coupling)
    backward = _pivots(diagonal[::-1], jnp.swapaxes(coupling, 1, 2)[::-1])[::-1]
    inverse = jax.vmap(jnp.linalg.inv)(forward + backward - diagonal)
    end = jnp.zeros_like(diagonal[:1])
    covariance = noise.astype(diagonal.dtype) * jnp.concatenate([end, inverse, end])
    covariance = 0.5 * (covariance + jnp.swapaxes(covariance, 1, 2))
    finite = jnp.all(jnp.isfinite(covariance)) & jnp.all(jnp.isfinite(condensed.blocks))
    signs = jnp.concatenate([jnp.linalg.eigvalsh(forward).ravel(), condensed.inner_eigenvalues.ravel()])
    result = first_failure((~finite, RESULTS.nonfinite), (jnp.any(signs <= 0), RESULTS.not_a_minimum))
    return PathUncertainty(times=condensed.knots, covariance=covariance, result=result)


class _Condensed(eqx.Module):
    """The second variation over equal elements as a form in the displacements of their ends, and that of free motion.

    `blocks` and `free` have shape (E, 2, d, 2, d); the eigenvalues are those of the eliminated inner nodes.
    """

    knots: Float[Array, " knots"]
    blocks: Float[Array, "elements two d two d"]
    free: Float[Array, "elements two d two d"]
    inner_eigenvalues: Float[Array, "elements inner"]


def _as_fields(lagrangian, path, t0, t1):
    """Lagrangian, path and interval as compiled functions take them."""
    if callable(path):
        t0, t1 = (path.t0, path.t1) if isinstance(path, Path) else (t0, t1)
    else:
        path = as_path(path, t0, t1, 1, 1)
    dtype = jnp.result_type(float, t0, t1)
    return as_field(lagrangian), as_field(path), jnp.asarray(t0, dtype), jnp.asarray(t1, dtype)


def _condensed(lagrangian, path, t0, t1, elements, degree) -> _Condensed:
    if elements < 1 or degree < 1:
        raise ValueError(f"elements and degree must be at least 1, but are {elements} and {degree}.")
    point, structure = flatten(path(t0), "the path's point")
    flat = FlatLagrangian(lagrangian, structure)
    knots = equal_knots(t0, t1, elements).astype(point.dtype)
    basis, d = element_basis(degree, degree + 2), point.size

    def state(t):
        if isinstance(path, Path):
            return jnp.stack([structure.flatten(path(t)), structure.flatten(path.velocity(t))])
        return jnp.stack(jax.jvp(lambda s: structure.flatten(path(s), "the path's point"), (t,), (jnp.ones_like(t),)))

    def hessian(t):
        z = state(t).ravel()
        return jax.hessian(lambda z: flat(t, z[:d], z[d:]))(z).reshape(2, d, 2, d)

    def element(left, right):
        times = left + (right - left) * jnp.asarray(basis.abscissae, left.dtype)
        hessians = jax.vmap(hessian)(times)
        matrix = _element_matrix(hessians, right - left, basis)
        mass = jnp.einsum("g,gij->ij", jnp.asarray(basis.weights, left.dtype), jnp.linalg.inv(hessians[:, 1, :, 1]))
        stiff = jnp.linalg.inv(mass) / (right - left)
        free = jnp.stack([jnp.stack([stiff, -stiff]), jnp.stack([-stiff, stiff])])
        return *_without_inner_nodes(matrix, d), jnp.swapaxes(free, 1, 2)

    blocks, eigenvalues, free = jax.vmap(element)(knots[:-1], knots[1:])
    return _Condensed(knots, blocks, free, eigenvalues)


def _element_matrix(hessians: Float[Array, "points two d two d"], step, basis: ElementBasis):
    """The second variation over one element in the displacements of its nodes, shape (p + 1, d, p + 1, d)."""
    functions = np.stack([basis.values, basis.derivatives], axis=1)
    units = jnp.stack([jnp.ones_like(step), 1 / step])
    tests = jnp.asarray(functions, step.dtype) * units[None, :, None]
    weighted = step * jnp.asarray(basis.weights, step.dtype)[:, None, None, None, None] * hessians
    return jnp.einsum("gxa,gxiyj,gyb->aibj", tests, weighted, tests)


def _without_inner_nodes(matrix, d: int):
    """The form in the displacements of the element's ends, (2, d, 2, d), and the eigenvalues of what was eliminated."""
    nodes = matrix.shape[0]
    outer, inner = np.array([0, nodes - 1]), np.arange(1, nodes - 1)
    ends = matrix[outer][:, :, outer].reshape(2 * d, 2 * d)
    if inner.size == 0:
        return ends.reshape(2, d, 2, d), jnp.ones((0,), matrix.dtype)
    size = inner.size * d
    within = matrix[inner][:, :, inner].reshape(size, size)
    between = matrix[inner][:, :, outer].reshape(size, 2 * d)
    condensed = ends - between.T @ jnp.linalg.solve(within, between)
    return condensed.reshape(2, d, 2, d), lax.stop_gradient(jnp.linalg.eigvalsh(within))


def _assembled(blocks):
    """The diagonal (E - 1, d, d) and upper (E - 2, d, d) blocks over the knots between the ends."""
    return blocks[:-1, 1, :, 1] + blocks[1:, 0, :, 0], blocks[1:-1, 0, :, 1]


def _pivots(diagonal, coupling):
    """The pivots of the block elimination from the first knot on, shape (E - 1, d, d)."""
    before = jnp.concatenate([jnp.zeros_like(diagonal[:1]), coupling])[: diagonal.shape[0]]

    def eliminate(inverse, blocks):
        block, coupling = blocks
        pivot = block - coupling.T @ inverse @ coupling
        return jnp.linalg.inv(pivot), pivot

    return lax.scan(eliminate, jnp.zeros_like(diagonal[0]), (diagonal, before))[1]


def _mixed(blocks):
    r"""Sign and logarithm of $\det(-\partial^2 S / \partial q_0 \partial q_1)$: products over elements and pivots."""
    signs, sizes = jnp.linalg.slogdet(-blocks[:, 0, :, 1])
    sign, size = jnp.prod(signs), jnp.sum(sizes)
    if blocks.shape[0] > 1:
        signs, sizes = jnp.linalg.slogdet(_pivots(*_assembled(blocks)))
        sign, size = sign * jnp.prod(signs), size - jnp.sum(sizes)
    return sign, size
