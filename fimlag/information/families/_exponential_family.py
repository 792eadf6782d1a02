"""Exponential families in natural parameters."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, first_failure
from fimlag._types import Coordinates, as_field
from fimlag.information._bregman import chord_curvature
from fimlag.information._cumulants import tangents
from fimlag.information._divergence_estimate import DivergenceEstimate, exact_divergence
from fimlag.information._legendre import ConvexProblem, convex_minimum
from fimlag.information.families._family import LINE, AbstractFamily


class ExponentialFamily(AbstractFamily):
    r"""The exponential family of a log-partition function, $\theta$ its natural parameters.

    $$\ell = \theta \cdot T(x) - A(\theta) + h(x), \qquad I = \nabla^2 A(\theta), \qquad
    \mathrm{E}\, T = \nabla A(\theta)$$

    Domain: where A is finite. Beyond it A must be infinite or NaN, which `gammaln` of a negative number is not.

    **Arguments:** `log_partition(theta)`: A, a scalar; theta a vector or any pytree. `statistics(x)`: T of ONE outcome,
    in the structure of theta; left out, the outcome is T itself. `log_base(x)`: h, left out 0. `expectation`: the rule
    of the generic route, which the closed form does not need. `chart`: coordinates without bounds on the domain; left
    out, the natural parameters themselves.

    **Raises:** `ValueError` where statistics and theta differ in structure, or `.expectation` is asked for but was not
    given; `TypeError` for functions that are none.

    **Reference:** Amari & Nagaoka (2000), eq. 3.33 and 3.34.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> poisson = fl.families.ExponentialFamily(jnp.exp)
    >>> print(fl.fisher_information(poisson, jnp.log(jnp.array(4.0))), poisson.mean(jnp.log(jnp.array(4.0))))
    [[4.]] 4.0

    ```
    """

    log_partition: Callable
    statistics: Callable | None
    log_base: Callable | None
    rule: Any
    coordinates: AbstractChart | None

    def __init__(
        self,
        log_partition: Callable,
        statistics: Callable | None = None,
        log_base: Callable | None = None,
        expectation=None,
        chart: AbstractChart | None = None,
    ):
        self.log_partition = as_field(log_partition)
        self.statistics = None if statistics is None else as_field(statistics)
        self.log_base = None if log_base is None else as_field(log_base)
        self.rule = expectation
        self.coordinates = chart

    def log_likelihood(self, theta: Coordinates, x) -> Float[Array, ""]:
        natural, structure = flatten(theta, "theta")
        statistics = x if self.statistics is None else self.statistics(x)
        sufficient = structure.flatten(statistics, "statistics(x)").astype(natural.dtype)
        base = 0.0 if self.log_base is None else jnp.asarray(self.log_base(x)).astype(natural.dtype)
        return natural @ sufficient - self.potential(structure)(natural) + base

    @property
    def expectation(self):
        if self.rule is None:
            raise ValueError("The generic route needs a rule: construct the family with expectation=.")
        return self.rule

    @property
    def chart(self) -> AbstractChart:
        return LINE if self.coordinates is None else self.coordinates

    def fisher(self, theta: Coordinates) -> Float[Array, "d d"]:
        natural, structure = flatten(theta, "theta")
        return self._legal(natural, structure) * jax.hessian(self.potential(structure))(natural)

    def skewness(self, theta, u, w):
        """The third moments of the scores: third derivatives of the log-partition function."""
        natural, structure = flatten(theta, "theta")
        u, w = tangents(structure, natural, u, w)

        def along(vector):
            return jax.jvp(jax.grad(self.potential(structure)), (vector,), (u,))[1]

        skewness = self._legal(natural, structure) * jax.jvp(along, (natural,), (w,))[1]
        return skewness, first_failure((~jnp.all(jnp.isfinite(skewness)), RESULTS.nonfinite))

    def mean(self, natural: Coordinates) -> Coordinates:
        """The mean of the statistics, in the structure of the natural parameters."""
        vector, structure = flatten(natural, "natural")
        gradient = jax.grad(self.potential(structure))(vector)
        return structure.unflatten(self._legal(vector, structure) * gradient)

    def natural(self, mean: Coordinates, guess: Coordinates | None = None) -> Coordinates:
        r"""The natural parameters of a mean of the statistics: the Legendre transform of the log-partition function.

        $$\theta = \arg\max_\theta \theta \cdot \eta - A(\theta), \qquad \nabla A(\theta) = \eta$$

        By Newton's method, with implicit derivatives. `mean`: in the structure of the natural parameters. `guess`:
        natural parameters where A is finite; left out, those at the origin of the chart, or 0.

        NaN where the mean is not that of a member, as outside the convex hull of the statistics, or where A is not
        finite at the guess.

        **Reference:** Amari & Nagaoka (2000), eq. 3.30 and 3.31.
        """
        target, structure = flatten(mean, "mean")
        start = self._start(target) if guess is None else structure.flatten(guess, "guess").astype(target.dtype)
        identity = jnp.eye(target.size, dtype=target.dtype)
        problem = ConvexProblem(self.potential(structure), jnp.zeros_like(target), identity, target)
        natural, converged = convex_minimum(problem, start)
        return structure.unflatten(jnp.where(converged, natural, jnp.nan))

    def dual_potential(self, mean: Coordinates, guess: Coordinates | None = None) -> Float[Array, ""]:
        r"""The dual potential, minus the entropy where the base measure is uniform; its gradient is `natural`.

        $$\varphi(\eta) = \theta \cdot \eta - A(\theta), \qquad \nabla \varphi(\eta) = \theta(\eta)$$

        `mean`, `guess`: as for `natural`.

        **Reference:** Amari & Nagaoka (2000), eq. 3.32.
        """
        target, structure = flatten(mean, "mean")
        natural = structure.flatten(self.natural(mean, guess), "natural")
        return natural @ target - self.potential(structure)(natural)

    def kl(self, natural0: Coordinates, natural1: Coordinates) -> Float[Array, ""]:
        r"""The Kullback-Leibler divergence $\mathrm{KL}(p_0 \Vert p_1)$: a Bregman divergence of A.

        $$\mathrm{KL}(p_0 \Vert p_1) = A(\theta_1) - A(\theta_0) - (\theta_1 - \theta_0) \cdot \nabla A(\theta_0)$$

        **Reference:** Amari & Nagaoka (2000), eq. 3.39.
        """
        return self.scaled_gap(natural0, natural1, 0).value

    def scaled_gap(self, theta0: Coordinates, theta1: Coordinates, s) -> DivergenceEstimate:
        r"""Minus the logarithm of $\int p_0^{1 - s} p_1^s$ over $s (1 - s)$: the Jensen gap of A, KL in its limits."""
        start, structure = flatten(theta0, "theta0")
        end = structure.flatten(theta1, "theta1").astype(start.dtype)
        s, potential = jnp.asarray(s, start.dtype), self.potential(structure)
        step, between = end - start, start + s * (end - start)
        there = chord_curvature(potential, between, step, 1.0 - s)
        back = chord_curvature(potential, between, -step, s)
        return exact_divergence((1.0 - s) * there + s * back, self.route("score"))

    def closed_cross_entropy(self, theta0: Coordinates, theta1: Coordinates) -> DivergenceEstimate | None:
        r"""The cross entropy $A(\theta_1) - \theta_1 \cdot \nabla A(\theta_0)$; None where a base measure adds."""
        if self.log_base is not None:
            return None
        start, structure = flatten(theta0, "theta0")
        end, potential = structure.flatten(theta1, "theta1").astype(start.dtype), self.potential(structure)
        value = potential(end) - end @ (self._legal(start, structure) * jax.grad(potential)(start))
        return exact_divergence(value, self.route("score"))

    def _start(self, target):
        """Natural parameters in the domain, as far as is known."""
        origin = jnp.zeros_like(target)
        return origin if self.coordinates is None else self.coordinates.point(origin)

    def _legal(self, vector, structure):
        """1 in the domain, else NaN: the derivatives of a log-partition function can look legal outside."""
        value = jax.lax.stop_gradient(self.potential(structure)(vector))
        return jnp.where(jnp.isfinite(value), 1.0, jnp.nan).astype(vector.dtype)

    def potential(self, structure: Structure) -> Callable:
        """The log-partition function of flat parameters, NaN outside the domain."""
        return _Potential(self.log_partition, structure)


class _Potential(eqx.Module):
    """A log-partition function of flat parameters."""

    log_partition: Callable
    structure: Structure

    def __call__(self, vector):
        value = jnp.asarray(self.log_partition(self.structure.unflatten(vector)))
        if value.shape != ():
            raise ValueError(f"log_partition must return a scalar, but the result has shape {value.shape}.")
        return jnp.where(jnp.isfinite(value), value, jnp.nan)
