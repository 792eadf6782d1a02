"""Constraints: holonomic ones by d'Alembert's principle, and those linear in the velocity."""

from collections.abc import Callable

from fimlag._types import LagrangianFn, as_field
from fimlag.mechanics._forces import AbstractMark


class Constrained(AbstractMark):
    r"""A Lagrangian system kept on a surface.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} - \frac{\partial L}{\partial q}
    = A(q)^\top \lambda, \qquad c(q) = 0, \quad A = \partial c / \partial q$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `constraint`: a callable `q -> ` scalar or
    vector, zero where the constraint is kept.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Reference:** Arnold (1989), section 21; Hairer, Lubich & Wanner (2006), eq. VII.1.7.
    """

    lagrangian: LagrangianFn
    constraint: Callable

    def __init__(self, lagrangian: LagrangianFn, constraint: Callable):
        self.lagrangian = as_field(lagrangian)
        self.constraint = as_field(constraint)


class Nonholonomic(AbstractMark):
    r"""A Lagrangian system whose velocities keep linear constraints, as wheels and skates do.

    $$\frac{\mathrm d}{\mathrm d t} \frac{\partial L}{\partial v} - \frac{\partial L}{\partial q}
    = A(q)^\top \lambda, \qquad A(q)\, v = 0$$

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `one_forms`: a callable `q -> ` matrix (m, d).

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Reference:** Bloch (2003), section 1.3; Neimark & Fufaev (1972).
    """

    lagrangian: LagrangianFn
    one_forms: Callable

    def __init__(self, lagrangian: LagrangianFn, one_forms: Callable):
        self.lagrangian = as_field(lagrangian)
        self.one_forms = as_field(one_forms)
