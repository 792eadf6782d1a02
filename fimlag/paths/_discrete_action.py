"""The action of a Lagrangian over all polynomial paths between two ends: value, gradient, second variation."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import LagrangianFn
from fimlag.mechanics._discrete import DiscreteLagrangian, ElementBasis, element_basis
from fimlag.paths._path import by_element, nodal_fractions


class Expansion(eqx.Module):
    """The discrete action to second order about a path."""

    value: Float[Array, ""]
    scale: Float[Array, ""]
    """The integral of |L|: what round-off of the action is measured against."""
    gradient: Float[Array, "unknowns d"]
    hessians: Float[Array, "elements points two d two d"]
    """Second derivatives of L in (q, v) at the Gauss points."""


class DiscreteAction(eqx.Module):
    r"""The sum of discrete Lagrangians over E elements of degree p, a function of the displacement from the chord.

    $$S(u) = \sum_e L_d(t_e, h, q_{ep} \ldots q_{ep+p}), \qquad q_k = q_0 + s_k (q_1 - q_0) + u_k$$

    The unknowns $u$ are the displacements of the nodes between the ends, shape (E p - 1, d): where the ends are close,
    nothing is lost by subtracting one point from another.
    """

    lagrangian: LagrangianFn
    q0: Float[Array, " d"]
    q1: Float[Array, " d"]
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    elements: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    @property
    def basis(self) -> ElementBasis:
        """The polynomials and the Gauss rule of an element."""
        return element_basis(self.degree)

    @property
    def step(self) -> Float[Array, ""]:
        """The duration h of an element."""
        return (self.t1 - self.t0) / self.elements

    def offsets(self, u: Float[Array, "unknowns d"]) -> Float[Array, "nodes d"]:
        """All nodes relative to the first, shape (E p + 1, d)."""
        fractions = jnp.asarray(nodal_fractions(self.elements, self.degree), u.dtype)
        return fractions[:, None] * (self.q1 - self.q0)[None, :] + jnp.pad(u, ((1, 1), (0, 0)))

    def displacements(self, offsets: Float[Array, "nodes d"]) -> Float[Array, "unknowns d"]:
        """The unknowns of a path given by its nodes relative to the first: the inverse of `offsets`."""
        fractions = jnp.asarray(nodal_fractions(self.elements, self.degree), offsets.dtype)
        return (offsets - fractions[:, None] * (self.q1 - self.q0)[None, :])[1:-1]

    def value(self, u: Float[Array, "unknowns d"]) -> Float[Array, ""]:
        """The action S(u), shape ()."""
        discrete = DiscreteLagrangian(self.lagrangian, self.basis)
        start_times = self.t0 + self.step * jnp.arange(self.elements, dtype=u.dtype)
        local = by_element(self.offsets(u), self.degree)
        return jnp.sum(jax.vmap(lambda t, o: discrete(t, self.step, self.q0, o))(start_times, local))

    def gradient(self, u: Float[Array, "unknowns d"]) -> Float[Array, "unknowns d"]:
        """The derivative of the action in the unknowns: zero along a stationary path."""
        return jax.grad(self.value)(u)

    def expand(self, u: Float[Array, "unknowns d"]) -> Expansion:
        """Value, gradient and second derivatives in one pass over the Gauss points."""
        d = self.q0.shape[0]
        discrete = DiscreteLagrangian(self.lagrangian, self.basis)
        start_times = self.t0 + self.step * jnp.arange(self.elements, dtype=u.dtype)
        local = by_element(self.offsets(u), self.degree)
        times, points, velocities = jax.vmap(lambda t, o: discrete.points(t, self.step, self.q0, o))(start_times, local)

        def at_point(t, q, v):
            def lagrangian(z):
                return self.lagrangian(t, z[0], z[1])

            z = jnp.stack([q, v])
            value, slope = jax.value_and_grad(lagrangian)(z)
            return value, slope, jax.jacfwd(jax.grad(lagrangian))(z)

        flat = [x.reshape(-1, *x.shape[2:]) for x in (times, points, velocities)]
        values, slopes, hessians = jax.vmap(at_point)(*flat)
        shape = times.shape
        values, slopes = values.reshape(shape), slopes.reshape(*shape, 2, d)
        weights = self.step * jnp.asarray(self.basis.weights, u.dtype)
        local_gradient = jnp.einsum("g,gxa,egxi->eai", weights, self._test_functions(u.dtype), slopes)
        return Expansion(
            jnp.sum(values @ weights),
            jnp.sum(jnp.abs(values) @ jnp.abs(weights)),
            _at_unknowns(local_gradient),
            hessians.reshape(*shape, 2, d, 2, d),
        )

    def assemble(self, matrices: Float[Array, "elements points two d two d"]) -> Float[Array, "elements n d n d"]:
        """Element matrices from (q, v) matrices at the Gauss points."""
        weights = self.step * jnp.asarray(self.basis.weights, matrices.dtype)
        functions = self._test_functions(matrices.dtype)
        weighted = functions * weights[:, None, None]
        return jnp.einsum("gxa,egxiyj,gyb->eaibj", weighted, matrices, functions)

    def quadratic(self, matrices: Float[Array, "elements points two d two d"], u: Float[Array, "unknowns d"]):
        """The quadratic form of assembled (q, v) matrices at displacements `u`, shape ()."""
        local = by_element(jnp.pad(u, ((1, 1), (0, 0))), self.degree)
        weights = self.step * jnp.asarray(self.basis.weights, u.dtype)
        states = jnp.einsum("gxa,eai->egxi", self._test_functions(u.dtype), local)
        return jnp.einsum("g,egxi,egxiyj,egyj->", weights, states, matrices, states)

    def _test_functions(self, dtype):
        """The basis and its time derivative at the Gauss points, shape (m, 2, p + 1)."""
        values, slopes = (jnp.asarray(x, dtype) for x in (self.basis.values, self.basis.derivatives))
        return jnp.stack([values, slopes / self.step], axis=1)


def _at_unknowns(local: Float[Array, "elements nodes d"]) -> Float[Array, "unknowns d"]:
    """Contributions of the elements summed at the nodes between the ends: the transpose of `by_element`."""
    d = local.shape[2]
    degree = local.shape[1] - 1
    summed = local[:, :-1].at[1:, 0].add(local[:-1, -1])
    return summed.reshape(local.shape[0] * degree, d)[1:]
