"""Gaussian vectors whose mean and covariance depend on the parameters."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, as_field
from fimlag.information._closed import AbstractClosedModel
from fimlag.information._cumulants import curve_of, tangents
from fimlag.information._definite import definite_factor
from fimlag.information._gaussian_cumulants import gaussian_bending, gaussian_skewness
from fimlag.information._moments import symmetric
from fimlag.information._root import single_item
from fimlag.information._sums import check_dense


class GaussianModel(AbstractClosedModel):
    r"""A vector with a normal distribution whose mean, covariance or both depend on theta.

    $$y \sim N\big(\mu(\theta), \Sigma(\theta)\big), \qquad
    I_{ij} = \partial_i \mu^\top \Sigma^{-1} \partial_j \mu
    + \tfrac12 \operatorname{tr}\big(\Sigma^{-1} \partial_i \Sigma\, \Sigma^{-1} \partial_j \Sigma\big)$$

    Curve fits with correlated errors, Gaussian processes, autoregressions, variance components. One Cholesky factor
    serves all parameters; the trace is a Gram matrix of whitened derivatives.

    **Arguments:** `mean`: the vector of length n, or a function of theta that returns it; None for zero. `covariance`:
    one variance for all (shape ()), independent variances (n,), or a matrix (n, n); or a function of theta that
    returns one of them.

    One observation is the whole vector y; data are vectors stacked along axis 0, so that a single one is `y[None]`.
    The information is NaN where the covariance is not positive definite to working precision: a smooth kernel on close
    points needs a noise on its diagonal. Short of that, round-off costs as many digits as the condition number has.

    **Raises:** `ValueError` for shapes that do not fit, or where neither argument depends on theta.

    **Reference:** Porat & Friedlander (1986), eq. 2.7; Kay (1993), eq. 3.31.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> lags = jnp.abs(jnp.arange(3.0)[:, None] - jnp.arange(3.0)[None, :])
    >>> def covariance(theta): return theta["variance"] * jnp.exp(-lags / theta["length"])
    >>> process = fl.GaussianModel(None, covariance)
    >>> information = jax.jit(lambda theta: fl.fisher_information(process, theta))
    >>> print(jnp.round(information({"length": 1.0, "variance": 2.0})[1, 1], 6))
    0.375

    ```
    """

    mean: Callable | Array | None
    covariance: Callable | Array

    def __init__(self, mean, covariance):
        if not callable(mean) and not callable(covariance):
            raise ValueError("Neither mean nor covariance depends on theta: one of them must be a function of it.")
        self.mean = mean if mean is None else as_field(mean) if callable(mean) else jnp.asarray(mean)
        self.covariance = as_field(covariance) if callable(covariance) else jnp.asarray(covariance)

    def log_likelihood(self, theta: Coordinates, x) -> Float[Array, ""]:
        """The log-density of ONE vector y (nats)."""
        factor, mean, x = _Factor(self._covariance_at(theta)), self._mean_at(theta), jnp.asarray(x)
        sizes = {
            x.shape,
            *([] if mean is None else [mean.shape]),
            *([factor.root.shape[:1]] if factor.root.ndim else []),
        }
        if x.ndim != 1 or len(sizes) > 1:
            raise ValueError(
                f"One observation must be a vector of the length of mean and covariance, but has shape {x.shape}; the "
                f"lengths are {sorted(sizes)}. Data are stacked along axis 0: a single observation is y[None]."
            )
        residual = x if mean is None else x - mean
        n = residual.shape[0]
        return -0.5 * (jnp.sum(factor.whiten(residual) ** 2) + factor.log_determinant(n) + n * math.log(2.0 * math.pi))

    def route(self, form: str) -> str:
        """How the information is computed, in words."""
        moving = [name for name in ("mean", "covariance") if callable(getattr(self, name))]
        return f"pull-back through the {' and the '.join(moving)} of a Gaussian"

    def fisher(self, theta: Coordinates) -> Float[Array, "d d"]:
        """The Gram matrix of the whitened derivatives."""
        check_dense(flatten(theta, "theta")[0])
        (root,) = self.information_roots(theta)
        jacobian = root.jacobian(root.block(0))[0]
        return symmetric(jacobian.T @ jacobian)

    def information_roots(self, theta):
        """One root: mean and covariance in units of the covariance at theta."""
        vector, structure = flatten(theta, "theta")
        point = structure.unflatten(vector)
        factor = _Factor(self._covariance_at(point), definite_factor)
        return (single_item(_WhitenedMoments(self, structure), factor, vector, structure),)

    def skewness(self, theta, u, w):
        """The third moments of the scores in closed form, exactly zero where only the mean varies."""
        vector, structure = flatten(theta, "theta")
        return gaussian_skewness(self._whitened(vector, structure), vector, *tangents(structure, vector, u, w))

    def bending(self, theta, v, a):
        """The covariance along the curve in closed form."""
        vector, structure = flatten(theta, "theta")
        curve = curve_of(vector, *tangents(structure, vector, v, a))
        return gaussian_bending(self._whitened(vector, structure), curve, vector)

    def _whitened(self, vector, structure) -> Callable:
        """Mean and covariance of flat parameters in units of the covariance at the point."""
        factor = _Factor(self._covariance_at(structure.unflatten(vector)), definite_factor)

        def whitened(point):
            theta = structure.unflatten(point)
            covariance = factor.whiten_both_sides(self._covariance_at(theta))
            mean = self._mean_at(theta)
            if mean is None:
                length = _known_length(factor.size(0))
                return jnp.zeros(length, covariance.dtype), covariance
            return factor.whiten(mean), covariance

        return whitened

    def _mean_at(self, theta):
        if self.mean is None:
            return None
        mean = jnp.asarray(self.mean(theta) if callable(self.mean) else self.mean)
        if mean.ndim != 1:
            raise ValueError(f"mean must be a vector, but has shape {mean.shape}.")
        return mean

    def _covariance_at(self, theta):
        covariance = jnp.asarray(self.covariance(theta) if callable(self.covariance) else self.covariance)
        if covariance.ndim > 2 or (covariance.ndim == 2 and covariance.shape[0] != covariance.shape[1]):
            raise ValueError(
                "covariance must be a variance, a vector of variances or a square matrix, but has shape "
                f"{covariance.shape}."
            )
        return covariance


class _Factor(eqx.Module):
    """A square root of a covariance given as one variance, as variances, or as a matrix (then lower triangular)."""

    root: Array

    def __init__(self, covariance, of_matrix: Callable = jnp.linalg.cholesky):
        if covariance.ndim == 2:
            self.root = of_matrix(covariance)
        else:
            self.root = jnp.sqrt(jnp.where(covariance > 0.0, covariance, jnp.nan))

    def size(self, n: int) -> int:
        """The length of a vector, n where the factor leaves it open."""
        return self.root.shape[0] if self.root.ndim else n

    def whiten(self, vector):
        if self.root.ndim == 2:
            return jax.scipy.linalg.solve_triangular(self.root, vector, lower=True)
        return vector / self.root

    def log_determinant(self, n: int):
        if self.root.ndim == 2:
            return 2.0 * jnp.sum(jnp.log(jnp.diagonal(self.root)))
        return 2.0 * jnp.sum(jnp.log(jnp.broadcast_to(self.root, (n,))))

    def whiten_both_sides(self, covariance):
        """$L^{-1} S L^{-\\top}$, in the shape that the factor has."""
        if self.root.ndim == 2:
            return self.whiten(self.whiten(covariance).T)
        return covariance / self.root**2

    def whiten_covariance(self, covariance, n: int):
        """The entries of $L^{-1} S L^{-\\top} / \\sqrt2$ whose squares sum to half its squared norm, as a vector."""
        whole = self.whiten_both_sides(covariance) / math.sqrt(2.0)
        if self.root.ndim == 2:
            # The strict lower triangle stands for the upper one as well.
            triangle = jnp.tril(whole, -1) * math.sqrt(2.0) + jnp.diag(jnp.diagonal(whole))
            return jnp.ravel(triangle)
        return whole if self.root.ndim else jnp.reshape(whole * math.sqrt(n), (1,))


class _WhitenedMoments(eqx.Module):
    """Mean and covariance in units of a fixed factor: their Jacobian is a square root of the information."""

    model: GaussianModel
    structure: Structure

    def __call__(self, vector, factor: _Factor):
        theta, parts = self.structure.unflatten(vector), []
        mean = self.model._mean_at(theta)
        if callable(self.model.mean):
            parts.append(factor.whiten(mean))
        if callable(self.model.covariance):
            count = _known_length(factor.size(0 if mean is None else mean.shape[0]))
            parts.append(factor.whiten_covariance(self.model._covariance_at(theta), count))
        return jnp.concatenate(parts)


def _known_length(length: int) -> int:
    if length == 0:
        raise ValueError("One variance for all and no mean leave the length open: return variances of shape (n,).")
    return length
