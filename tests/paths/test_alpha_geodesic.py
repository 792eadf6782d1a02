"""Alpha-geodesics: straight lines where the theory says so, and the metric's own geodesics for alpha zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

NORMAL = fl.families.Normal()
START, END = jnp.array([0.0, 1.0]), jnp.array([1.5, 0.7])
ALPHAS = jnp.array([-1.0, 0.0, 0.5, 1.0])
FAR = jnp.array([3.0, 0.4])


def natural(q):
    return jnp.stack([q[0] / q[1] ** 2, -0.5 / q[1] ** 2])


def mean(q):
    return jnp.stack([q[0], q[0] ** 2 + q[1] ** 2])


@pytest.fixture(scope="module")
def found():
    @jax.jit
    @jax.vmap
    def solve(end, alpha):
        solution = fl.alpha_geodesic(NORMAL, START, end, alpha, elements=6, throw=False)
        return solution, jax.vmap(solution.path)(jnp.linspace(0.0, 1.0, 5)), solution.path.velocity(0.0)

    # the mixture geodesic to the last one bends within a hundredth of its length
    return solve(jnp.stack([END] * 4 + [FAR]), jnp.append(ALPHAS, -1.0))


def test_every_connection_is_solved_to_its_estimate(found):
    solution, points, _ = found
    assert bool(jnp.all(solution.succeeded[:4]))
    np.testing.assert_allclose(points[:4, 0], np.broadcast_to(START, (4, 2)), atol=1e-15)
    np.testing.assert_allclose(points[:4, -1], np.broadcast_to(END, (4, 2)), rtol=1e-13)


def test_member_that_is_not_resolved_reports_it_alone(found):
    solution, points, _ = found
    assert solution.succeeded.tolist() == [True, True, True, True, False]
    flat = np.asarray(jax.vmap(mean)(points[4]))
    line = flat[0] + np.linspace(0.0, 1.0, 5)[:, None] * (flat[-1] - flat[0])
    assert np.max(np.abs(flat - line)) < 10 * float(solution.error_estimate[4])


@pytest.mark.parametrize(("row", "chart"), [(0, mean), (3, natural)])
def test_mixture_and_exponential_geodesics_are_lines_in_their_flat_coordinates(found, row, chart):
    solution, points, velocity = found
    flat = np.asarray(jax.vmap(chart)(points[row]))
    line = flat[0] + np.linspace(0.0, 1.0, 5)[:, None] * (flat[-1] - flat[0])
    # twice the estimate of the displacement, times the derivative of the chart
    atol = 1e-14 + 2 * float(solution.error_estimate[row]) * 3
    np.testing.assert_allclose(flat, line, rtol=1e-12, atol=atol)
    np.testing.assert_allclose(jax.jacfwd(chart)(START) @ velocity[row], flat[-1] - flat[0], rtol=1e-8)


def test_alpha_zero_is_the_geodesic_of_rao(found):
    _, points, velocity = found
    expected = jax.vmap(lambda t: fl.problems.NormalFisher().geodesic(t, START, velocity[1]))(jnp.linspace(0, 1, 5))
    np.testing.assert_allclose(points[1], expected, rtol=0, atol=1e-12)


def test_exponential_map_inverts_the_boundary_problem_and_is_nan_where_a_geodesic_ends(found):
    _, _, velocity = found
    # the variance of the last one's mean parameters would pass zero at a third of the way
    velocities, alphas = jnp.append(velocity[:4], jnp.array([[3.0, 0.0]]), axis=0), jnp.append(ALPHAS, -1.0)
    ends = jax.jit(jax.vmap(lambda v, alpha: fl.alpha_exp_map(NORMAL, START, v, alpha)))(velocities, alphas)
    np.testing.assert_allclose(ends[:4], np.broadcast_to(END, (4, 2)), rtol=1e-8)  # the flow's tolerance
    assert bool(jnp.all(jnp.isnan(ends[4])))


@pytest.mark.slow
def test_derivative_in_ends_and_alpha_is_that_of_the_solution():
    model = fl.families.Exponential()

    def middle(rates, alpha):
        return fl.alpha_geodesic(model, rates[:1], rates[1:], alpha, elements=4, throw=False).path(0.5)[0]

    def closed(rates, alpha):
        # d theta / theta^(1 - alpha) is affine: theta^(alpha) for the rate of an exponential
        return jnp.mean(rates**alpha) ** (1 / alpha)

    rates, alpha = jnp.array([1.0, 2.0]), jnp.array(-0.6)
    slopes = jax.jit(jax.value_and_grad(middle, (0, 1)))(rates, alpha)
    expected = jax.value_and_grad(closed, (0, 1))(rates, alpha)
    for ours, theirs in zip(jax.tree.leaves(slopes), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="structure"):
        fl.alpha_geodesic(NORMAL, START, jnp.ones(3), 1.0)
    with pytest.raises(ValueError, match="points"):
        fl.alpha_geodesic(NORMAL, START, END, 1.0, points=1)
