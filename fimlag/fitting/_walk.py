"""The walk along a profile likelihood, from the estimate to where the likelihood has fallen far enough."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._implicit import frozen, implicit_root
from fimlag._linear import solve
from fimlag.fitting._joint_likelihood import JointLikelihood

SHORTEST = 1e-3
"""The smallest step along a profile, in units of its length: what fails then fails for good."""

STEEP = 5.0
"""How much faster than in a quadratic likelihood the parameter must run for the profile to count as flat."""


class ProfileEnd(eqx.Module):
    r"""One end of the interval: the extremum of $s \psi(\theta)$ at the likelihood's threshold, s = -1 or 1.

    With a multiplier, $s \nabla\psi + \kappa \nabla\ell = 0$ and $\ell(\theta) - \ell(\hat\theta) + q / 2 = 0$: the
    gradient of one Lagrange function of $(\theta, \kappa)$, so its Jacobian is symmetric.
    """

    likelihood: JointLikelihood
    function: Callable
    estimate: Float[Array, " d"]
    sign: Float[Array, ""]
    threshold: Float[Array, ""]

    def conditions(self, unknown):
        theta, multiplier = unknown[:-1], unknown[-1]
        pull = self.sign * jax.grad(self.function)(theta) + multiplier * self.likelihood.score(theta)
        drop = self.likelihood.log_likelihood(theta) - self.likelihood.log_likelihood(self.estimate)
        return jnp.append(pull, drop + 0.5 * self.threshold)

    def condition_solver(self, unknown):
        matrix = jax.jacfwd(self.conditions)(unknown)
        return lambda right: solve(matrix, right)


class _Profile(eqx.Module):
    r"""The profile on one side in coordinates z of unit information about the estimate, nothing in it differentiated.

    A point of it is $(z, m)$ with $\nabla\ell + m \nabla\psi = 0$, $\psi$ in units of its standard error, and
    $\sqrt{2(\hat\ell - \ell)} = \tau$: for a quadratic likelihood both z and m are proportional to $\tau$.
    """

    side: ProfileEnd
    root: Float[Array, "d d"]
    peak: Float[Array, ""]
    scale: Float[Array, ""]

    def theta(self, z):
        return self.side.estimate + self.root @ z

    def log_likelihood(self, z):
        return self.side.likelihood.log_likelihood(self.theta(z))

    def function(self, z):
        return self.side.sign * self.side.function(self.theta(z)) / self.scale

    def residual(self, point, tau):
        z, multiplier = point[:-1], point[-1]
        value, slope = jax.value_and_grad(self.log_likelihood)(z)
        stationary = slope + multiplier * jax.grad(self.function)(z)
        return jnp.append(stationary, jnp.sqrt(2.0 * (self.peak - value)) - tau)

    def corrected(self, point, tau):
        """The point after a few Newton steps, the last of them, and the Jacobian that gave it."""

        def with_value(point):
            residual = self.residual(point, tau)
            return residual, residual

        def improve(_, state):
            point, _, _ = state
            jacobian, residual = jax.jacfwd(with_value, has_aux=True)(point)
            step = solve(jacobian, residual)
            return point - step, step, jacobian

        start = (point, jnp.zeros_like(point), jnp.zeros((point.shape[0], point.shape[0]), point.dtype))
        return lax.fori_loop(0, 5, improve, start)


def _is_maximum(jacobian):
    """Whether the likelihood has a maximum at the point among those of equal $\\psi$: $\\nabla^2(\\ell + m \\psi)$ and
    $\\nabla\\psi$ are blocks of the Jacobian."""
    bend, normal = jacobian[:-1, :-1], jacobian[:-1, -1]
    normal = normal / jnp.linalg.norm(normal)
    across = jnp.outer(normal, normal)
    tangent = jnp.eye(normal.shape[0], dtype=normal.dtype) - across
    return jnp.all(jnp.isfinite(jnp.linalg.cholesky(across - tangent @ bend @ tangent)))


class _State(eqx.Module):
    """Where the walk along the profile is, its direction per unit of $\\tau$, and the next increment of it."""

    point: Float[Array, " k"]
    slope: Float[Array, " k"]
    tau: Float[Array, ""]
    increment: Float[Array, ""]
    iterations: Int[Array, ""]
    outside: Bool[Array, ""]


def _walk(profile: _Profile, direction, max_iterations: int) -> _State:
    """The profile followed from the estimate until $\\tau$ reaches the root of the threshold, or no step holds."""
    target = jnp.sqrt(profile.side.threshold)
    tolerance = float(jnp.finfo(direction.dtype).eps) ** 0.4

    def advance(state: _State) -> _State:
        tau = jnp.minimum(state.tau + state.increment, target)
        predicted = state.point + state.slope * (tau - state.tau)
        point, step, jacobian = profile.corrected(predicted, tau)
        finite = jnp.all(jnp.isfinite(point))
        settled = jnp.linalg.norm(step) <= tolerance * (1.0 + jnp.linalg.norm(point))
        faithful = jnp.linalg.norm(point - predicted) <= 0.5 * jnp.linalg.norm(point - state.point)
        held = finite & settled & faithful & (point[-1] > 0.0) & _is_maximum(jacobian)
        return _State(
            jnp.where(held, point, state.point),
            jnp.where(held, (point - state.point) / (tau - state.tau), state.slope),
            jnp.where(held, tau, state.tau),
            jnp.where(held, jnp.minimum(2.0 * state.increment, 0.25 * target), 0.5 * state.increment),
            state.iterations + 1,
            ~finite,
        )

    def going(state: _State):
        return (state.tau < target) & (state.increment > SHORTEST * target) & (state.iterations < max_iterations)

    zero = jnp.zeros((), direction.dtype)
    state = _State(jnp.zeros_like(direction), direction, zero, zero + 0.25 * target, jnp.array(0), jnp.array(False))
    return lax.while_loop(going, advance, state)


def profile_end(side: ProfileEnd, root, max_iterations: int):
    """Parameters and value at one end, its failures (open, limited, failed), and the steps it took."""
    fixed = frozen(side)
    slope = root.T @ jax.grad(fixed.function)(fixed.estimate)
    scale = jnp.linalg.norm(slope)
    profile = _Profile(fixed, root, fixed.likelihood.log_likelihood(fixed.estimate), scale)
    state = _walk(profile, jnp.append(side.sign * slope / scale, 1.0), max_iterations)
    target, point = jnp.sqrt(fixed.threshold), state.point
    unknown = jnp.append(profile.theta(point[:-1]), scale / point[-1])
    unknown = implicit_root(unknown, side, gradient=ProfileEnd.conditions, factor=ProfileEnd.condition_solver)
    theta = unknown[:-1]
    reached = state.tau >= target
    running = jnp.vdot(jax.grad(profile.function)(point[:-1]), state.slope[:-1])
    flat = ~reached & (state.increment <= SHORTEST * target) & (state.outside | (running > STEEP)) & (scale > 0.0)
    limited = ~reached & ~flat & (state.iterations >= max_iterations)
    failed = ~reached & ~flat & ~limited | reached & ~_meets(profile, point)
    value = jnp.where(flat, side.sign * jnp.inf, jnp.where(limited | failed, jnp.nan, side.function(theta)))
    return jnp.where(reached & ~failed, theta, jnp.nan), value, (flat, limited, failed), state.iterations


def _meets(profile: _Profile, point):
    """Whether the conditions hold at the end, to the root of machine precision or what round-off makes of them."""
    eps = float(jnp.finfo(point.dtype).eps)
    target = jnp.sqrt(profile.side.threshold)
    inverse = jax.scipy.linalg.solve_triangular(profile.root, jnp.eye(point.shape[0] - 1, dtype=point.dtype))
    # Parameters far from zero in units of their errors are themselves known to some digits only.
    grain = eps * jnp.linalg.norm(jnp.abs(inverse) @ jnp.abs(profile.side.estimate))
    noise = eps**0.5 * target + 64.0 * eps * jnp.abs(profile.peak) / target + 4.0 * grain
    return jnp.linalg.norm(profile.residual(point, target)) <= noise * (1.0 + jnp.linalg.norm(point))
