"""Distributions of numpyro, and objects that behave like those of distrax and TFP, as models."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import fimlag as fl

families, ExactSum, Quadrature = fl.families, fl.ExactSum, fl.Quadrature
adapted = fl.StatisticalModel.from_distribution
information = eqx.filter_jit(fl.fisher_information)
estimate = eqx.filter_jit(fl.fisher_estimate)


@pytest.fixture(autouse=True)
def promotion_as_numpyro_needs_it():
    # numpyro mixes integers with floating-point numbers, and vectors with matrices.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def half_normal(theta):
    return 2.0 / theta[None] ** 2


def negative_binomial_of_mean(theta):
    """Coordinates (mean, r) of the negative binomial: p = r / (r + mean)."""

    def usual(theta):
        return jnp.stack([theta[1], theta[1] / (theta[0] + theta[1])])

    jacobian = jax.jacfwd(usual)(theta)
    return jacobian.T @ families.NegativeBinomial().fisher(usual(theta)) @ jacobian


CASES = [
    (Quadrature, lambda t: dist.Normal(t[0], t[1]), [3.0, 0.5], families.Normal().fisher),
    (Quadrature, lambda t: dist.StudentT(t[2], t[0], t[1]), [3.0, 0.5, 4.0], families.StudentT().fisher),
    (Quadrature, lambda t: dist.Cauchy(t[0], t[1]), [3.0, 0.5], families.Cauchy().fisher),
    (Quadrature, lambda t: dist.Gumbel(t[0], t[1]), [3.0, 0.5], families.Gumbel().fisher),
    (Quadrature, lambda t: dist.Gamma(t[0], t[1]), [0.2, 2.0], families.Gamma().fisher),
    (Quadrature, lambda t: dist.Weibull(t[1], t[0]), [0.2, 2.5], families.Weibull().fisher),
    (Quadrature, lambda t: dist.LogNormal(t[0], t[1]), [1.0, 2.5], families.LogNormal().fisher),
    (Quadrature, lambda t: dist.Exponential(t[0]), [3.0], families.Exponential().fisher),
    (Quadrature, lambda t: dist.HalfNormal(t[0]), [3.0], half_normal),
    (Quadrature, lambda t: dist.Pareto(2.0, t[0]), [0.3], families.Pareto(2.0).fisher),
    (Quadrature, lambda t: dist.Beta(t[0], t[1]), [0.4, 2.5], families.Beta().fisher),
    (Quadrature, lambda t: dist.VonMises(t[0], t[1]), [1.0, 200.0], families.VonMises().fisher),
    (ExactSum, lambda t: dist.Poisson(t[0]), [400.0], families.Poisson().fisher),
    (ExactSum, lambda t: dist.Geometric(t[0]), [0.03], families.Geometric().fisher),
    (ExactSum, lambda t: dist.Bernoulli(t[0]), [0.3], families.Bernoulli().fisher),
    (ExactSum, lambda t: dist.Bernoulli(logits=t[0]), [0.3], families.BernoulliLogits().fisher),
    (ExactSum, lambda t: dist.Categorical(logits=t), [0.3, 0.4, -1.0], families.CategoricalLogits(3).fisher),
    (ExactSum, lambda t: dist.Binomial(7, t[0]), [0.3], families.Binomial(7).fisher),
]


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "make", "theta", "closed"), CASES)
def test_rule_is_picked_from_the_support_and_meets_the_closed_form(rule, make, theta, closed):
    theta = jnp.array(theta)
    # A double-exponential tail, Gumbel's, needs more nodes than the default for 1e-9.
    model = adapted(make, theta, nodes=400)
    assert isinstance(model.expectation, rule)
    expected = closed(theta)
    deviation = jnp.sqrt(jnp.diagonal(expected))
    # What is demanded of every generic route.
    assert jnp.max(jnp.abs(information(model, theta) - expected) / jnp.outer(deviation, deviation)) < 1e-9


def test_location_and_scale_follow_theta():
    model = adapted(lambda t: dist.Normal(t["mean"], t["scale"]), {"mean": 0.0, "scale": 1.0})
    found = information(model, {"mean": 1e6, "scale": 1e-2})
    # Round-off of outcomes of 1e6, against a scale of 0.01.
    np.testing.assert_allclose(found, jnp.diag(jnp.array([1e4, 2e4])), rtol=1e-7, atol=1e-3)


def test_counts_are_summed_as_far_as_their_tail_reaches():
    short, long = (adapted(lambda t: dist.Poisson(t[0]), jnp.array([rate])) for rate in (1.0, 400.0))
    assert short.expectation.support.shape[0] < 150 < 700 < long.expectation.support.shape[0] < 1000
    assert abs(estimate(long, jnp.array([400.0])).certificate.mass - 1.0) < 1e-12
    # A truncation that another theta exceeds is reported.
    assert estimate(short, jnp.array([100.0]), throw=False).result == fl.RESULTS.poor_quadrature


def test_wrong_digits_of_a_log_density_are_reported():
    theta = jnp.array([20.0, 5.0])
    model = adapted(lambda t: dist.NegativeBinomial2(t[0], t[1]), theta)
    found, closed = estimate(model, theta, throw=False), negative_binomial_of_mean(theta)
    deviation = jnp.sqrt(jnp.diagonal(closed))
    error = jnp.max(jnp.abs(found.value - closed) / jnp.outer(deviation, deviation))
    # jax's betaln, of which numpyro makes this density, is off by 1e-6 in places: the mass tells.
    assert error < 1e-5
    assert error < 1e-9 or found.result == fl.RESULTS.poor_quadrature


def test_kink_of_the_laplace_density_is_split_and_flagged():
    theta = jnp.array([3.0, 0.5])
    model = adapted(lambda t: dist.Laplace(t[0], t[1]), theta)
    assert model.expectation.breaks is not None
    np.testing.assert_allclose(information(model, theta), 4.0 * jnp.eye(2), atol=1e-11)  # round-off
    assert estimate(model, theta, throw=False).result == fl.RESULTS.irregular


def test_support_that_depends_on_theta_is_refused_or_reported():
    def make(theta):
        return dist.Uniform(0.0, theta[0])

    with pytest.raises(ValueError, match="support depends on theta"):
        adapted(make, jnp.array([2.0]))
    forced = adapted(make, jnp.array([2.0]), expectation=Quadrature(0.0, 2.0))
    assert estimate(forced, jnp.array([2.0]), throw=False).result == fl.RESULTS.biased_sample
    assert jnp.isnan(information(forced, jnp.array([2.0]))[0, 0])


def test_mixture_of_normals_is_that_of_its_own_density():
    def make(theta):
        parts = dist.Normal(theta[1:3], theta[3:])
        return dist.MixtureSameFamily(dist.Categorical(jnp.stack([theta[0], 1.0 - theta[0]])), parts)

    def log_likelihood(theta, x):
        parts = [families.Normal().log_likelihood(jnp.stack([theta[1 + i], theta[3 + i]]), x) for i in range(2)]
        return jnp.logaddexp(jnp.log(theta[0]) + parts[0], jnp.log1p(-theta[0]) + parts[1])

    theta = jnp.array([0.3, -1.0, 2.0, 0.5, 1.5])
    ours = fl.StatisticalModel(log_likelihood, Quadrature(-np.inf, np.inf, nodes=400))
    # Two rules of different places: what both leave, 1e-9.
    np.testing.assert_allclose(information(adapted(make, theta, nodes=400), theta), information(ours, theta), rtol=1e-8)


@pytest.mark.slow
def test_vectors_are_sampled_with_the_key_and_number_given():
    key = jax.random.key(0)
    covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    for make, theta, closed in [
        (dist.Dirichlet, jnp.array([0.5, 2.0, 3.0]), families.Dirichlet(3).fisher),
        (
            lambda t: dist.MultivariateNormal(t, covariance),
            jnp.array([1.0, -1.0]),
            families.NormalLocation(covariance).fisher,
        ),
    ]:
        with pytest.raises(ValueError, match="key= and n="):
            adapted(make, theta)
        model = adapted(make, theta, key=key, n=2_000)
        assert isinstance(model.expectation, fl.MonteCarlo)
        found = estimate(model, theta, audit=False)
        assert jnp.all(jnp.abs(found.value - closed(theta)) <= 4.0 * found.standard_error + 1e-12)


class Distrax(eqx.Module):
    """A normal distribution with the calling convention of distrax: methods, keyword arguments, no support."""

    mean_parameter: jax.Array

    def log_prob(self, value):
        return -0.5 * (value - self.mean_parameter) ** 2 - 0.5 * jnp.log(2.0 * jnp.pi)

    def sample(self, *, seed, sample_shape=()):
        return self.mean_parameter + jax.random.normal(seed, sample_shape)


class Probability(Distrax):
    """The same with TFP's order of arguments."""

    def sample(self, sample_shape=(), seed=None, name="sample"):
        return self.mean_parameter + jax.random.normal(seed, sample_shape)


