"""Divergences between two members of a statistical model: functions of one scaled gap."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import Coordinates, RealScalarLike
from fimlag.information._differences import exponential_quotient
from fimlag.information._divergence_estimate import DivergenceEstimate, sum_of
from fimlag.information._model import AbstractModel
from fimlag.information._scaled_gap import scaled_gap
from fimlag.information.families._family import root


def kl_divergence(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""The Kullback-Leibler divergence of one density from another, by the model's own expectation rule.

    $$\mathrm{KL}(p_0 \Vert p_1) = \mathrm{E}_0[\ell(\theta_0, x) - \ell(\theta_1, x)]
    = \mathrm{E}_0[e^d - 1 - d], \qquad d = \ell(\theta_1, x) - \ell(\theta_0, x)$$

    The second form is taken where it is the more accurate one: near pairs keep all digits, its first derivatives
    vanish identically on the diagonal, and its Hessian there is the Fisher information in the score form.

    **Arguments:** `model`: a family (closed where it is an `ExponentialFamily`), a `StatisticalModel`, or a product or
    regression of them, whose divergences add. `theta0`, `theta1`: parameters in one structure.

    **Returns:** the divergence (nats), shape (); NaN where the rule fails: `divergence_estimate` tells why. Infinite
    where the second density vanishes on part of the support of the first.

    **Raises:** `ValueError` where the parameters differ in structure; `TypeError` for a model without expectations,
    such as one of observed data.

    **Reference:** Kullback & Leibler (1951), eq. 2.4; Amari & Nagaoka (2000), section 3.2.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> kl = jax.jit(lambda one, other: fl.kl_divergence(fl.families.Normal().model, one, other))
    >>> print(jnp.round(kl(jnp.array([0.0, 1.0]), jnp.array([2.0, 1.0])), 9))
    2.0

    ```
    """
    return kl_estimate(model, theta0, theta1).checked_value


