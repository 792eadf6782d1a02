"""Densities of least Fisher information: ground states in closed form, constraints, derivatives, honest failure."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special

import fimlag as fl


@eqx.filter_jit
def solve(potential, grid, **constraints):
    return fl.minimum_fisher_density(potential, grid, throw=False, **constraints)


AIRY = -special.ai_zeros(1)[1][0]  # 1.0188, where Ai' vanishes
WALL = -special.ai_zeros(1)[0][0]  # 2.3381, where Ai vanishes
LINE = fl.LineGrid(scale=0.7, size=100)
CUT = fl.IntervalGrid(-14.0, 14.0, size=40, breaks=[0.0], ends="cut")


def shot_energy(potential, lower, upper):
    """The lowest even state by shooting: the energy at which the solution from the middle stays bounded."""

    def miss(energy):
        def slope(x, y):
            return [y[1], 2.0 * (potential(x) - energy) * y[0]]

        return integrate.solve_ivp(slope, (0.0, 5.0), [1.0, 0.0], "DOP853", rtol=1e-13, atol=1e-13).y[0, -1]

    return optimize.brentq(miss, lower, upper, xtol=1e-15)


@pytest.mark.parametrize(
    ("potential", "grid", "energy"),
    [
        (lambda x: 0.5 * x**2, LINE, 0.5),
        (lambda x: x**4, LINE, shot_energy(lambda x: x**4, 0.5, 0.8)),
        (lambda x: 8.0 * (1.0 - jnp.exp(-x)) ** 2, fl.LineGrid(0.2, 0.5, 100), 2.0 - 0.125),  # Morse
        pytest.param(  # Poeschl and Teller
            lambda x: -3.0 / jnp.cosh(x) ** 2, fl.LineGrid(size=200), -2.0, marks=pytest.mark.slow
        ),
        (lambda x: 0.0 * x, fl.IntervalGrid(-1.0, 1.0, size=24), np.pi**2 / 8.0),
        (jnp.abs, CUT, 2.0 ** (-1 / 3) * AIRY),
        (lambda x: x, fl.IntervalGrid(0.0, 20.0, 48, ends=("wall", "cut")), 2.0 ** (-1 / 3) * WALL),
        (lambda x: x, fl.HalfLineGrid(scale=0.2), 2.0 ** (-1 / 3) * WALL),
        (lambda x: -1.0 / x, fl.HalfLineGrid(), -0.5),  # hydrogen, radially
        pytest.param(
            lambda x: jnp.where(jnp.abs(x) < 1.0, 0.0, 2.0),
            fl.IntervalGrid(-20.0, 20.0, 50, [-1.0, 1.0], "cut"),
            None,
            marks=pytest.mark.slow,
        ),
        (lambda x: 0.0 * x, fl.CircleGrid(), 0.0),
    ],
    ids=["oscillator", "quartic", "morse", "poeschl_teller", "interval", "abs", "wall", "half_line", "hydrogen", "well",
         "circle"],
)  # fmt: skip
def test_ground_energies_meet_closed_forms(potential, grid, energy):
    if energy is None:  # the finite well: k tan k = sqrt(2 V - k^2)
        k = optimize.brentq(lambda k: k * np.tan(k) - np.sqrt(4.0 - k * k), 0.1, 1.5, xtol=1e-15)
        energy = 0.5 * k * k
    solution = solve(jax.vmap(potential)(grid.points), grid)
    assert solution.succeeded
    assert abs(solution.energy - energy) < 1e-10  # spectral, and round-off of a shot
    assert abs(solution.fisher_information / 8.0 + solution.potential_energy - solution.energy) < 1e-13
    assert abs(jnp.sum(solution.values * grid.weights) - 1.0) < 1e-12
    assert solution.error_estimate < 1e-6
    assert solution.residual < 1e-12


def test_least_information_on_an_interval_is_pi_squared_with_a_squared_cosine():
    grid = fl.IntervalGrid(-1.0, 1.0, size=24)
    solution = solve(None, grid)
    assert abs(solution.fisher_information - np.pi**2) < 1e-11
    assert abs(solution.gap - 3.0 * np.pi**2 / 8.0) < 1e-10
    places = jnp.linspace(-1.2, 1.2, 9)
    expected = jnp.where(jnp.abs(places) < 1.0, jnp.cos(0.5 * jnp.pi * places) ** 2, 0.0)
    np.testing.assert_allclose(jax.vmap(solution.density)(places), expected, atol=1e-13)
    # The functional of the callable, taken by its own values, agrees.
    assert abs(jax.jit(fl.fisher_functional)(jax.vmap(solution.density)(grid.points), grid) - np.pi**2) < 1e-10


@pytest.mark.parametrize("grid", [LINE, CUT, fl.HalfLineGrid(-2.0, 0.3), fl.CircleGrid(-4.0, 8.0)])
def test_the_density_between_the_nodes_is_that_of_the_nodes(grid):
    solution = solve(grid.points**4, grid)
    np.testing.assert_allclose(jax.vmap(solution.density)(grid.points), solution.values, atol=1e-12)


def test_no_other_density_has_less():
    """The variational principle, against mixtures of normals by quadrature that shares no code."""
    least = solve(LINE.points**4, LINE).energy
    rule = fl.Quadrature(-jnp.inf, jnp.inf)

    @jax.jit
    @jax.vmap
    def energy(shift, scale):
        def log_density(theta, x):
            places = x - theta - jnp.array([-1.0, 1.0]) * shift
            return jax.scipy.special.logsumexp(jax.scipy.stats.norm.logpdf(places, 0.0, scale)) - jnp.log(2.0)

        x, weights = rule.outcomes(log_density, jnp.array(0.0))
        return (
            fl.fisher_information(fl.StatisticalModel(log_density, rule), jnp.array(0.0))[0, 0] / 8.0 + weights @ x**4
        )

    trials = energy(*(part.reshape(-1) for part in jnp.meshgrid(jnp.linspace(0.05, 0.9, 8), jnp.linspace(0.3, 0.8, 8))))
    assert least < jnp.min(trials) < least + 0.01


def test_a_given_variance_makes_it_normal_and_a_given_mean_deviation_an_airy_function():
    grid = fl.LineGrid(0.5, 1.0, 64)
    statistics = jax.tree_util.Partial(lambda x: jnp.stack([x, x**2]))
    solution = solve(None, grid, statistics=statistics, moments=jnp.array([0.5, 2.25]))
    assert abs(solution.fisher_information - 0.5) < 1e-11  # one over the variance
    np.testing.assert_allclose(solution.values, jax.scipy.stats.norm.pdf(grid.points, 0.5, np.sqrt(2.0)), atol=1e-11)
    # The fourth moment of a normal density asks for nothing more; a smaller one for a quartic well.
    both = jax.tree_util.Partial(lambda x: jnp.stack([x**2, x**4]))
    fourth = jax.jit(
        jax.vmap(lambda c: fl.minimum_fisher_density(
            None, fl.LineGrid(size=64), statistics=both, moments=jnp.stack([1.0, c]), throw=False
        ))
    )(jnp.array([3.0, 2.5]))  # fmt: skip
    assert jnp.all(fourth.succeeded)
    np.testing.assert_allclose(fourth.multipliers[0], [0.125, 0.0], atol=1e-10)
    assert fourth.multipliers[1, 1] > 0.0
    assert fourth.fisher_information[1] > fourth.fisher_information[0] + 1e-3
    # V = lambda |x| has the virial <T> = E / 3, so that <|x|> = 1 at lambda = 4 a^3 / 27, where J = 4 lambda.
    deviation = solve(None, CUT, statistics=jax.tree_util.Partial(jnp.abs), moments=1.0)
    assert abs(deviation.multipliers[0] - 4.0 * AIRY**3 / 27.0) < 1e-11
    assert abs(deviation.fisher_information - 16.0 * AIRY**3 / 27.0) < 1e-11


def test_energy_and_information_follow_the_coupling_to_every_order():
    """E(a) = a^(1/3) E(1) for a x^4, and J likewise: Feynman's theorem, and the implicit derivative of the density."""

    def both(coupling):
        solution = fl.minimum_fisher_density(lambda x: coupling * x**4, LINE, throw=False)
        return jnp.stack([solution.energy, solution.fisher_information])

    coupling = 1.7
    value, slope = jax.jit(lambda a: (both(a), jax.jacfwd(both)(a)))(coupling)
    np.testing.assert_allclose(slope, value / (3.0 * coupling), rtol=1e-10)
    curvature = jax.jit(jax.jacrev(jax.jacfwd(both)))(coupling)
    np.testing.assert_allclose(curvature, -2.0 / 9.0 * value / coupling**2, rtol=1e-8)
    many = jax.jit(jax.vmap(both))(jnp.array([1.0, 1.7, 8.0]))
    np.testing.assert_allclose(many[1], value, rtol=1e-12)
    np.testing.assert_allclose(many[2], 2.0 * many[0], rtol=1e-10)


