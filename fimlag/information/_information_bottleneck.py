"""The information bottleneck of finite random variables."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from fimlag._compiled import compiled
from fimlag._implicit import frozen, implicit_root
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.information._mutual_information import is_distribution, relative_terms

_LONGEST = 64.0  # times the plain step: near a critical beta the plain one shrinks without bound


class InformationBottleneck(AbstractSolution):
    r"""A stationary compression T of X about Y: the best one found, a LOCAL minimum that need not be the global one.

    **Attributes:** `encoder`: $p(t | x)$, shape (n, k). `decoder`: $p(y | t)$, shape (k, m). `weights`: $p(t)$, shape
    (k,). `compression`: $I(X; T)$; `relevance`: $I(T; Y)$ (nats). `functional`: $I(X; T) - \beta I(T; Y)$, an upper
    bound of the minimum. `residual`: the largest change of $p(t | x)$, weighted by p(x) over its largest value, in one
    more step of the self-consistent equations. `restart_functionals`: what each start led to: agreement makes a global
    minimum likely and proves nothing. `iterations` of the best start; `result`.
    """

    encoder: Float[Array, "n k"]
    decoder: Float[Array, "k m"]
    weights: Float[Array, " k"]
    compression: Float[Array, ""]
    relevance: Float[Array, ""]
    functional: Float[Array, ""]
    residual: Float[Array, ""]
    restart_functionals: Float[Array, " starts"]
    iterations: Int[Array, ""]
    result: RESULTS


def information_bottleneck(
    joint: ArrayLike,
    beta: RealScalarLike,
    *,
    clusters: int | None = None,
    key: Array | None = None,
    restarts: int = 8,
    tol: float | None = None,
    max_iterations: int = 10_000,
    throw: bool = True,
) -> InformationBottleneck:
    r"""A compression T of X that tells as much about Y as it can for what it tells of X.

    $$\min_{p(t | x)} I(X; T) - \beta\, I(T; Y), \qquad
    p(t | x) \propto p(t)\, e^{-\beta\, \mathrm{KL}(p(y | x) \Vert p(y | t))}$$

    The self-consistent equations are iterated with steps that lengthen while they lower the functional. It is not
    convex: what is found is a local minimum, the best of several starts, one of which gives each x a cluster of its
    own. For $\beta \le 1$ the constant T is optimal, by the data-processing inequality, and is found.

    The solution differentiates implicitly in joint and $\beta$, where it is isolated up to the names and copies of
    clusters; at a critical $\beta$, where a cluster splits, the derivatives jump.

    **Arguments:** `joint`: $p_{xy}$, shape (n, m), of sum one. `beta`: $\beta \ge 0$, nats of compression per nat of
    relevance. `clusters`: the number k of values of T, n if left out. `key`: a key of `jax.random` for `restarts`
    random starts besides the first; left out, none is made. `tol`: the largest residual; left out, $\epsilon^{0.6}$.
    `max_iterations`: the limit on steps of each start. `throw`: whether a failure raises.

    **Returns:** an `InformationBottleneck`.

    **Raises:** `ValueError` for shapes or options that do not fit; with `throw`, an error for `nonfinite`,
    `out_of_range` (no distribution, or a negative $\beta$) or `max_steps_reached` (also next to a critical $\beta$).

    **Reference:** Tishby, Pereira & Bialek (1999), theorem 4 and section 3.3.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> twins = jnp.array([[0.25, 0.0], [0.25, 0.0], [0.0, 0.25], [0.0, 0.25]])
    >>> solution = fl.information_bottleneck(twins, 5.0, clusters=2)
    >>> print(solution.compression.round(6), solution.relevance.round(6), jnp.log(2.0).round(6))
    0.693147 0.693147 0.693147

    ```
    """
    dtype = precision_of(joint, beta)
    joint, beta = jnp.asarray(joint, dtype), jnp.asarray(beta, dtype)
    if joint.ndim != 2 or 0 in joint.shape or beta.shape != ():
        raise ValueError(
            f"joint must be a matrix and beta a number, but they have shapes {joint.shape} and {beta.shape}."
        )
    clusters = joint.shape[0] if clusters is None else clusters
    if clusters < 1 or restarts < 1 or max_iterations < 1 or (tol is not None and not tol > 0):
        raise ValueError(
            "clusters, restarts, max_iterations and tol must be positive, but are "
            f"{clusters}, {restarts}, {max_iterations} and {tol}."
        )
    tolerance = float(jnp.finfo(dtype).eps) ** 0.6 if tol is None else float(tol)
    starts = _starts(joint.shape[0], clusters, key, restarts, dtype)
    return raise_unless_successful(_solve(joint, beta, starts, tolerance, max_iterations), throw)


class _Problem(eqx.Module):
    """The functional of the encoder, given by logits of shape (n, k)."""

    joint: Float[Array, "n m"]
    beta: Float[Array, ""]

    def parts(self, logits):
        """Encoder, weights and decoder."""
        encoder = jax.nn.softmax(logits, axis=1)
        together = encoder.T @ self.joint
        weights = jnp.sum(together, axis=1)
        used = weights > 0
        return encoder, weights, together / jnp.where(used, weights, 1.0)[:, None]

    def informations(self, logits):
        encoder, weights, decoder = self.parts(logits)
        source, relevant = jnp.sum(self.joint, axis=1), jnp.sum(self.joint, axis=0)
        spread = jnp.broadcast_to(weights[None], encoder.shape)
        compression = jnp.sum(source[:, None] * relative_terms(encoder, spread))
        relevance = jnp.sum(weights[:, None] * relative_terms(decoder, jnp.broadcast_to(relevant[None], decoder.shape)))
        return compression, relevance

    def functional(self, logits):
        compression, relevance = self.informations(logits)
        return compression - self.beta * relevance

    def gradient(self, logits):
        """The gradient, with a mean of the logits in each row held: it changes no encoder."""
        slope = jax.grad(self.functional)(logits)
        fixed = lax.stop_gradient(logits)
        encoder = jax.nn.softmax(fixed, axis=1)
        mean = jnp.sum(encoder * (logits - fixed), axis=1, keepdims=True)
        return slope + jnp.sum(self.joint, axis=1, keepdims=True) * encoder * mean

    def updated(self, logits):
        """One step of the self-consistent equations."""
        _, weights, decoder = self.parts(logits)
        tiny = float(jnp.finfo(weights.dtype).tiny)
        source = jnp.sum(self.joint, axis=1)
        conditional = self.joint / jnp.where(source > 0, source, 1.0)[:, None]
        fit = conditional @ jnp.log(jnp.maximum(decoder, tiny)).T
        return jax.nn.log_softmax(jnp.log(jnp.maximum(weights, tiny))[None] + self.beta * fit, axis=1)

    def solver(self, logits):
        r"""The pseudo-inverse of the Hessian in units of the Fisher metric $p(x)\, p(t | x)$ of the encoder."""
        flat = jnp.ravel(logits)
        hessian = jax.hessian(lambda v: self.functional(jnp.reshape(v, logits.shape)))(flat)
        source, encoder = jnp.sum(self.joint, axis=1, keepdims=True), jax.nn.softmax(logits, axis=1)
        rows = jnp.eye(logits.shape[0], dtype=logits.dtype)
        means = jnp.reshape(rows[:, :, None] * encoder[:, None, :], (logits.shape[0], -1))
        hessian = hessian + means.T @ (source * means)
        metric = jnp.ravel(source * encoder)
        units = 1.0 / jnp.sqrt(jnp.maximum(metric, float(jnp.finfo(metric.dtype).eps) ** 2))
        values, vectors = jnp.linalg.eigh(units[:, None] * hessian * units[None])
        # Copies of a cluster trade weight at no cost: what is computed does not change along them.
        least = float(jnp.finfo(values.dtype).eps) ** 0.5 * jnp.max(jnp.abs(values))
        some = jnp.abs(values) > least
        inverse = jnp.where(some, 1.0 / jnp.where(some, values, 1.0), 0.0)

        def solve(right):
            inner = vectors @ (inverse * (vectors.T @ (units * jnp.ravel(right))))
            return jnp.reshape(units * inner, logits.shape)

        return solve


class _State(eqx.Module):
    logits: Float[Array, "n k"]
    length: Float[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]


@compiled
def _solve(joint, beta, starts, tolerance: float, max_iterations: int) -> InformationBottleneck:
    problem = _Problem(joint, beta)
    fixed = frozen(problem)
    states = jax.vmap(lambda start: _iterated(fixed, start, tolerance, max_iterations))(starts)
    functionals = jax.vmap(fixed.functional)(states.logits)
    best = jnp.argmin(jnp.where(jnp.isnan(functionals), jnp.inf, functionals))
    state = jax.tree_util.tree_map(lambda leaf: leaf[best], states)
    logits = implicit_root(state.logits, problem, gradient=_Problem.gradient, factor=_Problem.solver)
    encoder, weights, decoder = problem.parts(logits)
    compression, relevance = problem.informations(logits)
    result = first_failure(
        (~jnp.all(jnp.isfinite(joint)) | ~jnp.isfinite(beta), RESULTS.nonfinite),
        (~is_distribution(joint) | (beta < 0), RESULTS.out_of_range),
        (~(state.residual <= tolerance), RESULTS.max_steps_reached),
    )
    none = (result == RESULTS.nonfinite) | (result == RESULTS.out_of_range)
    known = jnp.where(none, jnp.nan, 1.0).astype(joint.dtype)
    return InformationBottleneck(
        encoder=known * encoder,
        decoder=known * decoder,
        weights=known * weights,
        compression=known * compression,
        relevance=known * relevance,
        functional=known * (compression - beta * relevance),
        residual=known * state.residual,
        restart_functionals=known * functionals,
        iterations=state.iterations,
        result=result,
    )


def _starts(symbols: int, clusters: int, key, restarts: int, dtype) -> Float[Array, "starts n k"]:
    own = 4.0 * jax.nn.one_hot(jnp.arange(symbols) % clusters, clusters, dtype=dtype)[None]
    # A symmetric start could end on a saddle: parts of irrational multiples favour no cluster.
    rows, columns = np.sqrt(2.0) * np.arange(1, symbols + 1), np.sqrt(3.0) * np.arange(1, clusters + 1)
    own = own + jnp.asarray(2.0 * (np.outer(rows, columns) % 1.0) - 1.0, dtype)[None]
    if key is None:
        return own
    return jnp.concatenate([own, 2.0 * jax.random.normal(key, (restarts, symbols, clusters), dtype)])


def _iterated(problem: _Problem, start, tolerance: float, max_iterations: int) -> _State:
    source = jnp.sum(problem.joint, axis=1)
    share = (source / jnp.max(source))[:, None]

    def advance(state):
        plain = problem.updated(state.logits)
        change = plain - state.logits
        residual = jnp.max(share * jnp.abs(jax.nn.softmax(plain, axis=1) - jax.nn.softmax(state.logits, axis=1)))
        longer = jax.nn.log_softmax(state.logits + state.length * change, axis=1)
        better: Bool[Array, ""] = problem.functional(longer) < problem.functional(plain)
        logits = jnp.where(better, longer, plain)
        length = jnp.where(better, jnp.minimum(1.5 * state.length, _LONGEST), jnp.maximum(0.5 * state.length, 1.5))
        return _State(logits, length, residual, state.iterations + 1)

    one = jnp.ones((), start.dtype)
    first = _State(jax.nn.log_softmax(start, axis=1), 1.5 * one, jnp.inf * one, jnp.asarray(0))
    return lax.while_loop(
        lambda state: (state.residual > tolerance) & (state.iterations < max_iterations), advance, first
    )
