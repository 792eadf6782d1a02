"""Double precision, strict promotion, and annotations that are checked."""

from jaxtyping import install_import_hook

install_import_hook("fimlag", "beartype.beartype")

import jax
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_runtest_teardown(item, nextitem):
    """Let go of what a module compiled: thousands of programs in one process exhaust its memory maps."""
    if nextitem is None or nextitem.path != item.path:
        jax.clear_caches()
