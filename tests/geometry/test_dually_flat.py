"""Dually flat geometry: Legendre duality, Bregman divergences, straight lines and projections of both connections."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from jax.scipy.special import gammaln

import fimlag as fl


def normal_log_partition(theta):
    return -(theta[0] ** 2) / (4.0 * theta[1]) - 0.5 * jnp.log(-2.0 * theta[1])


def logistic_log_partition(theta):
    return jnp.sum(jnp.logaddexp(0.0, theta))


NORMAL = fl.ExponentialFamily(normal_log_partition)
GUESS = jnp.array([0.0, -1.0])
POINTS = jnp.array([[0.6, -0.125], [-2.0, -3.0], [1e-4, -5e-7], [40.0, -0.5]])
CATEGORICAL = fl.ExponentialFamily(lambda theta: jax.nn.logsumexp(jnp.append(theta, 0.0)))
NATURALS = jax.jit(jax.vmap(CATEGORICAL.natural))


def test_gradient_maps_are_inverse_and_so_are_the_hessians():
    @jax.jit
    @jax.vmap
    def there_and_back(theta):
        mean = NORMAL.mean(theta)
        slope = jax.grad(lambda mean: NORMAL.dual_potential(mean, GUESS))(mean)
        found, turn = jax.linearize(lambda mean: NORMAL.natural(mean, GUESS), mean)
        return found, slope, jax.vmap(turn, 1, 1)(jnp.eye(2)) @ NORMAL.fisher(theta)

    found, slopes, products = there_and_back(POINTS)
    # A solve of condition up to 1e13 in the units of the parameters; each is known to the digits of its mean.
    np.testing.assert_allclose(found, POINTS, rtol=1e-9)
    np.testing.assert_allclose(slopes, POINTS, rtol=1e-9)
    np.testing.assert_allclose(products[:2], np.broadcast_to(np.eye(2), (2, 2, 2)), atol=1e-11)


def test_a_mean_outside_the_convex_hull_has_no_natural_parameters():
    means = jnp.array([[0.2, 0.5], [0.7, 0.4], [-0.1, 0.4], [1.0, 0.0]])
    found = NATURALS(means, jnp.zeros_like(means))
    np.testing.assert_allclose(found[0], np.log([0.2 / 0.3, 0.5 / 0.3]), rtol=1e-12)
    assert bool(jnp.all(jnp.isnan(found[1:])))


def test_every_direction_is_solved_also_where_the_potential_is_flat():
    means = jnp.array([[0.3, 1e-18], [0.3, 1e-13], [1e-30, 1e-8], [0.6, 0.25]])
    exact = jnp.log(means / (1.0 - jnp.sum(means, axis=1, keepdims=True)))
    shifts = jnp.array([[0.4, -10.0], [0.4, 3.0], [-3.0, 10.0], [1.0, -1.0]])
    found = NATURALS(means, exact + shifts)
    np.testing.assert_allclose(found, exact, rtol=1e-14)


def test_kl_is_a_bregman_divergence_with_all_digits_near_and_far():
    family = fl.ExponentialFamily(lambda theta: gammaln(theta[0]) - theta[0] * jnp.log(-theta[1]))
    start = jnp.array([2.5, -1.5])
    ends = start[None] + jnp.array([[0.5, 0.25], [1e-9, -2e-9], [0.0, 0.0], [300.0, -2e4]])
    found = jax.jit(jax.vmap(lambda end: family.kl(start, end)))(ends)

    def closed(end):
        with mp.workdps(50):
            (a, b), (c, d) = ([mp.mpf(float(value)) for value in theta] for theta in (start, end))
            potential = [mp.loggamma(x) - x * mp.log(-y) for x, y in ((a, b), (c, d))]
            slope = (c - a) * (mp.digamma(a) - mp.log(-b)) + (d - b) * (-a / b)
            return potential[1] - potential[0] - slope

    # Round-off of the polygamma functions.
    np.testing.assert_allclose(found, [float(closed(end)) for end in ends], rtol=1e-12)


@pytest.mark.slow
def test_closed_divergences_are_those_of_the_rule():
    poisson = fl.ExponentialFamily(
        jnp.exp, lambda x: x.astype(float), lambda x: -gammaln(x.astype(float) + 1.0), fl.ExactSum(jnp.arange(80))
    )

    @eqx.filter_jit
    def divergences(model, alpha):
        start, end = jnp.log(4.0), jnp.log(9.0)
        return (
            fl.alpha_divergence(model, start, end, alpha),
            fl.kl_divergence(model, start, end),
        )

    closed, summed = (divergences(model, jnp.array(0.4)) for model in (poisson, poisson.model))
    np.testing.assert_allclose(closed, summed, rtol=1e-11)


def test_entropy_without_a_base_measure_is_minus_the_dual_potential():
    theta = jnp.array([0.3, -0.8])
    p = np.exp(np.append(theta, 0.0)) / np.sum(np.exp(np.append(theta, 0.0)))
    assert abs(jax.jit(lambda theta: fl.entropy(CATEGORICAL, theta))(theta) + np.sum(p * np.log(p))) < 1e-14
    assert abs(jax.jit(CATEGORICAL.dual_potential)(jnp.asarray(p[:2])) - np.sum(p * np.log(p))) < 1e-13


def test_bregman_divergence_of_points_that_nearly_coincide_keeps_its_digits():
    a = jnp.array([1.0, 2.0, 3.0])

    def entropy(x):
        return jnp.sum(x * jnp.log(x))

    gaps = jnp.array([1e-3, 1e-6, 1e-10])
    found = jax.jit(jax.vmap(lambda gap: fl.bregman_divergence(entropy, a + gap, a)))(gaps)

    def closed(gap):
        with mp.workdps(50):
            b = [mp.mpf(float(value)) for value in a]
            c = [mp.mpf(float(value)) for value in a + gap]
            return sum(y * mp.log(y / x) - y + x for x, y in zip(b, c, strict=True))

    np.testing.assert_allclose(found, [float(closed(gap)) for gap in gaps], rtol=1e-13)


def test_e_geodesics_are_straight_in_natural_and_m_geodesics_in_mean_parameters():
    a, b = POINTS[0], POINTS[1]
    times = jnp.array([0.0, 0.25, 1.0, 1.5])

    @jax.jit
    def everything(a, b):
        mixture = jax.vmap(lambda t: NORMAL.mean(fl.m_geodesic(NORMAL, a, b)(t)))(times)
        return mixture, NORMAL.mean(a), NORMAL.mean(b), fl.e_geodesic(NORMAL, a, b)(0.5)

    mixture, start, end, middle = everything(a, b)
    np.testing.assert_allclose(mixture[:3], start[None] + jnp.outer(times[:3], end - start), rtol=1e-11)
    # There the second moment would be negative.
    assert bool(jnp.all(jnp.isnan(mixture[3])))
    np.testing.assert_allclose(middle, 0.5 * (a + b), rtol=1e-15)


KL = jax.jit(CATEGORICAL.kl)
ORIGIN = jnp.array([0.2, -0.1])
DIRECTIONS = jnp.array([[1.0], [2.0]])


@jax.jit
def projections(theta):
    of = fl.m_projection(CATEGORICAL, theta, ORIGIN, DIRECTIONS, throw=False)
    onto_means = fl.e_projection(CATEGORICAL, theta, DIRECTIONS, jnp.array([0.9]), throw=False)
    return of, onto_means


def test_projections_satisfy_the_pythagorean_theorem():
    theta = jnp.array([-0.4, 0.8])
    nearest, prescribed = projections(theta)
    assert bool(nearest.succeeded & prescribed.succeeded)
    # Round-off of probabilities.
    assert max(float(nearest.residual), float(prescribed.residual)) < 1e-14
    for member in ORIGIN + DIRECTIONS[:, 0] * 0.7, ORIGIN - DIRECTIONS[:, 0]:
        legs = nearest.divergence + KL(nearest.natural, member)
        assert abs(KL(theta, member) - legs) < 1e-13
    assert abs(prescribed.mean @ DIRECTIONS[:, 0] - 0.9) < 1e-14
    # Another member of the same mean: along a mean direction orthogonal to the constraint.
    means = jnp.broadcast_to(prescribed.mean + 0.05 * jnp.array([2.0, -1.0]), (4, 2))
    other = NATURALS(means, jnp.zeros_like(means))[0]
    legs = KL(other, prescribed.natural) + prescribed.divergence
    assert abs(KL(other, theta) - legs) < 1e-13


@pytest.mark.slow
def test_derivative_of_a_projection_is_that_of_the_minimum():
    theta, step = jnp.array([-0.4, 0.8]), 1e-5
    _, slope = jax.jit(lambda v: jax.jvp(lambda t: projections(t)[0].divergence, (theta,), (v,)))(jnp.array([1.0, 0.5]))
    ahead, behind = (projections(theta + sign * step * jnp.array([1.0, 0.5]))[0].divergence for sign in (1, -1))
    # Central differences: the square of the step, and round-off over it.
    assert abs(slope - (ahead - behind) / (2 * step)) < 1e-9


def test_a_projection_that_does_not_exist_is_reported():
    def onto(total):
        return fl.e_projection(CATEGORICAL, jnp.zeros(2), jnp.ones((2, 1)), total[None], throw=False).result

    onto = jax.jit(onto)
    assert bool(onto(jnp.array(1.5)) == fl.RESULTS.stalled)
    assert bool(onto(jnp.array(jnp.nan)) != fl.RESULTS.successful)


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="ExponentialFamily"):
        fl.e_geodesic(fl.families.Normal(), GUESS, GUESS)
    with pytest.raises(ValueError, match="columns"):
        fl.m_projection(NORMAL, GUESS, GUESS, jnp.ones(2))
    with pytest.raises(ValueError, match="values"):
        fl.e_projection(NORMAL, GUESS, DIRECTIONS, jnp.ones(2))
    with pytest.raises(ValueError, match="scalar"):
        fl.bregman_divergence(lambda x: x, GUESS, GUESS)


def test_single_precision_is_kept():
    theta = jnp.array([0.6, -0.125], jnp.float32)
    guess = jnp.array([0.0, -1.0], jnp.float32)
    found = jax.jit(lambda theta: NORMAL.natural(NORMAL.mean(theta), guess))(theta)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, theta, rtol=1e-4)
    assert jax.eval_shape(NORMAL.kl, theta, theta).dtype == jnp.float32
