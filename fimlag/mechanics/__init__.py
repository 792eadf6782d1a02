"""Scalar of (t, q, v) to equations of motion."""

from fimlag.mechanics._bregman_lagrangian import (
    BregmanLagrangian as BregmanLagrangian,
    ScalingDefect as ScalingDefect,
)
from fimlag.mechanics._constraints import (
    Constrained as Constrained,
    Nonholonomic as Nonholonomic,
    constrained_acceleration as constrained_acceleration,
    constraint_defect as constraint_defect,
)
from fimlag.mechanics._contact import (
    Herglotz as Herglotz,
    caldirola_kanai as caldirola_kanai,
    contact_acceleration as contact_acceleration,
)
from fimlag.mechanics._contact_energy import (
    contact_energy as contact_energy,
    contact_hamiltonian as contact_hamiltonian,
    dissipation_defect as dissipation_defect,
)
from fimlag.mechanics._entropy_regularised import (
    EntropyRegularised as EntropyRegularised,
)
from fimlag.mechanics._euler_lagrange import (
    acceleration as acceleration,
    energy as energy,
    euler_lagrange_residual as euler_lagrange_residual,
    mass_matrix as mass_matrix,
    momentum as momentum,
)
from fimlag.mechanics._fisher_friction import (
    fisher_friction as fisher_friction,
)
from fimlag.mechanics._forces import (
    Forced as Forced,
    power as power,
    rayleigh as rayleigh,
)
from fimlag.mechanics._hamilton_jacobi import (
    boundary_momenta as boundary_momenta,
    generated_map as generated_map,
    hamilton_jacobi_residual as hamilton_jacobi_residual,
)
from fimlag.mechanics._hamiltonian import (
    LegendreDefect as LegendreDefect,
    hamilton_equations as hamilton_equations,
    hamiltonian as hamiltonian,
    lagrangian as lagrangian,
    legendre_defect as legendre_defect,
    velocity as velocity,
)
from fimlag.mechanics._inertia import (
    AccelerationEstimate as AccelerationEstimate,
    Inertia as Inertia,
    acceleration_estimate as acceleration_estimate,
    inertia as inertia,
)
from fimlag.mechanics._informational import (
    FisherLagrangian as FisherLagrangian,
    FreidlinWentzell as FreidlinWentzell,
    OnsagerMachlup as OnsagerMachlup,
)
from fimlag.mechanics._invariants import (
    SymmetryDefect as SymmetryDefect,
    noether_charge as noether_charge,
    poisson_bracket as poisson_bracket,
    symmetry_defect as symmetry_defect,
    time_derivative as time_derivative,
)
from fimlag.mechanics._lagrangian import (
    NaturalLagrangian as NaturalLagrangian,
    Separable as Separable,
)
from fimlag.mechanics._phase_space import (
    PhaseSpaceLagrangian as PhaseSpaceLagrangian,
    phase_velocity as phase_velocity,
    symplectic_form as symplectic_form,
)
from fimlag.mechanics._phase_space_report import (
    PhaseSpaceReport as PhaseSpaceReport,
    phase_space_report as phase_space_report,
)
from fimlag.mechanics._projection import (
    ConstrainedState as ConstrainedState,
    project_onto_constraints as project_onto_constraints,
)
from fimlag.mechanics._separation import is_separable as is_separable
from fimlag.mechanics._transformation import (
    PointTransformation as PointTransformation,
    gauge_transformed as gauge_transformed,
    point_transformation as point_transformation,
)
