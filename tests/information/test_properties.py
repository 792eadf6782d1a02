"""What the Fisher information must do whatever the model: transform, add, never grow, and be attained."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings, strategies as st

import fimlag as fl

NORMAL, GAMMA = fl.families.Normal(), fl.families.Gamma()
unit = st.floats(-1.0, 1.0)


@jax.jit
def normal_information(theta):
    return fl.fisher_information(NORMAL.model, theta)


@jax.jit
def in_other_coordinates(phi, slope, bend):
    """The information in coordinates phi by their own likelihood, and that of the normal family pulled back."""

    def chart(phi):
        return jnp.stack([slope * phi[0] + bend * jnp.sin(phi[1]), jnp.exp(phi[1] + 0.3 * phi[0])])

    def log_likelihood(phi, x):
        return NORMAL.log_likelihood(chart(phi), x)

    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda phi: chart(phi)[0], scale=lambda phi: chart(phi)[1])
    jacobian = jax.jacfwd(chart)(phi)
    pulled = jacobian.T @ normal_information(chart(phi)) @ jacobian
    return fl.fisher_information(fl.StatisticalModel(log_likelihood, rule), phi), pulled


@settings(max_examples=40)
@given(unit, unit, st.floats(0.2, 3.0), unit)
def test_information_is_covariant_under_reparametrisation(a, b, slope, bend):
    found, pulled = in_other_coordinates(jnp.array([a, b]), slope, bend)
    # Both by quadrature to 1e-12 of the largest entry.
    assert jnp.allclose(found, pulled, rtol=0.0, atol=1e-10 * jnp.max(jnp.abs(pulled)))


@functools.partial(jax.jit, static_argnums=1)
def information_of_independent_outcomes(theta, n):
    product = fl.ProductModel(*[NORMAL] * n)
    vector = fl.GaussianModel(lambda theta: jnp.full(n, theta[0]), lambda theta: theta[1] ** 2)
    return fl.fisher_information(product, theta), fl.fisher_information(vector, theta)


@settings(max_examples=10)
@given(st.floats(-2.0, 2.0), st.floats(0.3, 3.0), st.integers(2, 5))
def test_information_of_independent_outcomes_is_their_number_times_that_of_one(mean, deviation, n):
    theta = jnp.array([mean, deviation])
    for found in information_of_independent_outcomes(theta, n):
        assert jnp.allclose(found, n * normal_information(theta), rtol=1e-11)


@jax.jit
def before_and_after(probabilities, channel):
    """Information of a categorical family in free coordinates, and what is left of it after a noisy channel."""

    def logs(theta):
        return jax.nn.log_softmax(jnp.append(theta, 0.0))

    def received(theta, y):
        return jax.nn.logsumexp(logs(theta) + jnp.log(channel[:, y]))

    theta = jnp.log(probabilities[:-1] / probabilities[-1])
    sent = fl.StatisticalModel(lambda theta, x: logs(theta)[x], fl.ExactSum(jnp.arange(6)))
    return fl.fisher_information(sent, theta), fl.fisher_information(
        fl.StatisticalModel(received, fl.ExactSum(jnp.arange(3))), theta
    )


@settings(max_examples=20)
@given(st.lists(st.floats(0.05, 1.0), min_size=6, max_size=6), st.lists(st.floats(1e-6, 1.0), min_size=18, max_size=18))
def test_a_statistic_never_gains_information(weights, channel):
    probabilities = jnp.array(weights) / sum(weights)
    channel = jnp.array(channel).reshape(6, 3)
    before, after = before_and_after(probabilities, channel / jnp.sum(channel, axis=1, keepdims=True))
    # Round-off of six terms below 1.
    assert jnp.min(jnp.linalg.eigvalsh(before - after)) > -1e-14


def test_a_sufficient_statistic_keeps_all_information():
    # The mean of n exponential outcomes is gamma with shape n and rate n lambda.
    n, rate = 7, 1.3
    scaled = fl.StatisticalModel(
        lambda rate, x: GAMMA.log_likelihood(jnp.stack([jnp.asarray(7.0), 7.0 * rate]), x),
        fl.Quadrature(0.0, jnp.inf, location=lambda rate: 1.0 / rate, scale=lambda rate: 1.0 / rate / np.sqrt(7.0)),
    )
    whole = n * fl.fisher_information(fl.families.Exponential(), rate)
    assert jnp.allclose(jax.jit(lambda rate: fl.fisher_information(scaled, rate))(rate), whole, rtol=1e-10)


def test_a_statistic_that_forgets_loses_what_theory_says():
    # The sign of a normal outcome keeps 2/pi of the information on its mean at 0.
    def sign(mean, positive):
        return jax.scipy.stats.norm.logcdf(jnp.where(positive, mean, -mean))

    coin = fl.StatisticalModel(sign, fl.ExactSum(jnp.array([True, False])))
    kept = jax.jit(lambda mean: fl.fisher_information(coin, mean))(0.0)
    assert abs(kept[0, 0] - 2.0 / np.pi) < 1e-12


def test_an_efficient_estimator_meets_the_bound_in_simulation():
    # The sample mean of an exponential family estimates its mean with the least variance, 1/(n I) exactly.
    n, trials, rate = 20, 40_000, 0.7
    outcomes = jax.random.exponential(jax.random.key(0), (trials, n)) / rate
    one = jax.jit(lambda rate: fl.fisher_information(fl.families.Exponential().model, rate))(rate)
    bound = fl.cramer_rao_bound(
        n * one,
        transform_jacobian=jnp.array([[-1.0 / rate**2]]),
    )
    variance = jnp.var(jnp.mean(outcomes, axis=1))
    # The spread of a variance over 40,000 trials is sqrt(2 / 40,000) = 0.7 %, a little more for a gamma: four of them.
    assert abs(variance / bound[0, 0] - 1.0) < 0.035


def test_an_inefficient_estimator_stays_above_the_bound_by_its_known_factor():
    # The median of normal outcomes needs pi/2 as many; at n = 101 the asymptote holds to 1/n.
    n, trials = 101, 20_000
    outcomes = jax.random.normal(jax.random.key(1), (trials, n))
    bound = fl.cramer_rao_bound(n * fl.fisher_information(NORMAL, jnp.array([0.0, 1.0])), nuisance=[1])[0, 0]
    ratio = jnp.var(jnp.median(outcomes, axis=1)) / bound
    assert abs(ratio - np.pi / 2.0) < 0.06
