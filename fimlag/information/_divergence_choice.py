"""Any divergence with its error and certificate."""

from collections.abc import Callable

from fimlag._results import raise_unless_successful
from fimlag.information import _chernoff, _divergence, _entropy, _jensen_shannon
from fimlag.information._divergence_estimate import DivergenceEstimate
from fimlag.information._model import AbstractModel

_ESTIMATES = {
    _divergence.kl_divergence: _divergence.kl_estimate,
    _divergence.jeffreys_divergence: _divergence.jeffreys_estimate,
    _divergence.alpha_divergence: _divergence.alpha_estimate,
    _divergence.renyi_divergence: _divergence.renyi_estimate,
    _divergence.tsallis_divergence: _divergence.tsallis_estimate,
    _divergence.hellinger_distance: _divergence.hellinger_estimate,
    _divergence.bhattacharyya_distance: _divergence.bhattacharyya_estimate,
    _divergence.chi_square_divergence: _divergence.chi_square_estimate,
    _chernoff.chernoff_information: _chernoff.chernoff_estimate,
    _jensen_shannon.jensen_shannon_divergence: _jensen_shannon.jensen_shannon_estimate,
    _entropy.cross_entropy: _entropy.cross_entropy_estimate,
    _entropy.entropy: _entropy.entropy_estimate,
}


def divergence_estimate(
    divergence: Callable, model: AbstractModel, *parameters, throw: bool = True
) -> DivergenceEstimate:
    r"""A divergence with its standard error, certificate, route and result.

    $$\widehat{\mathrm{KL}} = \sum_i w_i\, (e^{d_i} - 1 - d_i), \qquad
    \widehat{\mathrm{se}}{}^2 = \tfrac{n}{n - 1} \Big(\sum_i w_i^2\, (e^{d_i} - 1 - d_i)^2
    - \tfrac1n \widehat{\mathrm{KL}}{}^2\Big)$$

    and likewise for the others, to first order in the error.

    **Arguments:** `divergence`: the function, such as `fl.kl_divergence` or `fl.entropy`. `model`, `parameters`: its
    arguments. `throw`: raise where the expectation failed.

    **Returns:** a solution with `.value`, `.standard_error` (0 for exact rules), `.certificate` (`mass`, `outcomes`,
    `effective_sample_size`, `resolution`), `.route` and `.result`.

    **Raises:** `ValueError` for a function that is no divergence of this library. With `throw`, `nonfinite`;
    `poor_quadrature` where the weights of an exact rule differ from 1 by more than the square root of round-off;
    `poor_sample` where fewer than 1 % of a reweighted sample, or 10 outcomes, are effective;
    `unresolved_divergence` where the resolution is worse than eps^(1/3), outcomes at the edge of the rule contribute
    more than eps^(1/2), or two rules do not see each other's density.

    **Reference:** Owen (2013), chapter 9; Bailey, Jeyabalan & Li (2005), section 5 (errors of such rules).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> estimate = fl.divergence_estimate(fl.kl_divergence, fl.families.Poisson(60).model, 4.0, 2.0)
    >>> print(jnp.round(estimate.value, 6), estimate.standard_error, estimate.route)
    0.772589 0.0 expectation over ExactSum

    ```
    """
    if divergence not in _ESTIMATES:
        names = ", ".join(function.__name__ for function in _ESTIMATES)
        raise ValueError(f"divergence must be one of the functions {names}, but {divergence!r} came.")
    return raise_unless_successful(_ESTIMATES[divergence](model, *parameters), throw)
