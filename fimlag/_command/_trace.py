"""The main job on a user's own log-likelihood."""

import importlib
import importlib.util
import math
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fimlag import io, plot
from fimlag._command._passage import CommandError, Passage, check_writable, new_figure, rendered, travel
from fimlag._command._report import heading, matrix, passage_lines, point, spectrum
from fimlag.information import Empirical, ExactSum, Quadrature, StatisticalModel


def run(options: Namespace, show=print) -> None:
    """Trace the path that the options describe, show it, and write the files asked for."""
    start, end = _ends(options)
    if options.elements * options.degree < 2:
        raise CommandError("--elements 1 with --degree 1 leaves no node between the ends. Raise one of them.")
    files = [(option, getattr(options, option)) for option in ("out", "plot") if getattr(options, option)]
    for option, file in files:
        check_writable(file, f"--{option}")
    figure = None
    if options.plot:
        try:
            figure = new_figure(options.plot, "--plot", figsize=(5.2, 4.2), layout="constrained")
        except ImportError as error:
            raise CommandError(f"--plot needs matplotlib ({error}). Install fimlag[plot], or drop --plot.") from None
    log_likelihood = _function(options.function)
    rule, words, example = _expectation(options, start.size)
    _try_out(log_likelihood, options.function, start, example)
    model = StatisticalModel(log_likelihood, rule)
    passage = travel(model, start, end, elements=options.elements, degree=options.degree, stationary=options.stationary)
    show("\n".join(_lines(options.function, words, passage)))
    contents = {"out": lambda: io.encoded(passage.solution), "plot": lambda: _drawn(figure, passage, options.plot)}
    finished = [(file, contents[option]()) for option, file in files]
    for file, content in finished:
        io.write_whole(file, content)
        show(f"\nWrote {file}")


def numbers(text: str, option: str) -> list[float]:
    """The finite numbers in a comma-separated list."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise CommandError(f"{option} {text!r} is no list of numbers: write them with commas, such as 0,1.5.") from None
    if not all(map(math.isfinite, values)):
        raise CommandError(f"{option} {text!r} must hold finite numbers.")
    return values


def _ends(options) -> tuple[np.ndarray, np.ndarray]:
    start, end = (np.array(numbers(getattr(options, name), f"--{name}")) for name in ("start", "end"))
    if start.shape != end.shape:
        raise CommandError(
            f"--start has {start.size} numbers and --end {end.size}: both are points of one parameter space."
        )
    if np.array_equal(start, end):
        raise CommandError("--start and --end are the same point: there is no path to trace. Move one of them.")
    return start, end


def _function(target: str) -> Callable:
    """The function that `FILE.py:NAME` or `MODULE:NAME` names."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise CommandError(f"{target!r} names no function: write FILE.py:FUNCTION or MODULE:FUNCTION.")
    module = _module(place)
    function = getattr(module, name, None)
    if not callable(function):
        defined = sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))
        raise CommandError(f"{place} has no function {name!r}. It defines: {', '.join(defined) or 'none'}.")
    return function


