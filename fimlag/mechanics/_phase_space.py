"""Lagrangians linear in the velocity: equations of first order."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import Coordinates, RealScalarLike, as_field


class PhaseSpaceLagrangian(eqx.Module):
    r"""A Lagrangian linear in the velocity: its coordinates are those of a phase space.

    $$L(t, q, v) = \theta_i(t, q)\, v^i - H(t, q)$$

    **Arguments:** `one_form`: a callable `(t, q)` returning $\theta$ in the structure of `q`; `hamiltonian`: a
    callable `(t, q) -> scalar`.

    **Returns:** a callable `(t, q, v) -> scalar`.

    **Reference:** Faddeev & Jackiw (1988); Arnold (1989), sections 44-45.
    """

    one_form: Callable
    hamiltonian: Callable

    def __init__(self, one_form: Callable, hamiltonian: Callable):
        self.one_form = as_field(one_form)
        self.hamiltonian = as_field(hamiltonian)

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        velocity, structure = flatten(v, "v")
        theta = structure.flatten(self.one_form(t, q), "one_form").astype(velocity.dtype)
        return theta @ velocity - jnp.asarray(self.hamiltonian(t, q), velocity.dtype)
