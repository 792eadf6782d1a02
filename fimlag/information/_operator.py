"""The Fisher information as a linear operator: products without a matrix."""

from collections.abc import Callable
from functools import reduce

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike
from fimlag.information._estimate import FAILURES, failure_named
from fimlag.information._linearised import LinearisedRoot, gram_times, linearised, times, transposed_times
from fimlag.information._model import AbstractModel
from fimlag.information._moments import symmetric
from fimlag.information._root import SquareRoot
from fimlag.information._root_quality import failures_of_roots
from fimlag.information._sums import check_dense


class FisherOperator(lx.AbstractLinearOperator, AbstractSolution):
    r"""The Fisher information at one point as a lineax operator, symmetric and positive semidefinite.

    $$v \mapsto \sum_i J_i^\top (J_i v)$$

    `mv(v)`: a product, in theta's structure. `as_matrix()`: the (d, d) array, where it fits. `root_mv(v)`: $J v$, and
    `root_transpose_mv(u)`: $J^\top u$, where rows are whitened outputs or outcomes; $J^\top u$ of standard normal $u$
    has the information as its covariance. `quadratic(v)`: $|J v|^2$. `damped(damping)`: the operator
    $I + \lambda$, ready for `lineax.linear_solve`. `rows`: how many there are. `route`: how the information is
    computed. `result`: `successful`, or what befell the expectation.
    """

    roots: tuple[LinearisedRoot, ...]
    structure: Structure
    route: str = eqx.field(static=True)
    result: RESULTS

    @property
    def vector(self) -> Float[Array, " d"]:
        """The point, flat."""
        return self.roots[0].root.vector

    @property
    def rows(self) -> int:
        """The number of rows of the square root J."""
        return sum(root.root.rows for root in self.roots)

    def mv(self, vector: Coordinates) -> Coordinates:
        """The product with a vector in theta's structure."""
        return self.structure.unflatten(self.flat_mv(self._flat(vector)))

    def flat_mv(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """The product with a flat vector."""
        return gram_times(self.roots, vector)

    def root_mv(self, vector: Coordinates) -> Float[Array, " rows"]:
        """$J v$: the rows of the square root times a vector in theta's structure."""
        return times(self.roots, self._flat(vector))

    def root_transpose_mv(self, rows: Float[Array, " rows"]) -> Coordinates:
        """$J^\\top u$ in theta's structure."""
        if jnp.shape(rows) != (self.rows,):
            raise ValueError(f"One number for each of {self.rows} rows was expected, but shape {jnp.shape(rows)} came.")
        return self.structure.unflatten(transposed_times(self.roots, jnp.asarray(rows, self.vector.dtype)))

    def quadratic(self, vector: Coordinates) -> Float[Array, ""]:
        """The squared length $|J v|^2$, never negative."""
        return jnp.sum(self.root_mv(vector) ** 2)

    def as_matrix(self) -> Float[Array, "d d"]:
        """The dense matrix; a `ValueError` where it would not fit."""
        check_dense(self.vector)
        return symmetric(_sum_over_rows(self.roots, gram))

    def damped(self, damping: RealScalarLike) -> lx.AbstractLinearOperator:
        """$I + \\lambda$, tagged as positive semidefinite, which lineax cannot know of a sum with a scaled identity."""
        shift = lx.IdentityLinearOperator(self.in_structure()) * jnp.asarray(damping, self.vector.dtype)
        return lx.TaggedLinearOperator(self + shift, (lx.symmetric_tag, lx.positive_semidefinite_tag))

    def transpose(self) -> "FisherOperator":
        """The operator itself."""
        return self

    def in_structure(self):
        """Shapes and dtypes of theta."""
        return jax.eval_shape(self.structure.unflatten, self.vector)

    def out_structure(self):
        """Shapes and dtypes of theta."""
        return self.in_structure()

    def _flat(self, vector):
        return self.structure.flatten(vector, "the vector").astype(self.vector.dtype)


def fisher_operator(model: AbstractModel, theta: Coordinates, *, throw: bool = True) -> FisherOperator:
    r"""The Fisher information as a linear operator: products, and solves by lineax, without a matrix.

    $$v \mapsto I(\theta)\, v = J^\top (J v)$$

    The model is linearised once and each product reuses it, as long as that takes less than 256 MiB; beyond, each
    block of outcomes is linearised anew in each product, so that memory does not grow with their number. Products
    are compiled, and differentiable in theta.

    **Arguments:** `model`: a statistical model. `theta`: its parameters, real, a vector or any pytree. `throw`: raise
    where the expectation failed.

    **Returns:** a `FisherOperator`, a pytree of arrays: it passes through `jit` and `vmap`.

    **Raises:** `TypeError` for complex parameters, of which the information is real-linear alone; with `throw`,
    `nonfinite`, `poor_quadrature`, `poor_sample` and `biased_sample` as `fisher_estimate` does, except that beyond 64
    parameters the mean score is judged along its own direction only.

    **Reference:** Pearlmutter (1994); Schraudolph (2002), section 3 (products with $J^\top J$).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> operator = fl.fisher_operator(fl.families.Normal(), jnp.array([0.0, 0.5]))
    >>> print(jnp.round(operator.mv(jnp.array([1.0, 1.0])), 6))
    [4. 8.]

    ```
    """
    structure = flatten(theta, "theta")[1]
    if structure.complex_leaves:
        raise TypeError("fisher_operator takes real parameters: pass real and imaginary parts as leaves of their own.")
    roots = tuple(linearised(root) for root in model.information_roots(theta))
    operator = FisherOperator(roots=roots, structure=structure, route=model.route("score"), result=_verdict(roots))
    return raise_unless_successful(operator, throw)


def fisher_diagonal(model: AbstractModel, theta: Coordinates) -> Coordinates:
    r"""The diagonal of the Fisher information, exact, without the matrix.

    $$I_{kk} = \sum_i (J_i)_{\cdot k}^2$$

    The rows of J are made in parcels of at most 64 MiB.

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree.

    **Returns:** the diagonal in theta's structure; NaN where the expectation failed: `fisher_operator` tells why.

    **Reference:** Amari & Nagaoka (2000), eq. 2.6.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(jnp.round(fl.fisher_diagonal(fl.families.Normal(), jnp.array([0.0, 0.5])), 6))
    [4. 8.]

    ```
    """
    structure = flatten(theta, "theta")[1]
    roots = model.information_roots(theta)
    diagonal = sum_over_rows(roots, _squares)
    failed = jnp.any(failures_of_roots(roots))
    return structure.unflatten(jnp.where(failed, jnp.nan, diagonal))


def sum_over_rows(roots: tuple[SquareRoot, ...], part: Callable) -> Array:
    """The sum of `part(rows)` over the rows of all roots, parcel by parcel."""
    return reduce(jnp.add, [root.sum_over_rows(part) for root in roots])


def gram(rows: Float[Array, "m d"]) -> Float[Array, "d d"]:
    """The Gram matrix of a parcel of rows."""
    return rows.T @ rows


def _squares(rows):
    return jnp.sum(rows**2, axis=0)


@compiled
def _sum_over_rows(roots, part):
    return sum_over_rows(tuple(root.root for root in roots), part)


@compiled
def _verdict(roots) -> RESULTS:
    """What befell the expectation, and whether the product with a generic vector is finite."""
    failures = failures_of_roots(tuple(root.root for root in roots))
    image = times(roots, jnp.ones_like(roots[0].root.vector))
    nonfinite = ~jnp.all(jnp.isfinite(image))
    return failure_named(failures.at[FAILURES.index(RESULTS.nonfinite)].max(nonfinite))


@lx.is_symmetric.register(FisherOperator)
@lx.is_positive_semidefinite.register(FisherOperator)
def _(operator):
    return True


@lx.is_diagonal.register(FisherOperator)
@lx.is_tridiagonal.register(FisherOperator)
@lx.is_lower_triangular.register(FisherOperator)
@lx.is_upper_triangular.register(FisherOperator)
@lx.has_unit_diagonal.register(FisherOperator)
@lx.is_negative_semidefinite.register(FisherOperator)
def _(operator):
    return False


@lx.linearise.register(FisherOperator)
@lx.conj.register(FisherOperator)
def _(operator):
    return operator


@lx.diagonal.register(FisherOperator)
def _(operator):
    return _sum_over_rows(operator.roots, _squares)


@lx.tridiagonal.register(FisherOperator)
def _(operator):
    matrix = operator.as_matrix()
    return jnp.diagonal(matrix), jnp.diagonal(matrix, -1), jnp.diagonal(matrix, 1)


@lx.materialise.register(FisherOperator)
def _(operator):
    check_dense(operator.vector)
    product = lx.FunctionLinearOperator(
        operator.mv, operator.in_structure(), (lx.symmetric_tag, lx.positive_semidefinite_tag)
    )
    return lx.materialise(product)
