"""Criteria of optimal design: one number for how good an information matrix is."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from fimlag.information._definite import definite_factor, definite_inverse
from fimlag.information._soft_eigenvalue import (
    mixture,
    shifted,
    smallest_eigenvalue,
    soften,
    softened_eigenvalue,
)


class AbstractCriterion(eqx.Module):
    r"""A criterion by what the search for a design needs of it.

    To each belongs a mean information $\phi$: concave, and of degree one, so that twice the observations are worth
    twice as much. Its loss is $-\log\phi$, and the gains of the candidates are $g_i = \langle G, M_i\rangle$ with
    $G = \partial \log \phi / \partial M$: $\sum_i w_i g_i = 1$, and $\max_i g_i = 1$ at the optimum. A criterion
    that is not smooth is softened by its share of the logarithmic `barrier`.
    """

    @abc.abstractmethod
    def value(self, information: Float[Array, "d d"]) -> Float[Array, ""]:
        """The criterion as the literature states it; NaN where the matrix is not positive definite."""

    @abc.abstractmethod
    def bound(self, information: Float[Array, "d d"]) -> Float[Array, ""]:
        """What the largest sensitivity equals at the optimum."""

    @abc.abstractmethod
    def scale(self, information: Float[Array, "d d"]) -> Float[Array, ""]:
        """What turns gains into sensitivities."""

    @abc.abstractmethod
    def loss(self, information: Float[Array, "d d"], barrier) -> Float[Array, ""]:
        """$-\\log\\phi$; NaN where the matrix is not positive definite."""

    @abc.abstractmethod
    def gradient(self, information: Float[Array, "d d"], barrier) -> Float[Array, "d d"]:
        """The matrix G whose product with the information of one observation is its gain."""

    @abc.abstractmethod
    def curvature(
        self, information: Float[Array, "d d"], contributions: Float[Array, "n d d"], barrier
    ) -> Float[Array, "n dd"]:
        """A factor U of the Hessian $U U^\\top$ of the loss in the weights, shape (n, d * d)."""


class DOptimality(AbstractCriterion):
    r"""The log-determinant, to be raised: the volume of the confidence ellipsoid.

    $$\log\det M, \qquad \phi = (\det M)^{1/d}$$

    Invariant under changes of parameters. Sensitivity $\operatorname{tr}(M^{-1} M_i)$, bound $d$.

    **Reference:** Kiefer & Wolfowitz (1960), theorem.
    """

    def value(self, information):
        return 2.0 * jnp.sum(jnp.log(jnp.diagonal(definite_factor(information))))

    def bound(self, information):
        return jnp.asarray(information.shape[0], information.dtype)

    def scale(self, information):
        return self.bound(information)

    def loss(self, information, barrier):
        return -self.value(information) / information.shape[0]

    def gradient(self, information, barrier):
        return definite_inverse(information) / information.shape[0]

    def curvature(self, information, contributions, barrier):
        return _flat(_whitened(definite_factor(information), contributions)) / information.shape[0] ** 0.5


class AbstractTraceCriterion(AbstractCriterion):
    r"""A weighted trace of the inverse, to be lowered: $\operatorname{tr}(W M^{-1})$ with W positive semidefinite."""

    @abc.abstractmethod
    def weight(self, information: Float[Array, "d d"]) -> Float[Array, "d d"]:
        """The matrix W, in the dtype of the information."""

    def value(self, information):
        return jnp.sum(self.weight(information) * definite_inverse(information))

    def bound(self, information):
        return self.value(information)

    def scale(self, information):
        return self.value(information)

    def loss(self, information, barrier):
        return jnp.log(self.value(information))

    def gradient(self, information, barrier):
        inverse = definite_inverse(information)
        weighted = inverse @ self.weight(information) @ inverse
        return 0.5 * (weighted + weighted.T) / self.value(information)

    def curvature(self, information, contributions, barrier):
        factor = definite_factor(information)
        root = jax.scipy.linalg.solve_triangular(factor, _symmetric_root(self.weight(information)), lower=True).T
        root = root / jnp.linalg.norm(root)
        rows = _flat(jnp.einsum("ab,nbc->nac", root, _whitened(factor, contributions)))
        return 2.0**0.5 * _shortened(rows, jnp.ravel(root), 0.5)


class AOptimality(AbstractTraceCriterion):
    r"""The sum of the variances of the estimates, or of linear functions of them, to be lowered.

    $$\operatorname{tr}(K M^{-1} K^\top)$$

    Sensitivity $\operatorname{tr}(K M^{-1} M_i M^{-1} K^\top)$, bound: the criterion itself.

    **Arguments:** `transform`: K, the functions of interest, shape (m, d) (L-optimality; a single row is
    c-optimality, where the best design may leave other functions unidentified: its gap then closes slowly).
    The identity if left out.

    **Reference:** Fedorov (1972), section 2.9; Pukelsheim (2006), section 6.5.
    """

    transform: Float[Array, "m d"] | None

    def __init__(self, transform: ArrayLike | Sequence[Sequence[float]] | None = None):
        self.transform = None if transform is None else _rows(transform, "transform")

    def weight(self, information):
        if self.transform is None:
            return jnp.eye(information.shape[0], dtype=information.dtype)
        return _gram(self.transform, information)


class IOptimality(AbstractTraceCriterion):
    r"""The mean variance of predictions over a region of interest, to be lowered.

    $$\frac1k \sum_{j=1}^k f_j^\top M^{-1} f_j$$

    Sensitivity $\frac1k \sum_j f_j^\top M^{-1} M_i M^{-1} f_j$, bound: the criterion itself.

    **Arguments:** `regressors`: the rows $f_j$, the gradients of the predictions with respect to the parameters
    at points that represent the region, shape (k, d). For a continuous measure pass a root of its moments:
    `jnp.sqrt(d) * jnp.linalg.cholesky(moments).T`.

    **Reference:** Atkinson, Donev & Tobias (2007), section 10.6 (V- and I-optimality).
    """

    regressors: Float[Array, "k d"]

    def __init__(self, regressors: ArrayLike | Sequence[Sequence[float]]):
        self.regressors = _rows(regressors, "regressors")

    def weight(self, information):
        return _gram(self.regressors, information) / self.regressors.shape[0]


class MeanInformation(AbstractTraceCriterion):
    """The I-criterion over the candidates themselves: the weight is their mean information."""

    mean: Float[Array, "d d"]

    def weight(self, information):
        return self.mean


class EOptimality(AbstractCriterion):
    r"""The smallest eigenvalue, to be raised: the direction known worst.

    $$\lambda_{\min}(M)$$

    Sensitivity $\operatorname{tr}(E M_i)$, bound $\lambda_{\min}$, with E a positive semidefinite matrix of trace
    one. Where the eigenvalue is multiple, the criterion has no derivative and E mixes its eigenvectors: it is that
    of the softened eigenvalue $t$ with a barrier $\epsilon$, machine precision to the power 0.4:

    $$E = \epsilon\, t\, (M - t)^{-1}, \qquad t = \arg\max_t\; \log t + \epsilon \log\det(M - t)$$

    Any such E bounds the loss of efficiency rigorously; this one is optimal to about $d \epsilon$. It is the
    derivative of `design_criterion` too.

    **Reference:** Pukelsheim (2006), section 7.21; Boyd & Vandenberghe (2004), sections 7.5.2 and 11.6.
    """

    def value(self, information):
        return smallest_eigenvalue(information)

    def bound(self, information):
        return smallest_eigenvalue(information)

    def scale(self, information):
        return softened_eigenvalue(information, soften(0.0, information))

    def loss(self, information, barrier):
        soft = soften(barrier, information)
        level = softened_eigenvalue(information, soft)
        factor = jnp.linalg.cholesky(shifted(information, level))
        return -jnp.log(level) - 2.0 * soft * jnp.sum(jnp.log(jnp.diagonal(factor)))

    def gradient(self, information, barrier):
        level = softened_eigenvalue(information, soften(barrier, information))
        return mixture(information, level) / level

    def curvature(self, information, contributions, barrier):
        soft = soften(barrier, information)
        level = softened_eigenvalue(information, soft)
        factor = jnp.linalg.cholesky(shifted(information, level))
        whitened = _whitened(factor, contributions)
        direction = _whitened(factor, jnp.eye(factor.shape[0], dtype=factor.dtype)[None])[0]
        share = soft * jnp.sum(direction**2)
        share = share / (1.0 / level**2 + share)
        direction = jnp.ravel(direction / jnp.linalg.norm(direction))
        return soft**0.5 * _shortened(_flat(whitened), direction, share)


def _whitened(factor, contributions):
    """$L^{-1} M_i L^{-\\top}$ for each contribution, shape (n, d, d)."""
    inverse = jax.scipy.linalg.solve_triangular(factor, jnp.eye(factor.shape[0], dtype=factor.dtype), lower=True)
    return jnp.einsum("ab,nbc,dc->nad", inverse, contributions, inverse)


def _flat(matrices):
    return jnp.reshape(matrices, (matrices.shape[0], -1))


def _shortened(rows, direction, share):
    """Rows whose Gram matrix lacks a share of their part along a unit vector: $X (1 - share\\, c c^\\top) X^\\top$."""
    return rows - jnp.outer(rows @ direction, (1.0 - (1.0 - share) ** 0.5) * direction)


def _symmetric_root(weight):
    values, vectors = jnp.linalg.eigh(weight)
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]


def _gram(rows, information):
    if rows.shape[1] != information.shape[0]:
        raise ValueError(
            f"The criterion holds rows of length {rows.shape[1]}, but the information has shape {information.shape}."
        )
    rows = rows.astype(information.dtype)
    return rows.T @ rows


def _rows(rows, name):
    rows = jnp.asarray(rows)
    rows = rows if jnp.issubdtype(rows.dtype, jnp.inexact) else rows.astype(jnp.result_type(float))
    if rows.ndim != 2 or rows.size == 0 or jnp.iscomplexobj(rows):
        raise ValueError(f"{name} must be a real matrix of shape (rows, d), but has shape {rows.shape}.")
    return rows
