"""Likelihoods beyond their Gaussian approximation: the DALI expansion of a mean."""

import math
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates
from fimlag.information._conditional import ConditionalModel
from fimlag.information._gaussian import GaussianModel
from fimlag.information._model import AbstractModel
from fimlag.information._product import ProductModel
from fimlag.information._root import PARCEL, SquareRoot
from fimlag.information._sums import DENSE_LIMIT, sum_blocks, take_block
from fimlag.information.families import Normal


class DaliTensors(AbstractSolution):
    r"""The tensors of a DALI expansion at one point, in the order of the flattened parameters.

    `fisher` $F_{ab} = \mu_{,a} M \mu_{,b}$; `flexion` $G_{abc} = \mu_{,ab} M \mu_{,c}$; `quarxion`
    $H_{abcd} = \mu_{,ab} M \mu_{,cd}$; of order 3 also `first_third` $\mu_{,a} M \mu_{,bcd}$, `second_third`
    $\mu_{,ab} M \mu_{,cde}$ and `third_third` $\mu_{,abc} M \mu_{,def}$, else None. `result`: `successful`,
    `nonfinite`, or `varying_covariance`.
    """

    fisher: Float[Array, "d d"]
    flexion: Float[Array, "d d d"]
    quarxion: Float[Array, "d d d d"]
    first_third: Float[Array, "d d d d"] | None
    second_third: Float[Array, "d d d d d"] | None
    third_third: Float[Array, "d d d d d d"] | None
    structure: Structure
    result: RESULTS

    def log_likelihood(self, displacement: Coordinates) -> Float[Array, ""]:
        r"""The log-likelihood at a displacement from the peak, less its value there (nats), never positive.

        $$-\tfrac12 F_{ab} \Delta^{ab} - \tfrac12 G_{abc} \Delta^{abc} - \tfrac18 H_{abcd} \Delta^{abcd}
        - \tfrac16 \mu_{,a} M \mu_{,bcd} \Delta^{abcd} - \tfrac1{12} \mu_{,ab} M \mu_{,cde} \Delta^{abcde}
        - \tfrac1{72} \mu_{,abc} M \mu_{,def} \Delta^{abcdef}$$

        Exact where the mean is a polynomial of the expansion's order. **Arguments:** `displacement`: in theta's
        structure. **Returns:** shape (); NaN where the expansion failed.
        """
        step = self.structure.flatten(displacement, "displacement").astype(self.fisher.dtype)
        terms = (
            (1 / 2, self.fisher),
            (1 / 2, self.flexion),
            (1 / 8, self.quarxion),
            (1 / 6, self.first_third),
            (1 / 12, self.second_third),
            (1 / 72, self.third_third),
        )
        value = -sum(factor * _along(tensor, step) for factor, tensor in terms if tensor is not None)
        return jnp.where(self.succeeded, value, jnp.nan)


