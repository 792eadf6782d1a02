"""Meshes of polynomial elements in time, and the constant matrices that belong to them."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from fimlag.mechanics._discrete import ElementBasis, element_basis
from fimlag.paths._mesh import nodal_fractions


@dataclass(frozen=True)
class Mesh:
    """Segments of a number of elements each, polynomials of a degree on them, and the Gauss points of an element."""

    segments: int
    elements: int
    degree: int
    points: int

    @property
    def count(self) -> int:
        """The number of all elements."""
        return self.segments * self.elements

    @property
    def unknowns(self) -> int:
        """The number of nodes between the ends."""
        return self.count * self.degree - 1

    @property
    def basis(self) -> ElementBasis:
        """The polynomials and the Gauss rule of an element."""
        return element_basis(self.degree, self.points)

    @property
    def finer(self) -> "Mesh":
        """Elements of one degree more, with the same Gauss points."""
        return replace(self, degree=self.degree + 1)

    @property
    def held(self) -> np.ndarray:
        """The numbers of the vertices between the ends, the first being 0, at which segments meet."""
        return self.elements * np.arange(1, self.segments) - 1

    @property
    def node_numbers(self) -> np.ndarray:
        """The numbers of the nodes of each element in the order of `node_order`, shape (p + 1, E)."""
        return np.array(node_order(self.degree))[:, None] + self.degree * np.arange(self.count)[None]

    @property
    def fractions(self) -> np.ndarray:
        """The places of the nodes in units of a segment's length, shape (E p + 1,)."""
        return nodal_fractions(self.count, self.degree) * self.segments

    def from_nodes(self) -> np.ndarray:
        """From the nodes of an element to positions and slopes at its Gauss points, shape (points 2, p + 1)."""
        functions = self._test_functions()
        return functions.reshape(-1, functions.shape[2])

    def twice_tested(self) -> np.ndarray:
        """From weighted (q, v) matrices at the Gauss points to pairs of nodes, shape ((p + 1)^2, points 4)."""
        functions = self._test_functions()
        pairs = np.einsum("gxa,gyb->abgxy", functions, functions)
        return pairs.reshape(functions.shape[2] ** 2, -1)

    def interpolation_to(self, other: "Mesh") -> np.ndarray:
        """The matrix from the nodes of this mesh to those of another of as many segments."""
        places = other.fractions * self.elements
        element = np.clip(np.floor(places), 0, self.count - 1).astype(int)
        matrix = np.zeros((places.size, self.count * self.degree + 1))
        columns = element[:, None] * self.degree + np.arange(self.degree + 1)
        np.put_along_axis(matrix, columns, self.basis.at(places - element), axis=1)
        return matrix

    def _test_functions(self) -> np.ndarray:
        """The basis and its derivative at the Gauss points, shape (points, 2, p + 1), nodes in `node_order`."""
        return np.stack([self.basis.values, self.basis.derivatives], axis=1)[..., node_order(self.degree)]


@functools.cache
def node_order(degree: int) -> list[int]:
    """The nodes of an element as `CondensedElements` takes them: the interior, then the left and right vertices."""
    return [*range(1, degree), 0, degree]
