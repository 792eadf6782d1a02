"""Families: the generic route, which knows the log-density alone, meets each closed Fisher matrix."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

import fimlag as fl

families = fl.families
POINTS = [
    (families.Normal(), [[0.3, 0.7], [100.0, 0.1]]),
    (families.Bernoulli(), [[0.2]]),
    (families.Categorical(4), [[0.1, 0.2, 0.3]]),
    (families.Poisson(), [[7.5]]),
    (families.Exponential(), [[3.0]]),
    (families.StudentT(), [[3.0, 2.0, 1.5], [0.0, 1.0, 5.0], [100.0, 0.1, 29.99], [0.0, 1.0, 50.0]]),
    (families.Logistic(), [[0.0, 1.0], [100.0, 0.1]]),
    (families.Cauchy(), [[0.0, 1.0], [100.0, 0.1]]),
    (families.Gumbel(), [[0.0, 1.0], [100.0, 0.1]]),
    (families.Gamma(), [[0.2, 1e3], [200.0, 0.1], [0.1, 1.0], [0.5, 2.0], [50.0, 0.1]]),
    (families.Beta(), [[0.2, 200.0], [200.0, 200.0], [0.2, 0.2], [1e3, 3.0], [0.7, 3.0], [50.0, 50.0]]),
    (families.ChiSquared(), [[0.4], [300.0]]),
    (families.LogNormal(), [[3.0, 0.01], [-2.0, 4.0]]),
    (families.InverseGaussian(), [[0.01, 5.0], [1.0, 1.0], [100.0, 0.1], [5.0, 1e4]]),
    (families.Weibull(), [[0.2, 1.0], [1.0, 3.0], [200.0, 1e-3]]),
    (families.Frechet(), [[0.2, 1.0], [1.0, 3.0], [200.0, 1e-3]]),
    (families.Erlang(3), [[0.3], [1e3]]),
    (families.InverseGamma(), [[0.2, 1e3], [200.0, 0.1]]),
    (families.PowerFunction(2.0), [[0.1], [1.0], [50.0]]),
    (families.StudentTLocationScale(1.5), [[0.0, 1.0], [100.0, 0.1]]),
    (families.Pascal(2.5, 4000), [[0.5], [0.05]]),
    (families.Rayleigh(), [[0.3], [1e3]]),
    (families.NormalMean(0.7), [[0.3], [-1e3]]),
    (families.NormalScale(5.0), [[0.3], [1e3]]),
    (families.Pareto(2.0), [[0.1], [1.0], [50.0]]),
    (families.CensoredExponential(2.0), [[1e-3], [0.7], [100.0]]),
    (families.VonMises(), [[0.3, 0.0], [0.3, 1e-3], [-3.0, 2.0], [1.0, 29.9], [1.0, 30.0], [3.1, 1e4], [2.0, 1e6]]),
    (families.NegativeBinomial(4000), [[0.2, 0.1], [0.01, 0.02], [5.0, 0.3], [200.0, 0.5]]),
    (families.Geometric(4000), [[0.5], [0.02]]),
    (families.ZeroInflatedPoisson(), [[0.3, 2.0], [0.01, 50.0], [0.9, 0.1]]),
    (families.Binomial(30), [[0.1], [0.999]]),
    (families.Multinomial(4, 3), [[0.2, 0.3], [0.01, 0.98]]),
    (families.BernoulliLogits(), [[0.3], [-20.0]]),
    (families.CategoricalLogits(3), [[0.0, 1.0, 2.0], [-5.0, 3.0, 9.0]]),
]
# Second derivatives of special functions cancel here, and must not: their success includes Bartlett's identity.
AUDITED = (families.StudentT, families.VonMises, families.NegativeBinomial, families.Gumbel, families.Beta)


def relative_error(matrix, closed):
    deviation = jnp.sqrt(jnp.diagonal(closed))
    deviation = jnp.where(deviation > 0.0, deviation, 1.0)
    return jnp.max(jnp.abs(matrix - closed) / (deviation[:, None] * deviation[None, :]))


def with_points_of_the_chart(family, points, free):
    """The points, and those at free coordinates of the family's chart."""
    free = jnp.asarray(free[:, : len(points[0])])
    if isinstance(family, families.StudentT):
        # Of fewer degrees of freedom than 1 the tail beyond the last node, at 1e16 scales, is more than round-off.
        free = jnp.abs(free)
    return jnp.concatenate([jnp.array(points), jax.vmap(family.chart.point)(free)])


@functools.cache
def comparison(number):
    """One program for each family, compiled once: the generic estimate, and errors of it and of the closed forms."""
    family, points = POINTS[number]

    def compare(theta):
        found = fl.fisher_estimate(family.model, theta, audit=isinstance(family, AUDITED), throw=False)
        closed = family.fisher(theta)
        root = family.fisher_root(theta)
        v = jnp.linspace(1.0, 0.3, theta.size) * jnp.sqrt(1.0 / jnp.maximum(jnp.diagonal(closed), 1e-300))
        length = family.quadratic(theta, v) / (v @ closed @ v) - 1.0
        return found, relative_error(found.value, closed), relative_error(root @ root.T, closed), length

    return jax.jit(lambda free: jax.vmap(compare)(with_points_of_the_chart(family, points, free)))


