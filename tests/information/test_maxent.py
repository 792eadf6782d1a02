"""Maximum entropy against closed forms, convex duality, and the Fisher information of the family it finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

DIE = jnp.arange(1.0, 7.0)
LINE = fl.Quadrature(-jnp.inf, jnp.inf)
EPS = float(jnp.finfo(jnp.float64).eps)


def first_two(x):
    return jnp.stack([x, x**2])


def identity(x):
    return x


@jax.jit
def die(mean):
    return fl.maximum_entropy(identity, mean, DIE, throw=False)


@jax.jit
def bounded_die(lower, upper):
    return fl.maximum_entropy(first_two, fl.MomentBounds(lower, upper), DIE, throw=False)


def test_jaynes_dice_have_the_published_probabilities():
    # Jaynes (1978), Where do we stand on maximum entropy, section C: mean 4.5
    solution = die(4.5)
    np.testing.assert_allclose(solution.multipliers, 0.37105, atol=5e-6)
    published = [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749]
    np.testing.assert_allclose(solution.probabilities, published, atol=6e-6)
    np.testing.assert_allclose(solution.entropy, 1.61358, atol=5e-6)
    weights = np.exp(float(solution.multipliers) * np.arange(1, 7))
    np.testing.assert_allclose(solution.probabilities, weights / weights.sum(), rtol=1e-14)
    np.testing.assert_allclose(solution.moments, 4.5, rtol=1e-14)


def test_multipliers_are_the_momenta_conjugate_to_the_targets():
    means = jnp.array([1.2, 3.5, 4.5, 5.99])
    solution = jax.vmap(die)(means)
    slope = jax.vmap(jax.grad(lambda c: die(c).entropy))(means)
    # round-off of the entropy's derivative: eps times the multiplier
    np.testing.assert_allclose(slope, -solution.multipliers, rtol=1e-12, atol=1e-12)
    # Legendre: entropy and log-partition at the two ends of the transformation
    log_partition = jax.nn.logsumexp(solution.multipliers[:, None] * DIE[None], axis=1)
    np.testing.assert_allclose(solution.entropy, log_partition - solution.multipliers * means, rtol=1e-12)
    rate = jax.vmap(jax.grad(lambda c: die(c).multipliers))(means)
    np.testing.assert_allclose(rate * solution.information[:, 0, 0], 1.0, rtol=1e-10)
    step = 1e-4
    difference = (jax.vmap(die)(means + step).multipliers - jax.vmap(die)(means - step).multipliers) / (2 * step)
    np.testing.assert_allclose(rate[:3], difference[:3], rtol=1e-7)  # central differences: step^2


def test_multipliers_move_by_the_inverse_of_the_generic_fisher_information():
    targets = jnp.array([4.5, 21.5])

    @jax.jit
    def multipliers(targets):
        return fl.maximum_entropy(first_two, targets, DIE, throw=False).multipliers

    rate, value = jax.jacrev(multipliers)(targets), multipliers(targets)

    def log_likelihood(theta, x):
        return theta @ first_two(x) - jax.nn.logsumexp(jax.vmap(first_two)(DIE) @ theta)

    model = fl.StatisticalModel(log_likelihood, fl.ExactSum(DIE))
    information = fl.fisher_information(model, value)
    np.testing.assert_allclose(rate @ information, np.eye(2), atol=1e3 * EPS * np.linalg.cond(information))


def test_densities_of_maximum_entropy_are_normal_exponential_and_truncated_normal():
    normal = fl.maximum_entropy(first_two, [0.5, 2.25], LINE)
    np.testing.assert_allclose(normal.multipliers, [0.25, -0.25], atol=1e-10)  # the rule is good to 1e-12
    np.testing.assert_allclose(normal.entropy, 0.5 * np.log(2 * np.pi * np.e * 2.0), rtol=1e-10)
    x = jnp.array(0.7)
    np.testing.assert_allclose(normal.log_density(x), jax.scipy.stats.norm.logpdf(x, 0.5, 2.0**0.5), rtol=1e-10)
    exponential = fl.maximum_entropy(identity, 2.0, fl.Quadrature(0.0, jnp.inf))
    np.testing.assert_allclose(exponential.multipliers, -0.5, rtol=1e-10)
    np.testing.assert_allclose(exponential.entropy, 1 + np.log(2), rtol=1e-10)
    truncated = fl.maximum_entropy(first_two, [0.3, 0.2], fl.Quadrature(0.0, 1.0))
    grid = np.linspace(0.0, 1.0, 20001)
    weights = np.exp(np.asarray(truncated.multipliers) @ np.stack([grid, grid**2]))
    mass = np.trapezoid(weights, grid)
    moments = [np.trapezoid(weights * grid**k, grid) / mass for k in (1, 2)]
    np.testing.assert_allclose(moments, [0.3, 0.2], rtol=1e-7)  # the trapezoids' step^2 is 2.5e-9, times curvature
    np.testing.assert_allclose(truncated.log_partition, np.log(mass), atol=1e-7)


def test_a_base_is_tilted_to_the_nearest_distribution():
    # Poisson counts of mean 3 tilted to mean 5 are Poisson counts of mean 5: KL = 5 log(5/3) - 2
    counts = jnp.arange(0.0, 80.0)

    def poisson(mean, x):
        return x * jnp.log(mean) - mean - jax.scipy.special.gammaln(x + 1.0)

    def tilted(base):
        return fl.maximum_entropy(identity, 5.0, counts, base=base)

    listed, stated = tilted(jnp.exp(poisson(3.0, counts))), tilted(lambda x: poisson(3.0, x))
    for solution in (listed, stated):
        np.testing.assert_allclose(solution.multipliers, np.log(5 / 3), rtol=1e-12)
        np.testing.assert_allclose(-solution.entropy, 5 * np.log(5 / 3) - 2, rtol=1e-12)
        np.testing.assert_allclose(solution.probabilities, jnp.exp(poisson(5.0, counts)), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(stated.log_density(4.0), poisson(5.0, 4.0), rtol=1e-12)
    np.testing.assert_allclose(fl.fisher_information(stated.family, stated.multipliers), [[5.0]], rtol=1e-10)


def test_bounds_push_one_way_and_rest_where_they_are_slack():
    infinite = jnp.inf
    lower = jnp.array([[4.5, -infinite], [-infinite, -infinite], [-infinite, -infinite], [4.5, -infinite], [4.4, 0.0]])
    upper = jnp.array([[infinite, infinite], [4.5, infinite], [3.0, infinite], [4.5, 21.0], [4.6, 21.0]])
    solution = jax.vmap(bounded_die)(lower, upper)
    assert np.all(solution.succeeded)
    multipliers, moments = np.asarray(solution.multipliers), np.asarray(solution.moments)
    np.testing.assert_allclose(multipliers[0], [float(die(4.5).multipliers), 0.0], rtol=1e-10)
    np.testing.assert_array_equal(multipliers[1], 0.0)  # the fair die keeps a mean below 4.5
    np.testing.assert_allclose(multipliers[2], [float(die(3.0).multipliers), 0.0], rtol=1e-10)
    assert multipliers[2, 0] < 0 < multipliers[0, 0]
    # complementary slackness and feasibility, to round-off of the moments
    slack = np.where(multipliers > 0, moments - lower, np.where(multipliers < 0, upper - moments, 0.0))
    np.testing.assert_allclose(slack, 0.0, atol=1e-12)
    assert np.all(moments >= lower - 1e-12)
    assert np.all(moments <= upper + 1e-12)
    assert np.all(multipliers[3:, 1] < 0)
    np.testing.assert_allclose(solution.gap, 0.0, atol=1e-12)
    # the box of means contains that of mean 4.5, so its entropy is not less
    assert float(solution.entropy[4]) > float(solution.entropy[3])


def test_boxes_about_many_means_agree_with_the_dual_minimised_otherwise():
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    points = rng.normal(size=(80, 5))
    means = rng.dirichlet(np.full(80, 0.05), 3) @ points
    widths = np.array([0.02, 0.3, 1.0])[:, None]
    lower, upper = jnp.asarray(means - widths), jnp.asarray(means + widths)

    def solve(lower, upper):
        return fl.maximum_entropy(identity, fl.MomentBounds(lower, upper), jnp.asarray(points), throw=False)

    solution = jax.vmap(solve)(lower, upper)
    assert np.all(solution.succeeded)
    for number in range(3):

        def dual(signed, number=number):
            up, down = signed[:5], signed[5:]
            heights = points @ (up - down)
            top = heights.max()
            reach = up @ lower[number] - down @ upper[number]
            return float(np.log(np.sum(np.exp(heights - top))) + top - reach)

        options = {"maxiter": 5000, "ftol": 1e-14, "gtol": 1e-9}
        other = minimize(dual, np.zeros(10), bounds=[(0, None)] * 10, method="L-BFGS-B", options=options)
        # its slopes are forward differences, good to 1e-8, and the dual is flat at its minimum
        np.testing.assert_allclose(solution.entropy[number], other.fun, atol=1e-9)
        np.testing.assert_allclose(solution.multipliers[number], other.x[:5] - other.x[5:], atol=1e-4)


def test_entropy_under_bounds_is_differentiated_by_the_multiplier_of_what_pushes():
    def entropy(bound):
        return bounded_die(jnp.array([4.5, -jnp.inf]), jnp.stack([jnp.array(4.7), bound])).entropy

    solution = bounded_die(jnp.array([4.5, -jnp.inf]), jnp.array([4.7, 21.0]))
    np.testing.assert_allclose(jax.grad(entropy)(jnp.array(21.0)), -solution.multipliers[1], rtol=1e-10)
    assert float(jax.grad(entropy)(jnp.array(30.0))) == 0.0


@pytest.mark.parametrize(
    ("mean", "result"),
    [
        (6.5, fl.RESULTS.unattainable),
        (0.999, fl.RESULTS.unattainable),
        (6.0, fl.RESULTS.infinite_multipliers),
        (1.0, fl.RESULTS.infinite_multipliers),
        (jnp.nan, fl.RESULTS.nonfinite),
        (1.0 + 1e-9, fl.RESULTS.successful),
        (6.0 - 1e-9, fl.RESULTS.successful),
    ],
)
def test_targets_outside_the_hull_and_on_its_boundary_are_reported(mean, result):
    solution = die(mean)
    assert solution.result == result
    assert bool(jnp.isnan(solution.multipliers)) == (result != fl.RESULTS.successful)


def test_the_limit_at_the_boundary_of_the_hull_keeps_its_face():
    def two_coins(x):
        return jnp.stack([(x // 2).astype(float), (x % 2).astype(float)])

    solution = fl.maximum_entropy(two_coins, [1.0, 0.3], jnp.arange(4), throw=False)
    assert solution.result == fl.RESULTS.infinite_multipliers
    np.testing.assert_allclose(solution.probabilities, [0.0, 0.0, 0.7, 0.3], atol=1e-12)
    with pytest.raises(Exception, match="boundary of the convex hull"):
        fl.maximum_entropy(two_coins, [1.0, 0.3], jnp.arange(4))


def test_dependent_statistics_agree_or_are_reported():
    def thrice(x):
        return jnp.stack([x, 2.0 * x, jnp.ones_like(x)])

    solve = jax.jit(lambda targets: fl.maximum_entropy(thrice, targets, DIE, throw=False))
    solution = solve(jnp.array([4.5, 9.0, 1.0]))
    assert bool(solution.succeeded)
    np.testing.assert_allclose(solution.probabilities, die(4.5).probabilities, rtol=1e-10)
    assert solve(jnp.array([4.5, 9.1, 1.0])).result == fl.RESULTS.unattainable
    contradictory = bounded_die(jnp.array([4.5, -jnp.inf]), jnp.array([4.5, 20.0]))  # the variance would be negative
    assert contradictory.result == fl.RESULTS.unattainable
    assert bounded_die(jnp.array([4.5, 0.0]), jnp.array([4.4, 50.0])).result == fl.RESULTS.unattainable


def test_ill_conditioned_statistics_keep_their_moments():
    def powers(x):
        return jnp.stack([x**k for k in range(1, 6)])

    weights = DIE / 21.0
    targets = weights @ jax.vmap(powers)(DIE)
    solution = fl.maximum_entropy(powers, targets, DIE)
    np.testing.assert_allclose(solution.probabilities, weights, rtol=1e-9)  # five moments determine six probabilities


@pytest.mark.slow
def test_densities_without_a_maximum_or_beyond_the_nodes_are_reported():
    def cubic(x):
        return jnp.stack([x, x**2, x**3])

    assert not bool(fl.maximum_entropy(identity, 0.5, LINE, throw=False).succeeded)
    assert not bool(fl.maximum_entropy(cubic, [0.0, 1.0, 0.5], LINE, throw=False).succeeded)
    far = fl.maximum_entropy(identity, 12.0, LINE, base=jax.scipy.stats.norm.logpdf, throw=False)
    assert far.result == fl.RESULTS.unresolved_integral


@pytest.mark.slow
def test_heavy_tails_and_kinks_are_found_on_the_line():
    cauchy = fl.maximum_entropy(lambda x: jnp.log1p(x**2), 2 * np.log(2), LINE)
    np.testing.assert_allclose(cauchy.multipliers, -1.0, rtol=1e-10)
    np.testing.assert_allclose(cauchy.entropy, np.log(4 * np.pi), rtol=1e-10)
    laplace = fl.maximum_entropy(jnp.abs, 2.0, fl.Quadrature(-jnp.inf, jnp.inf, breaks=0.0))
    np.testing.assert_allclose(laplace.multipliers, -0.5, rtol=1e-10)


@pytest.mark.slow
def test_solution_differentiates_in_outcomes_base_and_closures():
    outcomes, base = jnp.array([0.0, 1.0, 2.5, 4.0]), jnp.array([0.1, 0.4, 0.3, 0.2])

    @jax.jit
    def values(t):
        def statistic(x):
            return x ** (1.0 + t)

        bent = outcomes + t * jnp.array([0.1, -0.2, 0.3, 0.0])
        solution = fl.maximum_entropy(statistic, 2.0, bent, base=base * jnp.exp(t * outcomes), throw=False)
        return jnp.stack([solution.multipliers, solution.entropy, solution.log_partition])

    step = 1e-5
    forward = jax.jvp(values, (0.1,), (1.0,))[1]
    difference = (values(0.1 + step) - values(0.1 - step)) / (2 * step)
    np.testing.assert_allclose(forward, difference, rtol=1e-7, atol=1e-8)  # step^2 and round-off over the step
    np.testing.assert_allclose(jax.jacrev(values)(0.1), forward, rtol=1e-10)


@settings(max_examples=20)
@given(st.lists(st.floats(0.02, 1.0), min_size=6, max_size=6))
def test_no_distribution_of_the_same_mean_has_more_entropy(weights):
    p = np.array(weights) / np.sum(weights)
    solution = die(float(p @ np.arange(1, 7)))
    # H(p*) - H(p) = KL(p || p*), the Pythagorean identity
    divergence = np.sum(p * np.log(p / np.asarray(solution.probabilities)))
    np.testing.assert_allclose(float(solution.entropy) + np.sum(p * np.log(p)), divergence, atol=1e-12)


def test_single_precision_is_kept():
    solution = fl.maximum_entropy(identity, 4.5, DIE.astype(jnp.float32))
    assert {leaf.dtype for leaf in (solution.multipliers, solution.probabilities, solution.gap)} == {
        jnp.dtype("float32")
    }
    np.testing.assert_allclose(solution.multipliers, 0.371049, rtol=1e-5)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="structure"):
        fl.maximum_entropy(first_two, 4.5, DIE)
    with pytest.raises(ValueError, match="one weight for each"):
        fl.maximum_entropy(identity, 4.5, DIE, base=jnp.ones(5))
    with pytest.raises(ValueError, match="lower or an upper"):
        fl.maximum_entropy(identity, fl.MomentBounds(), DIE)
    assert fl.maximum_entropy(identity, 4.5, DIE, base=-jnp.ones(6), throw=False).result == fl.RESULTS.out_of_range
