"""Families of shares."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, CoordinatewiseChart
from fimlag.information._expectation import MonteCarlo
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import shares_form
from fimlag.information.families._family import AbstractFamily, at_least, parameters
from fimlag.information.families._shares import shares_fisher, shares_quadratic, shares_root
from fimlag.information.families._vectors import outcome_vector, sampled


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
        x = outcome_vector(x, self.k, shapes.dtype)
        tolerance = float(jnp.finfo(x.dtype).eps) ** 0.5
        inside = jnp.all(x > 0.0) & (jnp.abs(jnp.sum(x) - 1.0) < tolerance)
        logs = jnp.log(jnp.where(inside, x, 1.0))
        density = jnp.sum((shapes - 1.0) * logs) + gammaln(jnp.sum(shapes)) - jnp.sum(gammaln(shapes))
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> MonteCarlo:
        return sampled(self, _draw_dirichlet)

    @property
    def chart(self) -> AbstractChart:
        return CoordinatewiseChart((0.0,) * self.k)

    def fisher(self, theta: Float[Array, " d"]) -> Float[Array, "d d"]:
        return shares_fisher(self._legal(theta))

    def fisher_root(self, theta: Float[Array, " d"]) -> Float[Array, "d r"]:
        return shares_root(self._legal(theta))

    def quadratic(self, theta: Float[Array, " d"], v: Float[Array, " d"]) -> Float[Array, ""]:
        return shares_quadratic(self._legal(theta), parameters(v, self.k))

    def natural(self, theta: Float[Array, " d"]) -> Float[Array, " d"]:
        r"""The natural parameters $\alpha$, of the statistics $\log x_i$."""
        return self._legal(theta)

    def of_natural(self, natural: Float[Array, " d"]) -> Float[Array, " d"]:
        """The parameters of natural ones, NaN outside the domain."""
        return self._legal(natural)

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return shares_form(self.k)

    def _legal(self, theta):
        shapes = parameters(theta, self.k)
        return jnp.where(jnp.all(shapes > 0.0), shapes, jnp.nan)


def _draw_dirichlet(family, key, theta, n):
    return jax.random.dirichlet(key, parameters(theta, family.k), (n,))
