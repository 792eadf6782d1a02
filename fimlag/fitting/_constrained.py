"""The likelihood of all data about its maximum, and its maxima with some parameters held."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._implicit import frozen, implicit_root
from fimlag._linear import solve
from fimlag._results import RESULTS, first_failure
from fimlag.fitting._joint_likelihood import JointLikelihood

MAX_ITERATIONS = 64
"""The limit on Newton's steps towards a constrained maximum."""


def local_coordinates(likelihood: JointLikelihood, estimate):
    """A root of the inverse observed information, and the failures that make the estimate none."""
    value, score = likelihood.log_likelihood(estimate), likelihood.score(estimate)
    information = likelihood.observed_information(estimate)
    identity = jnp.eye(estimate.shape[0], dtype=estimate.dtype)
    root = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(information), identity, lower=True).T
    noise = float(jnp.finfo(estimate.dtype).eps) ** 0.5 * jnp.maximum(jnp.abs(value), 1.0)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(information)) & jnp.all(jnp.isfinite(score))
    return root, (
        (~finite, RESULTS.nonfinite),
        (~jnp.all(jnp.isfinite(root)), RESULTS.not_a_maximum),
        (jnp.sum((root.T @ score) ** 2) > noise, RESULTS.not_an_estimate),
    )


class HeldLikelihood(eqx.Module):
    """The likelihood as a function of the nuisances alone, the parameters of interest held at their values."""

    likelihood: JointLikelihood
    interest: Float[Array, " k"]
    positions: tuple[int, ...] = eqx.field(static=True)

    def theta(self, nuisance):
        """All parameters, in their flat order."""
        size = len(self.positions) + nuisance.shape[0]
        order = np.argsort(np.concatenate([self.positions, others(self.positions, size)]))
        return jnp.concatenate([self.interest, nuisance])[order]

    def log_likelihood(self, nuisance):
        return self.likelihood.log_likelihood(self.theta(nuisance))

    def score(self, nuisance):
        return jax.grad(self.log_likelihood)(nuisance)

    def hessian(self, nuisance):
        return jax.jacfwd(self.score)(nuisance)

    def hessian_solver(self, nuisance):
        matrix = self.hessian(nuisance)
        return lambda right: solve(matrix, right)


def others(positions: tuple[int, ...], size: int) -> np.ndarray:
    """The flat positions that are left, in their order."""
    return np.setdiff1d(np.arange(size), positions)


def constrained_maximum(
    likelihood: JointLikelihood, estimate: Float[Array, " d"], positions: tuple[int, ...], values: Float[Array, " k"]
) -> tuple[Float[Array, " d"], RESULTS]:
    r"""The parameters of largest likelihood among those with given values at some positions.

    $$\hat\lambda(\psi) = \arg\max_\lambda\, \ell(\psi, \lambda)$$

    Newton's method with the eigenvalues of the Hessian made negative, from where the quadratic approximation at
    the estimate has its maximum; differentiable implicitly in values, data and model.

    **Returns:** all parameters, shape (d,), and a result: `nonfinite`, `stalled`, `max_steps_reached` or
    `not_a_maximum`.
    """
    held = HeldLikelihood(likelihood, values, positions)
    fixed = frozen(held)
    free = others(positions, estimate.shape[0])
    if free.size == 0:
        theta = held.theta(estimate[free])
        return theta, first_failure((~jnp.isfinite(likelihood.log_likelihood(theta)), RESULTS.nonfinite))
    start = _predicted_nuisance(fixed, lax.stop_gradient(estimate), free)
    state = _ascent(fixed, start)
    nuisance = implicit_root(state.nuisance, held, gradient=HeldLikelihood.score, factor=HeldLikelihood.hessian_solver)
    value, curvature = fixed.log_likelihood(state.nuisance), fixed.hessian(state.nuisance)
    result = first_failure(
        (~jnp.isfinite(value), RESULTS.nonfinite),
        (state.stalled, RESULTS.stalled),
        (~state.converged, RESULTS.max_steps_reached),
        (~jnp.all(jnp.isfinite(jnp.linalg.cholesky(-curvature))), RESULTS.not_a_maximum),
    )
    return held.theta(nuisance), result


def _predicted_nuisance(held: HeldLikelihood, estimate, free):
    """Where the likelihood's quadratic approximation has its maximum, or the estimate's own nuisance."""
    information = held.likelihood.observed_information(estimate)
    kept = np.asarray(held.positions)
    shift = information[np.ix_(free, kept)] @ (held.interest - estimate[kept])
    predicted = estimate[free] - solve(information[np.ix_(free, free)], shift)
    return jnp.where(jnp.isfinite(held.log_likelihood(predicted)), predicted, estimate[free])


class _State(eqx.Module):
    nuisance: Float[Array, " k"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    stalled: Bool[Array, ""]


def _ascent(held: HeldLikelihood, start) -> _State:
    lengths = 0.5 ** jnp.arange(12, dtype=start.dtype)
    eps = float(jnp.finfo(start.dtype).eps)

    def advance(state: _State) -> _State:
        value, score = jax.value_and_grad(held.log_likelihood)(state.nuisance)
        step = _ascent_direction(held.hessian(state.nuisance), score)
        gain = jnp.vdot(score, step)
        trials = lax.map(lambda length: held.log_likelihood(state.nuisance + length * step), lengths)
        noise = 8.0 * eps * jnp.maximum(jnp.abs(value), 1.0)
        enough = trials >= value + 1e-4 * lengths * gain - noise
        accepted, length = jnp.any(enough), lengths[jnp.argmax(enough)]
        moved = jnp.where(accepted, state.nuisance + length * step, state.nuisance)
        # The step that was just taken squares the error once more.
        converged = accepted & (gain <= 1e-3 * noise) | (gain <= eps * noise)
        return _State(moved, state.iterations + 1, converged, ~accepted & ~converged)

    no = jnp.array(False)
    state = _State(start, jnp.array(0), no, no)
    return lax.while_loop(lambda s: ~s.converged & ~s.stalled & (s.iterations < MAX_ITERATIONS), advance, state)


def _ascent_direction(hessian, score):
    """Newton's step with every eigenvalue of the Hessian taken negative, in coordinates of unit curvature."""
    scale = 1.0 / jnp.sqrt(jnp.maximum(jnp.abs(jnp.diagonal(hessian)), float(jnp.finfo(score.dtype).tiny)))
    values, vectors = jnp.linalg.eigh(scale[:, None] * hessian * scale[None, :])
    size = jnp.maximum(jnp.abs(values), 1e-6 * jnp.max(jnp.abs(values)))
    return scale * (vectors @ ((vectors.T @ (scale * score)) / size))
