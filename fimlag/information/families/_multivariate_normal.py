"""Normal distributions of vectors: of any mean and covariance, and of a known covariance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information.families._family import LINE, as_real, at_least, parameters, root
from fimlag.information.families._log_cholesky import (
    coordinates_of,
    factor_of,
    log_cholesky,
    relative_factor,
    triangle_size,
    with_diagonal,
)
from fimlag.information.families._normal_distances import embedded_square, half_space_square
from fimlag.information.families._normal_geodesic import carried
from fimlag.information.families._normal_lift import Relative, lifted_logarithm, lifted_square, straight_square
from fimlag.information.families._normal_vectors import AbstractNormalVector


class MultivariateNormal(AbstractNormalVector):
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

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.MultivariateNormal(2)
    >>> one, other = (family.of_moments(m * jnp.array([0.6, 0.8]), jnp.eye(2)) for m in (0.0, 2.0))
    >>> print(jnp.allclose(family.distance(one, other), jnp.sqrt(2.0) * jnp.arccosh(2.0)))
    True

    ```
    """

    d: int = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, d: int, n: int = 10_000, key: Array | None = None):
        self.d, self.n, self.key = at_least(1, d, "d"), n, key

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        factor = self.fisher_root(theta)
        return factor @ factor.T

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """The mean and the factor L of the covariance."""
        theta = parameters(theta, self.d + triangle_size(self.d))
        return theta[: self.d], factor_of(theta[self.d :])

    def of_moments(self, mean: Float[Array, " d"], covariance: Float[Array, "d d"]) -> Float[Array, " p"]:
        """The parameters of a mean and a covariance, NaN where it is not positive definite."""
        mean = parameters(mean, self.d)
        return jnp.concatenate([mean, parameters(log_cholesky(covariance), triangle_size(self.d)).astype(mean.dtype)])

    def natural(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        r"""The natural parameters $\Sigma^{-1} \mu$ and $-\tfrac12 \Sigma^{-1}$, of the statistics x and $x x^\top$."""
        mean, factor = self.moments(theta)
        inverse = solve_triangular(factor, jnp.eye(self.d, dtype=factor.dtype), lower=True)
        return inverse.T @ (inverse @ mean), -0.5 * inverse.T @ inverse

    def of_natural(self, linear: Float[Array, " d"], quadratic: Float[Array, "d d"]) -> Float[Array, " p"]:
        """The parameters of natural ones, NaN where the covariance is not positive definite."""
        # The lower factor of an inverse is the inverse of the upper factor, which reversed rows and columns make lower.
        upper = jnp.linalg.cholesky(-2.0 * quadratic[::-1, ::-1])[::-1, ::-1]
        factor = solve_triangular(upper, jnp.eye(self.d, dtype=upper.dtype), trans="T")
        return jnp.concatenate([factor @ (factor.T @ linear), coordinates_of(factor)])

    def distance(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = \tfrac12 \min_A \sqrt{\operatorname{tr} \log^2 C_A C_A^\top}$$

        over $d (d - 1) / 2$ numbers A, by Newton's method: see `lifted_square`. It starts, and ends, at A = 0 where
        the distance is known in closed form: equal means, equal covariances, and differences of the means that are
        eigenvectors of both covariances. Distributions farther apart than about 16 may be joined by several geodesics:
        the length is then that of one to which all near it are longer. NaN where the method or the digits do not
        suffice: seldom below a distance of 20, but mostly where means lie a thousand standard deviations apart.

        **Reference:** Eriksen (1987); Calvo & Oller (1991); Kobayashi (2023); Skovgaard (1984) for the closed forms.
        """
        end = self._seen(theta0, theta1)
        if self.d == 1:
            unit = 4.0 * end.factor[0, 0]
            return root(half_space_square(end.mean[0] ** 2 / unit, end.excess[0, 0] ** 2 / unit, 2.0))
        return root(lifted_square(end))

    def lower_bound(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""A distance not greater than that of Fisher and Rao: among positive definite matrices of size d + 1.

        $$\sqrt{\tfrac12 \sum_i \log^2 \lambda_i} \leq d, \qquad \det(P_1 - \lambda_i P_0) = 0, \qquad
        P = \begin{pmatrix} \Sigma + \mu \mu^\top & \mu \\ \mu^\top & 1 \end{pmatrix}$$

        **Reference:** Calvo & Oller (1990).
        """
        return root(embedded_square(self._seen(theta0, theta1)))

    def upper_bound(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""A distance not less than that of Fisher and Rao: the distance formula at A = 0, without a minimum.

        $$d \leq \tfrac12 \sqrt{\operatorname{tr} \log^2 C_0 C_0^\top}$$

        **Reference:** Eriksen (1987) and Kobayashi (2023) for the lift; O'Neill (1966) for submersions.
        """
        return root(straight_square(self._seen(theta0, theta1)))

    def exponential(self, theta: Float[Array, " p"], v: Float[Array, " p"], pieces: int = 16) -> Float[Array, " p"]:
        r"""Where the geodesic from theta with velocity v comes after unit time, in closed form.

        **Arguments:** `pieces`: equal parts of the way, each one exponential of a matrix; each should be shorter
        than 4.

        **Returns:** the parameters, NaN where the speed was not kept: raise `pieces`.

        **Reference:** Eriksen (1987); Calvo & Oller (1991).
        """
        velocity = parameters(v, self.d + triangle_size(self.d)).astype(as_real(theta).dtype)
        (mean, factor), (rise, growth) = jax.jvp(self.moments, (as_real(theta),), (velocity,))
        white = solve_triangular(factor, growth, lower=True)
        step, stretch = carried(
            solve_triangular(factor, rise, lower=True), white + white.T, at_least(1, pieces, "pieces")
        )
        return jnp.concatenate([mean + factor @ step, coordinates_of(factor @ stretch)])

    def logarithm(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, " p"]:
        r"""The initial velocity of the geodesic from theta0 to theta1: the inverse of `exponential`.

        **Returns:** the velocity, of length `distance(theta0, theta1)`; NaN where that is.

        **Reference:** Eriksen (1987); Kobayashi (2023).
        """
        _, factor = self.moments(theta0)
        rise, spread = lifted_logarithm(self._seen(theta0, theta1))
        rates = 0.5 * jnp.diagonal(spread)
        growth = factor @ with_diagonal(spread, rates)
        # The rate of the logarithm of an entry of the diagonal, in place of that of the entry.
        return jnp.concatenate([factor @ rise, with_diagonal(growth, rates)[np.tril_indices(self.d)]])

    def _seen(self, theta0, theta1) -> Relative:
        """The second distribution as the first one sees it."""
        (mean0, factor0), (mean1, _) = self.moments(theta0), self.moments(theta1)
        relative = relative_factor(as_real(theta0)[self.d :], as_real(theta1)[self.d :])
        return Relative(solve_triangular(factor0, mean1 - mean0, lower=True), *relative)


class NormalLocation(AbstractNormalVector):
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

    @property
    def d(self) -> int:
        """The length of an outcome."""
        return self.factor.shape[0]

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
