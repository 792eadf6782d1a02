"""Matrix field to connection and curvature."""

from fimlag.geometry._connection import christoffel as christoffel
from fimlag.geometry._curvature import (
    ricci_curvature as ricci_curvature,
    riemann_curvature as riemann_curvature,
    scalar_curvature as scalar_curvature,
    sectional_curvature as sectional_curvature,
    volume_density as volume_density,
)
from fimlag.geometry._metric import (
    AbstractMetric as AbstractMetric,
    ConformalMetric as ConformalMetric,
    EuclideanMetric as EuclideanMetric,
    FisherMetric as FisherMetric,
    Metric as Metric,
    PullbackMetric as PullbackMetric,
    as_metric as as_metric,
)
