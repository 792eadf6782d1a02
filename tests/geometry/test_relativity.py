"""Lorentzian metrics: nothing here needs a positive one."""

import jax
import jax.numpy as jnp
import numpy as np

import fimlag as fl

MASS, RADIUS, ANGLE = 1.3, 7.0, 1.1


def schwarzschild(q):
    _, r, polar, _ = q
    horizon = 1.0 - 2.0 * MASS / r
    return jnp.diag(jnp.stack([-horizon, 1.0 / horizon, r**2, (r * jnp.sin(polar)) ** 2]))


def metric_in_other_units(q):
    """The same space-time times a conformal factor."""
    return jnp.exp(jnp.sin(q[1]) + 0.1 * q[0] * q[2]) * schwarzschild(q)


POINT = jnp.array([0.2, RADIUS, ANGLE, 0.3])


@jax.jit
def tensors(q):
    return {
        "symbols": fl.christoffel(schwarzschild, q),
        "riemann": fl.riemann_curvature(schwarzschild, q),
        "ricci": fl.ricci_curvature(schwarzschild, q),
        "scalar": fl.scalar_curvature(schwarzschild, q),
        "einstein": fl.einstein_tensor(schwarzschild, q),
        "kretschmann": fl.kretschmann(schwarzschild, q),
        "weyl": fl.weyl_curvature(metric_in_other_units, q),
        "wave": fl.laplace_beltrami(schwarzschild, lambda q: jnp.log(1.0 - 2.0 * MASS / q[1]), q),
    }


def test_schwarzschild_has_the_published_symbols():
    expected, horizon = np.zeros((4, 4, 4)), 1 - 2 * MASS / RADIUS
    expected[0, 0, 1] = expected[0, 1, 0] = MASS / (RADIUS**2 * horizon)
    expected[1, 0, 0] = MASS * horizon / RADIUS**2
    expected[1, 1, 1] = -MASS / (RADIUS**2 * horizon)
    expected[1, 2, 2] = -RADIUS * horizon
    expected[1, 3, 3] = -RADIUS * horizon * np.sin(ANGLE) ** 2
    expected[2, 1, 2] = expected[2, 2, 1] = expected[3, 1, 3] = expected[3, 3, 1] = 1 / RADIUS
    expected[2, 3, 3] = -np.sin(ANGLE) * np.cos(ANGLE)
    expected[3, 2, 3] = expected[3, 3, 2] = 1 / np.tan(ANGLE)
    # Misner, Thorne & Wheeler (1973), chapter 31; round-off of entries up to 6.
    np.testing.assert_allclose(tensors(POINT)["symbols"], expected, atol=1e-14)


def test_empty_space_is_flat_to_ricci_and_not_to_riemann():
    found = tensors(POINT)
    for name in ("ricci", "scalar", "einstein"):
        # Round-off of terms of size 1.
        np.testing.assert_allclose(found[name], 0.0, atol=1e-14)
    np.testing.assert_allclose(found["kretschmann"], 48 * MASS**2 / RADIUS**6, rtol=1e-12)
    # log(1 - 2M/r) is harmonic outside the horizon.
    np.testing.assert_allclose(found["wave"], 0.0, atol=1e-15)


def test_conformal_factor_leaves_the_weyl_tensor():
    found = tensors(POINT)
    # Of a Ricci-flat metric the Weyl tensor is the Riemann tensor; entries up to r^2 / r^3, products of them up to 50.
    np.testing.assert_allclose(found["weyl"], found["riemann"], atol=1e-12)


def test_circular_orbits_keep_kepler_and_light():
    @jax.jit
    def radial(r, rate):
        q = jnp.stack([jnp.zeros_like(r), r, jnp.full_like(r, jnp.pi / 2), jnp.zeros_like(r)])
        velocity = jnp.stack([jnp.ones_like(r), jnp.zeros_like(r), jnp.zeros_like(r), rate])
        matrix = schwarzschild(q)
        return fl.geodesic_acceleration(schwarzschild, q, velocity), velocity @ matrix @ velocity

    # Kepler's third law in Schwarzschild's time; light circles at r = 3 M.
    acceleration, squared = radial(jnp.asarray(10.0), jnp.sqrt(MASS / 10.0**3))
    np.testing.assert_allclose(acceleration, 0.0, atol=1e-15)
    assert squared < 0.0
    acceleration, squared = radial(jnp.asarray(3 * MASS), jnp.sqrt(MASS / (3 * MASS) ** 3))
    np.testing.assert_allclose([*acceleration, squared], 0.0, atol=1e-15)


def test_tidal_curvatures_of_schwarzschild():
    sectional = jax.jit(lambda u, w: fl.sectional_curvature(schwarzschild, POINT, u, w))
    t, r, polar, azimuth = jnp.eye(4)
    tide = MASS / RADIUS**3
    for u, w, expected in ((t, r, 2.0), (polar, azimuth, 2.0), (r, polar, -1.0), (t, azimuth, -1.0)):
        np.testing.assert_allclose(sectional(u, w + 0.3 * u), expected * tide, rtol=1e-11)
    # A plane that touches the light cone has no curvature.
    light = t + r * (1.0 - 2.0 * MASS / RADIUS)
    assert np.isnan(sectional(light, polar))
