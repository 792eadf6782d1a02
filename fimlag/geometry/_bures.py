"""The Wasserstein geometry of normal distributions: what it costs to carry one into another."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from fimlag._flat import flatten
from fimlag._linear import solve
from fimlag._types import RealScalarLike
from fimlag.geometry._gaussian_transport import bures_square, transport_excess
from fimlag.geometry._metric import AbstractMetric
from fimlag.information.families._family import root
from fimlag.information.families._log_cholesky import factor_of, triangle_size


def bures_distance(
    covariance0: Real[ArrayLike, "..."],
    covariance1: Real[ArrayLike, "..."],
    mean0: Real[ArrayLike, "..."] | None = None,
    mean1: Real[ArrayLike, "..."] | None = None,
) -> Float[Array, ""]:
    r"""The Wasserstein distance W2 between two normal distributions.

    $$W_2^2 = |\mu_1 - \mu_0|^2 + \operatorname{tr}\Big(\Sigma_0 + \Sigma_1
    - 2 \big(\Sigma_0^{1/2} \Sigma_1 \Sigma_0^{1/2}\big)^{1/2}\Big)$$

    It measures how far outcomes must be moved, in THEIR unit; the Fisher-Rao distance, `FisherMetric(model)`, measures
    how well two distributions are told apart, in standard deviations: small covariances are far apart in that, and near
    each other in this. The trace is taken as a sum of squares of what $\Sigma_1 - \Sigma_0$ amounts to, so that near
    pairs keep their digits.

    **Arguments:** `covariance0`, `covariance1`: symmetric positive semidefinite matrices (d, d); `mean0`, `mean1`: the
    means (d,); both left out, they are equal.

    **Returns:** a length in the unit of an outcome, shape (); NaN for a matrix with a negative eigenvalue. Its gradient
    where the two coincide is 0. A singular matrix is known to the root of round-off alone, and has no derivative.

    **Raises:** `ValueError` for matrices that are not square or differ in size, or one mean alone.

    **Reference:** Bhatia, Jain & Lim (2019), eq. 1; Takatsu (2011), section 2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.bures_distance(jnp.diag(jnp.array([1.0, 4.0])), jnp.diag(jnp.array([16.0, 36.0]))))  # |(4 - 1, 6 - 2)|
    5.0

    ```
    """
    first, second = _pair(covariance0, covariance1)
    square = bures_square(first, second)
    if (mean0 is None) != (mean1 is None):
        raise ValueError("Give both means or none: one alone says nothing of their distance.")
    if mean0 is not None:
        square = square + jnp.sum(_difference(mean0, mean1, first) ** 2)
    return root(square)


def displacement_interpolation(
    covariance0: Real[ArrayLike, "..."], covariance1: Real[ArrayLike, "..."], t: RealScalarLike
) -> Float[Array, "d d"]:
    r"""The covariance on the way from one to another: the geodesic of W2, whose means move in a straight line.

    $$\Sigma_t = M_t \Sigma_0 M_t, \qquad M_t = (1 - t) I + t T, \qquad T \Sigma_0 T = \Sigma_1$$

    T is the symmetric matrix of the optimal map.

    **Arguments:** `covariance0`, `covariance1`: symmetric, positive definite (d, d); `t`: from 0 to 1.

    **Returns:** a covariance, shape (d, d); NaN for a matrix with a negative eigenvalue.

    **Raises:** `ValueError` for matrices that are not square or differ in size.

    **Reference:** McCann (1997), example 1.7; Takatsu (2011), section 2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.displacement_interpolation(jnp.eye(1), 9.0 * jnp.eye(1), 0.5))
    [[4.]]

    ```
    """
    first, second = _pair(covariance0, covariance1)
    move = jnp.eye(first.shape[0], dtype=first.dtype) + jnp.asarray(t, first.dtype) * transport_excess(first, second)
    return move @ first @ move


class BuresMetric(AbstractMetric):
    r"""The Wasserstein metric of normal distributions of d-vectors, in the parameters of `MultivariateNormal(d)`.

    $$g(v, v) = |\dot\mu|^2 + \operatorname{tr} X \Sigma X = |\dot\mu|^2 + \min_{\Omega = -\Omega^\top}
    |\dot L + L \Omega|^2, \qquad X \Sigma + \Sigma X = \dot\Sigma$$

    with $\theta = (\mu, L)$, $\Sigma = L L^\top$, L lower triangular, row by row, with the LOGARITHMS of its diagonal.
    Its distance is `bures_distance`, a length in the unit of an outcome. It is NOT the Fisher metric of the family,
    `FisherMetric(MultivariateNormal(d))`, which has no unit: for d = 1 that is negatively curved and this is flat.
    Times the drag coefficient it is the friction metric of an overdamped particle in a trap that moves and changes
    slowly; and whatever force moves its density in a time tau, at least the drag times the squared distance over tau is
    dissipated.

    **Arguments:** `d`: the length of an outcome, at least 1.

    **Raises:** `ValueError` for a length below 1, or a point of another number of coordinates than d + d (d + 1) / 2.

    **Reference:** Takatsu (2011), sections 2 and 3; Bhatia, Jain & Lim (2019), section 3 (factors); Nakazato & Ito
    (2021) for the bound.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.BuresMetric(1)(jnp.array([5.0, jnp.log(3.0)])))          # in the mean and the logarithm of sigma
    [[1. 0.]
     [0. 9.]]

    ```
    """

    d: int = eqx.field(static=True)

    def __init__(self, d: int):
        if d < 1:
            raise ValueError(f"d must be at least 1, but is {d}.")
        self.d = d

    @property
    def chart(self) -> None:
        """None: every vector is a mean and a covariance."""
        return None

    @property
    def closed_distance(self):
        """`bures_distance` of two points."""
        return self._distance

    def moments(self, theta: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        """The mean and the factor L of the covariance."""
        vector = flatten(theta, "theta")[0]
        expected = self.d + triangle_size(self.d)
        if vector.size != expected:
            raise ValueError(f"A normal distribution of {self.d}-vectors has {expected} parameters, not {vector.size}.")
        return vector[: self.d], factor_of(vector[self.d :])

    def __call__(self, q):
        vector = flatten(q, "q")[0]
        moved = jax.vmap(lambda v: self._lifted(vector, v))(jnp.eye(vector.size, dtype=vector.dtype))
        return moved @ moved.T

    def quadratic(self, q, v):
        vector, velocity = flatten(q, "q")[0], flatten(v, "v")[0]
        return jnp.sum(self._lifted(vector, velocity.astype(vector.dtype)) ** 2)

    def _lifted(self, theta, velocity):
        """The velocity of mean and factor that moves outcomes least: rotations of the factor, which no outcome sees,
        are taken out."""
        (_, factor), (rise, growth) = jax.jvp(self.moments, (theta,), (velocity,))
        if self.d == 1:
            return jnp.append(rise, growth)
        turns = jnp.asarray(_rotations(self.d), factor.dtype)
        turned = jnp.einsum("ij,pjk->pik", factor, turns)
        gram = jnp.einsum("pij,qij->pq", turned, turned)
        share = solve(gram, -jnp.einsum("pij,ij->p", turned, growth))
        return jnp.append(rise, growth + jnp.einsum("p,pij->ij", share, turned))

    def _distance(self, theta0, theta1):
        (mean0, factor0), (mean1, factor1) = self.moments(theta0), self.moments(theta1)
        return bures_distance(factor0 @ factor0.T, factor1 @ factor1.T, mean0, mean1)


def _rotations(d: int) -> np.ndarray:
    """A basis of the antisymmetric matrices, shape (d (d - 1) / 2, d, d)."""
    rows, columns = np.triu_indices(d, 1)
    basis = np.zeros((rows.size, d, d))
    number = np.arange(rows.size)
    basis[number, rows, columns], basis[number, columns, rows] = 1.0, -1.0
    return basis


def _difference(mean0, mean1, covariance):
    """The second mean less the first; a `ValueError` where they are no vectors of the size of the covariance."""
    start, end = (jnp.asarray(mean, covariance.dtype) for mean in (mean0, mean1))
    if start.shape != covariance.shape[:1] or end.shape != covariance.shape[:1]:
        raise ValueError(f"Means of shape {covariance.shape[:1]} are needed, but {start.shape} and {end.shape} came.")
    return end - start


def _pair(covariance0, covariance1):
    first, second = (jnp.asarray(x, jnp.result_type(float, x)) for x in (covariance0, covariance1))
    if first.ndim != 2 or first.shape[0] != first.shape[1] or first.shape != second.shape:
        raise ValueError(f"Two square matrices of one size are needed, but {first.shape} and {second.shape} came.")
    dtype = jnp.result_type(first, second)
    return first.astype(dtype), second.astype(dtype)
