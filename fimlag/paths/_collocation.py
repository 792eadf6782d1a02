"""The boundary-value problem of a spray, by collocation at Gauss points and Newton's method."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int
from numpy.polynomial import legendre

from fimlag._linear import solve

_STEP_LENGTHS = (1.0, 0.5, 0.25, 0.0625, 0.015625)


class Collocation(eqx.Module):
    r"""The equations $A = a(x, \dot x)$ for the accelerations of a path at Gauss points on [0, 1].

    $$x(t) = x_0 + t\, \Delta + \int_0^1 G(t, r)\, A(r)\, dr$$

    with A a polynomial on each element and G Green's function of the second derivative, so that both ends are met
    and a short path keeps its digits: its displacement is given, not a difference.

    **Attributes:** `spray(x, u)`: the acceleration; `x0`: the start; `chord`: $\Delta$; `elements`, `points`.
    """

    spray: Callable
    x0: Float[Array, " d"]
    chord: Float[Array, " d"]
    elements: int = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def states(self, accelerations, rules):
        """Points and velocities `(x, u)`, each (m, d), where the rules (times, positions, velocities) say."""
        times, positions, velocities = (jnp.asarray(rule, self.x0.dtype) for rule in rules)
        x = self.x0[None] + jnp.outer(times, self.chord) + positions @ accelerations
        return x, self.chord[None] + velocities @ accelerations

    def residual(self, accelerations: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """The defect of the equations at the Gauss points."""
        x, u = self.states(accelerations, self._own_rules)
        return accelerations - jax.vmap(self.spray)(x, u)

    def linearised(self, accelerations: Float[Array, "n d"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
        """The residual as a vector of n d entries, and its derivative."""

        def twice(x, u):
            value = self.spray(x, u)
            return value, value

        _, positions, velocities = (jnp.asarray(rule, self.x0.dtype) for rule in self._own_rules)
        x, u = self.states(accelerations, self._own_rules)
        (of_x, of_u), values = jax.vmap(jax.jacfwd(twice, (0, 1), has_aux=True))(x, u)
        slopes = jnp.einsum("iab,ij->iajb", of_x, positions) + jnp.einsum("iab,ij->iajb", of_u, velocities)
        size = accelerations.size
        matrix = jnp.eye(size, dtype=self.x0.dtype) - slopes.reshape(size, size)
        return (accelerations - values).ravel(), matrix

    def defects(self, accelerations: Float[Array, "n d"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The largest residual, and the displacement that the defect between the Gauss points would cause."""
        n, finer = accelerations.shape[0], self.points + 1
        fractions = gauss_fractions(self.elements, finer)
        between = green_rules(self.elements, self.points, fractions)
        rules = [np.concatenate(pair) for pair in zip(self._own_rules, between, strict=True)]
        interpolate = jnp.asarray(interpolation(self.elements, self.points, finer), self.x0.dtype)
        values = jax.vmap(self.spray)(*self.states(accelerations, rules))
        defect = interpolate @ accelerations - values[n:]
        displacements = jnp.asarray(green_rules(self.elements, finer, fractions)[1], self.x0.dtype) @ defect
        return jnp.max(jnp.abs(accelerations - values[:n])), jnp.max(jnp.abs(displacements))

    @property
    def _own_rules(self):
        return green_rules(self.elements, self.points, gauss_fractions(self.elements, self.points))