def test_multipliers_are_the_derivative_of_the_energy_in_the_moments():
    def energy(moments):
        solution = fl.minimum_fisher_density(
            lambda x: 0.1 * x**4, LINE, statistics=lambda x: jnp.stack([x, x**2]), moments=moments, throw=False
        )
        return solution.energy, solution.multipliers

    moments = jnp.array([0.1, 0.7])
    (slope, multipliers), curvature = jax.jit(lambda c: (jax.grad(energy, has_aux=True)(c), jax.jacfwd(energy)(c)[1]))(
        moments
    )
    np.testing.assert_allclose(slope, -multipliers, atol=1e-10)
    np.testing.assert_allclose(curvature, curvature.T, atol=1e-8)
    # Against differences of the multipliers themselves: h^2 leaves 1e-6.
    several = jax.jit(jax.vmap(energy))(
        moments[None] + 1e-3 * jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    )[1]
    differences = jnp.stack([several[0] - several[1], several[2] - several[3]], axis=1) / 2e-3
    np.testing.assert_allclose(curvature, differences, atol=1e-4)


def test_walls_are_pushed_with_the_force_of_the_energy():
    def energy(upper):
        return fl.minimum_fisher_density(None, fl.IntervalGrid(0.0, upper, size=24), throw=False).energy

    assert abs(jax.jit(jax.grad(energy))(2.0) / (-(np.pi**2) / 8.0) - 1.0) < 1e-10  # of pi^2 / (2 L^2)


