r"""Functionals of a density: its Fisher information about location, its entropy, and both relative to a reference.

They belong to one density in x, not to a family: $J[p] = \int |\nabla p|^2 / p$ says how well a shift of p can be told,
and is the Fisher information of the location family $p(x - \theta)$ alone. The metric $I(\theta)$ of a family is
`fisher_information(model, theta)`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.information._amplitude import (
    DensityLike,
    FunctionalEstimate,
    at_nodes,
    coarse,
    coefficients_of,
    evaluated,
    gradients_at_nodes,
    root_of,
    tail_of,
    wave_of,
)
from fimlag.information._density_grids import AbstractGrid


def fisher_functional(density: DensityLike, grid: AbstractGrid, *, log: bool = False) -> Float[Array, ""]:
    r"""The Fisher information of a density about its location, by way of its amplitude.

    $$J[p] = \int \frac{|\nabla p|^2}{p}\, \mathrm{d}x = 4 \int |\nabla \psi|^2\, \mathrm{d}x, \qquad \psi = \sqrt p$$

    This is a functional of one density in x. It equals the Fisher information of the location family
    $p(x - \theta)$ (its trace, in several dimensions), and is no metric on another family: for that see
    `fisher_information(model, theta)`. Nothing is divided by p, so that zeros of the density do no harm.

    **Arguments:** `density`: a function of a point, shape () in one dimension and (d,) in d, or its values at
    `grid.points`. `grid`: a grid that holds the density. `log`: whether the logarithm of the density is given (nats).

    **Returns:** the information (in one over the squared unit of x), shape (); NaN where the grid is too coarse or too
    small, the density is not normalised, or J is infinite, as for a density that jumps:
    `functional_estimate(fl.fisher_functional, density, grid)` tells which.

    **Raises:** `ValueError` for values of another shape than the nodes, or a function that returns no number.

    **Reference:** Fisher (1925); Huber (1981), definition 4.1; Cover & Thomas (2006), eq. 17.62.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def log_density(x): return x - 2.0 * jnp.logaddexp(0.0, x)         # the logistic density: J = 1/3
    >>> print(jnp.round(fl.fisher_functional(log_density, fl.LineGrid(size=200), log=True), 9))
    0.333333333

    ```
    """
    return fisher_functional_estimate(density, grid, log=log).checked_value


def fisher_functional_matrix(density: DensityLike, grid: AbstractGrid, *, log: bool = False) -> Float[Array, "d d"]:
    r"""The matrix of the Fisher information of a density about its location.

    $$J_{ij}[p] = \int \frac{\partial_i p\, \partial_j p}{p}\, \mathrm{d}x = 4 \int \partial_i \psi\, \partial_j \psi\,
    \mathrm{d}x$$

    **Arguments:** as for `fisher_functional`, which is its trace.

    **Returns:** the matrix, shape (d, d); NaN where the grid does not hold the density.

    **Raises:** `ValueError` as for `fisher_functional`.

    **Reference:** Stam (1959); Dembo, Cover & Thomas (1991), section II.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> covariance = jnp.array([[1.0, 0.5], [0.5, 1.0]])
    >>> grid = fl.ProductGrid(fl.LineGrid(size=40), fl.LineGrid(size=40))
    >>> def density(x): return jax.scipy.stats.multivariate_normal.pdf(x, jnp.zeros(2), covariance)
    >>> print(jnp.round(fl.fisher_functional_matrix(density, grid), 6))    # the inverse of the covariance
    [[ 1.333333 -0.666667]
     [-0.666667  1.333333]]

    ```
    """
    return fisher_matrix_estimate(density, grid, log=log).checked_value


def differential_entropy(density: DensityLike, grid: AbstractGrid, *, log: bool = False) -> Float[Array, ""]:
    r"""The differential entropy of a density.

    $$h[p] = -\int p \log p\, \mathrm{d}x$$

    **Arguments:** as for `fisher_functional`.

    **Returns:** the entropy (nats), shape (); NaN where the grid does not hold the density.

    **Raises:** `ValueError` as for `fisher_functional`.

    **Reference:** Shannon (1948), section 20.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> normal = jax.scipy.stats.norm.pdf
    >>> print(f"{fl.differential_entropy(normal, fl.LineGrid()):.9f}")        # log(2 pi e) / 2
    1.418938533

    ```
    """
    return differential_entropy_estimate(density, grid, log=log).checked_value


def entropy_power(density: DensityLike, grid: AbstractGrid, *, log: bool = False) -> Float[Array, ""]:
    r"""The entropy power of a density: the variance of the white normal density of the same entropy.

    $$N[p] = \frac{1}{2 \pi e}\, e^{2 h[p] / d}$$

    Stam's inequality is $N J \ge d$, with equality for white normal densities; the entropy powers of independent
    variables satisfy $N(X + Y) \ge N(X) + N(Y)$.

    **Arguments:** as for `fisher_functional`.

    **Returns:** the entropy power (the squared unit of x), shape (); NaN where the grid does not hold the density.

    **Raises:** `ValueError` as for `fisher_functional`.

    **Reference:** Shannon (1948), section 21; Stam (1959), eqs. 2.1 and 2.3.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def normal(x): return jax.scipy.stats.norm.pdf(x, 0.0, 2.0)
    >>> print(jnp.round(fl.entropy_power(normal, fl.LineGrid(scale=2.0)), 9))
    4.0

    ```
    """
    return entropy_power_estimate(density, grid, log=log).checked_value


def relative_entropy(
    density: DensityLike, grid: AbstractGrid, potential: DensityLike, *, log: bool = False
) -> Float[Array, ""]:
    r"""The relative entropy of a density against the Gibbs density of a potential: its excess of free energy.

    $$\mathrm{KL}(p \Vert \pi) = \int p \log \frac p\pi\, \mathrm{d}x, \qquad \pi = \frac{e^{-U}}{Z}, \quad
    Z = \int e^{-U}\, \mathrm{d}x$$

    **Arguments:** `density`, `grid`, `log`: as for `fisher_functional`. `potential`: U, a function of a point or its
    values at the nodes, in units of the temperature.

    **Returns:** the relative entropy (nats), shape (); NaN where the grid does not hold both densities.

    **Raises:** `ValueError` as for `fisher_functional`.

    **Reference:** Kullback & Leibler (1951); Jordan, Kinderlehrer & Otto (1998), eq. 5.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def normal(x): return jax.scipy.stats.norm.pdf(x, 1.0, 1.0)
    >>> print(jnp.round(fl.relative_entropy(normal, fl.LineGrid(), lambda x: x**2 / 2), 9))
    0.5

    ```
    """
    return relative_entropy_estimate(density, grid, potential, log=log).checked_value


def relative_fisher_functional(
    density: DensityLike, grid: AbstractGrid, potential: DensityLike, *, log: bool = False
) -> Float[Array, ""]:
    r"""The Fisher information of a density relative to the Gibbs density of a potential.

    $$J(p \Vert \pi) = \int p\, \Big|\nabla \log \frac p\pi\Big|^2 \mathrm{d}x
    = \int |2 \nabla \psi + \psi \nabla U|^2\, \mathrm{d}x, \qquad \pi \propto e^{-U}$$

    It is the rate at which the Fokker-Planck flow `fokker_planck_flow` dissipates relative entropy. Where U is
    uniformly convex, $U'' \ge \rho$, the logarithmic Sobolev inequality is $J \ge 2 \rho\, \mathrm{KL}$.

    **Arguments:** `density`, `grid`, `log`: as for `fisher_functional`. `potential`: U, a differentiable function of a
    point, in units of the temperature.

    **Returns:** the relative information (in one over the squared unit of x), shape (); NaN where the grid does not
    hold the density.

    **Raises:** `ValueError` as for `fisher_functional`; `TypeError` for a potential that is no function.

    **Reference:** Otto & Villani (2000), section 1; Bakry & Emery (1985).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def normal(x): return jax.scipy.stats.norm.pdf(x, 1.0, 1.0)        # twice its relative entropy
    >>> print(jnp.round(fl.relative_fisher_functional(normal, fl.LineGrid(), lambda x: x**2 / 2), 9))
    1.0

    ```
    """
    return relative_fisher_estimate(density, grid, potential, log=log).checked_value


def _round_off(grid):
    """What round-off leaves of an information that is zero, as that of a uniform density."""
    eps = float(jnp.finfo(grid.dtype).eps)
    slopes = [256.0 * eps * axis.table.basis.shape[1] ** 2 / jnp.sum(axis.node_weights) for axis in grid.axes]
    return lambda wave: jnp.sum(jnp.stack(slopes) ** 2)


def fisher_functional_estimate(density, grid, log, rtol=1e-6) -> FunctionalEstimate:
    """The information with its error and result."""
    return evaluated(lambda wave: 4.0 * jnp.sum(wave.slopes**2), density, grid, log, rtol, _round_off(grid))


def fisher_matrix_estimate(density, grid, log, rtol=1e-6) -> FunctionalEstimate:
    """The matrix with its error and result."""

    def matrix(wave):
        slopes = wave.slopes.reshape(wave.slopes.shape[0], -1)
        return 4.0 * slopes @ slopes.T

    return evaluated(matrix, density, grid, log, rtol, _round_off(grid))


def _entropy(wave, weights):
    tiny = float(jnp.finfo(weights.dtype).tiny)
    return -jnp.sum(wave.masses * jnp.log(jnp.maximum(wave.masses / weights, tiny)))


def differential_entropy_estimate(density, grid, log, rtol=1e-6) -> FunctionalEstimate:
    """The entropy with its error and result."""
    weights = grid.weights
    return evaluated(lambda wave: _entropy(wave, weights), density, grid, log, rtol, lambda wave: rtol)


def entropy_power_estimate(density, grid, log, rtol=1e-6) -> FunctionalEstimate:
    """The entropy power with its error and result."""
    weights, d = grid.weights, len(grid.axes)

    def power(wave):
        return jnp.exp(2.0 / d * _entropy(wave, weights) - 1.0) / (2.0 * jnp.pi)

    return evaluated(power, density, grid, log, rtol, lambda wave: 0.0)


def relative_entropy_estimate(density, grid, potential, log, rtol=1e-6) -> FunctionalEstimate:
    """The relative entropy with its error and result."""
    weights, energies = grid.weights, at_nodes(potential, grid, "potential")
    log_total = jax.scipy.special.logsumexp(jnp.log(weights) - energies)
    root = jnp.exp(0.5 * (jnp.log(weights) - energies - log_total))

    def divergence(wave):
        return jnp.sum(wave.masses * (energies + log_total)) - _entropy(wave, weights)

    flawed = ~(_share_unresolved(grid, root) < float(jnp.finfo(grid.dtype).eps) ** 0.5)
    return evaluated(divergence, density, grid, log, rtol, lambda wave: rtol, flawed)


def _share_unresolved(grid, root):
    """The share of the mass of an amplitude that three quarters of the functions of a grid do not represent."""
    missed = root - wave_of(grid, coarse(grid, coefficients_of(grid, root))).amplitude
    return jax.lax.stop_gradient(jnp.sum(missed**2) / jnp.sum(root**2))


def relative_fisher_estimate(density, grid, potential, log, rtol=1e-6) -> FunctionalEstimate:
    """The relative information with its error and result."""
    forces = gradients_at_nodes(potential, grid)

    def information(wave):
        return jnp.sum((2.0 * wave.slopes + wave.amplitude[None] * forces) ** 2)

    root, _ = root_of(density, grid, log)
    eps = float(jnp.finfo(grid.dtype).eps)
    tails = jnp.stack([tail_of(grid, jax.lax.stop_gradient(root * force)) for force in forces])
    flawed = ~(jnp.max(tails) <= max(rtol, eps**0.5) * jnp.sqrt(jnp.sum(root**2 * jnp.sum(forces**2, axis=0))))
    # Two gradients of the size of the density's own cancel.
    return evaluated(information, density, grid, log, rtol, lambda wave: 256.0 * eps * jnp.sum(wave.slopes**2), flawed)
