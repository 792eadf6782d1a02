"""Paths between two points from a linear diffusion that follows a guide, and what they weigh under another drift."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag.paths._linear_diffusion import linear_transition


class GuidedProposals(eqx.Module):
    r"""A Gaussian Markov chain from any start to a fixed end, near the paths of a diffusion along a guide.

    On each step the diffusion is replaced by a linear one whose drift touches its own at the guide,
    $d\tilde X = (B_k \tilde X + \beta_k)\, dt + \sqrt\varepsilon\, \sigma\, dW$, with transition
    $N(\Phi_k x + m_k, \varepsilon L_k L_k^\top)$; pinned at the end it is the chain
    $x_{k+1} = C_k x_k + c_k + \sqrt\varepsilon\, S_k z_k$, whose last step has no freedom left.

    **Attributes:** `slopes`, `offsets`: $B_k$ and $\beta_k$; `transitions`: $\Phi_k$, $m_k$ and $L_k$; `matrices`,
    `shifts`, `factors`: $C_k$, $c_k$ and $S_k$; `log_volumes`: $\log\det L_k - \log\det S_k$; `end`: the last state.
    """

    slopes: Float[Array, "steps d d"]
    offsets: Float[Array, "steps d"]
    transitions: tuple[Float[Array, "steps d d"], Float[Array, "steps d"], Float[Array, "steps d d"]]
    matrices: Float[Array, "free d d"]
    shifts: Float[Array, "free d"]
    factors: Float[Array, "free d d"]
    log_volumes: Float[Array, " free"]
    end: Float[Array, " d"]

    def path(self, start: Float[Array, " d"], noise, normals: Float[Array, "free d"]) -> Float[Array, "knots d"]:
        """The chain driven by standard normal numbers; driven by none, its mean."""
        kicks = jnp.sqrt(noise) * jnp.einsum("kij,kj->ki", self.factors, normals)

        def advance(x, step):
            matrix, shift, kick = step
            x = matrix @ x + shift + kick
            return x, x

        _, path = lax.scan(advance, start, (self.matrices, self.shifts, kicks))
        return jnp.concatenate([start[None], path, self.end[None]])

    def log_ratio(self, path: Float[Array, "knots d"], noise, normals: Float[Array, "free d"]) -> Float[Array, ""]:
        """The log-density of a path under the linear diffusion, less that under the chain (per unit volume of the
        end)."""
        matrices, shifts, factors = self.transitions
        moves = path[1:] - jnp.einsum("kij,kj->ki", matrices, path[:-1]) - shifts
        scaled = jax.vmap(lambda L, x: jax.scipy.linalg.solve_triangular(L, x, lower=True))(factors, moves)
        volume = (
            _log_volume(factors[-1]) + 0.5 * path.shape[1] * jnp.log(2 * jnp.pi * noise) + jnp.sum(self.log_volumes)
        )
        return 0.5 * jnp.sum(normals**2) - 0.5 * jnp.sum(scaled**2) / noise - volume


def guided_proposals(
    drift: Callable,
    diffusion: Float[Array, "d d"],
    guide: Float[Array, "knots d"],
    end: Float[Array, " d"],
    step,
    tilts: Float[Array, "knots d d"],
) -> GuidedProposals:
    r"""The chain to `end` of the diffusion linearised at the middles of the guide's steps.

    The density of a path is multiplied by $\exp(\tfrac{h}{2 \varepsilon} \sum_k (x_k - \varphi_k)^\top M_k
    (x_k - \varphi_k))$ for given tilts $M_k$; NaN where no density is left. Backward in time the weight of a state is
    $\exp(-\tfrac1\varepsilon (\tfrac12 x^\top \Pi x - \pi^\top x))$.
    """
    middles = 0.5 * (guide[1:] + guide[:-1])
    slopes = jax.vmap(jax.jacfwd(drift))(middles)
    offsets = jax.vmap(drift)(middles) - jnp.einsum("kij,kj->ki", slopes, middles)
    matrices, moves, covariances = jax.vmap(lambda B, b: linear_transition(B, b, diffusion, step))(slopes, offsets)
    factors = jnp.linalg.cholesky(covariances)
    transitions = (matrices, moves, factors)
    identity = jnp.eye(end.shape[0], dtype=end.dtype)
    lean = step * tilts, step * jnp.einsum("kij,kj->ki", tilts, guide)

    def backward(later, inputs):
        """The law of a step from the weight after it, and the weight before it."""
        weight, pull = later
        matrix, move, L, tilt, tilt_pull = inputs
        ahead, shift = _whiten(L, matrix), _whiten(L, move)
        stiff = L.T @ weight @ L
        U = jnp.linalg.cholesky(identity + 0.5 * (stiff + stiff.T))
        solve = jax.scipy.linalg.cho_solve
        mean = L @ solve((U, True), ahead), L @ solve((U, True), shift + L.T @ pull)
        before = ahead.T @ solve((U, True), stiff) @ ahead
        before_pull = ahead.T @ solve((U, True), L.T @ pull - stiff @ shift)
        law = (*mean, _whiten(U, L.T).T, _log_volume(U))
        return (0.5 * (before + before.T) - tilt, before_pull - tilt_pull), law

    ahead = _whiten(factors[-1], matrices[-1])
    last = (
        ahead.T @ ahead - lean[0][-2],
        ahead.T @ _whiten(factors[-1], end - moves[-1]) - lean[1][-2],
    )
    inputs = jax.tree_util.tree_map(lambda x: x[:-1], transitions), jax.tree_util.tree_map(lambda x: x[:-2], lean)
    _, chain = lax.scan(backward, last, (*inputs[0], *inputs[1]), reverse=True)
    return GuidedProposals(slopes, offsets, transitions, *chain, end)


def most_likely_guide(drift: Callable, diffusion, start, end, step, steps: int, iterations: int):
    """A path of least action at the knots: steps of Gauss and Newton from the chord, shortened where it would rise."""
    fractions = jnp.arange(steps + 1, dtype=start.dtype)[:, None] / steps
    flat, still = (
        jnp.zeros((steps + 1, *diffusion.shape), start.dtype),
        jnp.zeros((steps - 1, *start.shape), start.dtype),
    )
    lengths = jnp.asarray([0.0, *(0.5**k for k in range(8))], start.dtype)

    def improve(guide, _):
        target = guided_proposals(drift, diffusion, guide, end, step, flat).path(start, 0.0, still)
        move = jnp.where(jnp.all(jnp.isfinite(target)), target - guide, 0.0)
        trials = jax.vmap(lambda length: guide + length * move)(lengths)
        actions = jax.vmap(lambda trial: _action(drift, diffusion, trial, step))(trials)
        return trials[jnp.argmin(jnp.where(jnp.isfinite(actions), actions, jnp.inf))], None

    return lax.scan(improve, start[None] + fractions * (end - start)[None], length=iterations)[0]


def _action(drift, diffusion, path, step):
    """The action of Freidlin and Wentzell, by the midpoint rule."""
    misses = (path[1:] - path[:-1]) / step - jax.vmap(drift)(0.5 * (path[1:] + path[:-1]))
    return 0.5 * step * jnp.sum(misses * jnp.linalg.solve(diffusion, misses.T).T)


def second_order_tilts(drift: Callable, diffusion, guide: Float[Array, "knots d"], step) -> Float[Array, "knots d d"]:
    r"""What the linearisation leaves out of the second variation of the action, $M = \sum_i p_i \nabla^2 b_i$.

    Here $p = a^{-1} (\dot\varphi - b)$ along the guide. With it the proposals become the bridge itself as the noise
    falls, and are as wide as it is where the drift curves.
    """
    inner = 0.5 * (guide[2:] - guide[:-2]) / step
    velocities = jnp.concatenate([guide[1:2] / step - guide[:1] / step, inner, guide[-1:] / step - guide[-2:-1] / step])
    momenta = jnp.linalg.solve(diffusion, (velocities - jax.vmap(drift)(guide)).T).T
    return jax.vmap(lambda p, x: jax.hessian(lambda y: p @ drift(y))(x))(momenta, guide)


def log_weight(
    proposals: GuidedProposals, drift: Callable, diffusion, noise, path: Float[Array, "knots d"], step, strides
) -> list[Float[Array, ""]]:
    r"""The log-density of a path under a drift b relative to the linear diffusion, by Girsanov's theorem.

    $$\frac1\varepsilon \int f \cdot a^{-1} \circ dX - \frac{1}{2\varepsilon} \int f \cdot a^{-1} (b + \tilde b)\, dt
    - \frac12 \int \operatorname{div} f\, dt, \qquad f = b - \tilde b$$

    **Arguments:** `strides`: for each the integrals are taken by the trapezoidal rule over so many steps at once.

    **Returns:** one number for each stride.
    """
    b = jax.vmap(drift)(path)
    divergence = jax.vmap(lambda x: jnp.trace(jax.jacfwd(drift)(x)))(path)
    inverse = jnp.linalg.inv(diffusion)

    def over(stride):
        def terms(knots, steps):
            """Excess drift, the integrand of time, and the excess divergence, at one end of each interval."""
            tilde = jnp.einsum("kij,kj->ki", proposals.slopes[steps], path[knots]) + proposals.offsets[steps]
            excess = b[knots] - tilde
            energy = jnp.einsum("ki,ij,kj->k", excess, inverse, excess + 2 * tilde)
            return excess, energy, divergence[knots] - jnp.trace(proposals.slopes[steps], axis1=1, axis2=2)

        left = terms(slice(0, -1, stride), slice(0, None, stride))
        right = terms(slice(stride, None, stride), slice(stride - 1, None, stride))
        excess, energy, spread = (l + r for l, r in zip(left, right, strict=True))
        moves = path[stride::stride] - path[:-1:stride]
        work = 0.5 * jnp.einsum("ki,ij,kj->", excess, inverse, moves)
        duration = stride * step
        return (work - 0.25 * duration * jnp.sum(energy)) / noise - 0.25 * duration * jnp.sum(spread)

    return [over(stride) for stride in strides]


def _whiten(factor, columns):
    return jax.scipy.linalg.solve_triangular(factor, columns, lower=True)


def _log_volume(factor):
    return jnp.sum(jnp.log(jnp.diagonal(factor)))
