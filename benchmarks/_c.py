"""Loops in C: compiled when a benchmark starts, called by ctypes."""

import ctypes
import pathlib
import shutil
import subprocess
from collections.abc import Callable

import numpy as np

SOURCE = pathlib.Path(__file__).with_name("_loops.c")
FLAGS = ("-O3", "-march=native")


def c_loops(folder: str) -> ctypes.CDLL | None:
    """The compiled loops, kept in the folder; None where there is no gcc, which is printed."""
    compiler = shutil.which("gcc")
    if compiler is None:
        print("gcc is not installed: no rows of C")
        return None
    library = pathlib.Path(folder) / "loops.so"
    subprocess.run([compiler, *FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(library), "-lm"], check=True)
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"C: {version}, {' '.join(FLAGS)}")
    return ctypes.CDLL(str(library))


def marching(loop, state: np.ndarray, *arguments) -> Callable[[], np.ndarray]:
    """The call of a loop on a fresh copy of a state, which it returns."""
    # Made once: the conversions cost as much as a hundred steps.
    rest = [_converted(argument) for argument in arguments]
    pointer = ctypes.POINTER(ctypes.c_double)

    def run():
        end = state.copy()
        loop(end.ctypes.data_as(pointer), *rest)
        return end

    run.arguments = arguments  # the loop reads arrays that must outlive this call
    return run


def _converted(argument):
    if isinstance(argument, np.ndarray):
        return argument.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
    return ctypes.c_long(argument) if isinstance(argument, int) else ctypes.c_double(argument)
