"""The spectrum of the Fisher information: which directions of the parameters the data resolve, and how well."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.information._estimate import FAILURES, failure_named
from fimlag.information._linearised import gram_times, linearised, times
from fimlag.information._model import AbstractModel
from fimlag.information._root_quality import failures_of_roots
from fimlag.information._sums import check_dense
from fimlag.information._triangular import STORED, row_count, stored_jacobian, stored_size, triangular_root

DENSE = 2048
"""Parameters, or rows, whose full decomposition takes seconds at most."""

OVERSAMPLING = 8
"""Directions carried along beyond those asked for."""


class Spectrum(AbstractSolution):
    """Eigenvalues of the information, descending, and their directions.

    `eigenvalues` (k,); `eigenvectors` (k, d), one unit vector a row, its largest component positive; `residual` (),
    the largest $|I v - \\lambda v|$ over $\\lambda_1$ of an iteration, 0 for a full decomposition; `route`; `result`:
    `successful`, `nonfinite`, a failure of the expectation, or `inaccurate_solution`.
    """

    eigenvalues: Float[Array, " k"]
    eigenvectors: Float[Array, "k d"]
    residual: Float[Array, ""]
    route: str = eqx.field(static=True)
    result: RESULTS


def sloppiness_spectrum(
    model: AbstractModel,
    theta: Coordinates,
    k: int | None = None,
    *,
    iterations: int = 16,
    rtol: float | None = None,
    throw: bool = True,
) -> Spectrum:
    r"""The eigenvalues of the Fisher information, by the singular values of its square root.

    $$I = J^\top J = \sum_i \sigma_i^2\, v_i v_i^\top$$

    The matrix itself is never formed: in single precision its eigenvalues would be lost below $10^{-7}$ of the
    largest one, where $\sigma_i^2$ reaches twice as many decades. Rows beyond 64 MiB pass by in parcels, each a QR
    step. With `k` and more than 2048 parameters the leading ones come from the rows, where these are few, else from
    a block Krylov space of products, $2 (k + 8)$ of them in each of the `iterations`.

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree. `k`: how many
    leading ones, all if left out. `iterations`: depth of the Krylov space. `rtol`: what its residual may be in terms
    of the largest eigenvalue, round-off to the power 1/2 if left out. `throw`: raise on failure.

    **Returns:** a solution with `.eigenvalues` (k,), `.eigenvectors` (k, d), `.residual`, `.route` and `.result`.
    Derivatives are those of the singular value decomposition, NaN where eigenvalues coincide.

    **Raises:** `ValueError` for k out of range, or all of more parameters than fit; with `throw`, `nonfinite`, the
    failures of the expectation, and `inaccurate_solution` where the residual exceeds `rtol`: raise `iterations`.

    **Reference:** Waterfall et al. (2006); Transtrum, Machta & Sethna (2011), section IV; Musco & Musco (2015),
    algorithm 2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> spectrum = fl.sloppiness_spectrum(fl.families.Normal(), jnp.array([0.0, 0.5]))
    >>> print(jnp.round(spectrum.eigenvalues, 9))
    [8. 4.]

    ```
    """
    vector = flatten(theta, "theta")[0]
    if k is not None and not 0 < k <= vector.size:
        raise ValueError(f"k must be between 1 and {vector.size}, the number of parameters, but is {k}.")
    roots = model.information_roots(theta)
    residual = jnp.zeros((), vector.dtype)
    if k is None or vector.size <= DENSE:
        check_dense(vector)
        values, vectors = _decomposed(triangular_root(roots), k or vector.size)
        route = "svd of the triangular root"
    elif k <= row_count(roots) <= DENSE and stored_size(roots) <= STORED:
        values, vectors = _decomposed(stored_jacobian(roots), k)
        route = "svd of the rows"
    else:
        values, vectors, residual = _by_block_krylov(roots, k, iterations)
        route = "block Krylov space"
    tolerance = float(jnp.finfo(vector.dtype).eps) ** 0.5 if rtol is None else rtol
    failures = failures_of_roots(roots)
    failures = failures.at[FAILURES.index(RESULTS.nonfinite)].max(~jnp.all(jnp.isfinite(values)))
    result = failure_named(failures)
    rough = (result == RESULTS.successful) & (residual > tolerance)
    result = RESULTS.where(rough, RESULTS.inaccurate_solution, result)
    spectrum = Spectrum(eigenvalues=values, eigenvectors=vectors, residual=residual, route=route, result=result)
    return raise_unless_successful(spectrum, throw)


def _decomposed(rows, k):
    _, spread, directions = jnp.linalg.svd(rows, full_matrices=False)
    return spread[:k] ** 2, _signed(directions[:k])


def _by_block_krylov(roots, k, iterations):
    """Leading eigenpairs from the span of $Q, I Q, I^2 Q, \\dots$, extracted by the svd of J on it."""
    products = tuple(linearised(root) for root in roots)
    size, dtype = roots[0].vector.size, roots[0].vector.dtype
    width = min(k + OVERSAMPLING, size)
    whole = iterations * width >= size
    basis = jnp.eye(size, dtype=dtype) if whole else _krylov_basis(products, width, iterations, size, dtype)
    images = jax.lax.map(lambda row: times(products, row), basis)
    # Of fewer rows than k the further eigenvalues are zero, as are further rows.
    images = jnp.pad(images, ((0, 0), (0, max(0, k - images.shape[1]))))
    mixing, spread, _ = jnp.linalg.svd(images, full_matrices=False)
    values, vectors = spread[:k] ** 2, _signed(mixing[:, :k].T @ basis)
    back = jax.lax.map(lambda row: gram_times(products, row), vectors)
    residual = jnp.max(jnp.linalg.norm(back - values[:, None] * vectors, axis=1))
    residual = residual / jnp.where(values[0] > 0.0, values[0], 1.0)
    return values, vectors, residual


def _krylov_basis(products, width, depth, size, dtype):
    # The factor of a QR step is orthonormal even where the block has lost rank: nothing breaks down.
    block = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (size, width), dtype))[0].T

    def step(carry, number):
        basis, block = carry
        basis = jax.lax.dynamic_update_slice(basis, block, (number * width, 0))
        image = jax.lax.map(lambda row: gram_times(products, row), block)
        for _ in range(3):  # where the space is used up, what is left of an image is round-off, not orthogonal to it
            image = jnp.linalg.qr((image - (image @ basis.T) @ basis).T)[0].T
        return (basis, image), None

    start = (jnp.zeros((depth * width, size), dtype), block)
    return jax.lax.scan(step, start, jnp.arange(depth))[0][0]


def _signed(vectors):
    largest = jnp.argmax(jnp.abs(vectors), axis=1)
    leading = jnp.take_along_axis(vectors, largest[:, None], axis=1)
    return vectors * jax.lax.stop_gradient(jnp.sign(leading))
