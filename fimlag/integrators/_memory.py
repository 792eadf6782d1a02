"""Whether what a trajectory saves fits into the memory that is free."""

import os

import jax
from jaxtyping import Array, Float

_LITTLE = 2**24  # bytes, not worth a question
_COPIES = 6  # of a row's coordinates: points, velocities and momenta, and what they are put together from


def refuse_beyond_memory(rows: int, q: Float[Array, " d"]):
    """Raise a `MemoryError` for rows that do not fit into the memory that is free, where that is known."""
    needed = rows * q.size * q.dtype.itemsize * _COPIES
    free = _free_bytes() if needed > _LITTLE else None
    if free is None or needed <= free:
        return
    raise MemoryError(
        f"Saving {rows} rows of {q.size} coordinates takes about {needed / 2**30:.3g} GiB, but {free / 2**30:.3g} GiB "
        f"are free on the {jax.default_backend()}. Raise save_every, {-(-needed // free)} times at least, or integrate "
        "piece by piece."
    )


def _free_bytes() -> int | None:
    """The bytes that are free on the default device; None where it does not tell."""
    if jax.default_backend() == "cpu":
        return _free_on_host()
    known = jax.local_devices()[0].memory_stats()
    return known["bytes_limit"] - known["bytes_in_use"] if known else None


def _free_on_host() -> int | None:
    """What the host could give: of pages that hold copies of files too, where the system tells."""
    try:
        with open("/proc/meminfo") as lines:
            sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return _free_pages()


def _free_pages() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
