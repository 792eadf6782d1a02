"""The alpha-connections of a statistical model, dual to each other in its Fisher metric."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._linear import solve
from fimlag._results import RESULTS
from fimlag._types import Coordinates, RealScalarLike
from fimlag.geometry._connection import first_kind_of, flat_christoffel_first_kind, lowered_curving, raised_first
from fimlag.geometry._curvature import lowered_curvature, metric_jet
from fimlag.geometry._metric import FisherMetric, FlatMetric
from fimlag.information import AbstractModel


def amari_chentsov(model: AbstractModel, theta: Coordinates) -> Float[Array, "d d d"]:
    r"""The Amari-Chentsov tensor of a model: the skewness of its score.

    $$T_{ijk}(\theta) = \mathrm E_\theta[\partial_i \ell\, \partial_j \ell\, \partial_k \ell]$$

    Taken by the expectation of the model itself, in closed form where it has one; those of independent observations
    add, pulled back along the predictions of a regression.

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree.

    **Returns:** `[i, j, k]`, symmetric, shape (d, d, d), in the order of the flattened parameters; NaN where the
    expectation failed: `fisher_estimate` tells why.

    **Raises:** `ValueError` where a family whose generic route draws samples has no key.

    **Reference:** Amari & Nagaoka (2000), section 2.3; Chentsov (1982).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> print(jax.jit(lambda q: fl.amari_chentsov(fl.families.Normal(), q))(jnp.array([0.0, 1.0]))[1])
    [[2. 0.]
     [0. 8.]]

    ```
    """
    vector, structure = flatten(theta, "theta")
    identity = jnp.eye(vector.size, dtype=vector.dtype)

    def row(u):
        return jax.vmap(lambda w: _skewness(model, structure, vector, u, w))(identity)

    return jax.vmap(row)(identity)


def alpha_christoffel(model: AbstractModel, theta: Coordinates, alpha: RealScalarLike) -> Float[Array, "d d d"]:
    r"""The symbols of the first kind of an alpha-connection.

    $$\Gamma^{(\alpha)}_{ij,k} = \Gamma^{(0)}_{ij,k} - \tfrac\alpha2 T_{ijk}
    = \mathrm E\big[\big(\partial_i \partial_j \ell + \tfrac{1 - \alpha}2 \partial_i \ell\, \partial_j \ell\big)\,
    \partial_k \ell\big]$$

    $\alpha = 0$ is the Levi-Civita connection of the Fisher metric, 1 the exponential connection, in which exponential
    families are flat, -1 the mixture connection.

    **Arguments:** `model`: a model whose expectation is one smooth function of theta. `theta`: its parameters, a
    vector or any pytree. `alpha`: a number.

    **Returns:** `[i, j, k]` $= \Gamma_{ij,k}$, the lowered index last, shape (d, d, d), in the order of the flattened
    parameters; NaN where an expectation failed.

    **Raises:** `TypeError` for a plain `MonteCarlo` rule, as `FisherMetric`; `ValueError` for an alpha that is not one
    number.

    **Reference:** Amari & Nagaoka (2000), section 2.3.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> family = fl.families.ExponentialFamily(jnp.exp)
    >>> symbols = jax.jit(lambda natural, alpha: fl.alpha_christoffel(family, natural, alpha))
    >>> print(symbols(0.0, 1.0), symbols(0.0, -1.0))
    [[[0.]]] [[[1.]]]

    ```
    """
    flat, vector = _flat_fisher(model, theta)
    first = jnp.moveaxis(flat_christoffel_first_kind(flat, vector), 0, 2)
    return first - 0.5 * _number(alpha, vector) * amari_chentsov(model, theta)


def alpha_acceleration(
    model: AbstractModel, theta: Coordinates, v: Coordinates, alpha: RealScalarLike
) -> PyTree[Array]:
    r"""The acceleration of an alpha-geodesic with a velocity, without the symbols.

    $$a^k = -\Gamma^{(\alpha)\,k}{}_{ij}\, v^i v^j, \qquad
    I a = \tfrac12 \nabla_\theta\, \mathrm E[(\partial_v \ell)^2] - (\partial_v I)\, v
    + \tfrac\alpha2\, \mathrm E[(\partial_v \ell)^2\, \nabla \ell]$$

    No array larger than the Fisher matrix is formed, but for the scores of a block of outcomes.

    **Arguments:** as for `alpha_christoffel`; `v`: a tangent vector in the structure of theta.

    **Returns:** the acceleration in the structure of theta; NaN where an expectation failed or the Fisher matrix is
    singular.

    **Raises:** `TypeError` as `alpha_christoffel`, `ValueError` where theta and v differ in structure.

    **Reference:** Amari & Nagaoka (2000), sections 1.6 and 2.3.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> mixture = jax.jit(lambda q, v: fl.alpha_acceleration(fl.families.Poisson(60), q, v, -1.0))
    >>> print(jnp.round(mixture(2.0, 1.0), 9) + 0.0)
    0.0

    ```
    """
    flat, vector = _flat_fisher(model, theta)
    v = flat.vector(v, "v", vector.dtype)
    skewness = _skewness(model, flat.structure, vector, v, v)
    lowered = 0.5 * _number(alpha, vector) * skewness - lowered_curving(flat, vector, v)
    return flat.structure.unflatten(solve(flat(vector), lowered))


def alpha_curvature(model: AbstractModel, theta: Coordinates, alpha: RealScalarLike) -> Float[Array, "d d d d"]:
    r"""The curvature tensor of an alpha-connection; of opposite alpha the lowered tensors differ in sign alone.

    $$R^{(\alpha)\,a}{}_{bcd} = \partial_c \Gamma^a_{db} - \partial_d \Gamma^a_{cb}
    + \Gamma^a_{ce} \Gamma^e_{db} - \Gamma^a_{de} \Gamma^e_{cb}, \qquad
    R^{(\alpha)}_{abcd} = -R^{(-\alpha)}_{bacd}$$

    **Arguments:** as for `alpha_christoffel`.

    **Returns:** `[a, b, c, d]` $= R^a{}_{bcd}$, in the order of `riemann_curvature`, which it is for $\alpha = 0$; NaN
    where an expectation failed or the Fisher matrix is singular.

    **Raises:** as `alpha_christoffel`.

    **Reference:** Amari & Nagaoka (2000), section 3.1; Lauritzen (1987), section 4.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> curvature = jax.jit(lambda q: fl.alpha_curvature(fl.families.Normal(), q, 1.0))
    >>> bool(jnp.all(jnp.abs(curvature(jnp.array([0.0, 1.0]))) < 1e-12))
    True

    ```
    """
    flat, vector = _flat_fisher(model, theta)
    half = 0.5 * _number(alpha, vector)

    def tensor(x):
        skewness = amari_chentsov(model, flat.structure.unflatten(x))
        return skewness, skewness

    matrix, derivative, second = metric_jet(flat, vector)
    slope, skewness = jax.jacfwd(tensor, has_aux=True)(vector)
    first = first_kind_of(derivative)
    # Of the slope of the symbols, d_c d_d g_ab has no part in the curvature: it would cost digits.
    slopes = 0.5 * (second - jnp.einsum("ijak->aijk", second)) - half * slope
    lowered = lowered_curvature(matrix, first - half * skewness, first + half * skewness, slopes)
    return raised_first(matrix, lowered)


def _flat_fisher(model: AbstractModel, theta: Coordinates) -> tuple[FlatMetric, Float[Array, " d"]]:
    vector, structure = flatten(theta, "theta")
    return FlatMetric(FisherMetric(model), structure), vector


def _number(alpha: RealScalarLike, like: Float[Array, " d"]) -> Float[Array, ""]:
    number = jnp.asarray(alpha, like.dtype)
    if number.shape != ():
        raise ValueError(f"alpha must be one number, but has shape {number.shape}: use jax.vmap for several.")
    return number


def _skewness(model: AbstractModel, structure: Structure, vector, u, w) -> Float[Array, " d"]:
    """$\\mathrm{E}[s_u s_w s_k]$ of flat vectors, NaN where the expectation failed."""
    skewness, result = model.skewness(*(structure.unflatten(each) for each in (vector, u, w)))
    return jnp.where(result == RESULTS.successful, skewness, jnp.nan)
