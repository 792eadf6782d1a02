"""The log-determinant of the Fisher information."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike
from fimlag.information._damping import known_damping
from fimlag.information._estimate import FAILURES, failure_named
from fimlag.information._linearised import gram_times, linearised
from fimlag.information._model import AbstractModel
from fimlag.information._root_quality import failures_of_roots
from fimlag.information._spectrum import DENSE
from fimlag.information._triangular import (
    STORED,
    lost_in_round_off,
    row_count,
    stored_jacobian,
    stored_size,
    triangular_root,
)


class LogDeterminant(AbstractSolution):
    """A log-determinant and what is known about its error.

    `value` (), nats; `standard_error` (), of the random probes, 0 where none were drawn; `truncation_error` (), the
    change of the value when the depth of the Krylov spaces is halved, which bounds what a finite depth misses, 0
    likewise; `route`; `result`.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]
    truncation_error: Float[Array, ""]
    route: str = eqx.field(static=True)
    result: RESULTS


def log_determinant(
    model: AbstractModel,
    theta: Coordinates,
    damping: RealScalarLike = 0.0,
    *,
    key: Array | None = None,
    samples: int = 32,
    depth: int = 64,
    throw: bool = True,
) -> LogDeterminant:
    r"""The log-determinant of the Fisher information, damped if asked for.

    $$\log\det(I + \lambda) = 2 \sum_i \log|R_{ii}|, \qquad R^\top R = J^\top J + \lambda$$

    Up to 2048 parameters R comes from QR steps on the rows of the square root J, which keep sloppy directions. Beyond,
    few rows are factored in their own space, and of many rows the trace of the logarithm is estimated by stochastic
    Lanczos quadrature (matfree, the extra `large`):

    $$\log\det(I + \lambda) \approx \frac1s \sum_{j=1}^s z_j^\top \log(I + \lambda)\, z_j,
    \qquad z_j \in \{-1, 1\}^d$$

    **Arguments:** `model`: a statistical model. `theta`: its parameters, a vector or any pytree. `damping`:
    $\lambda$, not negative; positive beyond 2048 parameters. `key`: of `jax.random`, for the probes; needed where they
    are. `samples`, `depth`: how many probes, and products with the information for each. `throw`: raise on failure.

    **Returns:** a solution with `.value`, `.standard_error`, `.truncation_error`, `.route` and `.result`.

    **Raises:** `ValueError` for a negative damping, or a key or damping left out where it is needed; with `throw`,
    `singular_information` where the information is singular to working precision and not damped, `inaccurate_solution`
    where the truncation error exceeds eight standard errors: raise `depth`; `nonfinite`, and the failures of the
    expectation. Derivatives of the estimate are reverse-mode alone.

    **Reference:** Golub & Van Loan (2013), section 5.2; Ubaru, Chen & Saad (2017), algorithm 1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(jnp.round(fl.log_determinant(fl.families.Normal(), jnp.array([0.0, 0.5])).value, 9))
    3.465735903

    ```
    """
    vector = flatten(theta, "theta")[0]
    undamped, shift = known_damping(damping) == 0.0, jnp.asarray(damping, vector.dtype)
    roots = model.information_roots(theta)
    singular = jnp.asarray(False)
    error = truncation = jnp.zeros((), vector.dtype)
    if vector.size <= DENSE:
        triangle = triangular_root(roots, None if undamped else shift)
        value, route = _log_square(triangle), "QR steps on the rows"
        singular = lost_in_round_off(triangle)
    elif undamped:
        raise ValueError(f"The information of {vector.size} parameters is too large to factor: give a damping.")
    elif row_count(roots) <= DENSE and stored_size(roots) <= STORED:
        rows, route = stored_jacobian(roots), "QR step in the space of the rows"
        stacked = jnp.concatenate([jnp.sqrt(shift) * jnp.eye(rows.shape[0], dtype=rows.dtype), rows.T])
        surplus = vector.size - rows.shape[0]
        value = _log_square(jnp.linalg.qr(stacked, mode="r")) + surplus * jnp.log(shift)
    elif key is None:
        raise ValueError(
            f"The log-determinant of {vector.size} parameters is estimated with random probes: give a key."
        )
    else:
        value, error, truncation = _by_quadrature(roots, shift, key, samples, min(depth, vector.size))
        route = "stochastic Lanczos quadrature"
    failures = failures_of_roots(roots)
    failures = failures.at[FAILURES.index(RESULTS.nonfinite)].max(jnp.isnan(value) | (shift < 0.0))
    result = failure_named(failures)
    rough = truncation > 8.0 * error + vector.size * float(jnp.finfo(vector.dtype).eps) ** 0.5
    checks = ((singular, RESULTS.singular_information), (rough, RESULTS.inaccurate_solution))
    result = RESULTS.where(result == RESULTS.successful, first_failure(*checks), result)
    found = LogDeterminant(value=value, standard_error=error, truncation_error=truncation, route=route, result=result)
    return raise_unless_successful(found, throw)


def _log_square(triangle):
    return 2.0 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(triangle))))


def _by_quadrature(roots, shift, key, samples, depth):
    """The mean over probes, its standard error, and the change from half the depth."""
    from matfree import decomp

    products = tuple(linearised(root) for root in roots)
    size, dtype = roots[0].vector.size, roots[0].vector.dtype
    project = decomp.hessenberg(depth, reortho="full")

    def of_probe(probe):
        small = project(lambda v: gram_times(products, v) + shift * v, probe).J_small
        small = jnp.asarray(small)
        return jnp.stack([_quadrature(small, shift), _quadrature(small[: depth // 2, : depth // 2], shift)])

    probes = jax.random.rademacher(key, (samples, size), dtype)
    deep, shallow = size * jax.lax.map(of_probe, probes).T
    error = jnp.std(deep, ddof=1) / samples**0.5 if samples > 1 else jnp.asarray(jnp.inf, dtype)
    return jnp.mean(deep), error, jnp.abs(jnp.mean(deep - shallow))


def _quadrature(small, shift):
    """$e_1^\\top \\log(T)\\, e_1$ of the part of T that was built before the Krylov space was used up."""
    diagonal, beside = jnp.diagonal(small), jnp.diagonal(small, -1)
    floor = 100.0 * float(jnp.finfo(small.dtype).eps) * diagonal[0]
    # False from the first link on that is round-off, or NaN: what follows it is noise.
    linked = jnp.cumprod((beside > floor).astype(small.dtype)) > 0.0
    diagonal = jnp.where(jnp.append(True, linked), diagonal, shift)
    beside = jnp.where(linked, beside, 0.0)
    values, vectors = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1))
    return vectors[0] ** 2 @ jnp.log(jnp.maximum(values, shift))
