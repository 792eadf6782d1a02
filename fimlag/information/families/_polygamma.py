"""The trigamma function and all its derivatives: quick to compile and to run, with all digits."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Float

from fimlag.information.families._family import as_real

SHIFT = 6
"""Steps of the recurrence that lead up to where ten terms of the series have all digits."""

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
"""The numbers $B_2, B_4, \\dots, B_{20}$."""


@jax.custom_jvp
def log_gamma(x) -> Float[Array, "*shape"]:
    r"""$\log\Gamma(x)$ for $x > 0$, whose derivatives from the second on are those of `trigamma`."""
    return gammaln(jnp.where(x > 0.0, x, jnp.nan))


@log_gamma.defjvp
def _log_gamma_jvp(primals, tangents):
    return log_gamma(*primals), _digamma(*primals) * tangents[0]


@jax.custom_jvp
def _digamma(x):
    return digamma(x)


@_digamma.defjvp
def _digamma_jvp(primals, tangents):
    return _digamma(*primals), trigamma(*primals) * tangents[0]


def trigamma(x) -> Float[Array, "*shape"]:
    r"""The trigamma function $\psi'(x) = \frac{d^2}{dx^2} \log\Gamma(x)$, for $x > 0$, else NaN."""
    x = as_real(x)
    return trigamma_excess(x) + 1.0 / x


def trigamma_excess(x) -> Float[Array, "*shape"]:
    r"""What the trigamma function exceeds its leading term by, which at large x a difference would lose.

    $$e(x) = \psi'(x) - \frac1x = \sum_{k=0}^{N-1} \frac{1}{(x + k)^2 (x + k + 1)} + e(x + N), \qquad
    e(y) \sim \frac{1}{2 y^2} + \sum_{k \geq 1} \frac{B_{2k}}{y^{2k + 1}}$$

    Every sum is of positive terms or falls off quickly; so are those of the derivatives, which are given to all
    orders. NaN unless $x > 0$.

    **Reference:** Abramowitz & Stegun (1964), 6.4.6 and 6.4.12.
    """
    x = as_real(x)
    return _excess(0, jnp.where(x > 0.0, x, jnp.nan))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _excess(order: int, x):
    r"""The derivative of e, $(-1)^n n!$ times a positive sum.

    With $u = 1 / (x + k)$ and $w = 1 / (x + k + 1)$ that of a term is $u^2 w \sum_{s=0}^n (s + 1)\, u^s w^{n - s}$.
    """
    inverses = [1.0 / (x + float(k)) for k in range(SHIFT + 1)]
    total = _series(order, inverses[-1])
    for u, w in itertools.pairwise(inverses):
        power, inner = 1.0, 1.0
        for s in range(1, order + 1):
            power = power * u
            inner = inner * w + (s + 1.0) * power
        total = total + u * u * w * inner
    return (-1.0) ** order * math.factorial(order) * total


@_excess.defjvp
def _excess_jvp(order, primals, tangents):
    return _excess(order, *primals), _excess(order + 1, *primals) * tangents[0]


def _series(order, w):
    """The derivative of the asymptotic series in w = 1 / y, over $(-1)^n n!$."""
    total = jnp.zeros_like(w)
    for k, bernoulli in reversed(list(enumerate(BERNOULLI, start=1))):
        total = w**2 * (total + bernoulli * math.comb(2 * k + order, order))
    return w ** (order + 1) * (0.5 * (order + 1.0) * w + total)
