"""Riccati and Lyapunov equations, solved by doubling: 2^k steps of the recursion in k iterations."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._implicit import frozen
from fimlag.paths._implicit_solution import implicit_solution

_DOUBLINGS = 64
"""Iterations of doubling: a mode that decays by one part in 2^60 a step still converges."""


_CORRECTIONS = 3
"""Steps of Newton after the doubling, whose round-off the first one mostly removes."""


class DiscreteRiccati(eqx.Module):
    r"""The equation of the stationary value in discrete time, with discount $\gamma$.

    $$P = Q + \gamma A^\top P (A - B K), \qquad S = R + \gamma B^\top P B, \quad S K = \gamma B^\top P A$$
    """

    A: Float[Array, "d d"]
    B: Float[Array, "d m"]
    Q: Float[Array, "d d"]
    R: Float[Array, "m m"]
    discount: Float[Array, ""]

    def precision(self, P):
        """The curvature S of the cost in the control."""
        return self.R + self.discount * self.B.T @ P @ self.B

    def gain(self, P):
        """The feedback K: the best control is -K x."""
        return jnp.linalg.solve(self.precision(P), self.discount * self.B.T @ P @ self.A)

    def closed_loop(self, P):
        """The map of one step under feedback."""
        return self.A - self.B @ self.gain(P)

    def step(self, P):
        """The value one step earlier, symmetric by construction, as the cost of the feedback itself."""
        K = self.gain(P)
        F = self.A - self.B @ K
        return self.Q + K.T @ self.R @ K + self.discount * F.T @ P @ F

    def classical_step(self, P):
        """The value one step earlier by the formula of the class: a check on `step`."""
        return self.Q + self.discount * self.closed_loop(P).T @ P @ self.A

    def residual(self, P):
        return P - self.step(P)

    def solve_linearised(self, P, right):
        r"""The solution of $X - \gamma F^\top X F = M$: the derivative of the residual, as that in K vanishes."""
        return stein(jnp.sqrt(self.discount) * self.closed_loop(P), right)

    def first_guess(self):
        r"""The solution by structure-preserving doubling.

        One step is taken beforehand, $P = Q + Z$: then it is $R + \gamma B^\top Q B$ that has to be inverted, and R may
        be singular.
        """
        K = self.gain(self.Q)
        F, B = jnp.sqrt(self.discount) * (self.A - self.B @ K), jnp.sqrt(self.discount) * self.B
        G = B @ jnp.linalg.solve(self.first_precision(), B.T)
        return self.Q + _double(F, G, F.T @ self.Q @ F + K.T @ self.R @ K)

    def first_precision(self):
        """What `first_guess` inverts: it must be positive definite."""
        return self.precision(self.Q)

    def spectral_radius(self, P):
        """Of the closed loop over one step."""
        return spectral_radius(self.closed_loop(P))


class ContinuousRiccati(eqx.Module):
    r"""The equation of the stationary value in continuous time.

    $$A^\top P + P A + Q - P B R^{-1} B^\top P = 0$$
    """

    A: Float[Array, "d d"]
    B: Float[Array, "d m"]
    Q: Float[Array, "d d"]
    R: Float[Array, "m m"]

    def precision(self, P):
        """The curvature of the cost in the control."""
        del P
        return self.R

    def gain(self, P):
        """The feedback K: the best control is -K x."""
        return jnp.linalg.solve(self.R, self.B.T @ P)

    def closed_loop(self, P):
        """The rate of change under feedback."""
        return self.A - self.B @ self.gain(P)

    def residual(self, P):
        K = self.gain(P)
        F = self.A - self.B @ K
        return -(F.T @ P + P @ F + self.Q + K.T @ self.R @ K)

    def solve_linearised(self, P, right):
        r"""The solution of $F^\top X + X F = -M$, by Cayley's transform of F."""
        F = self.closed_loop(P)
        shift = jnp.linalg.norm(lax.stop_gradient(F)) + jnp.finfo(F.dtype).tiny
        inverse = jnp.linalg.inv(shift * jnp.eye(F.shape[0], dtype=F.dtype) - F)
        transform = 2 * shift * inverse - jnp.eye(F.shape[0], dtype=F.dtype)
        return stein(transform, 2 * shift * inverse.T @ right @ inverse)

    def first_guess(self):
        """The solution by structure-preserving doubling after Cayley's transform."""
        G = self.B @ jnp.linalg.solve(self.R, self.B.T)
        identity = jnp.eye(self.A.shape[0], dtype=self.A.dtype)
        norm = jnp.linalg.norm
        shift = 1.5 * norm(self.A) + jnp.sqrt(norm(G) * norm(self.Q)) + jnp.finfo(G.dtype).tiny
        shifted = self.A - shift * identity
        left = jnp.linalg.solve(shifted, G)
        right = jnp.linalg.solve(shifted.T, self.Q)
        whole = jnp.linalg.inv(shifted + left.T @ self.Q)
        A = identity + 2 * shift * whole
        return _double(A, 2 * shift * left @ whole.T, 2 * shift * right @ whole)

    def first_precision(self):
        """What `first_guess` inverts: it must be positive definite."""
        return self.R

    def spectral_radius(self, P):
        """Of the closed loop over one unit of time."""
        F = self.closed_loop(P)
        unit = 1 / jnp.maximum(jnp.linalg.norm(F), 1.0)
        return spectral_radius(jax.scipy.linalg.expm(unit * F)) ** (1 / unit)


