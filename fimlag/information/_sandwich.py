"""Information and covariance that hold where the model does not: Godambe and the sandwich."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import flatten
from fimlag._types import Coordinates, LogLikelihood
from fimlag.information._definite import definite_inverse, whitened
from fimlag.information._fisher import empirical_fisher, observed_information
from fimlag.information._sums import count_outcomes, sum_over_scores


def sandwich_covariance(
    log_likelihood: LogLikelihood,
    theta: Coordinates,
    data: PyTree[ArrayLike],
    clusters=None,
    cluster_count: int | None = None,
) -> Float[Array, "d d"]:
    r"""The covariance of a maximum-likelihood estimate that does not trust the model: the sandwich.

    $$V = H^{-1} J H^{-1}, \qquad H = -\sum_n \nabla^2 \ell(\theta, x_n), \qquad
    J = \sum_c \Big(\sum_{n \in c} s_n\Big) \Big(\sum_{n \in c} s_n\Big)^\top$$

    Consistent where the density is misspecified and, with clusters, where observations of one cluster depend on
    each other. Where the model is right and the data are independent it estimates $H^{-1}$. No factor corrects
    for few observations or clusters: of linear regression it is White's HC0.

    **Arguments:** `log_likelihood(theta, x)`: of ONE observation. `theta`: the estimate, where the total score
    vanishes; a vector or any pytree. `data`: observations stacked along axis 0 of each leaf. `clusters`: the
    label of each observation's cluster, shape (n,); left out, each is its own. `cluster_count`: the number of
    clusters, needed only where the labels are traced: they are then integers from 0 to that number less one.

    **Returns:** the covariance matrix, shape (d, d); NaN where the observed information is not positive definite
    to working precision (theta is no maximum) or a traced label is out of range.

    **Raises:** `ValueError` for data that are not stacked, labels of another length, or fewer than two clusters.

    **Reference:** White (1982), theorem 3.2; Liang & Zeger (1986) for clusters.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> log_likelihood = fl.families.Poisson().log_likelihood       # at its mean: sum (x - mean)^2 / n^2
    >>> print(fl.sandwich_covariance(log_likelihood, 3.0, jnp.array([0.0, 6.0, 3.0])))
    [[2.]]

    ```
    """
    inverse = definite_inverse(observed_information(log_likelihood, theta, data))
    covariance = inverse @ _score_covariance(log_likelihood, theta, data, clusters, cluster_count) @ inverse
    return 0.5 * (covariance + covariance.T)


def godambe_information(
    log_likelihood: LogLikelihood,
    theta: Coordinates,
    data: PyTree[ArrayLike],
    clusters=None,
    cluster_count: int | None = None,
) -> Float[Array, "d d"]:
    r"""The Godambe information of data: the inverse of the sandwich covariance.

    $$G = H J^{-1} H$$

    $H$ and $J$ are those of `sandwich_covariance`; the log-likelihood may be any objective whose gradient has
    mean zero at the truth, such as a composite or a quasi-likelihood.

    **Arguments:** as for `sandwich_covariance`.

    **Returns:** the matrix, a SUM over the data, shape (d, d); NaN where $J$ is not positive definite to working
    precision, as with fewer clusters than parameters.

    **Raises:** as for `sandwich_covariance`.

    **Reference:** Godambe (1960); Varin, Reid & Firth (2011), eq. 3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> log_likelihood = fl.families.Poisson().log_likelihood
    >>> print(fl.godambe_information(log_likelihood, 3.0, jnp.array([0.0, 6.0, 3.0])))
    [[0.5]]

    ```
    """
    information = observed_information(log_likelihood, theta, data)
    root = whitened(_score_covariance(log_likelihood, theta, data, clusters, cluster_count), information)
    return root.T @ root


def _score_covariance(log_likelihood, theta, data, clusters, cluster_count):
    if clusters is None:
        return empirical_fisher(log_likelihood, theta, data)
    labels, count = _numbered(clusters, cluster_count, count_outcomes(data, "data"))

    def summed(scores, labels):
        return jax.ops.segment_sum(scores, labels, num_segments=count)

    sums = sum_over_scores(log_likelihood, *flatten(theta, "theta"), (data, labels), summed)
    # A label out of range would be left out in silence.
    sums = jnp.where(jnp.all((labels >= 0) & (labels < count)), sums, jnp.nan)
    return sums.T @ sums


def _numbered(clusters, cluster_count, n):
    """Labels as integers from 0, and how many clusters there are."""
    if np.shape(clusters) != (n,):
        raise ValueError(f"clusters must label each of the {n} observations, but has shape {np.shape(clusters)}.")
    if not isinstance(clusters, Tracer):
        names, clusters = np.unique(np.asarray(clusters), return_inverse=True)
        cluster_count = names.size
    elif cluster_count is None:
        raise ValueError("The labels in clusters are traced: give their number, cluster_count.")
    elif not jnp.issubdtype(clusters.dtype, jnp.integer):
        raise ValueError(f"Labels that are traced must be integers from 0, but are {clusters.dtype}.")
    if cluster_count < 2:
        raise ValueError("A covariance needs at least two clusters: the scores of one sum to zero.")
    return jnp.asarray(clusters), cluster_count
