"""Parallel transport is an isometry, turns by the curvature enclosed, and respects the duality of connections."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

SPHERE = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), jnp.sin(q[0]) ** 2])))
HALF_PLANE = fl.Metric(lambda q: jnp.eye(2, dtype=q.dtype) / q[1] ** 2)
NORMAL = fl.families.Normal()


def helix(t):
    return jnp.stack([jnp.cos(2 * t), jnp.sin(3 * t), t])


def unbend(q):
    """Cartesian coordinates of curved ones."""
    return jnp.stack([q[0] + 0.3 * jnp.sin(q[1]), q[1] * jnp.exp(0.2 * q[2]), q[2] + 0.2 * q[0] * q[1]])


INTERVALS = np.array([[0.0, 1.0], [0.0, 0.5], [0.5, 1.0], [0.0, 12.0]])


@pytest.fixture(scope="module")
def carried():
    """Flat space in curved coordinates, and transport in 16 steps on each interval, the last of them too long."""
    metric = fl.PullbackMetric(fl.EuclideanMetric(1.0), unbend)

    def carry(ends):
        found = fl.transport_map(metric, helix, ends[0], ends[1], steps=16, throw=False)
        return found.matrix, found.rotation, found

    return metric, jax.jit(jax.vmap(carry))(INTERVALS)


def test_error_falls_with_the_sixth_power_of_the_step(carried):
    _, (matrix, _, found) = carried
    start, end = (jax.jacfwd(unbend)(helix(t)) for t in (0.0, 1.0))
    expected = np.linalg.solve(end, start)
    errors = [np.max(np.abs(m - expected)) for m in (matrix[0], matrix[2] @ matrix[1])]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(6.0, abs=0.15)
    # the difference of two step sizes gives the error to leading order
    assert float(found.error_estimate[0]) == pytest.approx(errors[0], rel=0.2)


def test_transport_is_an_isometry_whatever_the_number_of_steps(carried):
    metric, (matrix, rotation, _) = carried
    for (t0, t1), m, turn in zip(INTERVALS[:3], matrix, rotation, strict=False):
        # round-off of 16 rotations and of two triangular factors
        np.testing.assert_allclose(m.T @ metric(helix(t1)) @ m, metric(helix(t0)), rtol=0, atol=1e-14)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), rtol=0, atol=1e-14)


def test_steps_too_long_are_reported_and_still_isometric(carried):
    _, (_, rotation, found) = carried
    assert found.succeeded.tolist() == [True, True, True, False]
    assert jax.tree.map(lambda leaf: leaf[3], found).result == fl.RESULTS.unresolved_transport
    np.testing.assert_allclose(rotation[3] @ rotation[3].T, np.eye(3), rtol=0, atol=1e-14)


def test_holonomy_of_a_circle_in_the_half_plane_is_its_area():
    @jax.jit
    @jax.vmap
    def around(radius):
        def circle(t):
            return jnp.stack([radius * jnp.cos(2 * jnp.pi * t), 1.0 + radius * jnp.sin(2 * jnp.pi * t)])

        return fl.holonomy(HALF_PLANE, circle)

    radius = np.array([1e-3, 0.2, 0.5])
    area = 2 * np.pi * (1 / np.sqrt(1 - radius**2) - 1)
    # curvature -1, and the frame is conformal: the matrix is the rotation itself; truncation h^6
    expected = np.array([[np.cos(area), np.sin(area)], [-np.sin(area), np.cos(area)]]).transpose(2, 0, 1)
    np.testing.assert_allclose(around(radius), expected, atol=1e-9)


def test_open_path_has_no_holonomy_but_a_turn_by_the_period_has():
    def parallel(t):
        return jnp.stack([jnp.full_like(t, 1.1), 2 * jnp.pi * t])

    around = jax.jit(jax.vmap(lambda period: fl.holonomy(SPHERE, parallel, period=period)))
    opened, closed = around(jnp.array([[0.0, 0.0], [0.0, 2 * jnp.pi]]))
    assert bool(jnp.all(jnp.isnan(opened)))
    np.testing.assert_allclose(jnp.trace(closed), 2 * np.cos(2 * np.pi * (1 - np.cos(1.1))), rtol=1e-12)


def test_transport_in_rindler_coordinates_is_that_of_flat_spacetime():
    rindler = fl.Metric(lambda q: jnp.diag(jnp.stack([-(q[1] ** 2), jnp.ones_like(q[1])])))

    def minkowski(q):
        return jnp.stack([q[1] * jnp.sinh(q[0]), q[1] * jnp.cosh(q[0])])

    def rocket(t):
        return jnp.stack([1.5 * t, 1.0 + 0.3 * jnp.sin(2 * t)])

    vector = jnp.array([1.0, 0.4])
    start, end = (jax.jacfwd(minkowski)(rocket(t)) for t in (0.0, 1.0))
    carried = fl.parallel_transport(rindler, rocket, vector)
    np.testing.assert_allclose(carried, jnp.linalg.solve(end, start @ vector), rtol=1e-10)
    lengths = [w @ rindler(rocket(t)) @ w for t, w in ((0.0, vector), (1.0, carried))]
    np.testing.assert_allclose(*lengths, rtol=1e-13)


def test_metric_that_changes_its_signature_on_the_path_is_reported():
    changing = fl.Metric(lambda q: jnp.diag(jnp.stack([jnp.ones_like(q[0]), 0.3 - q[0]])))
    carry = fl.transport_map(changing, lambda t: jnp.stack([t, t]), throw=False)
    assert carry.result == fl.RESULTS.degenerate_metric


def curve(t):
    return jnp.stack([jnp.sin(2 * t), jnp.exp(0.5 * t)])


@pytest.fixture(scope="module")
def dual():
    metric = fl.FisherMetric(NORMAL)

    @jax.jit
    def carried(alpha):
        def connection(q, v):
            return fl.alpha_acceleration(NORMAL, q, v, alpha)

        return fl.transport_map(metric, curve, connection=connection, throw=False).matrix

    return {alpha: carried(alpha) for alpha in (-1.0, -0.4, 0.0, 0.4, 1.0)}


def test_dual_transports_together_keep_the_inner_product(dual):
    for alpha in (0.4, 1.0):
        product = dual[alpha].T @ NORMAL.fisher(curve(1.0)) @ dual[-alpha]
        # exact, as the steps of dual generators are inverse transposes of each other
        np.testing.assert_allclose(product, NORMAL.fisher(curve(0.0)), rtol=0, atol=1e-13)


def test_exponential_and_mixture_transports_are_constant_in_natural_and_mean_parameters(dual):
    def natural(q):
        return jnp.stack([q[0] / q[1] ** 2, -0.5 / q[1] ** 2])

    def mean(q):
        return jnp.stack([q[0], q[0] ** 2 + q[1] ** 2])

    for alpha, chart in ((1.0, natural), (-1.0, mean)):
        start, end = (jax.jacfwd(chart)(curve(t)) for t in (0.0, 1.0))
        np.testing.assert_allclose(end @ dual[alpha], start, rtol=0, atol=1e-9)  # truncation h^6


def test_connection_of_alpha_zero_is_the_metrics_own(dual):
    own = fl.transport_map(fl.FisherMetric(NORMAL), curve).matrix
    np.testing.assert_allclose(dual[0.0], own, rtol=1e-12, atol=1e-14)


def test_nodes_are_joined_by_straight_lines():
    nodes = jnp.array([[0.0, 1.0], [1.0, 2.0], [3.0, 0.5]])
    carry = fl.transport_map(HALF_PLANE, nodes)
    assert carry.times.shape[0] == 65
    assert float(carry.times[-1]) == 1.0

    @jax.jit
    @jax.vmap
    def leg(a, b):
        return fl.transport_map(HALF_PLANE, lambda t: a + t * (b - a), throw=False).matrix

    first, second = leg(nodes[:-1], nodes[1:])
    np.testing.assert_allclose(carry.matrix, second @ first, rtol=1e-8)  # truncation h^6
    stations = carry.along(jnp.array([0.2, 0.3]))
    np.testing.assert_allclose(stations[-1], carry(jnp.array([0.2, 0.3])), rtol=1e-12)
    np.testing.assert_allclose(stations[0], [0.2, 0.3], rtol=1e-14)


def test_path_outside_the_domain_gives_nan():
    rates = fl.FisherMetric(fl.families.Exponential())
    carried = fl.parallel_transport(rates, jnp.array([[1.0], [-1.0]]), jnp.ones(1), steps=3)
    assert bool(jnp.all(jnp.isnan(carried)))


def test_batches_and_gradients_pass_through():
    def component(height):
        path = lambda t: jnp.stack([t, height + t**2])  # noqa: E731
        return fl.parallel_transport(HALF_PLANE, path, jnp.array([1.0, 0.0]), steps=16)[1]

    slope = jax.jit(jax.vmap(lambda height: jax.jvp(component, (height,), (jnp.ones_like(height),))))
    h = 1e-4
    values, rates = slope(jnp.array([0.7 - h, 0.7, 0.7 + h]))
    # a central difference: h^2 and eps / h
    np.testing.assert_allclose(rates[1], (values[2] - values[0]) / (2 * h), rtol=1e-6)


def test_single_precision_stays_single_and_isometric():
    carry = fl.transport_map(HALF_PLANE, lambda t: jnp.stack([t, 1 + t]), jnp.float32(0), jnp.float32(1), steps=8)
    assert carry.matrix.dtype == jnp.float32
    # an eps or two for each of eight steps
    np.testing.assert_allclose(carry.rotation @ carry.rotation.T, np.eye(2), atol=16 * np.finfo(np.float32).eps)


def test_pytrees_come_back_in_their_structure():
    metric = fl.Metric(lambda q: jnp.eye(2) / q["sigma"] ** 2)
    path = lambda t: {"mu": t, "sigma": 1 + t}  # noqa: E731
    carried = jax.eval_shape(lambda: fl.parallel_transport(metric, path, {"mu": 1.0, "sigma": 0.0}))
    assert carried.keys() == {"mu", "sigma"}
    assert carried["mu"].shape == ()
    with pytest.raises(ValueError, match="vector"):
        jax.eval_shape(lambda: fl.parallel_transport(metric, path, jnp.ones(2)))


@pytest.mark.parametrize("steps", [0, -2, True])
def test_steps_that_are_no_positive_integer_are_refused(steps):
    with pytest.raises(ValueError, match="steps"):
        fl.transport_map(HALF_PLANE, helix, steps=steps)


def test_elements_of_unequal_length_carry_as_equal_ones():
    corners = jnp.array([[0.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    half_plane = fl.Metric(lambda q: jnp.eye(2) / q[1] ** 2)
    equal, unequal = fl.Path.from_nodes(corners), fl.Path.from_nodes(corners, knots=jnp.array([0.0, 0.07, 1.0]))
    carried = [fl.transport_map(half_plane, path).matrix for path in (equal, unequal)]
    np.testing.assert_allclose(*carried, atol=1e-12)  # the error of 64 steps of order 6
