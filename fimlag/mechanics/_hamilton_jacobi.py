"""The action as a generating function: the Hamilton-Jacobi equation, and the maps that an action generates."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._types import Coordinates, RealScalarLike
from fimlag.mechanics._lagrangian import FlatLagrangian, as_time
from fimlag.mechanics._legendre import gradient_root


def hamilton_jacobi_residual(
    hamiltonian: Callable, action: Callable, t: RealScalarLike, q: Coordinates
) -> Float[Array, ""]:
    r"""What is left of the Hamilton-Jacobi equation for a function S of time and place.

    $$\frac{\partial S}{\partial t} + H\Big(t, q, \frac{\partial S}{\partial q}\Big)$$

    It vanishes for the action of the motions from one place and time, or from one value of a complete integral's
    constants, as a function of their end.

    **Arguments:** `hamiltonian`: a callable `(t, q, p) -> scalar`, for a Lagrangian `hamiltonian(L)`; `action`: S, a
    callable `(t, q) -> scalar`; `t`: the time; `q`: the point, in any structure.

    **Returns:** the residual, shape (), in the unit of the Hamiltonian.

    **Raises:** `ValueError` for a Hamiltonian or an action that is no scalar.

    **Reference:** Arnold (1989), section 46C; Landau & Lifshitz (1976), eq. 47.1.

    ```python
    >>> import fimlag as fl
    >>> fl.hamilton_jacobi_residual(lambda t, q, p: p**2 / 2, lambda t, q: q**2 / (2 * t), 2.0, 3.0).tolist()
    0.0

    ```
    """
    vector, structure = flatten(q, "q")
    t = as_time(t, vector.dtype)
    rate, p = jax.grad(lambda t, q: _value(action, t, structure.unflatten(q)), argnums=(0, 1))(t, vector)
    return rate + FlatLagrangian(hamiltonian, structure)(t, vector, p)


def boundary_momenta(action: Callable, q0: Coordinates, q1: Coordinates) -> tuple[PyTree[Array], PyTree[Array]]:
    r"""The momenta at the ends of motions, from their action as a function of these ends.

    $$p_0 = -\frac{\partial S}{\partial q_0}, \qquad p_1 = \frac{\partial S}{\partial q_1}$$

    For a discrete Lagrangian, the action of one step, these are the discrete Legendre transforms.

    **Arguments:** `action`: S, a callable `(q0, q1) -> scalar`; `q0`, `q1`: the ends, in one structure.

    **Returns:** `(p0, p1)`, in that structure.

    **Raises:** `ValueError` for ends of different structures, and for an action that is no scalar.

    **Reference:** Landau & Lifshitz (1976), section 43; Marsden & West (2001), eq. 1.3.1.

    ```python
    >>> import fimlag as fl
    >>> [float(p) for p in fl.boundary_momenta(lambda q0, q1: (q1 - q0) ** 2 / 2 - q1, 1.0, 3.0)]
    [2.0, 1.0]

    ```
    """
    start, structure = flatten(q0, "q0")
    end = structure.flatten(q1, "q1").astype(start.dtype)
    slopes = jax.grad(_of_vectors(action, structure), argnums=(0, 1))(start, end)
    return structure.unflatten(-slopes[0]), structure.unflatten(slopes[1])


def generated_map(
    action: Callable, q0: Coordinates, p0: Coordinates, guess: Coordinates | None = None
) -> tuple[PyTree[Array], PyTree[Array]]:
    r"""The canonical map that an action generates: the end of the motion with a given start.

    $$-\frac{\partial S}{\partial q_0}(q_0, q_1) = p_0, \qquad p_1 = \frac{\partial S}{\partial q_1}(q_0, q_1)$$

    It is symplectic whatever S is: with the action of one step, a variational integrator.

    **Arguments:** `action`: S, a callable `(q0, q1) -> scalar`; `q0`, `p0`: point and momentum in one structure;
    `guess`: an end near the one sought, `q0` if left out. Where several ends share a start, it decides.

    **Returns:** `(q1, p1)`, in that structure; NaN where Newton's method did not converge, or
    $\partial^2 S / \partial q_0 \partial q_1$ is singular, as at a conjugate point.

    **Raises:** `ValueError` for arguments of different structures, and for an action that is no scalar.

    **Reference:** Arnold (1989), section 47; Hairer, Lubich & Wanner (2006), eq. VI.6.4.

    ```python
    >>> import fimlag as fl
    >>> [float(z) for z in fl.generated_map(lambda q0, q1: (q1 - q0) ** 2 / 4, 1.0, 3.0)]
    [7.0, 3.0]

    ```
    """
    start, structure = flatten(q0, "q0")
    momentum = structure.flatten(p0, "p0").astype(start.dtype)
    first = start if guess is None else structure.flatten(guess, "guess").astype(start.dtype)
    value = _of_vectors(action, structure)
    end = gradient_root(lambda end: -jax.grad(value, argnums=0)(start, end), momentum, first)
    return structure.unflatten(end), structure.unflatten(jax.grad(value, argnums=1)(start, end))


def _of_vectors(action, structure: Structure):
    return lambda q0, q1: _value(action, structure.unflatten(q0), structure.unflatten(q1))


def _value(action, *ends):
    value = jnp.asarray(action(*ends))
    if value.shape != ():
        raise ValueError(f"An action returns a scalar of shape (), but this one returned shape {value.shape}.")
    return value
