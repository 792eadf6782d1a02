"""Equations of motion to trajectory."""

from fimlag.integrators._adjoint import (
    AbstractAdjoint as AbstractAdjoint,
    CheckpointedAdjoint as CheckpointedAdjoint,
    DirectAdjoint as DirectAdjoint,
)
from fimlag.integrators._explicit import StormerVerlet as StormerVerlet, Yoshida4 as Yoshida4
from fimlag.integrators._implicit import GaussLegendre as GaussLegendre, ImplicitMidpoint as ImplicitMidpoint
from fimlag.integrators._integrate import integrate as integrate
from fimlag.integrators._method import AbstractMethod as AbstractMethod
from fimlag.integrators._trajectory import Trajectory as Trajectory