def test_a_quadratic_potential_in_the_plane_has_a_normal_ground_state():
    stiffness = jnp.array([[1.5, 0.4], [0.4, 0.9]])
    grid = fl.ProductGrid(fl.LineGrid(scale=0.65, size=20), fl.LineGrid(scale=0.75, size=20))
    solution = solve(0.5 * jnp.einsum("...i,ij,...j", grid.points, stiffness, grid.points), grid)
    frequencies, axes = np.linalg.eigh(np.asarray(stiffness))
    assert abs(solution.energy - 0.5 * np.sum(np.sqrt(frequencies))) < 1e-10
    matrix = jax.jit(fl.fisher_functional_matrix)(solution.values, grid)
    np.testing.assert_allclose(matrix, 2.0 * axes * np.sqrt(frequencies) @ axes.T, atol=1e-8)
    assert abs(solution.gap - np.sqrt(frequencies[0])) < 1e-8
    inverse = 2.0 * axes * np.sqrt(frequencies) @ axes.T
    place = np.array([0.4, -0.3])
    expected = np.sqrt(np.linalg.det(inverse)) / (2.0 * np.pi) * np.exp(-0.5 * place @ inverse @ place)
    assert abs(solution.density(jnp.asarray(place)) - expected) < 1e-9


@pytest.mark.parametrize(
    ("potential", "grid", "result"),
    [
        (jnp.abs, LINE, "unresolved_density"),  # a kink without a break
        (jnp.abs, fl.IntervalGrid(-4.0, 4.0, 40, [0.0], "cut"), "unresolved_density"),  # too small
        (lambda x: x**4, fl.LineGrid(scale=100.0, size=100), "unresolved_density"),
        (lambda x: -jnp.exp(-((x - 40.0) ** 2)), LINE, "unresolved_density"),
        (lambda x: 0.25 * (x**2 - 25.0) ** 2, fl.IntervalGrid(-9.0, 9.0, 40, [0.0], "cut"), "degenerate_ground_state"),
        (lambda x: jnp.where(x > 0.0, jnp.inf, 0.0), LINE, "nonfinite"),
    ],
    ids=["kink", "cut", "coarse", "elsewhere", "two wells", "infinite"],
)
def test_what_a_grid_cannot_tell_is_reported(potential, grid, result):
    solution = solve(jax.vmap(potential)(grid.points), grid)
    assert solution.result == getattr(fl.RESULTS, result)


