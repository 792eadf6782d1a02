"""Families of location and scale."""

import abc
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag._results import RESULTS, first_failure
from fimlag.information._quadrature import Quadrature
from fimlag.information.families._distances import half_plane_distance
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import NORMAL_FORM
from fimlag.information.families._family import (
    HALF_PLANE,
    AbstractFamily,
    as_real,
    first,
    log_one_plus_square,
    pair,
    positive,
    second,
)

EULER = float(np.euler_gamma)


class AbstractLocationScale(AbstractFamily):
    r"""One standard density, moved and stretched, $\theta = (\mu, \sigma)$ with $\sigma > 0$.

    $$\ell = \log f\Big(\frac{x - \mu}{\sigma}\Big) - \log\sigma, \qquad
    I = \frac{1}{\sigma^2} \begin{pmatrix} a & b \\ b & c \end{pmatrix}$$

    **Reference:** Miyamoto, Meneghetti, Pinele & Costa (2024), section 5.
    """

    @abc.abstractmethod
    def standard(self, z: Float[Array, ""]) -> Float[Array, ""]:
        """The standard log-density $\\log f(z)$."""

    @property
    @abc.abstractmethod
    def entries(self) -> tuple[float, float, float]:
        """The numbers a, b and c of the Fisher matrix."""

    @property
    @abc.abstractmethod
    def kinked(self) -> bool:
        """Whether the density has a kink at its location."""

    def log_likelihood(self, theta: Float[Array, "2"], x) -> Float[Array, ""]:
        location, scale = pair(theta)
        scale = positive(scale)
        return self.standard((as_real(x, location.dtype) - location) / scale) - jnp.log(scale)

    @property
    def expectation(self) -> Quadrature:
        breaks = first if self.kinked else None
        return Quadrature(-math.inf, math.inf, location=first, scale=second, breaks=breaks)

    @property
    def chart(self) -> AbstractChart:
        return HALF_PLANE

    def fisher(self, theta: Float[Array, "2"]) -> Float[Array, "2 2"]:
        scale = positive(pair(theta)[1])
        a, b, c = self.entries
        return jnp.asarray([[a, b], [b, c]], scale.dtype) / scale**2

    def quadratic(self, theta: Float[Array, "2"], v: Float[Array, "2"]) -> Float[Array, ""]:
        location, spread = pair(v) / positive(pair(theta)[1])
        a, b, c = self.entries
        return a * (location + (b / a) * spread) ** 2 + (c - b**2 / a) * spread**2

    def distance(self, theta0: Float[Array, "2"], theta1: Float[Array, "2"]) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, accurate for near and far pairs.

        $$d = 2 \sqrt{c'} \operatorname{arsinh}
        \sqrt{\frac{(a / c') (\mu_1' - \mu_0')^2 + (\sigma_1 - \sigma_0)^2}{4 \sigma_0 \sigma_1}}, \qquad
        \mu' = \mu + \frac ba \sigma, \quad c' = c - \frac{b^2}{a}$$
        """
        (location0, scale0), (location1, scale1) = pair(theta0), pair(theta1)
        scale0, scale1 = positive(scale0), positive(scale1)
        a, b, c = self.entries
        rise = scale1 - scale0
        gap = (location1 - location0) + (b / a) * rise
        return half_plane_distance(gap, rise, scale0, scale1, a, c - b**2 / a)


class Normal(AbstractLocationScale):
    r"""The normal distribution, $\theta = (\mu, \sigma)$.

    $$\ell = -\tfrac12 \Big(\frac{x - \mu}{\sigma}\Big)^2 - \log\sigma - \tfrac12\log 2\pi, \qquad
    I = \frac{1}{\sigma^2} \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}$$

    Domain: $\sigma > 0$.

    **Reference:** Atkinson & Mitchell (1981), section 4.
    """

    def standard(self, z):
        return -0.5 * z**2 - 0.5 * math.log(2.0 * math.pi)

    def skewness(self, theta, u, w):
        """The third moments of the scores in closed form, exactly zero where the scale is known."""
        u, w, scale = pair(u), pair(w), positive(theta[1])
        skewness = jnp.stack([2.0 * (u[0] * w[1] + u[1] * w[0]), 2.0 * u[0] * w[0] + 8.0 * u[1] * w[1]]) / scale**3
        return skewness, first_failure((~jnp.all(jnp.isfinite(skewness)), RESULTS.nonfinite))

    def natural(self, theta: Float[Array, "2"]) -> Float[Array, "2"]:
        r"""The natural parameters $\mu / \sigma^2$ and $-1 / 2 \sigma^2$, of the statistics x and $x^2$."""
        location, scale = pair(theta)
        scale = positive(scale)
        return jnp.stack([location / scale**2, -0.5 / scale**2])

    def of_natural(self, natural: Float[Array, "2"]) -> Float[Array, "2"]:
        """The parameters of natural ones, NaN outside the domain."""
        linear, quadratic = pair(natural)
        precision = positive(-2.0 * quadratic)
        return jnp.stack([linear / precision, precision**-0.5])

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return NORMAL_FORM

    @property
    def entries(self):
        return 1.0, 0.0, 2.0

    @property
    def kinked(self):
        return False


class Logistic(AbstractLocationScale):
    r"""The logistic distribution, $\theta = (\mu, s)$.

    $$\ell = -z - 2 \log(1 + e^{-z}) - \log s, \quad z = \frac{x - \mu}{s}, \qquad
    I = \frac{1}{s^2} \begin{pmatrix} 1/3 & 0 \\ 0 & (\pi^2 + 3) / 9 \end{pmatrix}$$

    Domain: $s > 0$.

    **Reference:** Johnson, Kotz & Balakrishnan (1995), chapter 23.
    """

    def standard(self, z):
        return -jax.nn.softplus(z) - jax.nn.softplus(-z)

    @property
    def entries(self):
        return 1.0 / 3.0, 0.0, (math.pi**2 + 3.0) / 9.0

    @property
    def kinked(self):
        return False


class Cauchy(AbstractLocationScale):
    r"""The Cauchy distribution, $\theta = (\mu, s)$: median and half-width.

    $$\ell = -\log(1 + z^2) - \log \pi s, \quad z = \frac{x - \mu}{s}, \qquad I = \frac{1}{2 s^2}
    \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}$$

    Domain: $s > 0$.

    **Reference:** Mitchell (1988), section 3.
    """

    def standard(self, z):
        return -log_one_plus_square(z) - math.log(math.pi)

    @property
    def entries(self):
        return 0.5, 0.0, 0.5

    @property
    def kinked(self):
        return False


class Laplace(AbstractLocationScale):
    r"""The Laplace distribution, $\theta = (\mu, b)$.

    $$\ell = -\frac{|x - \mu|}{b} - \log 2b, \qquad I = \frac{1}{b^2} \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}$$

    Domain: $b > 0$. The kink at $\mu$ moves with theta: the score form of the generic route is right, the Hessian
    form is not, and an audit reports it as `irregular`.

    **Reference:** Johnson, Kotz & Balakrishnan (1995), chapter 24.
    """

    def standard(self, z):
        return -jnp.abs(z) - math.log(2.0)

    @property
    def entries(self):
        return 1.0, 0.0, 1.0

    @property
    def kinked(self):
        return True


class Gumbel(AbstractLocationScale):
    r"""The Gumbel distribution of maxima, $\theta = (\mu, \beta)$.

    $$\ell = -z - e^{-z} - \log\beta, \quad z = \frac{x - \mu}{\beta}, \qquad
    I = \frac{1}{\beta^2} \begin{pmatrix} 1 & \gamma - 1 \\ \gamma - 1 & \pi^2/6 + (1 - \gamma)^2 \end{pmatrix}$$

    with Euler's $\gamma$. Domain: $\beta > 0$.

    **Reference:** Oller (1987), section 2.
    """

    def standard(self, z):
        return -z - jnp.exp(-z)

    @property
    def entries(self):
        return 1.0, EULER - 1.0, math.pi**2 / 6.0 + (1.0 - EULER) ** 2

    @property
    def kinked(self):
        return False
