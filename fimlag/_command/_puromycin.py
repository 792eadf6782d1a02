"""The main job on published data: from a likelihood to an estimate, its precision, and the path that leads to it."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fimlag import datasets, plot
from fimlag._command._passage import Passage, refuse_failure, travel
from fimlag._command._report import heading, line, matrix, passage_lines, point, row, spectrum
from fimlag.fitting import MaximumLikelihoodSolution, maximum_likelihood
from fimlag.geometry import EuclideanMetric, FisherMetric, PullbackMetric
from fimlag.information import ConditionalModel, families

NAMES = ("Vm", "K", "sigma")
UNITS = ("counts/min²", "ppm", "counts/min²")
FIRST_GUESS = np.array([100.0, 0.1, 30.0])
CONFIDENCE = 0.95


class Study(NamedTuple):
    """The data, the estimate, and the path that leads to it from the first guess.

    **Attributes:** `likelihood_ratio_distance`: of the first guess; `disagreement`: of the metric's closed form and
    the Fisher information taken from the log-likelihood, relative, at the worse end of the path.
    """

    data: datasets.Dataset
    fit: MaximumLikelihoodSolution
    passage: Passage
    likelihood_ratio_distance: float
    disagreement: float


def predict(theta, x):
    """Mean and standard deviation of the rate at one concentration: Michaelis-Menten kinetics with constant noise."""
    return jnp.stack([theta[0] * x / (theta[1] + x), theta[2]])


def run(show=print) -> Study:
    """Fit, trace and compare, showing each part as it is done."""
    data = datasets.puromycin()
    noise, guess, rates = families.Normal(), jnp.asarray(FIRST_GUESS), jnp.asarray(data.responses)
    model = ConditionalModel(predict, noise, data.inputs)
    generic = ConditionalModel(predict, noise.model, data.inputs)
    metric = FisherMetric(model)
    show("Puromycin, treated cells: 12 rates of an enzymatic reaction")
    show(f"  data   {data.source}")
    show("  model  rate = Vm x / (K + x) + sigma e,  x the concentration, e standard normal")
    fit = maximum_likelihood(model, rates, guess, throw=False)
    refuse_failure(fit.result, "the maximum of the likelihood was not found")
    show("\n".join(_estimate_lines(fit, data)))
    passage = travel(generic, FIRST_GUESS, np.asarray(fit.theta), metric=metric)
    gain = fit.log_likelihood - eqx.filter_jit(model.joint_log_likelihood)(guess, rates)
    closed = np.asarray(eqx.filter_jit(jax.vmap(metric))(jnp.stack([guess, fit.theta])))
    study = Study(data, fit, passage, math.sqrt(2 * float(gain)), _disagreement(closed, passage.informations))
    show("\n".join(_path_lines(study)))
    show("\n".join(_comparison_lines(study)))
    return study


def draw(figure: Any, study: Study) -> None:
    """The path to the estimate beside the straight line, and three 95 % regions of the two kinetic parameters."""
    left, right = figure.subplots(1, 2)
    theta, informations = np.asarray(study.fit.theta), study.passage.informations
    _draw_path(left, study)
    covariance = np.linalg.inv(informations[1][:2, :2])
    reach = 3.6 * np.sqrt(np.diag(covariance))
    _draw_regions(right, study, [(theta[i] - reach[i], theta[i] + reach[i]) for i in range(2)])
    for ax, corner in ((left, "lower left"), (right, "upper left")):
        ax.set_xlabel("$V_m$ (counts/min²)")
        ax.set_ylabel("$K$ (ppm)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(loc=corner, fontsize=8, edgecolor="none", framealpha=0.9)


def _estimate_lines(fit: MaximumLikelihoodSolution, data) -> list[str]:
    theta, errors = np.asarray(fit.theta), np.asarray(fit.standard_errors)
    residual_error = theta[2] * np.sqrt(data.inputs.size / (data.inputs.size - 2))
    normal_quantile = np.sqrt(_chi_square_quantile(1))
    percent = f"{100 * CONFIDENCE:g} %"
    information = np.asarray(fit.information)
    return [
        heading(f"1. Maximum likelihood by Fisher scoring, {int(fit.iterations)} steps"),
        row("", NAMES),
        row("unit", UNITS),
        row("first guess", FIRST_GUESS),
        row("estimate", theta),
        row("standard error (Cramér-Rao)", errors),
        row(f"{percent} interval from", theta - normal_quantile * errors),
        row("to", theta + normal_quantile * errors),
        "",
        line("log-likelihood", float(fit.log_likelihood), "nats, at the estimate"),
        line("residual standard error", residual_error, f"counts/min² on {data.inputs.size - 2} degrees of freedom"),
        "",
        *matrix("Fisher information", NAMES, information),
        "",
        f"  {percent} confidence ellipsoid of the three together, in the units above:",
        *spectrum(NAMES, information, _chi_square_quantile(3)),
    ]


def _path_lines(study: Study) -> list[str]:
    passage = study.passage
    return [
        heading("2. Path of least action from the first guess to the estimate"),
        f"  the Fisher geodesic from {point(passage.start)} to {point(passage.end)}",
        *passage_lines(passage),
        "",
        line(
            "metric against information",
            f"{study.disagreement:.1e}",
            "relative: closed form, and from the log-likelihood",
        ),
    ]


def _disagreement(closed: np.ndarray, informations: np.ndarray) -> float:
    """The largest difference of two matrices, in units of the second, over stacked pairs."""
    roots = np.linalg.inv(np.linalg.cholesky(informations))
    return float(np.max(np.abs(roots @ (closed - informations) @ roots.transpose(0, 2, 1))))


def _comparison_lines(study: Study) -> list[str]:
    passage = study.passage
    return [
        heading("3. How far the first guess is from the estimate, in standard deviations"),
        line("Fisher-Rao distance", passage.length, "along the geodesic; the same in all coordinates"),
        line("Wald, at the estimate", passage.wald_distance(1), "sqrt(D' I D), D the difference of parameters"),
        line("Wald, at the first guess", passage.wald_distance(0), "the same with the information there"),
        line("likelihood ratio", study.likelihood_ratio_distance, "sqrt(2 (l_max - l)), from these data"),
    ]


def _draw_path(ax, study: Study) -> None:
    data, passage = study.data, study.passage

    def profile(theta):
        residuals = jnp.asarray(data.responses) - theta[0] * data.inputs / (theta[1] + data.inputs)
        return -0.5 * data.inputs.size * jnp.log(residuals @ residuals)

    plot.likelihood_contours(ax, profile, ((85.0, 255.0), (0.02, 0.14)), distances=(1, 2, 3, 4, 5, 6, 7, 8))
    ax.plot(*np.stack([passage.start, passage.end])[:, :2].T, "--", color=plot.ORANGE, label="straight line")
    plot.path(ax, passage.solution.path, label="Fisher geodesic", zorder=4)
    for name, place, shift in (("first guess", passage.start, (0, 9)), ("estimate", passage.end, (0, -44))):
        white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1.0}
        ax.annotate(name, place[:2], shift, textcoords="offset points", fontsize=8, ha="center", bbox=white)
    ax.set_title("Path of least action to the estimate\n(contours: likelihood-ratio distance)", fontsize=9)


def _draw_regions(ax, study: Study, bounds) -> None:
    data, theta = study.data, np.asarray(study.fit.theta)
    radius = np.sqrt(_chi_square_quantile(2))

    def means(kinetics):
        return kinetics[0] * data.inputs / (kinetics[1] + data.inputs)

    def log_likelihood(kinetics):
        return -0.5 * jnp.sum((jnp.asarray(data.responses) - means(kinetics)) ** 2) / theta[2] ** 2

    metric = PullbackMetric(EuclideanMetric(1 / theta[2] ** 2), means)
    plot.likelihood_contours(ax, log_likelihood, bounds, (CONFIDENCE,), colors=plot.INK, linewidths=1.6, names=False)
    ax.plot([], [], color=plot.INK, linewidth=1.6, label="likelihood ratio")
    plot.geodesic_ball(ax, metric, jnp.asarray(theta[:2]), radius, label="geodesic ball")
    plot.metric_ellipses(
        ax,
        metric,
        jnp.asarray(theta[None, :2]),
        radius,
        color=plot.ORANGE,
        linestyle="--",
        linewidth=1.6,
        label="Wald ellipse",
    )
    ax.plot(*theta[:2], "o", color=plot.BLUE, markersize=5)
    ax.set_title(f"{100 * CONFIDENCE:g} % regions\n(noise at its estimate, {theta[2]:.3g} counts/min²)", fontsize=9)


def _chi_square_quantile(degrees: int) -> float:
    from scipy.special import gammaincinv

    return float(2 * gammaincinv(degrees / 2, CONFIDENCE))
