"""Dual connections: skewness of scores, flat families, and Efron's curvature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

NORMAL, POINT = fl.families.Normal(), jnp.array([0.3, 1.7])
MIXING = np.array([[0.7, -0.3], [0.2, 0.9], [-0.5, 0.1], [0.4, 0.6]])


def curved_log_likelihood(theta, x):
    bent = jnp.sin(theta[0] * theta[1]) * jnp.arange(4.0, dtype=theta.dtype)
    logits = jnp.asarray(MIXING, theta.dtype) @ theta + bent
    return jax.nn.log_softmax(logits)[x]


CURVED = fl.StatisticalModel(curved_log_likelihood, fl.ExactSum(jnp.arange(4)))


@jax.jit
def of_curved(theta, v, alpha):
    def mixed(theta):
        """The moments of the definition, outcome by outcome: E[(d_i d_j l + (1 - a) / 2 d_i l d_j l) d_k l]."""
        probabilities, scores, bends = zip(
            *(
                (
                    jnp.exp(curved_log_likelihood(theta, x)),
                    jax.grad(curved_log_likelihood)(theta, x),
                    jax.hessian(curved_log_likelihood)(theta, x),
                )
                for x in range(4)
            ),
            strict=True,
        )
        p, s, h = map(jnp.stack, (probabilities, scores, bends))
        return jnp.einsum("x,xij,xk->ijk", p, h, s) + 0.5 * (1.0 - alpha) * jnp.einsum("x,xi,xj,xk->ijk", p, s, s, s)

    symbols = fl.alpha_christoffel(CURVED, theta, alpha)
    dual = fl.alpha_christoffel(CURVED, theta, -alpha)
    return {
        "matrix": fl.fisher_information(CURVED, theta),
        "slope": jax.jacfwd(lambda theta: fl.fisher_information(CURVED, theta))(theta),
        "symbols": symbols,
        "dual": dual,
        "defined": mixed(theta),
        "acceleration": fl.alpha_acceleration(CURVED, theta, v, alpha),
    }


def curvature_of(symbols, theta):
    """The textbook's formula, from symbols `[k, i, j]` of the second kind as a function of theta."""
    gamma, slope = symbols(theta), jax.jacfwd(symbols)(theta)
    half = jnp.einsum("adbc->abcd", slope) + jnp.einsum("ace,edb->abcd", gamma, gamma)
    return half - half.swapaxes(2, 3)


@settings(max_examples=15)
@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-3.0, 3.0))
def test_alpha_and_minus_alpha_connections_are_dual(a, b, alpha):
    theta, v = jnp.array([a, b]), jnp.array([0.4, -1.1])
    found = jax.tree_util.tree_map(np.asarray, of_curved(theta, v, jnp.asarray(alpha)))
    # Round-off of sums of four products below 100.
    np.testing.assert_allclose(found["symbols"], found["defined"], atol=1e-13)
    total = np.einsum("kij->ijk", found["symbols"]) + np.einsum("kji->ijk", found["dual"])
    np.testing.assert_allclose(found["slope"], total, atol=1e-13)
    lowered = np.einsum("ijk,i,j->k", found["symbols"], v, v)
    expected = -np.linalg.solve(found["matrix"], lowered)
    condition = np.linalg.cond(found["matrix"])
    np.testing.assert_allclose(found["acceleration"], expected, atol=1e-13 * condition * np.max(np.abs(lowered)))


