"""The action of a Lagrangian over all polynomial paths between stations: value, gradient, second variation."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from fimlag._scalarise import scalarised
from fimlag.paths._elements import Mesh
from fimlag.paths._functionals import Barrier, Functionals
from fimlag.paths._stations import Stations


class Unknowns(eqx.Module):
    """What defines a path: its nodes' displacements from the straight lines between stations, and a few globals.

    The globals are the unknowns of the stations, then a multiplier for each constraint.
    """

    nodes: Float[Array, "unknowns d lanes"]
    border: Float[Array, "globals lanes"]


class Expansion(eqx.Module):
    """The Lagrangian to second order at the Gauss points of the paths, and what the globals add to it.

    `values`, `slopes`, `hessians` are those of L with the constraints' densities times their multipliers; `forces` are
    the derivatives of the weighted slopes in the globals, `slope` and `block` the first and second derivatives in the
    globals alone.
    """

    values: Float[Array, "points elements lanes"]
    slopes: Float[Array, "two d points elements lanes"]
    hessians: Float[Array, "two d two d points elements lanes"]
    forces: Float[Array, "globals two d points elements lanes"]
    slope: Float[Array, "globals lanes"]
    block: Float[Array, "globals globals lanes"]


class DiscreteAction(eqx.Module):
    r"""The action over E elements of degree p, a function of the displacement from straight lines, in many lanes.

    $$S(u, z) + \lambda \cdot c(u, z), \qquad S = \sum_e h_e \sum_g w_g\, L(t_{eg}, q(t_{eg}), \dot q(t_{eg})),
    \qquad q_k = o + r_k(z) + u_k$$

    The unknowns $u$ are the displacements of the nodes, shape (E p - 1, d, lanes), from the straight lines $r$ between
    the stations: where those are close, nothing is lost by subtracting one point from another. The globals are the
    stations' own unknowns $z$ and the multipliers $\lambda$ of the constraints c. A lane is a problem of its own;
    `shared` tells which arrays of the functionals, in the order of their leaves, are common to all, the others having
    lanes on axis 0.
    """

    functionals: Functionals
    origin: Float[Array, "d lanes"]
    stations: Stations
    targets: Float[Array, "integrals lanes"]
    barrier: Barrier | None
    mesh: Mesh = eqx.field(static=True)
    shared: tuple[bool, ...] | None = eqx.field(static=True, default=None)

    @property
    def d(self) -> int:
        """The number of coordinates."""
        return self.origin.shape[0]

    def on_mesh(self, mesh: Mesh) -> "DiscreteAction":
        """The same problem on another mesh."""
        return replace(self, mesh=mesh)

    def take(self, index: Int[Array, " k"]) -> "DiscreteAction":
        """The problems in some of the lanes."""
        arrays, rest = eqx.partition(self.functionals, eqx.is_array)
        leaves, treedef = jax.tree_util.tree_flatten(arrays)
        taken = [leaf if kept else leaf[index] for leaf, kept in zip(leaves, self._common(leaves), strict=True)]
        functionals = eqx.combine(jax.tree_util.tree_unflatten(treedef, taken), rest)
        given = self.origin, self.stations, self.targets, self.barrier
        origin, stations, targets, barrier = jax.tree_util.tree_map(lambda x: x[..., index], given)
        return replace(
            self, functionals=functionals, origin=origin, stations=stations, targets=targets, barrier=barrier
        )

    def one_lane(self) -> Functionals:
        """The functionals of the first lane."""
        arrays, rest = eqx.partition(self.functionals, eqx.is_array)
        leaves, treedef = jax.tree_util.tree_flatten(arrays)
        first = [leaf if kept else leaf[0] for leaf, kept in zip(leaves, self._common(leaves), strict=True)]
        return eqx.combine(jax.tree_util.tree_unflatten(treedef, first), rest)

    def stations_of(self, y: Unknowns) -> Stations:
        """The stations, where the unknowns place them."""
        return self.stations.at(y.border[: self.stations.count])

    def offsets(self, y: Unknowns) -> Float[Array, "nodes d lanes"]:
        """All nodes relative to the origin, shape (E p + 1, d, lanes)."""
        return self.stations_of(y).nodes(self.mesh) + jnp.pad(y.nodes, ((1, 1), (0, 0), (0, 0)))

    def unknowns(self, offsets: Float[Array, "nodes d lanes"], border: Float[Array, "globals lanes"]) -> Unknowns:
        """The unknowns of paths given by their nodes relative to the origin: the inverse of `offsets`."""
        lines = self.stations.at(border[: self.stations.count]).nodes(self.mesh)
        return Unknowns(self._released((offsets - lines)[1:-1]), border)

    def transferred(self, y: Unknowns, mesh: Mesh) -> Unknowns:
        """The unknowns of the same paths on another mesh."""
        if mesh == self.mesh:
            return y
        padded = jnp.pad(y.nodes, ((1, 1), (0, 0), (0, 0)))
        columns = _constant_product(self.mesh.interpolation_to(mesh), padded.reshape(padded.shape[0], -1))
        return Unknowns(columns.reshape(-1, *y.nodes.shape[1:])[1:-1], y.border)

    def values(self, y: Unknowns) -> Float[Array, " lanes"]:
        """The actions, with the constraints times their multipliers, shape (lanes,)."""
        return self._total(self._local(y.nodes), y.border)

    def gradient(self, y: Unknowns) -> Unknowns:
        """The derivative of `values` in the unknowns: zero along a stationary path that keeps its constraints."""
        gradient = jax.grad(lambda y: jnp.sum(self.values(y)))(y)
        return Unknowns(self._released(gradient.nodes), gradient.border)

    def evaluate(self, y: Unknowns) -> tuple[Float[Array, " lanes"], Float[Array, "constraints lanes"]]:
        """The actions alone, and the constraints, zero where they are kept."""
        return self._parts(self._local(y.nodes), y.border)

    def constraint_scales(self, y: Unknowns, expansion: Expansion) -> Float[Array, "constraints lanes"]:
        """What the constraints are small against: the integrals of absolute densities, the reach of surfaces."""
        stations = self.stations_of(y)
        densities = self._densities(self._local(y.nodes), stations)[1:]
        integrals = self._integral(jnp.abs(densities), stations) + jnp.abs(self.targets)
        first, count = self.stations.count, self.targets.shape[0]
        slopes = jnp.abs(expansion.block[first + count :, :first])
        reach = stations.extents + jnp.max(jnp.abs(self.origin), axis=0)[None]
        return jnp.concatenate([integrals, jnp.sum(slopes * reach[None], axis=1)])

    def expand(self, y: Unknowns) -> Expansion:
        """Values, slopes and second derivatives of the Lagrangian in one pass over the Gauss points."""

        def at_point(functionals, soft, t, z):
            multipliers, barrier = soft

            def density(t, z):
                lagrangian, *constraints = _densities(functionals, barrier, t, z)
                return lagrangian + sum(m * c for m, c in zip(multipliers, constraints, strict=True))

            return _second_order(density, t, z)

        states = self._local(y.nodes)
        multipliers = y.border[self.stations.count :][: self.targets.shape[0]]
        soft = multipliers, self.barrier
        values, slopes, hessians = self._at_points(at_point, states, self.stations_of(y), soft)
        return Expansion(values, slopes, hessians, *self._bordering(states, y.border))

    def tested(self, y: Unknowns, expansion: Expansion) -> Unknowns:
        """The gradient of the actions from an expansion at these unknowns."""
        stations = self.stations_of(y)
        forces = self._weighted(expansion.slopes * self._units(stations)[:, None, None], stations)
        return Unknowns(self.projected(forces), expansion.slope)

    def projected(self, forces: Float[Array, "two d points elements lanes"]) -> Float[Array, "unknowns d lanes"]:
        """Weighted slopes at the Gauss points summed at the nodes between the ends."""
        count, lanes = forces.shape[-2:]
        rows = jnp.moveaxis(forces, 2, 0).reshape(-1, self.d * count * lanes)
        local = _constant_product(self.mesh.from_nodes().T, rows)
        return self._released(_at_unknowns(local.reshape(-1, self.d, count, lanes)))

    def integral(self, y: Unknowns, values: Float[Array, "points elements lanes"]) -> Float[Array, " lanes"]:
        """The integral over time of values at the Gauss points, shape (lanes,)."""
        return self._integral(values, self.stations_of(y))

    def assemble(self, y: Unknowns, hessians: Float[Array, "two d two d points elements lanes"]):
        """Element matrices (m, m, E, lanes) of `CondensedElements` from (q, v) matrices at the Gauss points."""
        count, lanes = hessians.shape[-2:]
        stations = self.stations_of(y)
        units = self._units(stations)
        pairs = (units[:, None] * units[None])[:, None, :, None, None]
        weighted = self._weighted(hessians * pairs, stations)
        rows = jnp.transpose(weighted, (4, 0, 2, 1, 3, 5, 6)).reshape(-1, self.d**2 * count * lanes)
        nodes, d = self.mesh.degree + 1, self.d
        blocks = _constant_product(self.mesh.twice_tested(), rows).reshape(nodes, nodes, d, d, count, lanes)
        return jnp.swapaxes(blocks, 1, 2).reshape(nodes * d, nodes * d, count, lanes)

    def quadratic(self, y: Unknowns, hessians: Float[Array, "two d two d points elements lanes"], nodes):
        """The quadratic form of assembled (q, v) matrices at displacements of the nodes, shape (lanes,)."""
        stations = self.stations_of(y)
        states = self._local(nodes) * self._units(stations)[:, None, None]
        curved = jnp.sum(hessians * states[None, None], axis=(2, 3))
        return self._integral(jnp.sum(states * curved, axis=(0, 1)), stations)

    def margins(self, y: Unknowns) -> Float[Array, "inequalities points elements lanes"]:
        """The inequalities at the Gauss points."""
        states = self._local(y.nodes)
        return self._at_points(lambda f, _, t, z: f.margins(t, z[0], z[1]), states, self.stations_of(y), ())

    def _total(self, states, border):
        action, constraints = self._parts(states, border)
        return action + jnp.sum(border[self.stations.count :] * constraints, axis=0)

    def _parts(self, states, border):
        stations = self.stations.at(border[: self.stations.count])
        integrals = self._integral(self._densities(states, stations), stations)
        on_surfaces = [self._on_surface(number, stations) for number in range(len(self.functionals.surfaces))]
        return integrals[0], jnp.concatenate([integrals[1:] - self.targets, *on_surfaces])

    def _densities(self, states, stations):
        """The Lagrangian with its barrier, and the densities of the constraints, at the Gauss points."""
        return self._at_points(_densities, states, stations, self.barrier)

    def _on_surface(self, number, stations):
        """The values of a surface's function at its station, shape (m, lanes)."""
        place = self.origin + stations.places[self.functionals.at_stations[number]]
        return self._in_lanes(lambda functionals, q: functionals.surfaces[number](q))(place)

    def _bordering(self, states, border):
        """The derivatives of the weighted slopes in the globals, and the first and second derivatives in these."""

        def slopes(states, border):
            return jax.grad(lambda *y: jnp.sum(self._total(*y)), (0, 1))(states, border)

        def column(direction):
            tangents = jnp.zeros_like(states), jnp.broadcast_to(direction[:, None], border.shape)
            return jax.jvp(slopes, (states, border), tangents)[1]

        count, lanes = border.shape
        if count == 0:
            return jnp.zeros((0, *states.shape), states.dtype), border, jnp.zeros((0, 0, lanes), states.dtype)
        forces, block = lax.map(column, jnp.eye(count, dtype=states.dtype))
        return forces, slopes(states, border)[1], block

    def _released(self, nodes):
        """Entries of the nodes, zero where segments meet: their places are those of stations."""
        held = self.mesh.degree * (self.mesh.held + 1) - 1
        return nodes.at[held].set(0.0) if held.size else nodes

    def _common(self, leaves):
        """Which arrays of the functionals all lanes share."""
        return (True,) * len(leaves) if self.shared is None else self.shared

    def _local(self, nodes):
        """Positions and their derivatives in the element's own time at the Gauss points: (2, d, points, E, lanes)."""
        local = jnp.pad(nodes, ((1, 1), (0, 0), (0, 0)))[self.mesh.node_numbers]
        count, d, lanes = local.shape[1:]
        flat = _constant_product(self.mesh.from_nodes(), local.reshape(local.shape[0], -1))
        return jnp.moveaxis(flat.reshape(-1, 2, count, d, lanes), (1, 3), (0, 1))

    def _units(self, stations):
        """What turns derivatives in the element's own time into (q, v): 1 and 1 / h, shape (2, E, lanes)."""
        per_step = 1 / stations.steps(self.mesh)
        return jnp.stack([jnp.ones_like(per_step), per_step])

    def _weighted(self, values, stations):
        """Values at the Gauss points times the weights of the rule."""
        weights = (
            jnp.asarray(self.mesh.basis.weights, self.origin.dtype)[:, None, None] * stations.steps(self.mesh)[None]
        )
        return values * jnp.expand_dims(weights, tuple(range(values.ndim - 3)))

    def _integral(self, values, stations):
        return jnp.sum(self._weighted(values, stations), axis=(-3, -2))

    def _at_points(self, function, states, stations, soft):
        """`function(functionals, soft, t, (q, v))` at every Gauss point of every lane: axes (..., points, E, lanes)."""
        steps = stations.steps(self.mesh)
        states = (states + stations.states(self.mesh)) * self._units(stations)[:, None, None]
        states = states.at[0].add(self.origin[:, None, None, :])
        points, count, lanes = states.shape[2:]
        abscissae = jnp.asarray(self.mesh.basis.abscissae, states.dtype)
        times = stations.starts(self.mesh)[None] + steps[None] * abscissae[:, None, None]
        flat_states, flat_times = states.reshape(2, self.d, -1, lanes), times.reshape(-1, lanes)
        results = jax.vmap(self._in_lanes(function), (None, 0, -2), -2)(soft, flat_times, flat_states)
        return jax.tree_util.tree_map(lambda x: x.reshape(*x.shape[:-2], points, count, lanes), results)

    def _in_lanes(self, function):
        """`function(functionals, *arguments)` as a function of the arguments in every lane, lanes last."""
        arrays, rest = eqx.partition(self.functionals, eqx.is_array)
        leaves, treedef = jax.tree_util.tree_flatten(arrays)
        axes = [None if common else 0 for common in self._common(leaves)]

        def one(leaves, *arguments):
            return function(eqx.combine(jax.tree_util.tree_unflatten(treedef, leaves), rest), *arguments)

        def all_lanes(*arguments):
            return jax.vmap(one, (axes, *(-1 for _ in arguments)), -1)(leaves, *arguments)

        return all_lanes


