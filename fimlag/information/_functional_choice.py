"""Any functional or flow of a density with its error and certificate."""

from collections.abc import Callable

from fimlag._results import raise_unless_successful
from fimlag.information import _density_functional, _entropy_flow
from fimlag.information._amplitude import DensityLike, FunctionalEstimate
from fimlag.information._density_grids import AbstractGrid

_ESTIMATES = {
    _density_functional.fisher_functional: _density_functional.fisher_functional_estimate,
    _density_functional.fisher_functional_matrix: _density_functional.fisher_matrix_estimate,
    _density_functional.differential_entropy: _density_functional.differential_entropy_estimate,
    _density_functional.entropy_power: _density_functional.entropy_power_estimate,
    _density_functional.relative_entropy: _density_functional.relative_entropy_estimate,
    _density_functional.relative_fisher_functional: _density_functional.relative_fisher_estimate,
    _entropy_flow.heat_flow: _entropy_flow.heat_estimate,
    _entropy_flow.fokker_planck_flow: _entropy_flow.fokker_planck_estimate,
}


def functional_estimate(
    functional: Callable,
    density: DensityLike,
    grid: AbstractGrid,
    *arguments,
    log: bool = False,
    rtol: float = 1e-6,
    throw: bool = True,
) -> FunctionalEstimate:
    r"""A functional or a flow of a density with its error estimate, certificate and result.

    $$\mathtt{error\_estimate} = |J_n - J_{3n/4}|$$

    **Arguments:** `functional`: the function, such as `fl.fisher_functional` or `fl.heat_flow`. `density`, `grid`,
    `arguments`, `log`: what it is given. `rtol`: the relative error accepted (for entropies also the absolute one, in
    nats). `throw`: raise where it failed.

    **Returns:** a solution with `.value`, `.error_estimate` (against three quarters of the functions of the grid),
    `.certificate` (`mass`, `negative`, `unresolved`, `edge`) and `.result`.

    **Raises:** `ValueError` for a function that is no functional of this library. With `throw`, `nonfinite`, and
    `unresolved_density` where the error estimate exceeds `rtol`; where the mass differs from 1, or negative values or
    the unresolved share exceed 0, by more than the square root of round-off; or where a slope is left at an end where
    the line is cut; of a flow, also `out_of_range` for a negative time.

    **Reference:** Boyd (2001), section 2.12 (the size of the last coefficients as an error).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> narrow = lambda x: jax.scipy.stats.norm.pdf(x, 0.0, 0.02)
    >>> estimate = fl.functional_estimate(fl.fisher_functional, narrow, fl.LineGrid(size=32), throw=False)
    >>> print(estimate.result == fl.RESULTS.unresolved_density)
    True

    ```
    """
    if functional not in _ESTIMATES:
        names = ", ".join(function.__name__ for function in _ESTIMATES)
        raise ValueError(f"functional must be one of the functions {names}, but {functional!r} came.")
    estimate = _ESTIMATES[functional](density, grid, *arguments, log=log, rtol=rtol)
    return raise_unless_successful(estimate, throw)
