"""Data to parameters."""

from fimlag.fitting._likelihood import (
    MaximumLikelihoodSolution as MaximumLikelihoodSolution,
    maximum_likelihood as maximum_likelihood,
)
