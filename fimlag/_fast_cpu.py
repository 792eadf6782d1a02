"""Options of XLA that make ensembles of small systems faster on a CPU, set on request."""

import os
import re
import warnings

import jax

_EXTRA = {"xla_cpu_small_while_loop_byte_threshold": "=1000000000", "xla_cpu_use_multi_output_fusion": ""}
_WIDTH = {"xla_cpu_prefer_vector_width": "=512"}


def enable_fast_cpu() -> None:
    """Ask XLA for CPU code that suits ensembles of small systems, for the whole process.

    Three options join `XLA_FLAGS`; one that stands there already keeps its value, so that a second call changes
    nothing. Loops of any size are compiled as one function
    (`xla_cpu_small_while_loop_byte_threshold=1000000000`), what several results share is computed once
    (`xla_cpu_use_multi_output_fusion`), and vectors have 512 bits where the processor can
    (`xla_cpu_prefer_vector_width=512`). XLA reads the flags once, when jax first uses a device: call this right after
    the imports. Child processes inherit them.

    It is for `jax.vmap` over many trajectories: these take a half to a quarter of their time on a processor with
    AVX-512, less is gained on others. The price: a single trajectory takes up to 1.4 times as long, and a loop over
    large arrays stays on one core.

    **Raises:** nothing: a `UserWarning` says so where the flags cannot act, because jax has used a device already or
    because `XLA_FLAGS` names a file. Nothing is changed then.

    **Reference:** XLA, `cpu_compiler.cc`, `small_while_loop_hoisting_pass.h` and `xla.proto` (`DebugOptions`).

    ```python
    >>> import fimlag as fl
    >>> fl.enable_fast_cpu()  # doctest: +SKIP

    ```
    """
    flags = os.environ.get("XLA_FLAGS", "")
    extra, width = _missing(_EXTRA, flags), _missing(_WIDTH, flags)
    # Of several lists of extra options XLA takes all.
    added = [f"--xla_backend_extra_options={','.join(extra)}"] * bool(extra) + [f"--{each}" for each in width]
    if not added:
        return
    if flags.strip() and not flags.lstrip().startswith("-"):
        _warn(f"XLA_FLAGS names the file {flags!r}: add {' '.join(added)} to it.")
    elif _devices_in_use():
        _warn("It is too late: jax has used a device, and XLA reads its flags before. Call it right after the imports.")
    else:
        os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()


def _missing(options, flags) -> list[str]:
    """The options that flags do not name, with their values."""
    return [name + value for name, value in options.items() if not re.search(rf"\b{name}\b", flags)]


def _devices_in_use() -> bool:
    """Whether jax has started its backends: from then on it refuses another number of CPU devices."""
    number = jax.config.jax_num_cpu_devices  # pyright: ignore[reportAttributeAccessIssue]
    try:
        jax.config.update("jax_num_cpu_devices", 2 if number == 1 else 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", number)
    return False


def _warn(message):
    warnings.warn(f"enable_fast_cpu() had no effect. {message}", stacklevel=3)
