"""The stations of a path: its ends and way-points, where and when it passes them."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.paths._elements import Mesh


class Stations(eqx.Module):
    r"""The places and times at the ends of a path's segments; some are given, the others are unknowns.

    $$q(\tau_k) = o + P_k, \qquad k = 0 \ldots K$$

    **Attributes:** `places` (K + 1, d, lanes), relative to an origin; `times` (K + 1, lanes); `free_places`,
    `free_times`: which of them are unknowns; `periodic`: the last place stays where it is relative to the first.
    """

    places: Float[Array, "stations d lanes"]
    times: Float[Array, "stations lanes"]
    free_places: tuple[bool, ...] = eqx.field(static=True)
    free_times: tuple[bool, ...] = eqx.field(static=True)
    periodic: bool = eqx.field(static=True, default=False)

    @property
    def count(self) -> int:
        """The number of unknowns."""
        return sum(self.free_places) * self.places.shape[1] + sum(self.free_times)

    @property
    def unknowns(self) -> Float[Array, "count lanes"]:
        """The values of the free places, then of the free times."""
        places = [place for place, free in zip(self.places, self.free_places, strict=True) if free]
        times = [time[None] for time, free in zip(self.times, self.free_times, strict=True) if free]
        return jnp.concatenate([self.places[0, :0], *places, *times])

    @property
    def extents(self) -> Float[Array, "count lanes"]:
        """The size of the changes of each unknown that count: the extent of the places, and the duration."""
        reach = jnp.max(jnp.abs(self.places), axis=(0, 1))
        sizes = [reach] * (sum(self.free_places) * self.places.shape[1])
        sizes += [jnp.abs(self.times[-1] - self.times[0])] * sum(self.free_times)
        return jnp.stack(sizes) if sizes else self.places[0, :0]

    def at(self, unknowns: Float[Array, "count lanes"]) -> "Stations":
        """The stations where the unknowns have other values."""
        d = self.places.shape[1]
        split = sum(self.free_places) * d
        new_places, new_times = iter(unknowns[:split].reshape(-1, d, unknowns.shape[-1])), iter(unknowns[split:])
        places = [
            next(new_places) if free else place for place, free in zip(self.places, self.free_places, strict=True)
        ]
        times = [next(new_times) if free else time for time, free in zip(self.times, self.free_times, strict=True)]
        if self.periodic:
            places[-1] = places[0] + (self.places[-1] - self.places[0])
        return replace(self, places=jnp.stack(places), times=jnp.stack(times))

    def towards_start(self, share: Float[Array, " lanes"]) -> "Stations":
        """The same with all places drawn towards the first: share 1 leaves them, share 0 joins them there."""
        first = self.places[:1]
        return replace(self, places=first + share[None, None] * (self.places - first))

    def in_order(self):
        """Whether the times increase, shape (lanes,)."""
        return jnp.all(jnp.diff(self.times, axis=0) > 0, axis=0)

    def steps(self, mesh: Mesh) -> Float[Array, "elements lanes"]:
        """The durations of the elements."""
        return jnp.repeat(jnp.diff(self.times, axis=0) / mesh.elements, mesh.elements, axis=0)

    def starts(self, mesh: Mesh) -> Float[Array, "elements lanes"]:
        """The times at which the elements begin."""
        within = jnp.tile(jnp.arange(mesh.elements, dtype=self.times.dtype), mesh.segments)
        return jnp.repeat(self.times[:-1], mesh.elements, axis=0) + within[:, None] * self.steps(mesh)

    def knots(self, mesh: Mesh) -> Float[Array, "knots lanes"]:
        """The times at which elements begin, and the last one's end."""
        return jnp.concatenate([self.starts(mesh), self.times[-1:]])

    def nodes(self, mesh: Mesh) -> Float[Array, "nodes d lanes"]:
        """The nodes of the straight lines from station to station."""
        places = jnp.asarray(mesh.fractions, self.places.dtype)
        segment = jnp.minimum(places.astype(int), mesh.segments - 1)
        return self._along(segment, places - segment.astype(places.dtype))

    def node_times(self, mesh: Mesh) -> Float[Array, "nodes lanes"]:
        """The times of the nodes."""
        places = jnp.asarray(mesh.fractions, self.times.dtype)
        segment = jnp.minimum(places.astype(int), mesh.segments - 1)
        within = (places - segment.astype(places.dtype))[:, None]
        return self.times[segment] + within * jnp.diff(self.times, axis=0)[segment]

    def states(self, mesh: Mesh) -> Float[Array, "two d points elements lanes"]:
        """Positions on those lines, and their derivatives in the element's own time, at the Gauss points."""
        segment = jnp.repeat(jnp.arange(mesh.segments), mesh.elements)
        within = jnp.tile(jnp.arange(mesh.elements, dtype=self.places.dtype), mesh.segments)
        abscissae = jnp.asarray(mesh.basis.abscissae, self.places.dtype)
        positions = self._along(
            jnp.tile(segment, mesh.points), ((within[None] + abscissae[:, None]) / mesh.elements).ravel()
        )
        slopes = jnp.diff(self.places, axis=0)[segment] / mesh.elements
        positions = positions.reshape(mesh.points, mesh.count, *positions.shape[1:])
        both = jnp.stack([positions, jnp.broadcast_to(slopes[None], positions.shape)])
        return jnp.moveaxis(both, 3, 1)

    def _along(self, segment, share):
        """Points at shares of the way along segments, shape (n, d, lanes)."""
        lines = jnp.diff(self.places, axis=0)
        return self.places[segment] + share[:, None, None] * lines[segment]
