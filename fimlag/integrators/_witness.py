"""What a method finds wrong with a motion between its rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from fimlag._results import RESULTS, either_failure
from fimlag.integrators._motion import March, Phase, inspected_steps


class Sight(NamedTuple):
    """The number of steps after which the next look is due, and what was found up to now."""

    due: Int[Array, ""]
    result: RESULTS


class Witness:
    """Looks at the phases of a march after a few numbers of steps, in no rhythm."""

    def __init__(self, march: March, steps: int):
        self.march, self.numbers = march, inspected_steps(steps)

    def begin(self) -> Sight:
        """Before the first step."""
        return Sight(jnp.asarray(self.numbers[0]), RESULTS.successful)

    def look(self, sight: Sight, number: Int[Array, ""], phase: Phase) -> Sight:
        """What was found up to the phase after a number of steps."""

        def inspected():
            later = jnp.where(self.numbers > number, self.numbers, np.iinfo(self.numbers.dtype).max)
            found = self.march.inspect(number, jax.tree.map(lax.stop_gradient, phase))
            return Sight(jnp.min(later), either_failure(sight.result, found))

        return lax.cond(number == sight.due, inspected, lambda: sight)
