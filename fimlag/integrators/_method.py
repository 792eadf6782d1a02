"""What every method of integration declares and does."""

import abc

import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree

from fimlag.mechanics._lagrangian import FlatLagrangian


class AbstractMethod(eqx.Module):
    """One step of a method in phase space, on flat vectors, with its properties declared.

    **Attributes:** `order` of convergence; `symplectic`: the step preserves $dp \\wedge dq$; `symmetric`: a
    step back undoes a step; `explicit`: no equations are solved, and the Lagrangian must be separable;
    `reference`.
    """

    symplectic: eqx.AbstractVar[bool]
    symmetric: eqx.AbstractVar[bool]
    explicit: eqx.AbstractVar[bool]
    reference: eqx.AbstractVar[str]

    @property
    @abc.abstractmethod
    def order(self) -> int:
        """The order of convergence."""

    @abc.abstractmethod
    def begin(
        self, lagrangian: FlatLagrangian, t: Float[Array, ""], q: Float[Array, " d"], v: Float[Array, " d"]
    ) -> tuple[PyTree, PyTree, Bool[Array, ""]]:
        """`(equations, memory, regular)`: what all steps share, what passes from step to step beside q and p,
        and whether the mass matrix at the start is invertible."""

    @abc.abstractmethod
    def step(
        self,
        equations: PyTree,
        t: Float[Array, ""],
        h: Float[Array, ""],
        q: Float[Array, " d"],
        p: Float[Array, " d"],
        memory: PyTree,
    ) -> tuple[Float[Array, " d"], Float[Array, " d"], PyTree, Bool[Array, ""]]:
        """`(q, p, memory, converged)` a time `h` later."""

    @abc.abstractmethod
    def velocity_guess(self, memory: PyTree) -> PyTree:
        """What a saved row keeps of the memory, from which `velocity` starts."""

    @abc.abstractmethod
    def velocity(
        self,
        equations: PyTree,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        p: Float[Array, " d"],
        guess: PyTree,
    ) -> Float[Array, " d"]:
        """The velocity of a state in phase space."""

    @abc.abstractmethod
    def off_form(
        self,
        equations: PyTree,
        t: Float[Array, ""],
        q: Float[Array, " d"],
        v: Float[Array, " d"],
    ) -> Bool[Array, ""]:
        """Whether the Lagrangian at a state has left the form on which the method relies."""
