"""What driving costs: the Wasserstein metric exactly, the Fisher metric by its friction alone, and no other way."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import fimlag as fl

DRAG, HEAT, DURATION = 1.7, 0.6, 1.3
BURES, FISHER = fl.BuresMetric(1), fl.FisherMetric(fl.families.MultivariateNormal(1))
EXACT = fl.Metric(lambda q: DRAG * BURES(q))


def wandering(t):
    """Mean and logarithm of the deviation of an overdamped particle."""
    return jnp.stack([jnp.sin(2.0 * t), 0.4 * jnp.cos(3.0 * t) - 0.3 * t])


def work_of(state, duration):
    """The mean work of the trap that holds a motion of mean and deviation, less the free energy OF THE STATES."""
    rates = jax.jit(lambda t: (state(t), *jax.jvp(lambda t: jax.jvp(state, (t,), (1.0,)), (t,), (1.0,))[1]))

    def trap(t):
        (m, z), (dm, dz), (ddm, ddz) = map(np.asarray, rates(t))
        k = HEAT * np.exp(-2 * z) - DRAG * dz
        dk = -2 * dz * HEAT * np.exp(-2 * z) - DRAG * ddz
        dc = dm + DRAG * (ddm * k - dm * dk) / k**2
        return m, np.exp(2 * z), k, m + DRAG * dm / k, dk, dc

    def energy(t):
        m, variance, k, c, *_ = trap(t)
        return 0.5 * k * ((m - c) ** 2 + variance)

    def power(t, _):
        m, variance, k, c, dk, dc = trap(t)
        return [0.5 * dk * ((m - c) ** 2 + variance) - k * (m - c) * dc]

    driven = solve_ivp(power, (0.0, duration), [0.0], rtol=1e-10, atol=1e-12).y[0, -1]
    order = float(state(jnp.asarray(duration))[1] - state(jnp.asarray(0.0))[1])
    return driven - (energy(duration) - energy(0.0)) + HEAT * order


def test_work_lost_on_any_motion_of_an_overdamped_particle_is_the_wasserstein_action():
    """Heat given off plus the entropy gained, by the equations of the moments; work less energy is minus the heat."""
    cost = jax.jit(lambda: fl.protocol_cost(EXACT, wandering, 0.0, DURATION))()
    np.testing.assert_allclose(cost.excess_work, work_of(wandering, DURATION), rtol=1e-8)
    straight = fl.bures_distance(*(jnp.exp(2.0 * wandering(t)[1:])[:, None] for t in (0.0, DURATION))) ** 2
    moved = (wandering(DURATION) - wandering(0.0))[0] ** 2
    least = DRAG * (straight + moved) / DURATION
    assert float(least) < float(cost.bound) < float(cost.excess_work)


def test_the_straight_line_of_mean_and_deviation_is_best_and_the_fisher_geodesic_is_not():
    start, end = jnp.array([0.0, 0.0]), jnp.array([1.0, -0.8])

    def straight(t):
        share = t / DURATION
        deviation = (1 - share) * jnp.exp(start[1]) + share * jnp.exp(end[1])
        return jnp.stack([share, jnp.log(deviation)])

    # The Fisher geodesic is a half-circle about the axis in (mean / sqrt 2, deviation), passed at constant speed.
    s = float(jnp.exp(end[1]))
    centre = (0.5 + s**2 - 1.0) / np.sqrt(2.0)
    radius = np.hypot(centre, 1.0)
    first, last = np.arctanh(-centre / radius), np.arctanh((1 / np.sqrt(2.0) - centre) / radius)

    def circle(t):
        angle = first + (last - first) * t / DURATION
        return jnp.stack([jnp.sqrt(2.0) * (centre + radius * jnp.tanh(angle)), jnp.log(radius / jnp.cosh(angle))])

    np.testing.assert_allclose(circle(DURATION), end, atol=1e-14)
    costs = jax.jit(
        lambda: [fl.protocol_cost(g, path, 0.0, DURATION) for g in (EXACT, FISHER) for path in (straight, circle)]
    )()
    wasserstein, fisher = costs[:2], costs[2:]
    np.testing.assert_allclose([wasserstein[0].efficiency, fisher[1].efficiency], 1.0, rtol=1e-12)
    least = DRAG * (1.0 + (1.0 - s) ** 2) / DURATION
    np.testing.assert_allclose(wasserstein[0].excess_work, least, rtol=1e-12)
    assert float(wasserstein[1].excess_work) > 1.05 * least
    assert float(fisher[0].divergence) > 1.05 * float(fisher[1].divergence)


def test_no_fixed_time_makes_the_fisher_length_a_bound_on_the_work():
    """A trap that stiffens fourfold passes one Fisher length from any stiffness, and costs less the stiffer it is."""
    trap = fl.OverdampedTrap(DRAG, HEAT)
    stiffness = jnp.array([1.0, 1e2, 1e4])

    @jax.jit
    @jax.vmap
    def both(k):
        start, end = jnp.stack([0.0 * k, k]), jnp.stack([0.0 * k, 4.0 * k])
        ends = (jnp.stack([0.0 * k, 0.5 * jnp.log(HEAT / s[1])]) for s in (start, end))
        first, last = ends
        length = fl.thermodynamic_length(FISHER, lambda t: first + t * (last - first))
        return length, trap.transport(start, end, DURATION).excess_work

    lengths, work = both(stiffness)
    np.testing.assert_allclose(lengths, np.log(4.0) / np.sqrt(2.0), rtol=1e-12)
    np.testing.assert_allclose(work * stiffness, work[0], rtol=1e-12)


def test_braked_by_fisher_friction_a_coin_loses_what_the_action_says_and_no_less_than_the_length_allows():
    """In the arc 2 arcsin sqrt p the motion is v0 exp(-gamma t), whose energy and length are known."""
    friction, speed, coin = 0.9, 1.1, fl.families.Bernoulli()
    system = fl.Forced(fl.FisherLagrangian(coin), fl.fisher_friction(coin, friction))

    def path(t):
        return jnp.sin(0.5 * (0.6 - speed * jnp.expm1(-friction * t) / friction)) ** 2

    def residual(t):
        return fl.euler_lagrange_residual(system, path, t)

    residuals = jax.jit(jax.vmap(residual))(jnp.array([0.1, 0.7, 1.2]))
    np.testing.assert_allclose(residuals, 0.0, atol=1e-12)
    cost = jax.jit(lambda: fl.protocol_cost(fl.FisherMetric(coin), path, 0.0, DURATION))()
    lost = -0.5 * speed**2 * np.expm1(-2 * friction * DURATION)
    np.testing.assert_allclose(friction * cost.excess_work, lost, rtol=1e-12)
    length = -speed * np.expm1(-friction * DURATION) / friction
    np.testing.assert_allclose(friction * cost.bound, friction * length**2 / DURATION, rtol=1e-12)
    assert float(friction * cost.bound) < lost
