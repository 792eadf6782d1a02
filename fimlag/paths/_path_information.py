"""What a path of a diffusion tells of the parameters of its drift, and of one drift against another."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from fimlag._flat import Structure, flatten
from fimlag._results import raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike, as_field
from fimlag.information._moments import symmetric
from fimlag.mechanics._diffusion import DiffusionLike, DiffusionProcess, FlatProcess
from fimlag.paths._along import along
from fimlag.paths._path import Path
from fimlag.paths._path_expectation import PathExpectation, course_of, path_expectation


class DriftAt(eqx.Module):
    """A drift with parameters, at given ones: a function of the point."""

    drift: Callable
    theta: Float[Array, " p"]
    parameters: Structure

    def __call__(self, q):
        return self.drift(self.parameters.unflatten(self.theta), q)

    def sensitivity(self, process: FlatProcess, q: Float[Array, " d"]) -> Float[Array, "d p"]:
        r"""$\sigma^{-1}\, \partial b / \partial \theta$ at a flat point."""

        def drift(theta):
            value = self.drift(self.parameters.unflatten(theta), process.structure.unflatten(q))
            return process.structure.flatten(value, "the drift").astype(q.dtype)

        derivative = jax.jacfwd if self.theta.size <= q.size else jax.jacrev
        return jax.vmap(lambda column: process.whitened(q, column), 1, 1)(derivative(drift)(self.theta))


class SensitivitySquare(eqx.Module):
    r"""$(\partial_\theta b)^\top a^{-1}\, \partial_\theta b$, a function of the flat point."""

    model: DriftAt
    process: FlatProcess

    def __call__(self, q: Float[Array, " d"]) -> Float[Array, "p p"]:
        root = self.model.sensitivity(self.process, q)
        return symmetric(root.T @ root)


class DeviationSquare(eqx.Module):
    r"""$u \cdot a^{-1} u / 2$ of the deviation of one drift from another, a function of the flat point."""

    process: FlatProcess
    other: FlatProcess

    def __call__(self, q: Float[Array, " d"]) -> Float[Array, ""]:
        deviation = self.process.whitened(q, self.other.drift(q) - self.process.drift(q))
        return 0.5 * (deviation @ deviation)


def path_information(
    drift: Callable,
    diffusion: DiffusionLike,
    noise: RealScalarLike,
    theta: Coordinates,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    elements: int = 32,
    points: int = 8,
) -> Float[Array, "p p"]:
    r"""The information that ONE path of a diffusion carries on the parameters of its drift.

    $$J(\theta) = \frac1\varepsilon \int_{t_0}^{t_1} (\partial_\theta b)^\top a^{-1}\, (\partial_\theta b)\, dt$$

    It is the curvature of the action over the noise, $\partial_\theta^2 S / \varepsilon$: all of it for a drift linear
    in theta, where J is the observed information. Elsewhere the second derivatives of the drift, which meet the path's
    deviation from it, are left out (Gauss and Newton); the mean over paths is the Fisher information all the same
    (Girsanov): see `expected_path_information`.

    **Arguments:** `drift(theta, q)`: b, in the structure of the point; `diffusion`: a, as for `FreidlinWentzell`, free
    of theta: what it depended on, a path would tell exactly; `noise`: epsilon; `theta`: parameters, a vector or any
    pytree; `path`, `t0`, `t1`, `elements`, `points`: as for `action`.

    **Returns:** the matrix in the order of the flattened parameters, shape (p, p), a sum over the whole interval; NaN
    where the noise or a is not positive.

    **Raises:** `ValueError` as `FreidlinWentzell` and `action`.

    **Reference:** Liptser & Shiryaev (2001), ch. 7 and 17; Kutoyants (2004), ch. 1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> information = fl.path_information(lambda k, q: -k * q, 1.0, 0.5, 2.0, lambda t: jnp.exp(t)[None])
    >>> print(jnp.round(information, 9), jnp.round(jnp.expm1(2.0), 9))
    [[6.3890561]] 6.389056099

    ```
    """
    stations = along(path, t0, t1, elements, points)
    model, process = _drift_and_process(drift, diffusion, theta, stations.structure, stations.points.dtype)
    squares = jax.vmap(SensitivitySquare(model, process))(stations.points)
    noise = jnp.asarray(noise, squares.dtype)
    return jnp.where(noise > 0.0, jnp.tensordot(stations.weights, squares, 1) / noise, jnp.nan)


def expected_path_information(
    drift: Callable,
    diffusion: DiffusionLike,
    noise: RealScalarLike,
    theta: Coordinates,
    start: Coordinates | Callable,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    key: Key[Array, ""],
    paths: int = 1024,
    steps: int = 128,
    throw: bool = True,
) -> PathExpectation:
    r"""The Fisher information of the parameters of a drift from the observation of a whole path.

    $$I(\theta) = \frac1\varepsilon\, \mathrm E_\theta \int_{t_0}^{t_1} (\partial_\theta b)^\top a^{-1}\,
    (\partial_\theta b)\, dt$$

    For Girsanov's theorem: the mean of `path_information` over paths of the diffusion, here simulated, and the Hessian
    of `path_kl_divergence` where the drifts agree. What the distribution of the START tells of theta comes on top.

    Example: $dX = -\theta X dt + \sqrt\varepsilon\, dW$ has $T / 2 \theta$ from a start in equilibrium, and
    $x_0^2 (1 - e^{-2 \theta T}) / 2 \theta \varepsilon + T / 2 \theta - (1 - e^{-2 \theta T}) / 4 \theta^2$ from $x_0$.

    **Arguments:** `drift(theta, q)`, `diffusion`, `noise`, `theta`: as for `path_information`, the noise in the sense
    of Ito; `start`: a point, or a function of a key that draws one; `t0`, `t1`: the interval; `key`: of the random
    numbers; `paths`: how many; `steps`: of each, an even number; `throw`: whether a failure raises.

    **Returns:** a `PathExpectation` whose `value` has shape (p, p). Its error from the steps is of second order for a
    constant diffusion, else of first. Derivatives are those of the simulation.

    **Raises:** `ValueError` as `path_information`, and for counts that do not fit; results: `out_of_range` for a noise
    that is not positive, `nonfinite`, `empty_interval`.

    **Reference:** Liptser & Shiryaev (2001), ch. 7; Kutoyants (2004), ch. 1.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> found = fl.expected_path_information(    # a constant drift: T / epsilon, whatever the path
    ...     lambda b, q: b, 1.0, 0.5, jnp.ones(1), jnp.zeros(1), 0.0, 3.0, key=jax.random.key(0), paths=2
    ... )
    >>> print(jnp.round(found.value, 9))
    [[6.]]

    ```
    """
    course = course_of(start, t0, t1, noise, key, paths, steps)
    model, process = _drift_and_process(drift, diffusion, theta, course.structure, course.noise.dtype)
    return raise_unless_successful(path_expectation(process, course, SensitivitySquare(model, process)), throw)


def path_kl_divergence(
    drift0: Callable,
    drift1: Callable,
    diffusion: DiffusionLike,
    noise: RealScalarLike,
    start: Coordinates | Callable,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    *,
    key: Key[Array, ""],
    paths: int = 1024,
    steps: int = 128,
    throw: bool = True,
) -> PathExpectation:
    r"""The relative entropy of the paths of one diffusion with respect to those of another of the same noise.

    $$\mathrm{KL}(P_0 \Vert P_1) = \frac1{2 \varepsilon}\, \mathrm E_0 \int_{t_0}^{t_1} u \cdot a^{-1} u\, dt, \qquad
    u = b_1 - b_0$$

    for equal distributions of the start (that of the starts comes on top): the mean action of the control that turns
    one drift into the other. With another diffusion it would be infinite.

    **Arguments:** `drift0(q)`, `drift1(q)`: the drifts, the paths being those of the first; `diffusion`, `noise`,
    `start`, `t0`, `t1`, `key`, `paths`, `steps`, `throw`: as for `expected_path_information`.

    **Returns:** a `PathExpectation` whose `value` has shape () (nats).

    **Raises:** as `expected_path_information`.

    **Reference:** Liptser & Shiryaev (2001), ch. 7; Dai Pra (1991).

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> pushed, key = (lambda q: jnp.full_like(q, 2.0)), jax.random.key(0)
    >>> found = fl.path_kl_divergence(lambda q: 0.0 * q, pushed, 1.0, 0.5, jnp.zeros(1), 0.0, 3.0, key=key, paths=2)
    >>> print(jnp.round(found.value, 9))
    12.0

    ```
    """
    course = course_of(start, t0, t1, noise, key, paths, steps)
    process, other = (FlatProcess(DiffusionProcess(b, diffusion), course.structure) for b in (drift0, drift1))
    return raise_unless_successful(path_expectation(process, course, DeviationSquare(process, other)), throw)


def _drift_and_process(drift, diffusion, theta, structure: Structure, dtype) -> tuple[DriftAt, FlatProcess]:
    vector, parameters = flatten(theta, "theta")
    model = DriftAt(as_field(drift), vector.astype(dtype), parameters)
    return model, FlatProcess(DiffusionProcess(model, diffusion), structure)
