"""Functionals of a density: closed forms, location families, inequalities, and grids that do not hold it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

LINE = fl.LineGrid(size=160)
WEIGHTS, SHIFTS, SCALES = jnp.array([0.3, 0.7]), jnp.array([-0.8, 0.5]), jnp.array([0.9, 0.7])

estimate = eqx.filter_jit(fl.functional_estimate)


def normal(x, location=0.0, scale=1.0):
    return jax.scipy.stats.norm.logpdf(x, location, scale)


def mixture(x, weights=WEIGHTS, shifts=SHIFTS, scales=SCALES):
    """The log-density of a mixture of normals."""
    return jax.scipy.special.logsumexp(jnp.log(weights) + jax.scipy.stats.norm.logpdf(x, shifts, scales))


def logistic(x):
    return x - 2.0 * jnp.logaddexp(0.0, x)


def von_mises(x):
    return jnp.cos(x) - jnp.log(2.0 * jnp.pi * jax.scipy.special.i0(1.0))


def laplace(x):
    return -jnp.abs(x) - jnp.log(2.0)


@pytest.mark.parametrize(
    ("log_density", "grid", "information"),
    [
        (lambda x: normal(x, 3.0, 0.2), fl.LineGrid(2.9, 0.25), 25.0),
        (logistic, fl.LineGrid(scale=2.0, size=160), 1.0 / 3.0),
        (lambda x: 2.0 * jnp.log(jnp.cos(0.5 * jnp.pi * x)), fl.IntervalGrid(-1.0, 1.0), np.pi**2),
        (laplace, fl.IntervalGrid(-60.0, 60.0, size=100, breaks=[0.0], ends="cut"), 1.0),
        (lambda x: 4.0 * jnp.log(x) - x - np.log(24.0), fl.HalfLineGrid(), 1.0 / 3.0),  # gamma: 1 / (k - 2)
        (von_mises, fl.CircleGrid(-np.pi), float(jax.scipy.special.i1(1.0) / jax.scipy.special.i0(1.0))),
    ],
    ids=["normal", "logistic", "cosine", "laplace", "gamma", "von_mises"],
)
def test_fisher_functional_meets_closed_forms(log_density, grid, information):
    found = estimate(fl.fisher_functional, jax.vmap(log_density)(grid.points), grid, log=True)
    assert abs(found.value / information - 1.0) < 1e-10  # spectral: all but round-off
    assert found.error_estimate < 1e-6 * information


def test_fisher_functional_is_the_information_of_the_location_family():
    """Against the expected squared score by quadrature, which shares no code with the amplitude."""
    model = fl.StatisticalModel(lambda theta, x: mixture(x - theta), fl.Quadrature(-jnp.inf, jnp.inf))
    family = jax.jit(lambda: fl.fisher_information(model, jnp.array(0.0)))()[0, 0]
    functional = estimate(fl.fisher_functional, mixture, LINE, log=True).value
    assert abs(functional / family - 1.0) < 1e-10
    # The metric of another family of the same density is another number.
    scaled = fl.StatisticalModel(lambda s, x: mixture(x / s) - jnp.log(s), fl.Quadrature(-jnp.inf, jnp.inf))
    assert abs(jax.jit(lambda: fl.fisher_information(scaled, jnp.array(1.0)))()[0, 0] / functional - 1.0) > 0.1


def test_a_density_its_logarithm_and_its_values_are_one():
    functional = jax.jit(fl.fisher_functional, static_argnames=("log", "density"))
    of_log = functional(density=mixture, grid=LINE, log=True)
    of_density = functional(density=lambda x: jnp.exp(mixture(x)), grid=LINE)
    of_values = estimate(fl.fisher_functional, jnp.exp(jax.vmap(mixture)(LINE.points)), LINE).value
    assert abs(of_log - of_density) < 1e-12
    assert abs(of_log - of_values) < 1e-12


def test_information_scales_with_the_inverse_square_of_the_unit():
    def functional(scale):
        return fl.fisher_functional(
            lambda x: mixture(x / scale) - jnp.log(scale), fl.LineGrid(0.0, scale, 160), log=True
        )

    scales = jnp.array([1e-6, 1.0, 1e6])
    values = jax.jit(jax.vmap(functional))(scales) * scales**2
    np.testing.assert_allclose(values, values[1], rtol=1e-10)


def test_matrix_of_a_normal_is_the_inverse_of_its_covariance():
    covariance = jnp.array([[1.0, 0.4, 0.1], [0.4, 0.8, -0.2], [0.1, -0.2, 1.2]])

    def density(x):
        return jax.scipy.stats.multivariate_normal.logpdf(x, jnp.zeros(x.size), covariance[: x.size, : x.size])

    plane = fl.ProductGrid(*[fl.LineGrid(scale=0.9, size=48)] * 2)
    found = estimate(fl.fisher_functional_matrix, density, plane, log=True)
    np.testing.assert_allclose(found.value, jnp.linalg.inv(covariance[:2, :2]), atol=1e-10)
    total = estimate(fl.fisher_functional, density, plane, log=True)
    assert abs(total.value - jnp.trace(found.value)) < 1e-12
    # In three dimensions, 24 functions an axis leave an error of a few 1e-5, and the estimate covers it.
    space = fl.ProductGrid(*[fl.LineGrid(scale=0.9, size=24)] * 3)
    rough = estimate(fl.fisher_functional_matrix, density, space, log=True, rtol=0.01)
    error = jnp.max(jnp.abs(rough.value - jnp.linalg.inv(covariance)))
    assert error < rough.error_estimate < 0.01


@pytest.mark.parametrize(
    ("log_density", "grid"),
    [
        (lambda x: normal(x, 0.0, 0.05), LINE),
        (lambda x: normal(x, 0.0, 30.0), LINE),
        (lambda x: normal(x, 40.0, 1.0), LINE),
        (lambda x: normal(x) + 0.01, LINE),
        (lambda x: -jnp.log(jnp.pi) - jnp.log1p(x**2), LINE),
        (laplace, fl.LineGrid(size=160)),
        (normal, fl.IntervalGrid(-3.0, 3.0, ends="cut")),
        (lambda x: normal(x) - jnp.log(jax.scipy.special.erf(3.0 / jnp.sqrt(2.0))), fl.IntervalGrid(-3.0, 3.0)),
        (lambda x: 0.0 * x - jnp.log(2.0), fl.IntervalGrid(-1.0, 1.0)),
        (lambda x: jnp.log(6.0 * x * (1.0 - x)), fl.IntervalGrid(0.0, 1.0, size=200)),
        (lambda x: 2.0 * jnp.log(jnp.cos(0.5 * jnp.pi * x)), fl.IntervalGrid(-1.0, 1.0, ends="cut")),
        (lambda x: 3.0 * jnp.log(jnp.abs(x)) - x - np.log(6.0), fl.HalfLineGrid()),
    ],
    ids=[
        "too coarse", "too wide", "elsewhere", "not normalised", "heavy tails", "kink", "cut", "jump at the ends",
        "uniform", "infinite", "slope at a cut", "branch point at the wall",
    ],
)  # fmt: skip
def test_a_grid_that_does_not_hold_the_density_is_reported(log_density, grid):
    found = estimate(fl.fisher_functional, jax.vmap(log_density)(grid.points), grid, log=True, throw=False)
    assert found.result == fl.RESULTS.unresolved_density
    assert jnp.isnan(found.checked_value)


def test_negative_values_and_nan_are_reported():
    values = jnp.exp(jax.vmap(mixture)(LINE.points))
    wave = values * (1.0 + 2.0 * jnp.sin(4.0 * LINE.points))
    found = estimate(fl.fisher_functional, wave / jnp.sum(wave * LINE.weights), LINE, throw=False)
    assert found.result == fl.RESULTS.unresolved_density
    assert found.certificate.negative > 0.01
    assert estimate(fl.fisher_functional, values * jnp.nan, LINE, throw=False).result == fl.RESULTS.nonfinite
    with pytest.raises(eqx.EquinoxRuntimeError, match="grid does not hold"):
        fl.functional_estimate(fl.fisher_functional, 2.0 * values, LINE)


def test_free_ends_count_the_inside_alone():
    grid = fl.IntervalGrid(0.0, 1.0, ends="free")
    assert estimate(fl.fisher_functional, jnp.ones_like(grid.points), grid).value < 1e-20  # round-off squared
    # p = 1 + cos(2 pi x) / 2 on one turn, where the circle and the interval see the same gradient.
    turn = fl.CircleGrid(0.0, 1.0)
    inside, around = (
        estimate(fl.fisher_functional, 1.0 + 0.5 * jnp.cos(2.0 * jnp.pi * space.points), space).value
        for space in (grid, turn)
    )
    assert abs(inside / around - 1.0) < 1e-10
    assert abs(around / (4.0 * np.pi**2 * (1.0 - np.sqrt(0.75))) - 1.0) < 1e-10


def test_derivatives_of_functionals_are_those_of_closed_forms():
    def functional(scale):
        return fl.fisher_functional(lambda x: normal(x, 0.1, scale), fl.LineGrid(size=96), log=True)

    def of_density(scale):
        return fl.differential_entropy(lambda x: jnp.exp(normal(x, 0.1, scale)), fl.LineGrid(size=96))

    slope, curvature = jax.jit(lambda s: (jax.grad(functional)(s), jax.grad(jax.grad(functional))(s)))(0.8)
    assert abs(slope / (-2.0 / 0.8**3) - 1.0) < 1e-9
    assert abs(curvature / (6.0 / 0.8**4) - 1.0) < 1e-8
    assert abs(jax.jit(jax.grad(of_density))(0.8) * 0.8 - 1.0) < 1e-9


def test_inequalities_of_information_and_entropy_power():
    """Stam: N J >= 1; Cramer-Rao: J Var >= 1; Blachman-Stam and Shannon for sums, whose mixtures are known."""
    shifts, scales = jnp.array([0.4, -1.0]), jnp.array([0.6, 1.1])
    sum_weights, sum_shifts, sum_squares = (
        pair.reshape(-1)
        for pair in (
            WEIGHTS[:, None] * jnp.full((1, 2), 0.5),
            SHIFTS[:, None] + shifts[None],
            SCALES[:, None] ** 2 + scales[None] ** 2,
        )
    )
    laws = [
        (WEIGHTS, SHIFTS, SCALES),
        (jnp.full(2, 0.5), shifts, scales),
        (sum_weights, sum_shifts, jnp.sqrt(sum_squares)),
    ]

    @jax.jit
    def both(weights, shifts, scales):
        values = jax.vmap(lambda x: mixture(x, weights, shifts, scales))(LINE.points)
        mean = weights @ shifts
        variance = weights @ (scales**2 + shifts**2) - mean**2
        return *(f(values, LINE, log=True) for f in (fl.fisher_functional, fl.entropy_power)), variance

    (j_x, n_x, v_x), (j_y, n_y, v_y), (j_sum, n_sum, v_sum) = (both(*law) for law in laws)
    for j, n, v in ((j_x, n_x, v_x), (j_y, n_y, v_y), (j_sum, n_sum, v_sum)):
        assert 1.0 < j * n < j * v
    assert 1.0 / j_sum > 1.0 / j_x + 1.0 / j_y + 1e-3
    assert n_sum > n_x + n_y + 1e-3
    # Normal densities meet all of them with equality, to round-off.
    j, n, v = both(jnp.array([0.5, 0.5]), jnp.zeros(2), jnp.array([1.3, 1.3]))
    assert abs(j * n - 1.0) < 1e-12
    assert abs(n / v - 1.0) < 1e-12


def test_stam_in_the_plane_is_equality_for_white_normals_alone():
    grid = fl.ProductGrid(fl.LineGrid(), fl.LineGrid(scale=2.0))

    @jax.jit
    def product(scale):
        values = normal(grid.points[..., 0]) + normal(grid.points[..., 1], 0.0, scale)
        return fl.entropy_power(values, grid, log=True) * fl.fisher_functional(values, grid, log=True)

    assert abs(product(2.0) - 2.0 * (1.0 + 4.0) / 4.0) < 1e-10  # sigma tau (1/sigma^2 + 1/tau^2)
    white = fl.ProductGrid(fl.LineGrid(), fl.LineGrid())
    values = jnp.sum(normal(white.points), axis=-1)
    power, information = (estimate(f, values, white, log=True).value for f in (fl.entropy_power, fl.fisher_functional))
    assert abs(power * information - 2.0) < 1e-12


def test_relative_functionals_of_normals_and_their_certificate():
    def potential(x):
        return 0.5 * x**2

    divergence = estimate(fl.relative_entropy, lambda x: normal(x, 0.3, 0.8), LINE, potential, log=True)
    assert abs(divergence.value - (0.5 * (0.64 + 0.09 - 1.0) - np.log(0.8))) < 1e-11
    relative = estimate(fl.relative_fisher_functional, lambda x: normal(x, 0.3, 0.8), LINE, potential, log=True)
    assert abs(relative.value - ((1.0 / 0.8 - 0.8) ** 2 + 0.09)) < 1e-10
    assert relative.value > 2.0 * divergence.value  # the logarithmic Sobolev inequality
    # A kink of the reference between the nodes is seen, as no other size of basis on the same nodes would show it.
    found = estimate(fl.relative_fisher_functional, normal, LINE, jnp.abs, log=True, throw=False)
    assert found.result == fl.RESULTS.unresolved_density
    # A reference that falls off too fast for the grid is no reference.
    found = estimate(fl.relative_entropy, normal, LINE, lambda x: 1e4 * x**2, log=True, throw=False)
    assert found.result == fl.RESULTS.unresolved_density


def test_quantum_potential_has_an_eighth_of_the_information_as_its_mean():
    values = jax.jit(jax.vmap(lambda x: fl.quantum_potential(mixture, x)))(LINE.points)
    mean = jnp.sum(LINE.weights * jnp.exp(jax.vmap(mixture)(LINE.points)) * values)
    assert abs(mean * 8.0 / estimate(fl.fisher_functional, mixture, LINE, log=True).value - 1.0) < 1e-10
    # Hydrogen's ground state: Q - 1/r is its energy everywhere, in three dimensions.
    places = jnp.array([[0.3, -0.2, 0.9], [2.0, 1.0, -1.0]])
    levels = jax.vmap(lambda x: fl.quantum_potential(lambda y: -2.0 * jnp.linalg.norm(y), x))(places)
    np.testing.assert_allclose(levels - 1.0 / jnp.linalg.norm(places, axis=1), -0.5, atol=1e-12)


def test_single_precision_stays_single():
    grid = fl.LineGrid(jnp.float32(0.0), jnp.float32(1.0), size=64)
    value = estimate(fl.fisher_functional, normal, grid, log=True).value
    assert value.dtype == jnp.float32
    assert abs(float(value) - 1.0) < 1e-5  # 100 eps
    plane = fl.ProductGrid(grid, grid)
    matrix = estimate(fl.fisher_functional_matrix, jnp.sum(normal(plane.points), axis=-1), plane, log=True).value
    assert matrix.dtype == jnp.float32
    np.testing.assert_allclose(matrix, np.eye(2), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fl.LineGrid(scale=-1.0), ValueError, "scale must be positive"),
        (lambda: fl.LineGrid(size=3), ValueError, "from 4 to 400"),
        (lambda: fl.IntervalGrid(1.0, 0.0), ValueError, "upper less lower"),
        (lambda: fl.IntervalGrid(0.0, 1.0, ends="open"), ValueError, "'wall', 'cut' or 'free'"),
        (lambda: fl.IntervalGrid(0.0, 1.0, breaks=[1.5]), ValueError, "inside the interval"),
        (lambda: fl.CircleGrid(size=64), ValueError, "odd"),
        (lambda: fl.ProductGrid(), ValueError, "one to three"),
        (lambda: fl.ProductGrid(fl.ProductGrid(LINE)), TypeError, "one-dimensional"),
        (lambda: fl.fisher_functional(jnp.ones(3), LINE), ValueError, "values at the nodes"),
        (lambda: fl.fisher_functional(lambda x: jnp.stack([x, x]), LINE), ValueError, "a number at a point"),
        (lambda: fl.functional_estimate(fl.entropy, normal, LINE), ValueError, "must be one of"),
        (lambda: fl.relative_fisher_functional(normal, LINE, LINE.points), TypeError, "differentiable function"),
        (lambda: jax.grad(lambda b: fl.IntervalGrid(0.0, b, breaks=[0.5]).unit)(1.0), TypeError, "not traced"),
    ],
)
def test_mistakes_raise_while_tracing(make, error, words):
    with pytest.raises(error, match=words):
        make()
