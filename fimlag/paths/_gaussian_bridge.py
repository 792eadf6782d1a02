"""The Schroedinger bridge between two normal distributions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float, Key

from fimlag._compiled import compiled
from fimlag._precision import precision_of
from fimlag._results import RESULTS, AbstractSolution, first_failure, raise_unless_successful
from fimlag._types import RealScalarLike
from fimlag.paths._implicit_solution import matrix_root
from fimlag.paths._linear_diffusion import linear_transition


class LinearReference(eqx.Module):
    r"""The reference process $dX = (A X + b)\, dt + \sqrt\varepsilon\, \sigma\, dW$ on $[t_0, t_1]$."""

    A: Float[Array, "d d"]
    offset: Float[Array, " d"]
    diffusion: Float[Array, "d d"]
    noise: Float[Array, ""]
    t0: Float[Array, ""]
    t1: Float[Array, ""]

    def transition(self, duration):
        """Matrix, shift and covariance (for unit noise) over a duration."""
        return linear_transition(self.A, self.offset, self.diffusion, duration)


class GaussianBridge(AbstractSolution):
    r"""The process closest to a linear diffusion among those with two given normal marginals.

    It is a Gaussian Markov process, itself a diffusion with the noise of the reference. At noise zero it is the
    displacement interpolation of optimal transport.

    **Attributes:** `mean0`, `covariance0`, `mean1`, `covariance1`: the marginals at the ends; `cross_covariance`: C =
    Cov(X0, X1), shape (d, d); `action`: $\varepsilon$ times the relative entropy to the reference started in the first
    marginal, shape (): the mean of the integral of $\tfrac12 u \cdot a^{-1} u$ over the control u, at noise zero half
    the squared transport cost; `residual`: the largest miss of the coupling's equation
    $C^2 + \varepsilon C = \Sigma_0 \Sigma_1$ (in coordinates of unit reference covariance), relative to its terms;
    `reference`: the reference process; `result`: a `RESULTS` member.
    """

    mean0: Float[Array, " d"]
    covariance0: Float[Array, "d d"]
    mean1: Float[Array, " d"]
    covariance1: Float[Array, "d d"]
    cross_covariance: Float[Array, "d d"]
    action: Float[Array, ""]
    residual: Float[Array, ""]
    reference: LinearReference
    result: RESULTS
    contraction: Float[Array, "d d"]

    def mean(self, t: RealScalarLike) -> Float[Array, " d"]:
        """The mean at a time, NaN outside the interval."""
        M, K, shift, _ = self._pinned(t)
        return M @ self.mean0 + K @ self.mean1 + shift

    def covariance(self, t: RealScalarLike, s: RealScalarLike | None = None) -> Float[Array, "d d"]:
        """The covariance at a time, or of the states at two times, Cov(X_t, X_s)."""
        if s is None:
            covariance = self._ordered(t, t)
            return 0.5 * (covariance + covariance.T)
        earlier, later = jnp.minimum(t, s), jnp.maximum(t, s)
        covariance = self._ordered(earlier, later)
        return jnp.where(jnp.asarray(t) <= s, covariance, covariance.T)

    def drift(self, t: RealScalarLike, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """The drift of the bridge, that of the reference and the control; where the last marginal is singular only
        before the end."""
        ref = self.reference
        return ref.A @ x + ref.offset + self.control(t, x)

    def control(self, t: RealScalarLike, x: Float[Array, " d"]) -> Float[Array, " d"]:
        r"""What the bridge adds to the drift of the reference, $\varepsilon\, a \nabla \log h(t, x)$."""
        ref = self.reference
        whole, shift, covariance = ref.transition(ref.t1 - ref.t0)
        ahead, _, left = ref.transition(ref.t1 - self._time(t))
        factor = jnp.linalg.cholesky(covariance)
        push = _whiten(factor, self.mean1 - whole @ self.mean0 - shift)
        H = _whiten(factor, _whiten(factor, left).T)
        D = jnp.eye(factor.shape[0], dtype=factor.dtype) - self.contraction
        miss = _whiten(factor, ahead @ (x - self.mean(t)))
        pull = D @ jnp.linalg.solve(self.contraction + H @ D, miss)
        return ref.diffusion @ ahead.T @ jax.scipy.linalg.solve_triangular(factor, push - pull, lower=True, trans="T")

    def sample(self, key: Key[Array, ""], times: Float[Array, " n"]) -> Float[Array, "n d"]:
        """A path of the bridge at any times, drawn from its exact joint distribution."""
        n, d = times.shape[0], self.mean0.shape[0]
        joint = jax.vmap(lambda t: jax.vmap(lambda s: self.covariance(t, s))(times))(times)
        joint = jnp.swapaxes(joint, 1, 2).reshape(n * d, n * d)
        noise = jax.random.normal(key, (n * d,), joint.dtype)
        return jax.vmap(self.mean)(times) + (matrix_root(0.5 * (joint + joint.T)) @ noise).reshape(n, d)

    def _time(self, t):
        """The time, NaN outside the interval."""
        t, ref = jnp.asarray(t, self.mean0.dtype), self.reference
        grain = 8 * float(jnp.finfo(t.dtype).eps) * jnp.maximum(jnp.abs(ref.t0), jnp.abs(ref.t1))
        inside = (t >= ref.t0 - grain) & (t <= ref.t1 + grain)
        return jnp.where(inside, t, jnp.nan)

    def _pinned(self, t):
        """Of the reference pinned at both ends: mean at t = M x0 + K x1 + shift, and what predicts x1 from it."""
        ref = self.reference
        whole, whole_shift, covariance = ref.transition(ref.t1 - ref.t0)
        matrix, shift, past = ref.transition(self._time(t) - ref.t0)
        ahead, _, _ = ref.transition(ref.t1 - self._time(t))
        K = jnp.linalg.solve(covariance, ahead @ past).T
        return matrix - K @ whole, K, shift - K @ whole_shift, (past, ahead)

    def _ordered(self, s, t):
        """Cov(X_s, X_t) for s <= t."""
        M, K, _, (past, _) = self._pinned(s)
        later_M, later_K, _, (later_past, later_ahead) = self._pinned(t)
        between, _, _ = self.reference.transition(self._time(t) - self._time(s))
        pinned = past @ between.T - K @ later_ahead @ later_past
        C = self.cross_covariance
        ends = (M @ self.covariance0 + K @ C.T) @ later_M.T + (M @ C + K @ self.covariance1) @ later_K.T
        return ends + self.reference.noise * pinned


def gaussian_schroedinger_bridge(
    mean0: ArrayLike,
    covariance0: ArrayLike,
    mean1: ArrayLike,
    covariance1: ArrayLike,
    noise: RealScalarLike,
    *,
    drift: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    diffusion: ArrayLike | None = None,
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
    throw: bool = True,
) -> GaussianBridge:
    r"""The Schroedinger bridge between two normal distributions over a linear diffusion, in closed form.

    $$\min_P\; \mathrm{KL}(P \,\|\, R), \qquad P_{t_0} = N(\mu_0, \Sigma_0), \quad P_{t_1} = N(\mu_1, \Sigma_1), \qquad
    R:\; dX = (A X + b)\, dt + \sqrt\varepsilon\, \sigma\, dW$$

    In coordinates in which R predicts the end with covariance $\varepsilon$, the ends have the cross-covariance

    $$C = \Sigma_0^{1/2} \big( \Sigma_0^{1/2} \Sigma_1 \Sigma_0^{1/2} + \tfrac{\varepsilon^2}{4} \big)^{1/2}
    \Sigma_0^{-1/2} - \tfrac{\varepsilon}{2}$$

    computed without the inverse and without cancellation at large noise. A marginal may be a single point, of
    covariance zero: two points give the bridge of the reference between them. Noise zero gives optimal transport.

    **Arguments:** `mean0`, `covariance0`, `mean1`, `covariance1`: the marginals, shapes (d,) and (d, d). `noise`:
    $\varepsilon \ge 0$; where it is zero both covariances must be definite. `drift`, `offset`: A, shape (d, d), and b,
    shape (d,), zero if left out: Brownian motion. `diffusion`: $a = \sigma \sigma^\top$, shape (d, d), the identity if
    left out; it may be singular where the drift carries the noise on. `t0`, `t1`: the interval (the user's time unit).

    **Returns:** a `GaussianBridge`. It differentiates in all arguments where the covariances are definite.

    **Raises:** `ValueError` for shapes that do not fit; with `throw`, an error for `nonfinite`, `empty_interval`,
    `out_of_range` (noise, covariances) or `degenerate_noise` (the reference does not reach every direction).

    **Reference:** Bunne, Hsieh, Cuturi & Krause (2023), theorem 3; Janati, Muzellec, Peyre & Cuturi (2020), theorem 1;
    Mallasto, Gerolin & Minh (2022); Chen, Georgiou & Pavon (2016) for linear references.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> bridge = fl.gaussian_schroedinger_bridge(jnp.zeros(1), jnp.eye(1), jnp.ones(1), 4.0 * jnp.eye(1), 3.0)
    >>> print(bridge.cross_covariance, bridge.mean(0.5), bridge.covariance(0.5))
    [[1.]] [0.5] [[2.5]]

    ```
    """
    dtype = precision_of(mean0, covariance0, mean1, covariance1)
    if jnp.ndim(mean0) != 1:
        raise ValueError(f"mean0 must be a vector, but has shape {jnp.shape(mean0)}.")
    d = jnp.shape(mean0)[0]

    def shaped(array, name, shape, default):
        array = default if array is None else jnp.asarray(array, dtype)
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, but has {array.shape}.")
        return array

    zero, identity = jnp.zeros((d, d), dtype), jnp.eye(d, dtype=dtype)
    reference = LinearReference(
        shaped(drift, "drift", (d, d), zero),
        shaped(offset, "offset", (d,), zero[0]),
        _symmetric(shaped(diffusion, "diffusion", (d, d), identity)),
        *(jnp.asarray(x, dtype) for x in (noise, t0, t1)),
    )
    start = (shaped(mean0, "mean0", (d,), zero), _symmetric(shaped(covariance0, "covariance0", (d, d), zero)))
    end = (shaped(mean1, "mean1", (d,), zero), _symmetric(shaped(covariance1, "covariance1", (d, d), zero)))
    return raise_unless_successful(_solve(start, end, reference), throw)


@compiled
def _solve(start, end, reference: LinearReference) -> GaussianBridge:
    (mean0, covariance0), (mean1, covariance1) = start, end
    noise = reference.noise
    matrix, shift, covariance = reference.transition(reference.t1 - reference.t0)
    factor = jnp.linalg.cholesky(covariance)
    # Coordinates in which the reference predicts the end with unit covariance times the noise.
    move = _whiten(factor, mean1 - matrix @ mean0 - shift)
    predicted = _whiten(factor, _whiten(factor, matrix @ covariance0 @ matrix.T).T)
    wanted = _whiten(factor, _whiten(factor, covariance1).T)
    contraction = _contraction(_symmetric(predicted), _symmetric(wanted), noise)
    coupling = predicted @ contraction
    relative = contraction - jnp.eye(contraction.shape[0], dtype=noise.dtype)
    action = 0.5 * (move @ move + jnp.sum(relative * (relative @ predicted))) + noise * _excess_entropy(
        contraction, noise
    )
    terms = coupling @ coupling + noise * coupling
    miss = jnp.max(jnp.abs(terms - predicted @ wanted)) / (jnp.max(jnp.abs(terms)) + jnp.finfo(noise.dtype).tiny)
    arrays = jax.tree_util.tree_leaves((start, end, reference))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays]))
    valid = (noise >= 0) & _semidefinite(covariance0) & _semidefinite(covariance1) & _semidefinite(reference.diffusion)
    return GaussianBridge(
        mean0=mean0,
        covariance0=covariance0,
        mean1=mean1,
        covariance1=covariance1,
        # Cov(X0, X1): the slope of the end in the start is the whitened contraction of the reference's own
        cross_covariance=covariance0 @ matrix.T @ _slope(factor, contraction).T,
        action=action,
        residual=lax.stop_gradient(miss),
        reference=reference,
        result=first_failure(
            (~finite, RESULTS.nonfinite),
            (~(reference.t1 > reference.t0), RESULTS.empty_interval),
            (~valid, RESULTS.out_of_range),
            (~jnp.all(jnp.isfinite(factor)), RESULTS.degenerate_noise),
            (~jnp.all(jnp.isfinite(contraction)), RESULTS.out_of_range),
        ),
        contraction=contraction,
    )


def _contraction(predicted, wanted, noise):
    r"""The slope of the mean end in the predicted one, $\Gamma = L (R + \varepsilon / 2)^{-1} L^\top$.

    Here $\Sigma_1 = L L^\top$ and $R^2 = L^\top \Sigma_0 L + \varepsilon^2 / 4$; $\varepsilon \Gamma$ is the covariance
    of the end given the start, and $\Sigma_0 \Gamma$ the cross-covariance.
    """
    root = _factor(wanted)
    identity = jnp.eye(root.shape[0], dtype=root.dtype)
    inner = matrix_root(_symmetric(root.T @ predicted @ root) + 0.25 * noise**2 * identity)
    return _symmetric(root @ jnp.linalg.solve(inner + 0.5 * noise * identity, root.T))


def _factor(covariance):
    """A factor of a semi-definite matrix: Cholesky's where it is definite, else the symmetric root."""
    definite = jnp.all(jnp.isfinite(jnp.linalg.cholesky(lax.stop_gradient(covariance))))
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    triangular = jnp.linalg.cholesky(jnp.where(definite, covariance, identity))
    return jnp.where(definite, triangular, matrix_root(jnp.where(definite, identity, covariance)))


def _excess_entropy(contraction, noise):
    r"""$\tfrac12 (\operatorname{tr} \Gamma - d - \log\det \Gamma)$, the share of the noise; 0 where there is none."""
    noisy = noise > 0
    identity = jnp.eye(contraction.shape[0], dtype=contraction.dtype)
    factor = jnp.linalg.cholesky(jnp.where(noisy, contraction, identity))
    determinant = jnp.sum(jnp.log(jnp.diagonal(factor)))
    excess = 0.5 * jnp.trace(contraction - identity) - determinant
    # A singular last marginal is infinitely far from what the noise leaves.
    return jnp.where(noisy, jnp.where(jnp.isnan(determinant), jnp.inf, excess), 0.0)


def _slope(factor, contraction):
    r"""$L \Gamma L^{-1}$."""
    return jax.scipy.linalg.solve_triangular(factor, (factor @ contraction).T, lower=True, trans="T").T


def _whiten(factor, columns):
    return jax.scipy.linalg.solve_triangular(factor, columns, lower=True)


def _symmetric(matrix):
    return 0.5 * (matrix + matrix.T)


def _semidefinite(matrix):
    eigenvalues = jnp.linalg.eigvalsh(matrix)
    grain = 8 * matrix.shape[0] * float(jnp.finfo(matrix.dtype).eps)
    return eigenvalues[0] >= -grain * jnp.abs(eigenvalues[-1])
