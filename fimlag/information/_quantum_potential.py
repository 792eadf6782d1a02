"""Bohm's potential of a density: an identity about its Fisher information, with no claim about physics."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def quantum_potential(log_density: Callable, x: ArrayLike) -> Float[Array, ""]:
    r"""Bohm's quantum potential of a density, whose mean is an eighth of the Fisher information about location.

    $$Q = -\frac12 \frac{\Delta \sqrt p}{\sqrt p} = -\frac14 \Delta \ell - \frac18 |\nabla \ell|^2, \qquad
    \ell = \log p, \qquad \langle Q \rangle_p = \tfrac18 J[p]$$

    In units of $\hbar = m = 1$. For a ground state Q + V is constant: the energy. That is an identity of the
    Schroedinger equation; neither it nor the library claims that physics follows from information, which is disputed
    (Lavis & Streater 2002).

    **Arguments:** `log_density`: a twice differentiable function of a point (nats, up to a constant). `x`: the point,
    shape () or (d,).

    **Returns:** Q at the point (one over the squared unit of x), shape ().

    **Reference:** Bohm (1952), eq. 9; Reginatto (1998), eq. 5.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> x = jnp.array(0.3)                                                 # the oscillator: Q + x^2 / 2 is its energy
    >>> print(jnp.round(fl.quantum_potential(lambda x: -(x**2), x) + x**2 / 2, 9))
    0.5

    ```
    """
    x = jnp.asarray(x)
    point = x.reshape(-1)

    def flat(point):
        return log_density(point.reshape(x.shape))

    gradient, hessian = jax.grad(flat)(point), jax.hessian(flat)(point)
    return -0.25 * jnp.trace(hessian) - 0.125 * jnp.sum(gradient**2)
