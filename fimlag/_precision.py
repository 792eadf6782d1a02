"""The precision in which a problem is solved: that of the arrays that came in."""

import jax
import jax.numpy as jnp
import numpy as np


def precision_of(*trees):
    """The floating-point type of all arrays together; Python's numbers and integers take it, or the default.

    **Raises:** `TypeError` for complex numbers.
    """
    leaves = jax.tree_util.tree_leaves(trees)
    kinds = [jnp.result_type(leaf) for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray | np.generic)]
    if any(jnp.issubdtype(kind, jnp.complexfloating) for kind in kinds):
        raise TypeError("The arrays must be real, but one is complex.")
    floating = [kind for kind in kinds if jnp.issubdtype(kind, jnp.floating)]
    return jnp.result_type(*floating) if floating else jnp.result_type(float)
