"""The action of a Lagrangian over all polynomial paths between two ends: value, gradient, second variation."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._types import LagrangianFn
from fimlag.mechanics._discrete import ElementBasis, element_basis
from fimlag.paths._mesh import nodal_fractions


class Expansion(eqx.Module):
    """The Lagrangian to second order at the Gauss points of the paths."""

    values: Float[Array, "points elements lanes"]
    slopes: Float[Array, "two d points elements lanes"]
    hessians: Float[Array, "two d two d points elements lanes"]


class DiscreteAction(eqx.Module):
    r"""The action over E elements of degree p, a function of the displacement from the chord, in each of many lanes.

    $$S(u) = \sum_e h \sum_g w_g\, L(t_{eg}, q(t_{eg}), \dot q(t_{eg})), \qquad q_k = q_0 + s_k c + u_k$$

    The unknowns $u$ are the displacements of the nodes between the ends, shape (E p - 1, d, lanes), and $c$ the chord:
    where the ends are close, nothing is lost by subtracting one point from another. A lane is a problem of its own;
    `shared` tells which arrays of the Lagrangian, in the order of its leaves, are common to all, the others
    having lanes on axis 0.
    """

    lagrangian: LagrangianFn
    q0: Float[Array, "d lanes"]
    chord: Float[Array, "d lanes"]
    t0: Float[Array, " lanes"]
    t1: Float[Array, " lanes"]
    elements: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)
    points: int = eqx.field(static=True)
    shared: tuple[bool, ...] | None = eqx.field(static=True, default=None)

    @property
    def d(self) -> int:
        """The number of coordinates."""
        return self.q0.shape[0]

    @property
    def basis(self) -> ElementBasis:
        """The polynomials and the Gauss rule of an element."""
        return element_basis(self.degree, self.points)

    @property
    def duration(self) -> Float[Array, " lanes"]:
        """The length of the interval of time."""
        return self.t1 - self.t0

    def on_mesh(self, elements: int, degree: int, points: int) -> "DiscreteAction":
        """The same problem on another mesh, with another number of Gauss points."""
        return replace(self, elements=elements, degree=degree, points=points)

    def take(self, index: Int[Array, " k"]) -> "DiscreteAction":
        """The problems in some of the lanes."""
        arrays, rest = eqx.partition(self.lagrangian, eqx.is_array)
        leaves, treedef = jax.tree_util.tree_flatten(arrays)
        taken = [leaf if kept else leaf[index] for leaf, kept in zip(leaves, self._common(leaves), strict=True)]
        lagrangian = eqx.combine(jax.tree_util.tree_unflatten(treedef, taken), rest)
        q0, chord, t0, t1 = (x[..., index] for x in (self.q0, self.chord, self.t0, self.t1))
        return replace(self, lagrangian=lagrangian, q0=q0, chord=chord, t0=t0, t1=t1)

    def offsets(self, u: Float[Array, "unknowns d lanes"]) -> Float[Array, "nodes d lanes"]:
        """All nodes relative to the first, shape (E p + 1, d, lanes)."""
        return self._straight(u.dtype) + jnp.pad(u, ((1, 1), (0, 0), (0, 0)))

    def displacements(self, offsets: Float[Array, "nodes d lanes"]) -> Float[Array, "unknowns d lanes"]:
        """The unknowns of paths given by their nodes relative to the first: the inverse of `offsets`."""
        return (offsets - self._straight(offsets.dtype))[1:-1]

    def values(self, u: Float[Array, "unknowns d lanes"]) -> Float[Array, " lanes"]:
        """The actions S(u), shape (lanes,)."""
        return self.integral(self._at_points(lambda lagrangian, t, z: lagrangian(t, z[0], z[1]), u))

    def gradient(self, u: Float[Array, "unknowns d lanes"]) -> Float[Array, "unknowns d lanes"]:
        """The derivative of the actions in their unknowns: zero along a stationary path."""
        return jax.grad(lambda u: jnp.sum(self.values(u)))(u)

    def expand(self, u: Float[Array, "unknowns d lanes"]) -> Expansion:
        """Values, slopes and second derivatives of the Lagrangian in one pass over the Gauss points."""

        def at_point(lagrangian, t, z):
            def value_and_slope(z):
                value, slope = jax.value_and_grad(lambda z: lagrangian(t, z[0], z[1]))(z)
                return slope, value

            slope, tangent_map, value = jax.linearize(value_and_slope, z, has_aux=True)
            directions = jnp.eye(z.size, dtype=z.dtype).reshape(-1, *z.shape)
            # One direction after the other: side by side, each would repeat the work that they share.
            return value, slope, lax.map(tangent_map, directions).reshape(*z.shape, *z.shape)

        return Expansion(*self._at_points(at_point, u))

    def tested(self, slopes: Float[Array, "two d points elements lanes"]) -> Float[Array, "unknowns d lanes"]:
        """The gradient of the actions from slopes at the Gauss points."""
        count, lanes = slopes.shape[-2:]
        weighted = self._scaled(slopes, 2) * self._units(slopes.dtype)[:, None, None, None, :]
        rows = jnp.moveaxis(weighted, 2, 0).reshape(-1, self.d * count * lanes)
        local = _constant_product(_states(self.basis).T, rows)
        return _at_unknowns(local.reshape(-1, self.d, count, lanes))

    def integral(self, values: Float[Array, "points elements lanes"]) -> Float[Array, " lanes"]:
        """The integral over time of values at the Gauss points, shape (lanes,)."""
        return jnp.sum(self._scaled(values, 0), axis=(0, 1))

    def assemble(self, hessians: Float[Array, "two d two d points elements lanes"]):
        """Element matrices (m, m, E, lanes) of `CondensedElements` from (q, v) matrices at the Gauss points."""
        count, lanes = hessians.shape[-2:]
        units = self._units(hessians.dtype)
        weighted = self._scaled(hessians, 4) * (units[:, None] * units[None])[:, None, :, None, None, None, :]
        rows = jnp.transpose(weighted, (4, 0, 2, 1, 3, 5, 6)).reshape(-1, self.d**2 * count * lanes)
        nodes, d = self.degree + 1, self.d
        blocks = _constant_product(_twice_tested(self.basis), rows).reshape(nodes, nodes, d, d, count, lanes)
        return jnp.swapaxes(blocks, 1, 2).reshape(nodes * d, nodes * d, count, lanes)

    def quadratic(self, hessians: Float[Array, "two d two d points elements lanes"], u) -> Float[Array, " lanes"]:
        """The quadratic form of assembled (q, v) matrices at displacements `u`, shape (lanes,)."""
        states = self._states(jnp.pad(u, ((1, 1), (0, 0), (0, 0))))
        curved = jnp.sum(hessians * states[None, None], axis=(2, 3))
        return self.integral(jnp.sum(states * curved, axis=(0, 1)))

    def _common(self, leaves):
        """Which arrays of the Lagrangian all lanes share."""
        return (True,) * len(leaves) if self.shared is None else self.shared

    def _straight(self, dtype):
        fractions = jnp.asarray(nodal_fractions(self.elements, self.degree), dtype)
        return fractions[:, None, None] * self.chord[None]

    def _states(self, offsets):
        """Positions relative to the first node, and velocities, at the Gauss points: (2, d, points, E, lanes)."""
        local = offsets[_node_numbers(self.elements, self.degree)]
        count, d, lanes = local.shape[1:]
        flat = _constant_product(_states(self.basis), local.reshape(local.shape[0], -1))
        states = jnp.moveaxis(flat.reshape(-1, 2, count, d, lanes), (1, 3), (0, 1))
        return states * self._units(states.dtype)[:, None, None, None, :]

    def _units(self, dtype):
        """What turns derivatives in the element's own time into (q, v): 1 and 1 / h, shape (2, lanes)."""
        return jnp.stack([jnp.ones_like(self.t0), self.elements / self.duration]).astype(dtype)

    def _at_points(self, function, u):
        """`function(lagrangian, t, (q, v))` at every Gauss point of every lane: axes (..., points, E, lanes)."""
        states = self._states(self.offsets(u))
        states = states.at[0].add(self.q0[:, None, None, :])
        points, count, lanes = states.shape[2:]
        step = self.duration / self.elements
        places = jnp.arange(count, dtype=u.dtype)[None] + jnp.asarray(self.basis.abscissae, u.dtype)[:, None]
        times = self.t0[None] + step[None] * places.reshape(-1, 1)
        arrays, rest = eqx.partition(self.lagrangian, eqx.is_array)
        leaves, treedef = jax.tree_util.tree_flatten(arrays)

        def one(leaves, t, z):
            return function(eqx.combine(jax.tree_util.tree_unflatten(treedef, leaves), rest), t, z)

        axes = [None if common else 0 for common in self._common(leaves)]
        in_lane = jax.vmap(one, (None, 0, -1), -1)
        results = jax.vmap(in_lane, (axes, -1, -1), -1)(leaves, times, states.reshape(2, self.d, -1, lanes))
        return jax.tree_util.tree_map(lambda x: x.reshape(*x.shape[:-2], points, count, lanes), results)

    def _scaled(self, values, leading: int):
        """Values at the Gauss points times the weights of the rule."""
        step = (self.duration / self.elements)[None, None]
        weights = jnp.asarray(self.basis.weights, values.dtype)[:, None, None] * step
        return values * jnp.expand_dims(weights, tuple(range(leading)))