def dali_tensors(model: AbstractModel, theta: Coordinates, order: int = 2, *, throw: bool = True) -> DaliTensors:
    r"""The tensors that carry a Gaussian likelihood beyond its Fisher matrix, by nested forward derivatives.

    $$-\log L = \tfrac12 |r|^2, \qquad
    r = \mu_{,a} \Delta^a + \tfrac12 \mu_{,ab} \Delta^{ab} + \tfrac16 \mu_{,abc} \Delta^{abc} + \dots$$

    in units of a covariance $M^{-1}$ that does not depend on theta. A square of whatever order is cut, the expansion
    is the logarithm of a proper density.

    **Arguments:** `model`: Gaussian, of known covariance: a `ConditionalModel` with `families.Normal` noise whose scale
    does not depend on theta, a `GaussianModel` of constant covariance, or a `ProductModel` of such. `theta`: the peak,
    a vector or any pytree. `order`: derivatives of the mean taken along, 2 (the doublet) or 3 (the triplet). `throw`:
    raise on failure.

    **Returns:** a solution with `.fisher`, `.flexion`, `.quarxion` (and the triplet's tensors),
    `.log_likelihood(displacement)` and `.result`.

    **Raises:** `TypeError` for another model, `ValueError` for another order or tensors that would not fit; with
    `throw`, `varying_covariance` where the scale of the noise depends on theta after all, and `nonfinite`.

    **Reference:** Sellentin, Quartin & Amendola (2014), eq. 15 and 16.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> tensors = fl.dali_tensors(fl.GaussianModel(lambda theta: theta**2, jnp.ones(())), jnp.array([1.0]))
    >>> print(tensors.fisher, tensors.flexion, tensors.log_likelihood(jnp.array([1.0])))
    [[4.]] [[[4.]]] -4.5

    ```
    """
    vector, structure = flatten(theta, "theta")
    if order not in (2, 3):
        raise ValueError(f"order must be 2 (the doublet) or 3 (the triplet), but is {order}.")
    size = vector.size ** (2 * order) * vector.dtype.itemsize
    if size > DENSE_LIMIT:
        raise ValueError(f"The tensors of order {order} of {vector.size} parameters would take {size / 2**30:.0f} GiB.")
    parts = [_tensors_of(root, scaled, order) for root, scaled in _whitened_means(model, theta)]
    *tensors, drift = jax.tree_util.tree_map(lambda *leaves: reduce(jnp.add, leaves), *parts)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(tensor)) for tensor in tensors]))
    names = ("fisher", "flexion", "quarxion", "first_third", "second_third", "third_third")
    tensors += [None] * (len(names) - len(tensors))
    result = first_failure((~finite, RESULTS.nonfinite), (drift > 0.0, RESULTS.varying_covariance))
    found = DaliTensors(**dict(zip(names, tensors, strict=True)), structure=structure, result=result)
    return raise_unless_successful(found, throw)


def _whitened_means(model, theta) -> list[tuple[SquareRoot, bool]]:
    """Roots whose outputs are a mean in fixed units, and whether the second output of an item is its scale."""
    if isinstance(model, ProductModel):
        return [pair for part in model.models for pair in _whitened_means(part, theta)]
    regression = isinstance(model, ConditionalModel) and isinstance(model.noise, Normal)
    if not regression and not (isinstance(model, GaussianModel) and not callable(model.covariance)):
        raise TypeError(
            "dali_tensors needs a Gaussian mean of known covariance: a ConditionalModel with families.Normal noise, a "
            f"GaussianModel of constant covariance, or a ProductModel of such, but {type(model).__name__} came."
        )
    return [(root, regression) for root in model.information_roots(theta)]


def _tensors_of(root: SquareRoot, scaled: bool, order: int):
    """The contractions of the derivatives of whitened outputs, summed over items, and how much a scale moves."""

    def of_block(items):
        count = jax.tree_util.tree_leaves(items)[0].shape[0]
        size = root.rows // root.blocks * root.vector.size**order * root.vector.dtype.itemsize
        parcels = min(count, math.ceil(size / PARCEL))

        def of_parcel(number):
            chosen, inside = take_block(items, parcels, number)
            mask = inside.astype(root.vector.dtype)
            return _contracted(_derivatives(root, chosen, mask, order), scaled)

        return sum_blocks(of_parcel, parcels)

    return root.sum_over_blocks(of_block)


def _derivatives(root, items, mask, order):
    derivative, found = root.of_item, []
    for _ in range(order):
        derivative = jax.jacfwd(derivative)
        values = jax.vmap(derivative, (None, 0))(root.vector, items)
        found.append(jnp.reshape(mask, (-1,) + (1,) * (values.ndim - 1)) * values)
    return found


def _contracted(derivatives, scaled):
    """The tensors, each a sum over items and outputs, then the squared slope of the scale."""
    drift = jnp.sum(derivatives[0][:, 1] ** 2) if scaled else jnp.zeros((), derivatives[0].dtype)
    flat = [jnp.reshape(d, (-1, *d.shape[2:])) for d in derivatives]
    pairs = [(0, 0), (1, 0), (1, 1), (0, 2), (1, 2), (2, 2)][: 3 if len(flat) == 2 else 6]
    return *(jnp.tensordot(flat[i], flat[j], axes=(0, 0)) for i, j in pairs), jax.lax.stop_gradient(drift)


def _along(tensor, step):
    """All indices of a tensor contracted with one vector."""
    while tensor.ndim:
        tensor = tensor @ step
    return tensor
