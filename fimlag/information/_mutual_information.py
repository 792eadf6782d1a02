"""Mutual information of finite joint distributions, and entropies, with 0 log 0 = 0."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from fimlag._precision import precision_of


def mutual_information(joint: ArrayLike) -> Float[Array, ""]:
    r"""The mutual information of two finite random variables.

    $$I(X; Y) = \sum_{xy} p_{xy} \log \frac{p_{xy}}{p_x\, p_y}$$

    Entries that are zero are held impossible: derivatives along them are zero.

    **Arguments:** `joint`: the probabilities $p_{xy}$, shape (n, m), of sum one.

    **Returns:** the information (nats), shape (); NaN where the table is no distribution.

    **Raises:** `ValueError` for an array that is not a matrix.

    **Reference:** Shannon (1948), section 12; Cover & Thomas (2006), eq. 2.28.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.mutual_information(jnp.array([[0.5, 0.0], [0.0, 0.5]])).round(6))
    0.693147

    ```
    """
    joint = jnp.asarray(joint, precision_of(joint))
    if joint.ndim != 2:
        raise ValueError(f"joint must be a matrix of probabilities, but has shape {joint.shape}.")
    rows, columns = jnp.sum(joint, axis=1), jnp.sum(joint, axis=0)
    value = jnp.sum(relative_terms(joint, rows[:, None] * columns[None]))
    return jnp.where(is_distribution(joint), value, jnp.nan)


def relative_terms(p: Float[Array, "..."], q: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""$p \log (p / q)$, zero with its derivatives where p is zero."""
    some = p > 0
    ratio = jnp.where(some, p, 1.0) / jnp.where(some, q, 1.0)
    return jnp.where(some, p * jnp.log(ratio), 0.0)


def is_distribution(p: Float[Array, "..."], axis: int | tuple[int, ...] | None = None) -> Bool[Array, ""]:
    """Whether all entries are probabilities, and their sums along the axes are one up to round-off."""
    sums = jnp.sum(p, axis=axis)
    return jnp.all(p >= 0) & jnp.all(jnp.abs(sums - 1) <= 16 * p.size * float(jnp.finfo(p.dtype).eps))