def transferred(offsets: Float[Array, "nodes d lanes"], old: tuple[int, int], new: tuple[int, int]):
    """The nodes of the same paths on another mesh, each given as `(elements, degree)`."""
    if old == new:
        return offsets
    matrix = _interpolation(old, new)
    return _constant_product(matrix, offsets.reshape(offsets.shape[0], -1)).reshape(-1, *offsets.shape[1:])


def _interpolation(old, new) -> np.ndarray:
    """The matrix from the nodes of one mesh to those of another."""
    elements, degree = old
    places = nodal_fractions(*new) * elements
    element = np.clip(np.floor(places), 0, elements - 1).astype(int)
    matrix = np.zeros((places.size, elements * degree + 1))
    columns = element[:, None] * degree + np.arange(degree + 1)
    np.put_along_axis(matrix, columns, element_basis(degree).at(places - element), axis=1)
    return matrix


def _node_order(degree: int) -> list[int]:
    """The nodes of an element as `CondensedElements` takes them: the interior, then the left and right vertices."""
    return [*range(1, degree), 0, degree]


def _node_numbers(elements: int, degree: int) -> np.ndarray:
    """The numbers of the nodes of each element in that order, shape (p + 1, E)."""
    return np.array(_node_order(degree))[:, None] + degree * np.arange(elements)[None]


