"""Bounds on estimation: what an information matrix allows at best."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from fimlag.information._definite import as_square, whitened


def cramer_rao_bound(
    information: Real[ArrayLike, "d d"],
    transform_jacobian: Real[ArrayLike, "m k"] | None = None,
    bias_jacobian: Real[ArrayLike, "m k"] | None = None,
    nuisance=None,
    constraint_jacobian: Real[ArrayLike, "c d"] | None = None,
) -> Float[Array, "m m"]:
    r"""The smallest covariance that an estimator can have: the Cramér-Rao bound.

    $$\operatorname{Cov}(\hat\psi) \succeq (G + B)\, P\, (G + B)^\top, \qquad
    G = \partial\psi / \partial\theta, \quad B = \partial\,\mathrm{bias} / \partial\theta$$

    $P$ is $I^{-1}$. With nuisance parameters $I$ is replaced by the efficient information of the others, see
    `efficient_information`: not knowing them never lowers the bound. With constraints $c(\theta) = 0$ of
    Jacobian $C$, met by the parameters and by the estimator,

    $$P = U (U^\top I U)^{-1} U^\top, \qquad C U = 0,$$

    with the columns of $U$ a basis of the directions left free: $I$ itself may then be singular.

    **Arguments:** `information`: the information of the whole experiment, shape (d, d). `transform_jacobian`:
    G of the estimated quantity, shape (m, k), identity if left out; k = d less the nuisance parameters.
    `bias_jacobian`: B, shape (m, k), zero if left out. `nuisance`: indices, or a mask of shape (d,), of the
    parameters that are unknown and not estimated. `constraint_jacobian`: C, shape (c, d), of independent
    constraints on all d parameters, nuisances included.

    **Returns:** the bound, a covariance matrix, shape (m, m); NaN where the information of the directions left
    free is not positive definite to working precision, or the constraints are not independent.

    **Raises:** `ValueError` for shapes that do not fit, indices out of range, no parameter left to estimate, or
    as many constraints as parameters.

    **Reference:** Lehmann & Casella (1998), theorem 2.6.6; Cox & Reid (1987) for nuisance parameters; Stoica &
    Ng (1998), eq. 11, for constraints.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.cramer_rao_bound(jnp.array([[2.0, 1.0], [1.0, 1.0]]), nuisance=[1]))
    [[1.]]

    ```
    """
    information = as_square(information, "information")
    mask = _nuisance_mask([] if nuisance is None else nuisance, information.shape[0])
    if constraint_jacobian is None:
        information = _without(information, mask)
        sensitivity = _sensitivity(information.shape[0], information.dtype, transform_jacobian, bias_jacobian)
        root = whitened(information, sensitivity.T)
    else:
        interest = np.flatnonzero(~mask)
        sensitivity = _sensitivity(interest.size, information.dtype, transform_jacobian, bias_jacobian)
        free = _free_directions(constraint_jacobian, information)
        root = whitened(_along(free, information), (sensitivity @ free[interest]).T)
    return root.T @ root


def efficient_information(information: Real[ArrayLike, "d d"], nuisance) -> Float[Array, "k k"]:
    r"""The information about some parameters where the others are unknown too: a Schur complement.

    $$I_{ii} - I_{in}\, I_{nn}^{-1}\, I_{ni}$$

    Its inverse is the block of $I^{-1}$ that belongs to the parameters of interest.

    **Arguments:** `information`: shape (d, d). `nuisance`: indices, or a mask of shape (d,), of the parameters
    that are unknown and not estimated.

    **Returns:** the matrix of the k others, in their order, shape (k, k); NaN where the information of the
    nuisances is not positive definite to working precision.

    **Raises:** `ValueError` for a matrix that is not square, indices out of range, or no parameter left.

    **Reference:** Bickel, Klaassen, Ritov & Wellner (1993), section 2.4; Cox & Reid (1987).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.efficient_information(jnp.array([[2.0, 1.0], [1.0, 1.0]]), nuisance=[1]))
    [[1.]]

    ```
    """
    information = as_square(information, "information")
    return _without(information, _nuisance_mask(nuisance, information.shape[0]))


def _without(information, mask):
    interest, nuisance = np.flatnonzero(~mask), np.flatnonzero(mask)
    if nuisance.size == 0:
        return information
    root = whitened(information[np.ix_(nuisance, nuisance)], information[np.ix_(nuisance, interest)])
    return information[np.ix_(interest, interest)] - root.T @ root


def _free_directions(constraint_jacobian, information):
    """A basis of the null space of C, shape (d, d - c); NaN where the constraints are not independent."""
    size = information.shape[0]
    jacobian = jnp.asarray(constraint_jacobian, information.dtype)
    if jacobian.ndim != 2 or jacobian.shape[1] != size or not 0 < jacobian.shape[0] < size:
        raise ValueError(
            f"constraint_jacobian must have shape (c, {size}) with fewer constraints than parameters, but has "
            f"shape {jacobian.shape}."
        )
    # In units of one standard error the parameters, and with them the digits of the basis, are comparable.
    diagonal = jax.lax.stop_gradient(jnp.diag(information))
    units = jnp.where(diagonal > 0.0, jax.lax.rsqrt(jnp.where(diagonal > 0.0, diagonal, 1.0)), 1.0)
    scaled = jacobian * units[None, :]
    scaled = scaled / jax.lax.stop_gradient(jnp.linalg.norm(scaled, axis=1, keepdims=True))
    _, spread, directions = jnp.linalg.svd(jax.lax.stop_gradient(scaled), full_matrices=True)
    independent = spread[-1] > size * float(jnp.finfo(scaled.dtype).eps) * spread[0]
    basis = directions[jacobian.shape[0] :].T
    # Held constant and projected anew, the basis spans the null space under derivatives of every order, and the
    # bound depends on nothing but its span.
    basis = basis - scaled.T @ jnp.linalg.solve(scaled @ scaled.T, scaled @ basis)
    return jnp.where(independent, units[:, None] * basis, jnp.nan)


def _along(free, information):
    """$U^\\top I U$; NaN where what is left of a direction's information is the round-off of its terms."""
    reduced = free.T @ information @ free
    terms = jnp.abs(free).T @ jnp.abs(information) @ jnp.abs(free)
    floor = information.shape[0] * float(jnp.finfo(information.dtype).eps)
    seen = jnp.all(jnp.diag(reduced) > floor * jnp.diag(terms))
    return jnp.where(seen, reduced, jnp.nan)


def _sensitivity(size, dtype, transform_jacobian, bias_jacobian):
    if transform_jacobian is None:
        transform_jacobian = jnp.eye(size, dtype=dtype)
    transform_jacobian = jnp.asarray(transform_jacobian, dtype)
    if transform_jacobian.ndim != 2 or transform_jacobian.shape[1] != size:
        raise ValueError(
            f"transform_jacobian must have shape (m, {size}), a column for each parameter that is not a "
            f"nuisance, but has shape {transform_jacobian.shape}."
        )
    if bias_jacobian is None:
        return transform_jacobian
    bias_jacobian = jnp.asarray(bias_jacobian, dtype)
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
