"""Bounds on estimation: what an information matrix allows at best."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact


def cramer_rao_bound(
    information: Inexact[Array, "d d"],
    transform_jacobian: Inexact[Array, "m k"] | None = None,
    bias_jacobian: Inexact[Array, "m k"] | None = None,
    nuisance=None,
) -> Float[Array, "m m"]:
    r"""The smallest covariance that an estimator can have: the Cramér-Rao bound.

    $$\operatorname{Cov}(\hat\psi) \succeq (G + B)\, I^{-1} (G + B)^\top, \qquad
    G = \partial\psi / \partial\theta, \quad B = \partial\,\mathrm{bias} / \partial\theta$$

    With nuisance parameters $I$ is replaced by the efficient information of the others,
    $I_{ii} - I_{in} I_{nn}^{-1} I_{ni}$: not knowing them never lowers the bound.

    **Arguments:** `information`: the information of the whole experiment, shape (d, d). `transform_jacobian`:
    G of the estimated quantity, shape (m, k), identity if left out; k = d less the nuisance parameters.
    `bias_jacobian`: B, shape (m, k), zero if left out. `nuisance`: indices, or a mask of shape (d,), of the
    parameters that are unknown and not estimated.

    **Returns:** the bound, a covariance matrix, shape (m, m); NaN where the information is not positive
    definite to working precision.

    **Raises:** `ValueError` for shapes that do not fit, indices out of range, or no parameter left to
    estimate.

    **Reference:** Lehmann & Casella (1998), theorem 2.6.6; Cox & Reid (1987) for nuisance parameters.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.cramer_rao_bound(jnp.array([[2.0, 1.0], [1.0, 1.0]]), nuisance=[1]))
    [[1.]]

    ```
    """
    information = jnp.asarray(information)
    if information.ndim != 2 or information.shape[0] != information.shape[1]:
        raise ValueError(f"information must be a square matrix, but has shape {information.shape}.")
    if nuisance is not None:
        information = _efficient_information(information, _nuisance_mask(nuisance, information.shape[0]))
    sensitivity = _sensitivity(information, transform_jacobian, bias_jacobian)
    whitened = _whitened(information, sensitivity.T)
    return whitened.T @ whitened


def _efficient_information(information, mask):
    """The information of the parameters outside `mask` once those inside are unknown: a Schur complement."""
    interest, nuisance = np.flatnonzero(~mask), np.flatnonzero(mask)
    if nuisance.size == 0:
        return information
    block = information[np.ix_(nuisance, nuisance)]
    whitened = _whitened(block, information[np.ix_(nuisance, interest)])
    return information[np.ix_(interest, interest)] - whitened.T @ whitened


def _whitened(information, columns):
    """$L^{-1} C$ with $I = L L^\\top$; NaN where a pivot is lost in round-off."""
    factor = jnp.linalg.cholesky(information)
    # A squared pivot over the diagonal is one minus the share of a score that the earlier ones explain.
    unexplained = jnp.diag(factor) ** 2 / jnp.diag(information)
    definite = jnp.all(unexplained > information.shape[0] * float(jnp.finfo(factor.dtype).eps))
    whitened = jax.scipy.linalg.solve_triangular(factor, columns, lower=True)
    return jnp.where(definite, whitened, jnp.nan)


def _sensitivity(information, transform_jacobian, bias_jacobian):
    size = information.shape[0]
    if transform_jacobian is None:
        transform_jacobian = jnp.eye(size, dtype=information.dtype)
    transform_jacobian = jnp.asarray(transform_jacobian, information.dtype)
    if transform_jacobian.ndim != 2 or transform_jacobian.shape[1] != size:
        raise ValueError(
            f"transform_jacobian must have shape (m, {size}), a column for each parameter that is not a "
            f"nuisance, but has shape {transform_jacobian.shape}."
        )
    if bias_jacobian is None:
        return transform_jacobian
    bias_jacobian = jnp.asarray(bias_jacobian, information.dtype)
    if bias_jacobian.shape != transform_jacobian.shape:
        raise ValueError(
            f"bias_jacobian must have shape {transform_jacobian.shape}, but has shape {bias_jacobian.shape}."
        )
    return transform_jacobian + bias_jacobian


def _nuisance_mask(nuisance, size):
    nuisance = np.asarray(nuisance)
    mask = np.zeros(size, bool)
    if nuisance.dtype == bool:
        if nuisance.shape != (size,):
            raise ValueError(f"A mask of nuisance parameters must have shape ({size},), but has {nuisance.shape}.")
        mask = nuisance
    elif nuisance.size and not np.issubdtype(nuisance.dtype, np.integer):
        raise ValueError(f"nuisance must hold indices or a boolean mask, but holds {nuisance.dtype}.")
    elif nuisance.size and not np.all((-size <= nuisance) & (nuisance < size)):
        raise ValueError(f"nuisance holds indices out of range for {size} parameters: {nuisance.tolist()}.")
    else:
        mask[nuisance.astype(int)] = True
    if mask.all():
        raise ValueError("Every parameter is a nuisance: none is left to estimate.")
    return mask
