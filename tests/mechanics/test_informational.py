"""Lagrangians of noisy motion: their closed forms, and that they do not depend on coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

MATRIX = jnp.array([[2.0, 0.5], [0.5, 1.0]])
POINT, VELOCITY = jnp.array([0.7, -0.4]), jnp.array([0.3, 1.1])
NOISE = 0.3


def drift(q):
    return jnp.stack([q[0] - q[0] ** 3 - q[0] * q[1] ** 2, -(1 + q[0] ** 2) * q[1]])


@pytest.mark.parametrize("diffusion", [2.0, jnp.array([2.0, 0.5]), MATRIX], ids=["number", "vector", "matrix"])
def test_freidlin_wentzell_is_half_the_squared_deviation_in_the_inverse_diffusion(diffusion):
    full = diffusion if jnp.ndim(diffusion) == 2 else jnp.diag(jnp.broadcast_to(diffusion, (2,)))
    deviation = VELOCITY - drift(POINT)
    expected = 0.5 * deviation @ jnp.linalg.inv(full) @ deviation
    for given in (diffusion, lambda q: diffusion):
        np.testing.assert_allclose(fl.FreidlinWentzell(drift, given)(0.0, POINT, VELOCITY), expected, rtol=1e-14)
    divergence = 1 - 3 * POINT[0] ** 2 - POINT[1] ** 2 - 1 - POINT[0] ** 2
    onsager_machlup = fl.OnsagerMachlup(drift, diffusion, NOISE)(0.0, POINT, VELOCITY)
    np.testing.assert_allclose(onsager_machlup, expected + NOISE / 2 * divergence, rtol=1e-14)


def test_a_pytree_of_coordinates_is_the_same_motion():
    tree = fl.FreidlinWentzell(lambda q: {"x": -q["x"], "y": q["x"] * q["y"]}, MATRIX)
    flat = fl.FreidlinWentzell(lambda q: jnp.stack([-q[0], q[0] * q[1]]), MATRIX)
    split = [{"x": z[0], "y": z[1]} for z in (POINT, VELOCITY)]
    np.testing.assert_allclose(tree(0.0, *split), flat(0.0, POINT, VELOCITY), rtol=1e-14)


def transformed(drift, covariance, to_new, to_old):
    """Drift and diffusion of Y = to_new(X) by Ito's formula."""

    def new_drift(y):
        x = to_old(y)
        second = jax.hessian(to_new)(x)
        return jax.jacfwd(to_new)(x) @ drift(x) + NOISE / 2 * jnp.einsum("iab,ab->i", second, covariance(x))

    def new_covariance(y):
        jacobian = jax.jacfwd(to_new)(to_old(y))
        return jacobian @ covariance(to_old(y)) @ jacobian.T

    return new_drift, new_covariance


def curved(q):
    return jnp.diag(jnp.stack([1 + q[1] ** 2, jnp.exp(q[0])])) + 0.3


@pytest.mark.parametrize("covariance", [lambda q: MATRIX, curved], ids=["flat", "curved"])
def test_onsager_machlup_does_not_depend_on_the_coordinates(covariance):
    def to_new(x):
        return jnp.stack([x[0] + 0.2 * x[1] ** 2, jnp.sinh(x[1])])

    def to_old(y):
        second = jnp.arcsinh(y[1])
        return jnp.stack([y[0] - 0.2 * second**2, second])

    there = fl.OnsagerMachlup(*transformed(drift, covariance, to_new, to_old), NOISE)
    value = there(0.0, *jax.jvp(to_new, (POINT,), (VELOCITY,)))
    flat = fl.OnsagerMachlup(drift, MATRIX, NOISE)(0.0, POINT, VELOCITY)
    here = flat if covariance is not curved else fl.OnsagerMachlup(drift, curved, NOISE)(0.0, POINT, VELOCITY)
    np.testing.assert_allclose(value, here, rtol=1e-12)


def test_brownian_motion_of_the_hyperbolic_plane_feels_its_curvature():
    # Its generator is half the Laplacian y^2 (d_xx + d_yy) / 2: no drift in Ito's sense, none as a vector field.
    plane = fl.OnsagerMachlup(lambda q: jnp.zeros(2), lambda q: q[1] ** 2, NOISE)
    at = jnp.array([0.2, 1.7])
    expected = 0.5 * VELOCITY @ VELOCITY / at[1] ** 2 + NOISE**2 / 6  # R = -2
    np.testing.assert_allclose(plane(0.0, at, VELOCITY), expected, rtol=1e-12)


def test_geometric_brownian_motion_is_brownian_in_the_logarithm():
    mu, sigma = 0.4, 0.6
    price = fl.OnsagerMachlup(lambda q: mu * q, lambda q: sigma**2 * q**2, NOISE)
    rate = mu - NOISE * sigma**2 / 2
    expected = 0.5 * (1.3 / 2.0 - rate) ** 2 / sigma**2
    np.testing.assert_allclose(price(0.0, jnp.array([2.0]), jnp.array([1.3])), expected, rtol=1e-13)


def test_bad_noise_is_refused():
    for diffusion in (
        -1.0,
        jnp.array([1.0, 0.0]),
        jnp.array([[1.0, 2.0], [2.0, 1.0]]),
        jnp.array([[1.0, 0.5], [0, 1.0]]),
    ):
        with pytest.raises(ValueError, match="positive"):
            fl.FreidlinWentzell(drift, diffusion)
    with pytest.raises(ValueError, match="shape"):
        fl.FreidlinWentzell(drift, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="expected"):
        fl.FreidlinWentzell(drift, jnp.ones(3))(0.0, POINT, VELOCITY)
    with pytest.raises(ValueError, match="drift"):
        fl.FreidlinWentzell(lambda q: q[:1], 1.0)(0.0, POINT, VELOCITY)
    indefinite = fl.FreidlinWentzell(drift, lambda q: jnp.diag(jnp.array([1.0, -1.0])))
    assert jnp.isnan(indefinite(0.0, POINT, VELOCITY))


def test_single_precision_stays_single():
    point, velocity = POINT.astype(jnp.float32), VELOCITY.astype(jnp.float32)
    for diffusion in (2.0, MATRIX, lambda q: q[1] ** 2):
        assert fl.OnsagerMachlup(drift, diffusion, NOISE)(0.0, point, velocity).dtype == jnp.float32
