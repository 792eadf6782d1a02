"""Textbook cases with their closed forms."""

from fimlag.problems._classical import (
    DoublePendulum as DoublePendulum,
    HarmonicOscillator as HarmonicOscillator,
    henon_heiles as henon_heiles,
)
from fimlag.problems._dissipative import DampedOscillator as DampedOscillator
from fimlag.problems._driven import Mathieu as Mathieu
from fimlag.problems._fields import MagneticField as MagneticField, RelativisticParticle as RelativisticParticle
from fimlag.problems._first_order import LotkaVolterra as LotkaVolterra, PointVortices as PointVortices
from fimlag.problems._kepler import Kepler as Kepler
from fimlag.problems._normal import NormalFisher as NormalFisher
from fimlag.problems._pendulum import SphericalPendulum as SphericalPendulum
from fimlag.problems._rare_events import (
    LinearDrift as LinearDrift,
    MaierStein as MaierStein,
    MuellerBrown as MuellerBrown,
)
from fimlag.problems._relativity import Schwarzschild as Schwarzschild
from fimlag.problems._sleigh import ChaplyginSleigh as ChaplyginSleigh
from fimlag.problems._three_bodies import FigureEight as FigureEight
