"""How fast and how accurate is a path of least action, beside a boundary-value solver and a quasi-Newton method?

Two problems: the Fisher-Rao geodesic between two normal distributions, whose distance (Rao's) and points have closed
forms, and the crossing of a noisy double well in a given time, whose action follows from a quadrature. SciPy's
solve_bvp solves the same Euler-Lagrange equations, with accelerations by hand and vectorised; optax's L-BFGS lowers
the same discretised action. All start from the chord. Errors: of distance or action, and the largest of the points.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _timing import Contender, compare, compiled, options, print_setting
from scipy.integrate import quad, solve_bvp, solve_ivp
from scipy.optimize import brentq

import fimlag as fl
from fimlag._flat import flatten
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.paths._discrete_action import DiscreteAction
from fimlag.paths._mesh import equal_knots
from fimlag.problems import NormalFisher

FRACTIONS = np.linspace(0.0, 1.0, 101)


class Problem(NamedTuple):
    """A Lagrangian between two ends in a time, the accelerations in numpy, and the truth: a number and the points."""

    name: str
    lagrangian: Callable
    acceleration: Callable
    q0: np.ndarray
    q1: np.ndarray
    duration: float
    quantity: Callable[[np.ndarray], np.ndarray]
    truth: float
    points: np.ndarray


def geodesic_of_normals() -> Problem:
    start, end = np.array([0.0, 1.0]), np.array([3.0, 0.5])
    distance = float(fl.families.Normal().distance(jnp.asarray(start), jnp.asarray(end)))
    # The half-circle through both points in the half-plane (mu / sqrt 2, sigma).
    (x0, y0), (x1, y1) = start / [np.sqrt(2), 1], end / [np.sqrt(2), 1]
    centre = (x1**2 + y1**2 - x0**2 - y0**2) / (2 * (x1 - x0))
    tangent = np.array([y0, centre - x0]) / np.hypot(y0, centre - x0)
    velocity = distance / np.sqrt(2) * y0 * tangent * [np.sqrt(2), 1]
    points = jax.vmap(NormalFisher().geodesic, (0, None, None))(FRACTIONS, start, velocity)
    assert np.allclose(points[-1], end, rtol=1e-12)

    def acceleration(q, v):
        return np.stack([2 * v[0] * v[1] / q[1], (v[1] ** 2 - v[0] ** 2 / 2) / q[1]])

    def length(action):
        return np.sqrt(2 * action)

    lagrangian = NormalFisher().lagrangian
    return Problem("geodesic of normals", lagrangian, acceleration, start, end, 1.0, length, distance, points)


def double_well() -> Problem:
    """The least action (v - b)^2 / 2 of dX = b dt + noise, b = q - q^3, between the wells in a time of 10."""
    duration = 10.0

    def lagrangian(t, q, v):
        return jnp.sum((v - q + q**3) ** 2) / 2

    def acceleration(q, v):
        return (q - q**3) * (1 - 3 * q**2)

    def speed(q, energy):
        return np.sqrt((q - q**3) ** 2 + 2 * energy)

    def integral(f):
        return 2 * quad(f, 0.0, 1.0, epsabs=1e-13, epsrel=1e-13, limit=500)[0]

    def lateness(log_energy):
        return integral(lambda q: 1 / speed(q, np.exp(log_energy))) - duration

    energy = np.exp(brentq(lateness, -12.0, 0.0, xtol=1e-15))
    action = integral(lambda q: speed(q, energy)) - energy * duration
    flow = solve_ivp(
        lambda t, q: speed(q, energy), (0, duration), [-1.0], "DOP853", FRACTIONS * duration, rtol=1e-13, atol=1e-14
    )
    ends = np.array([-1.0]), np.array([1.0])
    return Problem("double well", lagrangian, acceleration, *ends, duration, np.asarray, action, flow.y.T)


def newton(lagrangian, q0, q1, duration, elements=8, degree=8):
    """Ours: the action, the points and whether the path counts as solved."""
    solution = fl.least_action_path(lagrangian, q0, q1, 0.0, duration, elements=elements, degree=degree, throw=False)
    return solution.action, jax.vmap(solution.path)(duration * FRACTIONS), solution.succeeded


def quasi_newton(lagrangian, q0, q1, duration, elements=8, degree=8, tolerance=1e-8, limit=5000):
    """L-BFGS on the same discretised action, until no entry of its gradient exceeds the tolerance."""
    structure = flatten(q0)[1]
    q0, q1, times = jnp.asarray(q0), jnp.asarray(q1), (jnp.zeros(()), jnp.asarray(duration))
    one_lane = (x[..., None] for x in (q0, q1 - q0, *times))
    problem = DiscreteAction(FlatLagrangian(lagrangian, structure), *one_lane, elements, degree, degree + 2)
    optimiser = optax.lbfgs()

    def action(u):
        return problem.values(u[..., None])[0]

    value_and_gradient = optax.value_and_grad_from_state(action)

    def step(carry):
        u, state, _, number = carry
        value, gradient = value_and_gradient(u, state=state)
        updates, state = optimiser.update(gradient, state, u, value=value, grad=gradient, value_fn=action)
        return optax.apply_updates(u, updates), state, jnp.max(jnp.abs(gradient)), number + 1

    def unfinished(carry):
        return (carry[2] > tolerance) & (carry[3] < limit)

    u = jnp.zeros((elements * degree - 1, q0.size))
    u, _, residual, _ = jax.lax.while_loop(unfinished, step, (u, optimiser.init(u), jnp.inf, 0))
    path = fl.Path(equal_knots(*times, elements), q0, problem.offsets(u[..., None])[..., 0], degree, structure)
    return action(u), jax.vmap(path)(duration * FRACTIONS), residual <= tolerance


def boundary_values(problem: Problem, q1, tolerance):
    """solve_bvp on position and velocity, from the chord on 17 nodes."""
    d = q1.size
    mesh = np.linspace(0.0, problem.duration, 17)
    chord = problem.q0[:, None] + (q1 - problem.q0)[:, None] * mesh / problem.duration
    speeds = np.broadcast_to((q1 - problem.q0)[:, None] / problem.duration, chord.shape)

    def equations(t, y):
        return np.concatenate([y[d:], problem.acceleration(y[:d], y[d:])])

    def ends(first, last):
        return np.concatenate([first[:d] - problem.q0, last[:d] - q1])

    return solve_bvp(equations, ends, mesh, np.concatenate([chord, speeds]), tol=tolerance, max_nodes=100_000)


def boundary_values_of_all(problem: Problem, ends, tolerance):
    return [boundary_values(problem, end, tolerance) for end in ends]


def action_and_points(problem: Problem, solved):
    """The action of a path that solve_bvp returned, by Gauss quadrature on its own mesh, and its points."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    steps = np.diff(solved.x)
    times = (solved.x[:-1, None] + steps[:, None] * (nodes + 1) / 2).ravel()
    d = problem.q0.size
    values = jax.vmap(problem.lagrangian)(times, solved.sol(times)[:d].T, solved.sol(times, 1)[:d].T)
    action = np.asarray(values) @ (steps[:, None] * weights / 2).ravel()
    return action, solved.sol(problem.duration * FRACTIONS)[:d].T


