"""The second variation degenerates at the times that theory tells, and as often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import fimlag as fl
from fimlag._charts import CoordinatewiseChart
from fimlag._results import RESULTS

FREQUENCIES = jnp.array([1.0, 1.0, 1.7])


def oscillator(t, q, v):
    return (v @ v - (FREQUENCIES**2 * q) @ q) / 2


def found(lagrangian, motion, duration, **options):
    """The conjugate times of a motion whose polynomials of degree 12 err by less than round-off."""
    path = fl.Path.from_function(motion, 0.0, duration, elements=8, degree=12)
    return fl.conjugate_times(lagrangian, path, **options)


def assert_times(times, exact, atol=1e-11):
    """Tolerance: order 8 of 64 steps, (omega h)^9 / 4e7 each, and round-off of the path's second derivatives."""
    np.testing.assert_allclose(times[: len(exact)], exact, atol=atol)
    assert np.all(np.isnan(times[len(exact) :]))


def test_an_oscillator_has_a_time_for_each_half_period_of_each_direction():
    def motion(t):
        return jnp.stack([jnp.sin(t), jnp.zeros_like(t), 0.3 * jnp.cos(1.7 * t)])

    times = found(oscillator, motion, 7.0)
    assert_times(times.times, np.pi * np.array([1 / 1.7, 1, 1, 2 / 1.7, 3 / 1.7, 2, 2]))
    np.testing.assert_array_equal(times.multiplicities, [1, 2, 2, 1, 1, 2, 2, 0])
    assert times.count == 7


def test_a_charge_in_a_magnetic_field_returns_from_all_directions_at_once():
    def charge(t, q, v):
        return v @ v / 2 + (q[0] * v[1] - q[1] * v[0])

    times = found(charge, lambda t: jnp.stack([jnp.sin(2 * t), jnp.cos(2 * t)]), 5.0)
    assert_times(times.times, [np.pi] * 2)  # once round, 2 pi / B with B = 2
    assert times.multiplicities[0] == times.count == 2


def test_friction_in_the_lagrangian_delays_the_times():
    def damped(t, q, v):
        return jnp.exp(0.6 * t) * (v**2 - q**2)[0] / 2

    times = found(damped, lambda t: jnp.stack([jnp.exp(-0.3 * t)]) * jnp.sin(t), 10.0)
    assert_times(times.times, np.pi / np.sqrt(1 - 0.09) * np.arange(1, 4))


def test_a_circular_orbit_of_kepler_in_polar_coordinates():
    def kepler(t, q, v):
        return (v[0] ** 2 + (q[0] * v[1]) ** 2) / 2 + 1 / q[0]

    times = found(kepler, lambda t: jnp.stack([jnp.ones_like(t), t]), 14.0)
    # Hill's equations: what leaves the origin returns to it where 8 (1 - cos t) = 3 t sin t, so at t = 2 k pi and
    # where tan(t / 2) = 3 t / 8.
    between = [2 * brentq(lambda x: np.sin(x) - 0.75 * x * np.cos(x), k * np.pi, (k + 0.5) * np.pi) for k in (1, 2)]
    exact = [time for time in sorted([2 * np.pi, 4 * np.pi, *between]) if time < 14.0]
    assert_times(times.times, exact, atol=1e-9)
    assert times.count == len(exact)


def test_a_great_circle_of_a_sphere_meets_its_antipode_from_all_directions():
    sphere = fl.Metric(lambda q: 4 * jnp.eye(3, dtype=q.dtype) / (1 + q @ q) ** 2)
    times = found(fl.NaturalLagrangian(sphere), lambda t: jnp.stack([jnp.cos(t), jnp.sin(t), jnp.zeros_like(t)]), 7.0)
    assert_times(times.times, [np.pi] * 2 + [2 * np.pi] * 2)


def test_a_free_particle_has_none():
    times = found(lambda t, q, v: v["x"] @ v["x"] / 2, lambda t: {"x": jnp.stack([t, 1.0 - t])}, 50.0)
    assert times.count == 0
    assert np.all(np.isnan(times.times))
    np.testing.assert_array_equal(times.multiplicities, 0)


