"""Ellipsoids of confidence about an estimate."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact

from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.information._definite import check_square, definite_factor, definite_inverse


class ConfidenceEllipsoid(AbstractSolution):
    r"""The parameters within a quantile of the chi-square distribution of an estimate.

    $$\{\theta : (\theta - \hat\theta)^\top \Sigma^{-1} (\theta - \hat\theta) \le \chi^2_{d;\, \mathtt{level}}\}$$

    Vectors and matrices are in the order of the flattened parameters; points come in the structure of the estimate.

    **Attributes:** `centre` (d,); `covariance` (d, d); `factor` (d, d): its lower Cholesky factor; `radius`: the root
    of the quantile; `level`; `result`: `successful`, `nonfinite`, or `singular_information` where the covariance is
    not positive definite to working precision.
    """

    centre: Float[Array, " d"]
    covariance: Float[Array, "d d"]
    factor: Float[Array, "d d"]
    radius: Float[Array, ""]
    level: float = eqx.field(static=True)
    structure: Structure
    result: RESULTS

    def mahalanobis(self, theta: Coordinates) -> Float[Array, ""]:
        """The distance of a point from the centre in standard errors, shape ()."""
        offset = self.structure.flatten(theta, "theta") - self.centre
        square = jnp.sum(jax.scipy.linalg.solve_triangular(self.factor, offset, lower=True) ** 2)
        # At the centre the distance has no derivative: 0 is what its minimum has from both sides.
        centre = square == 0.0
        return jnp.where(centre, 0.0, jnp.sqrt(jnp.where(centre, 1.0, square)))

    def contains(self, theta: Coordinates) -> Bool[Array, ""]:
        """Whether a point lies in the ellipsoid or on its boundary, shape (); False where the ellipsoid is NaN."""
        return self.mahalanobis(theta) <= self.radius

    @property
    def semi_axes(self) -> Float[Array, " d"]:
        """The lengths of the half-axes, the shortest first, shape (d,)."""
        return self.radius * jnp.sqrt(jnp.linalg.eigvalsh(self.factor @ self.factor.T))

    @property
    def axes(self) -> Float[Array, "d d"]:
        """The directions of the axes as unit columns, in the order of `semi_axes`, shape (d, d)."""
        return jnp.linalg.eigh(self.factor @ self.factor.T)[1]

    @property
    def volume(self) -> Float[Array, ""]:
        """The volume enclosed (of an interval its length), shape ()."""
        d = self.centre.size
        of_ball = math.exp(0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d + 1.0))
        return of_ball * self.radius**d * jnp.prod(jnp.diag(self.factor))

    def boundary(self, points: int = 181) -> Float[Array, "points 2"]:
        """The boundary of an ellipse as a closed curve, its first point repeated at the end, shape (points, 2).

        Of other dimensions take the boundary of a `projection` or `marginal`: else a `ValueError`.
        """
        if self.centre.size != 2:
            raise ValueError(
                f"Only an ellipse has a curve as its boundary, but this ellipsoid has dimension {self.centre.size}: "
                "take that of .projection((i, j)) or .marginal((i, j))."
            )
        angle = np.linspace(0.0, 2.0 * np.pi, points)
        circle = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)]), self.centre.dtype)
        return self.centre[None, :] + self.radius * (self.factor @ circle).T

    def projection(self, coordinates) -> "ConfidenceEllipsoid":
        """The shadow on some coordinates, which holds all d parameters jointly: the radius stays.

        **Arguments:** `coordinates`: distinct indices of the flattened parameters.

        **Raises:** `ValueError` for indices that are out of range or repeated.
        """
        return self._of(coordinates, lambda d: self.radius)

    def marginal(self, coordinates) -> "ConfidenceEllipsoid":
        """The ellipsoid of some coordinates alone at the same level, whatever the others: a smaller radius.

        **Arguments:** and **Raises:** as for `projection`.
        """
        return self._of(coordinates, lambda d: jnp.asarray(_quantile_root(d, self.level), self.centre.dtype))

    def _of(self, coordinates, radius_in):
        chosen = np.atleast_1d(np.asarray(coordinates))
        size = self.centre.size
        valid = chosen.ndim == 1 and chosen.size and np.issubdtype(chosen.dtype, np.integer)
        if not valid or not np.all((-size <= chosen) & (chosen < size)) or np.unique(chosen % size).size < chosen.size:
            raise ValueError(f"coordinates must be distinct indices below {size}, but are {coordinates!r}.")
        centre, covariance = self.centre[chosen], self.covariance[np.ix_(chosen, chosen)]
        finite = self.result != RESULTS.nonfinite
        return _ellipsoid(centre, covariance, radius_in(chosen.size), self.level, flatten(centre)[1], finite)


def confidence_ellipsoid(
    theta: Coordinates,
    *,
    covariance: Inexact[Array, "d d"] | None = None,
    information: Inexact[Array, "d d"] | None = None,
    level: float = 0.95,
    throw: bool = True,
) -> ConfidenceEllipsoid:
    r"""The ellipsoid that holds the truth with a given probability, where the estimate is about normal.

    $$(\theta - \hat\theta)^\top \Sigma^{-1} (\theta - \hat\theta) \le \chi^2_{d;\, \mathtt{level}}$$

    **Arguments:** `theta`: the estimate, a vector or any pytree. One of `covariance`: its covariance, a bound or a
    sandwich, and `information`: that of the whole experiment, of which the inverse is the covariance; shape (d, d) in
    the order of the flattened parameters. `level`: the probability, a number between 0 and 1. `throw`: raise where
    the matrix is not positive definite.

    **Returns:** a `ConfidenceEllipsoid`: `.axes`, `.semi_axes`, `.volume`, `.mahalanobis(theta)`, `.contains(theta)`,
    `.boundary(points)`, `.projection(coordinates)`, `.marginal(coordinates)`.

    **Raises:** `ValueError` for both or neither of the matrices, another shape, or a level outside (0, 1); with
    `throw`, `nonfinite` and `singular_information`.

    **Reference:** Cox & Hinkley (1974), section 9.3; Johnson & Wichern (2007), result 4.7.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> ellipse = fl.confidence_ellipsoid(jnp.array([1.0, 2.0]), information=jnp.diag(jnp.array([100.0, 25.0])))
    >>> print(jnp.round(ellipse.semi_axes, 6), ellipse.contains(jnp.array([1.2, 2.2])))
    [0.244775 0.489549] True

    ```
    """
    if (covariance is None) == (information is None):
        raise ValueError("Give either covariance or information.")
    if not isinstance(level, float | int) or not 0.0 < level < 1.0:
        raise ValueError(f"level must be a number between 0 and 1, but is {level!r}.")
    vector, structure = flatten(theta, "theta")
    name, matrix = ("covariance", covariance) if information is None else ("information", information)
    matrix = jnp.asarray(matrix, vector.dtype)
    check_square(matrix, name)
    if matrix.shape[0] != vector.size:
        raise ValueError(f"{name} has shape {matrix.shape}, but theta has {vector.size} coordinates.")
    finite = jnp.all(jnp.isfinite(matrix)) & jnp.all(jnp.isfinite(vector))
    matrix = matrix if information is None else definite_inverse(matrix)
    radius = jnp.asarray(_quantile_root(vector.size, level), vector.dtype)
    return raise_unless_successful(_ellipsoid(vector, matrix, radius, float(level), structure, finite), throw)


def _ellipsoid(centre, covariance, radius, level, structure, finite):
    factor = definite_factor(covariance)
    result = first_failure(
        (~finite, RESULTS.nonfinite),
        (~jnp.all(jnp.isfinite(factor)), RESULTS.singular_information),
    )
    return ConfidenceEllipsoid(
        centre=centre,
        covariance=covariance,
        factor=factor,
        radius=radius,
        level=level,
        structure=structure,
        result=result,
    )


def _quantile_root(d: int, level: float) -> float:
    """The root of the chi-square quantile of d degrees of freedom."""
    from scipy.special import gammaincinv

    return math.sqrt(2.0 * gammaincinv(0.5 * d, level))
