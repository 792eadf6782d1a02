"""Bernoulli and categorical distributions in coordinates without bounds."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag.information._expectation import ExactSum
from fimlag.information.families._family import (
    LINE,
    AbstractFamily,
    absolute,
    as_real,
    at_least,
    parameters,
    root,
    scalar,
)


class BernoulliLogits(AbstractFamily):
    r"""The Bernoulli distribution, $\theta = \log\frac{p}{1 - p}$, a number or a vector of length 1.

    $$\ell = x \theta - \log(1 + e^\theta), \qquad I = p (1 - p)$$

    Domain: every number.

    **Reference:** McCullagh & Nelder (1989), section 4.3.
    """

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        logit = scalar(theta)
        x = as_real(x, logit.dtype)
        success, failure = -jax.nn.softplus(-logit), -jax.nn.softplus(logit)
        return jnp.where(x == 1.0, success, jnp.where(x == 0.0, failure, -jnp.inf + 0.0 * logit))

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(2))

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def fisher(self, theta) -> Float[Array, "1 1"]:
        logit = scalar(theta)
        return jnp.reshape(jax.nn.sigmoid(logit) * jax.nn.sigmoid(-logit), (1, 1))

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, an arc of the circle.

        $$d = 2 \arctan \frac{|\sinh\frac{\theta_1 - \theta_0}{4}|}{\cosh\frac{\theta_0 + \theta_1}{4}}$$
        """
        logit0, logit1 = scalar(theta0), scalar(theta1)
        half, middle = 0.25 * absolute(logit1 - logit0), 0.25 * absolute(logit0 + logit1)
        # Both divided by the larger exponential, which would overflow.
        top = jnp.maximum(half, middle)
        sine = jnp.exp(half - top) * -jnp.expm1(-2.0 * half)
        return 2.0 * jnp.arctan2(sine, jnp.exp(middle - top) * (1.0 + jnp.exp(-2.0 * middle)))


class CategoricalLogits(AbstractFamily):
    r"""The distribution on $0, \dots, k - 1$, $\theta$ = k logits, of which a common shift changes nothing.

    $$\ell = \theta_x - \log\sum_j e^{\theta_j}, \qquad I = \operatorname{diag}(p) - p\, p^\top$$

    Domain: every vector. The Fisher matrix is singular along $(1, \dots, 1)$; its root is
    $\operatorname{diag}(\sqrt p) - p \sqrt p^\top$.

    **Arguments:** `k`: the number of categories, at least 2.

    **Raises:** `ValueError` for fewer categories, or theta of another length than k.

    **Reference:** McCullagh & Nelder (1989), section 5.2.
    """

    k: int = eqx.field(static=True)

    def __init__(self, k: int):
        self.k = at_least(2, k, "k")

    def log_likelihood(self, theta, x) -> Float[Array, ""]:
        logs = jax.nn.log_softmax(parameters(theta, self.k))
        chosen = jnp.arange(self.k, dtype=logs.dtype) == as_real(x, logs.dtype)
        return jnp.where(jnp.any(chosen), jnp.sum(jnp.where(chosen, logs, 0.0)), -jnp.inf + 0.0 * logs[0])

    @property
    def expectation(self) -> ExactSum:
        return ExactSum(jnp.arange(self.k))

    @property
    def chart(self) -> AbstractChart:
        return LINE

    def fisher(self, theta) -> Float[Array, "d d"]:
        # By the root: a diagonal p (1 - p) would lose the small 1 - p.
        factor = self.fisher_root(theta)
        return factor @ factor.T

    def fisher_root(self, theta) -> Float[Array, "d d"]:
        p = jax.nn.softmax(parameters(theta, self.k))
        return jnp.diag(jnp.sqrt(p)) - p[:, None] * jnp.sqrt(p)[None, :]

    def distance(self, theta0, theta1) -> Float[Array, ""]:
        r"""The Fisher-Rao distance, an arc of the sphere.

        $$d = 4 \arcsin \tfrac12 \big\lVert \sqrt{p} - \sqrt{p'} \big\rVert$$
        """
        logs0, logs1 = (jax.nn.log_softmax(parameters(theta, self.k)) for theta in (theta0, theta1))
        gap = jnp.exp(0.25 * (logs0 + logs1)) * 2.0 * jnp.sinh(0.25 * (logs1 - logs0))
        return 4.0 * jnp.arcsin(0.5 * root(jnp.sum(gap**2)))
