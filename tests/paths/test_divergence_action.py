"""Divergence actions against closed Rao distances: limits, orders, the law of the error, certificates, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import fimlag as fl

NORMAL = fl.families.Normal()
START, END = jnp.array([0.0, 1.0]), jnp.array([3.0, 0.3])
HALF_SQUARE = 0.5 * float(NORMAL.distance(START, END)) ** 2


def relative_entropy(a, b):
    """Of normals, written out."""
    ratio = a[1] / b[1]
    return -jnp.log(ratio) + 0.5 * (ratio**2 - 1) + 0.5 * ((a[0] - b[0]) / b[1]) ** 2


def half_jeffreys(a, b):
    return 0.5 * (relative_entropy(a, b) + relative_entropy(b, a))


def four_hellinger_squares(a, b):
    """Of normals, by way of the distance: on the diagonal it has no derivatives."""
    both = a[1] ** 2 + b[1] ** 2
    distance = jnp.sqrt(-jnp.expm1(0.5 * jnp.log(2 * a[1] * b[1] / both) - (a[0] - b[0]) ** 2 / (4 * both)))
    return 4 * distance**2


def solve(divergence, q0, q1, metric=None, **options):
    return fl.least_divergence_path(divergence, q0, q1, metric=metric, throw=False, **options)


NORMALS = {"relative entropy": (relative_entropy, 1), "four Hellinger": (four_hellinger_squares, 2)}


@pytest.fixture(scope="module", params=NORMALS)
def refined(request):
    """Solutions at 64 and 512 steps, with the order expected."""
    divergence, order = NORMALS[request.param]
    metric = fl.FisherMetric(NORMAL)
    return [solve(divergence, START, END, metric, steps=steps) for steps in (64, 512)], order


def test_action_tends_to_half_the_square_of_raos_distance_with_the_order_of_the_divergence(refined):
    solutions, order = refined
    errors = np.array([abs(float(s.action) - HALF_SQUARE) for s in solutions])
    assert abs(np.log(errors[0] / errors[1]) / np.log(8) - order) < 0.02
    assert all(bool(s.succeeded) for s in solutions)
    assert abs(float(solutions[-1].order) - order) < 0.02


def test_error_estimate_is_the_error_and_the_limit_is_better(refined):
    for solution in refined[0]:
        error = abs(float(solution.action) - HALF_SQUARE)
        assert 0.5 * error < float(solution.error_estimate) < 2 * error
        assert abs(float(solution.limit) - HALF_SQUARE) < 0.25 * error


def test_iterations_do_not_grow_with_the_number_of_steps(refined):
    iterations = [int(s.iterations) for s in refined[0]]
    assert max(iterations) <= 9
    assert max(iterations) - min(iterations) <= 1


def test_path_of_normals_is_a_minimum_on_the_geodesic(refined):
    solution = refined[0][-1]
    assert int(solution.morse_index) == 0
    # Geodesics are half-circles about points of the axis in (mean / sqrt 2, scale): their middle is that of the
    # logarithm of the tangent of half the angle.
    (x0, s0), (x1, s1) = (np.array([q[0] / np.sqrt(2), q[1]]) for q in (START, END))
    centre = (x1**2 + s1**2 - x0**2 - s0**2) / (2 * (x1 - x0))
    angle = 2 * np.arctan(np.sqrt(np.tan(np.arctan2(s0, x0 - centre) / 2) * np.tan(np.arctan2(s1, x1 - centre) / 2)))
    radius = np.hypot(x0 - centre, s0)
    middle = np.sqrt(2) * (centre + radius * np.cos(angle)), radius * np.sin(angle)
    # Points err by the order that the action errs by, and by about as much.
    error = abs(float(solution.action) - HALF_SQUARE)
    np.testing.assert_allclose(solution.points[256], middle, atol=error)


CATEGORICAL, POISSON = fl.families.Categorical(3), fl.families.Poisson()


def half_jeffreys_of_shares(a, b):
    """Of categorical distributions, the last share left out."""
    a, b = (jnp.append(x, 1 - jnp.sum(x)) for x in (a, b))
    return 0.5 * jnp.sum((a - b) * jnp.log(a / b))


def half_jeffreys_of_rates(a, b):
    """Of Poisson distributions."""
    return 0.5 * jnp.sum((a - b) * jnp.log(a / b))


def log_partition(natural):
    """Of normal distributions, of the statistics x and x^2."""
    return -(natural[0] ** 2) / (4 * natural[1]) - 0.5 * jnp.log(-natural[1])


def log_affinity(a, b, s):
    """The logarithm of the integral of p_a^s p_b^(1 - s)."""
    return log_partition(s * a + (1 - s) * b) - s * log_partition(a) - (1 - s) * log_partition(b)


def renyi_over_order(order):
    return lambda a, b: log_affinity(a, b, order) / (order * (order - 1))


def amari(alpha):
    return lambda a, b: -4 / (1 - alpha**2) * jnp.expm1(log_affinity(a, b, (1 - alpha) / 2))


CUBIC = {  # with the alpha of Amari's divergence that has the same cubic terms
    "alpha 0.6": (amari(0.6), 0.6),
    "Renyi of order 3": (renyi_over_order(3.0), -5.0),
    "Renyi of order one half": (renyi_over_order(0.5), 0.0),
}


@pytest.mark.parametrize("name", CUBIC)
def test_error_is_the_integral_of_the_amari_chentsov_tensor(name):
    divergence, alpha = CUBIC[name]
    metric = fl.Metric(jax.hessian(log_partition))

    def curve(t):
        return jnp.stack([1.0 + t, -1.0 - t**2])

    @jax.vmap
    def cubic(t):
        q, v = jax.jvp(curve, (t,), (jnp.ones_like(t),))
        return jnp.einsum("ijk,i,j,k", jax.jacfwd(jax.hessian(log_partition))(q), v, v, v)

    points, weights = np.polynomial.legendre.leggauss(12)
    expected = alpha / 12 * float(0.5 * weights @ cubic(jnp.asarray(0.5 * (points + 1))))
    exact = fl.action(fl.NaturalLagrangian(metric), curve)
    nodes = jax.vmap(curve)(jnp.linspace(0.0, 1.0, 257))
    errors = [float(fl.divergence_action(divergence, nodes[::stride], metric=metric) - exact) for stride in (2, 1)]
    # The even terms of the error go as h^2: extrapolated away, what is left goes as h^3.
    np.testing.assert_allclose((4 * errors[1] - errors[0]) * 128, expected, atol=2e-4)
    if alpha == 0.0:
        assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.02


@pytest.mark.parametrize(
    ("model", "divergence", "q0", "q1"),
    [
        (CATEGORICAL, half_jeffreys_of_shares, jnp.array([0.9, 0.05]), jnp.array([0.02, 0.1])),
        (POISSON, half_jeffreys_of_rates, jnp.array([0.5]), jnp.array([9.0])),
    ],
)
def test_limit_of_half_jeffreys_is_raos_distance_near_the_edge_of_the_domain(model, divergence, q0, q1):
    metric = fl.FisherMetric(model)
    solution = solve(divergence, q0, q1, metric, steps=256)
    exact = 0.5 * float(fl.distance(metric, q0, q1)) ** 2
    assert bool(solution.succeeded)
    assert abs(float(solution.order) - 2) < 0.02
    # The limit errs by the next order, h^4, and by the round-off of 256 divergences over h.
    np.testing.assert_allclose(solution.limit, exact, rtol=1e-6)


def test_a_forgotten_factor_is_reported():
    metric = fl.FisherMetric(NORMAL)
    nodes = jnp.linspace(0.0, 1.0, 9)[:, None] * (END - START)[None] + START[None]
    actions = jax.jit(
        lambda scale: fl.divergence_action(lambda a, b: scale * four_hellinger_squares(a, b), nodes, metric=metric)
    )
    assert np.isfinite(actions(1.0))
    assert all(np.isnan(actions(scale)) for scale in (0.25, 0.5, 1.1, 2.0))


def test_another_model_is_reported():
    metric = fl.FisherMetric(POISSON)
    gap = solve(lambda a, b: 0.5 * jnp.sum((a - b) ** 2), jnp.array([1.0]), jnp.array([2.0]), metric, steps=8)
    assert bool(gap.result == fl.RESULTS.another_metric)


def test_divergence_action_of_the_points_is_the_action():
    solution = solve(relative_entropy, START, END, fl.FisherMetric(NORMAL), steps=16, t0=1.0, t1=3.0)
    again = fl.divergence_action(relative_entropy, solution.points, 1.0, 3.0)
    np.testing.assert_allclose(again, solution.action, rtol=1e-13)
    np.testing.assert_allclose(solution.times, np.linspace(1.0, 3.0, 17), rtol=1e-15)


def test_sum_of_relative_entropies_bounds_the_work_of_sudden_steps():
    """A trap of variance 1 / k, stiffened in N sudden steps from equilibrium to equilibrium: work is linear in k."""
    steps, k0, k1 = 8, 1.0, 4.0

    def of_stiffness(a, b):
        return 0.5 * (b[0] / a[0] - 1 - jnp.log(b[0] / a[0]))

    solution = solve(of_stiffness, jnp.array([k0]), jnp.array([k1]), chart=fl.CoordinatewiseChart((0.0,)), steps=steps)
    k = np.asarray(solution.points[:, 0])
    work = np.sum(0.5 * np.diff(k) / k[:-1]) - 0.5 * np.log(k1 / k0)  # in units of kT, less the free energy
    np.testing.assert_allclose(solution.action / steps, work, rtol=1e-12)
    # Ratios of equal size are best: they are stationary by the symmetry of the sum.
    np.testing.assert_allclose(k, k0 * (k1 / k0) ** (np.arange(steps + 1) / steps), rtol=1e-9)


@pytest.mark.slow
def test_derivatives_are_implicit_and_right():
    """Forward and reverse, in an end and in a parameter of the divergence, and the second of the action."""
    chart = fl.CoordinatewiseChart((-jnp.inf, 0.0))

    def quantities(arguments):
        def divergence(a, b):
            return arguments[2] * relative_entropy(a, b) + 0.3 * a[0] ** 2 * jnp.sum((a - b) ** 2)

        found = solve(divergence, START, arguments[:2], chart=chart, steps=8)
        return jnp.stack([found.action, found.limit, *found.points[3]])

    def everything(arguments):
        hessian = jax.jacfwd(jax.grad(lambda x: quantities(x)[0]))(arguments)
        return quantities(arguments), jax.jacfwd(quantities)(arguments), jax.jacrev(quantities)(arguments), hessian

    evaluate = jax.jit(everything)
    arguments, step = jnp.append(END, 1.3), 1e-5
    _, forward, backward, hessian = evaluate(arguments)
    np.testing.assert_allclose(forward, backward, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-11)
    for i in range(3):
        above, below = (evaluate(arguments + sign * step * jnp.eye(3)[i]) for sign in (1, -1))
        # Central differences err by step^2 and by the round-off over step.
        np.testing.assert_allclose(forward[:, i], (above[0] - below[0]) / (2 * step), rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(hessian[i], (above[1] - below[1])[0] / (2 * step), rtol=1e-7, atol=1e-7)


def test_one_failing_member_of_a_batch_is_reported_alone():
    chart = fl.CoordinatewiseChart((-jnp.inf, 0.0))
    ends = jnp.stack([END, jnp.array([1.0, -2.0]), jnp.array([-1.0, 2.0])])
    batched = jax.jit(jax.vmap(lambda end: solve(half_jeffreys, START, end, chart=chart, steps=16)))(ends)
    np.testing.assert_array_equal(batched.succeeded, [True, False, True])
    np.testing.assert_array_equal(batched.result == fl.RESULTS.nonfinite, [False, True, False])
    for i in (0, 2):
        alone = solve(half_jeffreys, START, ends[i], chart=chart, steps=16)
        np.testing.assert_allclose(batched.action[i], alone.action, rtol=1e-12)
        assert int(batched.iterations[i]) == int(alone.iterations)


def test_coincident_ends_stay_where_they_are():
    solution = solve(half_jeffreys, START, START, steps=8)
    assert bool(solution.succeeded)
    assert float(solution.action) == 0.0
    np.testing.assert_array_equal(solution.points, np.broadcast_to(START, (9, 2)))


def test_points_in_a_tree_and_a_guess():
    def of_tree(a, b):
        return half_jeffreys(jnp.stack([a["mean"], a["scale"]]), jnp.stack([b["mean"], b["scale"]]))

    def tree(q):
        return {"mean": q[..., 0], "scale": q[..., 1]}

    plain = solve(half_jeffreys, START, END, steps=16)
    guess = tree(plain.points)
    solution = solve(of_tree, tree(START), tree(END), steps=16, guess=guess)
    np.testing.assert_allclose(solution.points["scale"], plain.points[:, 1], rtol=1e-9)
    assert int(solution.iterations) <= 1
    np.testing.assert_allclose(fl.divergence_action(of_tree, solution.points), plain.action, rtol=1e-12)
    moving = solve(half_jeffreys, START, END, steps=16, guess=lambda t: START + t**2 * (END - START))
    np.testing.assert_allclose(moving.action, plain.action, rtol=1e-12)


def test_a_potential_acts_and_past_a_conjugate_point_the_path_is_no_minimum():
    """Half squares and a harmonic potential make the discrete oscillator, stationary at any duration."""
    oscillator = fl.DivergenceLagrangian(
        lambda a, b: 0.5 * jnp.sum((b - a) ** 2), lambda q: 0.5 * jnp.sum(q**2), symmetric=True
    )
    ends = jnp.array([1.0]), jnp.array([0.5])
    for duration, index in ((1.0, 0), (4.0, 1), (7.0, 2)):
        found = solve(oscillator, *ends, t1=duration, steps=256, stationary=True)
        exact = ((1.0 + 0.25) * np.cos(duration) - 1.0) / (2 * np.sin(duration))
        assert bool(found.succeeded)
        assert int(found.morse_index) == index
        assert abs(float(found.order) - 2) < 0.1
        np.testing.assert_allclose(found.action, exact, atol=2 * float(found.error_estimate))
    refused = solve(oscillator, *ends, t1=4.0, steps=256)
    assert not bool(refused.succeeded)


def test_a_divergence_that_does_not_tell_points_apart_is_reported():
    blind = solve(lambda a, b: 0.5 * (jnp.sum(a) - jnp.sum(b)) ** 2, START, END, steps=8)
    assert bool(blind.result == fl.RESULTS.indefinite_mass)


def test_no_order_is_told_where_steps_are_too_long():
    """Far apart, errors of first and of second order cancel: the estimate is then the difference of two meshes."""
    far = jnp.array([50.0, 1.0])
    solution = solve(relative_entropy, START, far, chart=fl.CoordinatewiseChart((-jnp.inf, 0.0)))
    assert np.isnan(solution.order)
    error = abs(float(solution.action) - 0.5 * float(NORMAL.distance(START, far)) ** 2)
    assert error <= float(solution.error_estimate) < 2 * error


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        fl.least_divergence_path(half_jeffreys, START, END, steps=12)
    with pytest.raises(ValueError, match="guess must hold"):
        fl.least_divergence_path(half_jeffreys, START, END, steps=8, guess=jnp.ones((8, 2)))
    with pytest.raises(ValueError, match="two or more"):
        fl.divergence_action(half_jeffreys, jnp.ones((1, 2)))
    with pytest.raises((ValueError, TypeCheckError)):
        fl.divergence_action(lambda a, b: a - b, jnp.ones((3, 2)))
    assert np.isnan(fl.divergence_action(half_jeffreys, jnp.ones((3, 2)), 1.0, 0.0))
    outcomes = [solve(half_jeffreys, START, END, t1=t1, steps=8, rtol=1e-6).result for t1 in (-1.0, 1.0)]
    assert bool(outcomes[0] == fl.RESULTS.empty_interval)
    assert bool(outcomes[1] == fl.RESULTS.unresolved)


def test_single_precision_stays_single():
    solution = solve(half_jeffreys, START.astype(jnp.float32), END.astype(jnp.float32), steps=32)
    assert solution.action.dtype == solution.points.dtype == jnp.float32
    assert bool(solution.succeeded)
    # A divergence of neighbours loses as many digits as their distance is short: 32 eps.
    expected = fl.divergence_action(half_jeffreys, solution.points.astype(float))
    np.testing.assert_allclose(solution.action, expected, rtol=32 * np.finfo(np.float32).eps)
