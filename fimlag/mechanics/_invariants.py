"""What a motion keeps: Noether charges and Poisson brackets."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure
from fimlag._types import Coordinates, LagrangianFn, RealScalarLike, as_field
from fimlag.mechanics._hamiltonian import flat_hamilton_equations, phase_arguments
from fimlag.mechanics._lagrangian import flat_arguments


class NoetherCharge(eqx.Module):
    """The charge of a transformation, as `noether_charge` returns it: a callable `(t, q, v) -> scalar`."""

    lagrangian: LagrangianFn
    generator: Callable | None
    gauge: Callable | None
    time: Callable | None

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        flat, t, q, v = flat_arguments(self.lagrangian, t, q, v)
        value, p = jax.value_and_grad(flat, argnums=2)(t, q, v)
        xi, tau, gauge = _transformation(self, flat.structure, t, q)
        return p @ xi - (p @ v - value) * tau - gauge


class SymmetryDefect(eqx.Module):
    """How far a transformation is from a symmetry.

    **Attributes:** `value`: the rate of change of the charge along a motion through the state under no force, shape
    (); `scale`: the sum of the sizes of its terms, of which round-off is a share.
    """

    value: Float[Array, ""]
    scale: Float[Array, ""]

    @property
    def relative(self) -> Float[Array, ""]:
        """The value over the scale, 0 where both vanish: round-off for a symmetry."""
        return jnp.where(self.value == 0, 0, self.value / jnp.where(self.scale == 0, 1, self.scale))


class PoissonBracket(eqx.Module):
    """The bracket of two functions, as `poisson_bracket` returns it: a callable `(t, q, p)`."""

    f: Callable
    g: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, p: Coordinates) -> PyTree[Array]:
        flat, t, q, p = phase_arguments(self.g, t, q, p)
        slope, rate = jax.grad(flat, argnums=(1, 2))(t, q, p)
        return _derivative(self.f, flat.structure, (t, q, p), (jnp.zeros_like(t), rate, -slope))


class TimeDerivative(eqx.Module):
    """The rate of a function along motions, as `time_derivative` returns it: a callable `(t, q, p)`."""

    f: Callable
    hamiltonian: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, p: Coordinates) -> PyTree[Array]:
        flat, t, q, p = phase_arguments(self.hamiltonian, t, q, p)
        rates = flat_hamilton_equations(flat, t, q, p)
        return _derivative(self.f, flat.structure, (t, q, p), (jnp.ones_like(t), *rates))


def noether_charge(
    lagrangian: LagrangianFn,
    generator: Callable | None,
    gauge: Callable | None = None,
    time: Callable | None = None,
) -> NoetherCharge:
    r"""The charge that belongs to an infinitesimal transformation of points and times.

    $$Q = p_i\, \xi^i - E\, \tau - K \qquad \text{for} \qquad q \to q + \epsilon\, \xi(t, q), \quad
    t \to t + \epsilon\, \tau(t, q)$$

    It is conserved where the transformation is a symmetry, that is changes $L\, dt$ by no more than $\epsilon\, dK$:
    `symmetry_defect` measures that. A transformation of time alone with $\tau = 1$ has the charge $-E$.

    **Arguments:** `lagrangian`: a callable `(t, q, v) -> scalar`; `generator`: $\xi$, a callable `(t, q)` returning
    a velocity in the structure of `q`, None for zero; `gauge`: the function K, a callable `(t, q) -> scalar`, None for
    zero; `time`: $\tau$, a callable `(t, q) -> scalar`, None for zero.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Raises:** `TypeError` for what is not callable; when called, `ValueError` for a generator of another structure,
    or a gauge or time that is no scalar.

    **Reference:** Noether (1918); Arnold (1989), section 20; with time and gauge, Sarlet & Cantrijn (1981), eq. 2.9.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> angular = fl.noether_charge(lambda t, q, v: v @ v - q @ q, lambda t, q: jnp.stack([-q[1], q[0]]))
    >>> float(angular(0.0, jnp.array([1.0, 0.0]), jnp.array([0.0, 3.0])))
    6.0

    ```
    """
    kept = (None if each is None else as_field(each) for each in (generator, gauge, time))
    return NoetherCharge(as_field(lagrangian), *kept)


def symmetry_defect(
    lagrangian: LagrangianFn,
    generator: Callable | None,
    t: RealScalarLike,
    q: Coordinates,
    v: Coordinates,
    gauge: Callable | None = None,
    time: Callable | None = None,
) -> SymmetryDefect:
    r"""How far an infinitesimal transformation is from a symmetry of a Lagrangian, at a state.

    $$\delta = \xi^i \frac{\partial L}{\partial q^i} + (\dot \xi^i - v^i \dot \tau) \frac{\partial L}{\partial v^i}
    + \tau \frac{\partial L}{\partial t} + \dot \tau L - \dot K, \qquad
    \dot{} = \frac{\partial}{\partial t} + v^i \frac{\partial}{\partial q^i}$$

    A symmetry has $\delta = 0$ at every state; one state alone does not show it. Whatever the transformation, $\delta$
    is the rate of its Noether charge along motions under no force; forces, and those of constraints, add
    $Q_i\, (\xi^i - v^i \tau)$ to that rate.

    **Arguments:** `lagrangian`, `generator`, `gauge`, `time`: as in `noether_charge`; `t`: the time; `q`, `v`: point
    and velocity in one structure.

    **Returns:** a `SymmetryDefect`, its `.value` in the unit of the charge per unit of time.

    **Raises:** as `noether_charge` and its charge do.

    **Reference:** Sarlet & Cantrijn (1981), eq. 2.8; Olver (1993), theorem 4.12.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> falling = lambda t, q, v: v**2 / 2 - 9.81 * q
    >>> float(fl.symmetry_defect(falling, lambda t, q: jnp.ones_like(q), 0.0, 1.0, 2.0).value)
    -9.81

    ```
    """
    charge = noether_charge(lagrangian, generator, gauge, time)
    flat, t, q, v = flat_arguments(charge.lagrangian, t, q, v)
    value, (aging, pull, p) = jax.value_and_grad(flat, argnums=(0, 1, 2))(t, q, v)
    (xi, tau, _), (xi_rate, tau_rate, gauge_rate) = jax.jvp(
        lambda t, q: _transformation(charge, flat.structure, t, q), (t, q), (jnp.ones_like(t), v)
    )
    terms = jnp.concatenate(
        [
            xi * pull,
            xi_rate * p,
            -v * p * tau_rate,
            jnp.stack([tau * aging, tau_rate * value, -gauge_rate]),
        ]
    )
    return SymmetryDefect(jnp.sum(terms), jnp.sum(jnp.abs(terms)))


def poisson_bracket(f: Callable, g: Callable) -> PoissonBracket:
    r"""The Poisson bracket of two functions on phase space.

    $$\{f, g\} = \frac{\partial f}{\partial q^i} \frac{\partial g}{\partial p_i}
    - \frac{\partial f}{\partial p_i} \frac{\partial g}{\partial q^i}, \qquad \{q^i, p_j\} = \delta^i_j$$

    **Arguments:** `f`: a callable `(t, q, p)` returning an array, or any pytree of arrays, whose every component is
    bracketed; `g`: a callable `(t, q, p) -> scalar`.

    **Returns:** a callable `(t, q, p)` returning what `f` returns; brackets nest.

    **Raises:** `TypeError` for what is not callable; when called, `ValueError` where `g` is no scalar.

    **Reference:** Arnold (1989), section 40; Landau & Lifshitz (1976), section 42, whose sign is the opposite.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> bracket = fl.poisson_bracket(lambda t, q, p: q**2, lambda t, q, p: p)
    >>> float(bracket(0.0, 3.0, 1.0))
    6.0

    ```
    """
    return PoissonBracket(as_field(f), as_field(g))


def time_derivative(f: Callable, hamiltonian: Callable) -> TimeDerivative:
    r"""The rate of change of a function of phase space along the motions of a Hamiltonian.

    $$\frac{\mathrm d f}{\mathrm d t} = \frac{\partial f}{\partial t} + \{f, H\}
    + \frac{\partial f}{\partial p_i} Q_i$$

    **Arguments:** `f`: a callable `(t, q, p)` returning an array or any pytree of arrays; `hamiltonian`: as in
    `hamilton_equations`, with the forces Q that its system carries.

    **Returns:** a callable `(t, q, p)` returning what `f` returns; zero for a constant of the motion.

    **Raises:** `TypeError` for what is not callable; when called, what `hamilton_equations` raises.

    **Reference:** Arnold (1989), section 40; Goldstein, Poole & Safko (2002), eq. 9.94.

    ```python
    >>> import fimlag as fl
    >>> rate = fl.time_derivative(lambda t, q, p: p * q, lambda t, q, p: p**2 / 2)
    >>> float(rate(0.0, 1.0, 3.0))
    9.0

    ```
    """
    return TimeDerivative(as_field(f), as_field(hamiltonian))


def _transformation(charge: NoetherCharge, structure: Structure, t, q):
    """Generator, time and gauge on flat arguments, zero where absent."""
    point = structure.unflatten(q)
    if charge.generator is None:
        xi = jnp.zeros_like(q)
    else:
        xi = structure.flatten(charge.generator(t, point), "generator").astype(q.dtype)
    tau = _scalar(charge.time, "time", t, point, q.dtype)
    return xi, tau, _scalar(charge.gauge, "gauge", t, point, q.dtype)


def _scalar(function, name, t, point, dtype):
    value = jnp.asarray(0 if function is None else function(t, point), dtype)
    if value.shape != ():
        raise ValueError(f"{name} returns a scalar of shape (), but this one returned shape {value.shape}.")
    return value


def _derivative(function, structure: Structure, state, direction):
    """The derivative of a function of (t, q, p) at a flat state in a flat direction."""

    def of_state(t, q, p):
        value = function(t, structure.unflatten(q), structure.unflatten(p))
        return jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf, q.dtype)), value)

    return jax.jvp(of_state, state, direction)[1]
