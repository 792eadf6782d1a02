"""The geometric action of a curve under weak noise: value, gradient, second variation."""

from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from fimlag.mechanics._discrete import ElementBasis, element_basis
from fimlag.paths._block_tridiagonal import CondensedElements
from fimlag.paths._mesh import nodal_times

_LAYERS, _RATIO = 3, 0.4
"""Elements that shrink towards an end, and by how much: curves that leave a point of rest are not smooth there."""


_END, _REST = 0.05, 0.03
"""Shares of the curve that belong to its ends, and of the largest drift that count as rest."""


class Expansion(eqx.Module):
    """The integrand at the Gauss points to second order in y = (q, v, c), and a norm of relative changes in (v, c)."""

    values: Float[Array, "*points"]
    slopes: Float[Array, "*points y"]
    hessians: Float[Array, "*points y y"]
    norms: Float[Array, "*points y y"]


class GeometricAction(eqx.Module):
    r"""The geometric action of polynomial curves between two points, and a gauge that fixes their parameter.

    $$\hat S + G = \int_0^1 |\phi'|\, |b| - \phi' \cdot b\; d\alpha
    + \frac\kappa2 \int_0^1 (c\, |\phi'| - 1)^2\, d\alpha, \qquad \phi_k = q_0 + \alpha_k C + u_k$$

    in the metric $a^{-1}$. The first integral does not depend on the parameter of the curve, and the second, over the
    curve and c together, vanishes where the parameter is the arclength, of which c is the inverse: so the gauge does
    not move the minimum. The elements shrink towards both ends. The unknowns are the displacements $u$ of the nodes
    between the ends from the chord C, and c: a vector of size (E p - 1) d + 1.

    **Arguments:** `terms`: `(q, v) -> (v.v, b.b, v.b)`; `q0`, `chord`; `weight`: kappa; `knots`: the ends of
    the elements on [0, 1]; `degree`, `points`.

    **Reference:** Heymann & Vanden-Eijnden (2008), eq. 2.6.
    """

    terms: Callable
    q0: Float[Array, " d"]
    chord: Float[Array, " d"]
    weight: Float[Array, ""]
    knots: Float[Array, " knots"]
    degree: int = eqx.field(static=True)
    points: int = eqx.field(static=True)

    @property
    def d(self) -> int:
        """The number of coordinates."""
        return self.q0.size

    @property
    def basis(self) -> ElementBasis:
        """The polynomials and the Gauss rule of an element."""
        return element_basis(self.degree, self.points)

    @property
    def elements(self) -> int:
        """The number of elements E."""
        return self.knots.size - 1

    @property
    def fractions(self) -> Float[Array, " nodes"]:
        """The parameters of the nodes."""
        return nodal_times(self.knots, self.degree)

    def offsets(self, x: Float[Array, " unknowns"]) -> Float[Array, "nodes d"]:
        """All nodes relative to the first."""
        u = jnp.pad(x[:-1].reshape(-1, self.d), ((1, 1), (0, 0)))
        return self.fractions[:, None] * self.chord[None] + u

    def unknowns(self, offsets: Float[Array, "nodes d"]) -> Float[Array, " unknowns"]:
        """The unknowns of a curve given by its nodes relative to the first, its c that of its length."""
        u = (offsets - self.fractions[:, None] * self.chord[None])[1:-1].ravel()
        q, v = self._states(offsets)
        speeds = jax.vmap(jax.vmap(lambda q, v: _root(self.terms(q, v)[0])))(q, v)
        weights = self._weights(u.dtype)
        return jnp.append(u, jnp.sum(weights * speeds) / jnp.sum(weights * speeds**2))

    def integrand(self, y: Float[Array, " y"]) -> Float[Array, ""]:
        """The integrand of the geometric action at y = (q, v, c)."""
        speed2, drift2, along = self.terms(y[: self.d], y[self.d : -1])
        return _root(speed2 * drift2) - along

    def stretch(self, y: Float[Array, " y"]) -> Float[Array, ""]:
        r"""The defect of the gauge, $c |v| - 1$."""
        return y[-1] * _root(self.terms(y[: self.d], y[self.d : -1])[0]) - 1

    @property
    def stiffness(self) -> Float[Array, "elements 1"]:
        """What the gauge is weighted by in each element: as much in a short one as in a long one."""
        return self.weight / (self.elements * jnp.diff(self.knots)[:, None])

    def value(self, x: Float[Array, " unknowns"]) -> Float[Array, ""]:
        """The geometric action and the gauge, shape ()."""
        y = self._at_points(x)
        defects = jax.vmap(jax.vmap(self.stretch))(y)
        return self.integral(jax.vmap(jax.vmap(self.integrand))(y) + 0.5 * self.stiffness * defects**2)

    def action(self, x: Float[Array, " unknowns"]) -> Float[Array, ""]:
        """The geometric action alone, shape ()."""
        return self.integral(jax.vmap(jax.vmap(self.integrand))(self._at_points(x)))

    def gradient(self, x: Float[Array, " unknowns"]) -> Float[Array, " unknowns"]:
        """The derivative in the unknowns: zero along a stationary curve."""
        return jax.grad(self.value)(x)

    def scale(self, offsets: Float[Array, "nodes d"]) -> Float[Array, ""]:
        """The integral of $|\\phi'| |b|$ along a curve given by its nodes relative to the first."""

        def size(q, v):
            speed2, drift2, _ = self.terms(q, v)
            return _root(speed2 * drift2)

        return self.integral(jax.vmap(jax.vmap(size))(*self._states(offsets)))

    def expand(self, x: Float[Array, " unknowns"]) -> Expansion:
        """The integrand, gauge included, and its derivatives at the Gauss points.

        The second derivative of the defect, which vanishes with it, is left out: where a curve is short of arclength,
        it would reward wiggles.
        """

        def at_point(y, stiffness):
            value, slope = jax.value_and_grad(self.integrand)(y)
            defect, rate = jax.value_and_grad(self.stretch)(y)
            hessian = jax.jacfwd(jax.grad(self.integrand))(y) + stiffness * rate[:, None] * rate[None]
            norm = jnp.zeros_like(hessian).at[-1, -1].set(stiffness / y[-1] ** 2)
            metric = jax.jacfwd(jax.grad(lambda v: 0.5 * self.terms(y[: self.d], v)[0]))(y[self.d : -1])
            norm = norm.at[self.d : -1, self.d : -1].set(stiffness * y[-1] ** 2 * metric)
            return Expansion(value + 0.5 * stiffness * defect**2, slope + stiffness * defect * rate, hessian, norm)

        return jax.vmap(jax.vmap(at_point, (0, None)))(self._at_points(x), self.stiffness[:, 0])

    def tested(self, slopes: Float[Array, "elements points y"]) -> Float[Array, " unknowns"]:
        """The gradient from slopes at the Gauss points."""
        functions = self._functions(slopes.dtype)
        weighted = slopes * self._weights(slopes.dtype)[..., None]
        split = weighted[..., :-1].reshape(*weighted.shape[:2], 2, self.d)
        local = jnp.einsum("egxa,egxi->eai", functions, split)
        return jnp.append(self._at_unknowns(local), jnp.sum(weighted[..., -1]))

    def factor(self, hessians: Float[Array, "elements points y y"]) -> "BorderedFactor":
        """The factor of the second variation from second derivatives at the Gauss points."""
        dtype, d = hessians.dtype, self.d
        functions = self._functions(dtype)
        weighted = hessians * self._weights(dtype)[..., None, None]
        split = weighted[..., :-1, :-1].reshape(*weighted.shape[:2], 2, d, 2, d)
        half = jnp.einsum("egxa,egxiyj->egaiyj", functions, split)
        matrices = jnp.einsum("egaiyj,egyb->eaibj", half, functions)
        order = np.array([*range(1, self.degree), 0, self.degree])  # the interior, then the left and right vertices
        size = (self.degree + 1) * d
        matrices = matrices[:, order][:, :, :, order].reshape(-1, size, size)
        border = jnp.einsum("egxa,egxi->eai", functions, weighted[..., :-1, -1].reshape(*weighted.shape[:2], 2, d))
        return BorderedFactor(
            CondensedElements(jnp.moveaxis(matrices, 0, 2)[..., None], d),
            self._at_unknowns(border),
            jnp.sum(weighted[..., -1, -1]),
        )

    def raised(self, x: Float[Array, " unknowns"]) -> tuple["GeometricAction", Float[Array, " unknowns"]]:
        """The same curve among elements of one degree more, with as many Gauss points."""
        finer = replace(self, degree=self.degree + 1)
        local = self._local(self.offsets(x))
        values = jnp.asarray(self.basis.at(finer.basis.nodes), x.dtype) @ local
        offsets = jnp.concatenate([values[:, :-1].reshape(-1, self.d), values[-1, -1:]])
        u = (offsets - finer.fractions[:, None] * self.chord[None])[1:-1].ravel()
        return finer, jnp.append(u, x[-1])

    def rests_between(self, x: Float[Array, " unknowns"]) -> Bool[Array, ""]:
        """Whether the drift nearly vanishes at a Gauss point away from the ends."""
        q, v = self._states(self.offsets(x))
        drift2 = jax.vmap(jax.vmap(lambda q, v: self.terms(q, v)[1]))(q, v)
        local = jnp.asarray(self.basis.abscissae, x.dtype)
        places = self.knots[:-1, None] + jnp.diff(self.knots)[:, None] * local[None]
        between = (places > _END) & (places < 1 - _END)
        return jnp.min(jnp.where(between, drift2, jnp.inf)) < _REST**2 * jnp.max(drift2)

    def adapted_knots(self, offsets: Float[Array, "nodes d"]) -> Float[Array, " knots"]:
        """The ends of as many elements, closer where the curve given by its nodes turns."""
        v = self._states(offsets)[1].reshape(-1, self.d)
        size = jnp.linalg.norm(v, axis=1, keepdims=True)
        tangents = v / jnp.where(size > 0, size, 1.0)
        turned = jnp.append(0.0, jnp.cumsum(jnp.linalg.norm(jnp.diff(tangents, axis=0), axis=1)))
        local = jnp.asarray(self.basis.abscissae, v.dtype)
        passed = (jnp.arange(self.elements, dtype=v.dtype)[:, None] + local[None]).ravel() / self.elements
        places = (self.knots[:-1, None] + jnp.diff(self.knots)[:, None] * local[None]).ravel()
        share = passed + turned / (1 + turned[-1])
        ends = jnp.zeros(1, v.dtype), jnp.ones(1, v.dtype)
        share = jnp.concatenate([ends[0], share, ends[1] + share[-1:] - passed[-1:]])
        places = jnp.concatenate([ends[0], places, ends[1]])
        wanted = share[-1] * jnp.arange(self.elements + 1, dtype=v.dtype) / self.elements
        return jnp.interp(wanted, share, places).at[jnp.array([0, -1])].set(self.knots[jnp.array([0, -1])])

    def _local(self, offsets):
        """The nodes of each element, shape (E, p + 1, d)."""
        numbers = self.degree * np.arange(self.elements)[:, None] + np.arange(self.degree + 1)[None]
        return offsets[numbers]

    def _states(self, offsets):
        local = self._local(offsets)
        values = jnp.asarray(self.basis.values, offsets.dtype)
        slopes = jnp.asarray(self.basis.derivatives, offsets.dtype)
        v = (slopes @ local) / jnp.diff(self.knots)[:, None, None]
        return self.q0[None, None] + values @ local, v

    def _at_points(self, x):
        q, v = self._states(self.offsets(x))
        return jnp.concatenate([q, v, jnp.broadcast_to(x[-1], (*q.shape[:2], 1))], axis=-1)

    def _functions(self, dtype):
        """The basis and its derivative in the parameter at the Gauss points, shape (E, points, 2, p + 1)."""
        widths = jnp.diff(self.knots)[:, None, None]
        values, slopes = (jnp.asarray(b, dtype)[None] for b in (self.basis.values, self.basis.derivatives))
        return jnp.stack([jnp.broadcast_to(values, (self.elements, *values.shape[1:])), slopes / widths], axis=2)

    def _weights(self, dtype):
        return jnp.diff(self.knots)[:, None] * jnp.asarray(self.basis.weights, dtype)[None]

    def integral(self, values: Float[Array, "elements points"]) -> Float[Array, ""]:
        """The integral of values at the Gauss points."""
        return jnp.sum(values * self._weights(values.dtype))

    def _at_unknowns(self, local: Float[Array, "elements nodes d"]):
        """Contributions of the elements summed at the nodes between the ends, as one vector."""
        vertices = local[:-1, -1] + local[1:, 0]
        inner = local[:, 1:-1]
        rows = jnp.concatenate([inner[:-1], vertices[:, None]], axis=1).reshape(-1, self.d)
        return jnp.concatenate([rows, inner[-1]]).ravel()