def test_times_do_not_depend_on_the_chart_of_the_path():
    flat = fl.Path.from_function(lambda t: jnp.stack([jnp.sin(t)]), knots=jnp.array([0.0, 0.7, 2.0, 4.0]), degree=18)
    path = fl.Path(flat.knots, flat.start, flat.offsets, 18, flat.structure, CoordinatewiseChart((0.0,)))
    times = fl.conjugate_times(lambda t, q, v: ((v[0] / q[0]) ** 2 - jnp.log(q[0]) ** 2) / 2, path)
    assert_times(times.times, [np.pi])


def quartic(t, q, v):
    return v @ v / 2 - (q @ q + (q @ q) ** 2 / 2) / 2


def test_the_count_is_the_morse_index_of_the_solver():
    durations = jnp.array([2.0, 4.0, 7.0, 10.5])

    @jax.jit
    @jax.vmap
    def both(duration):
        ends = jnp.array([0.2, 0.05]), jnp.array([0.1, -0.15])
        solution = fl.least_action_path(quartic, *ends, 0.0, duration, elements=16, stationary=True, throw=False)
        index = solution.morse_index
        times = fl.conjugate_times(quartic, solution.path, morse_index=index, throw=False)
        wrong = fl.conjugate_times(quartic, solution.path, morse_index=index + 1, throw=False)
        return solution.succeeded, index, times, wrong.result

    succeeded, index, times, wrong = both(durations)
    assert np.all(succeeded)
    assert np.all(times.succeeded)
    np.testing.assert_array_equal(times.count, index)
    assert np.all(np.diff(index) > 0)
    assert np.all(wrong == RESULTS.index_disagrees)


def test_times_are_differentiable_in_the_lagrangian_and_the_path():
    def first(omega, scale):
        path = fl.Path.from_function(lambda t: jnp.stack([scale * jnp.sin(omega * t)]), 0.0, 4.0, elements=4)

        def cubic(t, q, v):
            return (v[0] ** 2 - (omega * q[0]) ** 2) / 2 - q[0] ** 3 / 3

        return fl.conjugate_times(cubic, path, throw=False).times[0]

    value, (by_omega, by_scale) = jax.jit(jax.value_and_grad(first, (0, 1)))(1.1, 0.0)
    np.testing.assert_allclose(value, np.pi / 1.1, rtol=1e-9)
    np.testing.assert_allclose(by_omega, -np.pi / 1.21, rtol=1e-6)
    # First order in the force's gradient 2 q: the zero moves by int 2 q sin^2 / omega^2, over the slope squared, 1.
    mean = 2 * 4 / (3 * 1.1) / 1.1**2
    np.testing.assert_allclose(by_scale, -mean, rtol=1e-6)


def test_what_cannot_be_counted_is_reported():
    plane = fl.Path.from_nodes(jnp.stack([jnp.linspace(0.0, 1.0, 9)] * 2, axis=1), t1=3.0)
    saddle = fl.conjugate_times(lambda t, q, v: v[0] ** 2 - v[1] ** 2, plane, throw=False)
    assert saddle.result == RESULTS.indefinite_mass
    fast = fl.conjugate_times(lambda t, q, v: v @ v - 900 * q @ q, plane, steps=16, throw=False)
    assert fast.result == RESULTS.unresolved_variation
    with pytest.raises(Exception, match="runs backward"):
        fl.conjugate_times(lambda t, q, v: v @ v, plane.reversed().resample(knots=plane.knots[::-1]))
    with pytest.raises(ValueError, match="positive even integer"):
        fl.conjugate_times(lambda t, q, v: v @ v, plane, steps=7)
    with pytest.raises(TypeError, match="Forced"):
        fl.conjugate_times(fl.Forced(lambda t, q, v: v @ v, lambda t, q, v: -v), plane)


def test_single_precision_times():
    path = jax.tree.map(
        lambda x: x.astype(jnp.float32), fl.Path.from_function(lambda t: jnp.stack([jnp.sin(t)]), 0.0, 4.0)
    )
    times = fl.conjugate_times(lambda t, q, v: (v @ v - q @ q) / 2, path)
    assert times.times.dtype == jnp.float32
    np.testing.assert_allclose(times.times[0], np.pi, rtol=1e-5)
