"""Which method suits which system."""

from fimlag._types import LagrangianFn
from fimlag.mechanics import Constrained, Forced, Herglotz, Nonholonomic, PhaseSpaceLagrangian
from fimlag.mechanics._forces import marks, unmarked


def carries(system: LagrangianFn, mark: type) -> bool:
    """Whether a system, or one inside it, has a mark."""
    return any(isinstance(inner, mark) for inner in marks(system))


def refuse_constraints(system: LagrangianFn, name: str):
    """Raise a `ValueError` where a method that keeps no constraints is given a system that has some."""
    if carries(system, Constrained):
        raise ValueError(f"{name} does not keep constraints. Use Rattle().")
    if carries(system, Nonholonomic):
        raise ValueError(f"{name} does not keep nonholonomic constraints. Use NonholonomicLeapfrog().")


def refuse_forces(system: LagrangianFn, name: str):
    """Raise a `ValueError` where a method of the Lagrangian alone is given a system with forces."""
    if carries(system, Forced):
        raise ValueError(f"{name} takes no forces. Use GeneralisedLeapfrog() or GaussLegendre(stages).")


def refuse_marked_contact(system: LagrangianFn):
    """Raise a `ValueError` for marks around a `Herglotz`, whose equations know of none."""
    if isinstance(unmarked(system), Herglotz) and not isinstance(system, Herglotz):
        raise ValueError(
            f"A Herglotz system takes no marks, but carries {type(system).__name__}. Where the action enters linearly, "
            "L - rate s, give L with the force -rate dL/dv as Forced, and mark that."
        )


def refuse_unless_second_order(system: LagrangianFn, name: str):
    """Raise a `ValueError` where a method of Lagrangians (t, q, v) with a regular mass is given another system."""
    bare = unmarked(system)
    if isinstance(bare, Herglotz | PhaseSpaceLagrangian):
        raise ValueError(
            f"{name} integrates Lagrangians of (t, q, v) with a regular mass matrix, not a {type(bare).__name__}. Use "
            "ImplicitMidpoint() or GaussLegendre(stages)."
        )
