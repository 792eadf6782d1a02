"""Endpoints to path of least action."""

from fimlag.paths._action import action as action
from fimlag.paths._alpha_geodesic import (
    AlphaGeodesicSolution as AlphaGeodesicSolution,
    alpha_exp_map as alpha_exp_map,
    alpha_geodesic as alpha_geodesic,
)
from fimlag.paths._balls import (
    geodesic_ball as geodesic_ball,
    geodesic_sphere as geodesic_sphere,
)
from fimlag.paths._conjugate_times import (
    ConjugateTimes as ConjugateTimes,
    conjugate_times as conjugate_times,
)
from fimlag.paths._diffusion_bridge import (
    DiffusionBridge as DiffusionBridge,
    diffusion_bridge as diffusion_bridge,
)
from fimlag.paths._divergence_action import divergence_action as divergence_action
from fimlag.paths._divergence_path import (
    LeastDivergenceSolution as LeastDivergenceSolution,
    least_divergence_path as least_divergence_path,
)
from fimlag.paths._enumeration import (
    stationary_paths as stationary_paths,
)
from fimlag.paths._explained_action import (
    ExplainedAction as ExplainedAction,
    explained_action as explained_action,
)
from fimlag.paths._explained_variance import (
    explained_variance as explained_variance,
    ito_action as ito_action,
)
from fimlag.paths._fluctuations import (
    PathUncertainty as PathUncertainty,
    fluctuation_determinant as fluctuation_determinant,
    path_uncertainty as path_uncertainty,
)
from fimlag.paths._gaussian_bridge import (
    GaussianBridge as GaussianBridge,
    gaussian_schroedinger_bridge as gaussian_schroedinger_bridge,
)
from fimlag.paths._geodesic import (
    DistanceEstimate as DistanceEstimate,
    distance as distance,
    distance_estimate as distance_estimate,
    exp_map as exp_map,
    geodesic as geodesic,
    log_map as log_map,
)
from fimlag.paths._jacobi import (
    ConjugatePoints as ConjugatePoints,
    JacobiField as JacobiField,
    conjugate_points as conjugate_points,
    jacobi_field as jacobi_field,
)
from fimlag.paths._least_action import (
    LeastActionSolution as LeastActionSolution,
    least_action_path as least_action_path,
)
from fimlag.paths._likelihood import path_log_likelihood as path_log_likelihood
from fimlag.paths._mean import (
    FrechetMean as FrechetMean,
    frechet_mean as frechet_mean,
)
from fimlag.paths._methods import (
    Descent as Descent,
    Shooting as Shooting,
)
from fimlag.paths._path import Path as Path
from fimlag.paths._path_expectation import (
    PathExpectation as PathExpectation,
)
from fimlag.paths._path_information import (
    expected_path_information as expected_path_information,
    path_information as path_information,
    path_kl_divergence as path_kl_divergence,
)
from fimlag.paths._protocol import (
    OptimalProtocol as OptimalProtocol,
    ProtocolCost as ProtocolCost,
    optimal_protocol as optimal_protocol,
    protocol_cost as protocol_cost,
    thermodynamic_divergence as thermodynamic_divergence,
    thermodynamic_length as thermodynamic_length,
)
from fimlag.paths._rare_event import (
    GeometricActionSolution as GeometricActionSolution,
    geometric_action_path as geometric_action_path,
    quasi_potential as quasi_potential,
)
from fimlag.paths._route import (
    OnSurface as OnSurface,
    Periodic as Periodic,
)
from fimlag.paths._soft_lqr import (
    SoftLQR as SoftLQR,
    soft_lqr as soft_lqr,
)
from fimlag.paths._soft_mdp import (
    SoftMDP as SoftMDP,
    linearly_solvable_mdp as linearly_solvable_mdp,
    soft_mdp as soft_mdp,
)
from fimlag.paths._speed_limit import (
    SpeedLimit as SpeedLimit,
    speed_limit as speed_limit,
)
from fimlag.paths._string import (
    MinimumEnergyPath as MinimumEnergyPath,
    eyring_kramers_rate as eyring_kramers_rate,
    minimum_energy_path as minimum_energy_path,
)
from fimlag.paths._transport import (
    ParallelTransport as ParallelTransport,
    holonomy as holonomy,
    parallel_transport as parallel_transport,
    transport_map as transport_map,
)
from fimlag.paths._trap import (
    OverdampedTrap as OverdampedTrap,
    TrapProtocol as TrapProtocol,
)
