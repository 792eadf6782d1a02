"""Numeric distances of families against their closed forms, far pairs, and batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import families

GAMMA = fl.FisherMetric(families.Gamma())


def product(*models, sizes):
    return fl.ProductMetric(*map(fl.FisherMetric, models), sizes=sizes)


def pairs_of(draw, count, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(np.stack([[draw(rng) for _ in range(count)] for _ in range(2)]))


def check_sum_of_squares(models, sizes, pairs, elements):
    """A product's geodesic moves along those of its factors: the squared distances add."""
    metric, ends = product(*models, sizes=sizes), np.cumsum(sizes)[:-1]
    solve = jax.jit(jax.vmap(lambda a, b: fl.geodesic(metric, a, b, elements=elements, throw=False)))
    solutions = solve(*pairs)
    assert bool(jnp.all(solutions.succeeded))
    parts = [jnp.split(points, ends, axis=1) for points in pairs]
    squares = [jax.vmap(model.distance)(a, b) ** 2 for model, a, b in zip(models, *parts, strict=True)]
    np.testing.assert_allclose(2 * solutions.action, sum(squares), rtol=1e-9)


@pytest.mark.slow
def test_distances_of_families_of_one_parameter_are_those_of_their_geodesics():
    shares = [families.Bernoulli(), families.Binomial(5), families.Geometric(), families.Pascal(3.0)]
    scales = [families.Poisson(), families.Exponential(), families.Rayleigh(), families.Erlang(3)]
    others = [families.Pareto(), families.PowerFunction(2.0), families.NormalScale(), families.NormalMean(2.0)]

    def draw(rng):
        return np.concatenate([rng.uniform(0.05, 0.95, 4), np.exp(rng.uniform(-1.5, 1.5, 8))])

    check_sum_of_squares([*shares, *scales, *others], (1,) * 12, pairs_of(draw, 3), elements=8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "models",
    [
        (families.Normal(), families.Laplace(), families.Logistic(), families.Cauchy(), families.Gumbel()),
        (families.StudentTLocationScale(4.0), families.LogNormal()),
        (families.Weibull(), families.Frechet(), families.InverseGaussian()),
    ],
    ids=lambda models: "-".join(type(model).__name__ for model in models),
)
def test_distances_of_families_of_two_parameters_are_those_of_their_geodesics(models):
    def draw(rng):
        located = isinstance(models[0], families.Normal | families.StudentTLocationScale)
        first = rng.normal(size=len(models)) if located else np.exp(rng.uniform(-1.0, 1.0, len(models)))
        return np.stack([first, np.exp(rng.uniform(-1.0, 1.0, len(models)))], axis=1).ravel()

    check_sum_of_squares(models, (2,) * len(models), pairs_of(draw, 3), elements=16)


@pytest.mark.slow
def test_distances_of_families_of_vectors_are_those_of_their_geodesics():
    shares = [families.Categorical(3), families.Multinomial(4, 3)]
    normals = [families.IsotropicNormal(2), families.DiagonalNormal(2), families.CentredNormal(2)]

    def draw(rng):
        p = [rng.dirichlet([2.0, 2.0, 2.0])[:2] for _ in range(2)]
        scales = np.exp(rng.uniform(-0.7, 0.7, 3))
        return np.concatenate([*p, rng.normal(size=2), scales[:1], rng.normal(size=2), scales[1:], rng.normal(size=3)])

    check_sum_of_squares([*shares, *normals], (2, 2, 3, 4, 3), pairs_of(draw, 3), elements=8)


@pytest.fixture(scope="module")
def distances():
    return jax.jit(jax.vmap(lambda a, b: fl.distance(GAMMA, a, b)))


@pytest.fixture(scope="module")
def gammas():
    """Forty pairs: a block and a bit."""
    return np.exp(np.random.default_rng(3).uniform(np.log(0.1), np.log(60.0), (2, 40, 2)))


@pytest.mark.slow
def test_distances_of_a_batch_are_those_of_its_pairs_both_ways(distances, gammas):
    there, back = distances(*gammas), distances(*gammas[::-1])
    assert bool(jnp.all(jnp.isfinite(there)))
    np.testing.assert_allclose(there, back, rtol=1e-11)
    alone = [fl.distance(GAMMA, a, b) for a, b in zip(*gammas[:, :3], strict=True)]
    np.testing.assert_allclose(there[:3], jnp.stack(alone), rtol=1e-11)


@pytest.mark.slow
def test_a_pair_outside_the_domain_fails_alone(distances, gammas):
    bad = gammas.copy()
    bad[1, 7, 0], bad[0, 33, 1] = -1.0, np.nan
    found = np.asarray(distances(*bad))
    assert set(np.flatnonzero(np.isnan(found))) == {7, 33}
    kept = np.delete(np.arange(40), [7, 33])
    np.testing.assert_allclose(found[kept], distances(*gammas)[kept], rtol=1e-11)


