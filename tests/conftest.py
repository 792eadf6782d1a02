"""Double precision, strict promotion, and annotations that are checked."""

from jaxtyping import install_import_hook

install_import_hook("fimlag", "beartype.beartype")

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
