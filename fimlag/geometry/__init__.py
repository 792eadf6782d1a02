"""Matrix field to connection and curvature."""

from fimlag.geometry._alpha import (
    alpha_acceleration as alpha_acceleration,
    alpha_christoffel as alpha_christoffel,
    alpha_curvature as alpha_curvature,
    amari_chentsov as amari_chentsov,
)
from fimlag.geometry._bures import (
    BuresMetric as BuresMetric,
    bures_distance as bures_distance,
    displacement_interpolation as displacement_interpolation,
)
from fimlag.geometry._combined import (
    DampedMetric as DampedMetric,
    ProductMetric as ProductMetric,
    SumMetric as SumMetric,
)
from fimlag.geometry._connection import (
    christoffel as christoffel,
    christoffel_first_kind as christoffel_first_kind,
    geodesic_acceleration as geodesic_acceleration,
)
from fimlag.geometry._covariant import (
    covariant_derivative as covariant_derivative,
    covariant_derivative_of_one_form as covariant_derivative_of_one_form,
    covariant_hessian as covariant_hessian,
    laplace_beltrami as laplace_beltrami,
    lie_derivative as lie_derivative,
    riemannian_gradient as riemannian_gradient,
)
from fimlag.geometry._curvature import (
    ricci_curvature as ricci_curvature,
    riemann_curvature as riemann_curvature,
    scalar_curvature as scalar_curvature,
    sectional_curvature as sectional_curvature,
    volume_density as volume_density,
)
from fimlag.geometry._dually_flat import (
    ExponentialGeodesic as ExponentialGeodesic,
    InformationProjection as InformationProjection,
    MixtureGeodesic as MixtureGeodesic,
    e_geodesic as e_geodesic,
    e_projection as e_projection,
    m_geodesic as m_geodesic,
    m_projection as m_projection,
)
from fimlag.geometry._induced import (
    ConformalMetric as ConformalMetric,
    JacobiMetric as JacobiMetric,
    PullbackMetric as PullbackMetric,
)
from fimlag.geometry._invariants import (
    einstein_tensor as einstein_tensor,
    kretschmann as kretschmann,
    weyl_curvature as weyl_curvature,
)
from fimlag.geometry._metric import (
    AbstractMetric as AbstractMetric,
    EuclideanMetric as EuclideanMetric,
    FisherMetric as FisherMetric,
    Metric as Metric,
    as_metric as as_metric,
)
from fimlag.geometry._statistical_curvature import statistical_curvature as statistical_curvature
