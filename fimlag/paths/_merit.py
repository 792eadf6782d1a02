"""What a step of Newton's method must lower: the action, or with constraints an augmented Lagrangian."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag.paths._discrete_action import DiscreteAction, Expansion, Unknowns


class Merit(eqx.Module):
    r"""The action along a step, with the constraints' violation weighed against it.

    $$\phi(s) = S + \lambda^+ \!\cdot c + \tfrac\rho2 \sum_i (c_i / \sigma_i)^2$$

    with the multipliers $\lambda^+$ that the step leads to, the scales $\sigma$ of the constraints and a penalty
    $\rho$ under which the step descends.

    **Reference:** Nocedal & Wright (2006), sec. 18.4.
    """

    problem: DiscreteAction
    y: Unknowns
    expansion: Expansion
    step: Unknowns
    multipliers: Float[Array, "constraints lanes"]
    scales: Float[Array, "constraints lanes"]
    violation: Float[Array, " lanes"]
    penalty: Float[Array, " lanes"]
    descent: Float[Array, " lanes"]

    def __init__(self, problem: DiscreteAction, y: Unknowns, expansion: Expansion, gradient: Unknowns, step: Unknowns):
        self.problem, self.y, self.expansion, self.step = problem, y, expansion, step
        free = problem.stations.count
        primal, along = jnp.sum(gradient.nodes * step.nodes, axis=(0, 1)), gradient.border * step.border
        self.descent = primal + jnp.sum(along[:free], axis=0) - jnp.sum(along[free:], axis=0)
        self.multipliers = y.border[free:] + step.border[free:]
        self.scales, self.violation, self.penalty = self.multipliers, jnp.zeros_like(primal), jnp.zeros_like(primal)
        if self.multipliers.size:
            scales = problem.constraint_scales(y, expansion)
            self.scales = jnp.where(scales > 0, scales, 1.0)
            self.violation = jnp.sum((gradient.border[free:] / self.scales) ** 2, axis=0)
            needed = 2 * jnp.maximum(self.descent, 0.0) / jnp.where(self.violation > 0, self.violation, 1.0)
            self.penalty = problem.integral(y, jnp.abs(expansion.values)) + needed

    @property
    def start(self) -> Float[Array, " lanes"]:
        """The merit before the step."""
        if not self.multipliers.size:
            return self.problem.integral(self.y, self.expansion.values)
        return self(jnp.zeros((), self.descent.dtype))

    @property
    def slope(self) -> Float[Array, " lanes"]:
        """The derivative of the merit along the step at its beginning."""
        return self.descent - self.penalty * self.violation

    def __call__(self, length: Float[Array, ""]) -> Float[Array, " lanes"]:
        """The merit after a share of the step, infinite where times would run backward."""
        tried = Unknowns(self.y.nodes + length * self.step.nodes, self.y.border + length * self.step.border)
        action, constraints = self.problem.evaluate(tried)
        if self.multipliers.size:
            weighed = self.multipliers * constraints + 0.5 * self.penalty[None] * (constraints / self.scales) ** 2
            action = action + jnp.sum(weighed, axis=0)
        return jnp.where(self.problem.stations_of(tried).in_order(), action, jnp.inf)

    def curvature(self, columns: Float[Array, "globals unknowns d lanes"]) -> Float[Array, " lanes"]:
        """The second derivative of the merit along the step by the undamped matrices, the constraints linearised."""
        free = self.problem.stations.count
        places = self.step.border[:free]
        along = self.problem.quadratic(self.y, self.expansion.hessians, self.step.nodes)
        mixed = jnp.sum(columns[:free] * self.step.nodes[None], axis=(1, 2))
        block = jnp.sum(self.expansion.block[:free, :free] * places[None], axis=1)
        return along + jnp.sum(places * (2 * mixed + block), axis=0) + self.penalty * self.violation

    def stationary(self, noise: Float[Array, " lanes"]) -> Bool[Array, " lanes"]:
        """Whether the step promises no change above the noise, and keeps constraints that hold to half the digits."""
        half = jnp.finfo(noise.dtype).eps ** 0.5
        return (0.5 * jnp.abs(self.descent) <= noise) & (self.violation <= half**2)
