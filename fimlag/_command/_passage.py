"""What the command line computes: a path of least action from point to point, and what vouches for it."""

import io
import math
import os
import re
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fimlag._compiled import compiled
from fimlag._results import RESULTS
from fimlag._types import MetricFn
from fimlag.diagnostics import EnergyDrift, energy_drift
from fimlag.information import AbstractModel, FisherEstimate, cramer_rao_bound
from fimlag.integrators import GaussLegendre, Trajectory, integrate
from fimlag.mechanics import FisherLagrangian, NaturalLagrangian
from fimlag.paths import LeastActionSolution, Path, least_action_path

SHOOTING_STEPS = 64
SHOOTING_METHOD = GaussLegendre(3)


class CommandError(Exception):
    """What the user is told in one line: cause and cure. `status` is the exit status of the command."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(" ".join(message.split()))
        self.status = status


class Passage(NamedTuple):
    """A geodesic of the Fisher metric, found between its ends and retraced by shooting from its start.

    **Attributes:** `start`, `end`: shape (d,); `informations`: the matrices there, shape (2, d, d); `solution`: the
    path; `flow`: the motion from the path's initial velocity; `energies`: along it; `length`: of the path, in standard
    deviations; `miss`: the Fisher length of what separates the motion's end from the path's.
    """

    start: np.ndarray
    end: np.ndarray
    informations: np.ndarray
    solution: LeastActionSolution
    flow: Trajectory
    energies: EnergyDrift
    length: float
    miss: float

    def wald_distance(self, which: int) -> float:
        r"""$\sqrt{\Delta^\top I \Delta}$ with the information at the start (0) or the end (1)."""
        return fisher_length(self.informations[which], self.end - self.start)


def travel(
    model: AbstractModel,
    start: np.ndarray,
    end: np.ndarray,
    *,
    metric: MetricFn | None = None,
    elements: int = 8,
    degree: int = 8,
    stationary: bool = False,
) -> Passage:
    """The passage between two points, or a `CommandError` naming what failed.

    `metric`: the model's Fisher metric where it is known in closed form, which compiles faster than expectations.
    """
    ends = jnp.asarray(np.stack([start, end]))
    informations = np.stack([_information(model, ends[0], "--start"), _information(model, ends[1], "--end")])
    lagrangian = FisherLagrangian(model) if metric is None else NaturalLagrangian(metric)
    solution = least_action_path(
        lagrangian, ends[0], ends[1], elements=elements, degree=degree, stationary=stationary, throw=False
    )
    refuse_failure(solution.result, "no path of least action was found")
    flow, energies = _shoot(lagrangian, solution.path)
    refuse_failure(flow.result, "shooting from the path's initial velocity failed")
    miss = np.asarray(flow.q)[-1] - end
    length = math.sqrt(2 * float(solution.action))
    return Passage(start, end, informations, solution, flow, energies, length, fisher_length(informations[1], miss))


def fisher_length(information: np.ndarray, vector: np.ndarray) -> float:
    """The length of a vector under an information matrix, in standard deviations."""
    return float(np.sqrt(vector @ information @ vector))


@compiled
def _shoot(lagrangian, path: Path) -> tuple[Trajectory, EnergyDrift]:
    flow = integrate(
        lagrangian,
        path(path.t0),
        path.velocity(path.t0),
        t1=path.t1,
        steps=SHOOTING_STEPS,
        method=SHOOTING_METHOD,
        throw=False,
    )
    return flow, energy_drift(lagrangian, flow)


@compiled
def _bounded(model, theta) -> tuple[FisherEstimate, jax.Array]:
    estimate = model.information_estimate(theta, "score", False)
    return estimate, cramer_rao_bound(estimate.value)


def _information(model, theta, option: str) -> np.ndarray:
    """The Fisher information at a point, or a `CommandError` where it cannot be computed or is singular."""
    estimate, bound = _bounded(model, theta)
    refuse_failure(estimate.result, f"the Fisher information at {option} cannot be computed")
    matrix = np.asarray(estimate.value)
    if np.any(np.isnan(bound)):
        eigenvalues = ", ".join(f"{value:.3g}" for value in np.linalg.eigvalsh(matrix))
        raise CommandError(
            f"the Fisher information at {option} is not positive definite (eigenvalues {eigenvalues}): some "
            "combination of the parameters does not change the density. Remove or fix a parameter, or move the point."
        )
    return matrix


def refuse_failure(result: RESULTS, what: str) -> None:
    """A `CommandError` unless the result is a success; its cure speaks of options instead of arguments."""
    if bool(result == RESULTS.successful):
        return
    options = "stationary|elements|degree|nodes|location|scale"
    cause = str(RESULTS[result])  # pyright: ignore[reportInvalidTypeArguments]
    cure = re.sub(rf"`({options})(?:=True)?`", r"--\1", cause)
    raise CommandError(f"{what}. {cure}")


def check_writable(file: str, option: str) -> None:
    """A `CommandError` where a file could not be written, before anything is computed."""
    parent = FilePath(file).absolute().parent
    if not parent.is_dir():
        raise CommandError(f"{option} {file}: the folder {parent} does not exist. Create it, or name another place.")
    if FilePath(file).is_dir() or not os.access(parent, os.W_OK):
        raise CommandError(f"{option} {file} cannot be written there. Name another file.")


def new_figure(file: str, option: str, **options) -> Any:
    """An empty matplotlib figure that can be saved as `file`; a `CommandError` for an unknown kind of file.

    **Raises:** `ImportError` where matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    kinds = FigureCanvasAgg(figure).get_supported_filetypes()
    if FilePath(file).suffix[1:].lower() not in kinds:
        raise CommandError(f"{option} {file}: the name must end in one of .{', .'.join(sorted(kinds))}.")
    return figure


def rendered(figure: Any, file: str) -> bytes:
    """The bytes of the figure in the format that the file's name asks for."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=FilePath(file).suffix[1:].lower(), dpi=200)
    return buffer.getvalue()
