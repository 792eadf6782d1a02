"""Systems and methods for diffrax."""

from typing import TYPE_CHECKING

from fimlag._types import LagrangianFn
from fimlag.integrators._composition import Composition
from fimlag.integrators._method import AbstractMethod
from fimlag.integrators._time_transformed import AbstractTimeTransformed

if TYPE_CHECKING:
    import diffrax


def diffrax_terms(system: LagrangianFn) -> "diffrax.ODETerm":
    r"""The equations of motion as a term of first order for `diffrax.diffeqsolve`.

    $$\dot q = v, \qquad \dot v = a(t, q, v)$$

    With it the adaptive solvers of diffrax, its events and its ways of saving serve where no structure is to be kept.

    **Arguments:** `system`: a Lagrangian `(t, q, v) -> scalar`, marked or not. Forces act. Under constraints the
    accelerations are those of `constrained_acceleration`: what a solver loses of the constraints is not brought back.

    **Returns:** a `diffrax.ODETerm` whose state is `(q, v)` in the caller's structure, `(q, v, s)` with the action s
    for a `Herglotz` system, `(q,)` for a `PhaseSpaceLagrangian`. `args` is not used.

    **Raises:** `ValueError`, when used, for a state of another form.

    **Reference:** Kidger (2021), for diffrax.

    ```python
    >>> import diffrax, fimlag as fl
    >>> terms = fl.diffrax_terms(lambda t, q, v: v**2 / 2 - q**2 / 2)
    >>> controller = diffrax.PIDController(rtol=1e-10, atol=1e-10)
    >>> ends = diffrax.diffeqsolve(terms, diffrax.Tsit5(), 0.0, 1.5, 0.1, (1.0, 0.0), stepsize_controller=controller)
    >>> round(float(ends.ys[0][0]), 8)  # the cosine of 1.5
    0.0707372

    ```
    """
    from fimlag.integrators._diffrax import terms

    return terms(system)


def diffrax_solver(method: AbstractMethod) -> "diffrax.AbstractSolver":
    """A method of this library as a solver of diffrax, for the terms that `diffrax_terms` makes.

    The state of the solve is that of the terms; the solver carries the momentum and the memory of the method, and
    begins anew where diffrax reports a jump. Between steps the point is a cubic through points and velocities, the
    velocity its derivative. Steps of constant length keep the method's structure. A method has no estimate of its
    error, so an adaptive controller needs `diffrax.HalfSolver(diffrax_solver(method))`; structure is then lost. A step
    whose equations were not solved, or after which the method finds false what it relies on (a `Separable` whose mass
    matrix changed, copies of `Tao` that parted), ends the solve as `nonlinear_divergence`.

    **Arguments:** `method`: any method with the physical time for its clock.

    **Returns:** a `diffrax.AbstractSolver`.

    **Raises:** `TypeError` for what is no method; `ValueError` for a time-transformed method, and, when used, for
    terms that `diffrax_terms` did not make.

    **Reference:** Kidger (2021), for diffrax.

    ```python
    >>> import diffrax, fimlag as fl
    >>> L = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), potential=lambda q: q**2 / 2)
    >>> solver = fl.diffrax_solver(fl.Yoshida4())
    >>> ends = diffrax.diffeqsolve(fl.diffrax_terms(L), solver, 0.0, 1.5, 0.01, (1.0, 0.0))
    >>> round(float(ends.ys[0][0]), 8)
    0.0707372

    ```
    """
    if not isinstance(method, AbstractMethod):
        raise TypeError(f"A method of integration was expected, but {type(method).__name__} came.")
    inner = method
    while isinstance(inner, Composition):
        inner = inner.method
    if isinstance(inner, AbstractTimeTransformed):
        raise ValueError(
            f"{type(inner).__name__} steps in a fictive time, which diffrax does not know: use it in `integrate`, or "
            "give a method of physical time here."
        )
    from fimlag.integrators._diffrax import MethodSolver

    return MethodSolver(method)
