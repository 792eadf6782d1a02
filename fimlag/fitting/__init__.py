"""Data to parameters."""

from fimlag.fitting._accelerated import (
    AcceleratedState as AcceleratedState,
    accelerated_natural_gradient as accelerated_natural_gradient,
)
from fimlag.fitting._drift import MirrorMap as MirrorMap
from fimlag.fitting._intervals import (
    LikelihoodInterval as LikelihoodInterval,
    likelihood_ratio_interval as likelihood_ratio_interval,
    profile_interval as profile_interval,
)
from fimlag.fitting._likelihood import (
    MaximumLikelihoodSolution as MaximumLikelihoodSolution,
    maximum_likelihood as maximum_likelihood,
)
from fimlag.fitting._natural_gradient import (
    AdaptiveDamping as AdaptiveDamping,
    NaturalGradientState as NaturalGradientState,
    natural_gradient as natural_gradient,
)
from fimlag.fitting._profile import (
    ProfileLikelihood as ProfileLikelihood,
    profile_likelihood as profile_likelihood,
)
from fimlag.fitting._regions import (
    LikelihoodRegion as LikelihoodRegion,
    likelihood_ratio_region as likelihood_ratio_region,
    score_region as score_region,
    wald_region as wald_region,
)