def test_near_gammas_keep_their_digits_and_far_ones_their_way(distances):
    start = jnp.array([0.1, 1.0])
    step = 2.0**-27 * jnp.array([1.0, -1.0])
    starts = jnp.tile(start[None], (40, 1))
    ends = starts.at[0].add(step).at[1].set(jnp.array([60.0, 20.0])).at[2].set(jnp.array([1e-3, 1e3]))
    found = distances(starts, ends)
    # The metric changes by a share of |step| / 0.1 on the way, half of which the midpoint rule leaves to second order.
    middle = start + 0.5 * step
    np.testing.assert_allclose(found[0], jnp.sqrt(GAMMA.quadratic(middle, step)), rtol=1e-12)
    np.testing.assert_allclose(found[:3], distances(ends, starts)[:3], rtol=1e-11)
    np.testing.assert_array_equal(found[3:], 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "start", "end"),
    [
        (families.Gamma(), [0.1, 1.0], [60.0, 20.0]),
        (families.Beta(), [0.05, 8.0], [30.0, 0.1]),
        (families.Dirichlet(3), [0.1, 5.0, 9.0], [20.0, 0.2, 0.1]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, fl.AbstractModel) else None,
)
def test_far_pairs_come_back_through_the_exponential_map(model, start, end):
    metric, start, end = fl.FisherMetric(model), jnp.array(start), jnp.array(end)
    velocity = fl.log_map(metric, start, end)
    forward, backward = (fl.distance_estimate(metric, *ends) for ends in ((start, end), (end, start)))
    assert forward.route == "geodesic"
    np.testing.assert_allclose(forward.value, backward.value, rtol=1e-11)
    np.testing.assert_allclose(jnp.sqrt(metric.quadratic(start, velocity)), forward.value, rtol=1e-10)
    np.testing.assert_allclose(fl.exp_map(metric, start, velocity, steps=128), end, rtol=1e-8)


def test_distances_up_to_sixty_are_raos():
    normal = families.Normal()
    solve = jax.jit(jax.vmap(lambda a, b: fl.geodesic(fl.FisherMetric(normal), a, b, elements=32, throw=False)))
    starts = jnp.array([[0.0, 1.0], [0.0, 1e-6], [0.0, 1e-3], [5.0, 1e6]])
    ends = jnp.array([[1e4, 1e-4], [1000.0, 1e-6], [1e-3, 2e-3], [5.0, 1e-12]])
    solutions = solve(starts, ends)
    assert bool(jnp.all(solutions.succeeded))
    closed = jax.vmap(normal.distance)(starts, ends)
    assert float(jnp.max(closed)) > 57
    np.testing.assert_allclose(jnp.sqrt(2 * solutions.action), closed, rtol=1e-10)


@pytest.mark.slow
def test_tables_of_distances_and_metrics_of_their_own_batch():
    points = jnp.array([[0.0, 1.0], [0.7, 1.6], [-0.4, 0.8]])

    def apart(scale, a, b):
        metric = fl.Metric(lambda q: scale * jnp.eye(2) / q[1] ** 2)
        return fl.distance(metric, a, b, elements=4, degree=4)

    scales = jnp.array([1.0, 4.0, 0.25])
    table = jax.jit(jax.vmap(jax.vmap(apart, (None, None, 0)), (0, 0, None)))(scales, points, points)
    gap, rise = points[:, None, 0] - points[None, :, 0], points[:, None, 1] - points[None, :, 1]
    plane = 2 * jnp.arcsinh(jnp.sqrt((gap**2 + rise**2) / (4 * points[:, None, 1] * points[None, :, 1])))
    np.testing.assert_allclose(
        table, jnp.sqrt(scales)[:, None] * plane, rtol=1e-6, atol=1e-15
    )  # 4 elements of degree 4


def test_a_closed_distance_is_taken_and_says_so():
    metric = fl.FisherMetric(families.Poisson())
    estimate = fl.distance_estimate(metric, jnp.array([1.0]), jnp.array([4.0]))
    assert (float(estimate.value), estimate.route) == (2.0, "closed form")
    assert fl.distance_estimate(metric, jnp.array([1.0]), jnp.array([-4.0]), throw=False).result == fl.RESULTS.nonfinite
    with pytest.raises(RuntimeError, match="domain"):
        fl.distance_estimate(metric, jnp.array([1.0]), jnp.array([-4.0]))


def test_a_path_with_a_potential_stays_in_the_domain_of_its_family():
    """From deep inside a corner of the domain, in the coordinates of a family, against the log-coordinates by hand."""
    family, start, end = families.Exponential(), jnp.array([1e-4]), jnp.array([50.0])

    def potential(rate):
        return 0.1 * jnp.log(rate[0]) ** 2

    def by_hand(t, u, w):
        return 0.5 * w[0] ** 2 - 0.1 * u[0] ** 2

    solution = fl.least_action_path(fl.FisherLagrangian(family, potential), start, end)
    expected = fl.least_action_path(by_hand, jnp.log(start), jnp.log(end))
    np.testing.assert_allclose(solution.action, expected.action, rtol=1e-12)
    np.testing.assert_allclose(solution.path(0.3), jnp.exp(expected.path(0.3)), rtol=1e-10)