@pytest.mark.parametrize("make", [Distrax, Probability])
def test_objects_without_a_support_take_a_rule_or_their_own_sampler(make):
    theta = jnp.array(0.5)
    with pytest.raises(ValueError, match="declares no support: pass a rule as expectation="):
        adapted(make, theta)
    exact = adapted(make, theta, expectation=Quadrature(-np.inf, np.inf, location=lambda t: t))
    assert abs(information(exact, theta)[0, 0] - 1.0) < 1e-12
    found = estimate(adapted(make, theta, key=jax.random.key(0), n=2_000), theta)
    assert abs(found.value[0, 0] - 1.0) <= 4.0 * found.standard_error[0, 0]


def test_the_model_differentiates_with_respect_to_what_its_maker_holds():
    class Scaled(eqx.Module):
        scale: jax.Array

        def __call__(self, theta):
            return dist.Normal(theta[0], self.scale)

    def entry(scale):
        maker = eqx.tree_at(lambda model: model.log_likelihood.make.scale, model, scale)
        return fl.fisher_information(maker, jnp.array([0.0]))[0, 0]

    model = adapted(Scaled(jnp.array(2.0)), jnp.array([0.0]))
    # d/ds s^-2; the rule's own scale is held constant.
    assert abs(jax.jit(jax.grad(entry))(2.0) + 0.25) < 1e-12


def test_single_precision_is_kept():
    theta = jnp.array([3.0, 0.5], jnp.float32)
    model = adapted(lambda t: dist.Gamma(t[0], t[1]), theta)
    found = information(model, theta)
    assert found.dtype == jnp.float32
    # Sums of 200 terms: hundreds of eps = 1e-7.
    np.testing.assert_allclose(found, families.Gamma().fisher(theta), rtol=1e-4)


def test_mistakes_are_named():
    theta = jnp.array([0.0, 1.0])
    with pytest.raises(TypeError, match="log_prob"):
        adapted(lambda t: t, theta)
    with pytest.raises(ValueError, match="batch shape is \\(2,\\)"):
        adapted(lambda t: dist.Normal(t, 1.0), theta)
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(lambda t: information(adapted(lambda t: dist.Normal(t[0], t[1]), t), t))(theta)
    with pytest.raises(TypeError, match="rule"):
        adapted(lambda t: dist.Normal(t[0], t[1]), theta, expectation=jnp.ones(3))
    with pytest.raises(ValueError, match="too many to list"):
        adapted(lambda t: dist.DiscreteUniform(0, 2_000_000), theta)
