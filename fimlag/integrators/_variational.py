"""Variational integrators: a discrete action, made stationary step by step."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._linear import solve
from fimlag._results import RESULTS, first_failure
from fimlag._types import as_field
from fimlag.integrators._choice import carries, refuse_constraints, refuse_unless_second_order
from fimlag.integrators._discretisation import AbstractDiscretisation, DivergenceLagrangian, TwoPoint
from fimlag.integrators._method import AbstractMethod, Observation, Step
from fimlag.integrators._newton import newton_root
from fimlag.integrators._structure import Canonical
from fimlag.mechanics import Forced
from fimlag.mechanics._discrete import element_basis
from fimlag.mechanics._euler_lagrange import flat_mass_matrix
from fimlag.mechanics._hamiltonian import flat_velocity
from fimlag.mechanics._lagrangian import FlatLagrangian


class Variational(AbstractMethod):
    r"""The variational integrator of a discrete Lagrangian, in position and momentum.

    $$p_0 = -D_0 L_d, \qquad 0 = D_i L_d \quad (0 < i < N), \qquad p_1 = D_N L_d$$

    in the nodes $q_0, \ldots, q_N$ of a step, the last of which is $q_1$. For any discrete Lagrangian this is a
    symplectic map, symmetric where $L_d$ is self-adjoint, and of the order with which $L_d$ approximates the action.
    Forces enter by the principle of Lagrange and d'Alembert. The memory is the next step's guess of the nodes.

    **Arguments:** `discrete`: a rule, `Galerkin(degree, points)` or `Trapezoidal()`, that makes $L_d$ of the system; or
    $L_d$ itself, a callable `discrete(t, h, q0, q1) -> scalar` such as a `DivergenceLagrangian`, which approximates the
    action of the system from time t to t + h: the Lagrangian passed to `integrate` then gives momenta and velocities
    alone, and must be the one that it approximates; `order`, `symmetric`: what such a callable is known to be, for the
    others None; `max_iterations`: of Newton's method in one step.

    **Raises:** `ValueError` for a callable without its order, an order given twice, a system with constraints, forces
    on a callable discrete Lagrangian. Results: `singular_mass`, `implicit_step_failed`.

    **Reference:** Marsden & West (2001), sections 1.5 and 3.2.

    ```python
    >>> import fimlag as fl
    >>> fl.Variational(fl.Galerkin(3)).order
    6
    >>> euler = fl.Variational(lambda t, h, q0, q1: (q1 - q0) @ (q1 - q0) / (2 * h) - h * (q0 @ q0), order=1)
    >>> euler.order, euler.symplectic, euler.symmetric
    (1, True, False)

    ```
    """

    discrete: AbstractDiscretisation
    max_iterations: int = eqx.field(static=True)

    structure: ClassVar[Canonical] = Canonical()
    explicit: ClassVar[bool] = False
    reference: ClassVar[str] = "Marsden & West (2001), sections 1.5 and 3.2"

    def __init__(
        self,
        discrete: AbstractDiscretisation | Callable,
        *,
        order: int | None = None,
        symmetric: bool | None = None,
        max_iterations: int = 64,
    ):
        declares = isinstance(discrete, AbstractDiscretisation | DivergenceLagrangian)
        if declares and not (order is None and symmetric is None):
            raise ValueError(f"{type(discrete).__name__} declares its order and symmetry itself: give neither here.")
        if isinstance(discrete, DivergenceLagrangian):
            order, symmetric = discrete.order, discrete.symmetric
        if not isinstance(discrete, AbstractDiscretisation):
            if isinstance(order, bool) or not isinstance(order, int) or order < 1:
                raise ValueError(f"A discrete Lagrangian of your own needs its order, 1 or more, but {order!r} came.")
            discrete = TwoPoint(function=as_field(discrete), order=order, symmetric=bool(symmetric))
        self.discrete, self.max_iterations = discrete, max_iterations

    @property
    def order(self) -> int:
        return self.discrete.order

    @property
    def symmetric(self) -> bool:
        return self.discrete.symmetric

    def prepare(self, lagrangian, t, q, v, s):
        refuse_constraints(lagrangian.lagrangian, type(self).__name__)
        refuse_unless_second_order(lagrangian.lagrangian, type(self).__name__)
        mass = flat_mass_matrix(lagrangian, t, q, v)
        regular = jnp.all(jnp.isfinite(solve(mass, jnp.eye(q.size, dtype=q.dtype))))
        return lagrangian, first_failure((~regular, RESULTS.singular_mass))

    def memory(self, equations, t, q, p, v, s):
        nodes = jnp.asarray(element_basis(self.discrete.degree).nodes, q.dtype)
        return lax.stop_gradient(nodes[:, None] * v[None])

    def step(self, equations, t, h, q, p, memory):
        nodes = self.discrete.degree

        def offsets(x):
            return jnp.concatenate([jnp.zeros_like(q)[None], x.reshape(nodes, q.size)])

        def conditions(x):
            _, slopes = self._slopes(equations, t, h, q, offsets(x))
            return slopes[:-1].at[0].add(p).ravel()

        floor, terms = (jnp.broadcast_to(jnp.abs(each), (nodes, q.size)).ravel() for each in (q, p))
        guess = h * memory[1:].ravel()
        found = offsets(newton_root(conditions, guess, floor, terms, self.max_iterations))
        dp, _ = self._slopes(equations, t, h, q, found)
        ahead = self._ahead(q.dtype) @ found / h
        return Step(found[-1], dp, lax.stop_gradient(ahead), jnp.all(jnp.isfinite(found)) & jnp.all(jnp.isfinite(dp)))

    def kept(self, memory):
        return memory[-1]

    def observe(self, equations, t, q, p, kept):
        return Observation(t, flat_velocity(equations, t, q, p, kept))

    def inspect(self, equations, t, q, v, kept):
        return RESULTS.successful

    def _slopes(
        self, lagrangian: FlatLagrangian, t, h, q, offsets
    ) -> tuple[Float[Array, " d"], Float[Array, "nodes d"]]:
        """The derivatives of the discrete Lagrangian in all nodes together, which sum to $p_1 - p_0$, and in each."""

        def action(q, offsets):
            return self.discrete.action(lagrangian, t, h, q, offsets)

        together, each = jax.grad(action, argnums=(0, 1))(q, offsets)
        if not carries(lagrangian.lagrangian, Forced):
            return together, each
        impulses = self.discrete.impulses(lagrangian, t, h, q, offsets)
        return together + jnp.sum(impulses, axis=0), each + impulses

    def _ahead(self, dtype):
        """From the nodes of a step to those of the next, by the polynomial through them."""
        basis = element_basis(self.discrete.degree)
        return jnp.asarray(basis.at(1 + basis.nodes) - basis.at(basis.nodes[-1:]), dtype)
