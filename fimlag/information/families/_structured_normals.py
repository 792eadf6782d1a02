"""Normal distributions of vectors whose covariance has a structure, or whose mean is zero."""

import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information.families._family import LINE, as_real, at_least, parameters, root
from fimlag.information.families._log_cholesky import factor_of, log_cholesky, relative_factor, triangle_size
from fimlag.information.families._normal_distances import half_space_square
from fimlag.information.families._normal_vectors import AbstractNormalVector
from fimlag.information.families._spectral import log_square


class IsotropicNormal(AbstractNormalVector):
    r"""The normal distribution of d-vectors with one variance, $\theta = (\mu_1, \dots, \mu_d, \sigma)$.

    $$\ell = -\frac{|x - \mu|^2}{2 \sigma^2} - d \log\sigma - \tfrac d2 \log 2\pi, \qquad
    I = \frac{1}{\sigma^2} \operatorname{diag}(1, \dots, 1, 2 d)$$

    Domain: $\sigma > 0$. The family is a hyperbolic space of curvature $-1 / (2 d)$.

    **Arguments:** `d`: the length of an outcome, at least 1. `n`, `key`: the sample of the generic route,
    `.expectation`.

    **Raises:** `ValueError` for a length below 1, or theta or an outcome of another length.

    **Reference:** Pinele, Strapasson & Costa (2020), on submanifolds.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.IsotropicNormal(2)
    >>> print(jnp.diagonal(family.fisher(jnp.array([0.0, 0.0, 0.5]))))
    [ 4.  4. 16.]

    ```
    """

    d: int = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, d: int, n: int = 10_000, key: Array | None = None):
        self.d, self.n, self.key = at_least(1, d, "d"), n, key

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((-math.inf,) * self.d + (0.0,))

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """The mean and the standard deviations, all equal."""
        theta = parameters(theta, self.d + 1)
        return theta[:-1], jnp.broadcast_to(_positive(theta[-1]), (self.d,))

    def of_moments(self, mean: Float[Array, " d"], variance) -> Float[Array, " p"]:
        """The parameters of a mean and a variance, NaN where it is not positive."""
        mean = parameters(mean, self.d)
        return jnp.append(mean, jnp.sqrt(_positive(as_real(variance, mean.dtype))))

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        _, scales = self.moments(theta)
        return jnp.diag(jnp.append(scales**-2, 2.0 * self.d * scales[0] ** -2))

    def distance(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = 2 \sqrt{2 d} \operatorname{arsinh}
        \sqrt{\frac{|\mu_1 - \mu_0|^2 / (2 d) + (\sigma_1 - \sigma_0)^2}{4 \sigma_0 \sigma_1}}$$
        """
        across, along = _fractions(self.moments(theta0), self.moments(theta1))
        return root(half_space_square(jnp.sum(across), along[0], 2.0 * self.d))


class DiagonalNormal(AbstractNormalVector):
    r"""The normal distribution of d-vectors of independent entries,
    $\theta = (\mu_1, \dots, \mu_d, \sigma_1, \dots, \sigma_d)$.

    $$\ell = -\tfrac12 \sum_i \frac{(x_i - \mu_i)^2}{\sigma_i^2} - \sum_i \log\sigma_i - \tfrac d2 \log 2\pi, \qquad
    I = \operatorname{diag}\Big(\frac{1}{\sigma_i^2}, \frac{2}{\sigma_i^2}\Big)$$

    Domain: every $\sigma_i > 0$. The family is a product of half-planes. Its shortest paths are longer than those of
    `MultivariateNormal` wherever the means differ in more than one entry: it is not totally geodesic there.

    **Arguments:** `d`: the length of an outcome, at least 1. `n`, `key`: the sample of the generic route,
    `.expectation`.

    **Raises:** `ValueError` for a length below 1, or theta or an outcome of another length.

    **Reference:** Pinele, Strapasson & Costa (2020), on submanifolds.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.DiagonalNormal(2)
    >>> print(jnp.diagonal(family.fisher(jnp.array([0.0, 0.0, 0.5, 1.0]))))
    [4. 1. 8. 2.]

    ```
    """

    d: int = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, d: int, n: int = 10_000, key: Array | None = None):
        self.d, self.n, self.key = at_least(1, d, "d"), n, key

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((-math.inf,) * self.d + (0.0,) * self.d)

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """The mean and the standard deviations."""
        theta = parameters(theta, 2 * self.d)
        return theta[: self.d], _positive(theta[self.d :])

    def of_moments(self, mean: Float[Array, " d"], variances: Float[Array, " d"]) -> Float[Array, " p"]:
        """The parameters of a mean and variances, NaN where they are not positive."""
        mean = parameters(mean, self.d)
        return jnp.concatenate([mean, jnp.sqrt(_positive(parameters(variances, self.d)))])

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        _, scales = self.moments(theta)
        return jnp.diag(jnp.concatenate([scales**-2, 2.0 * scales**-2]))

    def distance(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d^2 = \sum_i 8 \operatorname{arsinh}^2 \sqrt{\frac{(\mu_{1i} - \mu_{0i})^2 / 2
        + (\sigma_{1i} - \sigma_{0i})^2}{4 \sigma_{0i} \sigma_{1i}}}$$
        """
        return root(jnp.sum(half_space_square(*_fractions(self.moments(theta0), self.moments(theta1)), 2.0)))


class CentredNormal(AbstractNormalVector):
    r"""The normal distribution of d-vectors of mean ZERO, $\theta$ the log-Cholesky coordinates of the covariance.

    $$\ell = -\tfrac12 |L^{-1} x|^2 - \log\det L - \tfrac d2 \log 2\pi, \qquad
    I(\dot\Sigma, \dot\Sigma) = \tfrac12 \operatorname{tr}\big(\Sigma^{-1} \dot\Sigma\big)^2$$

    Domain: every vector of $d (d + 1) / 2$ numbers: `of_moments(covariance)` makes one.

    **Arguments:** `d`: the length of an outcome, at least 1. `n`, `key`: the sample of the generic route,
    `.expectation`.

    **Raises:** `ValueError` for a length below 1, or theta or an outcome of another length.

    **Reference:** Atkinson & Mitchell (1981); Pinheiro & Bates (1996), section 2.2 (coordinates).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.CentredNormal(2)
    >>> one, other = family.of_moments(jnp.eye(2)), family.of_moments(jnp.diag(jnp.exp(jnp.array([6.0, 8.0]))))
    >>> print(jnp.round(family.distance(one, other) ** 2, 9))
    50.0

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

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """The mean, zero, and the factor L of the covariance."""
        factor = factor_of(parameters(theta, triangle_size(self.d)))
        return jnp.zeros(self.d, factor.dtype), factor

    def of_moments(self, covariance: Float[Array, "d d"]) -> Float[Array, " p"]:
        """The parameters of a covariance, NaN where it is not positive definite."""
        return parameters(log_cholesky(covariance), triangle_size(self.d))

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        factor = self.fisher_root(theta)
        return factor @ factor.T

    def distance(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = \sqrt{\tfrac12 \sum_i \log^2 \lambda_i}, \qquad \det(\Sigma_1 - \lambda_i \Sigma_0) = 0$$

        NaN where round-off leaves some eigenvalue less than half of its digits.
        """
        size = triangle_size(self.d)
        return root(log_square(*relative_factor(parameters(theta0, size), parameters(theta1, size))))


def _positive(scales):
    return jnp.where(jnp.all(scales > 0.0), scales, jnp.nan)


def _fractions(moments0, moments1):
    """Squared differences of means and of scales, over four times the product of the scales."""
    (mean0, scale0), (mean1, scale1) = moments0, moments1
    unit = 2.0 * jnp.sqrt(scale0) * jnp.sqrt(scale1)
    return ((mean1 - mean0) / unit) ** 2, ((scale1 - scale0) / unit) ** 2
