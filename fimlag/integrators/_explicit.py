"""Explicit symplectic methods for separable Lagrangians, each a product of drifts and kicks."""

from typing import ClassVar, Literal

import equinox as eqx

from fimlag.integrators._coefficients import (
    BLANES_MOAN_4,
    BLANES_MOAN_6,
    BLANES_MOAN_NYSTROM_4,
    BLANES_MOAN_NYSTROM_6_11,
    BLANES_MOAN_NYSTROM_6_14,
    KAHAN_LI_6,
    KAHAN_LI_8,
    MCLACHLAN_4,
    SUZUKI_4,
    TRIPLE_JUMP,
    YOSHIDA_6,
    YOSHIDA_8,
)
from fimlag.integrators._splitting import AbstractSplitting, Splitting, composed_leapfrog


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
    splitting: ClassVar[Splitting] = composed_leapfrog(TRIPLE_JUMP)


class Yoshida6(AbstractSplitting):
    r"""Seven leapfrog steps, explicit, of order 6: the fewest of a symmetric product.

    $$\Phi_h = S_{w_1 h} \circ \dots \circ S_{w_3 h} \circ S_{w_4 h} \circ S_{w_3 h} \circ \dots \circ S_{w_1 h}$$

    **Reference:** Yoshida (1990), table 1, solution A.
    """

    order: ClassVar[int] = 6
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Yoshida (1990), table 1, solution A"
    splitting: ClassVar[Splitting] = composed_leapfrog(YOSHIDA_6)


class Yoshida8(AbstractSplitting):
    r"""Fifteen leapfrog steps, explicit, of order 8: the fewest of a symmetric product.

    $$\Phi_h = S_{w_1 h} \circ \dots \circ S_{w_7 h} \circ S_{w_8 h} \circ S_{w_7 h} \circ \dots \circ S_{w_1 h}$$

    **Reference:** Yoshida (1990), table 2, solution D.
    """

    order: ClassVar[int] = 8
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Yoshida (1990), table 2, solution D"
    splitting: ClassVar[Splitting] = composed_leapfrog(YOSHIDA_8)


class Suzuki4(AbstractSplitting):
    r"""Five leapfrog steps, the middle one backward, explicit, of order 4.

    $$\Phi_h = S_{w h} \circ S_{w h} \circ S_{(1 - 4 w) h} \circ S_{w h} \circ S_{w h}, \qquad
    w = \frac{1}{4 - 4^{1/3}}$$

    **Reference:** Suzuki (1990); Hairer, Lubich & Wanner (2006), example II.4.3.
    """

    order: ClassVar[int] = 4
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Suzuki (1990)"
    splitting: ClassVar[Splitting] = composed_leapfrog(SUZUKI_4)


class KahanLi6(AbstractSplitting):
    r"""Nine leapfrog steps of small shares, explicit, of order 6.

    $$\Phi_h = S_{w_1 h} \circ \dots \circ S_{w_4 h} \circ S_{w_5 h} \circ S_{w_4 h} \circ \dots \circ S_{w_1 h}$$

    **Reference:** Kahan & Li (1997), scheme s9odr6a; Hairer, Lubich & Wanner (2006), section V.3.2.
    """

    order: ClassVar[int] = 6
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Kahan & Li (1997), s9odr6a"
    splitting: ClassVar[Splitting] = composed_leapfrog(KAHAN_LI_6)


class KahanLi8(AbstractSplitting):
    r"""Seventeen leapfrog steps of small shares, explicit, of order 8: the choice for tight tolerances.

    $$\Phi_h = S_{w_1 h} \circ \dots \circ S_{w_8 h} \circ S_{w_9 h} \circ S_{w_8 h} \circ \dots \circ S_{w_1 h}$$

    **Reference:** Kahan & Li (1997), scheme s17odr8a; Hairer, Lubich & Wanner (2006), section V.3.2.
    """

    order: ClassVar[int] = 8
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Kahan & Li (1997), s17odr8a"
    splitting: ClassVar[Splitting] = composed_leapfrog(KAHAN_LI_8)


class McLachlan4(AbstractSplitting):
    r"""Five drifts between six kicks, explicit, of order 4, with coefficients in $\sqrt{19}$.

    It composes symplectic Euler steps and their adjoints; of the methods of this order and length its error
    is among the smallest.

    **Reference:** McLachlan (1995); Hairer, Lubich & Wanner (2006), section V.3.1.
    """

    order: ClassVar[int] = 4
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "McLachlan (1995)"
    splitting: ClassVar[Splitting] = MCLACHLAN_4


class BlanesMoan4(AbstractSplitting):
    r"""Seven drifts around six kicks, explicit, of order 4, the error terms minimised.

    **Reference:** Blanes & Moan (2002), table 2, method S6.
    """

    order: ClassVar[int] = 4
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Blanes & Moan (2002), table 2, S6"
    splitting: ClassVar[Splitting] = BLANES_MOAN_4


class BlanesMoan6(AbstractSplitting):
    r"""Eleven drifts around ten kicks, explicit, of order 6, the error terms minimised.

    **Reference:** Blanes & Moan (2002), table 2, method S10.
    """

    order: ClassVar[int] = 6
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Blanes & Moan (2002), table 2, S10"
    splitting: ClassVar[Splitting] = BLANES_MOAN_6


class BlanesMoanNystrom4(AbstractSplitting):
    r"""A Runge-Kutta-Nyström method of six forces a step, explicit, of order 4.

    Its error is minimised for kinetic energies quadratic in the momentum, where the bracket
    $[V, [V, [V, T]]]$ vanishes: those of all separable Lagrangians here.

    **Reference:** Blanes & Moan (2002), table 3, method $\mathrm{SRKN}_6^b$.
    """

    order: ClassVar[int] = 4
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Blanes & Moan (2002), table 3, SRKN 6 b"
    splitting: ClassVar[Splitting] = BLANES_MOAN_NYSTROM_4


class BlanesMoanNystrom6(AbstractSplitting):
    r"""A Runge-Kutta-Nyström method of 14 or 11 forces a step, explicit, of order 6.

    It has this order because kinetic energies are quadratic in the momentum, so that the bracket
    $[V, [V, [V, T]]]$ vanishes.

    **Arguments:** `forces`: 14, the more accurate at equal cost, or 11.

    **Raises:** `ValueError` for any other number.

    **Reference:** Blanes & Moan (2002), table 3, methods $\mathrm{SRKN}_{14}^a$ and $\mathrm{SRKN}_{11}^b$.
    """

    forces: Literal[14, 11] = eqx.field(static=True, default=14)

    order: ClassVar[int] = 6
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Blanes & Moan (2002), table 3, SRKN 14 a and 11 b"

    def __check_init__(self):
        if self.forces not in (14, 11):
            raise ValueError(f"forces must be 14 or 11, but is {self.forces!r}.")

    @property
    def splitting(self) -> Splitting:
        return BLANES_MOAN_NYSTROM_6_14 if self.forces == 14 else BLANES_MOAN_NYSTROM_6_11
