"""What families of vectors share: the shape of an outcome, and the rule that draws samples."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from fimlag.information._expectation import MonteCarlo
from fimlag.information.families._family import as_real


def outcome_vector(x, length: int, dtype) -> Float[Array, " d"]:
    """The outcome as an array; a `ValueError` where it is no vector of that length."""
    x = as_real(x, dtype)
    if x.shape != (length,):
        raise ValueError(f"An outcome must be a vector of length {length}, but has shape {x.shape}.")
    return x


def sampled(family, draw: Callable) -> MonteCarlo:
    """The rule that draws `draw(family, key, theta, n)`; a `ValueError` where the family has no key."""
    if family.key is None:
        name = type(family).__name__
        raise ValueError(f"The generic route of {name} draws samples: construct it with key=jax.random.key(...).")
    return MonteCarlo(jax.tree_util.Partial(draw, family), family.n, family.key)
