"""Mixtures: densities without a closed Fisher matrix, against mpmath."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

import fimlag as fl


def reference(density, theta, ends):
    """The integral of s_i s_j / p by mpmath at 20 digits, s the derivatives of the density p."""
    with mp.workdps(20):
        point, size = [mp.mpf(float(value)) for value in theta], len(theta)
        at = functools.cache(lambda x: density(point, x))

        def entry(i, j):
            return mp.quad(lambda x: at(x)[1][i] * at(x)[1][j] / at(x)[0], ends, maxdegree=6)

        return np.array([[float(entry(i, j)) if j <= i else 0.0 for j in range(size)] for i in range(size)])


def agrees(found, lower):
    expected = lower + np.tril(lower, -1).T
    deviation = np.sqrt(np.diag(expected))
    return np.max(np.abs(found - expected) / np.outer(deviation, deviation)) < 1e-9


def test_mixture_of_two_normals_meets_mpmath():
    normal = fl.families.Normal().log_likelihood

    def log_likelihood(theta, x):
        share, first, second = theta[0], normal(theta[1:3], x), normal(theta[3:], x)
        return jnp.logaddexp(jnp.log(share) + first, jnp.log1p(-share) + second)

    def density(theta, x):
        share, m0, s0, m1, s1 = theta
        z0, z1 = (x - m0) / s0, (x - m1) / s1
        p0, p1 = mp.npdf(x, m0, s0), mp.npdf(x, m1, s1)
        weighted0, weighted1 = share * p0 / s0, (1 - share) * p1 / s1
        slopes = [p0 - p1, weighted0 * z0, weighted0 * (z0**2 - 1), weighted1 * z1, weighted1 * (z1**2 - 1)]
        return share * p0 + (1 - share) * p1, slopes

    theta = jnp.array([0.3, -1.0, 0.5, 2.0, 1.5])
    # Two humps of unequal width: more nodes than one of them needs.
    rule = fl.Quadrature(-np.inf, np.inf, nodes=400, location=0.0, scale=1.0)
    model = fl.StatisticalModel(log_likelihood, rule)
    found = eqx.filter_jit(fl.fisher_information)(model, theta)
    assert agrees(found, reference(density, theta, [-12, -3, -1, 0, 1, 3, 18]))


def test_mixture_of_two_exponentials_meets_mpmath():
    exponential = fl.families.Exponential().log_likelihood

    def log_likelihood(theta, x):
        share, first, second = theta[0], exponential(theta[1], x), exponential(theta[2], x)
        return jnp.logaddexp(jnp.log(share) + first, jnp.log1p(-share) + second)

    def density(theta, x):
        share, a, b = theta
        p0, p1 = mp.exp(-a * x), mp.exp(-b * x)
        slopes = [a * p0 - b * p1, share * (1 - a * x) * p0, (1 - share) * (1 - b * x) * p1]
        return share * a * p0 + (1 - share) * b * p1, slopes

    theta = jnp.array([0.4, 20.0, 0.5])
    model = fl.StatisticalModel(log_likelihood, fl.Quadrature(0.0, np.inf, location=0.5, scale=0.5))
    found = eqx.filter_jit(fl.fisher_information)(model, theta)
    assert agrees(found, reference(density, theta, [0, 0.1, 0.5, 2, 8, 40, 120]))


def test_information_of_a_share_grows_with_the_distance_of_the_components():
    normal = fl.families.Normal().log_likelihood

    def log_likelihood(theta, x):
        parts = [normal(jnp.stack([mean, jnp.ones_like(mean)]), x) for mean in (0.0 * theta[1], theta[1])]
        return jnp.logaddexp(jnp.log(theta[0]) + parts[0], jnp.log1p(-theta[0]) + parts[1])

    rule = fl.Quadrature(-np.inf, np.inf, nodes=400, location=lambda t: 0.5 * t[1], scale=lambda t: 1.0 + 0.25 * t[1])
    model = fl.StatisticalModel(log_likelihood, rule)
    gaps = jnp.array([0.1, 0.5, 2.0, 8.0, 16.0])
    shares = jax.jit(jax.vmap(lambda gap: fl.fisher_information(model, jnp.stack([0.25 + 0.0 * gap, gap]))[0, 0]))(gaps)
    assert jnp.all(jnp.diff(shares) > 0.0)
    # To second order in the gap, 1 + gap^2: the score is linear in x.
    assert abs(shares[0] / 0.01 - 1.0) < 0.02
    # The overlap of two normals 16 apart is 1e-14.
    assert abs(shares[-1] * 0.25 * 0.75 - 1.0) < 1e-9
