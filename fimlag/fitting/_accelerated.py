"""Accelerated descent: the motion of a Bregman Lagrangian in symplectic steps, as a transformation of optax."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from fimlag._flat import flatten
from fimlag._results import RESULTS, either_failure, first_failure
from fimlag._types import RealScalarLike
from fimlag.fitting._drift import as_geometry
from fimlag.fitting._natural_gradient import like, scheduled
from fimlag.geometry import AbstractMetric
from fimlag.information import AbstractModel


class AcceleratedState(NamedTuple):
    r"""The state of `accelerated_natural_gradient`.

    **Attributes:** `count`: the updates made; `time`: t of the parameters, from the last restart; `pace`: the last step
    in time; `momentum`: $e^{-\gamma}$ times the canonical momentum, after the last update, in the structure of the
    parameters; `step`: the last update; `value`: the last value of the objective, infinite where none is needed;
    `restarts`: their number; `result`: `successful`, or the first failure so far.
    """

    count: Int[Array, ""]
    time: Float[Array, ""]
    pace: Float[Array, ""]
    momentum: PyTree
    step: PyTree
    value: Float[Array, ""]
    restarts: Int[Array, ""]
    result: RESULTS


def accelerated_natural_gradient(
    geometry: AbstractModel | AbstractMetric | Callable | None,
    learning_rate: RealScalarLike | Callable,
    p: RealScalarLike = 2.0,
    C: RealScalarLike | None = None,
    restart: Literal["gradient", "value"] | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Accelerated descent in the geometry of a statistical model, as a transformation of optax.

    The motion of `BregmanLagrangian.polynomial(f, p, C, geometry)` from rest, in steps $h = \sqrt\eta$ of time: a pull
    of the objective and a drift without it, both symplectic maps. With $w = e^{-\gamma} \times$ momentum,

    $$w \leftarrow w - C \big(t_{k + 1/2}^p - t_{k - 1/2}^p\big)\, \nabla f(x_k), \qquad
    x_{k+1} = x_k + s\, G^{-1} w, \quad w \leftarrow (1 - s)\, w, \quad s = 1 - (t_k / t_{k+1})^p$$

    in a constant geometry G, and its counterpart in others. Each update takes one gradient, at the parameters. The rate
    $t^{-p}$ is proved of the motion for convex f, which the updates follow to order $h^2$; for p = 2 and C = 1/4 they
    were measured to take about as many gradients as Nesterov's method to moderate accuracy, and with restarts far
    fewer. On curvatures up to L in the metric they are stable for $\eta < 1 / (C L)$. For p > 2 the pull grows as
    $t^{p - 2}$, and steps equal in time become unstable where $C p^2 t^{p - 2} \eta L > 4$. All p are one curve at
    different speeds, and steps equal in $t^{p / 2}$ along any of them are those of p = 2.

    **Arguments:** `geometry`: a model, for its Fisher metric; a metric, whose (d, d) matrix is factored in each step
    (`DampedMetric` for one that may be singular); a strictly convex potential of the parameters, a scalar function, or
    a `MirrorMap`; None for the Euclidean one. `learning_rate`: $\eta$, comparable with that of gradient descent, a
    number or a schedule of the count. `p`: the rate $t^{-p}$ of the motion. `C`: left out, $1 / p^2$. `restart`:
    begin again from rest `"gradient"` where the gradient points along the last step, `"value"` where the objective has
    risen, None never.

    **Returns:** an `optax.GradientTransformationExtraArgs`. `update(gradient, state, params)` needs `params` and the
    gradient at them, and with `restart="value"` also `value=`, the objective there. In a chain it comes last: the
    parameters must move as it says. Where the metric is not positive definite, the gradient not finite, or the
    implicit equation of a geodesic step not solved (lower the learning rate), the update is NaN and the `result` of its
    state, an `AcceleratedState`, tells why.

    **Raises:** `ValueError` for numbers known not to be positive, another `restart`, and from `update` for missing
    `params` or `value`; `TypeError` for a geometry that is none, or a model with a plain `MonteCarlo` rule.

    **Reference:** Betancourt, Jordan & Wilson (2018); Franca, Jordan & Vidal (2021); Duruisseaux & Leok
    (2022) for a metric; O'Donoghue & Candes (2015), section 3.2, for the restarts.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl, optax
    >>> descent, x = fl.accelerated_natural_gradient(None, learning_rate=1.0), jnp.array([4.0])
    >>> step, state = descent.update(x, descent.init(x), x)        # the gradient of x^2 / 2
    >>> print(optax.apply_updates(x, step))
    [3.75]

    ```
    """
    space = as_geometry(geometry)
    for name, number in (("learning_rate", learning_rate), ("p", p), ("C", C)):
        _check_positive(name, number)
    if restart not in (None, "gradient", "value"):
        raise ValueError(f'restart must be "gradient", "value" or None, but is {restart!r}.')
    strength = 1 / p**2 if C is None else C

    def init(params) -> Any:
        dtype = flatten(params, "params")[0].dtype
        none, zero = jnp.zeros((), jnp.int32), jnp.zeros((), dtype)
        rest = jax.tree_util.tree_map(jnp.zeros_like, params)
        return AcceleratedState(none, zero, zero, rest, rest, zero + jnp.inf, none, RESULTS.successful)

    def update(updates, state, params=None, *, value=None, **extra) -> Any:
        del extra
        if params is None or (restart == "value" and value is None):
            raise ValueError(
                "accelerated_natural_gradient takes the parameters, and with restart='value' the objective there: call "
                "update(gradient, state, params, value=...)."
            )
        x, structure = flatten(params, "params")
        gradient, w, last = (
            structure.flatten(tree, "the gradient").astype(x.dtype) for tree in (updates, state.momentum, state.step)
        )
        height = state.value if value is None else jnp.asarray(value, x.dtype)
        again = {"gradient": gradient @ last > 0.0, "value": height > state.value, None: jnp.array(False)}[restart]
        t, pace, w = (jnp.where(again, 0.0, each) for each in (state.time, state.pace, w))
        h, power = jnp.sqrt(scheduled(learning_rate, state.count, x.dtype)), jnp.asarray(p, x.dtype)
        pull = jnp.asarray(strength, x.dtype) * _between(t - pace / 2, (pace + h) / 2, power)
        drift = space.drift(structure, x, w - pull * gradient, _shrunk(h, t + h, power))
        finite = jnp.all(jnp.isfinite(gradient)) & jnp.isfinite(h)
        failure = either_failure(first_failure((~finite, RESULTS.nonfinite)), drift.result)
        result = either_failure(state.result, failure)
        dx = jnp.where(result == RESULTS.successful, drift.dx, jnp.nan)
        momentum, step = (like(structure.unflatten(each), params) for each in (drift.w, dx))
        count, restarts = jnp.asarray(optax.safe_increment(state.count)), state.restarts + again.astype(jnp.int32)
        return step, AcceleratedState(count, t + h, h, momentum, step, height, restarts, result)

    return optax.GradientTransformationExtraArgs(init, update)


def _between(start, duration, p):
    r"""$(a + d)^p - a^p$."""
    end = start + duration
    return end**p * _shrunk(duration, end, p)


def _shrunk(part, whole, p):
    r"""$1 - ((whole - part) / whole)^p$, 0 where the whole is, without a derivative where the part is the whole."""
    share = part / jnp.where(whole > 0.0, whole, 1.0)
    all_of_it = share >= 1.0
    return jnp.where(all_of_it, 1.0, -jnp.expm1(p * jnp.log1p(-jnp.where(all_of_it, 0.5, share))))


def _check_positive(name, number):
    if number is None or callable(number) or isinstance(number, Tracer):
        return
    if not 0.0 < float(np.asarray(number)) < float("inf"):
        raise ValueError(f"{name} must be positive and finite, but is {number}.")
