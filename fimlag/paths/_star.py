"""Geodesics from one unknown point to many given ones, with the point their mean: one system of equations."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from fimlag._linear import solve
from fimlag.paths._collocation import gauss_fractions, green_rules, interpolation

_STEP_LENGTHS = (1.0, 0.5, 0.25, 0.0625, 0.015625)


class Star(eqx.Module):
    r"""The equations of the centre y and of the accelerations A of its geodesics to points at displacements D.

    $$F_i = A_i - a(x_i, \dot x_i) = 0, \qquad x_i = x_0 + y + t (D_i - y) + \int G A_i, \qquad
    r = \sum_i w_i\, \dot x_i(0) = 0$$

    All displacements are from one reference point, so that points close together keep their digits.

    **Attributes:** `spray(x, u)`: the acceleration; `reference` $x_0$; `displacements` D (n, d); `weights` (n,), of sum
    1; `elements`, `points`: of the collocation of each geodesic.
    """

    spray: Callable
    reference: Float[Array, " d"]
    displacements: Float[Array, "n d"]
    weights: Float[Array, " n"]
    elements: int = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def states(self, y, accelerations, rules):
        """Points and velocities `(x, u)` of all geodesics at the times of the rules, each (n, m, d)."""
        times, positions, velocities = (jnp.asarray(rule, y.dtype) for rule in rules)
        chords = self.displacements - y[None]
        x = (self.reference + y)[None, None] + jnp.einsum("m,nd->nmd", times, chords) + positions[None] @ accelerations
        return x, chords[:, None] + velocities[None] @ accelerations

    def velocities(self, y, accelerations):
        """The velocities at the centre: the logarithms of the points, (n, d)."""
        return self.displacements - y[None] + jnp.einsum("m,nmd->nd", self.at_start, accelerations)

    def residual(self, y: Float[Array, " d"], accelerations: Float[Array, "n m d"]):
        """`(F, r)`."""
        x, u = self.states(y, accelerations, self.rules)
        pull = jax.vmap(jax.vmap(self.spray))(x, u)
        return accelerations - pull, self.weights @ self.velocities(y, accelerations)

    def linearised(self, y, accelerations):
        """`(F, r)`, and the derivatives of F in A, (n, m d, m d), and in y, (n, m d, d)."""

        def twice(x, u):
            value = self.spray(x, u)
            return value, value

        times, positions, velocities = (jnp.asarray(rule, y.dtype) for rule in self.rules)
        x, u = self.states(y, accelerations, self.rules)
        (of_x, of_u), pull = jax.vmap(jax.vmap(jax.jacfwd(twice, (0, 1), has_aux=True)))(x, u)
        slopes = jnp.einsum("niab,ij->niajb", of_x, positions) + jnp.einsum("niab,ij->niajb", of_u, velocities)
        n, m, d = accelerations.shape
        inner = jnp.eye(m * d, dtype=y.dtype)[None] - slopes.reshape(n, m * d, m * d)
        outer = of_u - (1 - times)[None, :, None, None] * of_x
        defects = accelerations - pull
        return defects, self.weights @ self.velocities(y, accelerations), inner, outer.reshape(n, m * d, d)

    def error(self, y, accelerations):
        """The displacement that the defect between the points of collocation would cause, at its largest."""
        finer = self.points + 1
        fractions = gauss_fractions(self.elements, finer)
        x, u = self.states(y, accelerations, green_rules(self.elements, self.points, fractions))
        interpolate = jnp.asarray(interpolation(self.elements, self.points, finer), y.dtype)
        defects = interpolate[None] @ accelerations - jax.vmap(jax.vmap(self.spray))(x, u)
        displace = jnp.asarray(green_rules(self.elements, finer, fractions)[1], y.dtype)
        return jnp.max(jnp.abs(displace[None] @ defects))

    @property
    def rules(self):
        return green_rules(self.elements, self.points, gauss_fractions(self.elements, self.points))

    @property
    def at_start(self):
        """The rule of the velocity at time 0."""
        return jnp.asarray(green_rules(self.elements, self.points, np.zeros(1))[2][0], self.reference.dtype)

    def correction(self, solved, spread, residual):
        """The change `(y, A)` of a Newton step, from the inner solves of F and of dF/dy, and r.

        **Returns:** it and the derivative of -r in y, which is the Hessian of the mean squared distance with an index
        raised.
        """
        n, m, d = self.weights.size, self.at_start.size, residual.size
        weigh = jnp.einsum("n,m->nm", self.weights, self.at_start)
        hessian = jnp.eye(d, dtype=residual.dtype) + jnp.einsum("nm,nmab->ab", weigh, spread.reshape(n, m, d, d))
        change = solve(hessian, residual - jnp.einsum("nm,nmd->d", weigh, solved.reshape(n, m, d)))
        return change, -(solved + spread @ change).reshape(n, m, d), hessian


class StarIterate(eqx.Module):
    """Centre, accelerations and Hessian, and how the iteration stands."""

    y: Float[Array, " d"]
    accelerations: Float[Array, "n m d"]
    hessian: Float[Array, "d d"]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


def solve_star(star: Star, max_iterations: int) -> StarIterate:
    """Newton's method from chords and their mean, shortened until the simplified correction contracts.

    **Reference:** Deuflhard (2011), sec. 3.3.3 (natural monotonicity, which no change of coordinates alters).
    """
    dtype = star.reference.dtype
    times, positions, _ = (jnp.asarray(rule, dtype) for rule in star.rules)
    lengths = jnp.asarray(_STEP_LENGTHS, dtype)

    def moved(change, accelerations):
        return (1 - times)[None, :, None] * change[None, None] + positions[None] @ accelerations

    def advance(state: StarIterate) -> StarIterate:
        defects, residual, inner, outer = star.linearised(state.y, state.accelerations)
        factors = jax.scipy.linalg.lu_factor(inner)
        flat = defects.reshape(*outer.shape[:2], 1)
        both = jax.scipy.linalg.lu_solve(factors, jnp.concatenate([flat, outer], axis=2))
        spread = both[:, :, 1:]
        change, accelerations, hessian = star.correction(both[:, :, 0], spread, residual)

        def correction_after(length):
            defects, residual = star.residual(state.y + length * change, state.accelerations + length * accelerations)
            solved = jax.scipy.linalg.lu_solve(factors, defects.reshape(flat.shape))[:, :, 0]
            after = star.correction(solved, spread, residual)
            return jnp.linalg.norm(moved(after[0], after[1]))

        step = moved(change, accelerations)
        enough = lax.map(correction_after, lengths) <= (1 - lengths / 4) * jnp.linalg.norm(step)
        way = jnp.max(jnp.abs(star.displacements - state.y[None])) + jnp.max(jnp.abs(change))
        # Convergence is quadratic: after a step of eps^(3/4) nothing but round-off is left.
        converged = jnp.max(jnp.abs(step)) <= jnp.finfo(dtype).eps ** 0.75 * way
        failed = ~jnp.all(jnp.isfinite(step)) | ~(converged | jnp.any(enough))
        length = jnp.where(failed, 0.0, jnp.where(converged, 1.0, lengths[jnp.argmax(enough)])).astype(dtype)
        return StarIterate(
            jnp.where(failed, state.y, state.y + length * change),
            jnp.where(failed, state.accelerations, state.accelerations + length * accelerations),
            hessian,
            state.iterations + 1,
            converged & ~failed,
            failed,
        )

    def unfinished(state):
        return ~state.converged & ~state.failed & (state.iterations < max_iterations)

    (n, d), m = star.displacements.shape, times.size
    start = StarIterate(
        star.weights @ star.displacements,
        jnp.zeros((n, m, d), dtype),
        jnp.eye(d, dtype=dtype),
        jnp.array(0),
        jnp.array(False),
        jnp.array(False),
    )
    return lax.while_loop(unfinished, advance, start)


@eqx.filter_custom_jvp
def star_root(root: tuple, star: Star) -> tuple:
    """The solution `(y, A)`, however found, differentiable to every order in its equations."""
    del star
    return root


@star_root.def_jvp
def _star_root_jvp(primals, tangents):
    root, star = primals
    _, tangent = tangents
    root = star_root(root, star)
    if not jax.tree_util.tree_leaves(tangent):
        return root, jax.tree_util.tree_map(jnp.zeros_like, root)
    values, rates = eqx.filter_jvp(lambda varied: varied.residual(*root), (star,), (tangent,))
    # What no tangent reaches comes back as None.
    defects, residual = (jnp.zeros_like(a) if b is None else b for a, b in zip(values, rates, strict=True))
    _, _, inner, outer = star.linearised(*root)
    # Two solves: only the first is linear in the tangent, as its transpose needs.
    solved = jax.vmap(solve)(inner, defects.reshape(outer.shape[:2]))
    change, accelerations, _ = star.correction(solved, jax.vmap(solve)(inner, outer), residual)
    return root, (change, accelerations)
