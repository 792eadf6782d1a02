"""Markov decisions on finitely many states, with an entropy bonus or a cost of information."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key

from fimlag._compiled import compiled
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.paths._soft_bellman import (
    AbstractBellman,
    backward_induction,
    soft_choice,
    soft_minimum,
    solve_bellman,
)


class SoftMDP(AbstractSolution):
    """The soft value of each state and the policy that attains it.

    With a finite horizon the arrays have a leading axis of steps (`value` of one more, the end); a stationary solution
    has none.

    **Attributes:** `value`: V, shape (n,); `policy`: the probabilities of the actions, shape (n, a), or for
    `linearly_solvable_mdp` of the next states, shape (n, n), short of one by that of the end; `residual`: the largest
    miss of the Bellman equation; `bound`: on the largest error of `value`; `iterations`: Newton steps (policy
    iterations), 0 for a finite horizon; `result`: a `RESULTS` member.
    """

    value: Float[Array, "*knots n"]
    policy: Float[Array, "*steps n a"]
    residual: Float[Array, ""]
    bound: Float[Array, ""]
    iterations: Int[Array, ""]
    result: RESULTS

    def sample(self, key: Key[Array, ""], state: Int[ArrayLike, ""], step: int = 0) -> Int[Array, ""]:
        """An action (or a next state) drawn from the policy; -1 for the end of a process that may end."""
        policy = self.policy
        if policy.ndim == 3:
            if not 0 <= step < policy.shape[0]:
                raise ValueError(f"step must be from 0 to {policy.shape[0] - 1}, but is {step}.")
            policy = policy[step]
        cumulative = jnp.cumsum(policy[state])
        drawn = jax.random.uniform(key, (), policy.dtype)
        # What round-off leaves to the right of the last action is no end.
        ends = 1 - cumulative[-1] > 4 * policy.shape[1] * float(jnp.finfo(policy.dtype).eps)
        drawn = jnp.where(ends, drawn, drawn * cumulative[-1])
        chosen = jnp.sum(cumulative <= drawn)
        return jnp.where(chosen == policy.shape[1], -1, chosen)


class _Decisions(AbstractBellman):
    r"""$V(s) = -T \log \sum_a b(a | s) \exp(-(c(s, a) + \gamma \sum_{s'} P(s' | s, a) V(s')) / T)$."""

    cost: Float[Array, "n a"]
    transitions: Float[Array, "n a n"]
    weights: Float[Array, "n a"]
    temperature: Float[Array, ""]
    discount: Float[Array, ""]

    def _costs(self, value):
        return self.cost + self.discount * (self.transitions @ value)

    def backup(self, value):
        return soft_minimum(self._costs(value), self.weights, self.temperature)

    def policy(self, value):
        return soft_choice(self._costs(value), self.weights, self.temperature)

    def evaluated(self, value):
        """The backup as the expected cost of the policy: a check on it."""
        policy = self.policy(value)
        ratio = jnp.where(policy > 0, policy / jnp.where(self.weights > 0, self.weights, 1.0), 1.0)
        return jnp.sum(policy * (self._costs(value) + self.temperature * jnp.log(ratio)), axis=1)

    def slope(self, value):
        return self.discount * jnp.einsum("sa,sat->st", self.policy(value), self.transitions)

    def passive(self):
        total = jnp.sum(self.weights, axis=1)
        policy = self.weights / total[:, None]
        cost = jnp.sum(policy * self.cost, axis=1) - self.temperature * jnp.log(total)
        return self.discount * jnp.einsum("sa,sat->st", policy, self.transitions), cost

    def contraction(self):
        return self.discount * jnp.max(jnp.sum(self.transitions, axis=2))

    def valid(self):
        allowed = jnp.all(self.weights >= 0) & jnp.all(jnp.sum(self.weights, axis=1) > 0)
        return allowed & _stochastic(self.transitions) & _options_valid(self)


class _Transitions(AbstractBellman):
    r"""$V(s) = q(s) - T \log \sum_{s'} p(s' | s) e^{-\gamma V(s') / T}$, where V of the end is 0."""

    cost: Float[Array, " n"]
    dynamics: Float[Array, "n n"]
    temperature: Float[Array, ""]
    discount: Float[Array, ""]

    def _ahead(self, value):
        """The costs and passive probabilities of what comes next, the end last."""
        n = self.cost.shape[0]
        end = 1 - jnp.sum(self.dynamics, axis=1)
        # A probability within the round-off of the sum is no end.
        end = jnp.where(end > 4 * n * float(jnp.finfo(end.dtype).eps), end, 0.0)
        costs = jnp.broadcast_to(self.discount * jnp.append(value, jnp.zeros((), value.dtype)), (n, n + 1))
        return costs, jnp.concatenate([self.dynamics, end[:, None]], axis=1)

    def backup(self, value):
        return self.cost + soft_minimum(*self._ahead(value), self.temperature)

    def policy(self, value):
        return soft_choice(*self._ahead(value), self.temperature)[:, :-1]

    def evaluated(self, value):
        """The backup as the expected cost of the policy: a check on it."""
        costs, weights = self._ahead(value)
        policy = soft_choice(costs, weights, self.temperature)
        ratio = jnp.where(policy > 0, policy / jnp.where(weights > 0, weights, 1.0), 1.0)
        return self.cost + jnp.sum(policy * (costs + self.temperature * jnp.log(ratio)), axis=1)

    def slope(self, value):
        return self.discount * self.policy(value)

    def passive(self):
        return self.discount * self.dynamics, self.cost

    def contraction(self):
        return self.discount * jnp.max(jnp.sum(self.dynamics, axis=1))

    def valid(self):
        return _stochastic(self.dynamics) & _options_valid(self)


def soft_mdp(
    cost: ArrayLike,
    transitions: ArrayLike,
    temperature: RealScalarLike,
    *,
    discount: RealScalarLike = 1.0,
    base_policy: ArrayLike | None = None,
    horizon: int | None = None,
    terminal: ArrayLike | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> SoftMDP:
    r"""A Markov decision process in which randomness is worth its entropy, or departing from a base policy costs.

    $$V(s) = \min_\pi \sum_a \pi(a | s) \Big( c(s, a) + T \log \frac{\pi(a | s)}{b(a | s)} +
    \gamma \sum_{s'} P(s' | s, a) V(s') \Big) = -T \log \sum_a b(a | s)\, e^{-Q(s, a) / T}$$

    with the policy $\pi \propto b\, e^{-Q / T}$. Without a base policy b = 1, and the penalty is T times the negative
    entropy. Temperature 0 gives the classical optimum. Where a row of the transitions sums to less than one, the rest
    is the probability that the process ends, at no further cost.

    The stationary problem is solved by policy iteration, which is Newton's method: a handful of linear solves, whatever
    the discount. Value and policy differentiate implicitly in all arguments.

    **Arguments:** `cost`: of each action in each state, shape (n, a), infinite where an action is not allowed.
    `transitions`: $P(s' | s, a)$, shape (n, a, n). `temperature`: T >= 0, in units of the cost per nat. `discount`: of
    the next step, from 0 to 1; 1 for a stationary problem only where the process ends. `base_policy`: b, shape (n, a).
    `horizon`: the number of steps; None for the stationary problem. `terminal`: the cost of each last state, shape
    (n,), zero if left out. `max_iterations`: the limit on Newton steps.

    **Returns:** a `SoftMDP`.

    **Raises:** `ValueError` for shapes or options that do not fit; with `throw`, an error for `nonfinite`,
    `out_of_range`, `never_ends` (the stationary cost is not bounded) or `max_steps_reached`.

    **Reference:** Ziebart (2010), chapter 6; Levine (2018), section 2; Puterman (1994), theorem 6.4.6, for policy
    iteration as Newton's method and section 6.3 for the bound.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> stay_or_go = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> plan = fl.soft_mdp(jnp.array([[1.0, 0.5], [0.0, 0.0]]), stay_or_go, 0.1, discount=0.9)
    >>> print(plan.value.round(4), plan.policy.round(4)[0])
    [-0.1238 -0.6931] [0. 1.]

    ```
    """
    dtype = precision_of(cost, transitions)
    cost, transitions = jnp.asarray(cost, dtype), jnp.asarray(transitions, dtype)
    if cost.ndim != 2 or transitions.shape != (*cost.shape, cost.shape[0]):
        raise ValueError(
            "cost must have shape (n, a) and transitions (n, a, n), but they have shapes "
            f"{cost.shape} and {transitions.shape}."
        )
    base = jnp.ones(cost.shape, dtype) if base_policy is None else jnp.asarray(base_policy, dtype)
    if base.shape != cost.shape:
        raise ValueError(f"base_policy must have the shape of cost, {cost.shape}, but has {base.shape}.")
    allowed = ~jnp.isposinf(cost)
    problem = _Decisions(
        jnp.where(allowed, cost, 0.0),
        transitions,
        jnp.where(allowed, base, 0.0),
        jnp.asarray(temperature, dtype),
        jnp.asarray(discount, dtype),
    )
    normalised = jnp.array(True) if base_policy is None else _sums_to_one(base)
    end = _terminal(terminal, horizon, cost.shape[0], dtype)
    return raise_unless_successful(_solve(problem, normalised, end, horizon, max_iterations), throw)


def linearly_solvable_mdp(
    cost: ArrayLike,
    passive: ArrayLike,
    temperature: RealScalarLike,
    *,
    discount: RealScalarLike = 1.0,
    horizon: int | None = None,
    terminal: ArrayLike | None = None,
    max_iterations: int = 64,
    throw: bool = True,
) -> SoftMDP:
    r"""A Markov decision process whose control is the choice of the next state, at the cost of information.

    $$V(s) = q(s) + \min_u \sum_{s'} u(s' | s) \Big( T \log \frac{u(s' | s)}{p(s' | s)} + \gamma V(s') \Big)$$

    Without a discount the desirability $z = e^{-V / T}$ solves the linear equation $z = e^{-q / T} P z$; here V itself
    is the unknown, so that nothing underflows. Where a row of the passive dynamics sums to less than one, the rest is
    the probability that the process ends, at no further cost: the cost of an exit is that of the state before it.

    **Arguments:** `cost`: q of each state, shape (n,). `passive`: $p(s' | s)$, shape (n, n). `temperature`, `discount`,
    `horizon`, `terminal`, `max_iterations`, `throw`: as for `soft_mdp`.

    **Returns:** a `SoftMDP`, whose policy is the controlled transitions u.

    **Raises:** as `soft_mdp`.

    **Reference:** Todorov (2009), equations 3 to 7; Kappen (2005).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> line = jnp.array([[0.5, 0.5], [0.5, 0.0]])  # the second state ends every other time
    >>> print(fl.linearly_solvable_mdp(jnp.array([1.0, 1.0]), line, 1.0).value.round(4))
    [3.1407 1.6508]

    ```
    """
    dtype = precision_of(cost, passive)
    cost, passive = jnp.asarray(cost, dtype), jnp.asarray(passive, dtype)
    if cost.ndim != 1 or passive.shape != 2 * cost.shape:
        raise ValueError(
            f"cost must have shape (n,) and passive (n, n), but they have shapes {cost.shape} and {passive.shape}."
        )
    problem = _Transitions(cost, passive, jnp.asarray(temperature, dtype), jnp.asarray(discount, dtype))
    end = _terminal(terminal, horizon, cost.shape[0], dtype)
    return raise_unless_successful(_solve(problem, jnp.array(True), end, horizon, max_iterations), throw)


def _terminal(terminal, horizon, n: int, dtype):
    if horizon is None and terminal is not None:
        raise ValueError("A terminal cost needs a `horizon`: a stationary problem has no end.")
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon must be at least 1, but is {horizon}.")
    end = jnp.zeros(n, dtype) if terminal is None else jnp.asarray(terminal, dtype)
    if end.shape != (n,):
        raise ValueError(f"terminal must have shape {(n,)}, but has {end.shape}.")
    return end


@compiled
def _solve(problem, normalised, terminal, horizon: int | None, max_iterations: int) -> SoftMDP:
    arrays = (*jax.tree_util.tree_leaves(problem), terminal)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays]))
    checks = ((~finite, RESULTS.nonfinite), (~(problem.valid() & normalised), RESULTS.out_of_range))
    if horizon is not None:
        return _by_induction(problem, terminal, horizon, checks)
    root = solve_bellman(problem, max_iterations)
    return SoftMDP(
        value=root.value,
        policy=problem.policy(root.value),
        residual=root.residual,
        bound=root.bound,
        iterations=root.iterations,
        result=first_failure(
            *checks,
            (~root.ends, RESULTS.never_ends),
            (~root.converged, RESULTS.max_steps_reached),
        ),
    )


def _by_induction(problem, terminal, horizon: int, checks) -> SoftMDP:
    value = backward_induction(problem, terminal, horizon)
    residual = jnp.max(jnp.abs(value[:-1] - jax.vmap(problem.evaluated)(value[1:])))
    grain = float(jnp.finfo(value.dtype).eps) * jnp.max(jnp.abs(value))
    return SoftMDP(
        value=value,
        policy=jax.vmap(problem.policy)(value[1:]),
        residual=residual,
        bound=horizon * jnp.maximum(residual, grain),  # a step back does not enlarge an error
        iterations=jnp.zeros((), int),
        result=first_failure(*checks, (~jnp.all(jnp.isfinite(value)), RESULTS.nonfinite)),
    )


def _options_valid(problem):
    return (problem.temperature >= 0) & (problem.discount >= 0) & (problem.discount <= 1)


def _stochastic(transitions):
    """Whether all entries are probabilities, and no row sums to more than one by more than round-off."""
    sums = jnp.sum(transitions, axis=-1)
    return jnp.all(transitions >= 0) & jnp.all(sums <= 1 + _grain(transitions))


def _sums_to_one(policy):
    return jnp.all(jnp.abs(jnp.sum(policy, axis=-1) - 1) <= _grain(policy))


def _grain(probabilities) -> float:
    """Round-off of a sum of probabilities that were normalised in turn."""
    return 16 * probabilities.shape[-1] * float(jnp.finfo(probabilities.dtype).eps)
