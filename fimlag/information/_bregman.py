"""Bregman divergences, accurate for near points."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import Coordinates
from fimlag.information._differences import gauss_points


def bregman_divergence(potential: Callable, a: Coordinates, b: Coordinates) -> Float[Array, ""]:
    r"""The Bregman divergence of a convex potential: how far it lies above its tangent.

    $$D(a, b) = F(a) - F(b) - \nabla F(b) \cdot (a - b)
    = \int_0^1 (1 - t)\, (a - b)^\top\, \nabla^2 F(b + t (a - b))\, (a - b)\, dt$$

    The integral stands where it agrees with the difference to within the round-off of the latter: near points keep all
    digits.

    **Arguments:** `potential`: a convex function of a point, a scalar. `a`, `b`: points in one structure.

    **Returns:** the divergence, shape ().

    **Raises:** `ValueError` where the points differ in structure or the potential is no scalar.

    **Reference:** Bregman (1967), eq. 1.4; Amari (2016), section 1.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> a, b = jnp.array([3.0, 1.0]), jnp.array([1.0, 0.0])
    >>> print(jnp.round(fl.bregman_divergence(lambda x: jnp.sum(x**2), a, b), 9))
    5.0

    ```
    """
    vector, structure = flatten(a, "a")
    other = structure.flatten(b, "b").astype(vector.dtype)

    def flat_potential(point):
        value = jnp.asarray(potential(structure.unflatten(point)))
        if value.shape != ():
            raise ValueError(f"potential must return a scalar, but the result has shape {value.shape}.")
        return value

    return chord_curvature(flat_potential, other, vector - other, jnp.ones((), vector.dtype))


def chord_curvature(potential: Callable, base: Float[Array, " d"], step: Float[Array, " d"], s) -> Float[Array, ""]:
    r"""The Bregman divergence from `base` to `base + s step` over $s^2$, with its limit at 0.

    $$\frac{D(b + s v, b)}{s^2} = \int_0^1 (1 - t)\, v^\top\, \nabla^2 F(b + t s v)\, v\, dt$$
    """
    t, weights = gauss_points(10, base.dtype)

    def curvature(t):
        def slope(point):
            return jax.jvp(potential, (point,), (step,))[1]

        return jax.jvp(slope, (base + t * s * step,), (step,))[1]

    integral = weights @ ((1.0 - t) * jax.vmap(curvature)(t))
    before, slope = jax.jvp(potential, (base,), (step,))
    after = potential(base + s * step)
    gap, grain = after - before - s * slope, jnp.abs(after) + jnp.abs(before) + jnp.abs(s * slope)
    noise = 16.0 * float(jnp.finfo(base.dtype).eps) * grain
    near = lax.stop_gradient(jnp.abs(s**2 * integral - gap) <= noise)
    return jnp.where(near, jnp.where(near, integral, 0.0), gap / jnp.where(near, 1.0, s) ** 2)
