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
    decrement: Float[Array, ""]
    iterations: Array
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def convex_minimum(problem: ConvexProblem, start: Float[Array, " k"]) -> tuple[Float[Array, " k"], Bool[Array, ""]]:
    """The minimum by Newton's method with halved steps, and whether it was reached.

    Towards a minimum at infinity the steps shorten, but not quadratically: it is not taken for one. Derivatives are
    those of the minimum.

    **Reference:** Boyd & Vandenberghe (2004), section 9.5.
    """
    fixed = frozen(problem)
    state = _newton(fixed, lax.stop_gradient(start))
    u = state.u - fixed.solver(state.u)(fixed.gradient(state.u))
    polished = jnp.where(jnp.all(jnp.isfinite(u)), u, state.u)
    root = implicit_root(polished, problem, gradient=ConvexProblem.gradient, factor=ConvexProblem.solver)
    return root, state.converged & _determined(fixed, polished)


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
        step = -problem.solver(state.u)(gradient)
        squared = -jnp.vdot(gradient, step)
        decrement = jnp.sqrt(squared)
        # Next to the minimum the value no longer tells: the decrement does.
        close = decrement <= eps**0.4
        value = problem.value(state.u)
        trials = jax.vmap(lambda length: problem.value(state.u + length * step))(lengths)
        noise = 64.0 * eps * (jnp.abs(value) + jnp.abs(problem.target @ state.u))
        enough = jnp.isfinite(trials) & (trials <= value - 1e-4 * lengths * squared + noise)
        length = jnp.where(close, 1.0, lengths[jnp.argmax(enough)])
        accepted = (jnp.any(enough) | close) & (squared >= 0.0)
        u = jnp.where(accepted, state.u + length * step, state.u)
        converged = accepted & close & (decrement <= 0.1 * state.decrement)
        return _State(u, decrement, state.iterations + 1, converged, ~accepted)

    def unfinished(state):
        return ~state.converged & ~state.failed & (state.iterations < _ITERATIONS)

    no = jnp.asarray(False)
    first = _State(start, jnp.full((), jnp.inf, start.dtype), jnp.asarray(0), no, no)
    return lax.while_loop(unfinished, advance, first)
