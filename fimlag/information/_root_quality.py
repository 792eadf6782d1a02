"""Whether the expectation behind a square root of the information is good, judged by products alone."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fimlag.information._estimate import FAILURES, concluded, failures_of
from fimlag.information._moments import Moments

FEW_PARAMETERS = 64
"""Parameters whose mean scores are looked at one by one; of more, the mean score along itself."""


class RuleFailures(eqx.Module):
    """The verdict on an expectation rule, by its weights and the mean score, as `fisher_estimate` gives it.

    Of many parameters the mean score $u = \\mathrm{E}[s]$ is compared with its deviation along itself alone,
    $|u|^2$ with $(u^\\top I u)^{1/2}$: two products instead of a matrix.
    """

    rule: Any

    def __call__(self, root) -> Bool[Array, " k"]:
        root = jax.lax.stop_gradient(root)
        mass, mass_squares, score = root.sum_over_blocks(lambda items: _weights_and_score(root, items))
        size, few = score.shape[0], score.shape[0] <= FEW_PARAMETERS
        probes = jnp.eye(size, dtype=score.dtype) if few else score[None, :]
        second, fourth = root.sum_over_blocks(lambda items: _moments_along(root, items, probes))
        # A mean score of d parameters reaches d^0.5 standard errors along itself by chance alone.
        by_chance = 1.0 if few or not hasattr(self.rule, "sample_size") else 1.0 + size**0.5 / 8.0
        moments = Moments(
            blocks=jnp.asarray(root.blocks, mass.dtype),
            mass=mass,
            mass_squares=mass_squares,
            score=probes @ score / by_chance,
            score_squares=fourth,
            information=jnp.diag(second),
            information_squares=jnp.zeros((second.shape[0],) * 2, second.dtype),
        )
        return failures_of(concluded(self.rule, moments, "").result)


def failures_of_roots(roots: tuple) -> Bool[Array, " k"]:
    """Which of `FAILURES` befell any of the roots."""
    none = jnp.zeros(len(FAILURES), bool)
    verdicts = [root.failures(root) for root in roots if root.failures is not None]
    return jnp.any(jnp.stack([none, *verdicts]), axis=0)


def _weights_and_score(root, items):
    _, root_weights = items
    score = jax.vjp(lambda vector: root.outputs(vector, items)[:, 0], root.vector)[1](root_weights)[0]
    return jnp.sum(root_weights**2), jnp.sum(root_weights**4), score


def _moments_along(root, items, probes: Float[Array, "k d"]):
    """The sums of $w (v \\cdot s)^2$ and of its terms' $w^2 (v \\cdot s)^2$ for each of the probes v."""
    _, root_weights = items

    def along(probe):
        slopes = jax.jvp(lambda vector: root.outputs(vector, items)[:, 0], (root.vector,), (probe,))[1]
        return jnp.sum(slopes**2), jnp.sum((root_weights * slopes) ** 2)

    return jax.vmap(along)(probes)
