"""Linear-quadratic control with an entropy bonus."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Key

from fimlag._compiled import compiled
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.paths._riccati import ContinuousRiccati, DiscreteRiccati, spectral_radius, stationary_value


class SoftLQR(AbstractSolution):
    r"""The best random feedback $u \sim N(-K x, \Sigma)$ and the value $x^\top P x + c$ that it attains.

    With a finite horizon each array has a leading axis of steps (`values` and `constants` of one more, the end); a
    stationary solution has none.

    **Attributes:** `gains`: K, shape (m, d); `covariance`: $\Sigma$, shape (m, m); `values`: P, shape (d, d);
    `constants`: c, shape (), for a stationary solution without discount 0, as the value is then relative; `rates`: what
    noise and temperature add to the cost of a step, or of a unit of time, shape (); `spectral_radius`: of the closed
    loop over one step, or one unit of time (for a finite horizon its first step), shape (); `residual`: the largest
    entry by which the values miss the Riccati equation, relative to their norm; `error_estimate`: Newton's correction
    to the values in the same terms, 0 for a finite horizon; `result`: a `RESULTS` member.
    """

    gains: Float[Array, "*steps m d"]
    covariance: Float[Array, "*steps m m"]
    values: Float[Array, "*knots d d"]
    constants: Float[Array, "*knots"]
    rates: Float[Array, "*steps"]
    spectral_radius: Float[Array, ""]
    residual: Float[Array, ""]
    error_estimate: Float[Array, ""]
    result: RESULTS
    precision: Float[Array, "*steps m m"]
    temperature: Float[Array, ""]

    def value(self, x: Float[Array, " d"], step: int = 0) -> Float[Array, ""]:
        """The soft value of a state, before a step."""
        P, c = self._at(self.values, step), self._at(self.constants, step)
        return x @ P @ x + c

    def control(self, x: Float[Array, " d"], step: int = 0) -> Float[Array, " m"]:
        """The mean control, -K x."""
        return -self._at(self.gains, step) @ x

    def sample(self, key: Key[Array, ""], x: Float[Array, " d"], step: int = 0) -> Float[Array, " m"]:
        """A control drawn from the policy."""
        factor = jnp.linalg.cholesky(self._at(self.precision, step))
        noise = jax.random.normal(key, (factor.shape[0],), factor.dtype)
        spread = jax.scipy.linalg.solve_triangular(factor, noise, lower=True, trans="T")
        return self.control(x, step) + jnp.sqrt(0.5 * self.temperature) * spread

    def log_density(self, u: Float[Array, " m"], x: Float[Array, " d"], step: int = 0) -> Float[Array, ""]:
        """The log-density of a control under the policy (nats)."""
        S, miss = self._at(self.precision, step), u - self.control(x, step)
        return -miss @ S @ miss / self.temperature - _log_partition(S, self.temperature)

    def _at(self, array, step: int):
        """The member of a step, counted from the start."""
        if self.rates.ndim == 0:
            return array
        if not 0 <= step < array.shape[0]:
            raise ValueError(f"step must be from 0 to {array.shape[0] - 1}, but is {step}.")
        return array[step]


def soft_lqr(
    A: ArrayLike,
    B: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
    temperature: RealScalarLike,
    *,
    horizon: int | None = None,
    terminal: ArrayLike | None = None,
    noise: ArrayLike | None = None,
    discount: RealScalarLike | None = None,
    continuous: bool = False,
    throw: bool = True,
) -> SoftLQR:
    r"""Linear-quadratic control in which randomness is worth its entropy: the softened regulator.

    $$\min_\pi\; \mathrm{E} \sum_k \gamma^k \big( x_k^\top Q x_k + u_k^\top R u_k - T\, H[\pi_k(\cdot | x_k)] \big),
    \qquad x_{k+1} = A x_k + B u_k + w_k$$

    The policy is Gaussian: the mean is that of the classical regulator, and with $S = R + \gamma B^\top P' B$, P' the
    value matrix of the next step,

    $$\Sigma = \tfrac{T}{2} S^{-1}, \qquad
    c = \gamma (c' + \operatorname{tr} P' W) - \tfrac{T}{2} \log\det(\pi T S^{-1}).$$

    In continuous time, $dx = (A x + B u)\, dt + dw$ with a cost rate of the same form, $S = R$. Temperature 0 gives
    the classical regulator. Everything differentiates, the stationary solution implicitly.

    **Arguments:** `A`, `B`: the dynamics, shapes (d, d) and (d, m). `Q`, `R`: the cost x.Q.x + u.R.u of one step (unit
    of time), shapes (d, d) and (m, m); their symmetric parts count. `temperature`: T >= 0, in units of the cost per
    nat. `horizon`: the number of steps; None for the stationary problem without end. `terminal`: the matrix of the cost
    of the last state, shape (d, d), zero if left out. `noise`: the covariance W of w in one step (unit of time), shape
    (d, d). `discount`: above 0 and, without a horizon, below 1; left out, none. `continuous`: time is continuous; for
    the stationary problem without discount.

    **Returns:** a `SoftLQR`.

    **Raises:** `ValueError` for shapes or options that do not fit; with `throw`, an error for `nonfinite`;
    `out_of_range` (temperature, discount, noise); `unbounded_policy` (S, or for a stationary problem
    $R + \gamma B^\top Q B$, is not positive definite); `not_stabilising` (no feedback keeps the system stable, or the
    cost does not see an unstable mode); `inaccurate_solution`.

    **Reference:** Anderson & Moore (1990), chapter 3; Ziebart (2010), section 6.2; Levine (2018); Wang, Zariphopoulou &
    Zhou (2020), theorem 4, for continuous time; Chu, Fan & Lin (2005) for the doubling algorithm.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> one = jnp.eye(1)
    >>> golden = fl.soft_lqr(one, one, one, one, 0.1)
    >>> print(golden.values.round(6), golden.covariance.round(6))
    [[1.618034]] [[0.019098]]

    ```
    """
    dtype = precision_of(A, B, Q, R)
    A, B, Q, R = (jnp.asarray(x, dtype) for x in (A, B, Q, R))
    d = _check_shapes(A, B, Q, R)
    T = jnp.asarray(temperature, dtype)
    W = _square(noise, d, dtype, "noise")
    end = _square(terminal, d, dtype, "terminal")
    gamma = jnp.asarray(1.0 if discount is None else discount, dtype)
    Q, R, W, end = (0.5 * (M + M.T) for M in (Q, R, W, end))
    _check_options(horizon, terminal, discount, continuous)
    if continuous:
        solution = _stationary(ContinuousRiccati(A, B, Q, R), T, W, None)
    elif horizon is None:
        equation = DiscreteRiccati(A, B, Q, R, gamma)
        solution = _stationary(equation, T, W, None if discount is None else gamma)
    else:
        solution = _finite(DiscreteRiccati(A, B, Q, R, gamma), T, W, end, horizon)
    return raise_unless_successful(solution, throw)


def _check_shapes(A, B, Q, R) -> int:
    if A.ndim != 2 or B.ndim != 2:
        raise ValueError(f"A and B must be matrices, but have shapes {A.shape} and {B.shape}.")
    d, m = B.shape
    if A.shape != (d, d) or Q.shape != (d, d) or R.shape != (m, m):
        raise ValueError(
            f"B of shape {B.shape} wants A and Q of shape {(d, d)} and R of shape {(m, m)}, but they are {A.shape}, "
            f"{Q.shape} and {R.shape}."
        )
    return d


def _square(matrix, d: int, dtype, name: str):
    if matrix is None:
        return jnp.zeros((d, d), dtype)
    matrix = jnp.asarray(matrix, dtype)
    if matrix.shape != (d, d):
        raise ValueError(f"{name} must have shape {(d, d)}, but has {matrix.shape}.")
    return matrix


def _check_options(horizon, terminal, discount, continuous):
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon must be at least 1, but is {horizon}.")
    if horizon is None and terminal is not None:
        raise ValueError("A terminal cost needs a `horizon`: a stationary problem has no end.")
    if continuous and (horizon is not None or discount is not None):
        raise ValueError("In continuous time only the stationary problem without discount is solved.")


def _log_partition(S, temperature):
    r"""$\log \int e^{-u^\top S u / T} du = \tfrac12 \log\det(\pi T S^{-1})$."""
    factor = jnp.linalg.cholesky(S)
    return 0.5 * S.shape[0] * jnp.log(math.pi * temperature) - jnp.sum(jnp.log(jnp.diagonal(factor)))


def _rate(P, S, W, T):
    """What noise and temperature add to a step; the entropy's share vanishes with the temperature."""
    hot = T > 0
    return jnp.sum(P * W) - jnp.where(hot, T * _log_partition(S, jnp.where(hot, T, 1.0)), 0.0)


def _covariance(S, T):
    inverse = jnp.linalg.inv(S)
    return 0.25 * T * (inverse + inverse.T)


@compiled
def _stationary(equation, T, W, discount) -> SoftLQR:
    P = stationary_value(equation)
    S = equation.precision(P)
    next_weight = 1.0 if discount is None else discount
    rate = _rate(next_weight * P, S, W, T)
    fixed, value = lax.stop_gradient(equation), lax.stop_gradient(P)
    size = jnp.linalg.norm(value) + jnp.finfo(value.dtype).tiny
    residual = fixed.residual(value)
    error = jnp.linalg.norm(fixed.solve_linearised(value, residual)) / size
    radius = fixed.spectral_radius(value)
    stable = jnp.sqrt(lax.stop_gradient(jnp.asarray(next_weight, value.dtype))) * radius < 1
    return SoftLQR(
        gains=equation.gain(P),
        covariance=_covariance(S, T),
        values=P,
        constants=jnp.zeros_like(rate) if discount is None else rate / (1 - discount),
        rates=rate,
        spectral_radius=radius,
        residual=jnp.max(jnp.abs(residual)) / size,
        error_estimate=error,
        result=first_failure(
            *_input_failures(equation, T, W, jnp.zeros_like(W), None if discount is None else discount < 1),
            (~_definite(equation.first_precision()), RESULTS.unbounded_policy),
            (jnp.all(jnp.isfinite(value)) & ~_definite(S), RESULTS.unbounded_policy),
            (~stable, RESULTS.not_stabilising),
            (~(error < jnp.finfo(value.dtype).eps ** 0.5), RESULTS.inaccurate_solution),
        ),
        precision=S,
        temperature=T,
    )


@compiled
def _finite(equation: DiscreteRiccati, T, W, terminal, horizon: int) -> SoftLQR:
    gamma = equation.discount

    def backward(later, _):
        P, c = later
        S = equation.precision(P)
        rate = _rate(gamma * P, S, W, T)
        earlier = (equation.step(P), gamma * c + rate)
        return earlier, (equation.gain(P), S, rate, *earlier)

    last = (terminal, jnp.zeros((), terminal.dtype))
    _, (gains, S, rates, P, c) = lax.scan(backward, last, length=horizon, reverse=True)
    values = jnp.concatenate([P, terminal[None]])
    misses = jnp.max(jnp.abs(P - jax.vmap(equation.classical_step)(values[1:])), axis=(1, 2))
    sizes = jnp.linalg.norm(P, axis=(1, 2)) + jnp.finfo(P.dtype).tiny
    definite = jnp.all(jax.vmap(_definite)(S))
    return SoftLQR(
        gains=gains,
        covariance=jax.vmap(_covariance, (0, None))(S, T),
        values=values,
        constants=jnp.concatenate([c, jnp.zeros_like(c[:1])]),
        rates=rates,
        spectral_radius=spectral_radius(equation.A - equation.B @ gains[0]),
        residual=jnp.max(misses / sizes),
        error_estimate=jnp.zeros_like(T),
        result=first_failure(
            *_input_failures(equation, T, W, terminal, None),
            (~definite, RESULTS.unbounded_policy),
            (~jnp.all(jnp.isfinite(values)), RESULTS.nonfinite),
        ),
        precision=S,
        temperature=T,
    )


def _input_failures(equation, T, W, terminal, discounted):
    """Checks of the numbers that came in."""
    arrays = jax.tree_util.tree_leaves((equation, T, W, terminal))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays]))
    eigenvalues = jnp.linalg.eigvalsh(W)
    grain = 8 * W.shape[0] * float(jnp.finfo(W.dtype).eps)
    semidefinite = eigenvalues[0] >= -grain * jnp.abs(eigenvalues[-1])
    good = (T >= 0) & semidefinite
    gamma = getattr(equation, "discount", None)
    if gamma is not None:
        good = good & (gamma > 0) & (gamma <= 1)
    if discounted is not None:
        good = good & discounted
    return (~finite, RESULTS.nonfinite), (~good, RESULTS.out_of_range)


def _definite(S):
    """Whether a symmetric matrix is positive definite to working precision, whatever the units of its rows."""
    diagonal = jnp.diagonal(S)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    pivots = jnp.diagonal(jnp.linalg.cholesky(S / jnp.outer(scale, scale)))
    return jnp.min(pivots) ** 2 > 8 * S.shape[0] * float(jnp.finfo(S.dtype).eps)
