"""What is known along a path, and what becomes of whole paths."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag._charts import CoordinatewiseChart

TIMES = jnp.linspace(0.0, 2.0, 23)
UNEVEN = jnp.array([0.0, 0.1, 0.5, 1.2, 2.0])


def along(function, times=TIMES):
    return eqx.filter_jit(lambda function, times: jax.vmap(function)(times))(function, times)


def spiral(t):
    return {"x": jnp.exp(0.3 * t) * jnp.cos(t), "y": jnp.exp(0.3 * t) * jnp.sin(t)}


def half_plane(q):
    return jnp.eye(2) / q[1] ** 2


@pytest.fixture(scope="module")
def path():
    return fl.Path.from_function(spiral, knots=UNEVEN, degree=12)


@pytest.fixture(scope="module")
def charted():
    """exp(t^2) and t as polynomials in the free coordinates of a half-plane."""
    flat = fl.Path.from_function(lambda t: jnp.stack([t**2, t]), knots=UNEVEN, degree=2)
    return fl.Path(flat.knots, flat.start, flat.offsets, 2, flat.structure, CoordinatewiseChart((0.0, -jnp.inf)))


def assert_same_curve(one, other, rtol=1e-12, times=TIMES):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), along(one, times), other)


def test_acceleration_is_that_of_the_points(path, charted):
    exact = along(lambda t: jax.jvp(jax.jacfwd(spiral), (t,), (jnp.ones(()),))[1])
    assert_same_curve(path.acceleration, exact, rtol=1e-8)  # two derivatives of degree 12: 1e-15 12^4 / h^2
    exact = along(lambda t: jnp.stack([(2 + 4 * t**2) * jnp.exp(t**2), jnp.zeros_like(t)]))
    assert_same_curve(charted.acceleration, exact, rtol=1e-11)


def test_momentum_and_energy_are_those_of_the_motion(path):
    def charged(t, q, v):  # in a magnetic field of 3
        return (v["x"] ** 2 + v["y"] ** 2) / 2 + 1.5 * (q["x"] * v["y"] - q["y"] * v["x"])

    velocity = along(jax.jacfwd(spiral))
    q = along(spiral)
    momentum = {"x": velocity["x"] - 1.5 * q["y"], "y": velocity["y"] + 1.5 * q["x"]}
    assert_same_curve(lambda t: path.momentum(charged, t), momentum, rtol=1e-11)
    assert_same_curve(lambda t: path.energy(charged, t), (velocity["x"] ** 2 + velocity["y"] ** 2) / 2, rtol=1e-11)


def test_a_finer_mesh_and_a_higher_degree_change_no_point(path, charted):
    finer = jnp.sort(jnp.append(UNEVEN, jnp.array([0.3, 1.9])))
    for resampled in (path.resample(knots=finer), path.resample(degree=15)):
        assert_same_curve(resampled, along(path))
        assert_same_curve(resampled.velocity, along(path.velocity), rtol=1e-10)
    even = charted.resample(20)  # each knot is one of 20 equal elements
    assert (even.elements, even.degree, even.chart) == (20, 2, charted.chart)
    assert_same_curve(even, along(charted))


def test_a_coarser_mesh_interpolates_at_its_nodes(path):
    coarse = eqx.filter_jit(lambda path: path.resample(2, 5))(path)
    assert_same_curve(coarse, along(path, coarse.times), times=coarse.times)
    # 6 nodes on a unit of time: a sixth derivative of 1.09^6 / 6! times the product of distances, below 2e-5.
    assert_same_curve(coarse, along(spiral), rtol=1e-4)
    piece = path.resample(3, knots=None).resample(knots=jnp.array([0.5, 0.9]), degree=9)
    assert_same_curve(piece, along(path.resample(3), jnp.array([0.5, 0.7])), rtol=1e-9, times=jnp.array([0.5, 0.7]))
    assert np.isnan(path.resample(knots=jnp.array([0.0, 2.5])).offsets).any()
    with pytest.raises(ValueError, match="both came"):
        path.resample(2, knots=UNEVEN)


def test_the_length_of_a_spiral_grows_as_its_radius(path):
    factor = np.hypot(1.0, 0.3) / 0.3
    euclidean = fl.EuclideanMetric(1.0)
    np.testing.assert_allclose(path.arclength(euclidean), factor * np.expm1(0.6), rtol=1e-12)
    assert_same_curve(lambda t: path.arclength(euclidean, t), factor * np.expm1(0.3 * TIMES))
    assert_same_curve(jax.grad(lambda t: path.arclength(euclidean, t)), factor * 0.3 * np.exp(0.3 * TIMES), rtol=1e-9)
    assert np.isnan(path.arclength(euclidean, 2.1))


def test_the_length_of_a_path_in_a_chart_and_a_curved_metric(charted):
    vertical = fl.Path.from_function(lambda t: jnp.stack([jnp.zeros_like(t), jnp.exp(t)]), degree=12)
    np.testing.assert_allclose(vertical.arclength(half_plane), 1.0, rtol=1e-13)
    straight = fl.Metric(lambda q: jnp.diag(jnp.stack([1 / q[0] ** 2, jnp.ones_like(q[0])])))
    length = (2 * np.hypot(1, 4.0) + np.arcsinh(4.0) / 2) / 2  # of the parabola u = t^2 up to t = 2
    np.testing.assert_allclose(charted.arclength(straight, points=24), length, rtol=1e-11)


def test_a_path_at_rest_has_no_length_and_no_nan_in_its_derivative():
    rest = fl.Path.from_nodes(jnp.ones((3, 2)))
    length, slope = eqx.filter_value_and_grad(lambda path: path.arclength(fl.EuclideanMetric(1.0)))(rest)
    assert length == 0.0
    np.testing.assert_array_equal(slope.offsets, np.zeros((3, 2)))


@eqx.filter_jit
def at_constant_speed(path, metric):
    return path.at_constant_speed(metric, degree=16)


def test_at_constant_speed_time_is_length(path):
    euclidean = fl.EuclideanMetric(1.0)
    even = at_constant_speed(path, euclidean)
    exact = np.log1p(np.expm1(0.6) * TIMES / 2) / 0.3  # the time at which the spiral is that long
    assert_same_curve(even, along(spiral, exact), rtol=1e-11)
    assert_same_curve(even.knots.__getitem__, np.interp(UNEVEN, exact, TIMES), rtol=1e-2, times=jnp.arange(5))
    speed = along(lambda t: jnp.hypot(*jax.tree.leaves(even.velocity(t))))
    np.testing.assert_allclose(speed, path.arclength(euclidean) / 2, rtol=1e-9)


def test_corners_stay_corners_at_constant_speed():
    corner = fl.Path.from_nodes(jnp.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]]), t1=8.0)
    even = corner.at_constant_speed(fl.EuclideanMetric(4.0))
    np.testing.assert_allclose(even.knots, [0.0, 6.0, 8.0], rtol=1e-14)
    np.testing.assert_allclose(even.nodes, corner.nodes, atol=1e-14)
    assert np.isnan(corner.at_constant_speed(lambda q: 0.0 * jnp.eye(2))(1.0)).all()


def test_a_path_that_pauses_on_its_way_reaches_constant_speed():
    pausing = fl.Path.from_function(lambda t: jnp.stack([(t - 1.0) ** 3]), t1=2.0, elements=1, degree=3)
    even = pausing.at_constant_speed(fl.EuclideanMetric(1.0), degree=5)
    # Where the velocity vanishes to second order the time is known to the cube root of round-off, the point to it.
    np.testing.assert_allclose(even.nodes[:, 0], even.times - 1.0, atol=1e-13)


@pytest.mark.slow
def test_constant_speed_is_differentiable_twice_in_the_path_and_the_metric():
    def middle(parameters):
        scale, height = parameters
        curve = fl.Path.from_function(lambda t: jnp.stack([t**2, height + scale * t]), elements=2, degree=2)
        return curve.at_constant_speed(fl.Metric(lambda q: jnp.eye(2) / (scale * q[1]) ** 2))(0.37)[0]

    at, shifts = jnp.array([1.3, 0.7])[None], 1e-5 * jnp.eye(2)
    gradients = jax.jit(jax.vmap(jax.grad(middle)))(jnp.concatenate([at + shifts, at - shifts]))
    values = jax.jit(jax.vmap(middle))(jnp.concatenate([at + shifts, at - shifts]))
    # Central differences: step^2 and eps / step, below 1e-9 of derivatives of size 1.
    np.testing.assert_allclose((values[:2] - values[2:]) / 2e-5, gradients.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose((gradients[:2] - gradients[2:]) / 2e-5, jax.jit(jax.hessian(middle))(at[0]), atol=1e-8)


def test_reversed_runs_back(path, charted):
    for each in (path, charted):
        assert_same_curve(each.reversed(), along(each, 2.0 - TIMES))
        back = each.reversed().reversed()
        for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(each), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-14)


def test_concatenated_paths_follow_each_other(path):
    first, second = path.resample(knots=UNEVEN[:3]), path.resample(knots=UNEVEN[2:], degree=14)
    third = path.reversed()
    whole = fl.Path.concatenate(first, second, third)
    assert (whole.degree, whole.elements) == (14, 8)
    np.testing.assert_allclose(whole.knots, np.append(UNEVEN, 2.0 + third.knots[1:]), rtol=1e-15)
    assert_same_curve(whole, along(path))
    assert_same_curve(whole, along(path, 2.0 - TIMES), times=2.0 + TIMES)
    euclidean = fl.EuclideanMetric(1.0)
    np.testing.assert_allclose(whole.arclength(euclidean), 2 * path.arclength(euclidean), rtol=1e-12)


def test_paths_in_one_chart_can_be_joined(charted):
    halves = charted.resample(knots=UNEVEN[:3]), charted.resample(knots=UNEVEN[2:])
    assert_same_curve(fl.Path.concatenate(*halves), along(charted))
    other = eqx.tree_at(lambda path: path.chart, halves[1], CoordinatewiseChart((-1.0, 0.0)))
    with pytest.raises(ValueError, match="Path 2 is of another structure, precision or chart"):
        fl.Path.concatenate(halves[0], other)


def test_paths_that_do_not_meet_are_refused_or_nan(path):
    with pytest.raises(ValueError, match="Path 3 does not start where"):
        fl.Path.concatenate(path, path.reversed(), path.reversed())
    with pytest.raises(ValueError, match="Path 2 is of another structure"):
        fl.Path.concatenate(path, fl.Path.from_nodes(jnp.eye(2)))
    assert np.isnan(eqx.filter_jit(fl.Path.concatenate)(path, path).offsets).all()
    assert np.isfinite(eqx.filter_jit(fl.Path.concatenate)(path, path.reversed()).offsets).all()


def test_single_precision_stays(path):
    single = jax.tree.map(lambda x: x.astype(jnp.float32), path)
    metric = fl.EuclideanMetric(jnp.float32(1.0))
    results = [single.arclength(metric), single.arclength(metric, 1.0), single.acceleration(1.0)]
    results += [single.resample(3), single.reversed(), single.at_constant_speed(metric)]
    results += [fl.Path.concatenate(single, single.reversed())]
    assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(results[0], path.arclength(fl.EuclideanMetric(1.0)), rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))
