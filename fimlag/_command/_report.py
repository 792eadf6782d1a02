"""Aligned text for the command line."""

from collections.abc import Iterable, Sequence

import numpy as np

from fimlag._command._passage import SHOOTING_METHOD, SHOOTING_STEPS, Passage

_LABEL = 32
_COLUMN = 13


def heading(text: str) -> str:
    """A line of text, underlined."""
    return f"\n{text}\n{'-' * len(text)}"


def line(label: str, value, meaning: str = "") -> str:
    """One quantity: its name, its value, and what it means."""
    shown = value if isinstance(value, str) else number(value)
    return f"  {label:<{_LABEL}}{shown:>{_COLUMN}}  {meaning}".rstrip()


def row(label: str, values: Iterable) -> str:
    """A name and the values that stand in columns beside it."""
    shown = (value if isinstance(value, str) else number(value) for value in values)
    return f"  {label:<{_LABEL}}" + "".join(f"{value:>{_COLUMN}}" for value in shown)


def number(value) -> str:
    """A number to six significant digits."""
    return f"{value:.6g}"


def point(theta: Iterable[float]) -> str:
    """A point as it is typed."""
    return "(" + ", ".join(number(value) for value in theta) + ")"


def matrix(name: str, names: Sequence[str], entries: np.ndarray) -> list[str]:
    """A matrix with its rows and columns named; entries below round-off of their row and column are shown as 0."""
    size = np.sqrt(np.abs(np.diag(entries)))
    shown = np.where(np.abs(entries) > 1e-9 * np.outer(size, size), entries, 0.0)
    return [row(name, names), *(row(f"  {label}", values) for label, values in zip(names, shown, strict=True))]


def spectrum(names: Sequence[str], information: np.ndarray, chi_square: float) -> list[str]:
    r"""The eigenvalues of an information matrix, the half-axes $\sqrt{\chi^2 / \lambda}$ of the region they bound, and
    their directions, the best known first."""
    values, vectors = np.linalg.eigh(information)
    signs = np.sign(vectors[np.argmax(np.abs(vectors), axis=0), np.arange(len(values))])
    vectors = np.where(np.abs(vectors) > 1e-9, signs * vectors, 0.0)
    lines = [row("", ["eigenvalue", "half-axis", *names])]
    for i in reversed(range(len(values))):
        label = "  best known direction" if i == len(values) - 1 else "  least known direction" if i == 0 else ""
        lines.append(row(label, [values[i], np.sqrt(chi_square / values[i]), *vectors[:, i]]))
    return lines


def passage_lines(passage: Passage) -> list[str]:
    """What is known of a path, quantity by quantity."""
    solution = passage.solution
    index = int(solution.morse_index)
    verdict = "a minimum: the shortest among its neighbours" if index == 0 else "directions in which the action falls"
    energies = np.asarray(passage.energies.energies)
    spread = (energies.max() - energies.min()) / abs(energies[0])
    drift = float(passage.energies.drift) / energies[0]
    return [
        line("length", passage.length, "standard deviations: the Fisher-Rao distance"),
        line("action", float(solution.action), "half the squared length"),
        line("Morse index", str(index), verdict),
        line("residual", _small(solution.residual), "largest entry of the discrete gradient"),
        line("error estimate", _small(solution.error_estimate), "change of the action at one degree more"),
        line("Newton steps", str(int(solution.iterations))),
        "",
        f"  Shooting from the path's initial velocity, {type(SHOOTING_METHOD).__name__} of order "
        f"{SHOOTING_METHOD.order}, {SHOOTING_STEPS} steps:",
        line("misses the end by", _small(passage.miss), _landing(passage)),
        line("range of the energy", _small(spread), "relative; a geodesic keeps its energy"),
        line(
            "drift of the energy", _small(drift), f"relative, over the whole path, +- {_small(_drift_error(passage))}"
        ),
    ]


def _landing(passage: Passage) -> str:
    lands = passage.miss <= 1e-3 * max(passage.length, 1.0)
    return "standard deviations: it lands" if lands else "standard deviations: the motion is unstable, or too coarse"


def _drift_error(passage: Passage) -> float:
    return float(passage.energies.standard_error) / abs(float(passage.energies.energies[0]))


def _small(value) -> str:
    return f"{float(value):.1e}"
