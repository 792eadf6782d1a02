"""Families whose Fisher matrix, and often distance, is known in closed form."""

from fimlag.information.families._circular import VonMises as VonMises
from fimlag.information.families._counts import (
    Poisson as Poisson,
    ZeroInflatedPoisson as ZeroInflatedPoisson,
)
from fimlag.information.families._dirichlet import Dirichlet as Dirichlet
from fimlag.information.families._discrete import (
    Bernoulli as Bernoulli,
    Categorical as Categorical,
)
from fimlag.information.families._exponential_family import ExponentialFamily as ExponentialFamily
from fimlag.information.families._extremes import Frechet as Frechet, Weibull as Weibull
from fimlag.information.families._gamma import (
    ChiSquared as ChiSquared,
    Erlang as Erlang,
    Gamma as Gamma,
    InverseGamma as InverseGamma,
)
from fimlag.information.families._interval import Beta as Beta
from fimlag.information.families._lifetimes import (
    CensoredExponential as CensoredExponential,
    Pareto as Pareto,
    PowerFunction as PowerFunction,
    Rayleigh as Rayleigh,
)
from fimlag.information.families._location_scale import (
    Cauchy as Cauchy,
    Gumbel as Gumbel,
    Laplace as Laplace,
    Logistic as Logistic,
    Normal as Normal,
)
from fimlag.information.families._log_cholesky import (
    from_log_cholesky as from_log_cholesky,
    log_cholesky as log_cholesky,
)
from fimlag.information.families._logits import (
    BernoulliLogits as BernoulliLogits,
    CategoricalLogits as CategoricalLogits,
)
from fimlag.information.families._multivariate_normal import (
    MultivariateNormal as MultivariateNormal,
    NormalLocation as NormalLocation,
)
from fimlag.information.families._normal_lines import NormalMean as NormalMean, NormalScale as NormalScale
from fimlag.information.families._positive import (
    Exponential as Exponential,
    InverseGaussian as InverseGaussian,
    LogNormal as LogNormal,
)
from fimlag.information.families._structured_normals import (
    CentredNormal as CentredNormal,
    DiagonalNormal as DiagonalNormal,
    IsotropicNormal as IsotropicNormal,
)
from fimlag.information.families._student import (
    StudentT as StudentT,
    StudentTLocationScale as StudentTLocationScale,
)
from fimlag.information.families._trials import Binomial as Binomial, Multinomial as Multinomial
from fimlag.information.families._waiting import (
    Geometric as Geometric,
    NegativeBinomial as NegativeBinomial,
    Pascal as Pascal,
)
from fimlag.information.families._wishart import Wishart as Wishart, WishartDof as WishartDof
