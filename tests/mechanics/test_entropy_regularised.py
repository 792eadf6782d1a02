"""Entropy as a potential, and friction in the Fisher metric: rest in Gibbs' distribution, and the power lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

COSTS, TEMPERATURE = jnp.array([0.3, 1.1, -0.4, 0.9]), 0.7
SIMPLEX = fl.families.Categorical(4)
GIBBS = np.exp(-np.asarray(COSTS) / TEMPERATURE) / np.sum(np.exp(-np.asarray(COSTS) / TEMPERATURE))
START = jnp.array([0.4, 0.3, 0.2])


def mean_cost(p):
    return p @ COSTS[:-1] + (1.0 - jnp.sum(p)) * COSTS[-1]


def regularised(temperature=TEMPERATURE, model=SIMPLEX):
    return fl.EntropyRegularised(fl.FisherLagrangian(SIMPLEX, mean_cost), model, temperature)


def test_rest_is_gibbs_distribution_and_what_lies_above_it_relative_entropy():
    lagrangian, rest = regularised(), jnp.asarray(GIBBS[:-1])
    assert isinstance(lagrangian, fl.NaturalLagrangian)
    start, least = jax.jit(jax.vmap(lagrangian.potential))(jnp.stack([START, rest]))
    shares = np.append(START, 1.0 - np.sum(START))
    np.testing.assert_allclose(start, shares @ np.asarray(COSTS) + TEMPERATURE * shares @ np.log(shares), rtol=1e-13)
    np.testing.assert_allclose(
        least, -TEMPERATURE * np.log(np.sum(np.exp(-np.asarray(COSTS) / TEMPERATURE))), rtol=1e-13
    )
    np.testing.assert_allclose(start - least, TEMPERATURE * shares @ np.log(shares / GIBBS), rtol=1e-12)
    at_rest = jax.jit(lambda q: fl.acceleration(lagrangian, 0.0, q, jnp.zeros(3)))(rest)
    np.testing.assert_allclose(at_rest, 0.0, atol=1e-13)


@pytest.mark.slow
def test_overdamped_motion_tends_to_gibbs_as_the_natural_gradient_flow():
    """In logits that flow of the free energy is linear: distances to Gibbs shrink as exp(-T t / gamma)."""

    def logits(p):
        return jnp.log(p) - jnp.log(1.0 - jnp.sum(p))

    @jax.jit
    @jax.vmap
    def error(friction):
        system = fl.Forced(regularised(), fl.fisher_friction(SIMPLEX, friction))
        options = {"steps": 600, "save_every": 600, "throw": False}
        end = fl.integrate(system, START, jnp.zeros(3), t1=1.5 * friction, **options).q[-1]
        goal = logits(jnp.asarray(GIBBS[:-1]))
        return logits(end) - goal - (logits(START) - goal) * jnp.exp(-1.5 * TEMPERATURE)

    slow, slower = error(jnp.array([10.0, 20.0]))
    np.testing.assert_allclose(slow / slower, 4.0, rtol=0.05)  # inertia counts as 1 / gamma^2, and then to the fourth
    assert np.max(np.abs(slower)) < 1e-3


def test_normal_with_quadratic_cost_rests_at_the_variance_that_temperature_over_stiffness_gives():
    stiffness, centre = 2.5, 0.8
    normal = fl.families.Normal()

    def cost(theta):
        return 0.5 * stiffness * ((theta[0] - centre) ** 2 + theta[1] ** 2)

    written = fl.StatisticalModel(normal.log_likelihood, normal.expectation)
    rest = jnp.array([centre, np.sqrt(TEMPERATURE / stiffness)])
    for model in (normal, written):
        lagrangian = fl.EntropyRegularised(fl.FisherLagrangian(normal, cost), model, TEMPERATURE)
        value, slope = jax.jit(jax.value_and_grad(lagrangian.potential))(rest)
        np.testing.assert_allclose(slope, 0.0, atol=1e-11)
        # F = U - T h with the entropy of a normal in nats.
        entropy = 0.5 * np.log(2 * np.pi * np.e * TEMPERATURE / stiffness)
        np.testing.assert_allclose(value, 0.5 * TEMPERATURE - TEMPERATURE * entropy, rtol=1e-11)


def test_marks_are_kept_and_separable_stays_separable():
    plain = lambda t, q, v: 0.5 * v @ v - 0.3 * jnp.sum(q)  # noqa: E731
    force = fl.fisher_friction(SIMPLEX, 2.0)
    for lagrangian in (plain, fl.NaturalLagrangian(fl.EuclideanMetric(), lambda q: 0.3 * jnp.sum(q))):
        marked = fl.EntropyRegularised(fl.Separable(fl.Forced(lagrangian, force)), SIMPLEX, TEMPERATURE)
        assert isinstance(marked, fl.Separable)
        v = jnp.array([0.1, -0.2, 0.3])
        # Slope of the entropy of shares p with the last one left out: log(p_k / p_i).
        slope = TEMPERATURE * (jnp.log(1.0 - jnp.sum(START)) - jnp.log(START))
        expected = slope - 0.3 - 2.0 * fl.fisher_information(SIMPLEX, START) @ v
        found = jax.jit(lambda v, marked=marked: fl.acceleration(marked, 0.0, START, v))(v)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert fl.is_separable(fl.EntropyRegularised(lagrangian, SIMPLEX, TEMPERATURE), START)


def test_without_temperature_nothing_changes_and_the_force_of_entropy_is_its_slope():
    def force(lagrangian):
        return jax.jit(lambda q: fl.acceleration(lagrangian, 0.0, q, jnp.ones(3)))(START)

    cold, plain = regularised(0.0), fl.FisherLagrangian(SIMPLEX, mean_cost)
    np.testing.assert_allclose(force(cold), force(plain), rtol=1e-13)
    # dL/dT is the entropy, through jit.
    slope = jax.jit(jax.grad(lambda T: regularised(T)(0.0, START, jnp.ones(3))))(TEMPERATURE)
    shares = np.append(START, 1.0 - np.sum(START))
    np.testing.assert_allclose(slope, -shares @ np.log(shares), rtol=1e-13)


def test_energy_lost_to_fisher_friction_is_twice_the_action_times_the_coefficient():
    system = fl.Forced(fl.FisherLagrangian(SIMPLEX, mean_cost), fl.fisher_friction(SIMPLEX, lambda p: 1.0 + p[0]))
    v = jnp.array([0.1, -0.2, 0.05])
    information = np.diag(1.0 / np.asarray(START)) + 1.0 / 0.1
    np.testing.assert_allclose(fl.power(system, 0.0, START, v), -1.4 * v @ information @ v, rtol=1e-12)
    np.testing.assert_allclose(system.force(0.0, START, v), -1.4 * information @ v, rtol=1e-12)
    np.testing.assert_allclose(system.force.dissipation(0.0, START, v), 0.7 * v @ information @ v, rtol=1e-12)


def test_what_cannot_be_regularised_is_refused():
    free = fl.FisherLagrangian(SIMPLEX)
    sampled = fl.StatisticalModel(
        SIMPLEX.log_likelihood, fl.MonteCarlo(lambda key, theta, n: jnp.zeros(n, int), 8, jax.random.key(0))
    )
    with pytest.raises(TypeError, match="smooth"):
        fl.EntropyRegularised(free, sampled, 1.0)
    with pytest.raises(TypeError, match="inside"):
        fl.EntropyRegularised(fl.Herglotz.linear(free, 0.5), SIMPLEX, 1.0)
    with pytest.raises(ValueError, match="negative"):
        fl.EntropyRegularised(free, SIMPLEX, -1.0)
    assert np.isnan(regularised().potential(jnp.array([0.5, 0.6, 0.2])))


def test_single_precision_stays_single():
    p = START.astype(jnp.float32)

    def cost(q):
        return q @ COSTS[:-1].astype(q.dtype)

    lagrangian = fl.EntropyRegularised(fl.FisherLagrangian(SIMPLEX, cost), SIMPLEX, TEMPERATURE)
    system = fl.Forced(lagrangian, fl.fisher_friction(SIMPLEX, 2.0))
    for function in (lagrangian, lambda t, q, v: fl.acceleration(system, t, q, v)):
        assert jax.eval_shape(function, 0.0, p, p).dtype == jnp.float32
