"""Lagrangians born of probability."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._flat import flatten
from fimlag._types import Coordinates, RealScalarLike
from fimlag.geometry import FisherMetric, Metric, scalar_curvature
from fimlag.information import AbstractModel
from fimlag.mechanics._diffusion import DiffusionLike, DiffusionProcess, FlatProcess
from fimlag.mechanics._lagrangian import NaturalLagrangian


def FisherLagrangian(model: AbstractModel, potential: Callable | None = None) -> NaturalLagrangian:
    r"""The Lagrangian whose kinetic energy is half the Fisher information of the velocity.

    $$L(t, \theta, v) = \tfrac12\, v^\top I(\theta)\, v - V(\theta)$$

    Without a potential its motions are the Fisher-Rao geodesics, and its least action over a time $T$ is
    $d^2 / 2T$ with $d$ the Fisher-Rao distance.

    **Arguments:** `model`: a statistical model whose expectation is one smooth function of theta;
    `potential`: a scalar function of theta, or None.

    **Returns:** a `NaturalLagrangian`.

    **Raises:** `TypeError` for a model with a plain `MonteCarlo` rule, as `FisherMetric` does.

    **Reference:** Rao (1945); Amari & Nagaoka (2000), section 2.2.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> def log_likelihood(theta, x): return x * theta - jnp.log1p(jnp.exp(theta))
    >>> L = fl.FisherLagrangian(fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.array([0.0, 1.0]))))
    >>> round(float(L(0.0, 0.0, 2.0)), 12)
    0.5

    ```
    """
    return NaturalLagrangian(FisherMetric(model), potential)


class FreidlinWentzell(eqx.Module):
    r"""The Lagrangian whose action is the cost of a path under weak noise.

    $$L(t, q, v) = \tfrac12 (v - b(q)) \cdot a(q)^{-1} (v - b(q)), \qquad
    dX = b(X)\, dt + \sqrt\varepsilon\, \sigma(X)\, dW, \quad a = \sigma \sigma^\top$$

    The probability that the process follows a path goes as $e^{-S / \varepsilon}$ for $\varepsilon \to 0$, whether the
    noise is meant in the sense of Ito or of Stratonovich.

    **Arguments:** `drift`: b, a function of the point, in its structure; `diffusion`: a, the inverse metric: a number,
    a vector (the diagonal) or a symmetric positive definite matrix over the flat coordinates, or a function of the
    point to one of these.

    **Returns:** a callable `(t, q, v) -> scalar`; NaN where a is not positive definite.

    **Raises:** `ValueError` for a drift or diffusion of another shape than the point's.

    **Reference:** Freidlin & Wentzell (2012), ch. 3, theorem 2.1, and ch. 5, theorem 3.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.FreidlinWentzell(lambda q: -q, 4.0)
    >>> float(L(0.0, jnp.array([1.0]), jnp.array([1.0])))
    0.5

    ```
    """

    process: DiffusionProcess

    def __init__(self, drift: Callable, diffusion: DiffusionLike):
        self.process = DiffusionProcess(drift, diffusion)

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        point, structure = flatten(q, "q")
        flat = FlatProcess(self.process, structure)
        deviation = flat.whitened(point, structure.flatten(v, "v").astype(point.dtype) - flat.drift(point))
        return 0.5 * (deviation @ deviation)


class OnsagerMachlup(eqx.Module):
    r"""The Lagrangian whose action is the cost of a path under noise of finite strength.

    $$L = \tfrac12 (v - f) \cdot g\, (v - f) + \tfrac\varepsilon2\, \mathrm{div} f - \tfrac{\varepsilon^2}{12} R, \qquad
    g = a^{-1}, \quad f^i = b^i + \tfrac\varepsilon2\, g^{jk} \Gamma^i_{jk}$$

    The probability that the process stays in a narrow tube round a path, relative to that of noise without drift round
    a point, goes as $e^{-S / \varepsilon}$. For a constant a it is $f = b$ and $R = 0$. A diffusion that is a function
    of the point is understood in the sense of Ito, $dX = b\, dt + \sqrt\varepsilon\, \sigma\, dW$ in the coordinates
    given; f is then the drift as a vector field, the divergence and the scalar curvature R are those of the metric g,
    and the tube is of constant width in its distance, so that L does not depend on the coordinates. (Path integrals
    that fix a discretisation instead of a tube have R/6 or R/8 for R/12.)

    **Arguments:** `drift`, `diffusion`: as for `FreidlinWentzell`; `noise`: epsilon, positive.

    **Returns:** a callable `(t, q, v) -> scalar`; NaN where a is not positive definite.

    **Raises:** as `FreidlinWentzell`.

    **Reference:** Takahashi & Watanabe (1981), eq. 1.4; Fujita & Kotani (1982); for constant a, Durr & Bach (1978).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> L = fl.OnsagerMachlup(lambda q: -q, 4.0, noise=0.5)
    >>> float(L(0.0, jnp.array([1.0]), jnp.array([1.0])))
    0.25

    ```
    """

    process: DiffusionProcess
    noise: Float[Array, ""]

    def __init__(self, drift: Callable, diffusion: DiffusionLike, noise: RealScalarLike):
        self.process = DiffusionProcess(drift, diffusion)
        self.noise = jnp.asarray(noise, jnp.result_type(float, noise))

    def __call__(self, t: RealScalarLike, q: Coordinates, v: Coordinates) -> Float[Array, ""]:
        point, structure = flatten(q, "q")
        flat, noise = FlatProcess(self.process, structure), self.noise.astype(point.dtype)
        field, divergence, curvature = (_in_space if self.process.additive else _on_manifold)(flat, noise, point)
        deviation = flat.whitened(point, structure.flatten(v, "v").astype(point.dtype) - field)
        return 0.5 * (deviation @ deviation) + noise / 2 * divergence - noise**2 / 12 * curvature


def _in_space(process: FlatProcess, noise, q):
    """The drift, its divergence, and no curvature."""
    return process.drift(q), jnp.trace(jax.jacfwd(process.drift)(q)), jnp.zeros_like(noise)


def _on_manifold(process: FlatProcess, noise, q):
    """The drift as a vector field, its divergence, and the scalar curvature, in the metric of the noise."""

    def log_density(q):
        return -0.5 * jnp.linalg.slogdet(process.covariance(q))[1]

    def field(q):
        # g^jk Gamma^i_jk = -d_j a^ij - a^ij d_j log sqrt det g
        slopes = jnp.trace(jax.jacfwd(process.covariance)(q), axis1=1, axis2=2)
        return process.drift(q) - noise / 2 * (slopes + process.covariance(q) @ jax.grad(log_density)(q))

    at_point = field(q)
    divergence = jnp.trace(jax.jacfwd(field)(q)) + at_point @ jax.grad(log_density)(q)
    return at_point, divergence, scalar_curvature(Metric(lambda q: jnp.linalg.inv(process.covariance(q))), q)
