"""What every method of integration declares and does."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from fimlag._results import RESULTS
from fimlag.integrators._structure import AbstractStructure
from fimlag.mechanics._lagrangian import FlatLagrangian


class Step(NamedTuple):
    """What a step changes: the increments of q and p, the next memory, and whether its equations were solved.

    Increments rather than states, so that the loop can add them with compensation.
    """

    dq: Float[Array, " d"]
    dp: Float[Array, " d"]
    memory: PyTree
    converged: Bool[Array, ""]


class Observation(NamedTuple):
    """What a saved row shows beside q and p; None for what the system or the method does not have.

    **Attributes:** `t`: the physical time; `v`: the velocity; `s`: the action of a contact system, shape ();
    `multipliers`: those of the constraints, shape (m,).
    """

    t: Float[Array, ""]
    v: Float[Array, " d"]
    s: Float[Array, ""] | None = None
    multipliers: Float[Array, " m"] | None = None


class AbstractMethod(eqx.Module):
    """One step of a method in phase space, on flat vectors, with its properties declared.

    **Attributes:** `order` of convergence; `structure`: what a step preserves, None for nothing; `symplectic`:
    whether that is a symplectic form; `symmetric`: a step back undoes a step; `explicit`: no equations are
    solved; `reference`.
    """

    structure: eqx.AbstractVar[AbstractStructure | None]
    symmetric: eqx.AbstractVar[bool]
    explicit: eqx.AbstractVar[bool]
    reference: eqx.AbstractVar[str]

    @property
    def symplectic(self) -> bool:
        """Whether a step preserves a symplectic form: the one that `structure` names."""
        return self.structure is not None and self.structure.symplectic

    @property
    @abc.abstractmethod
    def order(self) -> int:
        """The order of convergence."""

    @abc.abstractmethod
    def prepare(
        self,
        lagrangian: FlatLagrangian,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        v: Float[Array, " d"],
        s: Float[Array, ""] | None,
    ) -> tuple[PyTree, RESULTS]:
        """`(equations, result)`: what all steps share, and what is wrong with the start.

        A system that the method cannot integrate raises a `ValueError`.
        """

    @abc.abstractmethod
    def memory(
        self,
        equations: PyTree,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        p: Float[Array, " d"],
        v: Float[Array, " d"],
        s: Float[Array, ""] | None,
    ) -> PyTree:
        """What passes from step to step beside q and p, at a start; `v` may be a guess."""

    @abc.abstractmethod
    def step(
        self,
        equations: PyTree,
        t: Float[Array, ""],
        h: Float[Array, ""],
        q: Float[Array, " d"],
        p: Float[Array, " d"],
        memory: PyTree,
    ) -> Step:
        """The step from time `t` to `t + h`."""

    @abc.abstractmethod
    def kept(self, memory: PyTree) -> PyTree:
        """What a saved row keeps of the memory, for `observe`."""

    @abc.abstractmethod
    def observe(
        self,
        equations: PyTree,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        p: Float[Array, " d"],
        kept: PyTree,
    ) -> Observation:
        """What a saved row shows beside q and p."""

    @abc.abstractmethod
    def inspect(
        self,
        equations: PyTree,
        t: Float[Array, " rows"],
        q: Float[Array, "rows d"],
        v: Float[Array, "rows d"],
        kept: PyTree,
    ) -> RESULTS:
        """What is wrong with some rows of a finished trajectory and what they kept of the memory, such as a form
        that the method relies on and that the Lagrangian has left."""


def advanced(method: AbstractMethod, equations, t, h, q, p, memory):
    """`(q, p, memory, converged)` after one step, its increments added."""
    step = method.step(equations, t, h, q, p, memory)
    return q + step.dq, p + step.dp, step.memory, step.converged


def inspected(method: AbstractMethod, equations, seen: Observation, q, kept) -> RESULTS:
    """What a method finds wrong with a single row."""
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (seen.t, q, seen.v, kept))
    return method.inspect(equations, *rows)


def with_compensation(total, error, increment):
    """`(total, error)` after adding an increment, the part lost to rounding carried along.

    **Reference:** Kahan (1965); Hairer, Lubich & Wanner (2006), section VIII.5.
    """
    increment = increment + error
    raised = total + increment
    return raised, jnp.where(jnp.isfinite(raised), (total - raised) + increment, 0)
