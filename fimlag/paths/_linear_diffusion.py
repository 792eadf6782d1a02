"""The transition of a linear diffusion over any time."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_TERMS = 20
"""Terms of the series at a norm of one half: the first one left out is 1e-25."""

_DOUBLINGS = 30
"""The norm of the drift times the interval may reach 2^29."""


def linear_transition(
    A: Float[Array, "d d"], offset: Float[Array, " d"], diffusion: Float[Array, "d d"], t: Float[Array, ""]
) -> tuple[Float[Array, "d d"], Float[Array, " d"], Float[Array, "d d"]]:
    r"""The matrix, shift and covariance of the transition of $dX = (A X + b)\, dt + \sigma\, dW$ over a time t >= 0.

    $$X_t | X_0 \sim N(\Phi X_0 + m, G), \qquad \Phi = e^{A t}, \quad m = \int_0^t e^{A s} b\, ds, \quad
    G = \int_0^t e^{A s} a\, e^{A^\top s} ds$$

    with $a = \sigma \sigma^\top$. The series of a short time is doubled as often as the norm asks: a sum of positive
    matrices, so that nothing cancels, whatever the rates of the drift.
    """
    norm = lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(A), axis=1)) * t)
    doublings = jnp.ceil(jnp.log2(jnp.maximum(2 * norm, 1.0)))
    short = t * jnp.exp2(-doublings)
    first = _series(A, offset, diffusion, short)

    def double(state, k):
        matrix, shift, covariance = state
        doubled = (matrix @ matrix, shift + matrix @ shift, covariance + matrix @ covariance @ matrix.T)
        wanted = k < doublings
        return tuple(jnp.where(wanted, new, old) for new, old in zip(doubled, state, strict=True)), None

    (matrix, shift, covariance), _ = lax.scan(double, first, jnp.arange(_DOUBLINGS, dtype=A.dtype))
    reached = doublings <= _DOUBLINGS
    matrix, shift, covariance = (jnp.where(reached, x, jnp.nan) for x in (matrix, shift, covariance))
    return matrix, shift, 0.5 * (covariance + covariance.T)


def _series(A, offset, diffusion, t):
    """The Taylor series of the transition in the time."""

    def term(state, k):
        power, drift, spread, (matrix, shift, covariance) = state
        power, drift, spread = t / k * (A @ power), t / (k + 1) * (A @ drift), t / (k + 1) * (A @ spread + spread @ A.T)
        return (power, drift, spread, (matrix + power, shift + drift, covariance + spread)), None

    first = (jnp.eye(A.shape[0], dtype=A.dtype), t * offset, t * diffusion)
    orders = jnp.asarray(np.arange(1.0, _TERMS), A.dtype)
    return lax.scan(term, (*first, first), orders)[0][3]