@pytest.mark.parametrize(
    ("statistics", "moments", "verdicts"),
    [
        (lambda x: x**2, -1.0, ("unattainable",)),
        (lambda x: jnp.stack([x**2, 2.0 * x**2]), jnp.array([1.0, 2.0]), ("degenerate_ground_state",)),
        pytest.param(  # a negative variance: multipliers grow until they overflow, or the steps end
            lambda x: jnp.stack([x, x**2]),
            jnp.array([1.0, 0.5]),
            ("unattainable", "max_steps_reached"),
            marks=pytest.mark.slow,
        ),
        pytest.param(  # only an infimum: mass that vanishes, far away
            lambda x: jnp.stack([x**2, x**4]), jnp.array([1.0, 5.0]), ("max_steps_reached",), marks=pytest.mark.slow
        ),
    ],
    ids=["outside", "dependent", "contradictory", "infimum"],
)
def test_moments_that_no_density_has_are_reported(statistics, moments, verdicts):
    partial = jax.tree_util.Partial(statistics)
    solution = solve(None, LINE, statistics=partial, moments=moments)
    assert any(solution.result == getattr(fl.RESULTS, verdict) for verdict in verdicts)


def test_single_precision_reaches_its_round_off():
    grid = fl.LineGrid(jnp.float32(0.0), jnp.float32(0.6), 48)
    solution = solve(grid.points**4, grid)
    assert solution.energy.dtype == solution.density(0.1).dtype == jnp.float32
    assert abs(float(solution.energy) - 0.6679862592) < 1e-5  # 100 eps
    assert solution.residual < 1e-5
    constrained = solve(None, grid, statistics=jax.tree_util.Partial(jnp.square), moments=0.5)
    assert abs(float(constrained.fisher_information) - 2.0) < 1e-4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fl.minimum_fisher_density(None, LINE, moments=1.0), "belong together"),
        (
            lambda: fl.minimum_fisher_density(None, LINE, statistics=jnp.abs, moments=jnp.ones(2)),
            "statistics have shape",
        ),
        (lambda: fl.minimum_fisher_density(jnp.ones(3), LINE), "values at the nodes"),
        (lambda: fl.minimum_fisher_density(None, fl.ProductGrid(LINE, LINE)), "at most 2500"),
        (lambda: fl.minimum_fisher_density(None, LINE, guess=jnp.ones(1)), "one multiplier a moment"),
    ],
)
def test_mistakes_raise_while_tracing(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_failed_solve_raises_unless_told_otherwise():
    with pytest.raises(eqx.EquinoxRuntimeError, match="grid does not hold the density"):
        eqx.filter_jit(fl.minimum_fisher_density)(jnp.abs(LINE.points), LINE)
