"""Families of repeated trials."""

import itertools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, SimplexChart
from fimlag.information._expectation import ExactSum
from fimlag.information.families._discrete import Bernoulli, Categorical
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import multinomial_form
from fimlag.information.families._family import (
    UNIT_INTERVAL,
    AbstractFamily,
    at_least,
    count,
    log_rest,
    positive,
    scalar,
)

# Type checkers take the abstract fields for arguments.
COIN = Bernoulli()

MANY = 10**6
"""Outcomes in a support that is listed."""


class Binomial(AbstractFamily):
    r"""The number of successes in n trials, $\theta = p$, a number or a vector of length 1.

    $$\ell = \log\binom nx + x \log p + (n - x) \log(1 - p), \qquad I = \frac{n}{p (1 - p)}$$

    Domain: $0 < p < 1$.

    **Arguments:** `n`: the number of trials, at least 1.

    **Raises:** `ValueError` for fewer.

    **Reference:** Atkinson & Mitchell (1981), section 5.
    """

    n: int = eqx.field(static=True)

    def __init__(self, n: int):
        self.n = at_least(1, n, "n")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        p = scalar(theta)
        success, failure = jnp.log(positive(p)), log_rest(p)
        legal, x = count(x, p.dtype)
        legal = legal & (x <= self.n)
        x = jnp.where(legal, x, 0.0)
        ways = math.lgamma(self.n + 1.0) - gammaln(x + 1.0) - gammaln(self.n - x + 1.0)
        return jnp.where(legal, ways + x * success + (self.n - x) * failure, -jnp.inf + 0.0 * (success + failure))

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.n + 1))

    @property
    def chart(self) -> AbstractChart:
        return UNIT_INTERVAL

    def fisher(self, theta) -> Float[Array, "1 1"]:
        return self.n * COIN.fisher(theta)

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        """The Fisher-Rao distance, $\\sqrt n$ times that of one trial."""
        return math.sqrt(self.n) * COIN.distance(theta0, theta1)


class Multinomial(AbstractFamily):
    r"""The counts of k categories in n trials, $\theta = (p_0, \dots, p_{k-2})$; the last is the rest.

    $$\ell = \log n! + \sum_i (x_i \log p_i - \log x_i!), \qquad
    I_{ij} = n \Big(\frac{\delta_{ij}}{p_i} + \frac{1}{p_{k-1}}\Big)$$

    An outcome is a vector of k counts of sum n. Domain: every probability positive.

    **Arguments:** `n`: the number of trials, at least 1. `k`: the number of categories, at least 2.

    **Raises:** `ValueError` for fewer, and by `expectation` for more than a million possible outcomes.

    **Reference:** Atkinson & Mitchell (1981), section 5.
    """

    n: int = eqx.field(static=True)
    k: int = eqx.field(static=True)

    def __init__(self, n: int, k: int):
        self.n, self.k = at_least(1, n, "n"), at_least(2, k, "k")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        p = Categorical(self.k).probabilities(theta)
        if jnp.shape(x) != (self.k,):
            raise ValueError(f"An outcome must hold {self.k} counts, but has shape {jnp.shape(x)}.")
        legal, x = count(x, p.dtype)
        legal = jnp.all(legal) & (jnp.sum(x) == self.n)
        density = math.lgamma(self.n + 1.0) + jnp.sum(x * jnp.log(p) - gammaln(x + 1.0))
        return jnp.where(legal, density, -jnp.inf + 0.0 * p[0])

    @property
    def expectation(self) -> ExactSum:
        number = math.comb(self.n + self.k - 1, self.k - 1)
        if number > MANY:
            raise ValueError(f"{self.n} trials of {self.k} categories have {number} outcomes: use MonteCarlo.")
        # Stars and bars: the gaps between k - 1 bars among n + k - 1 places.
        places = range(self.n + self.k - 1)
        bars = np.array(list(itertools.combinations(places, self.k - 1)))
        walls = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, len(places))))
        return ExactSum(jnp.asarray(np.diff(walls, axis=1) - 1))

    @property
    def chart(self) -> AbstractChart:
        return SimplexChart()

    def fisher(self, theta) -> Float[Array, "d d"]:
        return self.n * Categorical(self.k).fisher(theta)

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        """The Fisher-Rao distance, $\\sqrt n$ times that of one trial."""
        return math.sqrt(self.n) * Categorical(self.k).distance(theta0, theta1)

    def natural(self, theta) -> Float[Array, " d"]:
        r"""The natural parameters $\log(p_i / p_{k-1})$, of the counts of all categories but the last."""
        return Categorical(self.k).natural(theta)

    def of_natural(self, natural) -> Float[Array, " d"]:
        """The probabilities, but the last, of natural parameters."""
        return Categorical(self.k).of_natural(natural)

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return multinomial_form(self.n, self.k)
