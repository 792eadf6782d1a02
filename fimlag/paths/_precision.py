"""The precision in which a problem is solved: that of the numbers that came in."""

import jax.numpy as jnp


def common_precision(*arrays):
    """The floating-point type of the arrays together; integers take that of the others, or the default.

    **Raises:** `TypeError` for complex numbers.
    """
    kinds = [jnp.result_type(jnp.asarray(x)) for x in arrays]
    if any(jnp.issubdtype(kind, jnp.complexfloating) for kind in kinds):
        raise TypeError("The arrays must be real, but one is complex.")
    floating = [kind for kind in kinds if jnp.issubdtype(kind, jnp.floating)]
    return jnp.result_type(*floating) if floating else jnp.result_type(float)