class Iterate(eqx.Module):
    """The accelerations, and how the iteration stands."""

    accelerations: Float[Array, "n d"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def solve_collocation(problem: Collocation, max_iterations: int) -> Iterate:
    """Newton's method from the chord, shortened until the simplified correction contracts.

    **Reference:** Deuflhard (2011), sec. 3.3.3 (natural monotonicity, which no change of coordinates alters).
    """
    _, _, velocities = (jnp.asarray(rule, problem.x0.dtype) for rule in problem._own_rules)
    eps = jnp.finfo(problem.x0.dtype).eps
    lengths = jnp.asarray(_STEP_LENGTHS, problem.x0.dtype)

    def advance(state: Iterate) -> Iterate:
        now = state.accelerations
        residual, matrix = problem.linearised(now)
        step = -solve(matrix, residual).reshape(now.shape)
        residuals = lax.map(lambda length: problem.residual(now + length * step).ravel(), lengths)
        corrections = jnp.linalg.norm(solve(matrix, residuals.T), axis=0)
        enough = corrections <= (1 - lengths / 4) * jnp.linalg.norm(step)
        length = lengths[jnp.argmax(enough)]
        speed = jnp.max(jnp.abs(problem.chord)) + jnp.max(jnp.abs(velocities @ now))
        # Convergence is quadratic: after a step of eps^(3/4) nothing but round-off is left.
        converged = jnp.max(jnp.abs(velocities @ step)) <= eps**0.75 * speed
        taken = jnp.where(converged, 1.0, length).astype(now.dtype)
        failed = ~jnp.all(jnp.isfinite(step)) | ~(converged | jnp.any(enough))
        return Iterate(jnp.where(failed, now, now + taken * step), state.iterations + 1, converged & ~failed, failed)

    def unfinished(state):
        return ~state.converged & ~state.failed & (state.iterations < max_iterations)

    n = problem.elements * problem.points
    chord = jnp.zeros((n, problem.x0.size), problem.x0.dtype)
    return lax.while_loop(unfinished, advance, Iterate(chord, jnp.array(0), jnp.array(False), jnp.array(False)))


@eqx.filter_custom_jvp
def collocation_root(accelerations: Float[Array, "n d"], problem: Collocation) -> Float[Array, "n d"]:
    r"""The solution, however found, differentiable to every order in its problem: $dA = -(\partial_A F)^{-1} dF$."""
    del problem
    return accelerations


@collocation_root.def_jvp
def _collocation_root_jvp(primals, tangents):
    accelerations, problem = primals
    _, tangent = tangents
    accelerations = collocation_root(accelerations, problem)
    if not jax.tree_util.tree_leaves(tangent):
        return accelerations, jnp.zeros_like(accelerations)
    value, rate = eqx.filter_jvp(lambda varied: varied.residual(accelerations), (problem,), (tangent,))
    drive = jnp.zeros_like(value) if rate is None else rate  # None: no tangent reaches it
    change = solve(problem.linearised(accelerations)[1], -drive.ravel())
    return accelerations, change.reshape(accelerations.shape)


def gauss_fractions(elements: int, points: int) -> np.ndarray:
    """The Gauss points of every element, on [0, 1]."""
    local = 0.5 * (1 + legendre.leggauss(points)[0])
    return ((np.arange(elements)[:, None] + local) / elements).ravel()


def _cardinal(points: int) -> np.ndarray:
    """Legendre coefficients (degree, point) of the polynomials that are 1 at one Gauss point and 0 at the others."""
    nodes, weights = legendre.leggauss(points)
    degrees = np.arange(points)
    return (2 * degrees[:, None] + 1) / 2 * legendre.legvander(nodes, points - 1).T * weights


@functools.cache
def interpolation(elements: int, points: int, finer: int) -> np.ndarray:
    """The matrix from values at the Gauss points to those at more Gauss points of the same elements."""
    local = legendre.legvander(legendre.leggauss(finer)[0], points - 1) @ _cardinal(points)
    return np.kron(np.eye(elements), local)


def green_rules(elements: int, points: int, times: np.ndarray):
    """`(times, positions, velocities)`: Green's function and its time derivative on values at Gauss points."""
    return _green_rules(elements, points, tuple(float(t) for t in times))


@functools.cache
def _green_rules(elements: int, points: int, times: tuple[float, ...]):
    t = np.array(times)
    nodes, weights = legendre.leggauss(points)
    width, element = 1 / elements, np.minimum((t_scaled := np.array(times) * elements).astype(int), elements - 1)
    local = 2 * (t_scaled - element) - 1
    once = legendre.legval(local, legendre.legint(_cardinal(points), 1, lbnd=-1, scl=0.5)).T
    twice = legendre.legval(local, legendre.legint(_cardinal(points), 2, lbnd=-1, scl=0.5)).T
    velocities, positions = (np.zeros((t.size, elements, points)) for _ in range(2))
    for e in range(elements):
        within, after = element == e, element > e
        velocities[within, e], positions[within, e] = width * once[within], width**2 * twice[within]
        whole = width * weights / 2
        velocities[after, e] = whole
        positions[after, e] = whole * (t[after, None] - width * (e + 0.5 * (1 + nodes)))
    moments = (weights / 2 * width) * (1 - width * (np.arange(elements)[:, None] + 0.5 * (1 + nodes)))
    slope = moments.ravel()
    velocities, positions = (each.reshape(t.size, -1) for each in (velocities, positions))
    return t, positions - np.outer(t, slope), velocities - slope
