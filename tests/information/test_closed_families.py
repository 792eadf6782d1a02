"""Families: densities against scipy, supports, domains, and closed distances."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

import fimlag as fl

families, stats = fl.families, scipy.stats
COVARIANCE = [[2.0, 0.5], [0.5, 1.0]]
MULTIVARIATE = families.MultivariateNormal(2)
# Family, parameters, the reference, outcomes inside the support, outcomes outside.
DENSITIES = [
    (families.StudentT(), [3.0, 2.0, 1.5], stats.t(1.5, 3.0, 2.0).logpdf, [-5.0, 3.0, 1e6], []),
    (families.StudentT(), [3.0, 2.0, 200.0], stats.t(200.0, 3.0, 2.0).logpdf, [-5.0, 3.0], []),
    (families.Logistic(), [3.0, 2.0], stats.logistic(3.0, 2.0).logpdf, [-500.0, 3.0, 70.0], []),
    (families.Cauchy(), [3.0, 2.0], stats.cauchy(3.0, 2.0).logpdf, [-5.0, 3.0, 1e6], []),
    (families.Laplace(), [3.0, 2.0], stats.laplace(3.0, 2.0).logpdf, [-5.0, 3.0, 70.0], []),
    (families.Gumbel(), [3.0, 2.0], stats.gumbel_r(3.0, 2.0).logpdf, [-5.0, 3.0, 70.0], []),
    (families.Beta(), [0.3, 2.5], stats.beta(0.3, 2.5).logpdf, [0.01, 0.99], [0.0, 1.0, 1.5]),
    (families.ChiSquared(), [3.5], stats.chi2(3.5).logpdf, [0.01, 9.0], [-1.0]),
    (families.LogNormal(), [0.5, 2.0], stats.lognorm(2.0, scale=np.exp(0.5)).logpdf, [1e-3, 40.0], [-1.0, 0.0]),
    (families.InverseGaussian(), [1.5, 2.0], stats.invgauss(0.75, scale=2.0).logpdf, [0.01, 9.0], [-1.0, 0.0]),
    (families.Weibull(), [1.5, 2.0], stats.weibull_min(1.5, scale=2.0).logpdf, [0.01, 9.0], [-1.0, 0.0]),
    (families.Frechet(), [1.5, 2.0], stats.invweibull(1.5, scale=2.0).logpdf, [0.5, 900.0], [-1.0, 0.0]),
    (families.Erlang(3), [2.0], stats.gamma(3.0, scale=0.5).logpdf, [0.01, 9.0], [-1.0, 0.0]),
    (families.Erlang(1), [2.0], stats.expon(scale=0.5).logpdf, [0.0, 9.0], [-1.0]),
    (families.InverseGamma(), [1.7, 2.0], stats.invgamma(1.7, scale=2.0).logpdf, [0.1, 90.0], [-1.0, 0.0]),
    (families.PowerFunction(2.0), [1.5], stats.powerlaw(1.5, scale=2.0).logpdf, [0.1, 2.0], [-1.0, 0.0, 2.1]),
    (families.StudentTLocationScale(1.5), [3.0, 2.0], stats.t(1.5, 3.0, 2.0).logpdf, [-5.0, 3.0, 1e6], []),
    (families.NormalMean(2.0), [3.0], stats.norm(3.0, 2.0).logpdf, [-50.0, 3.0], []),
    (families.NormalScale(3.0), [2.0], stats.norm(3.0, 2.0).logpdf, [-50.0, 3.0], []),
    (families.Rayleigh(), [2.0], stats.rayleigh(scale=2.0).logpdf, [0.01, 9.0], [-1.0, 0.0]),
    (families.Pareto(2.0), [1.5], stats.pareto(1.5, scale=2.0).logpdf, [2.0, 90.0], [1.9, -3.0]),
    (families.CensoredExponential(2.0), [0.7], stats.expon(scale=1 / 0.7).logpdf, [0.0, 1.9], [-1.0, 2.1]),
    (families.CensoredExponential(2.0), [0.7], stats.expon(scale=1 / 0.7).logsf, [2.0], []),
    (families.VonMises(), [1.0, 3.0], stats.vonmises(3.0, 1.0).logpdf, [-3.0, 1.0], []),
    (families.VonMises(), [1.0, 300.0], stats.vonmises(300.0, 1.0).logpdf, [0.9, 1.0], []),
    (families.NegativeBinomial(), [2.5, 0.3], stats.nbinom(2.5, 0.3).logpmf, [0, 7], [-1, 0.5]),
    (families.Geometric(), [0.3], stats.geom(0.3, loc=-1).logpmf, [0, 7], [-1, 0.5]),
    (families.Pascal(2.5), [0.3], stats.nbinom(2.5, 0.3).logpmf, [0, 7], [-1, 0.5]),
    (families.Binomial(5), [0.3], stats.binom(5, 0.3).logpmf, [0, 3, 5], [-1, 0.5, 6]),
    (families.BernoulliLogits(), [1.2], stats.bernoulli(1.0 / (1.0 + np.exp(-1.2))).logpmf, [0, 1], [-1, 0.5, 2]),
    (families.CategoricalLogits(3), [0.0, 1.0, 2.0], lambda x: x - np.log(1 + np.e + np.e**2), [0, 1, 2], [3, -1]),
    (families.ZeroInflatedPoisson(), [0.3, 2.0], lambda x: np.log(0.3 + 0.7 * np.exp(-2.0)), [0], []),
    (families.ZeroInflatedPoisson(), [0.3, 2.0], lambda x: np.log(0.7) + stats.poisson(2.0).logpmf(x), [1, 9], [-1]),
    (families.Multinomial(4, 3), [0.2, 0.3], stats.multinomial(4, [0.2, 0.3, 0.5]).logpmf,
     [(1, 0, 3)], [(1, 1, 1), (5, 0, -1)]),
    (families.Dirichlet(3), [0.5, 2.0, 3.0], stats.dirichlet([0.5, 2.0, 3.0]).logpdf,
     [(0.2, 0.3, 0.5)], [(0.2, 0.3, 0.4)]),
    (MULTIVARIATE, [1.0, -1.0, 0.5 * np.log(2.0), 0.5 / np.sqrt(2.0), 0.5 * np.log(0.875)],
     stats.multivariate_normal([1.0, -1.0], COVARIANCE).logpdf, [(0.3, 0.4)], []),
    (families.NormalLocation(jnp.array(COVARIANCE)), [1.0, -1.0],
     stats.multivariate_normal([1.0, -1.0], COVARIANCE).logpdf, [(0.3, 0.4)], []),
]  # fmt: skip
OUTSIDE = [
    (families.StudentT(), [[0.0, -1.0, 2.0], [0.0, 1.0, -2.0]], 0.5),
    (families.Logistic(), [[0.0, -1.0], [0.0, 0.0]], 0.5),
    (families.Laplace(), [[0.0, -1.0]], 0.5),
    (families.ChiSquared(), [[-1.0]], 0.5),
    (families.LogNormal(), [[0.0, -1.0]], 0.5),
    (families.InverseGaussian(), [[-1.0, 1.0], [1.0, -1.0]], 0.5),
    (families.Weibull(), [[-1.0, 1.0], [1.0, -1.0]], 0.5),
    (families.Rayleigh(), [[-1.0]], 0.5),
    (families.NormalScale(), [[-1.0], [0.0]], 0.5),
    (families.Pareto(2.0), [[-1.0]], 2.5),
    (families.CensoredExponential(2.0), [[-1.0]], 0.5),
    (families.Frechet(), [[-1.0, 1.0], [1.0, -1.0]], 0.5),
    (families.Erlang(1), [[-1.0], [0.0]], 0.0),
    (families.InverseGamma(), [[-1.0, 1.0], [1.0, -1.0]], 0.5),
    (families.PowerFunction(2.0), [[-1.0]], 0.5),
    (families.StudentTLocationScale(2.0), [[0.0, -1.0]], 0.5),
    (families.Pascal(2.0), [[-0.5], [1.5]], 1),
    (families.VonMises(), [[0.0, -1.0], [0.0, -100.0]], 0.5),
    (families.NegativeBinomial(), [[-1.0, 0.5], [1.0, 1.5], [1.0, -0.5]], 1),
    (families.Geometric(), [[-0.5], [1.5]], 1),
    (families.Binomial(3), [[-0.5], [1.5]], 1),
    (families.Multinomial(2, 2), [[-0.5], [1.5]], jnp.array([1, 1])),
    (families.ZeroInflatedPoisson(), [[-0.5, 1.0], [1.5, 1.0], [0.5, -1.0]], 1),
    (families.Dirichlet(2), [[-0.5, 1.0]], jnp.array([0.5, 0.5])),
]
DISTANCES = [
    (families.Logistic(), [0.3, 0.7], [0.9, 1.1]),
    (families.Cauchy(), [0.3, 0.7], [0.9, 1.1]),
    (families.Laplace(), [0.3, 0.7], [0.9, 1.1]),
    (families.Gumbel(), [0.3, 0.7], [0.9, 1.1]),
    (families.LogNormal(), [0.3, 0.7], [0.9, 1.1]),
    (families.InverseGaussian(), [0.3, 0.7], [0.9, 1.1]),
    (families.Weibull(), [1.3, 0.7], [0.9, 1.1]),
    (families.Rayleigh(), [0.3], [0.9]),
    (families.NormalMean(0.7), [0.3], [0.9]),
    (families.NormalScale(), [0.3], [0.9]),
    (families.Frechet(), [1.3, 0.7], [0.9, 1.1]),
    (families.Erlang(3), [0.3], [0.9]),
    (families.PowerFunction(), [0.3], [0.9]),
    (families.StudentTLocationScale(3.0), [0.3, 0.7], [0.9, 1.1]),
    (families.Pascal(2.5), [0.3], [0.9]),
    (families.Pareto(), [0.3], [0.9]),
    (families.Geometric(), [0.3], [0.9]),
    (families.Binomial(5), [0.3], [0.9]),
    (families.Multinomial(5, 3), [0.2, 0.3], [0.5, 0.2]),
    (families.BernoulliLogits(), [0.3], [-0.9]),
    (families.NormalLocation(jnp.array(COVARIANCE)), [0.3, 0.7], [0.9, 1.1]),
]


def names(cases):
    return [type(case[0]).__name__ for case in cases]


@pytest.mark.parametrize(("family", "theta", "reference", "inside", "outside"), DENSITIES, ids=names(DENSITIES))
def test_log_density_is_that_of_scipy_and_vanishes_outside_the_support(family, theta, reference, inside, outside):
    density = jax.jit(jax.vmap(family.log_likelihood, (None, 0)))(jnp.array(theta), jnp.array(inside + outside, float))
    for ours, x in zip(density, inside, strict=False):
        # Round-off of terms of the order of the result and of log-gamma functions of order 10.
        assert abs(ours - reference(x)) < 1e-13 * (10.0 + abs(ours))
    assert jnp.all(density[len(inside) :] == -jnp.inf)


@pytest.mark.parametrize(("family", "thetas", "x"), OUTSIDE, ids=names(OUTSIDE))
def test_outside_the_domain_nothing_looks_legal(family, thetas, x):
    both = jax.jit(jax.vmap(lambda theta: (family.log_likelihood(theta, x), family.fisher(theta))))
    density, fisher = both(jnp.array(thetas))
    assert jnp.all(jnp.isnan(density))
    assert jnp.all(jnp.any(jnp.isnan(fisher), axis=(1, 2)))


@pytest.mark.parametrize(("family", "theta0", "theta1"), DISTANCES, ids=names(DISTANCES))
def test_distance_is_symmetric_and_has_the_fisher_metric(family, theta0, theta1):
    distance = jax.jit(jax.value_and_grad(family.distance, 1))
    theta0, theta1 = jnp.array(theta0), jnp.array(theta1)
    there, slope = distance(theta0, theta1)
    # Round-off.
    assert abs(there / distance(theta1, theta0)[0] - 1.0) < 1e-14
    coincident, flat = distance(theta0, theta0)
    assert coincident == 0.0
    assert jnp.all(flat == 0.0)
    # The eikonal equation: the gradient has unit length in the inverse metric.
    assert abs(slope @ jnp.linalg.solve(family.fisher(theta1), slope) - 1.0) < 1e-12
    # Second order in the step, relative, and round-off of theta + step.
    step = 1e-8 * jnp.linspace(1.0, 0.5, theta0.size)
    assert abs(distance(theta0, theta0 + step)[0] / jnp.sqrt(step @ family.fisher(theta0) @ step) - 1.0) < 1e-6


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(-4.0, 1.0))
def test_distance_obeys_the_triangle_inequality(seed, log_spread):
    spread = 10.0**log_spread
    free = jnp.asarray(spread * np.random.default_rng(seed).normal(size=(3, len(DISTANCES), 2)))
    sides = triangles(free)
    # Round-off.
    assert jnp.all(sides[:, 0] <= (sides[:, 1] + sides[:, 2]) * (1.0 + 1e-13))


@jax.jit
def triangles(free):
    """The distances between three points of every family: from first to last, and by way of the second."""

    def of_family(number):
        family, theta, _ = DISTANCES[number]
        a, b, c = (family.chart.point(corner[number, : len(theta)]) for corner in free)
        return jnp.stack([family.distance(a, c), family.distance(a, b), family.distance(b, c)])

    return jnp.stack([of_family(number) for number in range(len(DISTANCES))])


@settings(max_examples=20)
@given(st.floats(-4.0, 4.0), st.floats(-4.0, 4.0))
def test_distance_is_invariant_under_reparametrisation(first, second):
    rates = np.exp([first, second])
    # An exponential law by its mean, whose logarithm is that of the rate up to sign; a Rayleigh law by the rate of x^2.
    apart = abs(first - second)
    # Round-off of the parameters, which are of order 1 in their logarithms.
    assert abs(families.Exponential().distance(*(1.0 / rates)) - apart) < 4e-15
    assert abs(families.Rayleigh().distance(*(0.5 / rates) ** 0.5) - apart) < 4e-15
    # Of a normal law by location and log-scale, moved and stretched.
    a, b = jnp.array([0.2, rates[0]]), jnp.array([1.2, rates[1]])
    moved = families.Normal().distance(3.0 * a, 3.0 * b)
    assert abs(moved / families.Normal().distance(a, b) - 1.0) < 1e-14


def test_distance_of_logits_is_that_of_probabilities():
    logits, others = jnp.array([0.0, 1.0, 2.5]), jnp.array([1.0, -3.0, 0.5])
    ours = families.CategoricalLogits(3).distance(logits, others)
    probabilities = families.Categorical(3).distance(jax.nn.softmax(logits)[:2], jax.nn.softmax(others)[:2])
    assert abs(ours - probabilities) < 1e-14
    coin = families.BernoulliLogits()
    assert abs(coin.distance(0.3, -2.0) - families.CategoricalLogits(2).distance([0.3, 0.0], [-2.0, 0.0])) < 1e-14
    # Half of a circle of radius 1, the whole family, without overflow.
    assert abs(coin.distance(-2000.0, 2000.0) - np.pi) < 1e-14


def test_distances_meet_extremes():
    pareto, weibull = families.Pareto(), families.Weibull()
    assert abs(pareto.distance(1e-200, 1e100) / (300.0 * np.log(10.0)) - 1.0) < 1e-14
    # Of one shape k the scale alone moves: the distance of a line in a half-plane, by the acosh formula.
    far = weibull.distance(jnp.array([1.0, 1.0]), jnp.array([1.0, np.exp(50.0)]))
    expected = np.pi / np.sqrt(6.0) * np.arccosh(1.0 + 2500.0 * 3.0 / np.pi**2)
    assert abs(far / expected - 1.0) < 1e-14


def test_far_outcomes_of_heavy_tails_and_rare_events_keep_their_digits():
    cauchy, student = families.Cauchy(), families.StudentT()
    # Densities 1 / (pi x^2) and, of 3 degrees of freedom, 6 sqrt(3) / (pi x^4), far out.
    value, slope = jax.value_and_grad(cauchy.log_likelihood)(jnp.array([0.0, 1.0]), 1e200)
    assert abs(value / -(400.0 * np.log(10.0) + np.log(np.pi)) - 1.0) < 1e-14
    assert jnp.all(jnp.abs(slope - jnp.array([0.0, 1.0])) < 1e-14)
    value, slope = jax.value_and_grad(student.log_likelihood)(jnp.array([0.0, 1.0, 3.0]), 1e200)
    assert abs(value / (np.log(6.0 * np.sqrt(3.0) / np.pi) - 800.0 * np.log(10.0)) - 1.0) < 1e-14
    assert abs(slope[1] - 3.0) < 1e-13
    # (1 - p)^n of n p = 1.
    assert abs(families.Geometric().log_likelihood(1e-10, 1e10) - (np.log(1e-10) - 1.0)) < 1e-9


def test_families_of_one_law_agree():
    gumbel, weibull = families.Gumbel(), families.Weibull()
    # -log of a Weibull variable is of Gumbel's law: (k, l) -> (-log l, 1 / k).
    first, second = jnp.array([1.3, 0.7]), jnp.array([0.9, 1.1])
    images = [jnp.stack([-jnp.log(t[1]), 1.0 / t[0]]) for t in (first, second)]
    assert abs(weibull.distance(first, second) / gumbel.distance(*images) - 1.0) < 1e-14
    # The logarithm of a Frechet variable is of Gumbel's law: (a, s) -> (log s, 1 / a).
    images = [jnp.stack([jnp.log(t[1]), 1.0 / t[0]]) for t in (first, second)]
    assert abs(families.Frechet().distance(first, second) / gumbel.distance(*images) - 1.0) < 1e-14
    # Laws that coincide, or do up to a change of the outcome.
    for one, other, pair in [
        (families.StudentTLocationScale(1.0), families.Cauchy(), (first, second)),
        (families.LogNormal(), families.Normal(), (first, second)),
        (families.Erlang(1), families.Exponential(), (0.3, 0.9)),
        (families.PowerFunction(3.0), families.Pareto(2.0), (0.3, 0.9)),
        (families.Pascal(1), families.Geometric(), (0.3, 0.9)),
    ]:
        assert abs(one.distance(*pair) / other.distance(*pair) - 1.0) < 1e-14
    assert jnp.all(families.InverseGamma().fisher(first) == families.Gamma().fisher(first))
    # A geometric count is a negative binomial one with r = 1, up to the parameter r.
    geometric = families.Geometric().fisher(jnp.array([0.3]))
    assert abs(families.NegativeBinomial().fisher(jnp.array([1.0, 0.3]))[1, 1] / geometric[0, 0] - 1.0) < 1e-14


def test_bessel_ratio_is_exact_for_any_concentration():
    concentrations = jnp.array([1e-3, 1.0, 29.999, 30.0, 1e3, 1e8])
    diagonal = jax.vmap(lambda kappa: jnp.diagonal(families.VonMises().fisher(jnp.stack([0.0 * kappa, kappa]))))
    ours = diagonal(concentrations)
    for kappa, (first, second) in zip(np.asarray(concentrations), np.asarray(ours), strict=True):
        with mp.workdps(40):
            k = mp.mpf(float(kappa))
            ratio = mp.besseli(1, k) / mp.besseli(0, k)
            # Round-off, and below 30 that of 1 - A^2 - A / kappa: eps * 2 kappa^2.
            assert abs(first / float(k * ratio) - 1.0) < 1e-14
            assert abs(second / float(1 - ratio**2 - ratio / k) - 1.0) < 1e-12


def test_parameters_of_a_normal_vector_come_from_its_moments():
    mean, covariance = jnp.array([1.0, -1.0]), jnp.array(COVARIANCE)
    back, factor = MULTIVARIATE.moments(MULTIVARIATE.of_moments(mean, covariance))
    assert jnp.max(jnp.abs(back - mean)) == 0.0
    assert jnp.max(jnp.abs(factor @ factor.T - covariance)) < 1e-15
    assert jnp.any(jnp.isnan(MULTIVARIATE.of_moments(mean, -covariance)))


def test_shapes_and_options_are_checked():
    for message, call in [
        ("3 parameters", lambda: families.Dirichlet(3).fisher(jnp.ones(2))),
        ("at least 1", lambda: families.Binomial(0)),
        ("at least 2", lambda: families.CategoricalLogits(1)),
        ("at least 2", lambda: families.Dirichlet(1)),
        ("truncation", lambda: families.NegativeBinomial(-1)),
        ("lower", lambda: families.Pareto(0.0)),
        ("upper", lambda: families.PowerFunction(-1.0)),
        ("at least 1", lambda: families.Erlang(0)),
        ("r must", lambda: families.Pascal(0.0)),
        ("dof", lambda: families.StudentTLocationScale(np.inf)),
        ("time", lambda: families.CensoredExponential(np.inf)),
        ("square", lambda: families.NormalLocation(jnp.ones((2, 3)))),
        ("length 2", lambda: MULTIVARIATE.log_likelihood(jnp.ones(5), jnp.ones(3))),
        ("3 counts", lambda: families.Multinomial(2, 3).log_likelihood(jnp.array([0.2, 0.2]), jnp.ones(2))),
        ("MonteCarlo", lambda: families.Multinomial(100, 10).expectation),
        ("key=", lambda: families.Dirichlet(3).model),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