def _module(place: str) -> Any:
    try:
        if not place.endswith(".py"):
            sys.path.insert(0, "")
            try:
                return importlib.import_module(place)
            finally:
                sys.path.remove("")
        if not FilePath(place).is_file():
            raise CommandError(f"the file {place} does not exist. Check its name and folder.")
        spec = importlib.util.spec_from_file_location(FilePath(place).stem, place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except CommandError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise CommandError(f"{place} cannot be imported: {_first_line(error)}. Correct it first.") from None


def _expectation(options, size: int):
    """The rule, its description, and one outcome to try the function on."""
    quadrature = {name: getattr(options, name) for name in ("lower", "upper", "location", "scale", "nodes")}
    given = [f"--{name}" for name, value in quadrature.items() if value is not None]
    others = [f"--{name}" for name in ("support", "samples") if getattr(options, name) is not None]
    if len(others) > 1 or (others and given):
        raise CommandError(f"{', '.join(given + others)} cannot be combined: choose one kind of expectation.")
    if options.support is not None:
        support = _support(options.support)
        words = f"exact sum over {support.size} outcomes, {support.min():g} to {support.max():g}"
        return ExactSum(support), words, support[0]
    if options.samples is not None:
        samples = _samples(options.samples)
        words = f"mean over {len(samples)} observations: the empirical Fisher information"
        return Empirical(samples), words, samples[0]
    return _quadrature(quadrature, size)


def _quadrature(given: dict, size: int):
    lower = -math.inf if given["lower"] is None else given["lower"]
    upper = math.inf if given["upper"] is None else given["upper"]
    nodes = 200 if given["nodes"] is None else given["nodes"]
    location, scale = (_placement(given[name], f"--{name}", size) for name in ("location", "scale"))
    try:
        rule = Quadrature(lower, upper, nodes, location, scale)
    except ValueError as error:
        raise CommandError(f"the quadrature cannot be made: {error}") from None
    placed = ", ".join(
        f"{name} {'theta[' + given[name][1:] + ']' if given[name].startswith('@') else given[name]}"
        for name in ("location", "scale")
        if given[name] is not None
    )
    middle = min(max(0.0, lower), upper)
    if math.isfinite(lower) or math.isfinite(upper):
        middle = np.clip((max(lower, upper - 2) + min(upper, lower + 2)) / 2, lower, upper)
    words = f"quadrature on ({lower:g}, {upper:g}), {nodes} nodes" + (f", {placed}" if placed else "")
    return rule, words, np.float64(middle)


def _placement(text: str | None, option: str, size: int):
    """A number, or the parameter of the index after `@` as a function of theta."""
    if text is None:
        return None
    if not text.startswith("@"):
        (value, *more) = numbers(text, option)
        if more:
            raise CommandError(f"{option} {text!r} must be ONE number, or @ and the index of a parameter.")
        return value
    if not text[1:].isdigit() or int(text[1:]) >= size:
        raise CommandError(f"{option} {text!r}: after @ stands the index of a parameter, 0 to {size - 1}.")
    index = int(text[1:])
    return lambda theta: theta[index]


def _support(text: str) -> np.ndarray:
    first, colon, last = text.partition(":")
    try:
        if colon:
            support = np.arange(int(first), int(last) + 1)
        else:
            parts = text.split(",")
            integers = all(part.strip().lstrip("+-").isdigit() for part in parts)
            support = np.array([int(part) if integers else float(part) for part in parts])
    except ValueError:
        raise CommandError(f"--support {text!r} is neither a list such as 0,1,2 nor a range such as 0:20.") from None
    if support.size == 0 or not np.all(np.isfinite(support)) or np.unique(support).size != support.size:
        raise CommandError(f"--support {text!r} must hold every outcome once, all finite, and at least one.")
    return support


def _samples(file: str) -> np.ndarray:
    try:
        if file.endswith(".npy"):
            data = np.load(file, allow_pickle=False)
        else:
            data = np.loadtxt(file, delimiter="," if file.endswith(".csv") else None, ndmin=1)
    except FileNotFoundError:
        raise CommandError(f"--samples {file}: the file does not exist. Check its name and folder.") from None
    except (OSError, ValueError) as error:
        raise CommandError(
            f"--samples {file} cannot be read: {_first_line(error)}. It must hold numbers only, one observation a "
            "line, as .npy, .csv or text."
        ) from None
    if data.ndim == 0 or data.size == 0 or data.dtype.kind not in "biuf" or not np.all(np.isfinite(data)):
        raise CommandError(f"--samples {file} must hold finite numbers, one observation a line, and at least one.")
    return data


def _try_out(log_likelihood: Callable, target: str, theta: np.ndarray, x) -> None:
    """A `CommandError` where the function cannot be evaluated and differentiated twice at one observation."""
    try:
        log_likelihood(theta, x)
    except IndexError as error:  # on numpy arrays: jax arrays would take the nearest element instead
        raise CommandError(
            f"{target} asks for a parameter or an outcome that is not there ({_first_line(error)}): --start gives "
            f"theta {theta.size} numbers and x has shape {np.shape(x)}."
        ) from None
    except Exception:  # a function may be right for jax arrays only, which decide below
        pass
    try:
        value = jax.eval_shape(log_likelihood, jnp.asarray(theta), jnp.asarray(x))
        if jnp.shape(value) != () or not jnp.issubdtype(value.dtype, jnp.floating):
            raise CommandError(
                f"{target} returned an array of shape {jnp.shape(value)} and type {value.dtype} for ONE observation x "
                f"of shape {np.shape(x)}: it must return its log-density, a floating-point scalar."
            )
        jax.eval_shape(jax.hessian(log_likelihood), jnp.asarray(theta), jnp.asarray(x))
    except CommandError:
        raise
    except Exception as error:
        raise CommandError(
            f"{target} fails for theta of shape {theta.shape} and x of shape {np.shape(x)}: {_first_line(error)}. It "
            "must be a jax function log_likelihood(theta, x) of ONE observation."
        ) from None


def _lines(target: str, words: str, passage: Passage) -> list[str]:
    names = [f"theta[{i}]" for i in range(passage.start.size)]
    lines = [f"Path of least action for {target}", f"  expectation  {words}"]
    for place, theta, information in zip(
        ("start", "end"), (passage.start, passage.end), passage.informations, strict=True
    ):
        errors = np.sqrt(np.diag(np.linalg.inv(information)))
        lines += [
            heading(f"Fisher information of one observation at the {place}, theta = {point(theta)}"),
            *matrix("", names, information),
            *spectrum(names, information, 1.0),
            f"  no unbiased estimate from n observations has standard errors below {point(errors)} / sqrt(n)",
        ]
    return [*lines, heading("Path of least action, a Fisher geodesic, from start to end"), *passage_lines(passage)]


def _drawn(figure: Any, passage: Passage, file: str) -> bytes:
    ax, path = figure.subplots(), passage.solution.path
    plot.path(ax, path, label="Fisher geodesic", zorder=4)
    if passage.start.size == 1:
        ax.plot([0.0, 1.0], [*passage.start, *passage.end], "--", color=plot.ORANGE, label="straight line")
        ax.set_ylabel("theta[0]")
    else:
        ax.plot(*np.stack([passage.start, passage.end])[:, :2].T, "--", color=plot.ORANGE, label="straight line")
        ax.set_xlabel("theta[0]")
        ax.set_ylabel("theta[1]")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(f"length {passage.length:.4g} standard deviations", fontsize=9)
    ax.legend(frameon=False, fontsize=8)
    return rendered(figure, file)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0].rstrip('.')}" if text else type(error).__name__
