"""Exponential families as dually flat spaces: straight lines of both connections, and projections along them."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PyTree

from fimlag._flat import Structure, flatten
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import Coordinates, RealScalarLike
from fimlag.information._legendre import ConvexProblem, convex_minimum
from fimlag.information.families import ExponentialFamily


class InformationProjection(AbstractSolution):
    """The point of a flat submanifold nearest to a given one.

    `natural`, `mean`: the projection in both coordinates, in the structure of the natural parameters; `coordinates`
    (k,): the solution u of the submanifold's own unknowns; `divergence`: the least divergence (nats); `residual`: the
    largest violation of the orthogonality that makes it least; `result`: `successful`, `nonfinite` or `stalled`.
    Derivatives pass through all but the residual.
    """

    natural: PyTree
    mean: PyTree
    coordinates: Float[Array, " k"]
    divergence: Float[Array, ""]
    residual: Float[Array, ""]
    result: RESULTS


class ExponentialGeodesic(eqx.Module):
    """A straight line in natural parameters; `geodesic(t)` are the natural parameters at t."""

    start: Float[Array, " d"]
    end: Float[Array, " d"]
    structure: Structure

    def __call__(self, t: RealScalarLike) -> Coordinates:
        """The natural parameters at t; 0 and 1 are the ends."""
        return self.structure.unflatten(self.start + t * (self.end - self.start))


class MixtureGeodesic(eqx.Module):
    """A straight line in mean parameters; `geodesic(t)` are the NATURAL parameters at t."""

    family: ExponentialFamily
    start: Float[Array, " d"]
    end: Float[Array, " d"]
    guess: ExponentialGeodesic

    def __call__(self, t: RealScalarLike) -> Coordinates:
        """The natural parameters at t, NaN where the line has left the family."""
        inside = jnp.clip(jnp.asarray(t, self.start.dtype), 0.0, 1.0)
        mean = self.guess.structure.unflatten(self.start + t * (self.end - self.start))
        return self.family.natural(mean, self.guess(inside))


def e_geodesic(family: ExponentialFamily, a: Coordinates, b: Coordinates) -> ExponentialGeodesic:
    r"""The geodesic of the exponential connection: the densities $p_a^{1 - t}\, p_b^t$, normalised.

    $$\theta(t) = (1 - t)\, \theta_a + t\, \theta_b$$

    **Arguments:** `family`: an exponential family. `a`, `b`: natural parameters of the ends.

    **Returns:** a callable of t, the natural parameters there.

    **Raises:** `TypeError` for another model; `ValueError` where the ends differ in structure.

    **Reference:** Amari & Nagaoka (2000), section 2.3 and eq. 3.33.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> poisson = fl.ExponentialFamily(jnp.exp)
    >>> print(fl.e_geodesic(poisson, 0.0, 2.0)(0.5))
    1.0

    ```
    """
    _check(family)
    start, structure = flatten(a, "a")
    return ExponentialGeodesic(start, structure.flatten(b, "b").astype(start.dtype), structure)


def m_geodesic(family: ExponentialFamily, a: Coordinates, b: Coordinates) -> MixtureGeodesic:
    r"""The geodesic of the mixture connection: straight in the means of the statistics.

    $$\eta(t) = (1 - t)\, \eta_a + t\, \eta_b, \qquad \eta = \nabla A(\theta)$$

    **Arguments:** as for `e_geodesic`.

    **Returns:** a callable of t, the natural parameters there; NaN for t beyond the ends where no member is left.

    **Raises:** as for `e_geodesic`.

    **Reference:** Amari & Nagaoka (2000), section 3.3.

    ```python
    >>> import jax, jax.numpy as jnp, fimlag as fl
    >>> halfway = jax.jit(lambda one, other: fl.m_geodesic(fl.ExponentialFamily(jnp.exp), one, other)(0.5))
    >>> print(jnp.round(jnp.exp(halfway(0.0, jnp.log(3.0))), 9))
    2.0

    ```
    """
    line = e_geodesic(family, a, b)
    means = [flatten(family.mean(line.structure.unflatten(end)), "mean")[0] for end in (line.start, line.end)]
    return MixtureGeodesic(family, means[0], means[1], line)


def m_projection(
    family: ExponentialFamily,
    natural: Coordinates,
    origin: Coordinates,
    directions: ArrayLike,
    guess: ArrayLike | None = None,
    *,
    throw: bool = True,
) -> InformationProjection:
    r"""The projection along a mixture geodesic onto a submanifold flat in natural parameters.

    $$\min_u \mathrm{KL}(p_\theta \Vert p_{\theta_0 + B u}), \qquad B^\top (\eta(\theta_0 + B u) - \eta(\theta)) = 0$$

    It is the maximum-likelihood estimate within the submanifold, and for every member q of it the Pythagorean theorem
    holds: $\mathrm{KL}(p \Vert q) = \mathrm{KL}(p \Vert \hat p) + \mathrm{KL}(\hat p \Vert q)$.

    **Arguments:** `family`: an exponential family. `natural`: the parameters projected. `origin`: a member of the
    submanifold, $\theta_0$. `directions`: B, its k directions as columns (d, k), in the order of the flattened
    parameters. `guess`: u where the solve starts, left out 0. `throw`: raise where it failed.

    **Returns:** an `InformationProjection`.

    **Raises:** `TypeError` for another model; `ValueError` for shapes that do not fit. With `throw`, `nonfinite`
    for parameters outside the domain; `stalled` where Newton's method finds no minimum: it lies at infinity, or the
    directions are not independent.

    **Reference:** Amari & Nagaoka (2000), theorems 3.8 and 3.9; Csiszar (1975).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> two = fl.ExponentialFamily(lambda theta: jnp.sum(jnp.exp(theta)))      # two Poisson counts
    >>> equal = fl.m_projection(two, jnp.log(jnp.array([1.0, 3.0])), jnp.zeros(2), jnp.ones((2, 1)))
    >>> print(jnp.round(equal.mean, 9))
    [2. 2.]

    ```
    """
    _check(family)
    point, structure = flatten(natural, "natural")
    start = structure.flatten(origin, "origin").astype(point.dtype)
    columns = _columns(directions, point)
    target = columns.T @ flatten(family.mean(natural), "mean")[0]
    problem = ConvexProblem(family.potential(structure), start, columns, target)
    u, converged = convex_minimum(problem, _guess(guess, columns))
    found = structure.unflatten(problem.point(u))
    return _concluded(family, problem, u, converged, found, family.kl(natural, found), throw)


def e_projection(
    family: ExponentialFamily,
    natural: Coordinates,
    constraints: ArrayLike,
    values: ArrayLike,
    guess: ArrayLike | None = None,
    *,
    throw: bool = True,
) -> InformationProjection:
    r"""The projection along an exponential geodesic onto a submanifold flat in mean parameters.

    $$\min_q \mathrm{KL}(q \Vert p_\theta) \quad \text{subject to} \quad C^\top \eta(q) = c, \qquad
    \hat\theta = \theta + C u$$

    The member of the family nearest to a prior that has the prescribed means. For every q that has them the
    Pythagorean theorem holds: $\mathrm{KL}(q \Vert p) = \mathrm{KL}(q \Vert \hat p) + \mathrm{KL}(\hat p \Vert p)$.

    **Arguments:** `family`: an exponential family. `natural`: the parameters projected. `constraints`: C, the k linear
    functions of the means as columns (d, k). `values`: c, shape (k,). `guess`: u where the solve starts,
    left out 0. `throw`: raise where it failed.

    **Returns:** an `InformationProjection`, whose `coordinates` are the multipliers u.

    **Raises:** as for `m_projection`; `stalled` also where no member has these means.

    **Reference:** Csiszar (1975), theorem 2.2; Amari & Nagaoka (2000), theorem 3.8.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> two = fl.ExponentialFamily(lambda theta: jnp.sum(jnp.exp(theta)))
    >>> six = fl.e_projection(two, jnp.log(jnp.array([1.0, 3.0])), jnp.ones((2, 1)), jnp.array([6.0]))
    >>> print(jnp.round(six.mean, 9))
    [1.5 4.5]

    ```
    """
    _check(family)
    point, structure = flatten(natural, "natural")
    columns = _columns(constraints, point)
    target = jnp.asarray(values)
    if target.shape != (columns.shape[1],):
        raise ValueError(f"values must have shape {(columns.shape[1],)}, one for each constraint, not {target.shape}.")
    problem = ConvexProblem(family.potential(structure), point, columns, target.astype(point.dtype))
    u, converged = convex_minimum(problem, _guess(guess, columns))
    found = structure.unflatten(problem.point(u))
    return _concluded(family, problem, u, converged, found, family.kl(found, natural), throw)


def _concluded(family, problem, u, converged, found, divergence, throw):
    residual = jnp.max(jnp.abs(problem.gradient(u)))
    started = jnp.isfinite(problem.value(jnp.zeros_like(u))) | jnp.isfinite(divergence)
    solution = InformationProjection(
        natural=found,
        mean=family.mean(found),
        coordinates=u,
        divergence=divergence,
        residual=residual,
        result=first_failure((~started, RESULTS.nonfinite), (~converged, RESULTS.stalled)),
    )
    return raise_unless_successful(solution, throw)


def _check(family):
    if not isinstance(family, ExponentialFamily):
        raise TypeError(f"A dually flat space is that of an ExponentialFamily, but {type(family).__name__} came.")


def _columns(matrix, point):
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != point.size or matrix.shape[1] == 0:
        raise ValueError(f"The directions must be columns of length {point.size}, but have shape {matrix.shape}.")
    return matrix.astype(point.dtype)


def _guess(guess, columns):
    start = jnp.zeros(columns.shape[1], columns.dtype) if guess is None else jnp.asarray(guess).astype(columns.dtype)
    if start.shape != (columns.shape[1],):
        raise ValueError(f"guess must have shape {(columns.shape[1],)}, but has {start.shape}.")
    return start