@pytest.mark.slow
def test_alpha_curvature_is_that_of_the_textbook_and_dual():
    theta = jnp.array([0.4, -0.7])

    @jax.jit
    @jax.vmap
    def both(alpha):
        def symbols(theta):
            lowered = fl.alpha_christoffel(CURVED, theta, alpha)
            return jnp.einsum("kl,ijl->kij", jnp.linalg.inv(fl.fisher_information(CURVED, theta)), lowered)

        return fl.alpha_curvature(CURVED, theta, alpha), curvature_of(symbols, theta)

    found, expected = both(jnp.array([0.6, -0.6, 0.0]))
    # Round-off of derivatives of an inverse of condition number 20.
    np.testing.assert_allclose(found, expected, atol=1e-11)
    lowered = np.einsum("ae,nebcd->nabcd", fl.fisher_information(CURVED, theta), found)
    np.testing.assert_allclose(lowered[0], -lowered[1].swapaxes(0, 1), atol=1e-12)
    assert np.max(np.abs(lowered)) > 0.01


def test_skewness_of_the_normal_family_has_its_closed_form():
    rule = jax.jit(lambda theta: fl.amari_chentsov(NORMAL.model, theta))(POINT)
    vector = fl.GaussianModel(lambda th: th[:1], lambda th: th[1:] ** 2)
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 1] = expected[0, 1, 0] = expected[1, 0, 0] = 2 / 1.7**3
    expected[1, 1, 1] = 8 / 1.7**3
    np.testing.assert_allclose(fl.amari_chentsov(NORMAL, POINT), expected, rtol=1e-15)
    np.testing.assert_allclose(fl.amari_chentsov(vector, POINT), expected, atol=1e-15)
    # Quadrature over 200 nodes, of terms below 10.
    np.testing.assert_allclose(rule, expected, atol=1e-12)


def test_normal_family_curves_by_one_minus_alpha_squared():
    found = jax.jit(jax.vmap(lambda alpha: fl.alpha_curvature(NORMAL, POINT, alpha)))(jnp.array([-1.0, 0.0, 0.5, 1.0]))
    # Lauritzen (1987), section 4: R^(alpha) = (1 - alpha^2) R; flat where alpha is 1 or -1.
    for share, curvature in zip((0.0, 1.0, 0.75, 0.0), found, strict=True):
        np.testing.assert_allclose(curvature, share * found[1], atol=1e-15)
    np.testing.assert_allclose(np.einsum("abad->bd", found[1]), -0.5 * NORMAL.fisher(POINT), atol=1e-15)


def test_exponential_family_is_straight_in_its_natural_parameters():
    def log_partition(natural):
        return jax.nn.logsumexp(jnp.append(natural, 0.0))

    family = fl.families.ExponentialFamily(log_partition)
    generic = fl.StatisticalModel(
        lambda natural, x: jnp.append(natural, 0.0)[x] - log_partition(natural), fl.ExactSum(jnp.arange(4))
    )
    natural = jnp.array([0.3, -1.0, 0.8])
    for model in (family, generic):
        flat = jax.jit(lambda t, m=model: (fl.alpha_christoffel(m, t, 1.0), fl.alpha_curvature(m, t, -1.0)))(natural)
        np.testing.assert_allclose(flat[0], 0.0, atol=1e-16)
        # Round-off of products of inverses of entries of 0.1.
        np.testing.assert_allclose(flat[1], 0.0, atol=1e-14)


def test_mixture_family_is_straight_in_its_weights():
    parts = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.4, 0.1]])

    def log_likelihood(weights, x):
        return jnp.log(jnp.append(weights, 1.0 - jnp.sum(weights)) @ jnp.asarray(parts)[:, x])

    model, weights = fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.arange(4))), jnp.array([0.3, 0.25])
    flat = jax.jit(
        lambda t: (
            fl.alpha_christoffel(model, t, -1.0),
            fl.alpha_curvature(model, t, 1.0),
            fl.alpha_acceleration(model, t, jnp.ones(2), -1.0),
        )
    )(weights)
    for tensor in flat:
        np.testing.assert_allclose(tensor, 0.0, atol=1e-13)


