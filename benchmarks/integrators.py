"""How much slower than C written by hand is a motion of a plain Lagrangian?

On one core, C first and all others as ratios to it: one orbit, an ensemble in lanes, and a Fisher geodesic, each
beside numba, diffrax and loops written by hand in jax where these can do it; then a race of accuracy against heyoka's
Taylor series.
"""

import pathlib
import subprocess
import sys
import tempfile

import _ensemble
import _one_core
import _one_orbit
import jax
from _c import c_loops
from _optional import optional
from _timing import options, print_setting


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    _one_core.print_cores()
    with tempfile.TemporaryDirectory() as folder:
        loops, numba_loops = c_loops(folder), optional("numba", "_numba_loops")
        _one_orbit.measure(loops, numba_loops, quick)
        _ensemble.measure(loops, numba_loops, quick)
        in_a_new_process("_ensemble.py")


def in_a_new_process(script: str) -> None:
    """Run a script beside this one with the same options, its output among this one's."""
    sys.stdout.flush()
    path = pathlib.Path(__file__).with_name(script)
    subprocess.run([sys.executable, str(path), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
