"""Wishart matrices: densities, information with the degrees of freedom known and unknown, and distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from jax.scipy.special import gammaln

import fimlag as fl

families = fl.families
SCALE, OUTCOME = jnp.array([[2.0, 0.5], [0.5, 1.0]]), jnp.array([[3.0, 1.0], [1.0, 2.0]])
KNOWN, FREE = families.Wishart(2, 4.5), families.WishartDof(2)
THETA = families.log_cholesky(SCALE)
FULL = jnp.concatenate([jnp.array([4.5]), THETA])


def test_densities_are_those_of_scipy():
    expected = scipy.stats.wishart(4.5, np.asarray(SCALE)).logpdf(np.asarray(OUTCOME))
    both = jax.jit(jax.vmap(lambda x: (KNOWN.log_likelihood(THETA, x), FREE.log_likelihood(FULL, x))))
    outside = [-OUTCOME, OUTCOME.at[0, 1].set(0.0), jnp.ones((2, 2)) - 2.0 * jnp.eye(2)]
    for densities in both(jnp.stack([OUTCOME, *outside])):
        # Round-off.
        assert abs(densities[0] - expected) < 1e-13
        assert jnp.all(densities[1:] == -jnp.inf)


@jax.jit
def through_the_natural_parameters(free):
    """The information of the exponential family pulled back, and the closed forms, at free coordinates of the chart."""

    def potential(natural):
        halves = natural[0] - 0.5 * jnp.arange(2.0)
        return jnp.sum(gammaln(halves)) - natural[0] * jnp.linalg.slogdet(-natural[1:].reshape(2, 2))[1]

    def natural(theta):
        inverse = jnp.linalg.inv(families.from_log_cholesky(theta[1:]))
        return jnp.append(0.5 * theta[0], -0.5 * inverse)

    theta, v = FREE.chart.point(free), jnp.array([0.3, -1.0, 0.7, 2.0])
    slopes = jax.jacfwd(natural)(theta)
    pulled = slopes.T @ jax.hessian(potential)(natural(theta)) @ slopes
    return pulled, FREE.fisher(theta), v @ pulled @ v, FREE.quadratic(theta, v), theta[0], KNOWN.fisher(theta[1:])


@settings(max_examples=20)
@given(free=arrays(float, 4, elements=st.floats(-1.0, 1.0), fill=st.nothing()))
def test_information_is_that_of_the_exponential_family(free):
    pulled, fisher, expected, length, dof, known = through_the_natural_parameters(free)
    # Round-off.
    np.testing.assert_allclose(fisher, pulled, atol=1e-12)
    np.testing.assert_allclose(known * (dof / 4.5), pulled[1:, 1:], atol=1e-12)
    assert abs(length / expected - 1.0) < 1e-13


def test_distance_is_that_of_centred_normals_times_the_root_of_their_number():
    other, centred = jnp.array([0.4, -1.0, 0.7]), families.CentredNormal(2)
    both = jax.jit(lambda a, b: (KNOWN.distance(a, b), np.sqrt(4.5) * centred.distance(a, b)))
    ours, expected = both(THETA, other)
    # Round-off.
    assert abs(ours / expected - 1.0) < 1e-14
    assert both(other, other) == (0.0, 0.0)
    assert jnp.max(jnp.abs(KNOWN.of_moments(4.5 * SCALE) - THETA)) < 1e-15


@pytest.mark.slow
def test_sampler_is_within_four_standard_errors():
    for family, theta in [
        (families.WishartDof(2, 5_000, jax.random.key(1)), FULL),
        (families.Wishart(2, 4.5, 5_000, jax.random.key(2)), THETA),
    ]:
        found = jax.jit(lambda t, family=family: fl.fisher_estimate(family.model, t, audit=False, throw=False))(theta)
        assert found.succeeded
        assert jnp.all(jnp.abs(found.value - family.fisher(theta)) <= 4.0 * found.standard_error)


def test_outside_the_domain_nothing_looks_legal_and_mistakes_are_named():
    def everything(theta):
        chart = FREE.chart
        free = chart.free(theta)
        return FREE.log_likelihood(theta, OUTCOME), FREE.fisher(theta), free, chart.point(free)

    density, fisher, free, back = jax.jit(jax.vmap(everything))(jnp.stack([FULL.at[0].set(1.0), FULL]))
    assert jnp.all(jnp.isnan(density) == jnp.array([True, False]))
    assert jnp.any(jnp.isnan(fisher[0]))
    assert jnp.any(jnp.isnan(free[0]))
    np.testing.assert_allclose(back[1], FULL, rtol=1e-15)
    for message, call in [
        ("dof", lambda: families.Wishart(3, 2.0)),
        ("at least 1", lambda: families.WishartDof(0)),
        ("size 2", lambda: KNOWN.log_likelihood(THETA, jnp.eye(3))),
        ("4 parameters", lambda: FREE.fisher(THETA)),
        ("key=", lambda: KNOWN.model),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert jax.eval_shape(FREE.fisher, FULL.astype(jnp.float32)).dtype == jnp.float32
