"""The classes that diffrax takes: the vector field of a system, and a method as its solver."""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS
from fimlag._types import LagrangianFn, as_field
from fimlag.integrators._first_order import rates, state_names
from fimlag.integrators._method import AbstractMethod, advanced, inspected
from fimlag.mechanics._lagrangian import FlatLagrangian
from fimlag.mechanics._phase_space import flat_phase_velocity


def terms(system: LagrangianFn) -> diffrax.ODETerm:
    """The equations of motion as a term."""
    return diffrax.ODETerm(MotionField(as_field(system)))


class MotionField(eqx.Module):
    """The vector field `(t, state, args)` of a system's equations of motion."""

    system: LagrangianFn

    def __call__(self, t, y, args):
        flat, t, state = self.flattened(t, y)
        return self.shown(flat, rates(flat, t, state))

    def flattened(self, t, y):
        """`(flat Lagrangian, t, state)` with the members of the state as flat vectors."""
        names = state_names(self.system)
        if not isinstance(y, tuple) or len(y) != len(names):
            raise ValueError(f"The state of this system is a tuple ({', '.join(names)}), but {y!r} came.")
        q, structure = flatten(y[0], "q")
        state = [q]
        for name, part in zip(names[1:], y[1:], strict=True):
            state.append(jnp.asarray(part, q.dtype) if name == "s" else structure.flatten(part, name).astype(q.dtype))
        return FlatLagrangian(self.system, structure), jnp.asarray(t, q.dtype), tuple(state)

    def shown(self, flat: FlatLagrangian, state: tuple) -> tuple:
        """A state of flat vectors in the caller's structure."""
        named = zip(state_names(self.system), state, strict=True)
        return tuple(part if name == "s" else flat.structure.unflatten(part) for name, part in named)


class MotionInterpolation(diffrax.AbstractLocalInterpolation):
    """A cubic through points and velocities; the velocity is its derivative, an action goes in a straight line.

    **Attributes:** `t0`, `t1`: in the solver's time, which runs forward; `direction`: of the user's time in it;
    `y0`, `y1`: the states; `v0`, `v1`: the velocities, in the structure of the points.
    """

    t0: PyTree
    t1: PyTree
    y0: PyTree
    y1: PyTree
    v0: PyTree
    v1: PyTree
    direction: PyTree

    def evaluate(self, t0, t1=None, left=True):
        del left
        if t1 is not None:
            return jax.tree.map(lambda first, last: last - first, self.evaluate(t0), self.evaluate(t1))
        length = self.t1 - self.t0
        x = (t0 - self.t0) / jnp.where(length == 0, 1, length)
        h = length * self.direction
        ends = self.y0[0], self.y1[0], self.v0, self.v1
        cubic = jax.tree.map(lambda *ends: _cubic(x, h, *ends), *ends)
        q, v = (jax.tree.map(lambda _, pair, k=k: pair[k], ends[0], cubic) for k in range(2))
        actions = [a + x.astype(a.dtype) * (b - a) for a, b in zip(self.y0[2:], self.y1[2:], strict=True)]
        return (q, v, *actions)[: len(self.y0)]


class MethodSolver(diffrax.AbstractSolver):
    """A method as a solver; its state is the momentum, the memory, and the prepared equations."""

    method: AbstractMethod

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar[Callable] = MotionInterpolation

    def order(self, terms):
        return self.method.order

    def init(self, terms, t0, t1, y0, args):
        field, direction = _field(terms)
        return self._begin(*field.flattened(t0 * direction, y0))[0]

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        field, direction = _field(terms)
        flat, t, state = field.flattened(t0 * direction, y0)
        h = jnp.asarray((t1 - t0) * direction, t.dtype)
        fresh, fixed = self._begin(flat, t, state)
        if made_jump is not False:
            solver_state = jax.tree.map(lambda new, old: jnp.where(made_jump, new, old), fresh, solver_state)
        p, memory, arrays, regular = solver_state
        equations = eqx.combine(arrays, fixed)
        q, p, memory, converged = advanced(self.method, equations, t, h, state[0], p, memory)
        kept = self.method.kept(memory)
        seen = self.method.observe(equations, t + h, q, p, kept)
        sound = converged & (inspected(self.method, equations, seen, q, kept) == RESULTS.successful)
        y1 = field.shown(flat, (q, seen.v, seen.s)[: len(state)])
        v0, v1 = (flat.structure.unflatten(v) for v in (_velocity(flat, t, state), seen.v))
        dense_info = {"y0": y0, "y1": y1, "v0": v0, "v1": v1, "direction": jnp.asarray(direction, t.dtype)}
        result = _solver_result(regular, sound)
        return y1, None, dense_info, (p, memory, arrays, regular), result

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def _begin(self, flat, t, state):
        """`(solver state, what of the equations is no array)` at a state."""
        q, v, s = state[0], _velocity(flat, t, state), state[2] if len(state) == 3 else None
        p = jax.grad(flat, argnums=2)(t, q, v, *state[2:])
        equations, result = self.method.prepare(flat, t, q, v, s)
        memory = self.method.memory(equations, t, q, p, v, s)
        arrays, fixed = eqx.partition(equations, eqx.is_array)
        return (p, memory, arrays, result == RESULTS.successful), fixed


def _solver_result(regular, sound) -> diffrax.RESULTS:
    kinds = diffrax.RESULTS
    failure = kinds.where(regular, kinds.nonlinear_divergence, kinds.singular)  # pyright: ignore[reportArgumentType]
    return kinds.where(regular & sound, kinds.successful, failure)  # pyright: ignore[reportArgumentType]


def _velocity(flat, t, state):
    return flat_phase_velocity(flat, t, *state) if len(state) == 1 else state[1]


def _field(term) -> tuple[MotionField, PyTree]:
    """The vector field inside a term, and the direction of the user's time in the solver's."""
    direction = 1
    while hasattr(term, "direction"):
        term, direction = term.term, direction * term.direction
    if not isinstance(getattr(term, "vector_field", None), MotionField):
        raise ValueError("A method needs the system itself: give the terms of `diffrax_terms(system)`.")
    return term.vector_field, direction


def _cubic(x, h, q0, q1, v0, v1):
    """Point and velocity of the Hermite cubic, its terms measured from the first point."""
    x, h = jnp.asarray(x, q0.dtype), jnp.asarray(h, q0.dtype)
    rise, bend = q1 - q0, h * v0
    square, cube = 3 * rise - 2 * bend - h * v1, bend + h * v1 - 2 * rise
    return q0 + x * (bend + x * (square + x * cube)), v0 + x * (2 * square + 3 * x * cube) / jnp.where(h == 0, 1, h)
