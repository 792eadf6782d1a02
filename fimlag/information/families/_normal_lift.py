"""Normal distributions as classes of positive definite matrices of size 2 d + 1, where geodesics are exponentials."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from fimlag._implicit import frozen, implicit_root
from fimlag.information.families._spectral import log_gram, log_square

ITERATIONS = 100
"""The most Newton steps; most need ten."""


class Relative(eqx.Module):
    r"""A normal distribution as one whose own mean is zero and covariance the identity sees it.

    **Attributes:** `mean`: $L_0^{-1} (\mu_1 - \mu_0)$; `factor`: $M = L_0^{-1} L_1$; `excess`: M - I; `inverse`:
    $M^{-1}$.
    """

    mean: Float[Array, " d"]
    factor: Float[Array, "d d"]
    excess: Float[Array, "d d"]
    inverse: Float[Array, "d d"]

    def lift(self, twist: Float[Array, "d d"]) -> tuple[Array, Array, Array]:
        r"""A factor C of one matrix of the class, the same less the identity, and its inverse.

        $$C = \begin{pmatrix} M^{-\top} & & \\ z^\top M^{-\top} & 1 & \\
        (A - \tfrac12 z z^\top) M^{-\top} & -z & M \end{pmatrix}, \qquad C^{-1} = J C^\top J$$

        with the mean z and any skew-symmetric A, the `twist`; J exchanges the outer blocks.

        **Reference:** Eriksen (1987); Kobayashi (2023).
        """
        d = self.mean.shape[0]
        rest = self.inverse.T
        corner = (twist - 0.5 * self.mean[:, None] * self.mean[None, :]) @ rest
        below = jnp.concatenate([(rest.T @ self.mean)[None, :], corner])
        middle = -self.mean[:, None]
        top = jnp.zeros((d, d + 1), corner.dtype)
        one, none = jnp.ones((1, 1), corner.dtype), jnp.zeros((1, d), corner.dtype)
        side = jnp.concatenate([jnp.concatenate([one, none], axis=1), jnp.concatenate([middle, self.factor], axis=1)])
        side_excess = jnp.concatenate(
            [jnp.zeros((1, d + 1), corner.dtype), jnp.concatenate([middle, self.excess], axis=1)]
        )
        whole = jnp.block([[rest, top], [below, side]])
        excess = jnp.block([[-rest @ self.excess.T, top], [below, side_excess]])
        exchange = np.r_[d + 1 : 2 * d + 1, d, :d]
        return whole, excess, whole.T[exchange][:, exchange]


def turned(end: Relative) -> tuple[Relative, Float[Array, "d d"]]:
    """The distribution with its mean turned to the first axis, and the reflection that turns it.

    Means far apart fill the lift with great numbers, which on one axis leave the digits of the others alone.
    """
    mean = lax.stop_gradient(end.mean)
    first = jnp.zeros_like(mean).at[0].set(jnp.where(mean[0] < 0.0, 1.0, -1.0) * jnp.linalg.norm(mean))
    normal, identity = mean - first, jnp.eye(mean.shape[0], dtype=mean.dtype)
    square = jnp.sum(normal**2)
    scale = jnp.where(square > 0.0, 2.0 / jnp.where(square > 0.0, square, 1.0), 0.0)
    reflection = identity - scale * jnp.outer(normal, normal)
    matrices = [reflection @ matrix @ reflection for matrix in (end.factor, end.excess, end.inverse)]
    # Its other entries are zero but for round-off, though not their derivatives.
    image = reflection @ end.mean
    return Relative(image - lax.stop_gradient(image) + first, *matrices), reflection


class _Class(NamedTuple):
    """A lifted class, and the units of its twist, in which neither end is favoured."""

    end: Relative
    units: Float[Array, "d d"]

    def twist(self, entries: Float[Array, " m"]) -> Float[Array, "d d"]:
        """The skew-symmetric matrix of its entries below the diagonal."""
        d = self.units.shape[0]
        lower = jnp.zeros((d, d), entries.dtype).at[np.tril_indices(d, -1)].set(entries)
        return self.units @ (lower - lower.T) @ self.units.T

    def logarithm(self, entries: Float[Array, " m"]) -> Float[Array, "k k"]:
        """$\\log(C C^\\top)$."""
        return log_gram(*self.end.lift(self.twist(entries)))

    def gradient(self, entries: Float[Array, " m"]) -> Float[Array, " m"]:
        """The derivative of half the squared distance: a corner of the logarithm."""
        return self.gradient_of(self.logarithm(entries))

    def gradient_of(self, logarithm: Float[Array, "k k"]) -> Float[Array, " m"]:
        """The same of a known logarithm."""
        d = self.units.shape[0]
        corner = self.units.T @ logarithm[:d, d + 1 :].T @ self.units
        return 0.5 * (corner - corner.T)[np.tril_indices(d, -1)]


def lifted_square(end: Relative) -> Float[Array, ""]:
    r"""The squared Fisher-Rao distance of N(0, I) from a normal distribution, by its nearest lift.

    $$d^2 = \tfrac14 \min_A \operatorname{tr} \log^2 (C_A C_A^\top)$$

    The lifts of one distribution are an orbit of isometries of a space of non-positive curvature, and the Fisher
    metric is that of the space of orbits: half the trace metric, between nearest members. Newton's method finds the
    $d (d - 1) / 2$ numbers of A, which are 0 where $\mu_1 - \mu_0$ is an eigenvector of both covariances.

    **Returns:** the square, NaN where Newton's method or the digits did not suffice.

    **Reference:** Eriksen (1987) and Kobayashi (2023) for the lift; O'Neill (1966) for submersions.
    """
    return _nearest_square(turned(end)[0])


@jax.custom_jvp
def _nearest_square(end):
    return 0.25 * jnp.sum(_nearest(end)[1] ** 2)


@_nearest_square.defjvp
def _nearest_square_jvp(primals, tangents):
    """At the minimum the twist may be held fixed."""
    (end,), (change,) = primals, tangents
    twist, logarithm = _nearest(end)
    (_, _, inverse), (growth, _, _) = jax.jvp(lambda each: each.lift(twist), (end,), (change,))
    return 0.25 * jnp.sum(logarithm**2), jnp.sum(logarithm * (growth @ inverse))


def lifted_logarithm(end: Relative) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """The velocity at N(0, I) of the geodesic to a normal distribution: of its mean, and of its covariance."""
    d = end.mean.shape[0]
    end, reflection = turned(end)
    _, logarithm = _nearest(end)
    return reflection @ logarithm[:d, d], reflection @ logarithm[d + 1 :, d + 1 :] @ reflection


def straight_square(end: Relative) -> Float[Array, ""]:
    """The squared distance of the lift without twist: not less than that of the nearest one."""
    return 0.5 * log_square(*turned(end)[0].lift(jnp.zeros_like(end.factor)))


def _nearest(end: Relative) -> tuple[Float[Array, "d d"], Float[Array, "k k"]]:
    """The twist of the nearest lift and its logarithm, NaN where it was not found; implicit functions of `end`."""
    if end.mean.shape[0] == 1:
        none = jnp.zeros_like(end.factor)
        return none, log_gram(*end.lift(none))
    fixed = frozen(end)
    frame, stretches, _ = jnp.linalg.svd(fixed.factor)
    lifts = _Class(end, frame * jnp.sqrt(stretches)[None, :])
    entries, logarithm = _descend(_Class(fixed, lifts.units))
    entries = implicit_root(entries, lifts, gradient=_Class.gradient, factor=_curvature_solve)
    return lifts.twist(entries), _varying(logarithm, lifts, entries)


@jax.custom_jvp
def _varying(logarithm, lifts, entries):
    """The logarithm that is known, with the derivatives of the function that it came from."""
    return logarithm


@_varying.defjvp
def _varying_jvp(primals, tangents):
    logarithm, lifts, entries = primals
    change = jax.jvp(_Class.logarithm, (lifts, entries), tangents[1:])[1]
    return _varying(logarithm, lifts, entries), change


class _State(NamedTuple):
    entries: Float[Array, " m"]
    value: Float[Array, ""]
    slope: Float[Array, " m"]
    curvature: Float[Array, "m m"]
    logarithm: Float[Array, "k k"]
    damping: Float[Array, ""]
    found: Bool[Array, ""]
    number: Array


def _descend(lifts: _Class) -> tuple[Float[Array, " m"], Float[Array, "k k"]]:
    """The entries of least distance and their logarithm, by Newton's method of positive, damped eigenvalues."""
    d = lifts.units.shape[0]
    size = d * (d - 1) // 2
    eps = float(jnp.finfo(lifts.units.dtype).eps)

    def step(state):
        direction, decrement = _newton_step(state)
        trial = _measured(lifts, state.entries + direction)
        # Beyond round-off no decrease can be seen: the step is then as good as taken.
        better = (trial[0] <= state.value) | (decrement <= 8.0 * eps * state.value)
        entries, *kept = (
            jnp.where(better, new, old) for new, old in zip((state.entries + direction, *trial), state[:5], strict=True)
        )
        # The curvature that would have made this very step: twice of it halves the next one, whatever the units.
        own = jnp.linalg.norm(state.slope) / jnp.maximum(jnp.linalg.norm(direction), float(jnp.finfo(zero.dtype).tiny))
        damping = jnp.where(better, 0.1 * state.damping, jnp.maximum(4.0 * state.damping, own))
        damping = jnp.where(damping < 1e-2 * own, 0.0, damping)
        found = (state.number > 0) & better & (decrement <= eps**1.5 * state.value)
        return _State(entries, *kept, damping, found, state.number + 1)  # pyright: ignore[reportCallIssue]

    zero, none = jnp.zeros(size, lifts.units.dtype), jnp.zeros((), lifts.units.dtype)
    curvature, logarithm = jnp.eye(size, dtype=zero.dtype), jnp.zeros((d + d + 1, d + d + 1), zero.dtype)
    # The first step stays where it is, and measures there: one copy of the measurement is compiled.
    start = _State(zero, none + jnp.inf, zero, curvature, logarithm, none, none > 0.0, jnp.asarray(0))
    last = lax.while_loop(lambda state: ~state.found & (state.number <= ITERATIONS), step, start)
    return jnp.where(last.found, last.entries, jnp.nan), jnp.where(last.found, last.logarithm, jnp.nan)


def _measured(lifts, entries):
    """Half the squared distance, its gradient, its Hessian, and the logarithm."""

    def slope(entries):
        logarithm = lifts.logarithm(entries)
        gradient = lifts.gradient_of(logarithm)
        return gradient, (gradient, logarithm)

    curvature, (gradient, logarithm) = jax.jacfwd(slope, has_aux=True)(entries)
    return jnp.sum(logarithm**2) / 8.0, gradient, 0.5 * (curvature + curvature.T), logarithm


def _newton_step(state):
    curvatures, frame = jnp.linalg.eigh(state.curvature)
    least = float(jnp.finfo(frame.dtype).eps) * jnp.max(jnp.abs(curvatures))
    turned = frame.T @ state.slope
    direction = -turned / (jnp.maximum(jnp.abs(curvatures), least) + state.damping)
    return frame @ direction, -direction @ turned


def _curvature_solve(lifts, entries):
    curvature = jax.jacfwd(lifts.gradient)(entries)
    return lambda right: jnp.linalg.solve(curvature, right)
