"""Channel capacities against closed forms, bounds that share no code, and the convergence of the classic iteration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

GENERAL = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.05, 0.15, 0.8]])
CHANGE = jnp.array([[0.1, -0.1, 0.0], [0.0, 0.1, -0.1], [-0.02, 0.01, 0.01]])
GAP = 1e-11  # the tolerance in double precision


@jax.jit
def capacity(channel):
    return fl.channel_capacity(channel, throw=False)


def binary_entropy(p):
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def padded(channel):
    """The channel with inputs repeated and outputs never reached, of one shape: its capacity is the same."""
    channel = jnp.asarray(channel)
    channel = jnp.concatenate([channel, jnp.tile(channel[:1], (3 - channel.shape[0], 1))])
    return jnp.pad(channel, ((0, 0), (0, 3 - channel.shape[1])))


CHANNELS = {
    "binary symmetric": ([[0.9, 0.1], [0.1, 0.9]], np.log(2) - binary_entropy(0.1)),
    "almost useless": ([[0.501, 0.499], [0.499, 0.501]], np.log(2) - binary_entropy(0.499)),
    "erasure": ([[0.7, 0.3, 0.0], [0.0, 0.3, 0.7]], 0.7 * np.log(2)),
    "z": ([[1.0, 0.0], [0.3, 0.7]], np.log1p(0.7 * 0.3 ** (0.3 / 0.7))),
    "noiseless": (np.eye(3), np.log(3)),
    "constant": ([[0.2, 0.8], [0.2, 0.8]], 0.0),
    "useless input": ([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]], np.log(2) - binary_entropy(0.1)),
    "nearly useful input": ([[0.9, 0.1], [0.1, 0.9], [0.1 + 1e-9, 0.9 - 1e-9]], np.log(2) - binary_entropy(0.1)),
}


@pytest.fixture(scope="module")
def known():
    return jax.vmap(capacity)(jnp.stack([padded(channel) for channel, _ in CHANNELS.values()]))


def test_capacities_are_the_closed_ones_and_certified(known):
    expected = np.array([value for _, value in CHANNELS.values()])
    assert np.all(known.succeeded)
    np.testing.assert_allclose(known.capacity, expected, atol=GAP)
    assert np.all(known.gap <= GAP * (1 + expected))
    # either bound is rigorous, to round-off
    assert np.all(known.capacity <= expected + 1e-15)
    assert np.all(known.upper_bound >= expected - 1e-15)


def test_z_channel_has_its_known_input(known):
    z = list(CHANNELS).index("z")
    used = 1 / (0.3 ** (-0.3 / 0.7) + 0.7)
    np.testing.assert_allclose(known.inputs[z, 1], used, atol=GAP)


def test_inputs_in_use_are_equally_far_from_the_outputs(known):
    """The Kuhn-Tucker conditions: D(W_x || q) = C where p > 0, at most C elsewhere."""
    excess = np.asarray(known.divergences) - np.asarray(known.capacity)[:, None]
    assert np.all(excess <= GAP * 2)
    # p times the excess sums to 0 and each is at least minus the gap
    np.testing.assert_allclose(np.asarray(known.inputs) * excess, 0.0, atol=GAP)


def test_capacity_is_closed_in_where_the_classic_iteration_crawls():
    # an input that is useless by a hair: Blahut's and Arimoto's gap falls as 1/n
    channel = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]) + np.array([[0, 0], [0, 0], [1e-3, -1e-3]])
    solution = capacity(padded(channel))
    p = np.full(3, 1 / 3)
    for _ in range(1000):
        divergence = np.sum(channel * np.log(channel / (p @ channel)), axis=1)
        p = p * np.exp(divergence)
        p /= p.sum()
    classic_gap = np.max(divergence) - np.log(np.sum(p * np.exp(divergence)))
    assert classic_gap > 1e-8
    assert float(solution.gap) < GAP * 2
    assert float(solution.inputs[2]) < 1e-7
    assert int(solution.iterations) < 60


def test_gradient_is_the_log_ratio_weighted_by_the_inputs():
    solution = capacity(GENERAL)
    gradient = jax.jit(jax.grad(lambda w: fl.channel_capacity(w, throw=False).capacity))(GENERAL)
    expected = solution.inputs[:, None] * jnp.log(GENERAL / solution.outputs[None])
    np.testing.assert_allclose(gradient, expected, atol=1e-10)


@jax.jit
def along(t):
    solution = fl.channel_capacity(GENERAL + t * CHANGE, throw=False)
    return solution.capacity, solution.inputs


@pytest.mark.slow
def test_inputs_and_curvature_differentiate_implicitly():
    step = 1e-4
    ahead, here, behind = along(step), along(0.0), along(-step)
    slope, rate = jax.jvp(along, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slope, (ahead[0] - behind[0]) / (2 * step), rtol=1e-6)  # central differences: step^2
    np.testing.assert_allclose(rate, (ahead[1] - behind[1]) / (2 * step), rtol=1e-6)
    second = jax.grad(jax.grad(lambda t: along(t)[0]))(0.0)
    # a second difference has round-off 1e-15 over step^2
    np.testing.assert_allclose(second, (ahead[0] + behind[0] - 2 * here[0]) / step**2, rtol=1e-5)


@jax.jit
def priced(budget):
    return fl.channel_capacity(GENERAL, cost=jnp.array([0.0, 1.0, 3.0]), budget=budget, throw=False)


def test_capacity_under_a_budget_is_concave_with_the_multiplier_as_slope():
    budgets = jnp.array([0.0, 0.2, 0.8, 1.2, 5.0, -0.1])
    solution = jax.vmap(priced)(budgets)
    np.testing.assert_array_equal(solution.succeeded, [True] * 5 + [False])
    assert jax.tree_util.tree_map(lambda x: x[5], solution.result) == fl.RESULTS.unattainable
    assert np.isnan(solution.capacity[5])
    assert np.all(solution.expected_cost[:5] <= budgets[:5] + 1e-14)
    np.testing.assert_allclose(solution.capacity[0], 0.0, atol=GAP)  # one free input
    np.testing.assert_allclose(solution.capacity[4], capacity(GENERAL).capacity, atol=3 * GAP)
    np.testing.assert_allclose(solution.cost_multiplier[4], 0.0, atol=GAP)
    slope = jax.vmap(jax.grad(lambda b: priced(b).capacity))(budgets[1:4])
    np.testing.assert_allclose(slope, solution.cost_multiplier[1:4], rtol=1e-8)
    assert np.all(np.diff(solution.cost_multiplier[1:5]) <= 0)


@pytest.mark.slow
def test_gaussian_channel_under_a_power_limit_has_shannons_capacity():
    # inputs and outputs on grids: trapezoids resolve normal densities beyond all digits, and what inputs beyond 4.8
    # standard deviations would add is below their probability times their energy, 1.6e-6 * 24
    inputs, outputs = jnp.linspace(-4.8, 4.8, 33), jnp.linspace(-9.5, 9.5, 77)
    channel = jax.nn.softmax(-0.5 * (inputs[:, None] - outputs[None]) ** 2, axis=1)
    solution = fl.channel_capacity(channel, cost=inputs**2, budget=1.0)
    np.testing.assert_allclose(solution.capacity, 0.5 * np.log(2), atol=4e-5)
    np.testing.assert_allclose(solution.cost_multiplier, 0.25, atol=4e-4)  # 1 / (2 (P + N))


probabilities = st.lists(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), min_size=3, max_size=3)


def stochastic(rows):
    return jnp.asarray(np.array(rows) / np.sum(rows, axis=1, keepdims=True))


@settings(max_examples=10)
@given(probabilities, probabilities, st.permutations(range(3)), st.permutations(range(3)))
def test_capacity_is_blind_to_names_and_falls_in_cascades(first, second, rows, columns):
    first, second = stochastic(first), stochastic(second)
    value, renamed, cascade, other = (
        float(capacity(w).capacity)
        for w in (first, first[jnp.array(rows)][:, jnp.array(columns)], first @ second, second)
    )
    np.testing.assert_allclose(renamed, value, atol=2 * GAP)
    assert cascade <= min(value, other) + 2 * GAP  # the data-processing inequality


def test_single_precision_is_kept_and_mistakes_are_named():
    solution = fl.channel_capacity(GENERAL.astype(jnp.float32))
    assert solution.capacity.dtype == jnp.float32
    np.testing.assert_allclose(solution.capacity, capacity(GENERAL).capacity, atol=2e-5)
    assert capacity(GENERAL.at[0, 0].set(0.8)).result == fl.RESULTS.out_of_range
    assert capacity(GENERAL.at[0, 0].set(jnp.nan)).result == fl.RESULTS.nonfinite
    with pytest.raises(ValueError, match="give both"):
        fl.channel_capacity(GENERAL, cost=jnp.ones(3))
    with pytest.raises(ValueError, match="budget shape"):
        fl.channel_capacity(GENERAL, cost=jnp.ones(2), budget=1.0)
    with pytest.raises(Exception, match="iteration limit"):
        fl.channel_capacity(GENERAL, max_iterations=3)