def test_regression_with_known_noise_has_no_skewness():
    def wave(theta, x):
        return jnp.stack([theta["height"] * jnp.sin(theta["rate"] * x), jnp.full_like(x, 0.4)])

    theta = {"height": 1.3, "rate": 0.7}
    regression = fl.ConditionalModel(wave, NORMAL, jnp.linspace(0.0, 2.0, 7))
    vector = fl.GaussianModel(lambda t: t["height"] * jnp.sin(t["rate"] * jnp.arange(3.0)), 0.2 * jnp.eye(3) + 0.1)
    models = (regression, vector, fl.ProductModel(regression, vector))
    for skewness in jax.jit(lambda theta: [fl.amari_chentsov(model, theta) for model in models])(theta):
        np.testing.assert_array_equal(skewness, np.zeros((2, 2, 2)))


def test_skewness_of_a_regression_is_that_of_its_joint_density():
    inputs = jnp.array([-1.0, 0.5, 2.0])

    def logit(theta, x):
        return jnp.reshape(theta[0] + theta[1] * x + theta[0] * theta[1], (1,))

    noise = fl.families.BernoulliLogits()
    regression = fl.ConditionalModel(logit, noise, inputs)

    def joint(theta, responses):
        return jnp.sum(jax.vmap(lambda x, y: noise.log_likelihood(logit(theta, x), y))(inputs, responses))

    every = jnp.array(list(itertools.product([0.0, 1.0], repeat=3)))
    theta = jnp.array([0.3, -0.8])
    whole = fl.StatisticalModel(joint, fl.ExactSum(every))
    product = fl.ProductModel(*(fl.ConditionalModel(logit, noise, inputs[i : i + 1]) for i in range(3)))
    found = jax.jit(lambda t: [fl.amari_chentsov(model, t) for model in (regression, whole, product)])(theta)
    np.testing.assert_allclose(found[0], found[1], atol=1e-15)
    np.testing.assert_allclose(found[2], found[1], atol=1e-15)


class _Grid:
    """Products of Gauss-Hermite nodes: exact for polynomials up to degree 15 of a normal vector."""

    blocks = 1

    def outcomes(self, log_likelihood, theta, block=0):
        nodes, weights = np.polynomial.hermite_e.hermegauss(8)
        z = jnp.asarray(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
        factor = jnp.linalg.cholesky(covariance_of(theta))
        weight = jnp.asarray(np.outer(weights, weights).ravel() / weights.sum() ** 2)
        return mean_of(theta)[None, :] + z @ factor.T, weight


def mean_of(theta):
    return jnp.stack([theta[0] * theta[1], jnp.sin(theta[0])])


def covariance_of(theta):
    shared = 0.3 * theta[0] * theta[2]
    return jnp.stack([jnp.stack([1.0 + theta[1] ** 2, shared]), jnp.stack([shared, jnp.exp(theta[2])])])


def test_gaussian_moments_are_integrals_over_its_density():
    gaussian = fl.GaussianModel(mean_of, covariance_of)
    grid, theta = fl.StatisticalModel(gaussian.log_likelihood, _Grid()), jnp.array([0.4, -0.9, 0.3])
    v, a = jnp.array([0.3, 1.0, -0.4]), jnp.array([-0.2, 0.1, 0.5])
    found = jax.jit(lambda t: [(fl.amari_chentsov(m, t), m.bending(t, v, a)[0]) for m in (gaussian, grid)])(theta)
    # Round-off of 64 terms below 100.
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-13)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-12)


# Efron's statistical curvature.


def of_curve(shape):
    """The squared curvature of normal laws of mean m and deviation c m, the variance given in a shape."""

    def squared(mean, c):
        model = fl.GaussianModel(lambda m: jnp.reshape(m, (1,)), lambda m: jnp.reshape((c * m) ** 2, shape))
        return fl.statistical_curvature(model, mean) ** 2

    return jax.vmap(squared, (None, 0))


