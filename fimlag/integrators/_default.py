"""The method for a system of which only the type is known."""

from fimlag._types import LagrangianFn
from fimlag.integrators._choice import carries
from fimlag.integrators._constrained import Rattle
from fimlag.integrators._contact import ContactLeapfrog, is_linearly_damped
from fimlag.integrators._explicit import StormerVerlet
from fimlag.integrators._implicit import ImplicitMidpoint
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._nonholonomic import NonholonomicLeapfrog
from fimlag.mechanics import Constrained, Forced, Nonholonomic, is_separable


def default_method(system: LagrangianFn) -> AbstractMethod:
    """The method that `integrate` takes where none is named.

    `StormerVerlet()` for a system known to be separable, `ContactLeapfrog()` for `Herglotz.linear` of one,
    `Rattle()` for a `Constrained` system, `NonholonomicLeapfrog()` where a constraint is `Nonholonomic`,
    `ImplicitMidpoint()` for every other, those with forces among them.

    **Arguments:** `system`: as for `integrate`.

    **Returns:** a method.

    ```python
    >>> import fimlag as fl
    >>> type(fl.default_method(lambda t, q, v: v @ v)).__name__
    'ImplicitMidpoint'

    ```
    """
    if carries(system, Nonholonomic):
        return NonholonomicLeapfrog()
    if carries(system, Constrained):
        return Rattle()
    if is_linearly_damped(system) and is_separable(system.lagrangian.lagrangian):
        return ContactLeapfrog()
    explicit = is_separable(system) and not carries(system, Forced)
    return StormerVerlet() if explicit else ImplicitMidpoint()