def stationary_value(problem) -> Float[Array, "d d"]:
    """The stabilising solution of a Riccati equation, of no meaning where there is none, and differentiable."""
    fixed = frozen(problem)

    def polish(_, P):
        """A step of Newton (Kleinman), taken only where it is a correction."""
        correction = fixed.solve_linearised(P, fixed.residual(P))
        small = jnp.all(jnp.isfinite(correction)) & (jnp.linalg.norm(correction) < 0.1 * jnp.linalg.norm(P))
        return jnp.where(small, P - correction, P)

    P = lax.fori_loop(0, _CORRECTIONS, polish, fixed.first_guess())
    return implicit_solution(
        0.5 * (P + P.T),
        problem,
        residual=lambda riccati, P: riccati.residual(P),
        solve=lambda riccati, P, right: riccati.solve_linearised(P, right),
    )


def _double(A, G, H):
    r"""The limit of $H \leftarrow H + A^\top H (1 + G H)^{-1} A$ with A and G doubled alongside."""
    identity = jnp.eye(A.shape[0], dtype=A.dtype)

    def advance(state):
        k, A, G, H, _ = state
        W = jnp.linalg.solve(identity + G @ H, jnp.concatenate([A, G], axis=1))
        WA, WG = jnp.split(W, 2, axis=1)
        rise = A.T @ H @ WA
        new = H + 0.5 * (rise + rise.T)
        spread = A @ WG @ A.T
        return k + 1, A @ WA, G + 0.5 * (spread + spread.T), new, jnp.linalg.norm(new - H)

    def unfinished(state):
        k, _, _, H, change = state
        # A NaN ends the loop.
        return (k == 0) | ((k < _DOUBLINGS) & (change > jnp.finfo(H.dtype).eps * jnp.linalg.norm(H)))

    start = (jnp.array(0), A, G, 0.5 * (H + H.T), jnp.zeros((), H.dtype))
    return lax.while_loop(unfinished, advance, start)[3]


def stein(F: Float[Array, "d d"], M: Float[Array, "d d"]) -> Float[Array, "d d"]:
    r"""The solution of $X = F^\top X F + M$ for a stable F, differentiable; infinite or NaN where F is not stable.

    **Reference:** Smith (1968).
    """
    fixed = lax.stop_gradient(F)
    return lax.custom_linear_solve(
        lambda X: X - F.T @ X @ F, M, lambda _, m: _smith(fixed, m), lambda _, m: _smith(fixed.T, m)
    )


def _smith(F, M):
    def advance(state):
        k, F, X = state
        return k + 1, F @ F, X + F.T @ X @ F

    def unfinished(state):
        k, F, _ = state
        return (k < _DOUBLINGS) & (jnp.sum(F**2) > 0.1 * jnp.finfo(F.dtype).eps)

    return lax.while_loop(unfinished, advance, (jnp.array(0), F, M))[2]


def spectral_radius(F: Float[Array, "d d"]) -> Float[Array, ""]:
    r"""The largest modulus of an eigenvalue, by repeated squaring: $\lim \lVert F^{2^k} \rVert^{2^{-k}}$ (Gelfand)."""

    def square(k, state):
        F, logarithm = state
        size = jnp.linalg.norm(F)
        scaled = jnp.where(size > 0, F / size, F)
        return scaled @ scaled, logarithm + jnp.log(size) * jnp.exp2(-k.astype(F.dtype))

    F, logarithm = lax.fori_loop(0, 40, square, (lax.stop_gradient(F), jnp.zeros((), F.dtype)))
    return jnp.exp(logarithm)