class BorderedFactor(eqx.Module):
    """The factor of a matrix of elements with one unknown more that couples to all of them."""

    elements: CondensedElements
    border: Float[Array, " nodes"]
    through: Float[Array, " nodes"]
    last: Float[Array, ""]

    def __init__(self, elements: CondensedElements, border: Float[Array, " nodes"], corner: Float[Array, ""]):
        self.elements, self.border = elements, border
        self.through = self._inner(border)
        self.last = corner - border @ self.through

    def solve(self, right: Float[Array, " unknowns"]) -> Float[Array, " unknowns"]:
        """The solution of the linear system."""
        inner = self._inner(right[:-1])
        last = (right[-1] - self.border @ inner) / self.last
        return jnp.append(inner - last * self.through, last)

    def negative_directions(self) -> Int[Array, ""]:
        """The number of negative directions; -1 where a pivot is zero or not finite."""
        inner = self.elements.negative_directions()[0]
        irregular = (inner < 0) | ~jnp.isfinite(self.last) | (self.last == 0)
        return jnp.where(irregular, -1, inner + (self.last < 0).astype(inner.dtype))

    def _inner(self, right):
        return self.elements.solve(right.reshape(-1, self.elements.d, 1)).ravel()


def graded_knots(elements: int) -> np.ndarray:
    """The ends of elements on [0, 1], a few at either end shrinking towards it."""
    graded = min(_LAYERS, elements // 4)
    shrinking = _RATIO ** np.arange(graded, 0, -1.0)
    widths = np.concatenate([shrinking, np.ones(elements - 2 * graded), shrinking[::-1]])
    knots = np.append(0.0, np.cumsum(widths))
    return knots / knots[-1]


def _root(x):
    """The square root, with derivative zero at zero."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), jnp.where(x == 0, 0.0, jnp.nan))
