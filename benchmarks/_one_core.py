"""Keeps the process on one core: import it before jax first uses a device, which is when XLA counts the cores."""

import os

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
"""The cores before, for processes that may use them all."""

# The size of XLA's pool of threads where the system cannot pin a process.
os.environ["NPROC"] = "1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".lstrip()
if CORES is not None:
    os.sched_setaffinity(0, {max(CORES)})


def print_cores() -> None:
    """How the process is kept on one core."""
    pinned = "pinned to one" if CORES is not None else "not pinned"
    print(f"cores: {os.cpu_count()}, the process {pinned}, XLA given one thread")
