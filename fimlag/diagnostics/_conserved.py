"""Energy and charges in a long run."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag.diagnostics._energy import Line, fitted_line
from fimlag.diagnostics._march import Ends
from fimlag.diagnostics._report import Finding
from fimlag.integrators._motion import Start


def conserved_quantities(start: Start, long: Ends, steps: int, generators) -> list[tuple[Line, Finding]]:
    """What became of the energy and of the charge of every generator, in a long run."""
    flat = start.lagrangian

    def terms(t, q, v):
        value, (aging, pull, p) = jax.value_and_grad(flat, argnums=(0, 1, 2))(t, q, v)
        charges = [_charge(flat, generator, t, q, v, pull, p) for generator in generators]
        return [(v @ p - value, jnp.abs(v @ p) + jnp.abs(value), aging == 0), *charges]

    rows = jax.vmap(terms)(long.seen.t, long.q, long.seen.v)
    names = ["energy", *(f"charge {number}" for number in range(len(generators)))]
    return [_finding(name, long.seen.t, row, steps) for name, row in zip(names, rows, strict=True)]


def _charge(flat, generator, t, q, v, pull, p):
    """The charge of a generator, the size of its terms, and whether the Lagrangian has the symmetry here."""

    def direction(t, q):
        return flat.structure.flatten(generator(t, flat.structure.unflatten(q)), "generator").astype(q.dtype)

    xi, rate = jax.jvp(direction, (t, q), (jnp.ones_like(t), v))
    change, scale = xi @ pull + rate @ p, jnp.abs(xi) @ jnp.abs(pull) + jnp.abs(rate) @ jnp.abs(p)
    return p @ xi, jnp.abs(p) @ jnp.abs(xi), jnp.abs(change) <= jnp.sqrt(round_off(p)) * scale


def _finding(name, times, row, steps) -> tuple[Line, Finding]:
    values, scales, symmetric = row
    line = fitted_line(times, values)
    numbers = line.drift, line.standard_error, line.oscillation
    moved = jnp.abs(line.drift * (times[-1] - times[0]))
    tolerance = line.oscillation + steps * round_off(values) * jnp.max(scales)
    words = "no drift: {:.1e} +- {:.0e} per unit of time, band {:.1e}"
    return line, Finding(name, words, numbers, moved, tolerance, jnp.all(symmetric))


def round_off(number: Float[Array, "..."]) -> Float[Array, ""]:
    """The unit of round-off of a number's type, in that type."""
    return jnp.asarray(jnp.finfo(number.dtype).eps, number.dtype)
