"""Probability to matrix: models, expectations, and the Fisher information."""

from fimlag.information import families as families
from fimlag.information._amplitude import (
    DensityCertificate as DensityCertificate,
    FunctionalEstimate as FunctionalEstimate,
)
from fimlag.information._bounds import (
    cramer_rao_bound as cramer_rao_bound,
    efficient_information as efficient_information,
)
from fimlag.information._bregman import bregman_divergence as bregman_divergence
from fimlag.information._canonical_correlations import (
    CanonicalCorrelations as CanonicalCorrelations,
    canonical_correlations as canonical_correlations,
)
from fimlag.information._channel_capacity import (
    ChannelCapacity as ChannelCapacity,
    channel_capacity as channel_capacity,
)
from fimlag.information._chernoff import (
    chernoff_exponent as chernoff_exponent,
    chernoff_information as chernoff_information,
)
from fimlag.information._conditional import ConditionalModel as ConditionalModel
from fimlag.information._criteria import (
    AbstractCriterion as AbstractCriterion,
    AOptimality as AOptimality,
    DOptimality as DOptimality,
    EOptimality as EOptimality,
    IOptimality as IOptimality,
)
from fimlag.information._dali import DaliTensors as DaliTensors, dali_tensors as dali_tensors
from fimlag.information._damped_solve import (
    AbstractDampedSolver as AbstractDampedSolver,
    ConjugateGradient as ConjugateGradient,
    DampedSolution as DampedSolution,
    SampleSpace as SampleSpace,
    damped_solve as damped_solve,
)
from fimlag.information._density_functional import (
    differential_entropy as differential_entropy,
    entropy_power as entropy_power,
    fisher_functional as fisher_functional,
    fisher_functional_matrix as fisher_functional_matrix,
    relative_entropy as relative_entropy,
    relative_fisher_functional as relative_fisher_functional,
)
from fimlag.information._density_grids import (
    AbstractGrid as AbstractGrid,
    CircleGrid as CircleGrid,
    HalfLineGrid as HalfLineGrid,
    IntervalGrid as IntervalGrid,
    LineGrid as LineGrid,
    ProductGrid as ProductGrid,
)
from fimlag.information._design import (
    OptimalDesign as OptimalDesign,
    design_criterion as design_criterion,
    optimal_design as optimal_design,
)
from fimlag.information._divergence import (
    alpha_divergence as alpha_divergence,
    bhattacharyya_distance as bhattacharyya_distance,
    chi_square_divergence as chi_square_divergence,
    hellinger_distance as hellinger_distance,
    jeffreys_divergence as jeffreys_divergence,
    kl_divergence as kl_divergence,
    renyi_divergence as renyi_divergence,
    tsallis_divergence as tsallis_divergence,
)
from fimlag.information._divergence_choice import divergence_estimate as divergence_estimate
from fimlag.information._divergence_estimate import (
    DivergenceCertificate as DivergenceCertificate,
    DivergenceEstimate as DivergenceEstimate,
)
from fimlag.information._ellipsoid import (
    ConfidenceEllipsoid as ConfidenceEllipsoid,
    confidence_ellipsoid as confidence_ellipsoid,
)
from fimlag.information._entropy import cross_entropy as cross_entropy, entropy as entropy
from fimlag.information._entropy_flow import (
    fokker_planck_flow as fokker_planck_flow,
    heat_flow as heat_flow,
)
from fimlag.information._estimate import Certificate as Certificate, FisherEstimate as FisherEstimate
from fimlag.information._expectation import (
    Empirical as Empirical,
    ExactSum as ExactSum,
    MonteCarlo as MonteCarlo,
    Reparametrised as Reparametrised,
)
from fimlag.information._fisher import (
    empirical_fisher as empirical_fisher,
    fisher_estimate as fisher_estimate,
    fisher_information as fisher_information,
    fisher_quadratic as fisher_quadratic,
    observed_information as observed_information,
    score as score,
)
from fimlag.information._functional_choice import (
    functional_estimate as functional_estimate,
)
from fimlag.information._gaussian import GaussianModel as GaussianModel
from fimlag.information._gaussian_bottleneck import (
    GaussianBottleneck as GaussianBottleneck,
    gaussian_information_bottleneck as gaussian_information_bottleneck,
)
from fimlag.information._gibbs import (
    GibbsDistribution as GibbsDistribution,
    free_energy as free_energy,
    gibbs_distribution as gibbs_distribution,
)
from fimlag.information._identifiability import (
    Identifiability as Identifiability,
    identifiability as identifiability,
)
from fimlag.information._information_bottleneck import (
    InformationBottleneck as InformationBottleneck,
    information_bottleneck as information_bottleneck,
)
from fimlag.information._jeffreys import (
    JeffreysVolume as JeffreysVolume,
    jeffreys_density as jeffreys_density,
    jeffreys_volume as jeffreys_volume,
    log_jeffreys_density as log_jeffreys_density,
)
from fimlag.information._jensen_shannon import jensen_shannon_divergence as jensen_shannon_divergence
from fimlag.information._log_determinant import LogDeterminant as LogDeterminant, log_determinant as log_determinant
from fimlag.information._maxent import (
    MaximumEntropy as MaximumEntropy,
    MomentBounds as MomentBounds,
    maximum_entropy as maximum_entropy,
)
from fimlag.information._merge import merge_estimates as merge_estimates
from fimlag.information._minimum_fisher import (
    MinimumFisherDensity as MinimumFisherDensity,
    minimum_fisher_density as minimum_fisher_density,
)
from fimlag.information._model import AbstractModel as AbstractModel, StatisticalModel as StatisticalModel
from fimlag.information._mutual_information import mutual_information as mutual_information
from fimlag.information._operator import (
    FisherOperator as FisherOperator,
    fisher_diagonal as fisher_diagonal,
    fisher_operator as fisher_operator,
)
from fimlag.information._product import ProductModel as ProductModel
from fimlag.information._propagation import DerivedEstimate as DerivedEstimate, derived_estimate as derived_estimate
from fimlag.information._quadrature import Quadrature as Quadrature
from fimlag.information._quantum import (
    berry_curvature as berry_curvature,
    quantum_fisher_information as quantum_fisher_information,
    quantum_geometric_tensor as quantum_geometric_tensor,
)
from fimlag.information._quantum_potential import (
    quantum_potential as quantum_potential,
)
from fimlag.information._rate_distortion import (
    RateDistortion as RateDistortion,
    rate_distortion as rate_distortion,
)
from fimlag.information._sandwich import (
    godambe_information as godambe_information,
    sandwich_covariance as sandwich_covariance,
)
from fimlag.information._spectrum import Spectrum as Spectrum, sloppiness_spectrum as sloppiness_spectrum
from fimlag.information._van_trees import (
    VanTreesBound as VanTreesBound,
    van_trees_bound as van_trees_bound,
)
from fimlag.information.families import ExponentialFamily as ExponentialFamily