def jeffreys_divergence(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""Jeffreys' divergence: the sum of the Kullback-Leibler divergences in both directions.

    $$J = \mathrm{KL}(p_0 \Vert p_1) + \mathrm{KL}(p_1 \Vert p_0)$$

    Its half agrees with half the squared Fisher-Rao distance to fourth order.

    **Arguments:** as for `kl_divergence`.

    **Returns:** the divergence (nats), shape (); NaN where the rule fails.

    **Raises:** as for `kl_divergence`.

    **Reference:** Jeffreys (1946), eq. 1; Kullback & Leibler (1951), eq. 2.6.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> jeffreys = jax.jit(lambda one, other: fl.jeffreys_divergence(fl.families.Exponential().model, one, other))
    >>> print(jnp.round(jeffreys(1.0, 2.0), 9))
    0.5

    ```
    """
    return jeffreys_estimate(model, theta0, theta1).checked_value


def alpha_divergence(
    model: AbstractModel, theta0: Coordinates, theta1: Coordinates, alpha: RealScalarLike
) -> Float[Array, ""]:
    r"""Amari's alpha-divergence, from which the alpha-connection derives.

    $$D_\alpha = \frac{4}{1 - \alpha^2} \Big(1 - \int p_0^{(1 - \alpha) / 2}\, p_1^{(1 + \alpha) / 2}\, dx\Big), \qquad
    D_{-1} = \mathrm{KL}(p_0 \Vert p_1), \quad D_{1} = \mathrm{KL}(p_1 \Vert p_0)$$

    It is smooth in alpha, through $\pm 1$ too.

    **Arguments:** as for `kl_divergence`; `alpha`: any number, also traced. Beyond $\pm 1$ the integral may be
    infinite.

    **Returns:** the divergence, shape (); NaN where the rule fails or the integral is infinite.

    **Raises:** as for `kl_divergence`.

    **Reference:** Amari & Nagaoka (2000), eq. 3.21 and 3.26.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> middle = jax.jit(lambda one, other: fl.alpha_divergence(fl.families.Bernoulli().model, one, other, 0.0))
    >>> print(f"{middle(0.5, 0.9):.6f}")                                  # 4 (1 - sum sqrt(p q))
    0.422291

    ```
    """
    return alpha_estimate(model, theta0, theta1, alpha).checked_value


def renyi_divergence(
    model: AbstractModel, theta0: Coordinates, theta1: Coordinates, order: RealScalarLike
) -> Float[Array, ""]:
    r"""Renyi's divergence.

    $$R_a = \frac{1}{a - 1} \log \int p_0^a\, p_1^{1 - a}\, dx, \qquad R_1 = \mathrm{KL}(p_0 \Vert p_1)$$

    **Arguments:** as for `kl_divergence`; `order`: a, any number, also traced; beyond 1 the integral may be infinite.

    **Returns:** the divergence (nats), shape (); NaN where the rule fails or the integral is infinite.

    **Raises:** as for `kl_divergence`.

    **Reference:** van Erven & Harremoes (2014), eq. 10.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> renyi = jax.jit(lambda one, other: fl.renyi_divergence(fl.families.Normal().model, one, other, 3.0))
    >>> print(jnp.round(renyi(jnp.array([0.0, 1.0]), jnp.array([2.0, 1.0])), 9))
    6.0

    ```
    """
    return renyi_estimate(model, theta0, theta1, order).checked_value


def tsallis_divergence(
    model: AbstractModel, theta0: Coordinates, theta1: Coordinates, order: RealScalarLike
) -> Float[Array, ""]:
    r"""Tsallis' relative entropy.

    $$T_q = \frac{1}{q - 1} \Big(\int p_0^q\, p_1^{1 - q}\, dx - 1\Big), \qquad T_1 = \mathrm{KL}(p_0 \Vert p_1)$$

    **Arguments:** as for `renyi_divergence`.

    **Returns:** the divergence, shape (); NaN where the rule fails or the integral is infinite.

    **Raises:** as for `kl_divergence`.

    **Reference:** Tsallis (1998), eq. 8.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> tsallis = jax.jit(lambda one, other: fl.tsallis_divergence(fl.families.Bernoulli().model, one, other, 2.0))
    >>> print(jnp.round(tsallis(0.25, 0.5), 9))
    0.25

    ```
    """
    return tsallis_estimate(model, theta0, theta1, order).checked_value


def hellinger_distance(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""The Hellinger distance, between 0 and 1.

    $$H^2 = \tfrac12 \int \big(\sqrt{p_0} - \sqrt{p_1}\big)^2 dx = 1 - \int \sqrt{p_0\, p_1}\, dx$$

    $4 H^2$ agrees with half the squared Fisher-Rao distance to fourth order.

    **Arguments:** as for `kl_divergence`.

    **Returns:** the distance, shape (); NaN where the rule fails. It has a corner where the two coincide, where its
    derivative is given as 0: for second derivatives there take $H^2 = D_0 / 4$ of `alpha_divergence`.

    **Raises:** as for `kl_divergence`.

    **Reference:** Le Cam (1986), chapter 4.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> distance = jax.jit(lambda one, other: fl.hellinger_distance(fl.families.Exponential().model, one, other))
    >>> print(jnp.round(distance(1.0, 4.0) ** 2, 9))
    0.2

    ```
    """
    return hellinger_estimate(model, theta0, theta1).checked_value


def bhattacharyya_distance(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""The Bhattacharyya distance.

    $$B = -\log \int \sqrt{p_0\, p_1}\, dx$$

    It keeps its digits also where the affinity is far below the smallest number.

    **Arguments:** as for `kl_divergence`.

    **Returns:** the distance (nats), shape (); NaN where the rule fails.

    **Raises:** as for `kl_divergence`.

    **Reference:** Bhattacharyya (1943).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> distance = jax.jit(lambda one, other: fl.bhattacharyya_distance(fl.families.Normal().model, one, other))
    >>> print(jnp.round(distance(jnp.array([0.0, 1.0]), jnp.array([80.0, 1.0])), 6))
    800.0

    ```
    """
    return bhattacharyya_estimate(model, theta0, theta1).checked_value


def chi_square_divergence(model: AbstractModel, theta0: Coordinates, theta1: Coordinates) -> Float[Array, ""]:
    r"""Pearson's chi-square divergence.

    $$\chi^2 = \int \frac{(p_0 - p_1)^2}{p_1}\, dx = \int \frac{p_0^2}{p_1}\, dx - 1$$

    **Arguments:** as for `kl_divergence`.

    **Returns:** the divergence, shape (), twice the others near the diagonal; NaN where the rule fails or the integral
    is infinite.

    **Raises:** as for `kl_divergence`.

    **Reference:** Nielsen & Nock (2014), eq. 2.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> chi_square = jax.jit(lambda one, other: fl.chi_square_divergence(fl.families.Poisson(60).model, one, other))
    >>> print(f"{chi_square(4.0, 2.0):.6f}")                              # e^2 - 1
    6.389056

    ```
    """
    return chi_square_estimate(model, theta0, theta1).checked_value


def kl_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """The Kullback-Leibler divergence with its error and result."""
    return scaled_gap(model, theta0, theta1, 0)


def jeffreys_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """Jeffreys' divergence with its error and result."""
    there, back = scaled_gap(model, theta0, theta1, 0), scaled_gap(model, theta0, theta1, 1)
    # Both directions draw by one key: their errors add, and do not cancel.
    error = there.standard_error + back.standard_error
    return eqx.tree_at(lambda total: total.standard_error, sum_of([there, back], there.route), error)


def alpha_estimate(model, theta0, theta1, alpha) -> DivergenceEstimate:
    """The alpha-divergence with its error and result."""
    s = 0.5 * (1.0 + alpha)
    return scaled_gap(model, theta0, theta1, s).mapped(lambda gap: _alpha_of_gap(gap, s))


def renyi_estimate(model, theta0, theta1, order) -> DivergenceEstimate:
    """Renyi's divergence with its error and result."""
    return scaled_gap(model, theta0, theta1, 1.0 - order).mapped(lambda gap: _times(order, gap))


def tsallis_estimate(model, theta0, theta1, order) -> DivergenceEstimate:
    """Tsallis' divergence with its error and result."""
    s = 1.0 - order
    return scaled_gap(model, theta0, theta1, s).mapped(lambda gap: _times(order, _alpha_of_gap(gap, s)))


def hellinger_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """Hellinger's distance with its error and result."""
    return scaled_gap(model, theta0, theta1, 0.5).mapped(lambda gap: root(0.25 * _alpha_of_gap(gap, 0.5)))


def bhattacharyya_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """Bhattacharyya's distance with its error and result."""
    return scaled_gap(model, theta0, theta1, 0.5).mapped(lambda gap: 0.25 * gap)


def chi_square_estimate(model, theta0, theta1) -> DivergenceEstimate:
    """The chi-square divergence with its error and result."""
    return scaled_gap(model, theta0, theta1, -1.0).mapped(lambda gap: jnp.expm1(2.0 * gap))


def _alpha_of_gap(gap, s):
    r"""$(1 - e^{-s (1 - s) K}) / (s (1 - s))$."""
    product = jnp.asarray(s * (1.0 - s), gap.dtype)
    small = jnp.abs(product * gap) < 0.5
    inner = jnp.where(small, gap, 0.0)
    outer = -jnp.expm1(-product * jnp.where(small, 0.0, gap)) / jnp.where(small, 1.0, product)
    # An infinite gap at s = 0 or 1 is an infinite divergence.
    infinite = (product == 0.0) & jnp.isinf(gap)
    return jnp.where(infinite, gap, jnp.where(small, inner * exponential_quotient(-product * inner), outer))


def _times(factor, value):
    """The product, 0 for a factor 0 also of an infinite value."""
    factor = jnp.asarray(factor, value.dtype)
    return jnp.where(factor == 0.0, 0.0, factor * jnp.where(factor == 0.0, 0.0, value))
