"""Symmetric methods composed with themselves to higher order."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from fimlag.integrators._coefficients import KAHAN_LI_6, KAHAN_LI_8, SUZUKI_4
from fimlag.integrators._method import AbstractMethod, Step
from fimlag.integrators._structure import AbstractStructure

_WEIGHTS = {4: SUZUKI_4, 6: KAHAN_LI_6, 8: KAHAN_LI_8}


class Composition(AbstractMethod):
    r"""A symmetric method composed with itself to a higher order, explicit or not as the method itself.

    $$\Psi_h = \Phi_{w_1 h} \circ \Phi_{w_2 h} \circ \dots \circ \Phi_{w_1 h}$$

    The weights form a palindrome; there are 5 for order 4, 9 for order 6 and 17 for order 8, some of them
    negative. What a step of the method preserves the composition preserves too, and it takes the same systems.
    Implicit methods guess a substep as one of the last length, and iterate from there.

    **Arguments:** `method`: symmetric, of an order below the one wanted; `order`: 4, 6 or 8.

    **Raises:** `ValueError` for a method that is not symmetric or has that order already, and for any other order.

    **Reference:** Suzuki (1990); Kahan & Li (1997), schemes s9odr6a and s17odr8a; Hairer, Lubich & Wanner
    (2006), section V.3.2.

    ```python
    >>> import fimlag as fl
    >>> method = fl.Composition(fl.ImplicitMidpoint(), order=8)
    >>> method.order, method.symplectic, method.explicit
    (8, True, False)

    ```
    """

    method: AbstractMethod
    order: int = eqx.field(static=True, default=4)

    def __check_init__(self):
        if self.order not in _WEIGHTS:
            raise ValueError(f"order must be 4, 6 or 8, but is {self.order!r}.")
        name = type(self.method).__name__
        if not self.method.symmetric:
            raise ValueError(f"Composition raises the order of symmetric methods, but {name} is not symmetric.")
        if self.method.order >= self.order:
            raise ValueError(f"{name} has order {self.method.order} already: compose it to a higher order.")

    @property
    def structure(self) -> AbstractStructure | None:
        return self.method.structure

    @property
    def symmetric(self) -> bool:
        return True

    @property
    def explicit(self) -> bool:
        return self.method.explicit

    @property
    def reference(self) -> str:
        source = "Suzuki (1990)" if self.order == 4 else "Kahan & Li (1997)"
        return f"{source}, of: {self.method.reference}"

    def prepare(self, lagrangian, t, q, v, s):
        return self.method.prepare(lagrangian, t, q, v, s)

    def memory(self, equations, t, q, p, v, s):
        return self.method.memory(equations, t, q, p, v, s)

    def step(self, equations, t, h, q, p, memory):
        weights = np.asarray(_WEIGHTS[self.order])
        elapsed = np.cumsum(weights) - weights

        def substep(state, share):
            dq, dp, memory, converged = state
            weight, before = share
            step = self.method.step(equations, t + before * h, weight * h, q + dq, p + dp, memory)
            return Step(dq + step.dq, dp + step.dp, step.memory, converged & step.converged), None

        start = Step(jnp.zeros_like(q), jnp.zeros_like(p), memory, jnp.array(True))
        shares = jnp.asarray(weights, q.dtype), jnp.asarray(elapsed, q.dtype)
        return lax.scan(substep, start, shares)[0]

    def kept(self, memory):
        return self.method.kept(memory)

    def observe(self, equations, t, q, p, kept):
        return self.method.observe(equations, t, q, p, kept)

    def inspect(self, equations, t, q, v, kept):
        return self.method.inspect(equations, t, q, v, kept)
