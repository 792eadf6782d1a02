"""Families on the unit interval."""

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import shares_form
from fimlag.information.families._family import QUADRANT, AbstractFamily, as_real, pair, positives
from fimlag.information.families._shares import shares_fisher, shares_quadratic, shares_root


class Beta(AbstractFamily):
    r"""The beta distribution on $(0, 1)$, $\theta = (a, b)$.

    $$\ell = (a - 1) \log x + (b - 1) \log(1 - x) - \log B(a, b), \qquad
    I = \begin{pmatrix} \psi'(a) & 0 \\ 0 & \psi'(b) \end{pmatrix} - \psi'(a + b)$$

    Domain: $a, b > 0$. An outcome is a number x, or the pair $(x, 1 - x)$: where $b < 1$ the density is infinite at
    1, and the pair alone has digits there. Expectations take the pair.

    **Reference:** Gupta & Nadarajah (2004), chapter 2.
    """

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        a, b = positives(theta)
        inside, log_x, log_rest = _logarithms(x, a.dtype)
        normaliser = gammaln(a + b) - gammaln(a) - gammaln(b)
        density = normaliser + (a - 1.0) * log_x + (b - 1.0) * log_rest
        return jnp.where(inside, density, -jnp.inf + 0.0 * density)

    @property
    def expectation(self) -> Quadrature:
        return Quadrature(0.0, 1.0, location=_location_of_beta, scale=_scale_of_beta, distances=True)

    @property
    def chart(self) -> AbstractChart:
        return QUADRANT

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        return shares_fisher(_legal(theta))

    def fisher_root(self, theta: Float[Array, "2"]) -> Float[Array, "2 4"]:
        return shares_root(_legal(theta))

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        return shares_quadratic(_legal(theta), pair(v))

    def natural(self, theta: Float[Array, "2"]) -> Float[Array, "2"]:
        r"""The natural parameters a and b, of the statistics $\log x$ and $\log(1 - x)$."""
        return _legal(theta)

    def of_natural(self, natural: Float[Array, "2"]) -> Float[Array, "2"]:
        """The parameters of natural ones, NaN outside the domain."""
        return _legal(natural)

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return shares_form(2)


def _legal(theta):
    return jnp.stack(positives(theta))


def _logarithms(x, dtype):
    """Whether the outcome is inside, and the logarithms of x and 1 - x."""
    if isinstance(x, tuple):
        x, rest = (as_real(part, dtype) for part in x)
        inside = (x > 0.0) & (rest > 0.0)
        return inside, jnp.log(jnp.where(inside, x, 0.5)), jnp.log(jnp.where(inside, rest, 0.5))
    x = as_real(x, dtype)
    inside = (x > 0.0) & (x < 1.0)
    safe = jnp.where(inside, x, 0.5)
    return inside, jnp.log(safe), jnp.log1p(-safe)


def _location_of_beta(theta):
    return (theta[0] + 0.5) / (theta[0] + theta[1] + 1.0)


def _scale_of_beta(theta):
    # The width of log(x / (1 - x)), which is 1/a where the density is singular at 0.
    location = _location_of_beta(theta)
    return location * (1.0 - location) * jnp.sqrt(jnp.sum(1.0 / theta + 0.2 / theta**2))