def _densities(functionals: Functionals, barrier: Barrier | None, t, z):
    """The Lagrangian with its barrier, and the densities of the constraints, at (q, v) = z."""
    densities = functionals.densities(t, z[0], z[1])
    if barrier is None:
        return densities
    return densities.at[0].add(barrier(functionals.margins(t, z[0], z[1])))


def _second_order(function, t, z):
    """Value, gradient and matrix of second derivatives in z of a function of time and of an array."""

    def expanded(mapped, t, z):
        def slope_and_value(z):
            value, slope = jax.value_and_grad(function, 1)(t, z)
            return slope, value

        slope, tangent_map, value = jax.linearize(slope_and_value, z, has_aux=True)
        columns = mapped(lambda e: tangent_map(e.reshape(z.shape)))(jnp.eye(z.size, dtype=z.dtype))
        return value, slope, columns.reshape(*z.shape, *z.shape)

    # Arrays take one direction after the other: side by side, each would repeat the work that they share.
    in_turn = partial(expanded, partial(partial, lax.map))
    return scalarised(partial(expanded, jax.vmap), otherwise=in_turn)(t, z)


def _constant_product(matrix: np.ndarray, columns):
    return jnp.matmul(jnp.asarray(matrix, columns.dtype), columns, precision=lax.Precision.HIGHEST)


def _at_unknowns(local: Float[Array, "nodes d elements lanes"]) -> Float[Array, "unknowns d lanes"]:
    """Contributions of the elements summed at the nodes between the ends."""
    degree = local.shape[0] - 1
    inner, left, right = local[: degree - 1], local[-2], local[-1]
    vertex = jnp.concatenate([right[:, :-1] + left[:, 1:], right[:, -1:]], axis=1)
    summed = jnp.moveaxis(jnp.concatenate([inner, vertex[None]]), 2, 0)
    return summed.reshape(-1, local.shape[1], local.shape[3])[:-1]
