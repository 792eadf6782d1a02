"""Powers with half-integer exponents as products of square roots, with the derivatives of powers."""

from typing import NamedTuple

import jax
from jax import lax


class HalfPower(NamedTuple):
    r"""$x^{n/2}$, whose derivative $\tfrac n2 x^{n/2-1}$ is finite where that of the square root is not."""

    twice: int

    def __call__(self, x):
        @jax.custom_jvp
        def power(x):
            result = lax.integer_pow(x, abs(self.twice) // 2) * lax.sqrt(x)
            return result if self.twice >= 0 else 1 / result

        @power.defjvp
        def _(primals, tangents):
            return power(*primals), self.twice / 2 * HalfPower(self.twice - 2)(*primals) * tangents[0]

        return power(x)
