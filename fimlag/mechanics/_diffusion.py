"""Diffusion processes: a drift, and a noise whose covariance is the inverse of a metric."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Inexact

from fimlag._flat import Structure
from fimlag._types import as_field

DiffusionLike = ArrayLike | Callable
"""A covariance per unit of time: a number, one number a coordinate, a matrix, or a function of the point to these."""


class DiffusionProcess(eqx.Module):
    r"""The process $dX = b(X)\, dt + \sqrt\varepsilon\, \sigma(X)\, dW$, by its drift and $a = \sigma \sigma^\top$.

    **Arguments:** `drift`: a function of the point, in its structure; `diffusion`: $a$, a number, a vector (the
    diagonal) or a symmetric positive definite matrix over the flat coordinates, or a function of the point to these.

    **Raises:** `ValueError` for a diffusion of another shape, or one whose entries are known and that is no symmetric
    positive definite matrix.
    """

    drift: Callable
    diffusion: Inexact[Array, "..."] | Callable

    def __init__(self, drift: Callable, diffusion: DiffusionLike):
        self.drift = as_field(drift)
        self.diffusion = as_field(diffusion) if callable(diffusion) else _checked_constant(diffusion)

    @property
    def additive(self) -> bool:
        """Whether the noise is the same everywhere."""
        return not callable(self.diffusion)


class FlatProcess(eqx.Module):
    """A diffusion process on flat vectors: the caller's structure is restored before each call."""

    process: DiffusionProcess
    structure: Structure = eqx.field(static=True)

    def drift(self, q: Float[Array, " d"]) -> Float[Array, " d"]:
        """The drift $b$."""
        return self.structure.flatten(self.process.drift(self.structure.unflatten(q)), "the drift").astype(q.dtype)

    def covariance(self, q: Float[Array, " d"]) -> Float[Array, "d d"]:
        """The matrix $a$."""
        a = self._diffusion(q)
        return a if a.ndim == 2 else jnp.diag(jnp.broadcast_to(a, q.shape))

    def whitened(self, q: Float[Array, " d"], u: Float[Array, " d"]) -> Float[Array, " d"]:
        r"""$\sigma^{-1} u$, whose square is $u \cdot a^{-1} u$; NaN where a is not positive definite."""
        a = self._diffusion(q)
        if a.ndim == 2:
            return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(a), u, lower=True)
        return u / jnp.broadcast_to(jnp.sqrt(a), u.shape)

    def action_terms(
        self, q: Float[Array, " d"], v: Float[Array, " d"]
    ) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        r"""$v \cdot v$, $b \cdot b$ and $v \cdot b$ in the metric $a^{-1}$."""
        v, b = self.whitened(q, v), self.whitened(q, self.drift(q))
        return v @ v, b @ b, v @ b

    def _diffusion(self, q):
        given = self.process.diffusion
        a = jnp.asarray(given(self.structure.unflatten(q)) if callable(given) else given).astype(q.dtype)
        if a.shape not in {(), (q.size,), (q.size, q.size)}:
            raise ValueError(
                f"The diffusion has shape {a.shape} at a point of {q.size} coordinates: a number, ({q.size},) or "
                f"({q.size}, {q.size}) was expected."
            )
        return a


def _checked_constant(diffusion) -> Inexact[Array, "..."]:
    array = jnp.asarray(diffusion, jnp.result_type(float, diffusion))
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]):
        raise ValueError(f"diffusion must be a number, a vector or a square matrix, but has shape {array.shape}.")
    if not isinstance(array, Tracer):
        matrix = np.asarray(array) if array.ndim == 2 else np.diag(np.atleast_1d(array))
        symmetric = np.allclose(matrix, matrix.T, rtol=1e-6, atol=0.0)
        if not (symmetric and np.all(np.linalg.eigvalsh(matrix) > 0)):
            raise ValueError(
                "diffusion must be positive, a matrix symmetric and positive definite: it is sigma sigma^T."
            )
    return array
