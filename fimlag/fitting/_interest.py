"""Which parameters a question is about, and how far from the estimate it may reach."""

import jax
import numpy as np
from jaxtyping import Array, Inexact

from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS
from fimlag._types import Coordinates
from fimlag.fitting._likelihood import MaximumLikelihoodSolution


def estimate_of(fit: MaximumLikelihoodSolution | Coordinates) -> tuple[Inexact[Array, " d"], Structure, RESULTS]:
    """The estimate as a flat vector, its structure, and how its fit ended."""
    if isinstance(fit, MaximumLikelihoodSolution):
        return *flatten(fit.theta, "the estimate"), fit.result
    return *flatten(fit, "the estimate"), RESULTS.successful


def chi_square_quantile(level: float, degrees: int) -> float:
    """The quantile of the chi-square distribution; a `ValueError` unless 0 < level < 1."""
    from scipy.special import gammaincinv

    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, but is {level}.")
    return float(2.0 * gammaincinv(0.5 * degrees, level))


def positions_of(structure: Structure, index) -> tuple[int, ...]:
    """The flat positions that an index, a name or a path stands for.

    **Arguments:** `index`: a position in the flattened parameters; the name of a leaf (a key or an attribute); a
    tuple of names and indices that leads to a leaf or into it; or a list of any of these.

    **Raises:** `ValueError` where nothing is there, or one position comes twice.
    """
    if isinstance(index, list):
        found = tuple(position for part in index for position in positions_of(structure, part))
        if not found or len(set(found)) < len(found):
            raise ValueError(f"The parameters of interest {index!r} must be distinct, and at least one.")
        return found
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        if not -structure.size <= index < structure.size:
            raise ValueError(f"Index {index} is out of range for {structure.size} parameters.")
        return (int(index) % structure.size,)
    place = _position_tree(structure)
    for part in index if isinstance(index, tuple) else (index,):
        place = _inside(place, part, index, structure)
    leaves = jax.tree_util.tree_leaves(place)
    return tuple(int(position) for leaf in leaves for position in np.ravel(leaf))


def one_position(structure: Structure, index) -> int:
    """The flat position that an index stands for; a `ValueError` where it is not one."""
    positions = positions_of(structure, index)
    if len(positions) != 1:
        raise ValueError(f"The index {index!r} stands for {len(positions)} numbers: choose one, by its path.")
    return positions[0]


def _position_tree(structure: Structure):
    """The caller's tree with the flat positions of each leaf; a complex leaf has its two parts on axis 0."""
    shapes = [(2, *shape) if i in structure.complex_leaves else shape for i, shape in enumerate(structure.shapes)]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(np.arange(structure.size), ends[:-1])
    leaves = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return jax.tree_util.tree_unflatten(structure.treedef, leaves)


def _inside(place, part, index, structure):
    by_attribute = isinstance(part, str) and not isinstance(place, dict | np.ndarray)
    try:
        return getattr(place, part) if by_attribute else place[part]
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{part!r} of the index {index!r} names nothing in parameters of structure {structure.describe()}."
        ) from error
