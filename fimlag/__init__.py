"""From a log-likelihood to Fisher information, its geometry, and paths of least action."""

import importlib

from fimlag._charts import (
    AbstractChart as AbstractChart,
    CoordinatewiseChart as CoordinatewiseChart,
    FunctionChart as FunctionChart,
    IdentityChart as IdentityChart,
    ShapeMeanChart as ShapeMeanChart,
    SimplexChart as SimplexChart,
)
from fimlag._results import RESULTS as RESULTS
from fimlag.information import (
    AbstractCriterion as AbstractCriterion,
    AbstractDampedSolver as AbstractDampedSolver,
    AbstractModel as AbstractModel,
    AOptimality as AOptimality,
    Certificate as Certificate,
    ConditionalModel as ConditionalModel,
    ConfidenceEllipsoid as ConfidenceEllipsoid,
    ConjugateGradient as ConjugateGradient,
    DaliTensors as DaliTensors,
    DampedSolution as DampedSolution,
    DerivedEstimate as DerivedEstimate,
    DOptimality as DOptimality,
    Empirical as Empirical,
    EOptimality as EOptimality,
    ExactSum as ExactSum,
    FisherEstimate as FisherEstimate,
    FisherOperator as FisherOperator,
    GaussianModel as GaussianModel,
    Identifiability as Identifiability,
    IOptimality as IOptimality,
    JeffreysVolume as JeffreysVolume,
    LogDeterminant as LogDeterminant,
    MonteCarlo as MonteCarlo,
    OptimalDesign as OptimalDesign,
    ProductModel as ProductModel,
    Quadrature as Quadrature,
    Reparametrised as Reparametrised,
    SampleSpace as SampleSpace,
    Spectrum as Spectrum,
    StatisticalModel as StatisticalModel,
    VanTreesBound as VanTreesBound,
    berry_curvature as berry_curvature,
    confidence_ellipsoid as confidence_ellipsoid,
    cramer_rao_bound as cramer_rao_bound,
    dali_tensors as dali_tensors,
    damped_solve as damped_solve,
    derived_estimate as derived_estimate,
    design_criterion as design_criterion,
    efficient_information as efficient_information,
    empirical_fisher as empirical_fisher,
    families as families,
    fisher_diagonal as fisher_diagonal,
    fisher_estimate as fisher_estimate,
    fisher_information as fisher_information,
    fisher_operator as fisher_operator,
    fisher_quadratic as fisher_quadratic,
    godambe_information as godambe_information,
    identifiability as identifiability,
    jeffreys_density as jeffreys_density,
    jeffreys_volume as jeffreys_volume,
    log_determinant as log_determinant,
    log_jeffreys_density as log_jeffreys_density,
    merge_estimates as merge_estimates,
    observed_information as observed_information,
    optimal_design as optimal_design,
    quantum_fisher_information as quantum_fisher_information,
    quantum_geometric_tensor as quantum_geometric_tensor,
    sandwich_covariance as sandwich_covariance,
    score as score,
    sloppiness_spectrum as sloppiness_spectrum,
    van_trees_bound as van_trees_bound,
)

# isort: split
from fimlag.geometry import (
    AbstractMetric as AbstractMetric,
    ConformalMetric as ConformalMetric,
    DampedMetric as DampedMetric,
    EuclideanMetric as EuclideanMetric,
    FisherMetric as FisherMetric,
    JacobiMetric as JacobiMetric,
    Metric as Metric,
    ProductMetric as ProductMetric,
    PullbackMetric as PullbackMetric,
    SumMetric as SumMetric,
    alpha_acceleration as alpha_acceleration,
    alpha_christoffel as alpha_christoffel,
    alpha_curvature as alpha_curvature,
    amari_chentsov as amari_chentsov,
    as_metric as as_metric,
    christoffel as christoffel,
    christoffel_first_kind as christoffel_first_kind,
    covariant_derivative as covariant_derivative,
    covariant_derivative_of_one_form as covariant_derivative_of_one_form,
    covariant_hessian as covariant_hessian,
    einstein_tensor as einstein_tensor,
    geodesic_acceleration as geodesic_acceleration,
    kretschmann as kretschmann,
    laplace_beltrami as laplace_beltrami,
    lie_derivative as lie_derivative,
    ricci_curvature as ricci_curvature,
    riemann_curvature as riemann_curvature,
    riemannian_gradient as riemannian_gradient,
    scalar_curvature as scalar_curvature,
    sectional_curvature as sectional_curvature,
    statistical_curvature as statistical_curvature,
    volume_density as volume_density,
    weyl_curvature as weyl_curvature,
)

# isort: split
from fimlag.mechanics import (
    FisherLagrangian as FisherLagrangian,
    NaturalLagrangian as NaturalLagrangian,
    Separable as Separable,
    acceleration as acceleration,
    energy as energy,
    euler_lagrange_residual as euler_lagrange_residual,
    hamiltonian as hamiltonian,
    is_separable as is_separable,
    lagrangian as lagrangian,
    mass_matrix as mass_matrix,
    momentum as momentum,
    velocity as velocity,
)

# isort: split
from fimlag.integrators import (
    AbstractAdjoint as AbstractAdjoint,
    AbstractMethod as AbstractMethod,
    CheckpointedAdjoint as CheckpointedAdjoint,
    DirectAdjoint as DirectAdjoint,
    GaussLegendre as GaussLegendre,
    ImplicitMidpoint as ImplicitMidpoint,
    StormerVerlet as StormerVerlet,
    Trajectory as Trajectory,
    Yoshida4 as Yoshida4,
    integrate as integrate,
)

# isort: split
from fimlag.paths import (
    LeastActionSolution as LeastActionSolution,
    Path as Path,
    action as action,
    distance as distance,
    exp_map as exp_map,
    geodesic as geodesic,
    least_action_path as least_action_path,
    log_map as log_map,
)

# isort: split
from fimlag.fitting import (
    LikelihoodInterval as LikelihoodInterval,
    LikelihoodRegion as LikelihoodRegion,
    MaximumLikelihoodSolution as MaximumLikelihoodSolution,
    ProfileLikelihood as ProfileLikelihood,
    likelihood_ratio_interval as likelihood_ratio_interval,
    likelihood_ratio_region as likelihood_ratio_region,
    maximum_likelihood as maximum_likelihood,
    profile_interval as profile_interval,
    profile_likelihood as profile_likelihood,
    score_region as score_region,
    wald_region as wald_region,
)

# isort: split
from fimlag.diagnostics import (
    EnergyDrift as EnergyDrift,
    ObservedOrder as ObservedOrder,
    energy_drift as energy_drift,
    observed_order as observed_order,
    symplecticity_defect as symplecticity_defect,
)


def __getattr__(name: str):
    """Rooms beside the chain, loaded when first used."""
    if name in {"datasets", "io", "plot", "problems"}:
        return importlib.import_module(f"fimlag.{name}")
    raise AttributeError(f"module 'fimlag' has no attribute {name!r}")
