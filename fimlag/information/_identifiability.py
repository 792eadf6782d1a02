"""Which parameters, and which combinations of them, the data can tell at all."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PyTree

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.information._estimate import FAILURES, failure_named
from fimlag.information._model import AbstractModel
from fimlag.information._root_quality import failures_of_roots
from fimlag.information._sums import check_dense
from fimlag.information._triangular import triangular_root


class Identifiability(AbstractSolution):
    """What the data cannot tell about the parameters.

    `rank`: the number of directions that they tell. `null_directions` (d - rank, d): unit vectors along which the
    distribution does not change to first order, in reduced echelon form, so that each takes few parameters;
    `null_trees`: the same in theta's structure, stacked along axis 0. `names`: the same in words. `identifiable`
    (d,): whether a parameter takes part in none of them. `spectrum` (d,): the singular values of the square root with
    columns scaled to length 1, descending, over the largest. `threshold`: what counts as zero among them. `result`.
    """

    rank: int = eqx.field(static=True)
    null_directions: Float[Array, "p d"]
    null_trees: PyTree[Array]
    names: tuple[str, ...] = eqx.field(static=True)
    identifiable: Bool[Array, " d"]
    spectrum: Float[Array, " d"]
    threshold: float = eqx.field(static=True)
    result: RESULTS


def identifiability(
    model: AbstractModel, theta: Coordinates, rtol: float | None = None, *, throw: bool = True
) -> Identifiability:
    r"""Which directions of the parameters leave the distribution unchanged at theta, to first order.

    $$J v = 0, \qquad J = U \Sigma V^\top D, \quad D = \operatorname{diag}(|J_{\cdot k}|)$$

    The columns are scaled to length 1 first, so that the verdict does not depend on units. A direction counts as null
    where its singular value is below `rtol` times the largest one: in exact arithmetic it would be 0 for a model that
    is structurally not identifiable, while that of a merely sloppy direction is not.

    **Arguments:** `model`: a statistical model. `theta`: its parameters, known numbers, a vector or any pytree.
    `rtol`: 64 d times round-off if left out. `throw`: raise where the expectation failed.

    **Returns:** a solution with `.rank`, `.null_directions`, `.null_trees`, `.names`, `.identifiable`, `.spectrum`,
    `.threshold` and `.result`.

    **Raises:** `TypeError` under `jit`, `vmap` or `grad`: the number of null directions is a fact of the numbers;
    `ValueError` for more parameters than a dense factor fits; with `throw`, `nonfinite` and the failures of the
    expectation.

    **Reference:** Rothenberg (1971), theorem 1; Catchpole & Morgan (1997), section 3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> rates = lambda theta, x: jnp.stack([jnp.exp(-(theta["decay"] + theta["loss"]) * x), 0.1])
    >>> model = fl.ConditionalModel(rates, fl.families.Normal(), jnp.arange(1.0, 4.0))
    >>> print(*fl.identifiability(model, {"decay": 0.3, "loss": 0.2}).names)
    0.71 theta['decay'] - 0.71 theta['loss']

    ```
    """
    vector, structure = flatten(theta, "theta")
    check_dense(vector)
    if isinstance(vector, Tracer):
        raise TypeError("identifiability needs known numbers: call it outside of jit, vmap and grad.")
    triangle, failures = _triangle_and_failures(model, theta)
    triangle = np.asarray(triangle, float)
    finite = bool(np.all(np.isfinite(triangle)))
    scaled, units = _scaled(triangle if finite else np.eye(vector.size))
    _, spread, directions = np.linalg.svd(scaled)
    spread = spread / spread[0] if spread[0] > 0.0 else spread
    threshold = 64.0 * vector.size * float(jnp.finfo(vector.dtype).eps) if rtol is None else float(rtol)
    rank = int(np.sum(spread > threshold))
    null = _echelon(directions[rank:])
    # What is left of a parameter by round-off is no part: the basis is good to the threshold over the next spread.
    floor = np.clip(100.0 * threshold / spread[rank - 1], 1e-6, 1e-3) if rank else 0.0
    null = np.where(np.abs(null) > floor, null, 0.0) / units
    null = null / np.max(np.abs(null), axis=1, keepdims=True, initial=0.0)
    null = null / np.linalg.norm(null, axis=1, keepdims=True)
    null = null[np.argsort(np.argmax(null != 0.0, axis=1), kind="stable")]
    rows = jnp.asarray(null, vector.dtype)
    found = Identifiability(
        rank=rank,
        null_directions=rows,
        null_trees=jax.vmap(structure.unflatten)(rows),
        names=tuple(_in_words(row, _names_of(structure)) for row in null),
        identifiable=jnp.asarray(np.all(null == 0.0, axis=0)),
        spectrum=jnp.asarray(spread, vector.dtype),
        threshold=threshold,
        result=failure_named(failures.at[FAILURES.index(RESULTS.nonfinite)].max(not finite)),
    )
    return raise_unless_successful(found, throw)


@compiled
def _triangle_and_failures(model, theta):
    roots = model.information_roots(theta)
    return triangular_root(roots), failures_of_roots(roots)


def _scaled(triangle):
    """Columns of length 1, or 0, and their lengths before, 1 for a column of zeros; no square overflows."""
    largest = np.max(np.abs(triangle), axis=0)
    largest = np.where(largest > 0.0, largest, 1.0)
    lengths = np.linalg.norm(triangle / largest, axis=0)
    lengths = np.where(lengths > 0.0, lengths, 1.0)
    return triangle / largest / lengths, largest * lengths


def _echelon(rows):
    """A basis of the same space in reduced echelon form, by Gauss-Jordan steps with complete pivoting."""
    rows, pivots = np.array(rows), []
    for k in range(rows.shape[0]):
        sizes = np.abs(rows[k:])
        sizes[:, pivots] = 0.0
        i, j = np.unravel_index(np.argmax(sizes), sizes.shape)
        rows[[k, k + i]] = rows[[k + i, k]]
        rows[k] = rows[k] / rows[k, j]
        others = np.arange(rows.shape[0]) != k
        rows[others] -= rows[others, j : j + 1] * rows[k]
        pivots.append(int(j))
    return rows / np.maximum(np.max(np.abs(rows), axis=1, keepdims=True), 1e-300) if rows.size else rows


def _names_of(structure: Structure) -> list[str]:
    """The name of each coordinate: the path of its leaf, and its index there."""
    shapes = [jax.ShapeDtypeStruct(shape, bool) for shape in structure.shapes]
    paths = jax.tree_util.tree_flatten_with_path(jax.tree_util.tree_unflatten(structure.treedef, shapes))[0]
    names = []
    for i, (path, leaf) in enumerate(paths):
        own = [f"theta{jax.tree_util.keystr(path)}{_index(index)}" for index in np.ndindex(leaf.shape)]
        parts = (".real", ".imag") if i in structure.complex_leaves else ("",)
        names += [name + part for part in parts for name in own]
    return names


def _index(index):
    return f"[{', '.join(map(str, index))}]" if index else ""


def _in_words(row, names) -> str:
    """The direction as a combination of parameters, its first coefficient positive."""
    taken = np.flatnonzero(row)
    sign = np.sign(row[taken[0]]) if taken.size else 1.0
    terms = [f"{'-' if sign * row[k] < 0 else '+'} {abs(row[k]):.2g} {names[k]}" for k in taken]
    return " ".join(terms).removeprefix("+ ")
