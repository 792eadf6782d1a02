"""Explicit symplectic methods for separable Lagrangians, each a product of drifts and kicks."""

from typing import ClassVar, Literal

import equinox as eqx

from fimlag.integrators._splitting import AbstractSplitting, Splitting, composed_leapfrog

_TRIPLE_JUMP = (1 / (2 - 2 ** (1 / 3)), 1 - 2 / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3)))


class SymplecticEuler(AbstractSplitting):
    r"""The symplectic Euler method, explicit, of order 1.

    $$p_1 = p_0 + h F(q_0), \quad q_1 = q_0 + h M^{-1} p_1$$

    **Reference:** Hairer, Lubich & Wanner (2006), eq. I.1.9.
    """

    order: ClassVar[int] = 1
    symmetric: ClassVar[bool] = False
    reference: ClassVar[str] = "Hairer, Lubich & Wanner (2006), eq. I.1.9"
    splitting: ClassVar[Splitting] = Splitting(True, (1.0,), (1.0, 0.0))


class StormerVerlet(AbstractSplitting):
    r"""The Störmer-Verlet or leapfrog method, explicit, of order 2, one force a step.

    $$p_{1/2} = p_0 + \tfrac h2 F(q_0), \quad
    q_1 = q_0 + h M^{-1} p_{1/2}, \quad p_1 = p_{1/2} + \tfrac h2 F(q_1)$$

    **Arguments:** `variant`: `"kdk"`, kick-drift-kick as above, or `"dkd"`, drift-kick-drift.

    **Raises:** `ValueError` for any other variant.

    **Reference:** Hairer, Lubich & Wanner (2006), section I.1.4.
    """

    variant: Literal["kdk", "dkd"] = eqx.field(static=True, default="kdk")

    order: ClassVar[int] = 2
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Hairer, Lubich & Wanner (2006), section I.1.4"

    def __check_init__(self):
        if self.variant not in ("kdk", "dkd"):
            raise ValueError(f'variant must be "kdk" or "dkd", but is {self.variant!r}.')

    @property
    def splitting(self) -> Splitting:
        if self.variant == "kdk":
            return Splitting(True, (1.0,), (0.5, 0.5))
        return Splitting(False, (0.5, 0.5), (1.0,))


class Yoshida4(AbstractSplitting):
    r"""The triple jump: three leapfrog steps, the middle one backward, explicit, of order 4.

    $$\Phi_h = S_{w_1 h} \circ S_{w_0 h} \circ S_{w_1 h}, \qquad
    w_1 = \frac{1}{2 - 2^{1/3}}, \quad w_0 = 1 - 2 w_1$$

    **Reference:** Yoshida (1990), eq. 2.11; Hairer, Lubich & Wanner (2006), example II.4.2.
    """

    order: ClassVar[int] = 4
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Yoshida (1990), eq. 2.11"
    splitting: ClassVar[Splitting] = composed_leapfrog(_TRIPLE_JUMP)
