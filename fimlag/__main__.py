"""`python -m fimlag`: from a log-likelihood to an estimate, its precision and a path of least action, in the shell."""

import argparse
import math
import re
import sys
from collections.abc import Sequence

from fimlag._command._passage import CommandError

_DESCRIPTION = """\
Fisher information, its geometry, and paths of least action, from a log-likelihood alone.

Without a command: the main job on published data, the kinetics of an enzyme (Puromycin, treated cells). It fits
the model by maximum likelihood, states its precision, and traces the path of least action from a poor first guess to
the estimate."""

_TRACE = """\
Trace the path of least action of the Fisher metric between two points of your own model.

FUNCTION is a jax function log_likelihood(theta, x): the log-density (nats) of ONE observation x, with theta a vector.
Expectations over x are taken by quadrature on the line unless you say otherwise:
  a density on an interval or half-line    --lower 0   (--upper, --location, --scale, --nodes)
  a finite set of outcomes                 --support 0,1,2   or   --support 0:20 for 0 to 20, both included
  the mean over observed data              --samples FILE.npy, .csv or .txt, one observation a line"""

_EXAMPLE = "example: fimlag trace normal.py:log_likelihood --start 0,1 --end 2,0.5 --location @0 --scale @1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Double precision is switched on, as an application may.

    **Arguments:** `argv`: the arguments, by default those of the process.

    **Returns:** the exit status: 0, or 1 for a computation and 2 for arguments that failed, after one line on stderr
    that names cause and cure.
    """
    try:
        options = _parser().parse_args(_with_values_attached(sys.argv[1:] if argv is None else argv))
        import jax

        jax.config.update("jax_enable_x64", True)
        if options.command == "trace":
            from fimlag._command import _trace

            _trace.run(options)
        else:
            _demonstrate(options)
    except (CommandError, OSError) as error:
        print(f"fimlag: {error}", file=sys.stderr)
        return getattr(error, "status", 1)
    return 0


def _demonstrate(options) -> None:
    from fimlag import io
    from fimlag._command import _puromycin
    from fimlag._command._passage import check_writable, new_figure, rendered

    file, figure, refusal = options.figure, None, None
    if not options.no_plot:
        check_writable(file, "--plot")
        try:
            figure = new_figure(file, "--plot", figsize=(9.6, 4.4), layout="constrained")
        except ImportError as error:
            refusal = error
    study = _puromycin.run()
    if figure is not None:
        _puromycin.draw(figure, study)
        io.write_whole(file, rendered(figure, file))
        print(f"\nWrote {file}")
    if refusal is not None:
        print(f"\nNo figure was drawn: matplotlib is not installed ({refusal}). Install fimlag[plot].")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message):
        raise CommandError(f"{message}. Try `{self.prog} --help`.", status=2)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="fimlag", description=_DESCRIPTION, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fimlag {_version()}")
    parser.add_argument(
        "--plot",
        dest="figure",
        metavar="FILE",
        default="fimlag_puromycin.png",
        help="where the figure is written (default: %(default)s); its ending chooses the format",
    )
    parser.add_argument("--no-plot", action="store_true", help="draw no figure")
    commands = parser.add_subparsers(dest="command", metavar="trace")
    trace = commands.add_parser(
        "trace",
        help="trace a path of your own model (fimlag trace --help)",
        description=_TRACE,
        epilog=_EXAMPLE,
        formatter_class=raw,
        allow_abbrev=False,
    )
    _add_trace_arguments(trace)
    return parser


def _add_trace_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="FILE.py:FUNCTION", help="or MODULE:FUNCTION: the log-likelihood")
    parser.add_argument("--start", required=True, metavar="NUM,...", help="the point theta where the path starts")
    parser.add_argument("--end", required=True, metavar="NUM,...", help="the point theta where it ends")
    parser.add_argument("--lower", type=_bound, metavar="NUM", help="lower end of the support (default: -inf)")
    parser.add_argument("--upper", type=_bound, metavar="NUM", help="upper end of the support (default: inf)")
    parser.add_argument("--location", metavar="NUM|@I", help="where the density lies; @I: at parameter number I")
    parser.add_argument("--scale", metavar="NUM|@I", help="how wide it is; @I: as parameter number I says")
    parser.add_argument("--nodes", type=_count, metavar="N", help="nodes of the quadrature (default: 200)")
    parser.add_argument("--support", metavar="LIST|A:B", help="every outcome of a discrete variable")
    parser.add_argument("--samples", metavar="FILE", help="observations, over which the scores are averaged")
    parser.add_argument("--elements", type=_count, default=8, metavar="N", help="elements of the path (default: 8)")
    parser.add_argument("--degree", type=_count, default=8, metavar="N", help="their degree (default: 8)")
    parser.add_argument("--stationary", action="store_true", help="accept a stationary path that is no minimum")
    parser.add_argument("--out", metavar="FILE.npz", help="save the solution, to be read by fimlag.io.load")
    parser.add_argument("--plot", metavar="FILE", help="draw the path; the ending chooses the format")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def _bound(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor inf or -inf")
    return value


def _with_values_attached(argv: Sequence[str]) -> list[str]:
    """`--start -1,2` as `--start=-1,2`: argparse would take the value for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and re.fullmatch(r"--[a-z]+", joined[-1]) and re.match(r"-(\d|\.\d|inf)", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("fimlag")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
