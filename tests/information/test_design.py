"""Optimal designs against the closed forms of the textbooks, the equivalence theorem, and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

GRID = jnp.linspace(-1.0, 1.0, 21)
RNG = np.random.default_rng(0)


def polynomial(degree):
    def information(x):
        regressor = jnp.stack([x**k for k in range(degree + 1)])
        return jnp.outer(regressor, regressor)

    return information


def rank_one(row):
    return jnp.outer(row, row)


@pytest.mark.parametrize(
    ("criterion", "weights", "value", "tolerance"),
    [
        ("D", [1 / 3, 1 / 3, 1 / 3], np.log(4 / 27), 1e-9),
        ("A", [1 / 4, 1 / 2, 1 / 4], 8.0, 1e-9),
        ("E", [1 / 5, 3 / 5, 1 / 5], 1 / 5, 2e-5),
        (
            fl.IOptimality(np.sqrt(3) * np.linalg.cholesky([[1, 0, 1 / 3], [0, 1 / 3, 0], [1 / 3, 0, 1 / 5]]).T),
            [1 / 4, 1 / 2, 1 / 4],
            32 / 15,
            1e-9,
        ),
    ],
)
def test_quadratic_regression_has_the_published_weights(criterion, weights, value, tolerance):
    # Pukelsheim (2006), chapter 9, for D, A and E; the I-optimum by hand from the moments of the interval.
    # Values are good to the relative gap: 1e-9, and 7e-6 certified for E. At a candidate beside the support the
    # weight is the barrier over its slack: 7e-12 and 6e-8 over 1e-2.
    design = fl.optimal_design(polynomial(2), GRID, criterion)
    np.testing.assert_allclose(design.weights[jnp.array([0, 10, 20])], weights, atol=tolerance)
    np.testing.assert_allclose(design.criterion_value, value, rtol=tolerance)
    np.testing.assert_allclose(jnp.sum(design.weights), 1.0, rtol=1e-14)


@pytest.mark.parametrize("degree", [2, 3])
def test_d_optimal_polynomials_sit_on_the_roots_of_the_legendre_derivative(degree):
    legendre = np.polynomial.legendre.Legendre.basis(degree).deriv().roots()
    support = np.concatenate([[-1.0], legendre, [1.0]])
    points = jnp.asarray(np.union1d(np.linspace(-1.0, 1.0, 100), legendre))
    design = fl.optimal_design(polynomial(degree), points)
    at_support = np.array([np.asarray(design.weights)[np.argmin(np.abs(points - x))] for x in support])
    # weights off the support are of order barrier / slack; near a point of support the slack is the squared distance
    np.testing.assert_allclose(at_support, 1 / (degree + 1), atol=1e-6)
    assert float(design.gap) < 1e-9 * (degree + 1)
    np.testing.assert_allclose(np.max(design.sensitivity), degree + 1, rtol=1e-9)


def test_exponential_decay_is_measured_at_its_time_constant():
    rate = 0.4
    design = fl.optimal_design(lambda t: jnp.full((1, 1), (t * jnp.exp(-rate * t)) ** 2), jnp.arange(0.0, 10.5, 0.5))
    assert float(design.weights[5]) > 1 - 1e-8  # t = 2.5 = 1 / rate; elsewhere barrier / slack


def test_michaelis_menten_design_has_the_published_points():
    # Bates & Watts (1988), section 3.14: x_max and K x_max / (2 K + x_max)
    half, largest = 0.5, 2.0
    low = half * largest / (2 * half + largest)
    doses = jnp.asarray(np.append(np.linspace(0.02, 2.0, 100), low))

    def information(x):
        gradient = jnp.stack([x / (half + x), -3.0 * x / (half + x) ** 2])
        return jnp.outer(gradient, gradient)

    design = fl.optimal_design(information, doses)
    np.testing.assert_allclose([design.weights[-1], design.weights[-2]], 0.5, atol=1e-5)  # neighbours share 1e-6


CRITERIA = ["D", "A", "E", "I", fl.AOptimality([[1.0, -1.0, 0.5, 0.0]])]
ROWS = jnp.asarray(RNG.normal(size=(200, 4)) * [1.0, 2.0, 0.5, 10.0])
OTHERS = jnp.einsum("kn,ni,nj->kij", jnp.asarray(RNG.dirichlet(0.05 * np.ones(200), 100)), ROWS, ROWS)


@pytest.mark.parametrize("criterion", CRITERIA, ids=["D", "A", "E", "I", "c"])
def test_certificate_bounds_random_designs(criterion):
    design = fl.optimal_design(rank_one, ROWS, criterion)
    raised = isinstance(criterion, str) and criterion in "DE"
    # the relative gap: a tenth of the root of eps; 4 d eps^0.4 for the softened eigenvalue
    assert float(design.efficiency_bound) > 1 - (9e-6 if criterion == "E" else 1.5e-9)
    np.testing.assert_allclose(design.information, jnp.einsum("n,ni,nj->ij", design.weights, ROWS, ROWS), rtol=1e-12)
    explicit = fl.IOptimality(ROWS) if criterion == "I" else criterion
    value = jax.jit(jax.vmap(jax.value_and_grad(lambda information: fl.design_criterion(information, explicit))))
    values, gradients = value(jnp.concatenate([OTHERS, design.information[None]]))
    sign = 1 if raised else -1
    np.testing.assert_allclose(values[-1], design.criterion_value, rtol=1e-12)
    assert float(jnp.nanmax(sign * values[:-1])) < sign * float(design.criterion_value)
    # the sensitivity is the directional derivative of the criterion
    expected = sign * jnp.einsum("ij,ni,nj->n", gradients[-1], ROWS, ROWS)
    np.testing.assert_allclose(design.sensitivity, expected, rtol=1e-8, atol=1e-8 * float(jnp.max(expected)))


def test_smallest_eigenvalue_that_is_multiple_is_certified():
    # on the axes every weight but the equal ones is worse, and the eigenvalue has multiplicity d
    axes = fl.optimal_design(rank_one, jnp.eye(4), "E")
    np.testing.assert_allclose(axes.weights, 0.25, rtol=1e-9)
    np.testing.assert_allclose(axes.criterion_value, 0.25, rtol=1e-9)
    # quadratic response surface on the cube: the optimum 1/5 is threefold (Galil & Kiefer 1977)
    levels = jnp.stack(jnp.meshgrid(*[jnp.array([-1.0, 0.0, 1.0])] * 3, indexing="ij"), -1).reshape(-1, 3)

    def surface(x):
        a, b, c = x
        return rank_one(jnp.stack([jnp.ones_like(a), a, b, c, a * b, a * c, b * c, a**2, b**2, c**2]))

    cube = fl.optimal_design(surface, levels, "E")
    np.testing.assert_allclose(cube.criterion_value, 0.2, rtol=2e-5)  # softened: 10 * 5e-7, certified to 4 times that
    assert float(cube.efficiency_bound) > 1 - 2.2e-5


def test_c_optimal_design_may_leave_other_parameters_unidentified():
    # the mean response at 0 is learned at 0 alone, where the information is singular
    design = fl.optimal_design(polynomial(2), GRID, fl.AOptimality([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(design.weights[10], 1.0, atol=1e-8)
    np.testing.assert_allclose(design.criterion_value, 1.0, rtol=1e-9)


@settings(max_examples=5)
@given(st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3))
def test_d_optimal_weights_do_not_depend_on_units(exponents):
    rows = jnp.asarray(np.random.default_rng(1).normal(size=(30, 3)))
    scaled = fl.optimal_design(rank_one, rows * 10.0 ** jnp.array(exponents)[None, :])
    plain = fl.optimal_design(rank_one, rows)
    np.testing.assert_allclose(scaled.weights, plain.weights, atol=1e-8)


@pytest.mark.slow
def test_criterion_and_weights_differentiate_in_candidates_and_closures():
    points, scale = jnp.array([-1.0, -0.9, 0.1, 0.6, 0.8, 1.0]), jnp.array(0.7)

    @jax.jit
    def outcome(points, scale, direction):
        def of(points, scale):
            def information(x):
                return polynomial(2)(x) * jnp.exp(-scale * x)

            designs = [fl.optimal_design(information, points, c, throw=False) for c in ("D", "A", "I")]
            values = jnp.stack([design.criterion_value for design in designs])
            return values, jnp.stack([design.weights for design in designs])

        return of(points, scale), jax.jvp(of, (points, scale), direction), jax.jacrev(of, (0, 1))(points, scale)

    direction = (jnp.asarray(RNG.normal(size=6)), jnp.array(0.9))
    _, (_, forward), reverse = outcome(points, scale, direction)
    step = 1e-5
    ends = [outcome(points + s * direction[0], scale + s * direction[1], direction)[0] for s in (step, -step)]
    for k in range(2):
        difference = (ends[0][k] - ends[1][k]) / (2 * step)
        # central differences: step^2 and round-off 1e-10 / step
        np.testing.assert_allclose(forward[k], difference, rtol=2e-5, atol=2e-5)
        along = reverse[k][0] @ direction[0] + reverse[k][1] * direction[1]
        np.testing.assert_allclose(along, forward[k], rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_second_derivative_knows_that_the_weights_move():
    # two groups with information s and 1 about two means: tr M^-1 = (1 + 1 / sqrt(s))^2 at the best allocation
    def value(s):
        groups = jnp.stack([jnp.diag(jnp.stack([s, jnp.zeros_like(s)])), jnp.diag(jnp.array([0.0, 1.0]))])
        return fl.optimal_design(lambda m: m, groups, "A").criterion_value

    s = 2.3
    np.testing.assert_allclose(value(jnp.array(s)), (1 + s**-0.5) ** 2, rtol=1e-9)
    np.testing.assert_allclose(jax.grad(value)(jnp.array(s)), -(1 + s**-0.5) * s**-1.5, rtol=1e-8)
    second = 1.5 * (1 + s**-0.5) * s**-2.5 + 0.5 * s**-3
    np.testing.assert_allclose(jax.hessian(value)(jnp.array(s)), second, rtol=1e-7)


@pytest.mark.slow
def test_derivative_of_a_multiple_eigenvalue_is_that_of_the_optimum():
    # E-optimal allocation to two groups: 1 / (1 / s + 1), both eigenvalues equal
    def value(s):
        groups = jnp.stack([jnp.diag(jnp.stack([s, jnp.zeros_like(s)])), jnp.diag(jnp.array([0.0, 1.0]))])
        return fl.optimal_design(lambda m: m, groups, "E").criterion_value

    s = 2.3
    np.testing.assert_allclose(value(jnp.array(s)), s / (1 + s), rtol=3e-6)  # softened by 5e-7
    np.testing.assert_allclose(jax.grad(value)(jnp.array(s)), 1 / (1 + s) ** 2, rtol=3e-6)


def test_support_points_climb_to_the_optimal_ones():
    def objective(points):
        return fl.optimal_design(polynomial(2), points, throw=False).criterion_value

    @jax.jit
    def climb(points):
        def move(points, _):
            return jnp.clip(points + 0.05 * jax.grad(objective)(points), -1.0, 1.0), None

        points = jax.lax.scan(move, points, None, length=60)[0]
        return points, fl.optimal_design(polynomial(2), points, throw=False)

    points, design = climb(jnp.array([-0.7, 0.2, 0.8]))
    np.testing.assert_allclose(points, [-1.0, 0.0, 1.0], atol=1e-6)  # ascent contracts by a constant factor a step
    np.testing.assert_allclose(design.weights, 1 / 3, atol=1e-9)


def test_equal_candidates_share_their_weight():
    design = fl.optimal_design(rank_one, jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.3, 0.3]]))
    np.testing.assert_allclose(design.weights, [0.25, 0.25, 0.5, 0.0], atol=1e-9)


@pytest.mark.parametrize("criterion", ["D", "E"])
def test_candidates_that_do_not_identify_theta_are_reported(criterion):
    design = fl.optimal_design(rank_one, jnp.array([[1.0, 0.5], [2.0, 1.0]]), criterion, throw=False)
    assert design.result == fl.RESULTS.singular_information
    with pytest.raises(RuntimeError, match="not identifiable"):
        fl.optimal_design(rank_one, jnp.array([[1.0, 0.5], [1.0, 0.5]]), criterion)


@pytest.mark.slow
def test_failures_are_named_and_stay_alone_in_a_batch():
    good = jnp.asarray(RNG.normal(size=(5, 2)))
    batch = jnp.stack([good, good.at[1].set(jnp.nan), jnp.ones((5, 2))])
    designs = jax.jit(jax.vmap(lambda rows: fl.optimal_design(rank_one, rows, "A", throw=False)))(batch)
    assert [bool(ok) for ok in designs.succeeded] == [True, False, False]
    alone = fl.optimal_design(rank_one, good, "A")
    np.testing.assert_allclose(designs.weights[0], alone.weights, atol=1e-9)
    assert fl.optimal_design(rank_one, batch[1], throw=False).result == fl.RESULTS.nonfinite
    assert fl.optimal_design(rank_one, good, max_iterations=2, throw=False).result == fl.RESULTS.max_steps_reached


def test_candidates_may_be_a_pytree():
    candidates = {"dose": jnp.array([1.0, 2.0, 4.0]), "group": jnp.array([0, 1, 1])}

    def information(c):
        return jnp.diag(jnp.where(c["group"] == jnp.arange(2), c["dose"], 0.0))

    np.testing.assert_allclose(fl.optimal_design(information, candidates).weights, [0.5, 0.0, 0.5], atol=1e-9)


def test_wrong_input_raises():
    rows = jnp.ones((3, 2))
    for arguments in (
        (rank_one, rows, "T"),
        (rank_one, rows, fl.AOptimality([[1.0, 2.0, 3.0]])),
        (lambda x: x, rows),
        (lambda x: rank_one(x) > 0, rows),
        (rank_one, jnp.ones((0, 2))),
        (rank_one, (rows, jnp.ones(2))),
    ):
        with pytest.raises(ValueError, match=r"criterion|matrix|stacked|rows"):
            fl.optimal_design(*arguments)
    with pytest.raises(ValueError, match="max_iterations"):
        fl.optimal_design(rank_one, rows, max_iterations=0)
    with pytest.raises(ValueError, match="regressors"):
        fl.design_criterion(jnp.eye(2), "I")
    for wrong in (jnp.ones(3), np.ones((0, 2)), np.ones((2, 2)) * 1j):
        with pytest.raises(ValueError, match="real matrix"):
            fl.IOptimality(wrong)


@pytest.mark.parametrize(("criterion", "expected"), [("D", 0.0), ("A", 2.5), ("E", 0.5)])
def test_criteria_of_a_diagonal_matrix(criterion, expected):
    np.testing.assert_allclose(fl.design_criterion(jnp.diag(jnp.array([2.0, 0.5])), criterion), expected, atol=1e-14)
    singular = fl.design_criterion(jnp.ones((2, 2)), criterion)
    assert bool(jnp.isnan(singular)) or abs(float(singular)) < 1e-14  # the smallest eigenvalue exists, and is zero


@pytest.mark.slow
def test_single_precision_is_followed_and_certified():
    rows = jnp.asarray(RNG.normal(size=(60, 3)), jnp.float32)
    for criterion in ("D", "E"):
        design = fl.optimal_design(rank_one, rows, criterion)
        assert {leaf.dtype for leaf in (design.weights, design.criterion_value, design.gap)} == {jnp.dtype("float32")}
        assert float(design.efficiency_bound) > (0.98 if criterion == "E" else 0.9998)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_design_lowers_without_the_device(platform):
    def solve(rows):
        return fl.optimal_design(rank_one, rows, throw=False).criterion_value

    traced = jax.jit(jax.value_and_grad(solve)).trace(jnp.ones((6, 3)))
    assert "stablehlo" in traced.lower(lowering_platforms=(platform,)).as_text()
