"""Families of vectors."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information._expectation import MonteCarlo
from fimlag.information.families._family import LINE, AbstractFamily, as_real, at_least, parameters, root
from fimlag.information.families._shares import shares_fisher, shares_quadratic, shares_root


class Dirichlet(AbstractFamily):
    r"""The Dirichlet distribution of k shares of sum 1, $\theta = \alpha$, k numbers.

    $$\ell = \sum_i (\alpha_i - 1) \log x_i + \log\Gamma(\alpha_0) - \sum_i \log\Gamma(\alpha_i), \qquad
    I = \operatorname{diag} \psi'(\alpha) - \psi'(\alpha_0), \qquad \alpha_0 = \sum_i \alpha_i$$

    Domain: every $\alpha_i > 0$. The density is with respect to the first k - 1 shares.

    **Arguments:** `k`: the number of shares, at least 2. `n`, `key`: the sample of the generic route, `.expectation`.

    **Raises:** `ValueError` for fewer shares, or theta or an outcome of another length.

    **Reference:** Ng, Tian & Tang (2011), section 2.2.
    """

    k: int = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, k: int, n: int = 10_000, key: Array | None = None):
        self.k, self.n, self.key = at_least(2, k, "k"), n, key

    def log_likelihood(self, theta: Float[Array, " d"], x) -> Float[Array, ""]:
        shapes = self._legal(theta)
        x = _vector(x, self.k, shapes.dtype)
        tolerance = float(jnp.finfo(x.dtype).eps) ** 0.5
        inside = jnp.all(x > 0.0) & (jnp.abs(jnp.sum(x) - 1.0) < tolerance)
        logs = jnp.log(jnp.where(inside, x, 1.0))
        density = jnp.sum((shapes - 1.0) * logs) + gammaln(jnp.sum(shapes)) - jnp.sum(gammaln(shapes))
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> MonteCarlo:
        return _sampled(self, _draw_dirichlet)

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((0.0,) * self.k)

    def fisher(self, theta: Float[Array, " d"]) -> Float[Array, "d d"]:
        return shares_fisher(self._legal(theta))

    def fisher_root(self, theta: Float[Array, " d"]) -> Float[Array, "d r"]:
        return shares_root(self._legal(theta))

    def quadratic(self, theta: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        return shares_quadratic(self._legal(theta), parameters(v, self.k))

    def _legal(self, theta):
        shapes = parameters(theta, self.k)
        return jnp.where(jnp.all(shapes > 0.0), shapes, jnp.nan)


class MultivariateNormal(AbstractFamily):
    r"""The normal distribution of d-vectors, $\theta = (\mu, L)$ with covariance $\Sigma = L L^\top$.

    $$\ell = -\tfrac12 |L^{-1} (x - \mu)|^2 - \log\det L - \tfrac d2 \log 2\pi, \qquad
    I_{\mu\mu} = \Sigma^{-1}, \quad I_{ij} = \tfrac12 \operatorname{tr}(W_i + W_i^\top)(W_j + W_j^\top), \quad
    W_i = L^{-1} \partial_i L$$

    L is lower triangular, given row by row with the LOGARITHMS of its diagonal, so that every vector of
    $d + d (d + 1) / 2$ numbers is in the domain: `of_moments(mean, covariance)` makes one.

    **Arguments:** `d`: the length of an outcome, at least 1. `n`, `key`: the sample of the generic route,
    `.expectation`.

    **Raises:** `ValueError` for a length below 1, or theta or an outcome of another length.

    **Reference:** Pinheiro & Bates (1996), section 2.2 (log-Cholesky coordinates); Skovgaard (1984), theorem 2.1.
    """

    d: int = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, d: int, n: int = 10_000, key: Array | None = None):
        self.d, self.n, self.key = at_least(1, d, "d"), n, key

    def log_likelihood(self, theta: Float[Array, " p"], x) -> Float[Array, ""]:
        mean, factor = self.moments(theta)
        white = solve_triangular(factor, _vector(x, self.d, mean.dtype) - mean, lower=True)
        logs = jnp.sum(jnp.log(jnp.diagonal(factor)))
        return -0.5 * jnp.sum(white**2) - logs - 0.5 * self.d * math.log(2.0 * math.pi)

    @property
    def expectation(self) -> MonteCarlo:
        return _sampled(self, _draw_normal)

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        factor = self.fisher_root(theta)
        return factor @ factor.T

    def fisher_root(self, theta: Float[Array, " p"]) -> Float[Array, "p r"]:
        _, factor = self.moments(theta)
        slopes = jax.jacfwd(lambda theta: self.moments(theta)[1])(as_real(theta))
        whitened = jax.vmap(lambda slope: solve_triangular(factor, slope, lower=True), 2)(slopes[..., self.d :])
        spread = (whitened + jnp.swapaxes(whitened, 1, 2)).reshape(-1, self.d**2) / math.sqrt(2.0)
        inverse = solve_triangular(factor, jnp.eye(self.d, dtype=factor.dtype), lower=True)
        return jax.scipy.linalg.block_diag(inverse.T, spread)

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """The mean and the factor L of the covariance."""
        theta = parameters(theta, self.d + self.d * (self.d + 1) // 2)
        lower = jnp.zeros((self.d, self.d), theta.dtype).at[np.tril_indices(self.d)].set(theta[self.d :])
        diagonal = jnp.diagonal(lower)
        return theta[: self.d], lower + jnp.diag(jnp.exp(diagonal) - diagonal)

    def of_moments(self, mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> Float[Array, " p"]:
        """The parameters of a mean and a covariance, NaN where it is not positive definite."""
        factor = jnp.linalg.cholesky(covariance)
        diagonal = jnp.diagonal(factor)
        logs = factor + jnp.diag(jnp.log(diagonal) - diagonal)
        return jnp.concatenate([mean, logs[np.tril_indices(self.d)]])


class NormalLocation(AbstractFamily):
    r"""The normal distribution of d-vectors with KNOWN covariance, $\theta = \mu$.

    $$\ell = -\tfrac12 (x - \mu)^\top \Sigma^{-1} (x - \mu) - \tfrac12 \log\det 2\pi\Sigma, \qquad I = \Sigma^{-1}$$

    Domain: every vector.

    **Arguments:** `covariance`: $\Sigma$, (d, d). `n`, `key`: the sample of the generic route, `.expectation`.

    **Raises:** `ValueError` for a covariance that is not square, or theta or an outcome of another length. All is NaN
    where the covariance is not positive definite.

    **Reference:** Atkinson & Mitchell (1981), section 4.
    """

    factor: Float[Array, "d d"]
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, covariance, n: int = 10_000, key: Array | None = None):
        covariance = as_real(covariance)
        if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
            raise ValueError(f"covariance must be a square matrix, but has shape {covariance.shape}.")
        self.factor, self.n, self.key = jnp.linalg.cholesky(covariance), n, key

    def log_likelihood(self, theta: Float[Array, " d"], x) -> Float[Array, ""]:
        mean, factor = self.moments(theta)
        white = solve_triangular(factor, _vector(x, mean.size, mean.dtype) - mean, lower=True)
        logs = jnp.sum(jnp.log(jnp.diagonal(factor)))
        return -0.5 * jnp.sum(white**2) - logs - 0.5 * mean.size * math.log(2.0 * math.pi)

    @property
    def expectation(self) -> MonteCarlo:
        return _sampled(self, _draw_normal)

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def fisher(self, theta: Float[Array, " d"]) -> Float[Array, "d d"]:
        mean, factor = self.moments(theta)
        return cho_solve((factor, True), jnp.eye(mean.size, dtype=mean.dtype))

    def distance(self, theta0: Float[Array, " d"], theta1: Float[Array, " d"]) -> Float[Array, ""]:
        """The Fisher-Rao distance, that of Mahalanobis: $|L^{-1} (\\mu_1 - \\mu_0)|$."""
        mean, factor = self.moments(theta0)
        white = solve_triangular(factor, self.moments(theta1)[0] - mean, lower=True)
        return root(jnp.sum(white**2))

    def moments(self, theta: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """The mean and the factor L of the covariance."""
        mean = parameters(theta, self.factor.shape[0])
        return mean, self.factor.astype(mean.dtype)


def _vector(x, length, dtype):
    x = as_real(x, dtype)
    if x.shape != (length,):
        raise ValueError(f"An outcome must be a vector of length {length}, but has shape {x.shape}.")
    return x


def _sampled(family, draw) -> MonteCarlo:
    if family.key is None:
        name = type(family).__name__
        raise ValueError(f"The generic route of {name} draws samples: construct it with key=jax.random.key(...).")
    return MonteCarlo(jax.tree_util.Partial(draw, family), family.n, family.key)


def _draw_dirichlet(family, key, theta, n):
    return jax.random.dirichlet(key, parameters(theta, family.k), (n,))


def _draw_normal(family, key, theta, n):
    mean, factor = family.moments(theta)
    return mean[None, :] + jax.random.normal(key, (n, mean.size), mean.dtype) @ factor.T
