"""How fast and how accurate is a path of least action, beside a boundary-value solver and descent?

Two problems: the Fisher-Rao geodesic between two normal distributions, whose distance (Rao's) has a closed form, and
the noise-driven way of Maier and Stein's system (beta = 10) from its attractor to its saddle in a given time, whose
least action is taken from a finer mesh of the first contender. SciPy's solve_bvp solves the same Euler-Lagrange
equations, with accelerations by hand and vectorised, from the same first path on as many nodes; optax's L-BFGS and
Adam lower the same discretised action. Then a thousand end points: side by side, and in a loop of solve_bvp.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _timing import Contender, compare, compiled, options, print_setting
from scipy.integrate import solve_bvp

import fimlag as fl
from fimlag.problems import MaierStein, NormalFisher

DEGREE = 8
OF_MANY_NODES = 5
"""The degree of elements where there are more than the accuracy needs: a low one takes less work for each node."""


class Problem(NamedTuple):
    """A Lagrangian between two ends in a time, its accelerations in numpy, a first path, and the truth."""

    name: str
    lagrangian: Callable
    acceleration: Callable
    q0: np.ndarray
    q1: np.ndarray
    duration: float
    guess: Callable
    quantity: Callable
    truth: float


def geodesic_of_normals() -> Problem:
    start, end = np.array([0.0, 1.0]), np.array([3.0, 0.5])
    distance = float(fl.families.Normal().distance(jnp.asarray(start), jnp.asarray(end)))

    def acceleration(q, v):
        return np.stack([2 * v[0] * v[1] / q[1], (v[1] ** 2 - v[0] ** 2 / 2) / q[1]])

    def chord(t):
        return start + t * (end - start)

    def length(action):
        return np.sqrt(2 * action)

    lagrangian = NormalFisher().lagrangian
    return Problem("geodesic of normals", lagrangian, acceleration, start, end, 1.0, chord, length, distance)


def maier_stein(beta=10.0, duration=20.0) -> Problem:
    lagrangian = fl.FreidlinWentzell(MaierStein(beta), 1.0)
    start, end = np.array([-1.0, 0.0]), np.array([0.0, 0.0])

    def acceleration(q, v):
        """From p = v - b, p' = -J^T p: v' = J v - J^T (v - b)."""
        x, y = q
        drift = np.stack([x - x**3 - beta * x * y**2, -(1 + x**2) * y])
        jacobian = np.array([[1 - 3 * x**2 - beta * y**2, -2 * beta * x * y], [-2 * x * y, -(1 + x**2)]])
        return np.einsum("ij...,j...->i...", jacobian, v) - np.einsum("ji...,j...->i...", jacobian, v - drift)

    def bow(t):
        share = t / duration
        return jnp.array([share - 1, 0.3 * jnp.sin(jnp.pi * share)])

    name = "way of Maier and Stein"
    problem = Problem(name, lagrangian, acceleration, start, end, duration, bow, np.asarray, np.nan)
    return problem._replace(truth=float(path_action(problem, start, end, nodes=640, degree=10)[0]))


def path_action(problem: Problem, q0, q1, nodes, degree=DEGREE, method=None):
    """The action of the path, and whether it counts as solved."""
    solution = fl.least_action_path(
        problem.lagrangian,
        jnp.asarray(q0),
        jnp.asarray(q1),
        0.0,
        problem.duration,
        elements=nodes // degree,
        degree=degree,
        guess=problem.guess,
        method=method,
        throw=False,
    )
    return solution.action, solution.succeeded


def boundary_values(problem: Problem, q1, nodes, tolerance):
    """solve_bvp on position and velocity, from the same first path on a number of nodes."""
    d = q1.size
    mesh = np.linspace(0.0, problem.duration, nodes)
    first = np.asarray(jax.vmap(problem.guess)(mesh)).T
    first = first + (q1 - first[:, -1])[:, None] * mesh / problem.duration

    def equations(t, y):
        return np.concatenate([y[d:], problem.acceleration(y[:d], y[d:])])

    def ends(first, last):
        return np.concatenate([first[:d] - problem.q0, last[:d] - q1])

    speeds = np.gradient(first, mesh, axis=1)
    return solve_bvp(equations, ends, mesh, np.concatenate([first, speeds]), tol=tolerance, max_nodes=100_000)


def action_along(problem: Problem, solved):
    """The action of a path that solve_bvp returned, by Gauss quadrature on its own mesh."""
    nodes, weights = np.polynomial.legendre.leggauss(6)
    steps = np.diff(solved.x)
    times = (solved.x[:-1, None] + steps[:, None] * (nodes + 1) / 2).ravel()
    d = problem.q0.size
    values = jax.vmap(problem.lagrangian)(times, solved.sol(times)[:d].T, solved.sol(times, 1)[:d].T)
    return np.asarray(values) @ (steps[:, None] * weights / 2).ravel()


def accuracy(problem: Problem, action, solved) -> str:
    error = abs(problem.quantity(np.asarray(action)) - problem.truth)
    return f"error {error:.0e}" + ("" if solved else ", not solved to its own criterion")


def at_nodes(problem: Problem, nodes: int, rounds: int, quick: bool):
    """One path on a number of nodes, by every method."""
    limit = 200 if quick else 2000
    ways = {
        "fimlag, Newton": None,
        "optax L-BFGS": fl.Descent(max_iterations=limit),
        "optax Adam": fl.Descent(optax.adam(3e-3), max_iterations=limit),
    }
    contenders = []
    for name, method in ways.items():
        function = partial(path_action, problem, nodes=nodes, degree=OF_MANY_NODES, method=method)
        executable, seconds = compiled(function, jnp.asarray(problem.q0), jnp.asarray(problem.q1))
        run = partial(executable, jnp.asarray(problem.q0), jnp.asarray(problem.q1))
        contenders.append(Contender(name, run, accuracy(problem, *run()), seconds))
    for tolerance in (1e-6, 1e-10):
        run = partial(boundary_values, problem, problem.q1, nodes, tolerance)
        found = run()
        report = accuracy(problem, action_along(problem, found), found.success)
        contenders.append(Contender(f"scipy solve_bvp, tol {tolerance:.0e}", run, report))
    compare(f"{problem.name}, {nodes} nodes", contenders, rounds)


def batch(problem: Problem, rounds: int, quick: bool):
    """Many end points: side by side, and in a loop of solve_bvp."""
    members = 10 if quick else 1000
    generator = np.random.default_rng(0)
    means, deviations = generator.uniform(-3, 3, members), np.exp(generator.uniform(-1, 1, members))
    ends = jnp.asarray(np.stack([means, deviations], axis=1))
    distances = jax.vmap(fl.families.Normal().distance, (None, 0))(jnp.asarray(problem.q0), ends)
    contenders = []
    for elements in (2, 4, 8):
        function = jax.vmap(partial(path_action, problem, jnp.asarray(problem.q0), nodes=elements * DEGREE))
        executable, seconds = compiled(function, ends)
        run = partial(executable, ends)
        name = f"fimlag, vmap, {elements} elements"
        contenders.append(Contender(name, run, worst_distance(*run(), distances), seconds))
    for tolerance in (1e-3, 1e-6):

        def run(tolerance=tolerance):
            return [boundary_values(problem, end, 17, tolerance) for end in np.asarray(ends)]

        found = run()
        actions = np.array([action_along(problem, each) for each in found])
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
    for problem in (geodesic, maier_stein()):
        for nodes in (100,) if quick else (100, 1_000, 10_000):
            at_nodes(problem, nodes, 2 if quick else 5, quick)
    batch(geodesic, 2 if quick else 3, quick)


if __name__ == "__main__":
    main()