def _test_functions(basis: ElementBasis) -> np.ndarray:
    """The basis and its derivative at the Gauss points, shape (points, 2, p + 1), nodes in that order."""
    return np.stack([basis.values, basis.derivatives], axis=1)[..., _node_order(basis.degree)]


def _states(basis) -> np.ndarray:
    """From nodes to positions and velocities at the Gauss points, shape (points 2, p + 1)."""
    functions = _test_functions(basis)
    return functions.reshape(-1, functions.shape[2])


def _twice_tested(basis) -> np.ndarray:
    """From weighted (q, v) matrices at the Gauss points to pairs of nodes, shape ((p + 1)^2, points 4)."""
    functions = _test_functions(basis)
    pairs = np.einsum("gxa,gyb->abgxy", functions, functions)
    return pairs.reshape(functions.shape[2] ** 2, -1)


def _constant_product(matrix: np.ndarray, columns):
    return jnp.matmul(jnp.asarray(matrix, columns.dtype), columns, precision=lax.Precision.HIGHEST)


def _at_unknowns(local: Float[Array, "nodes d elements lanes"]) -> Float[Array, "unknowns d lanes"]:
    """Contributions of the elements summed at the nodes between the ends."""
    degree = local.shape[0] - 1
    inner, left, right = local[: degree - 1], local[-2], local[-1]
    vertex = jnp.concatenate([right[:, :-1] + left[:, 1:], right[:, -1:]], axis=1)
    summed = jnp.moveaxis(jnp.concatenate([inner, vertex[None]]), 2, 0)
    return summed.reshape(-1, local.shape[1], local.shape[3])[:-1]
