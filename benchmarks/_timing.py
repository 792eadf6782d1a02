"""Alternating measurements and their table: what the benchmarks share."""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

_SHORTEST = 0.02  # seconds that one measurement must last, so that the clock and the call do not count


class Contender(NamedTuple):
    """One way to the answer: its name, the call that is timed, its errors in words, the seconds to compile, and the
    ratio that it is to reach."""

    name: str
    run: Callable[[], object]
    accuracy: str = ""
    compile_seconds: float | None = None
    aim: float | None = None


def options(description: str) -> argparse.Namespace:
    """The command line of a benchmark: `.quick` asks for sizes that a test can afford."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: to see that it runs")
    return parser.parse_args()


def print_setting(question: str, dtype) -> None:
    """The question, and the setting in which its answer was measured."""
    device = jax.devices()[0]
    # Whatever the process does first it does slowly: that belongs to no contender.
    jax.jit(lambda x: x + 1)(jax.numpy.zeros(3, dtype)).block_until_ready()
    print(question)
    name = device.platform if device.device_kind == device.platform else f"{device.platform} ({device.device_kind})"
    print(f"device {name}, jax {jax.__version__}, {jax.numpy.dtype(dtype).name}")
    print("ratio: time over that of the first row, median of alternating rounds [quartiles]")


def compiled(function: Callable, *arguments) -> tuple[Callable, float]:
    """The function compiled for these arguments, and the seconds that tracing and compiling took."""
    start = time.perf_counter()
    executable = jax.jit(function).lower(*arguments).compile()
    return executable, time.perf_counter() - start


def temporary_bytes(executable) -> int:
    """The temporary memory of a compiled function."""
    return executable.memory_analysis().temp_size_in_bytes


def beside_c(runs: dict, words: Callable, compile_seconds: dict, aims: dict) -> list[Contender]:
    """Runs by name as contenders, `words(end, end of the first run)` their errors; aims count where the first is C."""
    first, first_end = next(iter(runs)), next(iter(runs.values()))()
    aims = aims if first.split(",")[0] == "C" else {}
    return [
        Contender(name, run, words(run(), first_end), compile_seconds.get(name), aims.get(name))
        for name, run in runs.items()
    ]


def compare(title: str, contenders: Sequence[Contender], rounds: int) -> dict[str, float]:
    """Time the contenders in turn, round after round, and print their times as ratios to the first.

    **Returns:** the median seconds of each.
    """
    calls = [_calls_needed(contender.run) for contender in contenders]
    times: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        # Each round begins with another contender, so that none always follows the same one.
        for i in (*range(number % len(contenders), len(contenders)), *range(number % len(contenders))):
            times[i].append(_seconds(contenders[i].run, calls[i]))
    width = max(len(contender.name) for contender in contenders) + 2
    print(f"\n{title}")
    for contender, own in zip(contenders, times, strict=True):
        ratios = [mine / first for mine, first in zip(own, times[0], strict=True)]
        row = f"  {contender.name:<{width}}{_duration(statistics.median(own)):>9}  ratio {_with_quartiles(ratios)}"
        aim = f"  aim {contender.aim:g}" if contender.aim is not None else ""
        print(f"{row}{aim}  {contender.accuracy}".rstrip())
    _print_compile_times(contenders, width)
    return {contender.name: statistics.median(own) for contender, own in zip(contenders, times, strict=True)}


def agreement(end, first, most: float) -> str:
    """How far an end is from that of the first row, in words; a `ValueError` where it is another motion's."""
    apart = float(np.max(np.abs(np.asarray(end) - np.asarray(first))))
    if not apart <= most:
        raise ValueError(f"The ends differ by {apart:.1e}, but round-off explains no more than {most:.0e}.")
    return f"off the first by {apart:.0e}"


def print_ratio(name: str, ours: float, rival: float, unit: str) -> None:
    """One row for a quantity that is not a time."""
    print(f"  {name}  {rival:.4g} {unit} against {ours:.4g} {unit}  ratio {rival / ours:.3g}")


def _print_compile_times(contenders, width):
    rows = [contender for contender in contenders if contender.compile_seconds is not None]
    for contender in rows:
        ratio = contender.compile_seconds / rows[0].compile_seconds
        label = f"compile: {contender.name}"
        print(f"  {label:<{width + 9}}{_duration(contender.compile_seconds):>9}  ratio {ratio:.3g}")


def _calls_needed(run) -> int:
    jax.block_until_ready(run())
    return max(1, int(_SHORTEST / _seconds(run, 1)))


def _seconds(run, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(run())
    return (time.perf_counter() - start) / calls


def _with_quartiles(ratios) -> str:
    middle = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [middle] * 3
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
