"""Diffusion processes whose rare events are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike


class MaierStein(eqx.Module):
    r"""The drift of Maier and Stein: two attractors, and a saddle at the origin between them.

    $$b(x, y) = (x - x^3 - \beta x y^2,\ -\mu (1 + x^2)\, y)$$

    For beta = mu it is the gradient of -`potential`, and the quasi-potential of the saddle is 1/2. At mu = 1 and
    beta = 4 the way along the axis ceases to be a minimum: beyond, two ways leave it on either side and cost less.

    **Arguments:** `beta`, `mu`. The object is itself the drift, a callable on vectors of shape (2,).

    **Reference:** Maier & Stein (1996), J. Stat. Phys. 83, eq. 2 and sec. 5.
    """

    beta: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)
    mu: Float[Array, ""] = eqx.field(default=1.0, converter=jnp.asarray)

    def __call__(self, q: Float[Array, "2"]) -> Float[Array, "2"]:
        x, y = q
        beta, mu = self.beta.astype(q.dtype), self.mu.astype(q.dtype)
        return jnp.stack([x - x**3 - beta * x * y**2, -mu * (1 + x**2) * y])

    def potential(self, q: Float[Array, "2"]) -> Float[Array, ""]:
        """The potential of the gradient case beta = mu."""
        x, y = q
        return 0.25 * x**4 - 0.5 * x**2 + 0.5 * self.mu.astype(q.dtype) * (1 + x**2) * y**2


class LinearDrift(eqx.Module):
    r"""The multivariate Ornstein-Uhlenbeck process, $dX = A X dt + \sqrt\varepsilon\, \sigma\, dW$.

    **Arguments:** `matrix`: A, with all eigenvalues in the left half-plane; `diffusion`: $a = \sigma \sigma^\top$,
    shape (d, d). The object is itself the drift.

    **Reference:** Gardiner (2009), sec. 4.5.6.
    """

    matrix: Float[Array, "d d"]
    diffusion: Float[Array, "d d"]

    def __call__(self, q: Float[Array, " d"]) -> Float[Array, " d"]:
        return self.matrix.astype(q.dtype) @ q

    def stationary_covariance(self) -> Float[Array, "d d"]:
        r"""$\Sigma$ of $A \Sigma + \Sigma A^\top + a = 0$, by a linear system over its entries."""
        d = self.matrix.shape[0]
        identity = jnp.eye(d, dtype=self.matrix.dtype)
        operator = jnp.kron(self.matrix, identity) + jnp.kron(identity, self.matrix)
        return jnp.linalg.solve(operator, -self.diffusion.ravel()).reshape(d, d)

    def quasi_potential(self, q: Float[Array, " d"]) -> Float[Array, ""]:
        r"""$\tfrac12\, q \cdot \Sigma^{-1} q$, relative to the origin."""
        return 0.5 * q @ jnp.linalg.solve(self.stationary_covariance(), q)

    def transition(self, q0: Float[Array, " d"], duration: RealScalarLike):
        r"""Mean $e^{A T} q_0$ and covariance $\Sigma - e^{A T} \Sigma e^{A^\top T}$ of the point after a time, at unit
        noise."""
        flow, covariance = jax.scipy.linalg.expm(self.matrix * duration), self.stationary_covariance()
        return flow @ q0, covariance - flow @ covariance @ flow.T


class MuellerBrown(eqx.Module):
    r"""The potential of Mueller and Brown: three minima and two saddles in the plane.

    $$V(x, y) = \sum_k A_k \exp\!\left(a_k (x - x_k)^2 + b_k (x - x_k)(y - y_k) + c_k (y - y_k)^2\right)$$

    **Attributes:** `minima` (3, 2), from the deepest, and `saddles` (2, 2), to six digits.

    **Reference:** Mueller & Brown (1979), Theor. Chim. Acta 53, table 1.
    """

    @property
    def minima(self) -> Float[Array, "3 2"]:
        """The minima, from the deepest."""
        return jnp.array([[-0.558224, 1.441726], [0.623499, 0.028038], [-0.050011, 0.466694]])

    @property
    def saddles(self) -> Float[Array, "2 2"]:
        """The saddles, from the highest."""
        return jnp.array([[-0.822002, 0.624313], [0.212487, 0.292988]])

    def __call__(self, q: Float[Array, "2"]) -> Float[Array, ""]:
        heights, a, b, c, x, y = (
            jnp.array(row, q.dtype)
            for row in (
                (-200.0, -100.0, -170.0, 15.0),
                (-1.0, -1.0, -6.5, 0.7),
                (0.0, 0.0, 11.0, 0.6),
                (-10.0, -10.0, -6.5, 0.7),
                (1.0, 0.0, -0.5, -1.0),
                (0.0, 0.5, 1.5, 1.0),
            )
        )
        right, up = q[0] - x, q[1] - y
        return jnp.sum(heights * jnp.exp(a * right**2 + b * right * up + c * up**2))
