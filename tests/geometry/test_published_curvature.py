"""Curvature of statistical manifolds against published and independently computed values."""

import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import fimlag as fl

families = fl.families


def scalars(family, points, metric=None):
    metric = fl.FisherMetric(family) if metric is None else metric
    return jax.jit(jax.vmap(lambda q: fl.scalar_curvature(metric, q)))(jnp.asarray(points))


def of_log_partition(matrix, third):
    """The scalar curvature of an exponential family by Amari & Nagaoka (2000), section 3.5, in many digits.

    R_abcd = g^mn (T_adm T_bcn - T_acm T_bdn) / 4 of the second and third derivatives of the log-partition function.
    """
    raised, axes = matrix**-1, range(matrix.rows)

    def lowered(a, b, c, d):
        pairs = itertools.product(axes, axes)
        return sum(raised[m, n] * (third(a, d, m) * third(b, c, n) - third(a, c, m) * third(b, d, n)) for m, n in pairs)

    every = itertools.product(axes, repeat=4)
    return sum(raised[a, c] * raised[b, d] * lowered(a, b, c, d) for a, b, c, d in every) / 4


def of_dirichlet(shapes):
    with mp.workdps(50):
        shapes = [mp.mpf(float(shape)) for shape in shapes]
        total, count = sum(shapes), len(shapes)
        matrix = mp.diag([mp.psi(1, shape) for shape in shapes]) - mp.psi(1, total) * mp.ones(count)
        own, shared = [mp.psi(2, shape) for shape in shapes], mp.psi(2, total)

        def third(i, j, k):
            return (own[i] if i == j == k else 0) - shared

        return float(of_log_partition(matrix, third))


def test_gamma_family_keeps_its_digits_at_every_shape():
    shapes = 10.0 ** np.arange(-3.0, 7.0)
    with mp.workdps(60):
        exact = [
            float((mp.psi(1, a) + a * mp.psi(2, a)) / (2 * (a * mp.psi(1, a) - 1) ** 2)) for a in map(mp.mpf, shapes)
        ]
    points = np.stack([shapes, 0.7 + 0.0 * shapes], 1)
    gamma = families.Gamma()
    # Round-off alone, of either precision, where shape and rate have condition numbers up to 4e6.
    np.testing.assert_allclose(scalars(gamma, points), exact, rtol=1e-13)
    single = scalars(gamma, points.astype(np.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, exact, rtol=1e-5)
    # Twice the limits of the Gauss curvature, -1/4 and -1/2, approached as a and as 1/a.
    np.testing.assert_allclose([exact[0], exact[-1]], [-0.5, -1.0], rtol=3e-3)


def test_beta_family_is_negatively_curved_with_the_published_limits():
    points = np.array([[2, 2], [2, 3], [0.05, 8], [1e-3, 1e-3], [1e5, 1e5], [1e-3, 1e4], [30, 0.1]])
    found = scalars(families.Beta(), points)
    exact = np.array([of_dirichlet(point) for point in points])
    # Round-off times the condition number of the matrix, about twice the sum of the shapes; near the corner (0, 0)
    # curvature 1e-5 is a difference of terms of size 1.
    bound = 8 * np.finfo(float).eps * (1 + 2 * np.sum(points, axis=1))
    assert np.all(np.abs(found - exact) < bound)
    alone = [jax.jit(lambda q: fl.scalar_curvature(fl.FisherMetric(families.Beta()), q))(point) for point in points]
    assert np.all(np.abs(np.array(alone) - exact) < bound)
    assert np.all(exact < 0.0)
    # Le Brigant, Preston & Puechmorel (2021): sectional curvature to 0, -1/2 and -1/4.
    np.testing.assert_allclose(found[3:6] / 2, [0.0, -0.5, -0.25], atol=1e-3)


@pytest.mark.slow
def test_dirichlet_family_curves_as_its_log_partition_says():
    points = np.array([[2.0, 3.0, 0.5], [0.1, 5.0, 9.0], [20.0, 0.2, 0.1], [50.0, 80.0, 100.0]])
    found = scalars(families.Dirichlet(3), points)
    np.testing.assert_allclose(found, [of_dirichlet(point) for point in points], rtol=1e-12)


@pytest.mark.slow
def test_every_plane_of_the_dirichlet_family_is_negatively_curved():
    metric = fl.FisherMetric(families.Dirichlet(3))
    points = jnp.exp(jax.random.normal(jax.random.key(0), (200, 3)) * 2.0)
    u, w = jax.random.normal(jax.random.key(1), (2, 200, 3))
    sectional = jax.jit(jax.vmap(lambda q, u, w: fl.sectional_curvature(metric, q, q * u, q * w)))(points, u, w)
    # Le Brigant, Preston & Puechmorel (2021).
    assert np.all(sectional < 0.0)


def test_counts_in_categories_lie_on_a_sphere():
    # Radius 2 sqrt(n) in k - 1 dimensions: Kass & Vos (1997).
    n, k = 7, 4
    found = scalars(families.Multinomial(n, k), [[0.2, 0.3, 0.1], [1e-3, 0.5, 0.4]])
    np.testing.assert_allclose(found, (k - 1) * (k - 2) / (4 * n), rtol=1e-12)


@pytest.mark.slow
def test_location_and_scale_make_hyperbolic_planes():
    euler = np.euler_gamma
    expected = {
        families.Normal(): -1.0,
        families.Cauchy(): -4.0,
        families.Laplace(): -2.0,
        families.Logistic(): -18.0 / (np.pi**2 + 3.0),
        families.Gumbel(): -12.0 / np.pi**2,
        families.Weibull(): -12.0 / np.pi**2,
        families.InverseGaussian(): -1.0,
    }
    # Of ds^2 = (a dm^2 + 2b dm ds + c ds^2) / s^2 the Gauss curvature is -a / (a c - b^2).
    assert np.isclose(6.0 / np.pi**2, 1.0 / (np.pi**2 / 6.0 + (1 - euler) ** 2 - (euler - 1) ** 2))
    found = jax.jit(
        lambda q: jnp.stack([fl.scalar_curvature(fl.FisherMetric(family), q) for family in expected]),
    )(jnp.array([0.6, 1.7]))
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-11)


