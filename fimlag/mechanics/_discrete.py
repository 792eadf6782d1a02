"""Polynomial elements in time and the discrete Lagrangians that they define."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import legendre

from fimlag._types import LagrangianFn


class ElementBasis:
    r"""The Lagrange polynomials of degree p at Gauss-Lobatto nodes on [0, 1], with a Gauss quadrature rule.

    A trajectory on an element is $q(t_0 + c h) = \sum_a \phi_a(c)\, q_a$. Made once on the host.

    **Arguments:** `degree`: p, at least 1; `points`: number m of Gauss points (default p + 1), at which
    polynomials of degree 2m - 1 are integrated exactly.

    **Attributes:** `nodes` (p + 1,); `abscissae`, `weights` (m,); `values`, `derivatives` (m, p + 1): the basis
    and its derivative in c at the Gauss points; `coefficients` (p + 1, p + 1): from values at the nodes to
    coefficients of the Legendre polynomials in 2c - 1.

    **Raises:** `ValueError` for a degree or a number of points below 1.

    **Reference:** Hairer, Lubich & Wanner (2006), sec. VI.6.2.
    """

    def __init__(self, degree: int, points: int | None = None):
        points = degree + 1 if points is None else points
        if degree < 1 or points < 1:
            raise ValueError(f"An element needs degree >= 1 and points >= 1, but {degree} and {points} came.")
        self.degree, self.points = degree, points
        self.nodes = _lobatto_nodes(degree)
        abscissae, weights = legendre.leggauss(points)
        self.abscissae, self.weights = 0.5 * (abscissae + 1), 0.5 * weights
        self.coefficients = np.linalg.inv(legendre.legvander(2 * self.nodes - 1, degree))
        self.values = self.at(self.abscissae)
        derivatives = [legendre.legder(row) for row in np.eye(degree + 1)]
        slopes = np.stack([2 * legendre.legval(abscissae, row) for row in derivatives], axis=1)
        self.derivatives = slopes @ self.coefficients

    def at(self, c: np.ndarray) -> np.ndarray:
        """The basis polynomials at points of [0, 1], shape (len(c), p + 1)."""
        return legendre.legvander(2 * np.asarray(c) - 1, self.degree) @ self.coefficients

    def __eq__(self, other):
        return isinstance(other, ElementBasis) and (self.degree, self.points) == (other.degree, other.points)

    def __hash__(self):
        return hash((self.degree, self.points))


@functools.cache
def element_basis(degree: int, points: int | None = None) -> ElementBasis:
    """`ElementBasis(degree, points)`, made once."""
    return ElementBasis(degree, points)


class DiscreteLagrangian(eqx.Module):
    r"""The action of a Lagrangian along one polynomial element, by Gauss quadrature.

    $$L_d(t_0, h, q_0 \ldots q_p) = h \sum_g w_g\, L\Big(t_0 + c_g h,\ \sum_a \phi_a(c_g) q_a,\
    \tfrac1h \sum_a \phi_a'(c_g) q_a\Big)$$

    **Arguments:** `lagrangian`: a callable of (t, q, v) with flat vectors; `basis`: the element's polynomials.

    **Reference:** Marsden & West (2001), sec. 1.3 and 2.6; Ober-Blobaum & Saake (2015).
    """

    lagrangian: LagrangianFn
    basis: ElementBasis = eqx.field(static=True)

    def points(self, t0, h, origin: Float[Array, " d"], offsets: Float[Array, "nodes d"]):
        """Times (m,), positions and velocities (m, d) at the Gauss points.

        Nodes come as `origin + offsets`, so that velocities of a short path lose no digits to its position.
        """
        dtype = offsets.dtype
        values, derivatives = (
            jnp.asarray(self.basis.values, dtype),
            jnp.asarray(self.basis.derivatives, dtype),
        )
        times = t0 + jnp.asarray(self.basis.abscissae, dtype) * h
        return times, origin[None] + values @ offsets, derivatives @ offsets / h

    def __call__(self, t0, h, origin: Float[Array, " d"], offsets: Float[Array, "nodes d"]) -> Float[Array, ""]:
        """The discrete Lagrangian of nodes `origin + offsets`, shape ()."""
        integrand = jax.vmap(self.lagrangian)(*self.points(t0, h, origin, offsets))
        return h * jnp.dot(jnp.asarray(self.basis.weights, offsets.dtype), integrand)


def _lobatto_nodes(degree: int) -> np.ndarray:
    """The Gauss-Lobatto points on [0, 1]: the ends and the extrema of the Legendre polynomial of the degree."""
    interior = legendre.legroots(legendre.legder(np.eye(degree + 1)[degree]))
    slope = legendre.legder(np.eye(degree + 1)[degree])
    curvature = legendre.legder(slope)
    if interior.size:  # one Newton step takes the companion matrix's eigenvalues to round-off
        interior = interior - legendre.legval(interior, slope) / legendre.legval(interior, curvature)
    nodes = np.concatenate([[-1.0], np.sort(interior.real), [1.0]])
    return 0.25 * (nodes - nodes[::-1]) + 0.5  # symmetric to the last bit