@pytest.mark.parametrize("number", range(len(POINTS)), ids=[type(family).__name__ for family, _ in POINTS])
@settings(max_examples=5)
@given(free=arrays(float, (4, 3), elements=st.floats(-2.0, 2.0), fill=st.nothing()))
def test_generic_route_meets_the_closed_form_and_its_root(number, free):
    found, error, root_error, length = comparison(number)(free)
    # The demand is 1e-8; most reach 1e-13.
    assert jnp.all(error < (1e-9 if isinstance(POINTS[number][0], families.Gumbel) else 1e-10))
    assert jnp.all(found.standard_error == 0.0)
    assert jnp.all(found.value == jnp.swapaxes(found.value, 1, 2))
    assert jnp.all(found.succeeded)
    # Round-off of log-densities of order 1000.
    assert jnp.all(jnp.abs(found.certificate.mass - 1.0) < 1e-11)
    # Round-off of a Cholesky factor.
    assert jnp.all(root_error < 1e-14)
    # Round-off, which the closed matrix magnifies where scores are nearly parallel, as of beta(200, 200).
    assert jnp.all(jnp.abs(length) < 1e-12)


def test_kink_of_the_laplace_density_is_met_and_reported():
    family, theta = families.Laplace(), jnp.array([100.0, 0.1])
    audited = eqx.filter_jit(fl.fisher_estimate)(family.model, theta, throw=False)
    # Round-off of nodes at 100, against a scale of 0.1.
    assert relative_error(audited.value, family.fisher(theta)) < 1e-12
    assert audited.result == fl.RESULTS.irregular
    assert fl.fisher_estimate(family, theta).succeeded


def test_degrees_of_freedom_keep_their_digits_where_the_density_is_nearly_normal():
    dofs = np.array([0.1, 1.5, 29.99, 30.0, 1e3, 1e5])
    one = np.ones_like(dofs)
    found = jax.jit(jax.vmap(families.StudentT().fisher))(jnp.stack([0.0 * one, one, dofs], axis=1))
    for ours, dof in zip(found[:, 2, 2], dofs, strict=True):
        with mp.workdps(40):
            nu = mp.mpf(float(dof))
            trigammas = (mp.psi(1, nu / 2) - mp.psi(1, (nu + 1) / 2)) / 4
            exact = float(trigammas - (nu + 5) / (2 * nu * (nu + 1) * (nu + 3)))
        # Round-off of a few terms, of which two cancel to a tenth.
        assert abs(ours / exact - 1.0) < 1e-13


def test_corner_of_the_negative_binomial_is_the_sum_over_its_survival():
    theta = jnp.array([0.7, 0.2])
    counts = np.arange(400)
    # E[psi'(r) - psi'(r + x)] = sum_k P(x > k) / (r + k)^2.
    survival = scipy.stats.nbinom(0.7, 0.2).sf(counts)
    expected = np.sum(survival / (0.7 + counts) ** 2)
    # Round-off of 400 terms; the tail beyond is 0.8^400.
    assert abs(families.NegativeBinomial().fisher(theta)[0, 0] / expected - 1.0) < 1e-13


@pytest.mark.slow
def test_every_closed_form_follows_the_precision_of_theta():
    thetas = [jnp.array(points[-1]) for _, points in POINTS]

    @jax.jit
    def closed(thetas):
        return [family.fisher(theta) for (family, _), theta in zip(POINTS, thetas, strict=True)]

    double, single = closed(thetas), closed([theta.astype(jnp.float32) for theta in thetas])
    for exact, ours in zip(double, single, strict=True):
        assert ours.dtype == jnp.float32
        # Round-off of parameters and of special functions of them, in single precision.
        assert relative_error(ours.astype(exact.dtype), exact) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "theta"),
    [
        (families.StudentT(), [0.5, 1.2, 4.0]),
        (families.VonMises(), [0.5, 3.0]),
        (families.Weibull(), [1.5, 2.0]),
        (families.Laplace(), [0.3, 0.8]),
        (families.Beta(), [1.5, 2.5]),
    ],
)
def test_generic_route_holds_in_single_precision(family, theta):
    theta = jnp.array(theta, jnp.float32)
    found = eqx.filter_jit(fl.fisher_information)(family.model, theta)
    assert found.dtype == jnp.float32
    # Sums of a few hundred terms: hundreds of eps = 1e-7.
    assert relative_error(found, family.fisher(theta)) < 1e-4


@pytest.mark.parametrize(
    ("family", "theta"),
    [
        (families.NegativeBinomial(400), [2.0, 0.3]),
        (families.VonMises(), [0.5, 3.0]),
        (families.VonMises(), [0.5, 300.0]),
    ],
)
def test_derivative_of_the_closed_form_is_that_of_the_expectation(family, theta):
    theta = jnp.array(theta)
    ours = jax.jit(jax.jacfwd(family.fisher))(theta)
    generic = jax.jit(jax.jacfwd(lambda t: fl.fisher_information(family.model, t)))(theta)
    # Derivatives of the density multiply the integrand by another score.
    assert jnp.max(jnp.abs(ours - generic)) < 1e-8 * jnp.max(jnp.abs(ours))


@pytest.mark.slow
def test_samplers_of_vectors_are_within_four_standard_errors():
    key = jax.random.key(0)
    covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    normal = families.MultivariateNormal(2, 5_000, key)
    cases = [
        (families.Dirichlet(3, 5_000, key), jnp.array([0.5, 2.0, 3.0])),
        (normal, normal.of_moments(jnp.array([1.0, -2.0]), covariance)),
        (families.NormalLocation(covariance, 5_000, key), jnp.array([1.0, -1.0])),
    ]
    for family, theta in cases:
        found = eqx.filter_jit(fl.fisher_estimate)(family.model, theta, audit=False)
        closed, root = jax.jit(lambda t, family=family: (family.fisher(t), family.fisher_root(t)))(theta)
        # Round-off where an entry has no variance.
        assert jnp.all(jnp.abs(found.value - closed) <= 4.0 * found.standard_error + 1e-12)
        assert relative_error(root @ root.T, closed) < 1e-14
