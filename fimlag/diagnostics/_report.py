"""What the verification of a method found."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag._results import RESULTS, AbstractSolution
from fimlag.diagnostics._energy import Line
from fimlag.diagnostics._order import ObservedOrder
from fimlag.integrators import AbstractMethod


class Finding(eqx.Module):
    """One declaration of a method, and what was found.

    **Attributes:** `name`; `words`: the declaration, with places for the numbers found; `numbers`; `deviation` from
    the declaration and the `tolerance` for it; `applies`: whether the system is one for which it was declared.
    """

    name: str = eqx.field(static=True)
    words: str = eqx.field(static=True)
    numbers: tuple[Float[Array, ""], ...]
    deviation: Float[Array, ""]
    tolerance: Float[Array, ""]
    applies: Bool[Array, ""]

    @property
    def held(self) -> Bool[Array, ""]:
        """Whether the deviation is within the tolerance, or the declaration does not apply; NaN is neither."""
        return ~self.applies | (self.deviation <= self.tolerance)

    def __str__(self) -> str:
        verdict = ("held" if self.held else "NOT HELD") if self.applies else "not conserved by this system"
        return f"{self.name:<10} {self.words.format(*map(float, self.numbers)):<64} {verdict}"


class VerificationReport(AbstractSolution):
    """What `verify` found; print it.

    **Attributes:** `method`; `system`: its name; `findings`: one for every declaration that the method makes for the
    system, by `report["order"]`, `"structure"`, `"reversal"`, `"energy"`, `"charge 0"` and so on; `order`: the fit;
    `energy`: oscillation, drift and its standard error, None for a system that dissipates; `charges`: the same for
    every generator; `result`: a member of `RESULTS`.
    """

    method: AbstractMethod
    system: str = eqx.field(static=True)
    findings: tuple[Finding, ...]
    order: ObservedOrder
    energy: Line | None
    charges: tuple[Line, ...]
    result: RESULTS

    @property
    def held(self) -> Bool[Array, ""]:
        """Whether everything declared was found."""
        return jnp.all(jnp.stack([finding.held for finding in self.findings]))

    def __contains__(self, name: str) -> bool:
        return any(finding.name == name for finding in self.findings)

    def __getitem__(self, name: str) -> Finding:
        """The finding of a name."""
        return next(finding for finding in self.findings if finding.name == name)

    def __str__(self) -> str:
        return "\n  ".join([f"{self.method} on {self.system}", *map(str, self.findings)])
