"""Minima of a convex potential less a linear function: Legendre transforms and projections."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from fimlag._implicit import frozen, implicit_root
from fimlag._linear import solve

_HALVINGS = 24
_ITERATIONS = 100
_POLISHES = 3  # each squares an error that starts below a hundredth


class ConvexProblem(eqx.Module):
    r"""Minimise $F(o + B u) - c \cdot u$ over u: at the minimum $B^\top \nabla F = c$."""

    potential: Callable
    origin: Float[Array, " d"]
    directions: Float[Array, "d k"]
    target: Float[Array, " k"]

    def point(self, u):
        return self.origin + self.directions @ u

    def value(self, u):
        return self.potential(self.point(u)) - self.target @ u

    def gradient(self, u):
        return self.directions.T @ jax.grad(self.potential)(self.point(u)) - self.target

    def hessian(self, u):
        half = jax.vmap(lambda v: jax.jvp(jax.grad(self.potential), (self.point(u),), (v,))[1], 1, 1)(self.directions)
        return self.directions.T @ half

    def solver(self, u):
        """The solver of linear systems with the Hessian."""
        matrix = self.hessian(u)
        return lambda right: solve(matrix, right)


class _State(eqx.Module):
    u: Float[Array, " k"]
    hessian: Float[Array, "k k"]
    iterations: Array
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def convex_minimum(problem: ConvexProblem, start: Float[Array, " k"]) -> tuple[Float[Array, " k"], Bool[Array, ""]]:
    """The minimum by Newton's method with halved steps, and whether it was reached.

    It is taken for reached where the next step leaves the Hessian as it is, in every direction: a flat one says little
    in the value. Towards a minimum at infinity it goes on changing. Derivatives are those of the minimum.

    **Reference:** Boyd & Vandenberghe (2004), section 9.5.
    """
    fixed = frozen(problem)
    state = _newton(fixed, lax.stop_gradient(start))
    polished = lax.fori_loop(0, _POLISHES, lambda _, u: _polished(fixed, u), state.u)
    root = implicit_root(polished, problem, gradient=ConvexProblem.gradient, factor=ConvexProblem.solver)
    return root, state.converged & _determined(fixed, polished)


def _polished(problem, u):
    better = u - problem.solver(u)(problem.gradient(u))
    return jnp.where(jnp.all(jnp.isfinite(better)), better, u)


def _determined(problem, u):
    """Whether round-off in the target leaves the minimum where it is: not so next to one at infinity."""
    noise = 4.0 * float(jnp.finfo(u.dtype).eps) * jnp.abs(problem.target)
    shift = problem.solver(u)(noise)
    here, there = (shift @ (problem.hessian(point) @ shift) for point in (u, u + shift))
    return jnp.abs(there - here) <= 0.5 * here


def _newton(problem, start):
    lengths = 0.5 ** jnp.arange(_HALVINGS, dtype=start.dtype)
    eps = float(jnp.finfo(start.dtype).eps)

    def advance(state):
        gradient = problem.gradient(state.u)
        step = -solve(state.hessian, gradient)
        squared = -jnp.vdot(gradient, step)
        # Next to the minimum the value no longer tells.
        close = jnp.sqrt(squared) <= eps**0.4
        value = problem.value(state.u)
        trials = jax.vmap(lambda length: problem.value(state.u + length * step))(lengths)
        noise = 64.0 * eps * (jnp.abs(value) + jnp.abs(problem.target @ state.u))
        enough = jnp.isfinite(trials) & (trials <= value - 1e-4 * lengths * squared + noise)
        length = jnp.where(close, 1.0, lengths[jnp.argmax(enough)])
        accepted = (jnp.any(enough) | close) & (squared >= 0.0)
        u = jnp.where(accepted, state.u + length * step, state.u)
        hessian = problem.hessian(u)
        converged = accepted & close & (_relative_change(state.hessian, hessian) <= 0.1)
        return _State(u, hessian, state.iterations + 1, converged, ~accepted)

    def unfinished(state):
        return ~state.converged & ~state.failed & (state.iterations < _ITERATIONS)

    no = jnp.asarray(False)
    first = _State(start, problem.hessian(start), jnp.asarray(0), no, no)
    return lax.while_loop(unfinished, advance, first)


def _relative_change(before, after):
    """The largest entry of $H^{-1} H' - 1$ in units of the diagonal of H: NaN where H is singular."""
    units = jnp.sqrt(jnp.abs(jnp.diagonal(before)))
    change = solve(before, after) - jnp.eye(before.shape[0], dtype=before.dtype)
    return jnp.max(jnp.abs(units[:, None] * change / units[None, :]))
