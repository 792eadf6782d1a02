"""Soft decision processes against enumerated policies and paths, sweeps of the Bellman equation, and closed forms."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

EPS = np.finfo(float).eps
STATES, ACTIONS = 4, 3


def random_process(seed, states=STATES, actions=ACTIONS):
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(0.5 * np.ones(states), (states, actions))
    return rng.normal(size=(states, actions)), transitions, rng.dirichlet(np.ones(actions), states)


COST, TRANSITIONS, BASE = random_process(0)


@functools.cache
def solver(**options):
    """The compiled stationary solve, shared by the tests."""
    arrays = {"base_policy": jnp.array(BASE)} if options.pop("based", False) else {}

    def solve(cost, temperature, discount):
        return fl.soft_mdp(cost, TRANSITIONS, temperature, discount=discount, throw=False, **arrays, **options)

    return jax.jit(jax.vmap(solve, (None, 0, 0)))


def sweeps(cost, transitions, weights, temperature, discount, count):
    value = np.zeros(len(cost))
    for _ in range(count):
        total = np.sum(weights * np.exp(-(cost + discount * transitions @ value) / temperature), axis=1)
        value = -temperature * np.log(total)
    return value


@pytest.mark.parametrize("based", [False, True])
def test_stationary_value_is_the_limit_of_sweeps(based):
    temperatures, discounts = np.array([0.05, 0.3, 4.0]), np.array([0.95, 0.5, 0.9])
    solution = solver(based=based)(COST, temperatures, discounts)
    weights = BASE if based else np.ones_like(BASE)
    for k in range(3):
        expected = sweeps(COST, TRANSITIONS, weights, temperatures[k], discounts[k], 900)
        np.testing.assert_allclose(solution.value[k], expected, rtol=1e-12, atol=1e-12)
        assert np.max(np.abs(solution.value[k] - expected)) <= solution.bound[k] + 1e3 * EPS
    assert bool(jnp.all(solution.succeeded))


def cost_of_policy(policy, temperature, discount, weights):
    """The value of any policy, entropy and all."""
    information = np.where(policy > 0, np.log(np.where(policy > 0, policy, 1.0) / weights), 0.0)
    cost = np.sum(policy * (COST + temperature * information), axis=1)
    chain = np.einsum("sa,sat->st", policy, TRANSITIONS)
    return np.linalg.solve(np.eye(len(cost)) - discount * chain, cost)


def test_no_policy_is_better_in_any_state():
    solution = solver(based=True)(COST, np.array([0.3]), np.array([0.9]))
    value, policy = np.asarray(solution.value[0]), np.asarray(solution.policy[0])
    np.testing.assert_allclose(cost_of_policy(policy, 0.3, 0.9, BASE), value, rtol=1e-12)
    rng = np.random.default_rng(1)
    rivals = rng.dirichlet(np.ones(ACTIONS), (200, STATES))
    rivals[:100] = 0.99 * policy + 0.01 * rivals[:100]
    for rival in rivals:
        assert np.all(cost_of_policy(rival, 0.3, 0.9, BASE) >= value - 1e3 * EPS)


def test_temperature_zero_is_the_best_of_all_deterministic_policies():
    solution = solver()(COST, np.array([0.0, 1e-3]), np.array([0.9, 0.9]))
    values = [
        cost_of_policy(np.eye(ACTIONS)[list(choice)], 0.0, 0.9, np.ones_like(BASE))
        for choice in itertools.product(range(ACTIONS), repeat=STATES)
    ]
    best = np.min(values, axis=0)
    np.testing.assert_allclose(solution.value[0], best, rtol=1e-13)
    np.testing.assert_array_equal(np.max(solution.policy[0], axis=1), 1.0)
    # the entropy of a policy is at most log a in each step
    softened = np.asarray(solution.value[1])
    assert np.all(softened <= best + 1e3 * EPS)
    assert np.all(softened >= best - 1e-3 * np.log(ACTIONS) / (1 - 0.9))


def test_steps_do_not_grow_as_the_discount_nears_one():
    discounts = 1 - np.array([1e-1, 1e-3, 1e-5, 1e-7, 1e-9])
    solution = solver()(COST, np.full(5, 0.2), discounts)
    assert bool(jnp.all(solution.succeeded))
    assert int(jnp.max(solution.iterations)) <= 12
    # (1 - discount) V tends to one number, the mean cost, in every state
    means = (1 - discounts)[:, None] * np.asarray(solution.value)
    np.testing.assert_allclose(means[-1], means[-1, 0], rtol=1e-6)
    np.testing.assert_allclose(means[-1], means[-2], rtol=1e-5)


def test_bound_covers_the_error_near_discount_one():
    gamma, temperature = 1 - 1e-9, 0.1
    stay = np.ones((1, 2, 1))
    solution = fl.soft_mdp(jnp.zeros((1, 2)), stay, temperature, discount=gamma)
    expected = -temperature * np.log(2.0) / (1 - gamma)
    assert abs(float(solution.value[0]) - expected) <= float(solution.bound)
    assert float(solution.bound) <= 1e-5 * abs(expected)


def test_finite_horizon_sums_over_all_sequences_of_actions():
    rng = np.random.default_rng(3)
    following = rng.integers(0, STATES, (STATES, ACTIONS))
    end, temperature, gamma = rng.normal(size=STATES), 0.4, 0.8
    solution = fl.soft_mdp(
        COST,
        np.eye(STATES)[following],
        temperature,
        discount=1.0,
        base_policy=BASE,
        horizon=4,
        terminal=end,
    )
    total = 0.0
    for actions in itertools.product(range(ACTIONS), repeat=4):
        state, cost, weight = 2, 0.0, 1.0
        for action in actions:
            cost, weight, state = cost + COST[state, action], weight * BASE[state, action], following[state, action]
        total += weight * np.exp(-(cost + end[state]) / temperature)
    np.testing.assert_allclose(solution.value[0, 2], -temperature * np.log(total), rtol=1e-13)
    assert float(solution.residual) <= 1e2 * EPS
    discounted = fl.soft_mdp(COST, TRANSITIONS, temperature, discount=gamma, horizon=400)
    np.testing.assert_allclose(
        discounted.value[0], solver()(COST, np.array([temperature]), np.array([gamma])).value[0], rtol=1e-12
    )


def passive_walk(states=6, end=0.2):
    rng = np.random.default_rng(5)
    return rng.uniform(0.0, 1.0, states), (1 - end) * rng.dirichlet(np.ones(states), states)


def test_linearly_solvable_process_solves_todorovs_linear_equation():
    cost, passive = passive_walk()
    solution = fl.linearly_solvable_mdp(cost, passive, 0.7)
    likelihood = np.exp(-cost / 0.7)
    ending = 1 - passive.sum(axis=1)
    desirability = np.linalg.solve(np.eye(6) - likelihood[:, None] * passive, likelihood * ending)
    np.testing.assert_allclose(solution.value, -0.7 * np.log(desirability), rtol=1e-12)
    tilted = passive * desirability
    controlled = tilted / (tilted.sum(axis=1) + ending)[:, None]
    np.testing.assert_allclose(solution.policy, controlled, rtol=1e-12)


def test_linearly_solvable_process_is_a_decision_process_whose_actions_are_next_states():
    cost, passive = passive_walk(end=0.0)
    following = np.broadcast_to(np.eye(6), (6, 6, 6))
    whole = fl.soft_mdp(np.tile(cost[:, None], 6), following, 0.7, discount=0.9, base_policy=passive)
    solution = fl.linearly_solvable_mdp(cost, passive, 0.7, discount=0.9)
    np.testing.assert_allclose(solution.value, whole.value, rtol=1e-13)
    np.testing.assert_allclose(solution.policy, whole.policy, rtol=1e-12)


def test_desirability_may_underflow_by_any_amount():
    cost, passive = passive_walk()
    cold = fl.linearly_solvable_mdp(cost, passive, 1e-4)  # exp(-V / T) is below 1e-308
    hard = fl.linearly_solvable_mdp(cost, passive, 0.0)
    assert float(jnp.max(hard.value)) / 1e-4 > 745
    # the cheapest way is to end at once, which costs the information -T log(1 - sum p) at most
    np.testing.assert_allclose(hard.value, cost, rtol=1e-13)
    np.testing.assert_allclose(cold.value, hard.value, atol=1.1e-4 * np.log(1 / 0.2))


def test_derivative_of_the_value_in_the_costs_is_the_discounted_occupancy():
    solution = solver()(COST, np.array([0.3]), np.array([0.9]))
    derivative = jax.jit(jax.jacrev(lambda cost: solver()(cost, np.array([0.3]), np.array([0.9])).value[0]))
    policy = np.asarray(solution.policy[0])
    chain = np.einsum("sa,sat->st", policy, TRANSITIONS)
    visits = np.linalg.inv(np.eye(STATES) - 0.9 * chain)
    expected = visits[:, :, None] * policy[None]
    np.testing.assert_allclose(derivative(jnp.array(COST)), expected, rtol=1e-11, atol=1e-13)


def test_second_derivative_in_the_temperature_agrees_with_differences():
    def value(temperature):
        return jnp.sum(solver()(jnp.array(COST), temperature[None], jnp.array([0.9])).value)

    slope = jax.jit(jax.grad(value))
    curvature = jax.jit(jax.grad(jax.grad(value)))
    at, step = jnp.array(0.3), 1e-4  # the differences err by its square
    np.testing.assert_allclose(slope(at), (value(at + step) - value(at - step)) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(curvature(at), (slope(at + step) - slope(at - step)) / (2 * step), rtol=1e-5)


def test_infinite_cost_forbids_an_action():
    forbidden, base = COST.copy(), BASE.copy()
    forbidden[:, 1], base[:, 1] = np.inf, 0.0
    removed = fl.soft_mdp(np.delete(COST, 1, 1), np.delete(TRANSITIONS, 1, 1), 0.3, discount=0.9)
    solution = fl.soft_mdp(forbidden, TRANSITIONS, 0.3, discount=0.9)
    np.testing.assert_allclose(solution.value, removed.value, rtol=1e-13)
    np.testing.assert_array_equal(solution.policy[:, 1], 0.0)


def test_drawn_actions_follow_the_policy():
    solution = solver()(COST, np.array([0.3]), np.array([0.9]))
    plan = jax.tree_util.tree_map(lambda x: x[0], solution)
    count = 20_000
    drawn = jax.vmap(lambda key: plan.sample(key, 1))(jax.random.split(jax.random.key(0), count))
    shares = np.bincount(np.asarray(drawn), minlength=ACTIONS) / count
    expected = np.asarray(plan.policy[1])
    assert np.all(np.abs(shares - expected) <= 4 * np.sqrt(expected * (1 - expected) / count))


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_exit_that_chance_never_finds_is_found(temperature):
    # nine of ten actions drift back: by chance the walk takes 9^100 steps, by the tenth action about one a state
    n, ahead = 100, np.array([0.99] + [0.01] * 9)
    transitions = np.zeros((n, 10, n))
    for i in range(n):
        transitions[i, :, max(i - 1, 0)] += 1 - ahead
        if i + 1 < n:
            transitions[i, :, i + 1] += ahead
    solution = fl.soft_mdp(np.ones((n, 10)), transitions, temperature)
    assert n < float(solution.value[0]) < 1.05 * n
    assert float(solution.bound) < 1e-9


def failed(result, *arguments, solve=fl.soft_mdp, **options):
    return bool(solve(*arguments, throw=False, **options).result == result)


def test_failures_are_named():
    assert failed(fl.RESULTS.never_ends, COST, TRANSITIONS, 0.3)
    assert failed(fl.RESULTS.out_of_range, COST, TRANSITIONS, -0.3, discount=0.9)
    assert failed(fl.RESULTS.out_of_range, COST, TRANSITIONS, 0.3, discount=1.1)
    assert failed(fl.RESULTS.out_of_range, COST, 1.1 * TRANSITIONS, 0.3, discount=0.9)
    assert failed(fl.RESULTS.out_of_range, COST, TRANSITIONS, 0.3, discount=0.9, base_policy=2 * BASE)
    assert failed(fl.RESULTS.nonfinite, np.nan * COST, TRANSITIONS, 0.3, discount=0.9)
    assert failed(fl.RESULTS.max_steps_reached, COST, TRANSITIONS, 0.3, discount=0.9, max_iterations=1)
    # costs below zero in a loop that need not be left are gathered for ever
    assert failed(fl.RESULTS.never_ends, -np.ones(6), passive_walk()[1], 0.3, solve=fl.linearly_solvable_mdp)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="transitions"):
        fl.soft_mdp(COST, TRANSITIONS[:, :2], 0.3)
    with pytest.raises(ValueError, match="terminal"):
        fl.soft_mdp(COST, TRANSITIONS, 0.3, horizon=2, terminal=np.zeros(2))
    with pytest.raises(ValueError, match="horizon"):
        fl.soft_mdp(COST, TRANSITIONS, 0.3, terminal=np.zeros(STATES))


def test_single_precision_stays_single():
    single = fl.soft_mdp(COST.astype(np.float32), TRANSITIONS.astype(np.float32), 0.3, discount=0.9)
    assert single.value.dtype == single.policy.dtype == jnp.float32
    np.testing.assert_allclose(single.value, solver()(COST, np.array([0.3]), np.array([0.9])).value[0], rtol=1e-5)


def test_integers_are_numbers():
    solution = fl.soft_mdp(np.array([[0, 1]]), np.array([[[0], [0]]]), 0.5)  # one step, then the end
    np.testing.assert_allclose(solution.value, -0.5 * np.log(1 + np.exp(-2.0)), rtol=1e-14)


def test_solve_lowers_without_the_device():
    traced = jax.jit(lambda cost: fl.soft_mdp(cost, TRANSITIONS, 0.3, discount=0.9, throw=False).value).trace(COST)
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()
