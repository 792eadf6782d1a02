"""Equations of motion to trajectory."""

from fimlag.integrators._adjoint import (
    AbstractAdjoint as AbstractAdjoint,
    CheckpointedAdjoint as CheckpointedAdjoint,
    DirectAdjoint as DirectAdjoint,
)
from fimlag.integrators._budget import EnergyBudget as EnergyBudget, energy_budget as energy_budget
from fimlag.integrators._composition import Composition as Composition
from fimlag.integrators._constrained import Rattle as Rattle
from fimlag.integrators._contact import ContactLeapfrog as ContactLeapfrog
from fimlag.integrators._default import default_method as default_method
from fimlag.integrators._dense import DenseTrajectory as DenseTrajectory, dense_output as dense_output
from fimlag.integrators._discretisation import (
    DivergenceLagrangian as DivergenceLagrangian,
    Galerkin as Galerkin,
    Trapezoidal as Trapezoidal,
)
from fimlag.integrators._events import (
    Crossings as Crossings,
    EventSolution as EventSolution,
    crossings as crossings,
    integrate_to_event as integrate_to_event,
    poincare_section as poincare_section,
)
from fimlag.integrators._explicit import (
    BlanesMoan4 as BlanesMoan4,
    BlanesMoan6 as BlanesMoan6,
    BlanesMoanNystrom4 as BlanesMoanNystrom4,
    BlanesMoanNystrom6 as BlanesMoanNystrom6,
    KahanLi6 as KahanLi6,
    KahanLi8 as KahanLi8,
    McLachlan4 as McLachlan4,
    StormerVerlet as StormerVerlet,
    Suzuki4 as Suzuki4,
    SymplecticEuler as SymplecticEuler,
    Yoshida4 as Yoshida4,
    Yoshida6 as Yoshida6,
    Yoshida8 as Yoshida8,
)
from fimlag.integrators._generalised_leapfrog import GeneralisedLeapfrog as GeneralisedLeapfrog
from fimlag.integrators._implicit import GaussLegendre as GaussLegendre, ImplicitMidpoint as ImplicitMidpoint
from fimlag.integrators._integrate import integrate as integrate
from fimlag.integrators._interop import (
    diffrax_solver as diffrax_solver,
    diffrax_terms as diffrax_terms,
)
from fimlag.integrators._lyapunov import (
    LyapunovExponents as LyapunovExponents,
    lyapunov_exponents as lyapunov_exponents,
)
from fimlag.integrators._method import AbstractMethod as AbstractMethod
from fimlag.integrators._nonholonomic import NonholonomicLeapfrog as NonholonomicLeapfrog
from fimlag.integrators._reversible import ReversibleAdjoint as ReversibleAdjoint
from fimlag.integrators._tao import Tao as Tao
from fimlag.integrators._time_transformed import (
    ReversibleAdaptive as ReversibleAdaptive,
    TimeTransformedLeapfrog as TimeTransformedLeapfrog,
)
from fimlag.integrators._trajectory import Trajectory as Trajectory
from fimlag.integrators._variational import Variational as Variational
from fimlag.integrators._variations import (
    Monodromy as Monodromy,
    Variation as Variation,
    monodromy as monodromy,
    variation as variation,
)
