"""How much slower than C written by hand is a motion of a plain Lagrangian?

On one core, C first and the others as ratios to it: one orbit, an ensemble, and a Fisher geodesic, beside numba,
diffrax and loops by hand in jax where these can do it. Then the gradient of a long orbit beside its forward run, a race
of accuracy against heyoka's Taylor series, and the wait for the first trajectory of a new process.
"""

import pathlib
import subprocess
import sys
import tempfile

import _cold
import _ensemble
import _gradient
import _normal_geodesic
import _one_core
import _one_orbit
import _race
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
        with_the_flags("_ensemble.py")
        _normal_geodesic.measure(loops, quick)
        _gradient.measure(loops, quick)
    _race.measure(optional("heyoka", "heyoka"), quick)
    _cold.measure(quick, _one_core.ENVIRONMENT)


def with_the_flags(script: str) -> None:
    """Run a script beside this one in a process that sets XLA's flags first, its output among this one's."""
    sys.stdout.flush()
    path = pathlib.Path(__file__).with_name(script)
    subprocess.run([sys.executable, str(path), *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
