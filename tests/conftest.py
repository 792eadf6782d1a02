"""Double precision, strict promotion, annotations that are checked, and code that compiles quickly."""

import os

# Compiling takes most of the time, half as long without these emitters. Releases of XLA that lack them ignore this.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters")

from jaxtyping import install_import_hook

install_import_hook("fimlag", "beartype.beartype")

import gc
import pathlib

import jax
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Tracing makes millions of objects, nearly all of them without cycles: looking for these less often is faster.
gc.set_threshold(100_000, 20, 50)


def pytest_runtest_teardown(item, nextitem):
    """Let go of what was compiled before it fills the memory, or the 65530 memory maps that Linux allows a process."""
    if (nextitem is None or nextitem.path != item.path) and memory_maps() > 4_000:
        jax.clear_caches()
        gc.collect()


def memory_maps():
    listing = pathlib.Path("/proc/self/maps")
    return listing.read_bytes().count(b"\n") if listing.exists() else 2**16
