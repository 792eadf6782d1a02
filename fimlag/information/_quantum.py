"""Quantum states as statistical models: the geometric tensor and the quantum Fisher information."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from fimlag._flat import flatten
from fimlag._types import Coordinates


def quantum_geometric_tensor(state: Callable, theta: Coordinates) -> Complex[Array, "d d"]:
    r"""The quantum geometric tensor of a pure state.

    $$Q_{ij} = \frac{\langle \partial_i \psi |\, 1 - P\, | \partial_j \psi \rangle}{\langle \psi | \psi \rangle},
    \qquad P = \frac{| \psi \rangle \langle \psi |}{\langle \psi | \psi \rangle}$$

    Its real part is the Fubini-Study metric, a quarter of the quantum Fisher information; minus twice its
    imaginary part is the Berry curvature. Neither phase nor norm of the state matters.

    **Arguments:** `state(theta)`: the amplitudes, normalised or not: a complex or real array of other than two axes,
    or a pytree of arrays, differentiable in theta. `theta`: parameters, a vector or any pytree; a complex leaf counts
    as its real parts followed by its imaginary parts.

    **Returns:** the tensor, Hermitian and positive semi-definite, in the order of the flattened parameters, shape
    (d, d); NaN where the state is zero.

    **Raises:** `ValueError` for an array of two axes, `TypeError` for amplitudes that are not floating-point or complex
    numbers.

    **Reference:** Provost & Vallee (1980), eq. 2.11; Stokes, Izaac, Killoran & Carleo (2020), eq. 8.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def spin(a):
    ...     up, down = jnp.cos(a[0] / 2), jnp.sin(a[0] / 2)
    ...     return jax.lax.complex(jnp.stack([up, down * jnp.cos(a[1])]), jnp.stack([0 * up, down * jnp.sin(a[1])]))
    >>> tensor = jax.jit(lambda angles: fl.quantum_geometric_tensor(spin, angles))
    >>> print(jnp.round(tensor(jnp.array([jnp.pi / 2, 0.3])), 9) + 0.0)
    [[0.25+0.j   0.  +0.25j]
     [0.  -0.25j 0.25+0.j  ]]

    ```
    """
    vector, structure = flatten(theta, "theta")

    def output(point):
        return state(structure.unflatten(point))

    if _is_density(output, vector):
        raise ValueError(
            "The state is an array of two axes, which is read as a density matrix: flatten the amplitudes of a pure "
            "state, or take quantum_fisher_information of a mixed one."
        )
    return _tensor(lambda point: _amplitudes(output(point)), vector)


def berry_curvature(state: Callable, theta: Coordinates) -> Float[Array, "d d"]:
    r"""The Berry curvature of a pure state.

    $$F_{ij} = \partial_i A_j - \partial_j A_i = -2 \operatorname{Im} Q_{ij}, \qquad
    A_i = i\, \langle \psi | \partial_i \psi \rangle$$

    The phase that a state gathers around a small loop is $\tfrac12 F_{ij}$ times the area of the loop in i and j,
    $\mathrm{d}\theta_i \wedge \mathrm{d}\theta_j$.

    **Arguments:** as for `quantum_geometric_tensor`.

    **Returns:** the antisymmetric matrix, shape (d, d); NaN where the state is zero.

    **Raises:** as for `quantum_geometric_tensor`.

    **Reference:** Berry (1984), eq. 7-9; Provost & Vallee (1980).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def spin(a):
    ...     up, down = jnp.cos(a[0] / 2), jnp.sin(a[0] / 2)
    ...     return jax.lax.complex(jnp.stack([up, down * jnp.cos(a[1])]), jnp.stack([0 * up, down * jnp.sin(a[1])]))
    >>> curvature = jax.jit(lambda angles: fl.berry_curvature(spin, angles))
    >>> print(jnp.round(curvature(jnp.array([jnp.pi / 2, 0.3])), 9) + 0.0)
    [[ 0.  -0.5]
     [ 0.5  0. ]]

    ```
    """
    return -2.0 * jnp.imag(quantum_geometric_tensor(state, theta))


def quantum_fisher_information(state_or_density: Callable, theta: Coordinates) -> Float[Array, "d d"]:
    r"""The quantum Fisher information: the most that any measurement of a state can tell.

    $$F_{ij} = 4 \operatorname{Re} Q_{ij} \quad \text{(pure)}, \qquad
    F_{ij} = \tfrac12 \operatorname{tr} \rho\, (L_i L_j + L_j L_i), \quad
    \rho L_i + L_i \rho = 2\, \partial_i \rho \quad \text{(mixed)}$$

    Derivatives in theta pass through degenerate eigenvalues of a density matrix.

    **Arguments:** `state_or_density(theta)`: a pure state, as for `quantum_geometric_tensor`, or a density matrix: a
    square array, divided by its trace. An array of two axes is always a density matrix. `theta`: parameters, a vector
    or any pytree.

    **Returns:** the matrix in the order of the flattened parameters, shape (d, d); NaN for a state that is zero or a
    density matrix that is not Hermitian or has a negative eigenvalue, by more than $\sqrt\epsilon$ of the largest.
    Pairs of eigenvalues whose sum is below $10\, n\, \epsilon$ of the largest (dimension n, round-off $\epsilon$)
    count as zero and are left out, so where the rank of $\rho$ changes the value is that of its support; NaN where
    such an eigenvalue crosses zero at a finite rate, as there the information is infinite.

    **Raises:** `ValueError` for an array of two axes that is not square, `TypeError` as for
    `quantum_geometric_tensor`.

    **Reference:** Braunstein & Caves (1994), eq. 24; Paris (2009), eq. 15; Safranek (2017) for changes of rank.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> def thermal(r): return 0.5 * jnp.array([[1.0 + r, 0.0], [0.0, 1.0 - r]])
    >>> print(jnp.round(jax.jit(lambda r: fl.quantum_fisher_information(thermal, r))(0.6), 9))  # 1 / (1 - r^2)
    [[1.5625]]

    ```
    """
    vector, structure = flatten(theta, "theta")

    def output(point):
        return state_or_density(structure.unflatten(point))

    shape = jax.eval_shape(output, vector)
    if getattr(shape, "ndim", None) != 2:
        return 4.0 * jnp.real(_tensor(lambda point: _amplitudes(output(point)), vector))
    if shape.shape[0] != shape.shape[1]:
        raise ValueError(
            f"A density matrix must be square, but has shape {shape.shape}; flatten amplitudes of two axes."
        )
    return _logarithmic_information(lambda point: _density(output(point)), vector)


def _is_density(output, vector):
    return getattr(jax.eval_shape(output, vector), "ndim", None) == 2


def _tensor(amplitudes, vector):
    psi = amplitudes(vector)
    # No constant factor matters, and none must overflow.
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(psi))).astype(psi.dtype)
    slopes = jax.jacfwd(amplitudes)(vector) / size
    psi = psi / size
    square = jnp.vdot(psi, psi)
    across = slopes - jnp.outer(psi, psi.conj() @ slopes) / square
    tensor = across.conj().T @ across / square
    return 0.5 * (tensor + tensor.conj().T)


def _amplitudes(state):
    """The amplitudes as one complex vector."""
    parts = [_complex(leaf) for leaf in jax.tree_util.tree_leaves(state)]
    return jnp.concatenate([jnp.ravel(part) for part in parts])


def _density(matrix):
    """The matrix divided by its trace, complex; NaN where it is not Hermitian or not positive."""
    matrix = _complex(matrix)
    matrix = matrix / jnp.trace(matrix)
    skew = matrix - matrix.conj().T
    lowest = jnp.linalg.eigvalsh(jax.lax.stop_gradient(matrix))[0]
    tolerance = float(jnp.finfo(matrix.dtype).eps) ** 0.5 * jnp.max(jnp.abs(matrix))
    return jnp.where((jnp.max(jnp.abs(skew)) <= tolerance) & (lowest >= -tolerance), matrix, jnp.nan)


def _complex(array):
    array = jnp.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise TypeError(f"Amplitudes must be floating-point or complex numbers, but are {array.dtype}.")
    return array if jnp.iscomplexobj(array) else jax.lax.complex(array, jnp.zeros_like(array))


def _logarithmic_information(density, vector):
    rho, slopes = density(vector), jnp.moveaxis(jax.jacfwd(density)(vector), -1, 0)
    slopes = 0.5 * (slopes + slopes.conj().mT)
    logarithms = _lyapunov(0.5 * (rho + rho.conj().T), 2.0 * slopes)
    information = jnp.real(jnp.einsum("iab,jba->ij", slopes, logarithms))
    return 0.5 * (information + information.T)


def _lyapunov(rho, right):
    r"""The solutions of $\rho X + X \rho = B$, stacked along axis 0, zero between null vectors of $\rho$.

    Derivatives are further solves. Between null vectors they are not those of X; but there every slope of $\rho$
    vanishes, so the information does not depend on it.
    """
    eigenvalues, basis = jnp.linalg.eigh(jax.lax.stop_gradient(rho))
    sums = eigenvalues[:, None] + eigenvalues[None, :]
    seen = sums > 10 * rho.shape[0] * float(jnp.finfo(sums.dtype).eps) * jnp.max(eigenvalues)
    inverse = jnp.where(seen, 1.0 / jnp.where(seen, sums, 1.0), 0.0)
    # Between null vectors the slope of a state of constant rank vanishes.
    rates = jnp.abs(basis.conj().T @ jax.lax.stop_gradient(right) @ basis)
    unseen = jnp.max(jnp.where(seen[None], 0.0, rates), axis=(1, 2))
    regular = jnp.all(unseen <= float(jnp.finfo(sums.dtype).eps) ** 0.5 * jnp.max(rates, axis=(1, 2)))
    inverse = jnp.where(regular, inverse, jnp.nan).astype(rho.dtype)

    def solved(_, b):
        return basis @ (inverse[None] * (basis.conj().T @ b @ basis)) @ basis.conj().T

    def transposed(_, b):
        # The transposed operator is that of the conjugate of rho.
        return solved(_, b.conj()).conj()

    return jax.lax.custom_linear_solve(lambda x: rho @ x + x @ rho, right, solved, transposed)
