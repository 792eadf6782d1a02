"""Jeffreys' density and volume: closed forms, singular ends, improper priors, derivatives."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

NORMAL = fl.families.Normal().model
volume = eqx.filter_jit(fl.jeffreys_volume)
density = eqx.filter_jit(fl.jeffreys_density)
log_density = eqx.filter_jit(fl.log_jeffreys_density)


def sticks(cells):
    """A categorical model in the fractions that are broken off a stick: a box in place of a simplex."""
    categorical = fl.families.Categorical(cells)

    def log_likelihood(fractions, x):
        left = jnp.concatenate([jnp.ones(1, fractions.dtype), jnp.cumprod(1.0 - fractions)[:-1]])
        return categorical.log_likelihood(left * fractions, x)

    return fl.StatisticalModel(log_likelihood, categorical.expectation)


def test_density_is_the_root_of_the_determinant():
    theta = jnp.array([0.3, 0.7])
    assert abs(density(NORMAL, theta) / (np.sqrt(2.0) / 0.49) - 1.0) < 1e-12
    assert abs(log_density(NORMAL, theta) - np.log(np.sqrt(2.0) / 0.49)) < 1e-12


def test_log_density_does_not_overflow_with_the_determinant():
    theta = jnp.array([0.0, 1e-100])
    assert abs(log_density(NORMAL, theta) - (0.5 * np.log(2.0) + 200 * np.log(10.0))) < 1e-11


def test_parameters_that_cannot_be_told_apart_have_no_density():
    poisson = fl.families.Poisson(40)
    redundant = fl.StatisticalModel(lambda t, x: poisson.log_likelihood(t[0] + t[1], x), poisson.expectation)
    assert jnp.isnan(density(redundant, jnp.array([1.0, 2.0])))


def test_volume_of_the_bernoulli_family_is_pi():
    found = volume(fl.families.Bernoulli().model, 0.0, 1.0)
    # Near 1 the probability is rounded: 1e-16 over the distance 1e-6 of the last node, which has a weight of 1e-3.
    assert abs(found.value - np.pi) < 1e-12
    assert found.error_estimate < 1e-11


@pytest.mark.parametrize(("cells", "nodes", "closed"), [(3, 16, 2 * np.pi), (4, 8, np.pi**2)])
def test_volume_of_the_simplex_is_that_of_an_orthant_of_a_sphere(cells, nodes, closed):
    corner = jnp.zeros(cells - 1)
    found = volume(sticks(cells), corner, corner + 1.0, nodes)
    assert abs(found.value / closed - 1.0) < 1e-9
    assert found.error_estimate < 1e-5 * closed


def test_volume_of_a_box_of_normals_meets_its_closed_form():
    found = volume(NORMAL, jnp.array([-1.0, 0.5]), jnp.array([2.0, 3.0]))
    closed = 3.0 * np.sqrt(2.0) * (1 / 0.5 - 1 / 3.0)
    assert abs(found.value / closed - 1.0) < 1e-11
    assert found.error_estimate < 1e-7 * closed


def test_volume_of_counts_from_zero_on_is_finite():
    # The integral of 1 / sqrt(mean) from 0 to 4.
    assert abs(volume(fl.families.Poisson(60).model, 0.0, 4.0).value - 4.0) < 1e-11


def test_volume_does_not_depend_on_the_parameters_chosen():
    def log_likelihood(theta, x):
        return NORMAL.log_likelihood(jnp.stack([theta["mean"], jnp.exp(theta["log deviation"])]), x)

    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda t: t["mean"], scale=lambda t: jnp.exp(t["log deviation"]))
    lower = {"mean": jnp.array(-1.0), "log deviation": jnp.log(0.5)}
    upper = {"mean": jnp.array(2.0), "log deviation": jnp.log(3.0)}
    found = volume(fl.StatisticalModel(log_likelihood, rule), lower, upper, 16)
    assert abs(found.value / (3.0 * np.sqrt(2.0) * (1 / 0.5 - 1 / 3.0)) - 1.0) < 1e-10


def test_an_infinite_volume_is_reported():
    exponential = fl.families.Exponential().model
    for model, lower, upper in (
        (exponential, 0.0, 1.0),
        (NORMAL, jnp.array([0.0, 0.0]), jnp.array([1.0, 1.0])),
    ):
        found = volume(model, lower, upper, throw=False)
        assert bool(found.result == fl.RESULTS.unresolved_integral)
    with pytest.raises(eqx.EquinoxRuntimeError, match="improper"):
        volume(exponential, 0.0, 1.0)


def test_ends_outside_the_domain_are_reported():
    found = volume(fl.families.Bernoulli().model, -0.5, 0.5, throw=False)
    assert bool(found.result == fl.RESULTS.nonfinite)


@jax.jit
def result_up_to(upper):
    return fl.jeffreys_volume(fl.families.Exponential().model, 0.0, upper, throw=False).result


@pytest.mark.parametrize("upper", [jnp.inf, 0.0, -1.0])
def test_ends_that_make_no_finite_box_are_refused_or_where_traced_reported(upper):
    exponential = fl.families.Exponential().model
    with pytest.raises(ValueError, match=r"finite|less"):
        fl.jeffreys_volume(exponential, 0.0, upper)
    assert bool(result_up_to(upper) == fl.RESULTS.nonfinite)


def test_too_many_parameters_or_too_few_nodes_raise():
    with pytest.raises(ValueError, match="at most three"):
        fl.jeffreys_volume(sticks(5), jnp.zeros(4), jnp.ones(4))
    with pytest.raises(ValueError, match="nodes"):
        fl.jeffreys_volume(NORMAL, jnp.zeros(2), jnp.ones(2), 3)
    with pytest.raises(ValueError, match="structure"):
        fl.jeffreys_volume(NORMAL, jnp.zeros(2), 1.0)


def test_derivative_with_respect_to_an_end_is_the_density_there_under_vmap():
    exponential = fl.families.Exponential().model

    def of(upper):
        return fl.jeffreys_volume(exponential, 1.0, upper, throw=False).value

    uppers = jnp.array([2.0, 5.0])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(of)))(uppers)
    assert jnp.max(jnp.abs(values - jnp.log(uppers))) < 1e-11
    assert jnp.max(jnp.abs(slopes - 1.0 / uppers)) < 1e-10


def test_volume_keeps_single_precision():
    zero, one = jnp.float32(0.0), jnp.float32(1.0)
    found = volume(fl.families.Bernoulli().model, zero, one)
    assert found.value.dtype == jnp.float32
    # Near 1 the probability is rounded: 6e-8 over the distance 1e-6 of the last node, of weight 1e-3.
    assert abs(float(found.value) - np.pi) < 3e-4
