"""Textbook cases with their closed forms."""

from fimlag.problems._classical import (
    DoublePendulum as DoublePendulum,
    HarmonicOscillator as HarmonicOscillator,
    Kepler as Kepler,
    henon_heiles as henon_heiles,
)
from fimlag.problems._normal import NormalFisher as NormalFisher
