"""Heat and Fokker-Planck flows: closed forms, de Bruijn's identity, dissipation, and densities that a grid loses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

GRID = fl.LineGrid(scale=1.2, size=160)
PLANE = fl.ProductGrid(fl.LineGrid(scale=0.8, size=64), fl.LineGrid(scale=0.9, size=64))
MEANS, WEIGHTS = jnp.array([-0.7, 0.9]), jnp.array([0.35, 0.65])

estimate = eqx.filter_jit(fl.functional_estimate)


def mixture(x, time=0.0):
    """A mixture of normals of variances 0.8 and 1.3, after heat flow."""
    scales = jnp.sqrt(jnp.array([0.8, 1.3]) + time)
    return jnp.sum(WEIGHTS * jax.scipy.stats.norm.pdf(x, MEANS, scales))


def on_the_plane(x, time=0.0):
    """A correlated mixture in two dimensions, after heat flow."""
    first = jnp.array([[1.0, 0.3], [0.3, 0.9]]) + time * jnp.eye(2)
    second = jnp.array([[0.8, -0.2], [-0.2, 1.4]]) + time * jnp.eye(2)
    density = jax.scipy.stats.multivariate_normal.pdf
    return 0.4 * density(x, jnp.array([0.5, 0.0]), first) + 0.6 * density(x, jnp.array([-0.4, 0.3]), second)


def nodes(density, grid, *arguments):
    flat = grid.points.reshape((-1, *grid.points.shape[grid.weights.ndim :]))
    return jax.vmap(lambda x: density(x, *arguments))(flat).reshape(grid.weights.shape)


@pytest.mark.parametrize(("density", "grid"), [(mixture, GRID), (on_the_plane, PLANE)], ids=["line", "plane"])
def test_heat_flow_convolves_with_a_normal(density, grid):
    start = nodes(density, grid)
    for time in (0.0, 1e-3, 0.3, 1.0):
        found = estimate(fl.heat_flow, start, grid, jnp.asarray(time))
        # Spectral: what 64 functions leave of the plane's density is below 1e-9 of its largest value.
        np.testing.assert_allclose(found.value, nodes(density, grid, time), atol=1e-9)
        assert found.error_estimate < 1e-7


@pytest.mark.parametrize(("density", "grid"), [(mixture, GRID), (on_the_plane, PLANE)], ids=["line", "plane"])
def test_entropy_grows_at_half_the_fisher_information(density, grid):
    """De Bruijn's identity, by central differences of order 2, whose error falls as h squared."""
    start = nodes(density, grid)

    @jax.jit
    def entropy(time):
        return fl.differential_entropy(fl.heat_flow(start, grid, time), grid)

    half = 0.5 * estimate(fl.fisher_functional, nodes(density, grid, 0.4), grid).value
    errors = [abs((entropy(0.4 + h) - entropy(0.4 - h)) / (2.0 * h) - half) for h in (0.2, 0.1, 0.05)]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    np.testing.assert_allclose(orders, 2.0, atol=0.15)
    # The derivative of the flow itself leaves no error of differences.
    assert abs(jax.jit(jax.grad(entropy))(0.4) / half - 1.0) < 1e-8


def test_heat_flow_wraps_on_a_circle_and_reflects_at_free_ends():
    turn, inside = fl.CircleGrid(0.0, 2.0), fl.IntervalGrid(0.0, 1.0, ends="free")
    for grid in (turn, inside):
        start = 1.0 + 0.5 * jnp.cos(jnp.pi * grid.points)
        start = start / jnp.sum(grid.weights * start)
        found = estimate(fl.heat_flow, start, grid, jnp.asarray(0.3))
        mean = 1.0 / jnp.sum(grid.weights)
        np.testing.assert_allclose(found.value - mean, (start - mean) * np.exp(-0.5 * np.pi**2 * 0.3), atol=1e-10)


def test_mass_that_the_grid_loses_is_reported():
    start = nodes(mixture, GRID)
    cut = fl.IntervalGrid(-8.0, 8.0, size=80, ends="cut")
    wall = fl.IntervalGrid(-1.0, 1.0)
    confined = jnp.cos(0.5 * jnp.pi * wall.points) ** 2
    for density, grid, time, result in (
        (start, GRID, 400.0, "unresolved_density"),
        (nodes(mixture, cut), cut, 6.0, "unresolved_density"),
        (confined, wall, 0.1, "unresolved_density"),
        (2.0 * start, GRID, 0.1, "unresolved_density"),
        (jax.scipy.stats.norm.pdf(GRID.points, 0.0, 0.05), GRID, 0.1, "unresolved_density"),
        (start, GRID, -0.1, "out_of_range"),
        (start * jnp.nan, GRID, 0.1, "nonfinite"),
    ):
        found = estimate(fl.heat_flow, density, grid, jnp.asarray(time), throw=False)
        assert found.result == getattr(fl.RESULTS, result)
        assert jnp.all(jnp.isnan(found.checked_value))


def ornstein_uhlenbeck(x):
    return 0.5 * x**2


