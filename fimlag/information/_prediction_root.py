"""The square root of a regression's information: predictions in units of their noise."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, Outcomes, as_field
from fimlag.information._model import AbstractModel
from fimlag.information._root import SquareRoot, dense_factor
from fimlag.information._root_quality import failures_of_roots
from fimlag.information._sums import count_outcomes, take_block


def prediction_root(
    predict: Callable,
    noise: AbstractModel,
    inputs: Outcomes,
    vector: Float[Array, " d"],
    structure: Structure,
    chunk: int,
) -> SquareRoot:
    """The root whose items are the inputs, each with the factor of the noise's information there."""
    return SquareRoot(
        of_item=_WhitenedPrediction(predict, structure),
        block=_WhitenedInputs(predict, noise, inputs, structure.unflatten(vector), chunk),
        blocks=math.ceil(count_outcomes(inputs, "inputs") / chunk),
        vector=vector,
        structure=structure,
        failures=as_field(_failures_at_inputs),
    )


class _WhitenedPrediction(eqx.Module):
    """The prediction at one input in units of the noise: its Jacobian is a square root of the information."""

    predict: Callable
    structure: Structure

    def __call__(self, vector, item):
        x, factor = item
        return factor.T @ flatten(self.predict(self.structure.unflatten(vector), x), "the prediction")[0]


class _WhitenedInputs(eqx.Module):
    """One block of inputs with the factors of the noise's information there."""

    predict: Callable
    noise: AbstractModel
    inputs: Outcomes
    theta: Coordinates
    chunk: int = eqx.field(static=True)

    @property
    def numbered(self):
        """The inputs with their numbers."""
        return self.inputs, jnp.arange(count_outcomes(self.inputs, "inputs"))

    def __call__(self, number):
        count = count_outcomes(self.inputs, "inputs")
        (x, numbers), inside = take_block(self.numbered, math.ceil(count / self.chunk), number)

        def factor(x, number, inside):
            return jnp.where(inside, dense_factor(self.noise_roots(x, number)), 0.0)

        return x, jax.vmap(factor)(x, numbers, inside)

    def noise_roots(self, x, number) -> tuple[SquareRoot, ...]:
        """The roots of the noise at one input, with draws of its own where it can have them."""
        noise = self.noise.independent(number) or self.noise
        return noise.information_roots(self.predict(self.theta, x))


def _failures_at_inputs(root: SquareRoot) -> Bool[Array, " k"]:
    """Which of `FAILURES` befell the noise at any input."""
    inputs = root.block

    def of_input(item):
        return failures_of_roots(inputs.noise_roots(*item))

    return jnp.any(jax.lax.map(of_input, inputs.numbered, batch_size=inputs.chunk), axis=0)
