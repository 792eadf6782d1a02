"""Minimum energy paths and rates of escape, against known saddles, closed forms and exact mean times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import fimlag as fl
from fimlag.problems import MuellerBrown

NORTH, SOUTH = jnp.array([0.1, 1.1]), jnp.array([0.2, -0.9])


def ring(q, height=1.0):
    """A circular valley of radius 1 with minima at its north and south, saddles at its east and west."""
    return 10 * (jnp.hypot(q[0], q[1]) - 1) ** 2 + height * jnp.cos(2 * jnp.arctan2(q[1], q[0]))


def test_mueller_browns_minima_and_pass_are_found():
    potential = MuellerBrown()
    found = fl.minimum_energy_path(potential, jnp.array([-0.6, 1.4]), jnp.array([0.6, 0.0]))
    np.testing.assert_allclose(found.start, potential.minima[0], atol=1e-6)  # the digits of the table
    np.testing.assert_allclose(found.end, potential.minima[1], atol=1e-6)
    np.testing.assert_allclose(found.saddle, potential.saddles[0], atol=1e-6)
    np.testing.assert_allclose(potential(found.saddle), -40.664844, atol=1e-6)
    assert int(found.saddle_index) == 1
    assert float(found.residual) < 1e-9
    np.testing.assert_allclose(found.path(0.0), found.start, rtol=1e-12)


def test_a_valley_along_a_circle_is_followed_to_fourth_order():
    errors = []
    for images in (9, 17):
        found = fl.minimum_energy_path(ring, NORTH, SOUTH, images=images)
        radius = jnp.linalg.norm(found.path.nodes[::3], axis=1)
        errors.append(float(jnp.max(jnp.abs(radius - 1))))
        np.testing.assert_allclose(found.saddle, jnp.array([1.0, 0.0]), atol=1e-10)
        np.testing.assert_allclose(found.barrier, 2.0, rtol=1e-12)
    assert abs(np.log2(errors[0] / errors[1]) - 4) < 0.15


@pytest.mark.slow
def test_path_and_barrier_differentiate_implicitly():
    def solve(height):
        found = fl.minimum_energy_path(
            lambda q: ring(q, height) + 0.3 * height * q[0] * q[1], NORTH, SOUTH, images=9, throw=False
        )
        return found.barrier, found.saddle, found.path(0.3)

    slopes = jax.jit(jax.jacfwd(solve))(1.2)
    backward = jax.jit(jax.grad(lambda height: solve(height)[2][0]))(1.2)
    above, below = (jax.jit(solve)(1.2 + step) for step in (1e-5, -1e-5))
    for slope, high, low in zip(slopes, above, below, strict=True):
        np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-6, atol=1e-8)  # step^2, eps / step
    np.testing.assert_allclose(backward, slopes[2][0], rtol=1e-9)


def test_a_failing_member_fails_alone_and_says_why():
    ends = jnp.stack([SOUTH, NORTH + 0.1])
    found = jax.jit(jax.vmap(lambda end: fl.minimum_energy_path(ring, NORTH, end, images=9, throw=False)))(ends)
    assert list(np.asarray(found.succeeded)) == [True, False]
    with pytest.raises(RuntimeError, match="different basins"):
        fl.minimum_energy_path(ring, NORTH, NORTH + 0.1, images=9)
    with pytest.raises(ValueError, match="five images"):
        fl.minimum_energy_path(ring, NORTH, SOUTH, images=3)


def test_rate_of_escape_tends_to_the_exact_mean_time():
    def well(x):
        return 0.25 * (x**2 - 1) ** 2

    errors = []
    for noise in (0.1, 0.05):
        inner = lambda y: quad(lambda z: np.exp(-2 * well(z) / noise), -np.inf, y)[0]  # noqa: B023, E731
        outer = quad(lambda y: np.exp(2 * well(y) / noise) * inner(y), -1, 1, points=[0.0])[0]  # noqa: B023
        exact = 2 / noise * outer
        rate = fl.eyring_kramers_rate(lambda q: well(q[0]), jnp.array([-1.0]), jnp.array([0.0]), noise)
        errors.append(abs(float(rate) * exact - 1))
    assert errors[1] < 0.06
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.3  # the error is of first order in the noise
    assert jnp.isnan(fl.eyring_kramers_rate(lambda q: well(q[0]), jnp.array([0.0]), jnp.array([-1.0]), 0.1))
