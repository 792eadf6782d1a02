"""What normal distributions of vectors share: a density, a square root of the information, third moments."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag.information._cumulants import curve_of, tangents
from fimlag.information._expectation import MonteCarlo
from fimlag.information._gaussian_cumulants import gaussian_bending, gaussian_skewness
from fimlag.information._root import single_item
from fimlag.information.families._family import AbstractFamily
from fimlag.information.families._vectors import outcome_vector, sampled


class AbstractNormalVector(AbstractFamily):
    r"""A normal distribution of d-vectors whose mean and covariance are functions of theta.

    $$\ell = -\tfrac12 |L^{-1} (x - \mu)|^2 - \log\det L - \tfrac d2 \log 2\pi, \qquad
    v^\top I v = |L^{-1} \dot\mu|^2 + \tfrac12 |W + W^\top|^2, \quad W = L^{-1} \dot L$$

    The squared length of a velocity needs no matrix of the size of the information.

    **Reference:** Skovgaard (1984), theorem 2.1.
    """

    d: eqx.AbstractVar[int]
    n: eqx.AbstractVar[int]
    key: eqx.AbstractVar[Array | None]

    @abc.abstractmethod
    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Array]:
        """The mean, and the spread: standard deviations (d,), or the factor L of the covariance, (d, d)."""

    def log_likelihood(self, theta: Float[Array, " p"], x) -> Float[Array, ""]:
        mean, spread = self.moments(theta)
        white = _whiten(spread, outcome_vector(x, self.d, mean.dtype) - mean)
        scales = spread if spread.ndim == 1 else jnp.diagonal(spread)
        return -0.5 * jnp.sum(white**2) - jnp.sum(jnp.log(scales)) - 0.5 * self.d * math.log(2.0 * math.pi)

    @property
    def expectation(self) -> MonteCarlo:
        return sampled(self, _draw)

    def fisher_root(self, theta: Float[Array, " p"]) -> Float[Array, "p r"]:
        return self.information_roots(theta)[0].stored_rows().T

    def information_roots(self, theta):
        """One root: mean and factor in units of the factor at theta."""
        vector, structure = flatten(theta, "theta")
        return (single_item(_WhiteMoments(self), self.moments(vector), vector, structure),)

    def skewness(self, theta, u, w):
        """The third moments of the scores in closed form."""
        vector, structure = flatten(theta, "theta")
        return gaussian_skewness(self._whitened(vector), vector, *tangents(structure, vector, u, w))

    def bending(self, theta, v, a):
        """The covariance along the curve in closed form."""
        vector, structure = flatten(theta, "theta")
        curve = curve_of(vector, *tangents(structure, vector, v, a))
        return gaussian_bending(self._whitened(vector), curve, vector)

    def _whitened(self, vector):
        """Mean and covariance in units of the covariance at the point."""
        units = self.moments(vector)[1]

        def whitened(point):
            mean, spread = self.moments(point)
            white = _whiten(units, spread)
            return _whiten(units, mean), white**2 if white.ndim == 1 else white @ white.T

        return whitened


class _WhiteMoments(eqx.Module):
    """Mean and spread in units of a fixed spread: their Jacobian is a square root of the information."""

    family: AbstractNormalVector

    def __call__(self, vector, fixed):
        mean, spread = self.family.moments(vector)
        units = fixed[1]
        if units.ndim == 1:
            return jnp.concatenate([mean / units, math.sqrt(2.0) * spread / units])
        # Of W + W^T each number below the diagonal counts twice, and each on it is a double.
        white = _whiten(units, spread)
        weighted = white + (math.sqrt(2.0) - 1.0) * jnp.diag(jnp.diagonal(white))
        return jnp.concatenate([_whiten(units, mean), weighted[np.tril_indices(self.family.d)]])


def _whiten(spread, vectors):
    return vectors / spread if spread.ndim == 1 else solve_triangular(spread, vectors, lower=True)


def _draw(family, key, theta, n):
    mean, spread = family.moments(theta)
    noise = jax.random.normal(key, (n, family.d), mean.dtype)
    return mean[None, :] + (noise * spread[None, :] if spread.ndim == 1 else noise @ spread.T)