def test_normal_law_of_known_coefficient_of_variation():
    c = np.array([0.1, 1.0, 3.0])
    # Nu_20 = (1/c^2 + 2) / m^2 and the cumulants of a quadratic form: gamma^2 = 2 c^4 / (1 + 2 c^2)^3.
    expected = 2 * c**4 / (1 + 2 * c**2) ** 3
    for found in jax.jit(lambda c: [of_curve(shape)(2.0, c) for shape in ((1, 1), (1,), ())])(c):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_curvature_of_a_translation_of_student():
    family = fl.families.StudentT()

    @jax.jit
    @jax.vmap
    def squared(dof, scale):
        def log_likelihood(location, x):
            return family.log_likelihood(jnp.stack([location, scale, dof]), x)

        rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda location: location, scale=scale)
        return fl.statistical_curvature(fl.StatisticalModel(log_likelihood, rule), 0.7) ** 2

    f = np.array([1.0, 3.0, 8.0])
    # Efron (1975): 5/2 for Cauchy.
    expected = 6 * (3 * f**2 + 18 * f + 19) / (f * (f + 1) * (f + 5) * (f + 7))
    np.testing.assert_allclose(squared(f, np.array([1.3, 0.2, 1.0])), expected, rtol=1e-12)
    assert expected[0] == 2.5


def test_curvature_of_observations_falls_with_their_number_and_not_with_the_coordinate():
    def predict(rate, x):
        return jnp.stack([rate, rate])

    def of(model, theta):
        return jax.jit(lambda t: fl.statistical_curvature(model, t))(theta)

    five = fl.ConditionalModel(predict, NORMAL, jnp.zeros(5))
    np.testing.assert_allclose(of(five, 2.0) ** 2, 2 / 27 / 5, rtol=1e-12)
    logarithm = fl.ConditionalModel(lambda u, x: predict(jnp.exp(u), x), NORMAL, jnp.zeros(1))
    np.testing.assert_allclose(of(fl.ProductModel(logarithm, logarithm), 0.7) ** 2, 2 / 27 / 2, rtol=1e-12)


def test_exponential_families_have_no_statistical_curvature():
    found = jax.jit(lambda p: fl.statistical_curvature(fl.families.Poisson(60), p))(jnp.array([4.0]))
    # Round-off, not its square root.
    assert found < 1e-12
    with pytest.raises(ValueError, match="one parameter"):
        fl.statistical_curvature(NORMAL, POINT)


def test_failed_expectations_are_not_numbers_and_samples_are_no_metric():
    coarse = fl.StatisticalModel(NORMAL.log_likelihood, fl.Quadrature(-1.0, 1.0))

    def sample(key, theta, n):
        return theta[0] + theta[1] * jax.random.normal(key, (n,))

    sampled = fl.StatisticalModel(NORMAL.log_likelihood, fl.MonteCarlo(sample, 200_000, jax.random.key(0)))
    lost, found = jax.jit(lambda theta: [fl.amari_chentsov(model, theta) for model in (coarse, sampled)])(POINT)
    assert np.all(np.isnan(lost))
    # Four standard errors of the mean of a cubed score, whose variance is below 1000.
    np.testing.assert_allclose(found, fl.amari_chentsov(NORMAL, POINT), atol=4 * (1000 / 200_000) ** 0.5)
    with pytest.raises(TypeError, match="reference"):
        fl.alpha_christoffel(sampled, POINT, 1.0)


def test_single_precision_stays_single():
    theta, v = jnp.array([0.4, -0.7]), jnp.array([0.4, -1.1])
    single = jax.eval_shape(of_curved, theta.astype(jnp.float32), v.astype(jnp.float32), jnp.float32(0.6))
    assert {value.dtype for value in single.values()} == {np.dtype(np.float32)}
    model = fl.GaussianModel(lambda m: jnp.reshape(m, (1,)), lambda m: jnp.reshape(m**2, (1,)))
    curvature = jax.jit(lambda t: fl.statistical_curvature(model, t))(jnp.float32(3.0))
    assert curvature.dtype == jnp.float32
    # Round-off of a few terms.
    np.testing.assert_allclose(curvature**2, 2 / 27, rtol=1e-6)
