"""A damping as the user gives it: a number known now, or one that is traced."""

import math

import numpy as np
from jax.core import Tracer

from fimlag._types import RealScalarLike


def known_damping(damping: RealScalarLike) -> float:
    """The damping as a number, NaN while it is traced; a `ValueError` where it is negative or not finite."""
    if isinstance(damping, Tracer):
        return math.nan
    known = float(np.asarray(damping))
    if not (known >= 0.0 and math.isfinite(known)):
        raise ValueError(f"damping must be a finite number that is not negative, but is {damping}.")
    return known