@pytest.mark.slow
def test_von_mises_family_is_flat_where_uniform_and_normal_where_sharp():
    concentrations = np.array([0.1, 1.0, 3.0, 30.0, 1000.0])

    def exact(concentration):
        def mean(k):
            return mp.besseli(1, k) / mp.besseli(0, k)

        def angular(k):
            return k * mean(k)

        def radial(k):
            return 1 - mean(k) / k - mean(k) ** 2

        with mp.workdps(50):
            k = mp.mpf(concentration)
            area = mp.sqrt(radial(k) * angular(k))
            bend = mp.diff(lambda k: mp.diff(angular, k) / mp.sqrt(radial(k) * angular(k)), k)
            return float(-bend / area)

    points = np.stack([0.3 + 0.0 * concentrations, concentrations], 1)
    found = scalars(families.VonMises(), points)
    # Gauss' formula for orthogonal coordinates; near the uniform law, k^2 / 8 is left of terms of size 1 / k^2.
    np.testing.assert_allclose(found, [exact(k) for k in concentrations], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found[-1], -1.0, rtol=1e-3)


def normal_vectors(d):
    """The metric of d-dimensional normal laws by mean and covariance, both full."""
    rows, columns = np.tril_indices(d)

    def mean(theta):
        return theta[:d]

    def covariance(theta):
        lower = jnp.zeros((d, d), theta.dtype).at[rows, columns].set(theta[d:])
        return lower + lower.T - jnp.diag(jnp.diagonal(lower))

    def tangent(direction, spread):
        return np.concatenate([direction, spread[rows, columns]])

    return fl.FisherMetric(fl.GaussianModel(mean, covariance)), tangent


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 3])
def test_normal_vectors_have_planes_of_either_sign(d):
    metric, tangent = normal_vectors(d)
    none, zero = np.zeros((d, d)), np.zeros(d)
    first, second = np.eye(d)[:2]
    stretch, shear = np.diag(first) - np.diag(second), np.outer(first, second) + np.outer(second, first)
    planes = np.array(
        [
            [tangent(first, none), tangent(second, none)],
            [tangent(first, none), tangent(zero, np.diag(first))],
            [tangent(zero, stretch), tangent(zero, shear)],
            [tangent(zero, np.diag(first)), tangent(zero, np.diag(second))],
        ]
    )
    # Any point will do: an affine map of the sample takes it, and its planes, to the standard law.
    factor = np.eye(d) + 0.3 * np.tril(np.arange(1.0, d * d + 1).reshape(d, d) % 3)
    point = jnp.asarray(tangent(np.arange(d) - 0.5, factor @ factor.T))

    def moved(plane):
        lower = np.zeros((d, d))
        lower[np.tril_indices(d)] = plane[d:]
        spread = lower + lower.T - np.diag(np.diagonal(lower))
        return tangent(factor @ plane[:d], factor @ spread @ factor.T)

    u, w = (jnp.asarray(np.array([moved(plane[i]) for plane in planes])) for i in (0, 1))
    found = jax.jit(jax.vmap(lambda u, w: fl.sectional_curvature(metric, point, u, w)))(u, w)
    # Skovgaard (1984): two means curve positively, by 1/4; a mean and its variance as the half-plane,
    # two shape changes twice as much, independent variances not at all.
    np.testing.assert_allclose(found, [0.25, -0.5, -1.0, 0.0], atol=1e-11)


def test_points_outside_the_domain_have_no_curvature():
    # The matrix of such a scale looks legal: that of a normal law is even in it.
    assert np.all(np.isnan(scalars(families.Normal(), [[0.0, -1.0]])))
