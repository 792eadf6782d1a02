"""Exponential families in natural parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._charts import AbstractChart
from fimlag._flat import flatten
from fimlag._results import RESULTS, first_failure
from fimlag._types import Coordinates, as_field
from fimlag.information._cumulants import tangents
from fimlag.information.families._family import LINE, AbstractFamily


class ExponentialFamily(AbstractFamily):
    r"""The exponential family of a log-partition function, $\theta$ its natural parameters.

    $$\ell = \theta \cdot T(x) - A(\theta) + h(x), \qquad I = \nabla^2 A(\theta), \qquad
    \mathrm{E}\, T = \nabla A(\theta)$$

    Domain: where A is finite.

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
        base = 0.0 if self.log_base is None else self.log_base(x)
        return natural @ sufficient - self._potential(structure)(natural) + base

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
        return self._legal(natural, structure) * jax.hessian(self._potential(structure))(natural)

    def skewness(self, theta, u, w):
        """The third moments of the scores: third derivatives of the log-partition function."""
        natural, structure = flatten(theta, "theta")
        u, w = tangents(structure, natural, u, w)

        def along(vector):
            return jax.jvp(jax.grad(self._potential(structure)), (vector,), (u,))[1]

        skewness = self._legal(natural, structure) * jax.jvp(along, (natural,), (w,))[1]
        return skewness, first_failure((~jnp.all(jnp.isfinite(skewness)), RESULTS.nonfinite))

    def mean(self, natural: Coordinates) -> Coordinates:
        """The mean of the statistics, in the structure of the natural parameters."""
        vector, structure = flatten(natural, "natural")
        gradient = jax.grad(self._potential(structure))(vector)
        return structure.unflatten(self._legal(vector, structure) * gradient)

    def _legal(self, vector, structure):
        """1 in the domain, else NaN: the derivatives of a log-partition function can look legal outside."""
        value = jax.lax.stop_gradient(self._potential(structure)(vector))
        return jnp.where(jnp.isfinite(value), 1.0, jnp.nan).astype(vector.dtype)

    def _potential(self, structure) -> Callable:
        """The log-partition function of flat parameters, NaN outside the domain."""

        def potential(vector):
            value = jnp.asarray(self.log_partition(structure.unflatten(vector)))
            if value.shape != ():
                raise ValueError(f"log_partition must return a scalar, but the result has shape {value.shape}.")
            return jnp.where(jnp.isfinite(value), value, jnp.nan)

        return potential
