"""Entropy-regularised expected cost: the Gibbs distribution and its free energy."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from fimlag._compiled import compiled
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike


class GibbsDistribution(AbstractSolution):
    r"""The distribution $p_i = b_i\, e^{-c_i / T} / Z$ that trades expected cost against entropy.

    **Attributes:** `probabilities`: shape (n,). `free_energy`: $F = \mathrm{E} c - T H$, its minimum. `expected_cost`:
    $\mathrm{E} c$. `entropy`: $H = -\sum_i p_i \log(p_i / b_i) = -\partial F / \partial T$ (nats): Shannon's without a
    base, minus the Kullback-Leibler divergence from a base that is a distribution. `cost_variance`: $\operatorname{Var}
    c$, the Fisher information of $\beta = 1 / T$. `heat_capacity`: $\partial \mathrm{E} c / \partial T = \operatorname{
    Var} c / T^2$. `log_partition`: $\log Z = -F / T$, infinite at T = 0 unless the least cost is 0. `result`.
    """

    probabilities: Float[Array, " n"]
    free_energy: Float[Array, ""]
    expected_cost: Float[Array, ""]
    entropy: Float[Array, ""]
    cost_variance: Float[Array, ""]
    heat_capacity: Float[Array, ""]
    log_partition: Float[Array, ""]
    result: RESULTS


def gibbs_distribution(
    cost: ArrayLike,
    temperature: RealScalarLike,
    base: ArrayLike | None = None,
    *,
    throw: bool = True,
) -> GibbsDistribution:
    r"""The distribution of least expected cost less temperature times entropy.

    $$\min_p\; \mathrm{E}_p c - T H(p) = \min_p\; \mathrm{E}_p c + T \sum_i p_i \log\frac{p_i}{b_i} = F =
    -T \log \sum_i b_i\, e^{-c_i / T}, \qquad p_i \propto b_i\, e^{-c_i / T}$$

    With a prior as base it is the least expected cost under a penalty T on the divergence from the prior. As T
    falls to 0 the least cost remains (shared by those that attain it, as their base is), as T grows the base itself.

    **Arguments:** `cost`: c of each outcome, shape (n,), infinite where an outcome is forbidden. `temperature`: T, in
    units of the cost per nat, from 0 to infinity, both included. `base`: b, weights that are not negative, shape (n,),
    which need not be normalised; left out 1. `throw`: whether a failure raises.

    **Returns:** a `GibbsDistribution`; F is infinite at infinite temperature unless b is a distribution.

    **Raises:** `ValueError` for shapes that do not fit; with `throw`, an error for `nonfinite` (NaN, a cost of minus
    infinity, or no outcome that is allowed) or `out_of_range` (a negative temperature or base).

    **Reference:** Gibbs (1902), chapter 4; Jaynes (1957), section 4; Donsker & Varadhan (1975) for the minimum
    relative to a base.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> levels = fl.gibbs_distribution(jnp.array([0.0, 1.0]), 1.0 / jnp.log(3.0))
    >>> print(levels.probabilities, levels.expected_cost)
    [0.75 0.25] 0.25

    ```
    """
    dtype = precision_of(cost, temperature, base)
    cost, temperature = jnp.asarray(cost, dtype), jnp.asarray(temperature, dtype)
    base = jnp.ones(cost.shape, dtype) if base is None else jnp.asarray(base, dtype)
    if cost.ndim != 1 or cost.size == 0 or base.shape != cost.shape or temperature.shape != ():
        raise ValueError(
            "cost and base must have one shape (n,) and temperature shape (), but they have shapes "
            f"{cost.shape}, {base.shape} and {temperature.shape}."
        )
    return raise_unless_successful(_gibbs(cost, temperature, base), throw)


@compiled
def _gibbs(cost, temperature, base) -> GibbsDistribution:
    allowed = (base > 0) & ~jnp.isposinf(cost)
    least = lax.stop_gradient(jnp.min(jnp.where(allowed, cost, jnp.inf)))
    least = jnp.where(jnp.isfinite(least), least, 0.0)
    excess = jnp.where(allowed, cost - least, 0.0)
    cold, hot = temperature <= 0, jnp.isposinf(temperature)
    safe = jnp.where(cold | hot, 1.0, temperature)
    beta = jnp.where(hot, 0.0, 1.0 / safe)
    weights = jnp.where(allowed, base, 0.0)
    # At T = 0 the choice does not move with the costs; its expected cost does.
    ground = lax.stop_gradient(jnp.where(allowed & (excess <= 0), base, 0.0))
    shares = jnp.where(cold, ground, weights * jnp.exp(-beta * jnp.where(cold, 0.0, excess)))
    total = jnp.sum(shares)
    p = shares / total
    mean_excess = p @ excess
    variance = p @ (excess - mean_excess) ** 2
    log_total = jnp.where(cold, jnp.log(total), _log_sum(weights, jnp.where(cold, 0.0, -beta * excess), total))
    grain = cost.size * float(jnp.finfo(cost.dtype).eps)
    limit = jnp.where(jnp.abs(log_total) <= grain, 0.0, -jnp.sign(log_total) * jnp.inf)  # of -T log Z as T grows
    finite = jnp.where(cold, mean_excess, 0.0) - jnp.where(hot, 0.0, temperature) * log_total
    free_excess = jnp.where(hot, mean_excess + limit, finite)
    shifted = jnp.where(cold, jnp.where(least == 0, 0.0, jnp.sign(least) * jnp.inf), beta * least)
    result = first_failure(
        (jnp.isnan(temperature) | jnp.any(jnp.isnan(cost) | jnp.isneginf(cost)), RESULTS.nonfinite),
        (~jnp.all(jnp.isfinite(base)) | ~jnp.any(allowed), RESULTS.nonfinite),
        ((temperature < 0) | jnp.any(base < 0), RESULTS.out_of_range),
    )
    known = jnp.where(result == RESULTS.successful, 1.0, jnp.nan).astype(cost.dtype)
    return GibbsDistribution(
        probabilities=known * p,
        free_energy=known * (least + free_excess),
        expected_cost=known * (least + mean_excess),
        entropy=known * (log_total + beta * mean_excess * jnp.where(cold, 0.0, 1.0)),
        cost_variance=known * variance,
        heat_capacity=known * jnp.where(cold, 0.0, beta**2 * variance),
        log_partition=known * (log_total - shifted),
        result=result,
    )


def _log_sum(weights, exponents, total):
    """The logarithm of a sum of weighted exponentials, to all digits also where all exponents are small."""
    change = weights @ jnp.expm1(exponents) / jnp.sum(weights)
    small = change > -0.5
    gentle = jnp.log(jnp.sum(weights)) + jnp.log1p(jnp.where(small, change, 0.0))
    return jnp.where(small, gentle, jnp.log(total))


def free_energy(cost: ArrayLike, temperature: RealScalarLike, base: ArrayLike | None = None) -> Float[Array, ""]:
    r"""The soft minimum of costs: the least expected cost less temperature times entropy.

    $$F = -T \log \sum_i b_i\, e^{-c_i / T}, \qquad \frac{\partial F}{\partial c_i} = p_i, \qquad
    \frac{\partial F}{\partial T} = -H$$

    **Arguments:** `cost`, `temperature`, `base`: as for `gibbs_distribution`.

    **Returns:** F, in units of the cost, shape (); NaN where an argument is out of range.

    **Raises:** `ValueError` for shapes that do not fit.

    **Reference:** Gibbs (1902), chapter 4.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> print(jax.grad(fl.free_energy)(jnp.array([0.0, 1.0]), 1.0 / jnp.log(3.0)))
    [0.75 0.25]

    ```
    """
    return gibbs_distribution(cost, temperature, base, throw=False).free_energy
