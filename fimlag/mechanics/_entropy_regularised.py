"""Lagrangians with the entropy of a model as a potential."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.information import AbstractModel, entropy
from fimlag.mechanics._contact import Herglotz
from fimlag.mechanics._forces import AbstractDynamics, AbstractMark
from fimlag.mechanics._lagrangian import NaturalLagrangian, Separable


class FreeEnergy(eqx.Module):
    r"""A potential less the temperature times the entropy of a model.

    $$F(\theta) = V(\theta) - T\, h(\theta)$$
    """

    potential: Callable | None
    model: AbstractModel
    temperature: Float[Array, ""]

    def __call__(self, theta: Coordinates) -> Float[Array, ""]:
        disorder = entropy(self.model, theta)
        released = self.temperature.astype(disorder.dtype) * disorder
        return -released if self.potential is None else self.potential(theta) - released


class Regularised(eqx.Module):
    """A Lagrangian less the free energy of a model: a callable `(t, q, v) -> scalar`."""

    lagrangian: LagrangianFn
    free_energy: FreeEnergy

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        return self.lagrangian(t, q, v) - self.free_energy(q)


def EntropyRegularised(lagrangian: LagrangianFn, model: AbstractModel, temperature: RealScalarLike) -> LagrangianFn:
    r"""A Lagrangian with the entropy of a model added at a temperature.

    $$L_T(t, \theta, v) = L(t, \theta, v) + T\, h(\theta), \qquad h(\theta) = -\mathrm{E}_\theta[\log p(x | \theta)]$$

    For $L = \tfrac12 v \cdot g\, v - V$ the potential becomes the free energy $V - T h$: entropy draws towards
    exploration, V towards exploitation, and the kinetic energy sets the pace. With the mean of a cost c for V, over a
    family that holds it, the motion is at rest in Gibbs' distribution $p \propto e^{-c / T}$, to which friction leads.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; forces and constraints on it, and the mark
    `Separable`, are kept; `model`: a statistical model whose expectation is one smooth function of theta, with the
    coordinates for its parameters; `temperature`: T, not negative (the unit of energy a nat). The differential entropy
    of a density is relative to the coordinate of its outcomes: another unit adds a constant, which moves nothing, but
    another chart moves the point of rest.

    **Returns:** a `NaturalLagrangian` for a `NaturalLagrangian`, else a callable `(t, q, v) -> scalar` with the marks
    of the one given; NaN where the expectation fails.

    **Raises:** `TypeError` for a model with a plain `MonteCarlo` rule, whose entropy is no function of theta, for a
    `Herglotz` or phase-space Lagrangian, and from the call for a model without expectations; `ValueError` for a
    temperature that is not one number, or known to be negative.

    **Reference:** Jaynes (1957); Ortega & Braun (2013) (the free energy of a decision).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> coin = fl.families.Bernoulli()
    >>> L = fl.EntropyRegularised(fl.FisherLagrangian(coin, lambda p: 2.0 * p), coin, 0.5)
    >>> gibbs = 1 / (1 + jnp.exp(2.0 / 0.5))    # cost 2 for a success: at rest there
    >>> round(float(fl.acceleration(L, 0.0, gibbs, 0.0)), 9) + 0.0
    0.0

    ```
    """
    if not isinstance(model, AbstractModel):
        raise TypeError(f"model must be a family or a StatisticalModel, but {type(model).__name__} came.")
    if not model.smooth:
        raise TypeError(
            "EntropyRegularised needs an expectation that is one smooth function of theta, and a plain MonteCarlo rule "
            "is not: give MonteCarlo a reference, or use Quadrature, ExactSum or Reparametrised."
        )
    return _with_free_energy(lagrangian, model, _as_temperature(temperature))


def _with_free_energy(lagrangian, model, temperature) -> LagrangianFn:
    if isinstance(lagrangian, AbstractMark | Separable):
        inner = _with_free_energy(lagrangian.lagrangian, model, temperature)
        return eqx.tree_at(lambda mark: mark.lagrangian, lagrangian, inner)
    if isinstance(lagrangian, AbstractDynamics | Herglotz):
        raise TypeError(
            f"The coordinates or equations of a {type(lagrangian).__name__} are not those of an L(t, q, v): add the "
            "entropy to the Lagrangian inside it, as in Herglotz.linear(EntropyRegularised(L, ...), rate)."
        )
    if isinstance(lagrangian, NaturalLagrangian):
        return NaturalLagrangian(lagrangian.metric, FreeEnergy(lagrangian.potential, model, temperature))
    return Regularised(as_field(lagrangian), FreeEnergy(None, model, temperature))


def _as_temperature(temperature) -> Float[Array, ""]:
    value = jnp.asarray(temperature, jnp.result_type(float, temperature))
    if value.shape != ():
        raise ValueError(f"temperature must be one number, but has shape {value.shape}.")
    if not isinstance(value, Tracer) and not value >= 0:
        raise ValueError(f"temperature must not be negative, but is {value}.")
    return value