def double_well(x):
    return 0.25 * x**4 - 0.5 * x**2 + 0.2 * x


def test_ornstein_uhlenbeck_flow_of_a_normal_is_normal():
    start = jax.scipy.stats.norm.pdf(GRID.points, 0.6, 0.9)
    for time in (0.0, 0.5, 3.0):
        found = estimate(fl.fokker_planck_flow, start, GRID, ornstein_uhlenbeck, jnp.asarray(time))
        scale = np.sqrt(1.0 + (0.81 - 1.0) * np.exp(-2.0 * time))
        expected = jax.scipy.stats.norm.pdf(GRID.points, 0.6 * np.exp(-time), scale)
        np.testing.assert_allclose(found.value, expected, atol=1e-10)


def test_relative_entropy_decays_at_the_relative_fisher_information():
    """The dissipation of a Fokker-Planck flow, and the rate that the logarithmic Sobolev inequality bounds it by."""
    start = jax.scipy.stats.norm.pdf(GRID.points, 0.6, 0.9)

    @jax.jit
    def along(time):
        def divergence(time):
            later = fl.fokker_planck_flow(start, GRID, ornstein_uhlenbeck, time)
            return fl.relative_entropy(later, GRID, ornstein_uhlenbeck)

        later = fl.fokker_planck_flow(start, GRID, ornstein_uhlenbeck, time)
        information = fl.relative_fisher_functional(later, GRID, ornstein_uhlenbeck)
        return divergence(time), jax.grad(divergence)(time), information

    divergences, slopes, informations = jax.vmap(along)(jnp.array([0.0, 0.4, 0.8]))
    np.testing.assert_allclose(slopes, -informations, rtol=1e-8)
    assert jnp.all(informations > 2.0 * divergences)
    assert jnp.all(divergences[1:] < divergences[:-1] * np.exp(-2.0 * 0.4))


def test_dissipation_in_a_double_well_by_differences():
    """Against central differences of order 4, in a potential without a closed form."""
    grid = fl.LineGrid(scale=0.7, size=120)
    gibbs, start = (jnp.exp(-double_well(grid.points) - tilt * grid.points) for tilt in (0.0, 0.6))
    gibbs, start = (values / jnp.sum(values * grid.weights) for values in (gibbs, start))

    @jax.jit
    @jax.vmap
    def divergence(time):
        return fl.relative_entropy(fl.fokker_planck_flow(start, grid, double_well, time), grid, double_well)

    later = estimate(fl.fokker_planck_flow, start, grid, double_well, jnp.asarray(0.3)).value
    information = estimate(fl.relative_fisher_functional, later, grid, double_well).value
    steps = jnp.array([0.02, 0.01])
    values = divergence(0.3 + jnp.outer(jnp.array([-2.0, -1.0, 1.0, 2.0]), steps).reshape(-1)).reshape(4, 2)
    errors = jnp.array([1.0, -8.0, 8.0, -1.0]) @ values / (12.0 * steps) + information
    assert abs(jnp.log2(errors[0] / errors[1]) - 4.0) < 0.15
    assert abs(errors[1] / information) < 1e-6
    # A long time on, the Gibbs density is left.
    rest = estimate(fl.fokker_planck_flow, start, grid, double_well, jnp.asarray(200.0)).value
    np.testing.assert_allclose(rest, gibbs, atol=1e-10)


def test_a_flow_in_the_plane_and_one_between_walls():
    plane = fl.ProductGrid(fl.LineGrid(size=20), fl.LineGrid(size=20))
    normal = jax.scipy.stats.norm.pdf
    start = normal(plane.points[..., 0], 0.2, 1.0) * normal(plane.points[..., 1], -0.1, 0.9)

    def bowl(x):
        return 0.5 * jnp.sum(x**2)

    later = estimate(fl.fokker_planck_flow, start, plane, bowl, jnp.asarray(0.5)).value
    means = [jnp.sum(plane.weights * later * plane.points[..., i]) for i in range(2)]
    np.testing.assert_allclose(means, np.exp(-0.5) * np.array([0.2, -0.1]), atol=1e-9)
    # Reflected between free ends, the exponential density is the rest state of a constant force.
    box = fl.IntervalGrid(0.0, 1.0, size=40, ends="free")
    rest = estimate(fl.fokker_planck_flow, jnp.ones_like(box.points), box, lambda x: 3.0 * x, jnp.asarray(20.0)).value
    np.testing.assert_allclose(rest, 3.0 * jnp.exp(-3.0 * box.points) / (1.0 - np.exp(-3.0)), atol=1e-10)


def test_tails_heavier_than_those_of_the_gibbs_density_are_reported():
    start = jax.scipy.stats.norm.pdf(GRID.points, 0.0, 1.6)
    for potential in (ornstein_uhlenbeck, double_well):
        found = estimate(fl.fokker_planck_flow, start, GRID, potential, jnp.asarray(0.1), throw=False)
        assert found.result == fl.RESULTS.unresolved_density
