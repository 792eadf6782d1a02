"""The method for a system, by its type and its formulas."""

from fimlag._types import Coordinates, LagrangianFn
from fimlag.integrators._choice import carries
from fimlag.integrators._constrained import Rattle
from fimlag.integrators._contact import ContactLeapfrog, is_linearly_damped
from fimlag.integrators._explicit import StormerVerlet
from fimlag.integrators._implicit import ImplicitMidpoint
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._nonholonomic import NonholonomicLeapfrog
from fimlag.mechanics import Constrained, Forced, Nonholonomic, is_separable


def default_method(system: LagrangianFn, q0: Coordinates | None = None) -> AbstractMethod:
    """The method that `integrate` takes where none is named.

    `StormerVerlet()` for a system that `is_separable`, `ContactLeapfrog()` for `Herglotz.linear` of one,
    `Rattle()` for a `Constrained` system, `NonholonomicLeapfrog()` where a constraint is `Nonholonomic`,
    `ImplicitMidpoint()` for every other, those with forces among them.

    **Arguments:** `system`: as for `integrate`; `q0`: a point, of which only structure and type count, for the formulas
    of the system to be read, as `integrate` does; None to go by its type alone.

    **Returns:** a method.

    ```python
    >>> import fimlag as fl
    >>> oscillator = lambda t, q, v: v**2 / 2 - q**2 / 2
    >>> [type(fl.default_method(oscillator, *point)).__name__ for point in ([], [0.0])]
    ['ImplicitMidpoint', 'StormerVerlet']

    ```
    """
    if carries(system, Nonholonomic):
        return NonholonomicLeapfrog()
    if carries(system, Constrained):
        return Rattle()
    if is_linearly_damped(system) and is_separable(system.lagrangian.lagrangian, q0):
        return ContactLeapfrog()
    explicit = is_separable(system, q0) and not carries(system, Forced)
    return StormerVerlet() if explicit else ImplicitMidpoint()
