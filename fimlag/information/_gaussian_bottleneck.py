"""The information bottleneck of Gaussian vectors, in closed form."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from fimlag._precision import precision_of
from fimlag._types import RealScalarLike
from fimlag.information._canonical_correlations import CanonicalCorrelations


class GaussianBottleneck(eqx.Module):
    r"""The optimal compressions T of X about Y, one for each $\beta$.

    $$\min\; I(X; T) - \beta\, I(T; Y), \qquad T = A X + \xi, \quad \xi \sim \mathcal{N}(0, 1), \quad
    \alpha_i^2 = \frac{\beta \rho_i^2 - 1}{1 - \rho_i^2} \;\text{ where }\; \beta \rho_i^2 > 1$$

    Each canonical direction comes in at its own critical $\beta$, continuously. All results are bare numbers, NaN for
    correlations outside [0, 1].

    **Attributes:** `correlations`: $\rho$, shape (k,). `directions`: $a_i$ of X, columns of shape (n, k), or None where
    the correlations alone were given.
    """

    correlations: Float[Array, " k"]
    directions: Float[Array, "n k"] | None

    @property
    def critical_betas(self) -> Float[Array, " k"]:
        r"""$\beta_i = 1 / \rho_i^2 = 1 / (1 - \lambda_i)$, below which a direction is left out, shape (k,)."""
        return 1.0 / self._shares()

    def gains(self, beta: RealScalarLike) -> Float[Array, " k"]:
        r"""The gain $\alpha_i$ of each direction of unit variance, zero for those left out, shape (k,)."""
        beta, shares = self._beta(beta), self._shares()
        active = self._active(beta)
        square = (jnp.where(active, beta * shares, 1.0) - 1.0) / (1.0 - jnp.where(active, shares, 0.0))
        return self._known(jnp.where(active, jnp.sqrt(jnp.where(active, square, 1.0)), 0.0))

    def projection(self, beta: RealScalarLike) -> Float[Array, "k n"]:
        r"""The matrix $A$, rows $\alpha_i a_i^\top$, shape (k, n)."""
        if self.directions is None:
            raise ValueError("A projection needs directions: give canonical_correlations(...) instead of numbers.")
        return self.gains(beta)[:, None] * self.directions.T

    def compression(self, beta: RealScalarLike) -> Float[Array, ""]:
        r"""$I(X; T) = \frac12 \sum \log\frac{(\beta - 1) \rho_i^2}{1 - \rho_i^2}$ over the active directions (nats)."""
        beta, shares = self._beta(beta), self._shares()
        active = self._active(beta)
        ratio = jnp.where(active, (beta - 1.0) * shares, 1.0) / (1.0 - jnp.where(active, shares, 0.0))
        return 0.5 * jnp.sum(self._known(jnp.log(ratio)))

    def relevance(self, beta: RealScalarLike) -> Float[Array, ""]:
        r"""$I(T; Y) = \frac12 \sum \log\frac{\beta - 1}{\beta (1 - \rho_i^2)}$ over the active directions (nats)."""
        beta, shares = self._beta(beta), self._shares()
        active = self._active(beta)
        kept = jnp.where(active, 1.0 - 1.0 / jnp.where(active, beta, 1.0), 1.0)
        return 0.5 * jnp.sum(self._known(jnp.log(kept) - jnp.log1p(-jnp.where(active, shares, 0.0))))

    def functional(self, beta: RealScalarLike) -> Float[Array, ""]:
        r"""The minimum $I(X; T) - \beta\, I(T; Y)$; its derivative in $\beta$ is minus the relevance."""
        return self.compression(beta) - self._beta(beta) * self.relevance(beta)

    def beta_at(self, compression: RealScalarLike) -> Float[Array, ""]:
        r"""The $\beta$ whose compression is given (nats, at least 0); $1 / \beta$ is the slope of the curve."""
        level = jnp.asarray(compression, self.correlations.dtype)
        shares = -jnp.sort(-self._shares())
        some = shares > 0
        odds = jnp.cumsum(jnp.log1p(-shares) - jnp.log(jnp.where(some, shares, 1.0)))
        count = jnp.arange(1, shares.shape[0] + 1).astype(level.dtype)
        # With the first k directions active; one direction too many or too few needs a larger beta.
        candidates = 1.0 + jnp.exp((2.0 * level + odds) / count)
        beta = jnp.min(jnp.where(some, candidates, jnp.inf))
        return jnp.where(level >= 0, beta, jnp.nan)

    def relevance_at(self, compression: RealScalarLike) -> Float[Array, ""]:
        r"""The information curve: the largest $I(T; Y)$ at a given $I(X; T)$ (nats), concave, of slope $1 / \beta$."""
        return self.relevance(self.beta_at(compression))

    def _beta(self, beta):
        beta = jnp.asarray(beta, self.correlations.dtype)
        if beta.shape != ():
            raise ValueError(f"beta must be a number, but has shape {beta.shape}: use jax.vmap for several.")
        return beta

    def _shares(self):
        return self.correlations**2

    def _active(self, beta) -> Bool[Array, " k"]:
        return beta * self._shares() > 1.0

    def _known(self, values):
        inside = (self.correlations >= 0) & (self.correlations <= 1)
        return jnp.where(inside, values, jnp.nan)


def gaussian_information_bottleneck(correlations: ArrayLike | CanonicalCorrelations) -> GaussianBottleneck:
    r"""The information bottleneck of jointly Gaussian vectors: how much X must tell T for T to tell about Y.

    $$\min_{p(t | x)} I(X; T) - \beta\, I(T; Y)$$

    The optimum among all T is Gaussian, and follows from the canonical correlations alone. Nothing is kept below
    $\beta = 1 / \rho_1^2$.

    **Arguments:** `correlations`: the canonical correlations of X and Y, from 0 to 1, shape (k,), or what
    `canonical_correlations` returns, which also gives the projection.

    **Returns:** a `GaussianBottleneck`: compression, relevance, gains and projection as functions of $\beta$, critical
    $\beta$, and the information curve.

    **Raises:** `ValueError` for correlations that are no vector.

    **Reference:** Chechik, Globerson, Tishby & Weiss (2005), theorem 3.1 and section 5, with $\lambda_i = 1 -
    \rho_i^2$; Globerson & Tishby (2004) for optimality.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> bottleneck = fl.gaussian_information_bottleneck(jnp.array([0.8, 0.5]))
    >>> print(bottleneck.critical_betas, bottleneck.relevance(3.0).round(6), (0.5 * jnp.log(2.0 / 1.08)).round(6))
    [1.5625 4.    ] 0.308093 0.308093

    ```
    """
    if isinstance(correlations, CanonicalCorrelations):
        return GaussianBottleneck(correlations.correlations, correlations.of_x)
    values = jnp.asarray(correlations, precision_of(correlations))
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"correlations must be a vector of shape (k,), but have shape {values.shape}.")
    return GaussianBottleneck(values, None)
