"""Families: normalisation, closed distances near and far, and the edges of their domains."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

import fimlag as fl

NORMAL, GAMMA, BETA = fl.families.Normal(), fl.families.Gamma(), fl.families.Beta()
BERNOULLI, POISSON, EXPONENTIAL = fl.families.Bernoulli(), fl.families.Poisson(), fl.families.Exponential()
CATEGORICAL = fl.families.Categorical(3)
ALL = [
    (NORMAL, [0.3, 0.7], scipy.stats.norm(0.3, 0.7).logpdf, [-1.0, 0.2]),
    (BERNOULLI, [0.3], scipy.stats.bernoulli(0.3).logpmf, [0, 1]),
    (CATEGORICAL, [0.2, 0.3], lambda x: np.log([0.2, 0.3, 0.5])[x], [0, 1, 2]),
    (POISSON, [4.0], scipy.stats.poisson(4.0).logpmf, [0, 3, 11]),
    (EXPONENTIAL, [2.0], scipy.stats.expon(scale=0.5).logpdf, [0.0, 1.5]),
    (GAMMA, [1.7, 2.0], scipy.stats.gamma(1.7, scale=0.5).logpdf, [0.01, 3.0]),
    (BETA, [0.8, 2.5], scipy.stats.beta(0.8, 2.5).logpdf, [0.01, 0.99]),
]
WITH_DISTANCE = [
    (NORMAL, [0.3, 0.7], [0.9, 1.1]),
    (BERNOULLI, [0.3], [0.6]),
    (CATEGORICAL, [0.2, 0.3], [0.5, 0.2]),
    (POISSON, [4.0], [9.0]),
    (EXPONENTIAL, [2.0], [0.4]),
]


@pytest.mark.parametrize(("family", "theta", "reference", "outcomes"), ALL)
def test_log_density_is_that_of_scipy(family, theta, reference, outcomes):
    for x in outcomes:
        # Round-off of a few terms of order 10.
        assert abs(family.log_likelihood(jnp.array(theta), x) - reference(x)) < 1e-13


@pytest.mark.parametrize(
    ("family", "theta"),
    [
        (NORMAL, [0.0, -1.0]),
        (NORMAL, [0.0, 0.0]),
        (BERNOULLI, [1.2]),
        (BERNOULLI, [-0.1]),
        (CATEGORICAL, [0.7, 0.5]),
        (POISSON, [-1.0]),
        (EXPONENTIAL, [0.0]),
        (GAMMA, [-1.0, 1.0]),
        (GAMMA, [1.0, -1.0]),
        (BETA, [-0.5, 1.0]),
    ],
)
def test_outside_the_domain_nothing_looks_legal(family, theta):
    theta = jnp.array(theta)
    for x in (1, 0, -1, 7):
        assert jnp.isnan(family.log_likelihood(theta, x)) or family is BERNOULLI
    assert jnp.any(jnp.isnan(family.fisher(theta)))
    assert jnp.all(jnp.isnan(eqx.filter_jit(fl.fisher_information)(family.model, theta)))


def test_outside_the_support_the_density_vanishes():
    for family, theta, x in [
        (BERNOULLI, [0.3], 2),
        (CATEGORICAL, [0.2, 0.3], 3),
        (CATEGORICAL, [0.2, 0.3], -1),
        (POISSON, [4.0], -1),
        (POISSON, [4.0], 0.5),
        (EXPONENTIAL, [2.0], -0.1),
        (GAMMA, [1.7, 2.0], -0.1),
        (BETA, [0.8, 2.5], 1.5),
    ]:
        assert family.log_likelihood(jnp.array(theta), x) == -jnp.inf


@pytest.mark.parametrize(("family", "theta0", "theta1"), WITH_DISTANCE)
def test_distance_is_symmetric_and_has_the_fisher_metric(family, theta0, theta1):
    theta0, theta1 = jnp.array(theta0), jnp.array(theta1)
    assert family.distance(theta0, theta1) == family.distance(theta1, theta0)
    assert family.distance(theta0, theta0) == 0.0
    assert jnp.all(jax.grad(family.distance, 1)(theta0, theta0) == 0.0)
    direction = jnp.linspace(1.0, 0.5, theta0.size)
    # Second order in the step, 1e-8, relative; never below round-off of theta + step, 1e-16 / 1e-8.
    step = 1e-8 * direction
    expected = jnp.sqrt(direction @ family.fisher(theta0) @ direction) * 1e-8
    assert abs(family.distance(theta0, theta0 + step) / expected - 1.0) < 1e-6


@pytest.mark.parametrize(("family", "theta0", "theta1"), WITH_DISTANCE)
def test_gradient_of_the_distance_has_unit_fisher_length(family, theta0, theta1):
    theta0, theta1 = jnp.array(theta0), jnp.array(theta1)
    gradient = jax.grad(family.distance, 1)(theta0, theta1)
    length = gradient @ jnp.linalg.solve(family.fisher(theta1), gradient)
    # Round-off: the eikonal equation of a distance.
    assert abs(length - 1.0) < 1e-12


@settings(max_examples=20)
@given(st.floats(-3.0, 3.0), st.floats(-2.0, 2.0), st.floats(-1.0, 1.0), st.floats(-2.0, 2.0))
def test_normal_distance_is_invariant_under_shift_and_scale(mean, log_deviation, shift, log_scale):
    a, b = jnp.array([0.2, 1.3]), jnp.array([mean, np.exp(log_deviation)])
    scale = np.exp(log_scale)
    moved = NORMAL.distance(scale * a + jnp.array([shift, 0.0]), scale * b + jnp.array([shift, 0.0]))
    # Round-off of the shifted means.
    assert abs(moved - NORMAL.distance(a, b)) < 1e-13 * (10.0 + 1.0 / scale)


def test_normal_distance_meets_the_acosh_form_far_away():
    near, far = jnp.array([0.0, 1e-6]), jnp.array([1000.0, 1e-6])
    expected = np.sqrt(2.0) * np.arccosh(1.0 + 1e6 / (4.0 * 1e-12))
    assert abs(NORMAL.distance(near, far) / expected - 1.0) < 1e-14
    assert abs(NORMAL.distance(jnp.array([0.0, 1.0]), jnp.array([0.0, np.e])) - np.sqrt(2.0)) < 1e-15


def test_exponential_and_poisson_distances_meet_extremes():
    assert abs(EXPONENTIAL.distance(1e-200, 1e100) / (300.0 * np.log(10.0)) - 1.0) < 1e-14
    assert abs(POISSON.distance(1e-12, 4.0) - (4.0 - 2e-6)) < 1e-14


def test_bernoulli_is_the_categorical_distribution_of_two():
    categorical = fl.families.Categorical(2)
    p, r = jnp.array([0.3]), jnp.array([0.99])
    assert abs(BERNOULLI.distance(p, r) - categorical.distance(p, r)) < 1e-14
    assert abs(BERNOULLI.fisher(p)[0, 0] / categorical.fisher(p)[0, 0] - 1.0) < 1e-14


def test_shapes_and_options_are_checked():
    with pytest.raises(ValueError, match="one parameter"):
        BERNOULLI.log_likelihood(jnp.ones(2), 1)
    with pytest.raises(ValueError, match="first 2 of 3"):
        CATEGORICAL.log_likelihood(jnp.ones(3), 1)
    with pytest.raises(ValueError, match="k must"):
        fl.families.Categorical(1)
    with pytest.raises(ValueError, match="truncation"):
        fl.families.Poisson(-1)
