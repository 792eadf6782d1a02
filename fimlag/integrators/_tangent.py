"""The state of a motion as one vector of phase-space coordinates, whose variations are followed."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import LagrangianFn
from fimlag.integrators._choice import refuse_constraints
from fimlag.integrators._motion import March, Phase, Start, begin
from fimlag.mechanics import PhaseSpaceLagrangian
from fimlag.mechanics._forces import unmarked


class PhaseCoordinates(eqx.Module):
    """The coordinates z of a start and of phases: (q, p), with s for a contact system, or q alone on a phase space."""

    start: Start

    @property
    def _alone(self) -> bool:
        return isinstance(unmarked(self.start.lagrangian.lagrangian), PhaseSpaceLagrangian)

    @property
    def at_start(self) -> Float[Array, " n"]:
        """The coordinates of the start."""
        return self._joined(self.start.q, self.start.p, self.start.s)

    def begin(self, z: Float[Array, " n"]) -> tuple[March, Phase]:
        """The march and the first phase from other coordinates, the start's velocity serving as a guess."""
        start = self.start
        q, rest = z[: start.q.size], z[start.q.size :]
        p = jax.grad(start.lagrangian, argnums=2)(start.t0, q, start.v) if self._alone else rest[: q.size]
        march, phase, _ = begin(start, q, p, start.v, None if start.s is None else rest[-1])
        return march, phase

    def of(self, march: March, number, phase: Phase) -> Float[Array, " n"]:
        """The coordinates of a phase."""
        s = None if self.start.s is None else march.observe(number, phase).s
        return self._joined(phase.q, phase.p, s)

    def _joined(self, q, p, s):
        if self._alone:
            return q
        return jnp.concatenate([q, p, *([] if s is None else [s[None]])])


def refuse_constrained(system: LagrangianFn, name: str):
    """Raise a `ValueError` for a system whose phase space is not spanned by all coordinates and momenta."""
    try:
        refuse_constraints(system, name)
    except ValueError as error:
        raise ValueError(
            f"{name} varies all coordinates and momenta, but this system has constraints: give it coordinates that "
            "satisfy them, or follow single variations with `variation`."
        ) from error
