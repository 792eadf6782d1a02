"""The Legendre transform, both ways."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from fimlag._flat import flatten
from fimlag._linear import solve
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._lagrangian import FlatLagrangian, NaturalLagrangian, Separable

_MAX_ITERATIONS = 100


class Hamiltonian(eqx.Module):
    """The Hamiltonian of a Lagrangian, as `hamiltonian` returns it: a callable `(t, q, p) -> scalar`."""

    lagrangian: LagrangianFn

    def __call__(self, t: RealScalarLike, q: Coordinates, p: Coordinates) -> Float[Array, ""]:
        flat, t, q, p = _phase_arguments(self.lagrangian, t, q, p)
        v = flat_velocity(flat, t, q, p)
        known = _without_mark(self.lagrangian)
        if isinstance(known, NaturalLagrangian):
            kinetic = p @ v / 2
            if known.potential is None:
                return kinetic
            return kinetic + known.potential(flat.structure.unflatten(q))
        return p @ v - flat(t, q, v)


class ConjugateLagrangian(eqx.Module):
    """The Lagrangian of a Hamiltonian, as `lagrangian` returns it: a callable `(t, q, v) -> scalar`."""

    hamiltonian: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        flat, t, q, v = _phase_arguments(self.hamiltonian, t, q, v)
        p = conjugate_point(lambda p: flat(t, q, p), v, jnp.zeros_like(v))
        return p @ v - flat(t, q, p)


def hamiltonian(lagrangian: LagrangianFn) -> Hamiltonian:
    r"""The Hamiltonian: the energy as a function of the momentum.

    $$H(t, q, p) = p_i v^i - L(t, q, v), \qquad p_i = \partial L / \partial v^i$$

    For a `NaturalLagrangian` this is $\tfrac12 g^{ij} p_i p_j + V$; for any other Lagrangian $v$ is found by
    Newton's method and differentiated implicitly.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`.

    **Returns:** a callable `(t, q, p) -> scalar`; NaN where no velocity with that momentum was found.

    **Reference:** Arnold (1989), section 15.

    ```python
    >>> import fimlag as fl
    >>> H = fl.hamiltonian(lambda t, q, v: v**2 - q**2)
    >>> float(H(0.0, 1.0, 4.0))
    5.0

    ```
    """
    return Hamiltonian(as_field(lagrangian))


def lagrangian(hamiltonian: Callable) -> ConjugateLagrangian:
    r"""The Lagrangian whose energy is the Hamiltonian given.

    $$L(t, q, v) = p_i v^i - H(t, q, p), \qquad v^i = \partial H / \partial p_i$$

    **Arguments:** `hamiltonian`: a callable `(t, q, p) -> scalar`.

    **Returns:** a callable `(t, q, v) -> scalar`; NaN where no momentum with that velocity was found.

    **Reference:** Arnold (1989), section 15.

    ```python
    >>> import fimlag as fl
    >>> L = fl.lagrangian(lambda t, q, p: p**2 / 4 + q**2)
    >>> float(L(0.0, 1.0, 3.0))
    8.0

    ```
    """
    return ConjugateLagrangian(as_field(hamiltonian))


def velocity(lagrangian: LagrangianFn, t: RealScalarLike, q: Coordinates, p: Coordinates) -> PyTree[Array]:
    r"""The velocity that has a given momentum.

    $$v: \quad \partial L / \partial v^i (t, q, v) = p_i$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `t`: time; `q`, `p`: point and momentum in
    one structure.

    **Returns:** the velocity in the structure of `q`; NaN where the mass matrix is singular or Newton's
    method, started at rest, did not converge.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> fl.velocity(lambda t, q, v: v @ v, 0.0, jnp.zeros(2), jnp.array([2.0, 4.0])).tolist()
    [1.0, 2.0]

    ```
    """
    flat, t, q, p = _phase_arguments(lagrangian, t, q, p)
    return flat.structure.unflatten(flat_velocity(flat, t, q, p))


def flat_velocity(flat: FlatLagrangian, t, q, p, guess=None) -> Float[Array, " d"]:
    """The velocity of a momentum on flat arguments, sought from `guess` or from rest."""
    known = _without_mark(flat.lagrangian)
    if isinstance(known, NaturalLagrangian):
        metric = known.metric(flat.structure.unflatten(q))
        return solve((metric + metric.T) / 2, p)
    return conjugate_point(lambda v: flat(t, q, v), p, jnp.zeros_like(p) if guess is None else guess)


def conjugate_point(function, slope, guess):
    """The point where the gradient of a function equals `slope`, differentiable implicitly."""
    gradient = jax.grad(function)

    def tangent_solve(linear, y):
        return solve(jax.vmap(linear, out_axes=1)(jnp.eye(y.size, dtype=y.dtype)), y)

    def root(_, start):
        return _newton(gradient, slope, start)

    return lax.custom_root(lambda x: gradient(x) - slope, guess, root, tangent_solve)


def _newton(gradient, slope, guess):
    """Newton's method, its step halved until the residual is finite and smaller; NaN unless it converged."""
    tolerance = jnp.finfo(slope.dtype).eps ** (2 / 3)
    identity = jnp.eye(slope.size, dtype=slope.dtype)
    start = gradient(guess)
    weights = jnp.abs(slope) + jnp.abs(start)
    weights = jnp.where(weights > 0, weights, 1)

    def direction(x, value):
        inverse = solve(jax.jacfwd(gradient)(x), identity)
        # The round-off of each component is that of the sum which makes it, not that of its value.
        scale = jnp.abs(x) + jnp.abs(inverse) @ (jnp.abs(slope) + jnp.abs(value))
        return inverse @ (slope - value), scale

    def advance(state):
        x, value, length, count, _ = state
        step, scale = direction(x, value)
        final = jnp.all(jnp.abs(step) <= tolerance * scale)
        candidate = x + jnp.where(final, 1, length) * step
        there = gradient(candidate)
        better = _size(slope - there, weights) < _size(slope - value, weights)
        accept = final | better
        x = jnp.where(accept, candidate, x)
        value = jnp.where(accept, there, value)
        length = jnp.where(accept, jnp.minimum(1, 2 * length), length / 2)
        return x, value, length, count + 1, final

    def unfinished(state):
        x, _, length, count, done = state
        return ~done & (count < _MAX_ITERATIONS) & jnp.all(jnp.isfinite(x)) & (length > tolerance)

    begin = (guess, start, jnp.ones_like(slope[0]), 0, jnp.array(False))
    x, *_, converged = lax.while_loop(unfinished, advance, begin)
    return jnp.where(converged, x, jnp.nan)


def _size(residual, weights):
    return jnp.max(jnp.abs(residual) / weights)


def _without_mark(lagrangian):
    return lagrangian.lagrangian if isinstance(lagrangian, Separable) else lagrangian


def _phase_arguments(function, t, q, p):
    vector, structure = flatten(q, "q")
    conjugate = structure.flatten(p, "the momentum or velocity").astype(vector.dtype)
    return FlatLagrangian(function, structure), jnp.asarray(t, vector.dtype), vector, conjugate
