"""Two densities of one model under the outcomes of its rule."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from fimlag._flat import Structure
from fimlag._implicit import frozen
from fimlag._types import LogLikelihood
from fimlag.information._differences import difference
from fimlag.information._expectation import ExactSum
from fimlag.information._moments import error_of_mean, sample_size
from fimlag.information._quadrature import Quadrature
from fimlag.information._sums import expectation, negligible_share, sum_blocks


class Sums(eqx.Module):
    """Weighted sums of k statistics, and of what tells their error."""

    mean: Float[Array, " k"]
    squares: Float[Array, " k"]
    sizes: Float[Array, " k"]
    tails: Float[Array, " k"]
    waves: Float[Array, "two k"]
    weight_squares: Float[Array, ""]

    @property
    def resolution(self) -> Float[Array, " k"]:
        """How much the thirds of the nodes disagree, to the power 3/2, relative to the size of the statistic."""
        return _disagreement(self._share(self.waves))

    @property
    def tail(self) -> Float[Array, " k"]:
        """The share of the statistic that comes from outcomes so rare that still rarer ones were left out."""
        return self._share(self.tails)

    def _share(self, part):
        empty = jnp.broadcast_to(self.sizes == 0.0, part.shape)
        return jnp.where(empty, 0.0, part / jnp.where(empty, 1.0, jnp.broadcast_to(self.sizes, part.shape)))


class DensityPair(eqx.Module):
    r"""The densities $p_a$ and $p_b$, and the sums of functions of their log-ratio $d = \ell_b - \ell_a$."""

    rule: Any
    log_likelihood: LogLikelihood
    structure: Structure
    a: Float[Array, " d"]
    b: Float[Array, " d"]

    @property
    def exact(self) -> bool:
        """Whether the outcomes are no random sample."""
        return getattr(self.rule, "sample_size", None) is None

    def exchanged(self, exchanged: Bool[Array, ""]) -> "DensityPair":
        """The pair, in the other order where that is asked for."""
        a, b = jnp.where(exchanged, self.b, self.a), jnp.where(exchanged, self.a, self.b)
        return DensityPair(self.rule, self.log_likelihood, self.structure, a, b)

    def at(self, vector, x):
        """The log-likelihood of one outcome at flat parameters."""
        return self.log_likelihood(self.structure.unflatten(vector), x)

    def sums(self, statistics: Callable) -> Sums:
        """Expectations under $p_a$ of `statistics(d, l)`, a tuple of arrays like d and $l = \\ell_a$."""

        def part(x, weights):
            live = weights != 0.0
            log_ratio = jax.vmap(lambda x: difference(lambda v: self.at(v, x), self.a, self.b))(x)
            base = jax.vmap(lambda x: self.at(self.a, x))(x)
            columns = statistics(jnp.where(live, log_ratio, 0.0), jnp.where(live, base, 0.0))
            values = jnp.where(live[:, None], jnp.stack(columns, axis=1), 0.0)
            fixed, constant = lax.stop_gradient((weights, values))
            rare = fixed < jnp.exp(0.85 * negligible_share(fixed.dtype)) * jnp.max(fixed)
            return Sums(
                mean=weights @ values,
                squares=fixed**2 @ constant**2,
                sizes=jnp.abs(fixed) @ jnp.abs(constant),
                tails=jnp.where(rare, fixed, 0.0) @ jnp.abs(constant),
                waves=(self._waves(weights) * fixed[None]) @ constant,
                weight_squares=jnp.sum(fixed**2),
            )

        return expectation(self._split_rule(), self.log_likelihood, self.structure.unflatten(self.a), part)

    def errors(self, sums: Sums) -> Float[Array, " k"]:
        """Standard errors of the means, 0 for an exact rule."""
        size = sample_size(self.rule, self.a.dtype)
        return error_of_mean(sums.squares, lax.stop_gradient(sums.mean), size)

    def log_affinity(self, s: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""], Bool[Array, ""]]:
        r"""$\log \int p_a^{1 - s} p_b^s$ with its resolution and whether it was cut off, for an exact rule.

        The nodes are placed where they resolve the tilted density best: at $\theta_a$, at $\theta_b$, or between.
        """
        places = jnp.stack([jnp.zeros_like(s), jnp.ones_like(s), s])
        fixed = frozen(self)
        if isinstance(self.rule, Quadrature):
            trials = jax.vmap(lambda place: fixed._tilted(lax.stop_gradient(s), place)[1])(places)
            place = places[jnp.argmin(jnp.where(jnp.isfinite(trials), trials, jnp.inf))]
        else:
            place = places[0]
        value, resolution = self._tilted(s, lax.stop_gradient(place))
        return value, resolution, fixed._cut_off(lax.stop_gradient(s), lax.stop_gradient(value))

    def _tilted(self, s, place):
        """The logarithm of the tilted density's mass by nodes at one place, and its resolution."""
        theta = self.structure.unflatten(self.a + place * (self.b - self.a))
        rule = self._split_rule()

        def tilted(_, x):
            return (1.0 - s) * self.at(self.a, x) + s * self.at(self.b, x)

        def top(block):
            x, _ = lax.stop_gradient(rule.outcomes(tilted, theta, block))
            return jnp.max(jax.vmap(lambda x: tilted(None, x))(x))

        height = top(0) if rule.blocks == 1 else jnp.max(lax.map(top, jnp.arange(rule.blocks)))
        height = lax.stop_gradient(jnp.where(jnp.isfinite(height), height, 0.0))

        def part(block):
            _, weights = rule.outcomes(lambda _, x: tilted(None, x) - height, theta, block)
            fixed = lax.stop_gradient(weights)
            return jnp.sum(weights), self._waves(weights) @ fixed

        mass, waves = sum_blocks(part, rule.blocks)
        empty = mass == 0.0
        resolution = jnp.where(empty, 0.0, _disagreement(waves / jnp.where(empty, 1.0, mass)))
        logarithm = jnp.where(empty, -jnp.inf, height + jnp.log(jnp.where(empty, 1.0, mass)))
        return logarithm, lax.stop_gradient(resolution)

    def _cut_off(self, s, value):
        """Whether a list of outcomes ends where the tilted density has mass, though neither density has."""
        if not isinstance(self.rule, ExactSum):
            return jnp.asarray(False)
        last = jax.tree_util.tree_map(lambda leaf: leaf[-1], self.rule.support)
        of_a, of_b = self.at(self.a, last), self.at(self.b, last)
        grain = jnp.log(jnp.finfo(value.dtype).eps).astype(value.dtype)
        return (jnp.maximum(of_a, of_b) < grain) & ((1.0 - s) * of_a + s * of_b - value > 0.5 * grain)

    def _waves(self, weights) -> Float[Array, "two n"]:
        """Cosine and sine of three nodes' period: sums with them tell how a quadrature resolves. Other rules have none.

        A period of two nodes would be blind where they lie symmetrically about the centre of the integrand.
        """
        if not isinstance(self.rule, Quadrature):
            return jnp.zeros((2, weights.size), weights.dtype)
        number = jnp.arange(weights.size)
        phase = (2.0 * math.pi / 3.0) * (number % 3).astype(weights.dtype)
        atoms = 0 if self.rule.atoms is None else self.rule.atoms.shape[0]
        return jnp.where((number < weights.size - atoms)[None], jnp.stack([jnp.cos(phase), jnp.sin(phase)]), 0.0)

    def _split_rule(self):
        """The rule, its quadrature split at the kinks of both densities."""
        rule = self.rule
        if not isinstance(rule, Quadrature) or not callable(rule.breaks):
            return rule
        breaks = [jnp.atleast_1d(rule.breaks(self.structure.unflatten(lax.stop_gradient(v)))) for v in (self.a, self.b)]
        apart = breaks[1] - breaks[0]
        least = 4.0 * float(jnp.finfo(apart.dtype).eps) * (1.0 + jnp.abs(breaks[0]))
        # A piece of no length would have no logarithm of its distances.
        second = jnp.where(jnp.abs(apart) < least, breaks[0] + least, breaks[1])
        return Quadrature(
            rule.lower,
            rule.upper,
            rule.nodes,
            rule.location,
            rule.scale,
            rule.atoms,
            rule.distances,
            rule.periodic,
            jnp.concatenate([breaks[0], second]),
        )


def _disagreement(waves: Float[Array, "two *k"]) -> Float[Array, "*k"]:
    """What thirds of the nodes are wrong by, to the power 3/2: what half of them would be, for a smooth integrand."""
    return jnp.sum(waves**2, axis=0) ** 0.75
