"""Charts: there and back, displacements that keep their digits, and the families' own."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import fimlag as fl

families, INF = fl.families, np.inf
BOX = fl.CoordinatewiseChart((-INF, 0.0, -INF, 1.0, -2.0), (INF, INF, 3.0, INF, 0.0))
SIMPLEX, SHAPE_MEAN = fl.SimplexChart(), fl.ShapeMeanChart()
LOGARITHM = fl.FunctionChart(jnp.exp, jnp.log)
INSIDE = [
    (BOX, [-5.0, 0.3, 2.9, 1.5, -1e-3]),
    (SIMPLEX, [0.2, 0.3]),
    (SHAPE_MEAN, [0.2, 7.0]),
    (LOGARITHM, [0.2, 7.0]),
    (fl.IdentityChart(), [0.2, -7.0]),
]
FAMILIES = [
    families.Bernoulli(), families.Beta(), families.Categorical(3), families.Cauchy(),
    families.CensoredExponential(2.0), families.ChiSquared(), families.Erlang(3), families.Exponential(),
    families.Frechet(), families.Gamma(), families.Geometric(), families.InverseGamma(),
    families.InverseGaussian(), families.LogNormal(), families.Multinomial(2, 3), families.NegativeBinomial(),
    families.Normal(), families.Pareto(), families.Pascal(2.5), families.Poisson(), families.PowerFunction(),
    families.Rayleigh(), families.StudentT(), families.StudentTLocationScale(3.0), families.VonMises(),
    families.NormalScale(), families.Weibull(), families.ZeroInflatedPoisson(),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("chart", "theta"), INSIDE, ids=[type(chart).__name__ for chart, _ in INSIDE])
def test_chart_leads_there_and_back_with_inverse_derivatives(chart, theta, dtype):
    theta = jnp.array(theta, dtype)

    def around(theta):
        free = chart.free(theta)
        product = jax.jacfwd(chart.point)(free) @ jax.jacfwd(chart.free)(theta)
        slope = jax.jacfwd(chart.displacement, 1)(theta, theta)
        return free, chart.point(free), product, slope - jax.jacfwd(chart.free)(theta)

    found = jax.jit(around)(theta)
    assert {leaf.dtype for leaf in found} == {jnp.dtype(dtype)}
    free, back, product, off = (np.asarray(leaf, np.float64) for leaf in found)
    theta, eps = np.asarray(theta, np.float64), float(jnp.finfo(dtype).eps)
    # Round-off of a logarithm is taken up by the exponential: eps |free|.
    assert np.all(np.abs(back - theta) <= 4.0 * eps * (1.0 + np.abs(free)) * np.abs(theta))
    # Round-off of products of derivatives, of which the largest is 1000.
    assert np.max(np.abs(product - np.eye(theta.size))) < 1e3 * eps
    assert np.max(np.abs(off)) < 1e4 * eps


def logarithms(theta):
    line, above, below, shifted, inner = theta
    return [line, mp.log(above), -mp.log(3 - below), mp.log(shifted - 1), mp.log((inner + 2) / -inner)]


def log_ratios(theta):
    rest = 1 - mp.fsum(theta)
    return [mp.log(p / rest) for p in theta]


def shape_and_mean(theta):
    return [mp.log(theta[0]), mp.log(theta[0] / theta[1])]


@pytest.mark.parametrize(
    ("chart", "exact", "theta", "direction", "separations"),
    [
        (BOX, logarithms, [-5.0, 0.3, 2.0, 1.5, -0.5], [-1.0, 1.0, -1.0, 1.0, -1.0], 10.0 ** np.arange(-12.0, 0.5)),
        (BOX, logarithms, [-5.0, 0.3, 2.0, 1.5, -0.5], [-1.0, 1.0, -1.0, 1.0, -1e-3], 10.0 ** np.arange(1.0, 3.5)),
        (SIMPLEX, log_ratios, [0.25, 0.375], [1.0, 0.5], 10.0 ** np.arange(-12.0, 0.0)),
        (SHAPE_MEAN, shape_and_mean, [0.25, 7.0], [1.0, -0.5], 10.0 ** np.arange(-12.0, 1.5)),
        (LOGARITHM, lambda theta: list(map(mp.log, theta)), [0.25, 7.0], [1.0, 2.0], 10.0 ** np.arange(-12.0, 3.5)),
    ],
    ids=["box", "box-far", "simplex", "shape-mean", "function"],
)
def test_displacement_keeps_its_digits_near_and_far(chart, exact, theta, direction, separations):
    starts = np.broadcast_to(theta, (len(separations), len(theta)))
    ends = starts + np.outer(separations, direction)
    found = jax.jit(jax.vmap(chart.displacement))(jnp.asarray(starts), jnp.asarray(ends))
    for start, end, ours in zip(starts, ends, np.asarray(found), strict=True):
        with mp.workdps(50):
            before, after = (exact([mp.mpf(float(x)) for x in point]) for point in (start, end))
            expected = np.array([float(b - a) for a, b in zip(before, after, strict=True)])
        # Round-off; a function chart loses a digit where it passes to the difference.
        assert np.all(np.abs(ours / expected - 1.0) < (1e-13 if chart is LOGARITHM else 2e-15))


def test_outside_the_domain_free_coordinates_are_nan():
    box = jax.jit(jax.vmap(BOX.free))(jnp.array([[0.0, 0.0, 3.0, 1.0, 0.0], [0.0, -1.0, 4.0, 0.5, -2.0]]))
    assert jnp.all(jnp.isnan(box[:, 1:]))
    assert jnp.all(box[:, 0] == 0.0)
    for chart, theta in [(SIMPLEX, [0.7, 0.3]), (SIMPLEX, [-0.1, 0.3]), (SHAPE_MEAN, [-1.0, 1.0])]:
        assert jnp.any(jnp.isnan(chart.free(jnp.array(theta))))
        assert jnp.any(jnp.isnan(chart.displacement(jnp.array([0.2, 0.3]), jnp.array(theta))))


def test_interval_keeps_the_distance_from_either_end():
    chart = fl.CoordinatewiseChart((-1.0,), (0.0,))
    point = chart.point(jnp.array([200.0]))
    assert abs(point[0] / -np.exp(-200.0) - 1.0) < 1e-13
    # Far out on the line, no overflow reaches the other coordinates' derivatives.
    jacobian = jax.jacfwd(BOX.point)(jnp.array([1e4, 0.0, 0.0, 0.0, 0.0]))
    assert jnp.all(jnp.isfinite(jacobian))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_every_vector_is_a_point_of_the_family(family):
    size = len(family.chart.lower) if isinstance(family.chart, fl.CoordinatewiseChart) else 2
    for free in (jnp.full(size, -3.0), jnp.linspace(2.0, 3.0, size)):
        theta = family.chart.point(free)
        assert jnp.all(jnp.isfinite(family.fisher(theta)))
        # Round-off of a probability near 1, whose rest is at least exp(-5).
        assert jnp.all(jnp.abs(family.chart.free(theta) - free) < 1e-13)


@pytest.mark.parametrize("family", [families.Gamma(), families.NegativeBinomial(), families.InverseGamma()])
def test_shape_and_mean_are_orthogonal(family):
    free = jnp.array([0.4, -1.3])
    jacobian = jax.jacfwd(family.chart.point)(free)
    metric = jacobian.T @ family.fisher(family.chart.point(free)) @ jacobian
    # Round-off.
    assert abs(metric[0, 1]) < 1e-14 * jnp.sqrt(metric[0, 0] * metric[1, 1])


def test_ends_and_lengths_are_checked():
    with pytest.raises(ValueError, match="lower end"):
        fl.CoordinatewiseChart((0.0,), (0.0,))
    with pytest.raises(ValueError, match="lower end"):
        fl.CoordinatewiseChart((0.0, 1.0), (2.0,))
    with pytest.raises(ValueError, match="5 coordinates"):
        BOX.point(jnp.ones(3))
    with pytest.raises(ValueError, match="5 coordinates"):
        BOX.free(jnp.ones(3))
