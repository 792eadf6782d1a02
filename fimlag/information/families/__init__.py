"""Families whose Fisher matrix, and often distance, is known in closed form."""

from fimlag.information.families._discrete import (
    Bernoulli as Bernoulli,
    Categorical as Categorical,
    Poisson as Poisson,
)
from fimlag.information.families._interval import Beta as Beta
from fimlag.information.families._location_scale import Normal as Normal
from fimlag.information.families._positive import Exponential as Exponential, Gamma as Gamma