def single(problem: Problem, rounds: int, quick: bool):
    ends = jnp.asarray(problem.q0), jnp.asarray(problem.q1)
    ways = {"fimlag, 8 elements of degree 8": partial(newton, problem.lagrangian)}
    if not quick:
        ways["fimlag, 4 elements of degree 8"] = partial(newton, problem.lagrangian, elements=4)
        ways["fimlag, 16 elements of degree 8"] = partial(newton, problem.lagrangian, elements=16)
    if not quick and isinstance(problem.lagrangian, fl.NaturalLagrangian):
        from_likelihood = fl.FisherLagrangian(fl.families.Normal().model)
        ways["fimlag, from the log-likelihood"] = partial(newton, from_likelihood)
    ways["optax L-BFGS, 8 elements of degree 8"] = partial(quasi_newton, problem.lagrangian)
    contenders = []
    for name, function in ways.items():
        executable, seconds = compiled(partial(function, duration=problem.duration), *ends)
        run = partial(executable, *ends)
        contenders.append(Contender(name, run, accuracy(problem, *run()), seconds))
    for tolerance in (1e-3, 1e-6, 1e-9):
        run = partial(boundary_values, problem, problem.q1, tolerance)
        found = run()
        report = accuracy(problem, *action_and_points(problem, found), found.success)
        contenders.append(Contender(f"scipy solve_bvp, tol {tolerance:.0e}", run, report))
    compare(f"{problem.name}, one path", contenders, rounds)


def accuracy(problem: Problem, action, points, solved) -> str:
    error = abs(problem.quantity(np.asarray(action)) - problem.truth)
    worst = np.max(np.abs(np.asarray(points) - problem.points))
    return f"errors {error:.0e}, {worst:.0e}" + ("" if solved else ", not solved to its own criterion")


def batch(problem: Problem, rounds: int, quick: bool):
    members = 10 if quick else 200
    generator = np.random.default_rng(0)
    means, deviations = generator.uniform(-3, 3, members), np.exp(generator.uniform(-1, 1, members))
    ends = jnp.asarray(np.stack([means, deviations], axis=1))
    q0 = jnp.asarray(problem.q0)
    distances = jax.vmap(fl.families.Normal().distance, (None, 0))(q0, ends)
    contenders = []
    ways = {"fimlag, vmap": newton}
    if not quick:
        ways |= {"fimlag, vmap, 4 elements": partial(newton, elements=4), "optax L-BFGS, vmap": quasi_newton}
    for name, way in ways.items():
        function = jax.vmap(partial(way, problem.lagrangian, duration=1.0), (None, 0))
        executable, seconds = compiled(function, q0, ends)
        run = partial(executable, q0, ends)
        actions, _, solved = run()
        contenders.append(Contender(name, run, worst_distance(actions, solved, distances), seconds))
    for tolerance in (1e-3, 1e-6):
        run = partial(boundary_values_of_all, problem, np.asarray(ends), tolerance)
        found = run()
        actions = np.array([action_and_points(problem, each)[0] for each in found])
        report = worst_distance(actions, np.array([each.success for each in found]), distances)
        contenders.append(Contender(f"loop of scipy solve_bvp, tol {tolerance:.0e}", run, report))
    compare(f"{problem.name}, {members} end points", contenders, rounds)


def worst_distance(actions, solved, distances) -> str:
    error = np.abs(np.sqrt(2 * np.asarray(actions)) - np.asarray(distances))
    failed = np.sum(~np.asarray(solved))
    return f"largest error of the distance {np.max(error):.0e}" + (f", {failed} not solved" if failed else "")


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    geodesic = geodesic_of_normals()
    for problem in (geodesic, double_well()):
        single(problem, 2 if quick else 9, quick)
    batch(geodesic, 2 if quick else 3, quick)


if __name__ == "__main__":
    main()
