"""What a step of Newton's method must lower: the action, or with constraints the action and their violation."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag.paths._discrete_action import DiscreteAction, Expansion, Unknowns


class Merit(eqx.Module):
    r"""The action along a step, with the constraints' violation weighed against it.

    $$\phi(s) = S + \sum_i \nu_i\, |c_i|, \qquad \nu_i = \max(2 |\lambda_i^+|,\ |S| / \sigma_i)$$

    with the multipliers $\lambda^+$ that the step leads to, and the scales $\sigma$ of the constraints.

    **Attributes:** `descent`: the derivative along the step of S with constraints times multipliers; `start`, `slope`:
    the merit and its derivative at the beginning of the step.

    **Reference:** Nocedal & Wright (2006), sec. 18.3; sec. 15.5 on the steps that such a merit refuses wrongly.
    """

    problem: DiscreteAction
    y: Unknowns
    expansion: Expansion
    step: Unknowns
    scales: Float[Array, "constraints lanes"]
    penalties: Float[Array, "constraints lanes"]
    violation: Float[Array, " lanes"]
    descent: Float[Array, " lanes"]
    start: Float[Array, " lanes"]
    slope: Float[Array, " lanes"]

    def __init__(self, problem: DiscreteAction, y: Unknowns, expansion: Expansion, gradient: Unknowns, step: Unknowns):
        self.problem, self.y, self.expansion, self.step = problem, y, expansion, step
        free = problem.stations.count
        constraints, multipliers = gradient.border[free:], y.border[free:] + step.border[free:]
        primal, along = jnp.sum(gradient.nodes * step.nodes, axis=(0, 1)), gradient.border * step.border
        self.descent = primal + jnp.sum(along[:free], axis=0) - jnp.sum(along[free:], axis=0)
        self.scales = self.penalties = multipliers
        self.start, self.slope = problem.integral(y, expansion.values), self.descent
        self.violation = jnp.zeros_like(self.descent)
        if multipliers.size:
            scales = problem.constraint_scales(y, expansion)
            self.scales = jnp.where(scales > 0, scales, 1.0)
            size = problem.integral(y, jnp.abs(expansion.values))
            self.penalties = jnp.maximum(2 * jnp.abs(multipliers), size[None] / self.scales)
            self.violation = _largest(constraints, self.scales)
            weighed = jnp.sum(self.penalties * jnp.abs(constraints), axis=0)
            self.start = problem.evaluate(y)[0] + weighed
            self.slope = self.descent + jnp.sum(multipliers * constraints, axis=0) - weighed

    def after(self, length: Float[Array, ""], noise: Float[Array, " lanes"]):
        """`(merit, enough)` after a share of the step: infinite where times would run backward.

        Enough is a decrease; with constraints also a full step that brings their violation down to a quarter.
        """
        tried = Unknowns(self.y.nodes + length * self.step.nodes, self.y.border + length * self.step.border)
        action, constraints = self.problem.evaluate(tried)
        merit = action + jnp.sum(self.penalties * jnp.abs(constraints), axis=0)
        enough = merit <= self.start + 1e-4 * length * self.slope + noise
        if constraints.size:
            closer = 4 * _largest(constraints, self.scales) <= self.violation
            enough = (length <= 1) & (enough | ((length == 1) & closer))
        possible = jnp.isfinite(merit) & self.problem.stations_of(tried).in_order()
        return jnp.where(possible, merit, jnp.inf), enough & possible

    def curvature(self, columns: Float[Array, "globals unknowns d lanes"]) -> Float[Array, " lanes"]:
        """The second derivative of the action along the step by the undamped matrices."""
        free = self.problem.stations.count
        places = self.step.border[:free]
        along = self.problem.quadratic(self.y, self.expansion.hessians, self.step.nodes)
        mixed = jnp.sum(columns[:free] * self.step.nodes[None], axis=(1, 2))
        block = jnp.sum(self.expansion.block[:free, :free] * places[None], axis=1)
        return along + jnp.sum(places * (2 * mixed + block), axis=0)

    def stationary(self, noise: Float[Array, " lanes"]) -> Bool[Array, " lanes"]:
        """Whether the step promises no change above the noise, and keeps constraints that hold to half the digits."""
        return (0.5 * jnp.abs(self.descent) <= noise) & (self.violation <= jnp.finfo(noise.dtype).eps ** 0.5)


def _largest(constraints, scales):
    """The largest violation in units of the scales."""
    return jnp.max(jnp.abs(constraints) / scales, axis=0, initial=0.0)
