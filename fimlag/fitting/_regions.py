"""Regions of confidence by the three classical statistics."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, first_failure
from fimlag._types import Coordinates
from fimlag.fitting._constrained import constrained_maximum, local_coordinates, others
from fimlag.fitting._interest import chi_square_quantile, estimate_of, positions_of
from fimlag.fitting._joint_likelihood import JointLikelihood
from fimlag.fitting._likelihood import MaximumLikelihoodSolution
from fimlag.information import AbstractModel, cramer_rao_bound


class LikelihoodRegion(eqx.Module):
    r"""The parameters that a test at the estimate does not reject.

    $$\{\theta : T(\theta) \le \chi^2_{k;\,\mathtt{level}}\}$$

    **Attributes:** `threshold`: the quantile, with as many degrees of freedom as there are parameters of interest;
    `level`.
    """

    threshold: Float[Array, ""]
    level: float = eqx.field(static=True)
    _test: Any

    def statistic(self, theta: Coordinates) -> Float[Array, ""]:
        """The statistic T at a point, shape (); NaN outside the domain, or where nuisances found no maximum.

        **Arguments:** `theta`: all parameters in the structure of the estimate; of a region of some parameters
        their k values, a vector in the order in which they were named, or a number where k is 1.
        """
        return _evaluated(self._test, self._test.likelihood.flatten(theta))

    def contains(self, theta: Coordinates) -> Bool[Array, ""]:
        """Whether a point lies in the region or on its boundary, shape (); False where the statistic is NaN."""
        return self.statistic(theta) <= self.threshold


def wald_region(
    model: AbstractModel,
    data: PyTree,
    fit: MaximumLikelihoodSolution | Coordinates,
    level: float = 0.95,
    interest=None,
) -> LikelihoodRegion:
    r"""The region of confidence by Wald's statistic: an ellipsoid.

    $$T = (\psi - \hat\psi)^\top I_{\psi\cdot\lambda}(\hat\theta)\, (\psi - \hat\psi)$$

    $I_{\psi\cdot\lambda}$ is the expected information about the parameters of interest, the others unknown: of all
    parameters the information itself. It depends on the coordinates chosen; the other two regions do not.

    **Arguments:** `model`, `data`: as `maximum_likelihood` takes them. `fit`: its solution, or the estimate itself.
    `level`: the coverage in large samples. `interest`: a position, name or path of `profile_interval`, or a list of
    them; all parameters if left out.

    **Returns:** a `LikelihoodRegion`; its statistic is NaN where the fit failed or the information is singular.

    **Raises:** `ValueError` for a level outside (0, 1) or an interest that is not there.

    **Reference:** Wald (1943); Cox & Hinkley (1974), section 9.3.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> model, data = fl.families.Normal().model, jnp.array([1.0, 2.0, 6.0])
    >>> region = fl.wald_region(model, data, fl.maximum_likelihood(model, data, jnp.array([2.0, 1.0])))
    >>> print(jnp.round(jax.jit(lambda theta: region.statistic(theta))(jnp.array([4.0, jnp.sqrt(14 / 3)])), 3))
    0.643

    ```
    """
    likelihood, threshold = _question(model, data, fit, level, interest)
    return LikelihoodRegion(threshold, level, _Wald(likelihood))


def score_region(
    model: AbstractModel,
    data: PyTree,
    fit: MaximumLikelihoodSolution | Coordinates,
    level: float = 0.95,
    interest=None,
) -> LikelihoodRegion:
    r"""The region of confidence by Rao's score statistic.

    $$T = s_\psi^\top\, I_{\psi\cdot\lambda}(\theta)^{-1} s_\psi, \qquad s = \partial_\theta\, \ell(\theta), \quad
    \theta = (\psi, \hat\lambda(\psi))$$

    The information is the expected one at the point in question, not at the estimate. The others than the parameters
    of interest maximise the likelihood there. A region of all parameters needs no estimate but for its structure.

    **Arguments:** as `wald_region`.

    **Returns:** a `LikelihoodRegion`.

    **Raises:** as `wald_region`.

    **Reference:** Rao (1948); Cox & Hinkley (1974), section 9.3.
    """
    likelihood, threshold = _question(model, data, fit, level, interest)
    return LikelihoodRegion(threshold, level, _Score(likelihood))


def likelihood_ratio_region(
    model: AbstractModel,
    data: PyTree,
    fit: MaximumLikelihoodSolution | Coordinates,
    level: float = 0.95,
    interest=None,
) -> LikelihoodRegion:
    r"""The region of confidence by the likelihood ratio.

    $$T = 2\, \big(\ell(\hat\theta) - \max_\lambda \ell(\psi, \lambda)\big)$$

    The same in all coordinates. For one parameter `profile_interval` finds its ends.

    **Arguments:** as `wald_region`.

    **Returns:** a `LikelihoodRegion`; its statistic is NaN where the fit failed or is not one of these data.

    **Raises:** as `wald_region`.

    **Reference:** Wilks (1938); Cox & Hinkley (1974), section 9.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> model, data = fl.families.Normal().model, jnp.array([1.0, 2.0, 6.0])
    >>> fit = fl.maximum_likelihood(model, data, jnp.array([2.0, 1.0]))
    >>> region = fl.likelihood_ratio_region(model, data, fit, interest=0)
    >>> print(jnp.round(region.statistic(4.0), 3), region.contains(7.0))
    0.582 False

    ```
    """
    likelihood, threshold = _question(model, data, fit, level, interest)
    return LikelihoodRegion(threshold, level, _LikelihoodRatio(likelihood))


@compiled
def _evaluated(test, values):
    return test(values)


class _Interest(eqx.Module):
    """A likelihood and the parameters of it that are of interest; an estimate that is none is NaN."""

    model: AbstractModel
    data: PyTree
    structure: Structure
    estimate: Float[Array, " d"]
    positions: tuple[int, ...] | None = eqx.field(static=True)

    @property
    def chosen(self) -> tuple[int, ...]:
        return tuple(range(self.structure.size)) if self.positions is None else self.positions

    def flatten(self, theta):
        """The values of interest as a vector."""
        if self.positions is None:
            return self.structure.flatten(theta, "theta").astype(self.estimate.dtype)
        values = flatten(theta, "theta")[0].astype(self.estimate.dtype)
        if values.shape[0] != len(self.positions):
            raise ValueError(f"{values.shape[0]} values came for {len(self.positions)} parameters of interest.")
        return values

    def joint(self):
        return JointLikelihood(self.model, self.data, self.structure, self.estimate)

    def maximum(self, values):
        """All parameters of largest likelihood, the values of interest given; NaN where none was found."""
        theta, result = constrained_maximum(self.joint(), self.estimate, self.chosen, values)
        return jnp.where(result == RESULTS.successful, theta, jnp.nan)

    def bound(self, theta):
        """The inverse of the information about the parameters of interest, in their order."""
        information = self.model.joint_information(self.structure.unflatten(theta), self.data)
        bound = cramer_rao_bound(information, nuisance=others(self.chosen, self.structure.size))
        ranks = np.argsort(np.argsort(self.chosen))
        return bound[np.ix_(ranks, ranks)]


class _Wald(eqx.Module):
    likelihood: _Interest
    factor: Float[Array, "k k"]

    def __init__(self, likelihood: _Interest):
        self.likelihood = likelihood
        self.factor = jnp.linalg.cholesky(likelihood.bound(likelihood.estimate))

    def __call__(self, values):
        offset = values - self.likelihood.estimate[np.asarray(self.likelihood.chosen)]
        return jnp.sum(jax.scipy.linalg.solve_triangular(self.factor, offset, lower=True) ** 2)


class _Score(eqx.Module):
    likelihood: _Interest

    def __call__(self, values):
        theta = self.likelihood.maximum(values)
        score = self.likelihood.joint().score(theta)[np.asarray(self.likelihood.chosen)]
        return score @ self.likelihood.bound(theta) @ score


class _LikelihoodRatio(eqx.Module):
    likelihood: _Interest

    def __call__(self, values):
        joint = self.likelihood.joint()
        loss = joint.log_likelihood(self.likelihood.estimate) - joint.log_likelihood(self.likelihood.maximum(values))
        return 2.0 * loss


def _question(model, data, fit, level, interest) -> tuple[_Interest, Float[Array, ""]]:
    """The likelihood with what is of interest in it, and the quantile of as many degrees of freedom."""
    estimate, structure, fitted = estimate_of(fit)
    positions = None if interest is None else positions_of(structure, interest)
    threshold = chi_square_quantile(level, structure.size if positions is None else len(positions))
    sound = (fitted == RESULTS.successful) & _is_estimate(model, data, structure, jax.lax.stop_gradient(estimate))
    estimate = jnp.where(sound, estimate, jnp.nan)
    return _Interest(model, data, structure, estimate, positions), jnp.asarray(threshold, estimate.dtype)


@compiled
def _is_estimate(model, data, structure, estimate):
    _, failures = local_coordinates(JointLikelihood(model, data, structure, estimate), estimate)
    return first_failure(*failures) == RESULTS.successful
