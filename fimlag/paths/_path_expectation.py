"""Averages over the simulated paths of a diffusion."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from fimlag._compiled import compiled
from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure
from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.mechanics._diffusion import FlatProcess


class PathExpectation(AbstractSolution):
    """An average over simulated paths of a diffusion, and what is known of its error.

    **Attributes:** `value`; `standard_error`: from the scatter of the paths, of its shape; `error_estimate`: the size
    of its change when the steps are twice as long, with the same noise, of its shape; `result`: a `RESULTS` member.
    """

    value: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    error_estimate: Float[Array, "..."]
    result: RESULTS


class Course(eqx.Module):
    """Which paths are simulated: their start, interval, noise and number.

    **Attributes:** `start`: a point, flat, or a function of a key to one in the caller's structure.
    """

    start: Float[Array, " d"] | Callable
    t0: Float[Array, ""]
    t1: Float[Array, ""]
    noise: Float[Array, ""]
    key: Key[Array, ""]
    structure: Structure
    paths: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def begin(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """The start of one path."""
        if not callable(self.start):
            return self.start
        return self.structure.flatten(self.start(key), "the start").astype(self.noise.dtype)


def course_of(
    start: Coordinates | Callable,
    t0: RealScalarLike,
    t1: RealScalarLike,
    noise: RealScalarLike,
    key: Key[Array, ""],
    paths: int,
    steps: int,
) -> Course:
    """The course that a caller describes; a `ValueError` for counts that do not fit."""
    if paths < 2 or steps < 2 or steps % 2:
        raise ValueError(
            f"At least 2 paths and an even number of steps are needed, but paths = {paths}, steps = {steps}."
        )
    example, structure = flatten(start(key) if callable(start) else start, "the start")
    t0, t1, noise = (jnp.asarray(x, example.dtype) for x in (t0, t1, noise))
    return Course(as_field(start) if callable(start) else example, t0, t1, noise, key, structure, paths, steps)


@compiled
def path_expectation(process: FlatProcess, course: Course, integrand: Callable) -> PathExpectation:
    r"""The mean of $\int f(X_t)\, dt / \varepsilon$ over the paths of a diffusion in the sense of Ito.

    With a constant diffusion the steps are Heun's, of second weak order, else Euler's and Maruyama's, of first; the
    integral is that of trapezia.
    """
    step = (course.t1 - course.t0) / course.steps
    positive = course.noise > 0.0
    noise = jnp.where(positive, course.noise, 1.0)

    def of_path(key):
        first, second = jax.random.split(key)
        start = course.begin(first)
        normals = jax.random.normal(second, (course.steps, start.size), start.dtype)
        coarse = (normals[::2] + normals[1::2]) * 0.5**0.5
        return tuple(
            _integral(process, noise, integrand, start, z, h) / noise
            for z, h in ((normals, step), (coarse, 2.0 * step))
        )

    fine, coarse = jax.vmap(of_path)(jax.random.split(course.key, course.paths))
    value = jnp.mean(fine, axis=0)
    constant = lax.stop_gradient(fine)
    given = jnp.isfinite(course.t0) & jnp.isfinite(course.t1) & ~jnp.isnan(course.noise)
    return PathExpectation(
        value=value,
        standard_error=jnp.std(constant, axis=0, ddof=1) / course.paths**0.5,
        error_estimate=jnp.abs(jnp.mean(constant - lax.stop_gradient(coarse), axis=0)),
        result=first_failure(
            (~given, RESULTS.nonfinite),
            (~positive, RESULTS.out_of_range),
            (~(course.t1 > course.t0), RESULTS.empty_interval),
            (~jnp.all(jnp.isfinite(value)), RESULTS.nonfinite),
        ),
    )


def _integral(process: FlatProcess, noise, integrand: Callable, start, normals, step):
    """The integral over one path, simulated with normal numbers."""
    spread = jnp.sqrt(step * noise)
    fixed = jnp.linalg.cholesky(process.covariance(start)) if process.process.additive else None

    def advance(state, z):
        q, value, total = state
        root = jnp.linalg.cholesky(process.covariance(q)) if fixed is None else fixed
        drift, kick = process.drift(q), spread * (root @ z)
        arrived = q + step * drift + kick
        if fixed is not None:
            arrived = q + 0.5 * step * (drift + process.drift(arrived)) + kick
        after = integrand(arrived)
        return (arrived, after, total + 0.5 * step * (value + after)), None

    value = integrand(start)
    return lax.scan(advance, (start, value, jnp.zeros_like(value)), normals)[0][2]
