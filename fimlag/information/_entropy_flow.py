r"""Flows along which entropy grows, and Fisher information is the rate.

Heat flow raises the entropy at the rate J/2 (de Bruijn's identity), and a Fokker-Planck flow lowers the relative
entropy at the rate of the relative Fisher information. These flows are the steepest descent of entropy in Wasserstein's
geometry (Jordan, Kinderlehrer & Otto 1998), not in that of Fisher and Rao: J is the squared length of a gradient there.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._results import RESULTS, first_failure
from fimlag._types import RealScalarLike
from fimlag.information._amplitude import (
    DensityCertificate,
    DensityLike,
    FunctionalEstimate,
    along_axes,
    at_nodes,
    coarse,
    coefficients_of,
    edge_of,
    gradients_at_nodes,
    sandwiched,
    wave_of,
)
from fimlag.information._density_grids import AbstractGrid


def heat_flow(
    density: DensityLike, grid: AbstractGrid, time: RealScalarLike, *, log: bool = False
) -> Float[Array, "..."]:
    r"""The density of $X + \sqrt t\, Z$ for a standard normal Z: heat flow.

    $$\partial_t p = \tfrac12 \Delta p, \qquad \frac{\mathrm{d}}{\mathrm{d}t} h[p_t] = \tfrac12 J[p_t]$$

    On a circle it is wrapped; at a free end of an interval it is reflected, and J counts the inside alone.

    **Arguments:** `density`, `grid`, `log`: as for `fisher_functional`; the functions of the grid must resolve the
    density as well as its root. `time`: t, the variance added in each coordinate, at least 0.

    **Returns:** the density at `grid.points`, fit for the functionals and flows of this grid, shape (n1, ..., nd); NaN
    where the grid does not hold the density before and after, as with a wall, where mass would be lost:
    `functional_estimate(fl.heat_flow, density, grid, time)` tells why.

    **Raises:** `ValueError` as for `fisher_functional`.

    **Reference:** Stam (1959), eq. 2.12 (de Bruijn's identity); Cover & Thomas (2006), theorem 17.7.2.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> grid = fl.LineGrid(size=96)
    >>> later = fl.heat_flow(jax.scipy.stats.norm.pdf, grid, 1.0)
    >>> print(jnp.round(fl.fisher_functional(later, grid), 9))             # one over the variance
    0.5

    ```
    """
    return heat_estimate(density, grid, time, log=log).checked_value


def fokker_planck_flow(
    density: DensityLike, grid: AbstractGrid, potential: DensityLike, time: RealScalarLike, *, log: bool = False
) -> Float[Array, "..."]:
    r"""The density after a Fokker-Planck flow: of $\mathrm{d}X = -\nabla U\, \mathrm{d}t + \sqrt2\, \mathrm{d}W$.

    $$\partial_t p = \nabla \cdot (p \nabla U) + \Delta p, \qquad
    \frac{\mathrm{d}}{\mathrm{d}t} \mathrm{KL}(p_t \Vert \pi) = -J(p_t \Vert \pi), \quad \pi \propto e^{-U}$$

    The flow is a symmetric one for $p / \sqrt\pi$, with the operator whose ground state is $\sqrt\pi$. At free ends of
    an interval it is reflected.

    **Arguments:** `density`, `grid`, `log`: as for `fisher_functional`. `potential`: U, a differentiable function of a
    point, in units of the temperature. `time`: at least 0.

    **Returns:** the density at `grid.points`, shape (n1, ..., nd); NaN where the grid does not hold it, or
    $p / \sqrt\pi$ is not square integrable, as where p has the heavier tails.

    **Raises:** `ValueError` as for `fisher_functional`, or for more than 2500 functions; `TypeError` for a potential
    that is no function.

    **Reference:** Jordan, Kinderlehrer & Otto (1998); Risken (1989), section 5.4 (the symmetric operator).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def normal(x): return jax.scipy.stats.norm.pdf(x, 1.0, 1.0)
    >>> later = fl.fokker_planck_flow(normal, fl.LineGrid(), lambda x: x**2 / 2, jnp.log(2.0))
    >>> print(jnp.round(jnp.sum(fl.LineGrid().weights * fl.LineGrid().points * later), 9))
    0.5

    ```
    """
    return fokker_planck_estimate(density, grid, potential, time, log=log).checked_value


def heat_estimate(density, grid, time, log=False, rtol=1e-6) -> FunctionalEstimate:
    """The density after heat flow with its error and result."""
    values = _values(density, grid, log)
    time = jnp.asarray(time, grid.dtype)
    given = values * jnp.sqrt(grid.weights)
    propagators = []
    for axis in grid.axes:
        rates, modes = np.linalg.eigh(axis.table.slopes.T @ axis.table.slopes)
        modes, rates = jnp.asarray(modes, grid.dtype), jnp.asarray(np.maximum(rates, 0.0), grid.dtype)
        propagators.append((modes * jnp.exp(-0.5 * time * rates / axis.unit**2)[None]) @ modes.T)
    start = coefficients_of(grid, given)
    return _flowed(grid, jnp.ones_like(given), given, start, along_axes(propagators, start), time, rtol)


def fokker_planck_estimate(density, grid, potential, time, log=False, rtol=1e-6) -> FunctionalEstimate:
    """The density after a Fokker-Planck flow with its error and result."""
    time = jnp.asarray(time, grid.dtype)
    energies, forces = at_nodes(potential, grid, "potential"), gradients_at_nodes(potential, grid)
    log_total = jax.scipy.special.logsumexp(jnp.log(grid.weights) - energies)
    values = _values(density, grid, log)
    logarithm = jnp.log(jnp.where(values > 0.0, values, 1.0)) + 0.5 * (energies + log_total)
    given = jnp.where(values > 0.0, jnp.exp(logarithm), 0.0) * jnp.sqrt(grid.weights)
    start = coefficients_of(grid, given)
    rates, modes = jnp.linalg.eigh(_generator(grid, forces))
    amplitudes = jnp.exp(-time * jnp.maximum(rates, 0.0)) * (modes.T @ start.reshape(-1))
    end = (modes @ amplitudes).reshape(start.shape)
    return _flowed(grid, jnp.exp(-0.5 * (energies + log_total)), given, start, end, time, rtol)


def _values(density, grid, log):
    values = at_nodes(density, grid, "density")
    return jnp.exp(values) if log else values


def _generator(grid: AbstractGrid, forces):
    r"""The operator $\int (\nabla \phi + \phi \nabla U / 2)^2$, whose kernel is the root of the Gibbs density."""
    bases = [axis.basis for axis in grid.axes]
    total = 0.25 * sandwiched(bases, jnp.sum(forces**2, axis=0), bases)
    for i, axis in enumerate(grid.axes):
        sloped = [*bases[:i], axis.slopes, *bases[i + 1 :]]
        crossed = sandwiched(sloped, 0.5 * forces[i], bases)
        total = total + sandwiched(sloped, jnp.ones_like(forces[i]), sloped) + crossed + crossed.T
    return 0.5 * (total + total.T)


def _flowed(grid, envelope, given, start, end, time, rtol) -> FunctionalEstimate:
    """The density with these coefficients under an envelope, and whether the grid held it from start to end."""
    roots = jnp.sqrt(grid.weights)

    def density(coefficients):
        return envelope * wave_of(grid, coefficients).amplitude / roots

    values = density(end)
    held = jax.lax.stop_gradient((values, density(coarse(grid, end)), given, start, end, envelope))
    return _judged(values, grid, density, jax.lax.stop_gradient(time), rtol, *held)


def _judged(values, grid, density, time, rtol, held, rough, given, start, end, envelope) -> FunctionalEstimate:
    eps = float(jnp.finfo(grid.dtype).eps)
    largest = jnp.max(jnp.abs(held))
    error = jnp.max(jnp.abs(held - rough))
    missed = given - wave_of(grid, start).amplitude
    before = jnp.sum(grid.weights * envelope * given / jnp.sqrt(grid.weights))
    certificate = DensityCertificate(
        mass=jnp.sum(grid.weights * held),
        negative=-jnp.sum(grid.weights * jnp.minimum(held, 0.0)),
        unresolved=jnp.sum(missed**2) / jnp.sum(given**2),
        edge=edge_of(grid, end),
    )
    unresolved = (
        (jnp.abs(before - 1.0) > eps**0.5)
        | (jnp.abs(certificate.mass - 1.0) > eps**0.5)
        | (certificate.negative > eps**0.5)
        | (certificate.unresolved > eps**0.5)
        | (error > max(rtol, eps**0.5) * largest)
    )
    result = first_failure(
        (~(time >= 0.0), RESULTS.out_of_range),
        # An infinite ratio to the Gibbs density is one that no grid resolves; a given density is a number.
        (jnp.any(jnp.isnan(given)), RESULTS.nonfinite),
        (~jnp.isfinite(certificate.unresolved) | unresolved, RESULTS.unresolved_density),
    )
    return FunctionalEstimate(value=values, error_estimate=error, certificate=certificate, result=result)
