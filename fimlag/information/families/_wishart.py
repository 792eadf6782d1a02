"""Families of positive definite matrices."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information._expectation import MonteCarlo
from fimlag.information.families._family import LINE, AbstractFamily, as_real, at_least, parameters, root
from fimlag.information.families._log_cholesky import factor_of, log_cholesky, relative_factor, triangle_size
from fimlag.information.families._polygamma import trigamma
from fimlag.information.families._spectral import log_square
from fimlag.information.families._structured_normals import CentredNormal
from fimlag.information.families._vectors import sampled


class AbstractWishart(AbstractFamily):
    r"""A distribution of the scatter matrix of $\nu$ normal d-vectors of mean zero and covariance V.

    $$\ell = \tfrac{\nu - d - 1}{2} \log\det X - \tfrac12 \operatorname{tr} V^{-1} X - \tfrac\nu2 \log\det 2 V
    - \log\Gamma_d\big(\tfrac\nu2\big), \qquad \nu > d - 1$$

    The density is with respect to the entries on and below the diagonal.
    """

    d: eqx.AbstractVar[int]
    n: eqx.AbstractVar[int]
    key: eqx.AbstractVar[Array | None]

    @abc.abstractmethod
    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, ""], Float[Array, "d d"]]:
        """The degrees of freedom, NaN where they are too few, and the factor L of the scale $V = L L^\\top$."""

    def log_likelihood(self, theta: Float[Array, " p"], x) -> Float[Array, ""]:
        dof, factor = self.moments(theta)
        x = _matrix(x, self.d, factor.dtype)
        outcome = jnp.linalg.cholesky(x)
        inside = jnp.all(jnp.isfinite(outcome)) & jnp.all(jnp.abs(x - x.T) <= _tolerance(x) * jnp.max(jnp.abs(x)))
        outcome = jnp.where(inside, outcome, jnp.eye(self.d, dtype=x.dtype))
        white = solve_triangular(factor, outcome, lower=True)
        logs = jnp.log(jnp.diagonal(outcome))
        scale = jnp.sum(jnp.log(jnp.diagonal(factor))) + 0.5 * self.d * math.log(2.0)
        density = (dof - (self.d + 1.0)) * jnp.sum(logs) - 0.5 * jnp.sum(white**2) - dof * scale
        density = density - jnp.sum(gammaln(_halves(dof, self.d))) - 0.25 * self.d * (self.d - 1) * math.log(math.pi)
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> MonteCarlo:
        return sampled(self, _draw)


class Wishart(AbstractWishart):
    r"""The Wishart distribution of KNOWN degrees of freedom, $\theta$ the log-Cholesky coordinates of the scale V.

    $$\ell = \tfrac{\nu - d - 1}{2} \log\det X - \tfrac12 \operatorname{tr} V^{-1} X - \tfrac\nu2 \log\det 2 V
    - \log\Gamma_d\big(\tfrac\nu2\big), \qquad
    I(\dot V, \dot V) = \tfrac\nu2 \operatorname{tr}\big(V^{-1} \dot V\big)^2$$

    Domain: every vector of $d (d + 1) / 2$ numbers: `of_moments(mean)` makes one. The information is $\nu$ times that
    of `CentredNormal`.

    **Arguments:** `d`: the size of an outcome, a (d, d) matrix. `dof`: $\nu$, above d - 1. `n`, `key`: the sample of
    the generic route, `.expectation`.

    **Raises:** `ValueError` for a size below 1, too few degrees of freedom, or theta or an outcome of another size.

    **Reference:** Muirhead (1982), theorem 3.2.1; Skovgaard (1984) for the metric and its distance.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.Wishart(2, 5.0)
    >>> print(jnp.diagonal(jax.jit(family.fisher)(jnp.zeros(3))))
    [10.  5. 10.]

    ```
    """

    d: int = eqx.field(static=True)
    dof: float = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, d: int, dof: float, n: int = 10_000, key: Array | None = None):
        self.d, self.dof, self.n, self.key = at_least(1, d, "d"), float(dof), n, key
        if not d - 1.0 < self.dof < math.inf:
            raise ValueError(f"dof must be above d - 1 = {d - 1}, but is {dof}.")

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, ""], Float[Array, "d d"]]:
        """The degrees of freedom, and the factor L of the scale $V = L L^\\top$."""
        factor = factor_of(parameters(theta, triangle_size(self.d)))
        return jnp.full((), self.dof, factor.dtype), factor

    def of_moments(self, mean: Float[Array, "d d"]) -> Float[Array, " p"]:
        """The parameters of a mean $\\nu V$, NaN where it is not positive definite."""
        return parameters(log_cholesky(as_real(mean) / self.dof), triangle_size(self.d))

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        return self.dof * CentredNormal(self.d).fisher(theta)

    def quadratic(self, theta: Float[Array, " p"], v: Float[Array, " p"]) -> Float[Array, ""]:
        return self.dof * CentredNormal(self.d).quadratic(theta, v)

    def distance(self, theta0: Float[Array, " p"], theta1: Float[Array, " p"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = \sqrt{\tfrac\nu2 \sum_i \log^2 \lambda_i}, \qquad \det(V_1 - \lambda_i V_0) = 0$$

        NaN where round-off leaves some eigenvalue less than half of its digits.
        """
        size = triangle_size(self.d)
        return root(self.dof * log_square(*relative_factor(parameters(theta0, size), parameters(theta1, size))))


class WishartDof(AbstractWishart):
    r"""The Wishart distribution of unknown degrees of freedom, $\theta = (\nu, u)$ with the log-Cholesky coordinates
    u of the scale V.

    $$\ell = \tfrac{\nu - d - 1}{2} \log\det X - \tfrac12 \operatorname{tr} V^{-1} X - \tfrac\nu2 \log\det 2 V
    - \log\Gamma_d\big(\tfrac\nu2\big)$$

    $$I(\dot\theta, \dot\theta) = \tfrac14 \sum_{i=0}^{d-1} \psi'\big(\tfrac{\nu - i}{2}\big)\, \dot\nu^2
    + \dot\nu \operatorname{tr} V^{-1} \dot V + \tfrac\nu2 \operatorname{tr}\big(V^{-1} \dot V\big)^2$$

    Domain: $\nu > d - 1$.

    **Arguments:** `d`: the size of an outcome, a (d, d) matrix. `n`, `key`: the sample of the generic route,
    `.expectation`.

    **Raises:** `ValueError` for a size below 1, or theta or an outcome of another size.

    **Reference:** Muirhead (1982), theorem 3.2.1.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.WishartDof(2)
    >>> print(jax.jit(family.fisher)(jnp.array([5.0, 0.0, 0.0, 0.0]))[0, 1:])
    [1. 0. 1.]

    ```
    """

    d: int = eqx.field(static=True)
    n: int = eqx.field(static=True)
    key: Array | None

    def __init__(self, d: int, n: int = 10_000, key: Array | None = None):
        self.d, self.n, self.key = at_least(1, d, "d"), n, key

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((self.d - 1.0,) + (-math.inf,) * triangle_size(self.d))

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, ""], Float[Array, "d d"]]:
        """The degrees of freedom, NaN where they are too few, and the factor L of the scale $V = L L^\\top$."""
        theta = parameters(theta, 1 + triangle_size(self.d))
        return jnp.where(theta[0] > self.d - 1.0, theta[0], jnp.nan), factor_of(theta[1:])

    def fisher(self, theta: Float[Array, " p"]) -> Float[Array, "p p"]:
        dof, factor = self.moments(theta)
        slopes = jnp.asarray(_diagonal_places(self.d), factor.dtype)
        spread = dof * CentredNormal(self.d).fisher(as_real(theta)[1:])
        corner = 0.25 * jnp.sum(trigamma(_halves(dof, self.d)))
        top = jnp.concatenate([corner[None], slopes])
        return jnp.concatenate([top[None, :], jnp.concatenate([slopes[:, None], spread], axis=1)])

    def quadratic(self, theta: Float[Array, " p"], v: Float[Array, " p"]) -> Float[Array, ""]:
        dof, factor = self.moments(theta)
        v = parameters(v, 1 + triangle_size(self.d)).astype(factor.dtype)
        growth = v[1:] @ jnp.asarray(_diagonal_places(self.d), factor.dtype)
        spread = dof * CentredNormal(self.d).quadratic(as_real(theta)[1:], v[1:])
        return 0.25 * jnp.sum(trigamma(_halves(dof, self.d))) * v[0] ** 2 + 2.0 * v[0] * growth + spread


def _diagonal_places(d):
    """1 for the coordinates that are logarithms of the diagonal: the rate of half the log-determinant."""
    rows, columns = np.tril_indices(d)
    return (rows == columns).astype(float)


def _halves(dof, d):
    """The arguments of the gamma functions whose product is the multivariate one."""
    return 0.5 * (dof - jnp.asarray(np.arange(d), dof.dtype))


def _tolerance(x):
    return float(jnp.finfo(x.dtype).eps) ** 0.5


def _matrix(x, d, dtype):
    x = as_real(x, dtype)
    if x.shape != (d, d):
        raise ValueError(f"An outcome must be a matrix of size {d}, but has shape {x.shape}.")
    return x


def _draw(family, key, theta, n):
    """Bartlett's decomposition: a triangle of normal numbers, with roots of chi-squared ones on its diagonal."""
    dof, factor = family.moments(theta)
    below, diagonal = jax.random.split(key)
    noise = jnp.tril(jax.random.normal(below, (n, family.d, family.d), factor.dtype), -1)
    squares = 2.0 * jax.random.gamma(diagonal, _halves(dof, family.d), (n, family.d), factor.dtype)
    half = factor @ (noise + jnp.sqrt(squares)[:, :, None] * jnp.eye(family.d, dtype=factor.dtype)[None])
    return half @ jnp.swapaxes(half, 1, 2)
