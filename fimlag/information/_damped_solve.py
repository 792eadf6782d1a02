"""Linear systems with the damped Fisher information, in parameters or in the space of the rows."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Int

from fimlag._implicit import frozen
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike
from fimlag.information._damping import known_damping
from fimlag.information._linearised import times, transposed_times
from fimlag.information._operator import FisherOperator
from fimlag.information._triangular import STORED, stored_jacobian, stored_size

COLUMNS = 2**26
"""Bytes of the columns of a kernel that are made together."""


class AbstractDampedSolver(eqx.Module):
    """A way to solve $(I + \\lambda) x = b$."""

    rtol: eqx.AbstractVar[float | None]

    @abc.abstractmethod
    def solver(self, operator: FisherOperator, damping: Float[Array, ""], tolerance: float) -> Callable:
        """A function from a flat b to x and the number of iterations it took."""

    def tolerance(self, dtype) -> float:
        """The relative residual accepted: `rtol`, or round-off to the power 1/2."""
        return float(jnp.finfo(dtype).eps) ** 0.5 if self.rtol is None else self.rtol


class ConjugateGradient(AbstractDampedSolver):
    """Conjugate gradients: one product with the information in each step, and no memory beyond vectors.

    **Arguments:** `rtol`: the residual over the right-hand side, round-off to the power 1/2 if left out. `max_steps`:
    how many steps at most; about $\\sqrt{\\lambda_{max} / \\lambda}$ are needed.

    **Reference:** Hestenes & Stiefel (1952); Martens (2010), section 4.
    """

    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int = eqx.field(static=True, default=1000)

    def solver(self, operator, damping, tolerance):
        """Steps by lineax, on the system divided by the damping, whose smallest eigenvalue is then known."""
        vector = operator.vector
        # lineax takes a curvature below 100 d eps for a breakdown: all of ours are above, whatever d is.
        scale = 1.0 + 1e4 * float(jnp.finfo(vector.dtype).eps) * vector.size

        def product(x):
            return scale * (operator.flat_mv(x) / damping + x)

        structure = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
        scaled = lx.FunctionLinearOperator(product, structure, lx.positive_semidefinite_tag)
        method = lx.CG(rtol=0.0, atol=tolerance, norm=jnp.linalg.norm, max_steps=self.max_steps)

        def solve(rhs):
            length = _length(rhs)
            unit = rhs / jnp.where(length > 0.0, length, 1.0)
            found = lx.linear_solve(scaled, unit, method, throw=False)
            return found.value * (scale * length / damping), found.stats["num_steps"]

        return solve


class SampleSpace(AbstractDampedSolver):
    r"""The Woodbury identity: a system as large as the rows of the square root J, factored once.

    $$(J^\top J + \lambda)^{-1} b = \frac{b - J^\top (J J^\top + \lambda)^{-1} J b}{\lambda}$$

    One step of iterative refinement follows. The kernel $J J^\top$ comes from J where that takes less than 256 MiB,
    else column by column from products.

    **Arguments:** `rtol`: the residual accepted over the right-hand side, round-off to the power 1/2 if left out.

    **Reference:** Chen & Heyl (2024), eq. 8 (minSR); Golub & Van Loan (2013), eq. 2.1.4.
    """

    rtol: float | None = eqx.field(static=True, default=None)

    def solver(self, operator, damping, tolerance):
        """Cholesky of the kernel, and one refinement."""
        forth, back, kernel = _rows(operator)
        factor = jax.scipy.linalg.cho_factor(kernel + damping * jnp.eye(kernel.shape[0], dtype=kernel.dtype))

        def woodbury(rhs):
            return (rhs - back(jax.scipy.linalg.cho_solve(factor, forth(rhs)))) / damping

        def solve(rhs):
            x = woodbury(rhs)
            x = x + woodbury(rhs - operator.flat_mv(x) - damping * x)
            return x, jnp.zeros((), jnp.arange(1).dtype)

        return solve


class DampedSolution(AbstractSolution):
    """The solution of a damped system and how well it solves it.

    `value`: in theta's structure. `residual` (): $|b - (I + \\lambda) x| / |b|$, by one more product; `iterations` (),
    0 of a direct method; `route`; `result`: `successful`, `inaccurate_solution`, `nonfinite`, or what befell the
    operator.
    """

    value: Coordinates
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    route: str = eqx.field(static=True)
    result: RESULTS


def damped_solve(
    operator: FisherOperator,
    rhs: Coordinates,
    damping: RealScalarLike,
    method: AbstractDampedSolver | None = None,
    *,
    throw: bool = True,
) -> DampedSolution:
    r"""The solution of a system with the damped Fisher information, such as a natural-gradient step.

    $$(I(\theta) + \lambda)\, x = b$$

    Left to itself it works in the space of the rows, where these are fewer than the parameters and all of them take
    less than 256 MiB, and else by conjugate gradients; `route` tells.

    **Arguments:** `operator`: of `fisher_operator`. `rhs`: b, in theta's structure. `damping`: $\lambda$, positive.
    The least-norm solution of the undamped system is the limit of small ones, for b in the space of the rows; what
    round-off leaves of it, the residual tells. `method`: `ConjugateGradient(...)` or `SampleSpace(...)`. `throw`:
    raise on failure.

    **Returns:** a solution with `.value`, `.residual`, `.iterations`, `.route` and `.result`. Derivatives in b, the
    damping and theta are further solves, in both modes.

    **Raises:** `TypeError` for another operator, `ValueError` for a damping that is not positive, or b of another
    structure; with `throw`, `inaccurate_solution` where the residual exceeds twice the tolerance, and `nonfinite`.

    **Reference:** Amari (1998), eq. 8; Martens (2020), section 8 (damping).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> operator = fl.fisher_operator(fl.families.Normal(), jnp.array([0.0, 0.5]))
    >>> print(jnp.round(fl.damped_solve(operator, jnp.array([5.0, 9.0]), 1.0).value, 6))
    [1. 1.]

    ```
    """
    if not isinstance(operator, FisherOperator):
        raise TypeError(f"operator must come from fisher_operator(model, theta), but {type(operator).__name__} came.")
    if known_damping(damping) == 0.0:
        raise ValueError("damping must be positive: the undamped solution is the limit of small ones.")
    if method is None:
        method = _affordable(operator)
    vector = operator.vector
    shift = jnp.asarray(damping, vector.dtype)
    b = operator.structure.flatten(rhs, "rhs").astype(vector.dtype)
    tolerance = method.tolerance(vector.dtype)
    solver = method.solver(frozen(operator), jax.lax.stop_gradient(shift), tolerance)

    def product(x):
        return operator.flat_mv(x) + shift * x

    x, iterations = jax.lax.custom_linear_solve(
        product, b, lambda _, b: solver(b), lambda _, b: solver(b), symmetric=True, has_aux=True
    )
    length = _length(jax.lax.stop_gradient(b))
    residual = _length(jax.lax.stop_gradient(b - product(x))) / jnp.where(length > 0.0, length, 1.0)
    result = first_failure(
        (~jnp.isfinite(residual) | (shift <= 0.0), RESULTS.nonfinite),
        (residual > 2.0 * tolerance, RESULTS.inaccurate_solution),
    )
    solution = DampedSolution(
        value=operator.structure.unflatten(x),
        residual=residual,
        iterations=jnp.asarray(iterations),
        route=type(method).__name__,
        result=RESULTS.where(operator.succeeded, result, operator.result),
    )
    return raise_unless_successful(solution, throw)


def _length(vector):
    """The norm, of which no square overflows or vanishes."""
    largest = jnp.max(jnp.abs(vector))
    return largest * jnp.linalg.norm(vector / jnp.where(largest > 0.0, largest, 1.0))


def _affordable(operator):
    stored = stored_size(tuple(root.root for root in operator.roots)) <= STORED
    return SampleSpace() if operator.rows < operator.vector.size and stored else ConjugateGradient()


def _rows(operator):
    """$v \\mapsto J v$, $u \\mapsto J^\\top u$ and $J J^\\top$, by J itself where it can be stored."""
    roots = tuple(root.root for root in operator.roots)
    if stored_size(roots) <= STORED:
        rows = stored_jacobian(roots)
        return lambda v: rows @ v, lambda u: u @ rows, rows @ rows.T
    count, dtype = operator.rows, operator.vector.dtype

    def column(number):
        unit = jnp.zeros(count, dtype).at[number].set(1.0)
        return times(operator.roots, transposed_times(operator.roots, unit))

    width = max(1, COLUMNS // (max(count, operator.vector.size) * dtype.itemsize))
    kernel = jax.lax.map(column, jnp.arange(count), batch_size=width)
    kernel = 0.5 * (kernel + kernel.T)
    return lambda v: times(operator.roots, v), lambda u: transposed_times(operator.roots, u), kernel
