"""The energy of Herglotz Lagrangians, what decays with it, and their Hamiltonians."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.mechanics._contact import Herglotz, LinearHerglotz, contact_arguments, flat_contact_acceleration
from fimlag.mechanics._forces import scalar_of
from fimlag.mechanics._hamiltonian import hamiltonian
from fimlag.mechanics._lagrangian import FlatLagrangian


def contact_energy(
    lagrangian: Callable, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike
) -> Float[Array, ""]:
    r"""The energy of a Herglotz Lagrangian.

    $$E = v^i\, \frac{\partial L}{\partial v^i} - L, \qquad \dot E = \frac{\partial L}{\partial s} E
    - \frac{\partial L}{\partial t}$$

    It contains the action: for $L - \gamma s$ it is the mechanical energy plus $\gamma s$.

    **Arguments:** as in `contact_acceleration`.

    **Returns:** the energy, shape (), in the unit of the Lagrangian.

    **Reference:** de Leon & Lainz Valcazar (2019); Gaset et al. (2020).

    ```python
    >>> import fimlag as fl
    >>> damped = fl.Herglotz.linear(lambda t, q, v: v**2 / 2 - q**2 / 2, rate=0.5)
    >>> float(fl.contact_energy(damped, 0.0, 1.0, 2.0, 3.0))
    4.0

    ```
    """
    flat, t, q, v, s = contact_arguments(lagrangian, t, q, v, s)
    value, p = jax.value_and_grad(flat, argnums=2)(t, q, v, s)
    return v @ p - value


def dissipation_defect(
    lagrangian: Callable, quantity: Callable, t: RealScalarLike, q: Coordinates, v: Coordinates, s: RealScalarLike
) -> Float[Array, ""]:
    r"""How far a quantity is from decaying as the action itself does; zero for the dissipated ones.

    $$\frac{\mathrm d f}{\mathrm d t} - \frac{\partial L}{\partial s} f, \qquad
    \frac{\mathrm d}{\mathrm d t} = \partial_t + v\, \partial_q + a\, \partial_v + L\, \partial_s$$

    This is Noether's theorem for Herglotz's principle: without explicit time the energy is dissipated, and so is the
    momentum along each symmetry. The ratio of two dissipated quantities is conserved.

    **Arguments:** `lagrangian`, `t`, `q`, `v`, `s`: as in `contact_acceleration`; `quantity`: a callable
    `(t, q, v, s) -> scalar`.

    **Returns:** the defect, shape (), in the unit of the quantity per unit of time.

    **Reference:** Georgieva & Guenther (2002); Gaset et al. (2020).

    ```python
    >>> import fimlag as fl
    >>> damped = fl.Herglotz.linear(lambda t, q, v: v**2 / 2, rate=0.5)
    >>> float(fl.dissipation_defect(damped, lambda t, q, v, s: v, 0.0, 1.0, 2.0, 3.0))
    0.0

    ```
    """
    flat, t, q, v, s = contact_arguments(lagrangian, t, q, v, s)
    value, leak = jax.value_and_grad(flat, argnums=3)(t, q, v, s)
    a = flat_contact_acceleration(flat, t, q, v, s)
    observe = scalar_of(FlatLagrangian(quantity, flat.structure), "A quantity")
    observed, rate = jax.jvp(observe, (t, q, v, s), (jnp.ones_like(t), v, a, value))
    return rate - leak * observed


class _AtAction(eqx.Module):
    """A Herglotz Lagrangian at one value of the action: a callable `(t, q, v) -> scalar`."""

    lagrangian: Callable
    s: RealScalarLike

    def __call__(self, t, q, v):
        return self.lagrangian(t, q, v, self.s)


class ContactHamiltonian(eqx.Module):
    """The Hamiltonian of a Herglotz Lagrangian, as `contact_hamiltonian` returns it: a callable `(t, q, p, s)`."""

    lagrangian: Callable

    def __call__(self, t: RealScalarLike, q: Coordinates, p: Coordinates, s: RealScalarLike) -> Float[Array, ""]:
        known = self.lagrangian.lagrangian if isinstance(self.lagrangian, Herglotz) else self.lagrangian
        if not isinstance(known, LinearHerglotz):
            return hamiltonian(_AtAction(known, s))(t, q, p)
        value = hamiltonian(known.lagrangian)(t, q, p)
        rate, s = (jnp.asarray(each, value.dtype) for each in (known.rate, s))
        return value + rate * s


def contact_hamiltonian(lagrangian: Callable) -> ContactHamiltonian:
    r"""The contact Hamiltonian: the energy of a Herglotz Lagrangian as a function of the momentum.

    $$H(t, q, p, s) = p_i v^i - L, \qquad \dot q = \frac{\partial H}{\partial p}, \quad
    \dot p = -\frac{\partial H}{\partial q} - p\, \frac{\partial H}{\partial s}, \quad
    \dot s = p \cdot \frac{\partial H}{\partial p} - H$$

    **Arguments:** `lagrangian`: a `Herglotz`, or any callable `(t, q, v, s) -> scalar`.

    **Returns:** a callable `(t, q, p, s) -> scalar`; NaN where no velocity with that momentum was found.

    **Reference:** Bravetti, Cruz & Tapias (2017); Bravetti (2017).

    ```python
    >>> import fimlag as fl
    >>> H = fl.contact_hamiltonian(fl.Herglotz.linear(lambda t, q, v: v**2 / 2 - q**2 / 2, rate=0.5))
    >>> float(H(0.0, 1.0, 2.0, 3.0))
    4.0

    ```
    """
    return ContactHamiltonian(as_field(lagrangian))
