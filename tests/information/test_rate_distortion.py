"""Rate-distortion functions against closed forms, and their bounds and derivatives against one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

HAMMING = 1.0 - jnp.eye(3)
GAP = 1e-11  # the tolerance in double precision


@jax.jit
def rate(source, distortion, level):
    return fl.rate_distortion(source, distortion, level, throw=False)


curve = jax.jit(jax.vmap(rate, (None, None, 0)))


def binary_entropy(p):
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def test_binary_source_has_the_difference_of_entropies():
    # a third symbol that never occurs changes nothing
    levels = np.array([1e-9, 1e-3, 0.1, 0.25, 0.299])
    solution = curve(jnp.array([0.3, 0.7, 0.0]), HAMMING, jnp.asarray(levels))
    assert np.all(solution.succeeded)
    np.testing.assert_allclose(solution.rate, binary_entropy(0.3) - binary_entropy(levels), atol=GAP)
    # the last barrier, 7e-13, keeps the distortion barrier / s below the level, where s falls as 1 / D; and a letter of
    # probability r moves by barrier / r
    slope = np.log((1 - levels) / levels)
    assert np.all(np.abs(solution.slope - slope) < 1e-12 / (slope * levels) + 1e-9 * slope)
    assert np.all(solution.distortion <= levels + 1e-16)
    assert np.all(solution.gap <= 2 * GAP)
    reproduction = (0.3 - levels) / (1 - 2 * levels)
    np.testing.assert_allclose(solution.reproduction[:, 0], reproduction, atol=1e-8)


def test_uniform_source_with_hamming_distortion_is_closed():
    levels = np.array([0.05, 0.3, 0.6])
    solution = curve(jnp.full(3, 1 / 3), HAMMING, jnp.asarray(levels))
    closed = np.log(3) - binary_entropy(levels) - levels * np.log(2)
    np.testing.assert_allclose(solution.rate, closed, atol=GAP)


def test_ends_of_the_curve_are_the_entropy_and_nothing():
    source = jnp.array([0.2, 0.3, 0.5])
    solution = curve(source, HAMMING, jnp.array([0.0, 0.5, 0.6, 50.0, -1e-3]))
    np.testing.assert_array_equal(solution.succeeded, [True] * 4 + [False])
    np.testing.assert_allclose(solution.rate[0], -jnp.sum(source * jnp.log(source)), atol=GAP)
    assert np.isinf(solution.slope[0])
    np.testing.assert_allclose(solution.test_channel[0], jnp.eye(3), atol=1e-15)
    np.testing.assert_allclose(solution.rate[1:4], 0.0, atol=2 * GAP)  # D_max = 0.5: always the commonest symbol
    np.testing.assert_allclose(solution.slope[2:4], 0.0, atol=1e-9)
    assert jax.tree_util.tree_map(lambda x: x[4], solution.result) == fl.RESULTS.unattainable
    assert np.isnan(solution.rate[4])


def test_erasures_cost_one_unit_and_errors_are_forbidden():
    erasing = jnp.array([[0.0, jnp.inf, 1.0], [jnp.inf, 0.0, 1.0], [1.0, 1.0, 0.0]])
    solution = rate(jnp.array([0.5, 0.5, 0.0]), erasing, 0.3)
    np.testing.assert_allclose(solution.rate, 0.7 * np.log(2), atol=GAP)


def test_units_and_offsets_of_the_distortion_do_not_matter():
    source = jnp.array([0.2, 0.3, 0.5])
    plain, moved = rate(source, HAMMING, 0.2), rate(source, 7.0 + 1e3 * HAMMING, 207.0)
    np.testing.assert_allclose(moved.rate, plain.rate, atol=GAP)
    np.testing.assert_allclose(moved.slope * 1e3, plain.slope, rtol=1e-9)
    np.testing.assert_allclose(moved.distortion, 207.0, atol=1e3 * GAP)


def test_derivatives_are_slope_divergence_and_test_channel():
    source, level = jnp.array([0.2, 0.3, 0.5]), jnp.array(0.2)
    solution = rate(source, HAMMING, level)
    gradient = jax.jit(jax.grad(lambda *at: fl.rate_distortion(*at, throw=False).rate, (0, 1, 2)))
    in_source, in_distortion, in_level = gradient(source, HAMMING, level)
    np.testing.assert_allclose(in_level, -solution.slope, rtol=1e-9)
    weights = solution.slope * source[:, None] * solution.test_channel
    np.testing.assert_allclose(in_distortion, weights, atol=1e-9)
    # on the simplex: p moves log alpha, closed for Hamming distortion with all letters in use: -log p - h(D) terms
    shift = jnp.array([1.0, -1.0, 0.0])
    np.testing.assert_allclose(in_source @ shift, np.log(0.3 / 0.2), rtol=1e-8)
    bend = jax.grad(lambda d: rate(source, HAMMING, d).slope)(level)
    np.testing.assert_allclose(bend, -1 / 0.2 - 1 / 0.8, rtol=1e-8)  # s = log((1 - D) / D) + log 2


@pytest.mark.slow
def test_normal_source_has_half_the_log_of_its_signal_to_noise_ratio():
    # trapezoids resolve the normal densities of the reproduction (variance 3/4) and of the source
    grid = jnp.linspace(-6.0, 6.0, 61)
    source = jax.nn.softmax(-0.5 * grid**2)
    squared = (grid[:, None] - grid[None]) ** 2
    solution = fl.rate_distortion(source, squared, 0.25)
    # the tail beyond 6 standard deviations and the shift of the discrete variance are below 1e-7
    np.testing.assert_allclose(solution.rate, 0.5 * np.log(4.0), atol=1e-7)
    np.testing.assert_allclose(solution.slope, 2.0, rtol=1e-6)  # 1 / (2 D)


rows = st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3)


@settings(max_examples=10)
@given(rows, st.lists(rows, min_size=3, max_size=3))
def test_curve_is_convex_and_falling_with_bounds_on_either_side(source, distortion):
    p, d = jnp.asarray(np.array(source) / np.sum(source)), jnp.asarray(distortion)
    least, most = float(p @ jnp.min(d, axis=1)), float(jnp.min(p @ d))
    levels = least + (most - least) * jnp.linspace(0.0, 1.1, 5)
    solution = curve(p, d, levels)
    assert np.all(solution.succeeded)
    assert np.all(np.diff(solution.rate) <= 2 * GAP)
    assert np.all(np.diff(solution.rate, 2) >= -6 * GAP)
    assert np.all(solution.lower_bound <= solution.rate + 1e-15)
    # the upper bound is the information of a channel that keeps the level
    joint = p[None, :, None] * solution.test_channel
    np.testing.assert_allclose(jax.vmap(fl.mutual_information)(joint), solution.rate, atol=1e-13)
    assert np.all(jnp.sum(joint * d[None], axis=(1, 2)) <= levels + 1e-14)


def test_single_precision_is_kept_and_mistakes_are_named():
    solution = fl.rate_distortion(jnp.full(3, 1 / 3, jnp.float32), HAMMING.astype(jnp.float32), 0.3)
    assert solution.rate.dtype == jnp.float32
    np.testing.assert_allclose(solution.rate, np.log(3) - binary_entropy(0.3) - 0.3 * np.log(2), atol=3e-5)
    assert rate(jnp.array([0.5, 0.6, 0.0]), HAMMING, 0.1).result == fl.RESULTS.out_of_range
    assert rate(jnp.array([0.5, 0.5, 0.0]), HAMMING, jnp.nan).result == fl.RESULTS.nonfinite
    with pytest.raises(ValueError, match="they have shapes"):
        fl.rate_distortion(jnp.ones(2) / 2, HAMMING, 0.1)
