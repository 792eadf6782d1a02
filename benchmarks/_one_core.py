"""Keeps the process on one core: import it before jax first uses a device, which is when XLA counts the cores."""

import os

ENVIRONMENT = dict(os.environ)
"""The variables before, for processes that may use all cores."""

PINNED = hasattr(os, "sched_setaffinity")

# The size of XLA's pool of threads where the system cannot pin a process.
os.environ["NPROC"] = "1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".lstrip()
if PINNED:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def print_cores() -> None:
    """How the process is kept on one core."""
    print(f"cores: {os.cpu_count()}, the process {'pinned to one' if PINNED else 'not pinned'}, XLA given one thread")
