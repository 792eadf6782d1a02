"""Families of categories."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart, SimplexChart
from fimlag.information._expectation import ExactSum
from fimlag.information.families._exponential_family import ExponentialFamily
from fimlag.information.families._exponential_forms import categorical_form
from fimlag.information.families._family import (
    UNIT_INTERVAL,
    AbstractFamily,
    absolute,
    as_real,
    log_rest,
    parameters,
    positive,
    root,
    scalar,
)


class Bernoulli(AbstractFamily):
    r"""The Bernoulli distribution, $\theta = p = P(x = 1)$, a number or a vector of length 1.

    $$\ell = x \log p + (1 - x) \log(1 - p), \qquad I = \frac{1}{p (1 - p)}$$

    Domain: $0 < p < 1$.

    **Reference:** Rao (1945); Atkinson & Mitchell (1981), section 5.
    """

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        p = scalar(theta)
        success, failure = jnp.log(positive(p)), log_rest(p)
        x = as_real(x, p.dtype)
        return jnp.where(x == 1.0, success, jnp.where(x == 0.0, failure, -jnp.inf))

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(2))

    @property
    def chart(self) -> AbstractChart:
        return UNIT_INTERVAL

    def fisher(self, theta) -> Float[Array, "1 1"]:
        p = scalar(theta)
        return jnp.reshape(1.0 / (positive(p) * positive(1.0 - p)), (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, an arc of the circle.

        $$d = 2 \arctan \frac{|\sqrt{p_1 q_0} - \sqrt{p_0 q_1}|}{\sqrt{p_0 p_1} + \sqrt{q_0 q_1}}$$
        """
        p0, p1 = scalar(theta0), scalar(theta1)
        q0, q1 = positive(1.0 - p0), positive(1.0 - p1)
        p0, p1 = positive(p0), positive(p1)
        # p1 q0 - p0 q1 = p1 - p0: the difference of the roots without cancellation.
        sine = absolute(p1 - p0) / (jnp.sqrt(p1 * q0) + jnp.sqrt(p0 * q1))
        return 2.0 * jnp.arctan2(sine, jnp.sqrt(p0 * p1) + jnp.sqrt(q0 * q1))


class Categorical(AbstractFamily):
    r"""The distribution on $0, \dots, k - 1$, $\theta = (p_0, \dots, p_{k-2})$; the last is the rest.

    $$\ell = \log p_x, \qquad I_{ij} = \frac{\delta_{ij}}{p_i} + \frac{1}{p_{k-1}}$$

    Domain: every probability positive.

    **Arguments:** `k`: the number of categories, at least 2.

    **Raises:** `ValueError` for fewer categories, or theta of another length than k - 1.

    **Reference:** Atkinson & Mitchell (1981), section 5 (the sphere of radius 2).
    """

    k: int = eqx.field(static=True)

    def __init__(self, k: int):
        if k < 2:
            raise ValueError(f"k must be at least 2, but is {k}.")
        self.k = k

    def probabilities(self, theta) -> Float[Array, " k"]:
        """All k probabilities, NaN outside the domain."""
        theta = as_real(theta)
        if theta.shape != (self.k - 1,):
            raise ValueError(
                f"theta must hold the first {self.k - 1} of {self.k} probabilities, but has shape {theta.shape}."
            )
        everything = jnp.append(theta, 1.0 - jnp.sum(theta))
        return jnp.where(jnp.all(everything > 0.0), everything, jnp.nan)

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        logs = jnp.log(self.probabilities(theta))
        x = as_real(x, logs.dtype)
        chosen = jnp.arange(self.k, dtype=logs.dtype) == x
        return jnp.where(jnp.any(chosen), jnp.sum(jnp.where(chosen, logs, 0.0)), -jnp.inf + 0.0 * logs[0])

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.k))

    @property
    def chart(self) -> AbstractChart:
        return SimplexChart()

    def fisher(self, theta) -> Float[Array, "d d"]:
        p = self.probabilities(theta)
        return jnp.diag(1.0 / p[:-1]) + 1.0 / p[-1]

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, an arc of the sphere.

        $$d = 4 \arcsin \tfrac12 \big\lVert \sqrt{p} - \sqrt{p'} \big\rVert$$
        """
        p0, p1 = self.probabilities(theta0), self.probabilities(theta1)
        difference = as_real(theta1) - as_real(theta0)
        difference = jnp.append(difference, -jnp.sum(difference))
        chord = root(jnp.sum((difference / (jnp.sqrt(p0) + jnp.sqrt(p1))) ** 2))
        return 4.0 * jnp.arcsin(0.5 * chord)

    def natural(self, theta) -> Float[Array, " d"]:
        r"""The natural parameters $\log(p_i / p_{k-1})$, of the indicators of all categories but the last."""
        p = self.probabilities(theta)
        return jnp.log(p[:-1] / p[-1])

    def of_natural(self, natural) -> Float[Array, " d"]:
        """The probabilities, but the last, of natural parameters."""
        return jax.nn.softmax(jnp.append(parameters(natural, self.k - 1), 0.0))[:-1]

    @property
    def exponential_form(self) -> ExponentialFamily:
        """The same densities by their natural parameters."""
        return categorical_form(self.k)
